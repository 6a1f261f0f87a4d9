"""What is asked in the playground: words, files, and the shape the answer has to have."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lib.calls.live_call import CallView
from lib.configs.configuration import Configuration
from lib.errors import InvalidInput
from lib.limited import rules
from lib.limited.child import NotComputed
from lib.patterns import compile_pattern
from lib.prompts.template import TEMPLATE_TAGS, FilledPrompt
from lib.tokens.message_text import read_message_text

IMAGES = {"png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "gif": "image/gif", "webp": "image/webp"}
TEXTS = ("txt", "md", "csv", "json", "py", "js", "html", "xml", "yaml", "yml", "log", "sql")
LARGEST_IMAGE = 5 * 1024 * 1024
LARGEST_TEXT = 400 * 1024
MOST_FILES = 8
_TOOL_NAME = compile_pattern(r"[A-Za-z0-9_-]{1,64}")
_SIGNATURES = {"image/png": b"\x89PNG", "image/jpeg": b"\xff\xd8\xff", "image/gif": b"GIF8", "image/webp": b"RIFF"}


@dataclass(frozen=True)
class AttachedFile:
    """A file that goes with a question."""

    name: str
    data: bytes

    @property
    def ending(self) -> str:
        """The name's ending in lower case, without the dot."""
        return self.name.rpartition(".")[2].lower()


@dataclass(frozen=True)
class PlaygroundQuestion:
    """A question to one or more panes. `system_prompt` None is each configuration's own; `schema` is a JSON Schema
    that the answer has to fit.
    """

    prompt: str
    system_prompt: str | None = None
    files: Sequence[AttachedFile] = ()
    schema: Mapping[str, Any] | None = None
    tools: Sequence[Mapping[str, Any]] = ()  # functions in OpenAI's shape, which the model may ask for
    content: Any = None  # as it was sent before, instead of words and files
    tool_names: tuple[str, ...] | None = None  # tools that are run; None: those of each configuration
    template: FilledPrompt | None = None  # that the words come from
    collections: Sequence[str] = ()  # whose passages go with the words
    tags: Mapping[str, str] = field(default_factory=dict)  # of the call that is asked again

    def parameters(self) -> dict[str, Any]:
        """Build the request parameters that ask for JSON of the schema and offer the tools; empty without either."""
        parameters: dict[str, Any] = {}
        if self.schema is not None:
            answer_shape = {"name": "answer", "schema": dict(self.schema), "strict": False}
            parameters["response_format"] = {"type": "json_schema", "json_schema": answer_shape}
        if self.tools:
            parameters["tools"] = [dict(tool) for tool in self.tools]
        return parameters


def build_content(question: PlaygroundQuestion, configuration: Configuration) -> str | list[dict[str, Any]]:
    """Build the user message's content; raises InvalidInput for a file that can't be sent to this model."""
    if question.content is not None:
        return question.content  # type: ignore[no-any-return]
    if not question.files:
        return question.prompt
    if len(question.files) > MOST_FILES:
        fix = f"Send {MOST_FILES} at most."
        raise InvalidInput(f"{len(question.files)} files are too many.", "", fix, field="files")
    parts: list[dict[str, Any]] = [{"type": "text", "text": question.prompt}] if question.prompt.strip() else []
    for file in question.files:
        parts.append(_encode_image(file, configuration) if file.ending in IMAGES else _encode_text(file))
    return parts


def rebuild_question(call: CallView) -> PlaygroundQuestion | None:
    """Rebuild the question of a call, to ask it again; None where its words were not kept."""
    sent = [message for message in call.messages if message.get("role") == "user"]
    if not sent:
        return None
    system = next((read_message_text(message) for message in call.messages if message.get("role") == "system"), "")
    shape = call.parameters.get("response_format")
    schema = shape.get("json_schema", {}).get("schema") if isinstance(shape, dict) else None
    tags = {name: value for name, value in call.tags.items() if name in TEMPLATE_TAGS}
    tools = call.parameters.get("tools") or ()
    return PlaygroundQuestion(
        read_message_text(sent[-1]), system, (), schema, tools, sent[-1].get("content"), tags=tags
    )


def read_schema(text: str) -> Mapping[str, Any] | None:
    """Read a JSON Schema from a text field; None when it is empty. Raises InvalidInput."""
    if not text.strip():
        return None
    schema = _parse_json(text, "schema")
    if not isinstance(schema, dict):
        raise InvalidInput("The schema is not an object.", "", 'Write it like {"type": "object"}.', field="schema")
    _check_schema(schema, "That is no JSON Schema.", "schema")
    return schema


def read_tools(text: str) -> Sequence[Mapping[str, Any]]:
    """Read tools from a text field: a list of functions, in OpenAI's shape or bare. Raises InvalidInput."""
    if not text.strip():
        return ()
    listed = _parse_json(text, "tools")
    tools = []
    for tool in listed if isinstance(listed, list) else [listed]:
        function = tool.get("function", tool) if isinstance(tool, dict) else None
        if not isinstance(function, dict) or not _TOOL_NAME.fullmatch(str(function.get("name", ""))):
            why = 'Each is like {"name": "weather", "description": "…", "parameters": {"type": "object"}}.'
            raise InvalidInput("A tool needs a name.", why, "Letters, digits, _ and -, up to 64.", field="tools")
        if not isinstance(function.setdefault("parameters", {"type": "object", "properties": {}}), dict):
            raise InvalidInput(f"The parameters of {function['name']} are not an object.", field="tools")
        _check_schema(function["parameters"], f"The parameters of {function['name']} are no JSON Schema.", "tools")
        tools.append({"type": "function", "function": function})
    return tools


def _parse_json(text: str, field_name: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise InvalidInput(
            f"What stands under {field_name} is not JSON.", f"{error}.", "Correct it.", field_name
        ) from None
    except RecursionError:
        raise InvalidInput(
            f"What stands under {field_name} is nested too deeply.", "", "Make it flatter.", field_name
        ) from None


def _check_schema(schema: Mapping[str, Any], title: str, field: str) -> None:
    try:
        rules.check_schema(schema)
    except NotComputed as error:
        raise InvalidInput(title, error.why, field=field) from None


def list_schema_errors(schema: Mapping[str, Any], answer: str) -> list[str]:
    """List where an answer does not fit the schema, at most twenty; empty when it fits.

    Where the schema can't be checked (it takes too long, it points outside itself) that is the only error.
    """
    try:
        return rules.list_schema_errors(schema, answer)
    except NotComputed as error:
        return [error.why]


def _encode_image(file: AttachedFile, configuration: Configuration) -> dict[str, Any]:
    capabilities = configuration.capabilities
    if capabilities and "vision" not in capabilities:
        why = f"{configuration.model} reads text alone, as {configuration.slug} says."
        raise InvalidInput(f"{file.name} can't be sent.", why, "Choose a model with vision.", field="files")
    if len(file.data) > LARGEST_IMAGE:
        raise InvalidInput(f"{file.name} is too large.", "An image may have 5 MB.", "Make it smaller.", field="files")
    kind = IMAGES[file.ending]
    if not file.data.startswith(_SIGNATURES[kind]):
        raise InvalidInput(f"{file.name} is no {file.ending.upper()}.", "Its first bytes are others.", field="files")
    data = base64.b64encode(file.data).decode()
    return {"type": "image_url", "image_url": {"url": f"data:{kind};base64,{data}"}}


def _encode_text(file: AttachedFile) -> dict[str, Any]:
    if file.ending not in TEXTS:
        why = f"Images ({', '.join(IMAGES)}) and texts ({', '.join(TEXTS)}) can be."
        raise InvalidInput(f"{file.name} can't be sent.", why, "Choose another file.", field="files")
    if len(file.data) > LARGEST_TEXT:
        raise InvalidInput(f"{file.name} is too large.", "A text may have 400 kB.", "Send a part of it.", field="files")
    text = file.data.decode("utf-8", "replace")
    return {"type": "text", "text": f"File {file.name}:\n\n{text}"}
