"""Programs to copy: how an app calls this installation with curl, the SDKs, LangChain and the `llm` command line.

Each runs as it stands once its key is real. Values are quoted for their language, so a model's name can't break out.
OpenAI's clients want the address with `/v1`, Anthropic's without.
"""

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_QUESTION = "Say hello."
_MESSAGES = [{"role": "user", "content": _QUESTION}]


@dataclass(frozen=True)
class Snippet:
    """A text of a language under a tab; `about` says in a line of Markdown what it needs."""

    tab: str
    title: str
    language: str
    text: str
    about: str = ""


@dataclass(frozen=True)
class GatewayAccess:
    """The gateway for a program: `origin` is scheme and host; models are configurations' names or `provider/model`."""

    origin: str
    key: str
    model: str
    embedding_model: str

    @property
    def openai_url(self) -> str:
        """The base URL for clients that speak OpenAI's protocol."""
        return f"{self.origin}/v1"


def build_snippets(to: GatewayAccess) -> list[Snippet]:
    """Build every program, in the order of the tabs."""
    return [
        *_yield_curl_snippets(to),
        *_yield_python_snippets(to),
        *_yield_javascript_snippets(to),
        _build_langchain_snippet(to),
        _build_llm_snippet(to),
        _build_environment_snippet(to),
    ]


def _yield_curl_snippets(to: GatewayAccess) -> Iterator[Snippet]:
    chat: dict[str, Any] = {"model": to.model, "messages": _MESSAGES}
    bearer = f"Authorization: Bearer {to.key}"
    yield _request("Chat", to, "/chat/completions", [bearer], chat)
    yield _request("Chat, streamed", to, "/chat/completions", [bearer], chat | {"stream": True}, "--no-buffer ")
    anthropic = [f"x-api-key: {to.key}", "anthropic-version: 2023-06-01"]
    yield _request("Messages, Anthropic's protocol", to, "/messages", anthropic, chat | {"max_tokens": 200})
    embedding = {"model": to.embedding_model, "input": ["Rivers", "Mountains"]}
    yield _request("Embeddings", to, "/embeddings", [bearer], embedding, about="the model has to be an embedding model")


def _request(
    title: str, to: GatewayAccess, path: str, head: list[str], body: Mapping[str, Any], flags: str = "", about: str = ""
) -> Snippet:
    lines = [f"curl {flags}{shlex.quote(to.openai_url + path)}"]
    lines += [f"-H {shlex.quote(line)}" for line in [*head, "Content-Type: application/json"]]
    lines += [f"-d {shlex.quote(_quote(body))}"]
    return Snippet("curl", title, "bash", " \\\n  ".join(lines), about)


def _yield_python_snippets(to: GatewayAccess) -> Iterator[Snippet]:
    model = _quote(to.model)
    client = f"base_url={_quote(to.openai_url)}, api_key={_quote(to.key)}"
    opened = f"from openai import OpenAI\n\nclient = OpenAI({client})\n"
    arguments = f"model={model},\n    messages={_quote(_MESSAGES)},\n"
    yield Snippet(
        "Python",
        "OpenAI's SDK",
        "python",
        f"{opened}answer = client.chat.completions.create(\n    {arguments})\nprint(answer.choices[0].message.content)",
        "`pip install openai`",
    )
    yield Snippet(
        "Python",
        "OpenAI's SDK, streamed",
        "python",
        f"{opened}stream = client.chat.completions.create(\n    {arguments}    stream=True,\n)\nfor chunk in stream:\n"
        '    if chunk.choices:\n        print(chunk.choices[0].delta.content or "", end="", flush=True)',
    )
    yield Snippet(
        "Python",
        "Anthropic's SDK",
        "python",
        "from anthropic import Anthropic\n\n"
        f"client = Anthropic(base_url={_quote(to.origin)}, api_key={_quote(to.key)})\n"
        f"answer = client.messages.create(\n    {arguments}    max_tokens=200,\n)\n"
        'print("".join(block.text for block in answer.content if block.type == "text"))',
        "`pip install anthropic`",
    )


def _yield_javascript_snippets(to: GatewayAccess) -> Iterator[Snippet]:
    body = f"model: {_quote(to.model)},\n  messages: {_quote(_MESSAGES)},\n"
    yield Snippet(
        "JavaScript",
        "OpenAI's SDK",
        "javascript",
        f'import OpenAI from "openai";\n\nconst client = new OpenAI({{ baseURL: {_quote(to.openai_url)}, '
        f"apiKey: {_quote(to.key)} }});\nconst answer = await client.chat.completions.create({{\n  {body}}});\n"
        "console.log(answer.choices[0].message.content);",
        "`npm install openai`; a file that ends in `.mjs`",
    )
    yield Snippet(
        "JavaScript",
        "Anthropic's SDK",
        "javascript",
        f'import Anthropic from "@anthropic-ai/sdk";\n\nconst client = new Anthropic({{ baseURL: {_quote(to.origin)}, '
        f"apiKey: {_quote(to.key)} }});\nconst answer = await client.messages.create({{\n  {body}  max_tokens: 200,\n"
        '});\nconsole.log(answer.content.map((block) => block.text ?? "").join(""));',
        "`npm install @anthropic-ai/sdk`; a file that ends in `.mjs`",
    )


def _build_langchain_snippet(to: GatewayAccess) -> Snippet:
    return Snippet(
        "LangChain",
        "LangChain",
        "python",
        f"from langchain_openai import ChatOpenAI\n\nmodel = ChatOpenAI(\n    base_url={_quote(to.openai_url)},\n"
        f"    api_key={_quote(to.key)},\n    model={_quote(to.model)},\n)\n"
        f"print(model.invoke({_quote(_QUESTION)}).content)",
        "`pip install langchain-openai`",
    )


def _build_llm_snippet(to: GatewayAccess) -> Snippet:
    name = f"llm-manager/{to.model}"
    fields = {"model_id": name, "model_name": to.model, "api_base": to.openai_url, "api_key_name": "llm-manager"}
    entry = "\n  ".join(f"{field}: {_quote(value)}" for field, value in fields.items())
    text = (
        f"llm keys set llm-manager --value {shlex.quote(to.key)}\n"
        'cat >> "$(dirname "$(llm logs path)")/extra-openai-models.yaml" <<\'END\'\n'
        f"- {entry}\nEND\nllm -m {shlex.quote(name)} {shlex.quote(_QUESTION)}"
    )
    return Snippet("llm", "The llm command line", "bash", text, "`pip install llm`; the model joins its own list")


def _build_environment_snippet(to: GatewayAccess) -> Snippet:
    values = {
        "OPENAI_BASE_URL": to.openai_url,
        "OPENAI_API_KEY": to.key,
        "ANTHROPIC_BASE_URL": to.origin,
        "ANTHROPIC_API_KEY": to.key,
    }
    text = "\n".join(f"export {name}={shlex.quote(value)}" for name, value in values.items())
    return Snippet("Environment", "Variables the SDKs read", "bash", text, "programs then need neither address nor key")


def _quote(value: Any) -> str:
    """A literal of Python, JavaScript and YAML alike: JSON."""
    return json.dumps(value, ensure_ascii=False)
