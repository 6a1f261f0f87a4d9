"""Our own protocol: what `/api/generate` and `/api/stream` read, and how they answer.

An answer is the row of the ledger and what the model said. Money is decimal text; unknown is null. As events: `chunk`
as words come, then `done`, or `error` where an answer broke off.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lib.calls.estimate import estimate_tokens
from lib.calls.live import LiveCall
from lib.errors import InvalidInput
from lib.gateway.protocols.asked import event, object_field, text_field
from lib.gateway.protocols.openai_chat import messages_field
from lib.money import usd_from_nano
from lib.providers import parameter_rules
from lib.providers.chunks import Chunk, ReasoningDelta, TextDelta, Usage

LONGEST_NAME, LONGEST_TAGS = 300, 4_000
_COUNTS = (
    *("prompt_tokens", "completion_tokens", "total_tokens"),
    *("cache_read_tokens", "cache_write_tokens", "reasoning_tokens"),
)
_SAME = (
    *("call_id", "provider", "model", "served_model", "finish_reason"),
    *("cost_status", "execution_time_ms", "first_token_ms"),
)


@dataclass(frozen=True)
class Question:
    """What is asked: a configuration by its slug, or a `provider/model`, or neither for the app's default."""

    messages: list[dict[str, Any]]
    configuration: str | None
    model: str | None
    system: str | None
    parameters: Mapping[str, Any]
    tags: Mapping[str, Any]
    context: str | None


def read(body: dict[str, Any]) -> Question:
    """The question of a body; InvalidInput names the field that can't be used."""
    configuration, model = name_field(body, "configuration"), name_field(body, "model")
    if configuration is not None and model is not None:
        raise InvalidInput("configuration and model stand together.", "", "Send one of the two.", field="model")
    if model is not None and "/" not in model:
        why = "It is a provider and its model. A configuration's name goes into configuration."
        raise InvalidInput("The model can't be used.", why, "Write it like openai/gpt-5.1.", field="model")
    if (body.get("prompt") is None) == (body.get("messages") is None):
        raise InvalidInput("The question is not clear.", "", "Send either prompt or messages.", field="prompt")
    asked = [{"role": "user", "content": text_field(body, "prompt")}] if body.get("prompt") is not None else None
    system = body.get("system")
    if system is not None and not isinstance(system, str):
        raise InvalidInput("system must be a text.", "", "Correct system.", field="system")
    tags = object_field(body, "tags")
    if len(json.dumps(tags)) > LONGEST_TAGS:
        raise InvalidInput("The tags can't be used.", f"They have more than {LONGEST_TAGS:,} characters.", field="tags")
    return Question(
        messages=messages_field(body) if asked is None else asked,
        configuration=configuration,
        model=model,
        system=system,
        parameters=parameter_rules.check(object_field(body, "parameters")),
        tags=tags,
        context=name_field(body, "context"),
    )


def name_field(body: Mapping[str, Any], name: str) -> str | None:
    """The name of something, or None where the body has none."""
    value = body.get(name)
    if value is None or (isinstance(value, str) and 0 < len(value) <= LONGEST_NAME and value.isprintable()):
        return value
    why = f"It must be a text of 1 to {LONGEST_NAME} signs on one line."
    raise InvalidInput(f"{name} can't be used.", why, f"Correct {name}.", field=name)


@dataclass
class Writer:
    """An answer as it is written. `model` is not used: the row of the call says which one answered."""

    call: LiveCall
    model: str = ""
    tokens: int = field(default=0, init=False)  # so far, estimated

    def begin(self) -> bytes:
        """Nothing comes before the first chunk."""
        return b""

    def chunk(self, chunk: Chunk) -> bytes:
        """The event of a chunk with words, or nothing."""
        match chunk:
            case TextDelta(text) if text:
                said = {"content": text}
            case ReasoningDelta(text) if text:
                said = {"content": "", "reasoning": text}
            case _:
                return b""
        self.tokens += estimate_tokens(text)
        return event({**said, "tokens": self.tokens}, "chunk")

    def end(self, usage: Usage | None) -> bytes:
        """The last event: the call as the ledger has it."""
        return event({**outcome(self.call.row or {}), "tool_calls": _tools(self.call)}, "done")

    def error(self, status: int, kind: str, message: str) -> bytes:
        """The event of an answer that broke off."""
        return event({"message": message, "code": kind}, "error")

    def whole(
        self, text: str, reasoning: str, tool_calls: list[dict[str, str]], finish: str | None, usage: Usage | None
    ) -> dict[str, Any]:
        """The body of a whole answer."""
        said = {"text": text, "reasoning": reasoning or None, "tool_calls": tool_calls}
        return {**outcome(self.call.row or {}), **said}


def outcome(row: Mapping[str, Any]) -> dict[str, Any]:
    """What a row of the ledger says of its call."""
    nano = row.get("cost_nano_usd")
    return {
        "log_id": row.get("id"),
        **{name: row.get(name) for name in _SAME},
        "cost_usd": None if nano is None else format(usd_from_nano(nano), "f"),
        "usage": {**{name: row.get(name) for name in _COUNTS}, "source": row.get("usage_source")},
    }


def error_body(status: int, code: str, message: str, param: str | None = None) -> dict[str, Any]:
    """An error; `code` is for programs, `message` for people, `param` the field that can't be used."""
    return {"error": {"code": code, "message": message, "param": param}}


def _tools(call: LiveCall) -> list[dict[str, str]]:
    return [dict(tool) for tool in call.attempt.tool_calls.values()]
