"""A prompt template in a request's body: `prompt: {slug, label or version, variables}`, at every door to a model.

The filled text becomes the last message of the body; its system prompt takes the place of the configuration's; its
parameters stand below those of the request. Such a call is translated, never relayed: what is sent is ours. A `prompt`
without `slug` is not ours and stays in the body, for OpenAI has templates of its own.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from lib.access.permissions import Actor
from lib.errors import InvalidInput
from lib.prompts.template import FilledPrompt
from lib.services import Services

_NAMES = {"slug", "label", "version", "variables"}


async def fill_prompt(services: Services, actor: Actor, body: dict[str, Any], words: str) -> FilledPrompt | None:
    """Fill the body's template and put its text under `words`, the field of messages; None where there is none."""
    prompt = body.get("prompt")
    if not isinstance(prompt, dict) or "slug" not in prompt:
        return None
    _check(prompt)
    version_arguments = {name: prompt[name] for name in ("label", "version") if prompt.get(name) is not None}
    fill = services.prompts.fill
    filled = await asyncio.to_thread(fill, actor, prompt["slug"], prompt.get("variables") or {}, **version_arguments)
    del body["prompt"]
    messages = body.get(words) or []
    messages = [{"role": "user", "content": messages}] if isinstance(messages, str) else messages
    if not isinstance(messages, list):
        raise InvalidInput(f"{words} can't be read.", "It must be a list of objects.", field=words)
    body[words] = [*messages, {"role": "user", "content": filled.text}]
    return filled


def _check(prompt: Mapping[str, Any]) -> None:
    label = prompt.get("label")
    version = prompt.get("version")
    right = (
        (isinstance(prompt["slug"], str), "slug is a text"),
        (label is None or isinstance(label, str), "label is a text"),
        (version is None or (type(version) is int and version > 0), "version is a whole number above 0"),
        (label is None or version is None, "label and version can't stand together"),
        (isinstance(prompt.get("variables") or {}, dict), "variables are an object"),
        (not set(prompt) - _NAMES, f"it may hold {', '.join(sorted(_NAMES))}"),
    )
    if problems := [problem for is_right, problem in right if not is_right]:
        raise InvalidInput("prompt can't be used.", f"{'; '.join(problems).capitalize()}.", field="prompt")
