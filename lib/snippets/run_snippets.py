"""A run of the playground as a program that asks the gateway: curl, OpenAI's SDK, litellm."""

import json
import shlex
from collections.abc import Mapping
from typing import Any

from lib.playground.question import PlaygroundQuestion
from lib.snippets.app_snippets import Snippet

_LONGEST_FILE = 200  # signs of a file's data that are shown; the rest is for the reader to fill in


def run_snippets(origin: str, slug: str, question: PlaygroundQuestion, parameters: Mapping[str, Any]) -> list[Snippet]:
    """Each runs as it stands with a key in LLM_MANAGER_API_KEY. Values are JSON, which Python reads but for names."""
    system = [{"role": "system", "content": question.system_prompt}] if question.system_prompt else []
    content = question.prompt if question.content is None else _shorten_content(question.content)
    body: dict[str, Any] = {"model": slug, "messages": [*system, {"role": "user", "content": content}], **parameters}
    curl = " \\\n  ".join(
        [
            f"curl {shlex.quote(origin + '/v1/chat/completions')}",
            '-H "Authorization: Bearer $LLM_MANAGER_API_KEY"',
            "-H 'Content-Type: application/json'",
            f"-d {shlex.quote(json.dumps(body, ensure_ascii=False, indent=2))}",
        ]
    )
    arguments = "".join(f"    {name}={value!r},\n" for name, value in body.items() if name.isidentifier())
    sdk = (
        "import os\n\nfrom openai import OpenAI\n\n"
        f'client = OpenAI(base_url={origin + "/v1"!r}, api_key=os.environ["LLM_MANAGER_API_KEY"])\n'
        f"answer = client.chat.completions.create(\n{arguments})\nprint(answer.choices[0].message.content)"
    )
    by_litellm = arguments.replace(f"    model={slug!r},\n", f"    model={'openai/' + slug!r},\n", 1)
    litellm = (
        "import os\n\nimport litellm\n\nanswer = litellm.completion(\n"
        f'    api_base={origin + "/v1"!r},\n    api_key=os.environ["LLM_MANAGER_API_KEY"],\n'
        f"{by_litellm})\nprint(answer.choices[0].message.content)"
    )
    return [
        Snippet("curl", "curl", "bash", curl),
        Snippet("Python", "OpenAI's SDK", "python", sdk),
        Snippet("Python", "litellm", "python", litellm),
    ]


def _shorten_content(content: Any) -> Any:
    """The content with long data addresses cut, so that the program can be read."""
    if not isinstance(content, list):
        return content
    parts = []
    for part in content:
        url = part.get("image_url", {}).get("url", "") if isinstance(part, Mapping) else ""
        cut = {"type": "image_url", "image_url": {"url": f"{url[:40]}…"}}
        parts.append(cut if len(url) > _LONGEST_FILE else part)
    return parts
