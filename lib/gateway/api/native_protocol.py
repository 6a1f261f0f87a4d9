"""Our own protocol: how `/api/generate` and `/api/stream` answer.

An answer is the row of the ledger and what the model said. Money is decimal text; unknown is null. As events: `chunk`
as words come, then `done`, or `error` where an answer broke off.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lib.calls.live_call import LiveCall
from lib.gateway.models.program_request import encode_event
from lib.money import convert_nano_to_usd
from lib.providers.chunks import Chunk, ReasoningDelta, TextDelta, Usage
from lib.tokens.text_estimate import estimate_tokens

_COUNTS = (
    *("prompt_tokens", "completion_tokens", "total_tokens"),
    *("cache_read_tokens", "cache_write_tokens", "reasoning_tokens"),
)
_SAME = (
    *("call_id", "provider", "model", "served_model", "finish_reason"),
    *("cost_status", "execution_time_ms", "first_token_ms"),
)


@dataclass
class NativeWriter:
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
                words = {"content": text}
            case ReasoningDelta(text) if text:
                words = {"content": "", "reasoning": text}
            case _:
                return b""
        self.tokens += estimate_tokens(text)
        return encode_event({**words, "tokens": self.tokens}, "chunk")

    def end(self, usage: Usage | None) -> bytes:
        """The last event: the call as the ledger has it."""
        return encode_event(
            {**describe_row(self.call.columns), "tool_calls": _list_tool_calls(self.call)},
            "done",
        )

    def error(self, status: int, kind: str, message: str) -> bytes:
        """The event of an answer that broke off."""
        return encode_event({"message": message, "code": kind}, "error")

    def whole(
        self, text: str, reasoning: str, tool_calls: list[dict[str, str]], finish: str | None, usage: Usage | None
    ) -> dict[str, Any]:
        """The body of a whole answer."""
        words = {"text": text, "reasoning": reasoning or None, "tool_calls": tool_calls}
        return {**describe_row(self.call.columns), **words}


def describe_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an answer that come from the call's row of `usage_logs`."""
    nano = row.get("cost_nano_usd")
    return {
        "log_id": row.get("id"),
        **{name: row.get(name) for name in _SAME},
        "cost_usd": None if nano is None else format(convert_nano_to_usd(nano), "f"),
        "usage": {**{name: row.get(name) for name in _COUNTS}, "source": row.get("usage_source")},
    }


def build_error_body(status: int, code: str, message: str, param: str | None = None) -> dict[str, Any]:
    """An error; `code` is for programs, `message` for people, `param` the field that can't be used."""
    return {"error": {"code": code, "message": message, "param": param}}


def _list_tool_calls(call: LiveCall) -> list[dict[str, str]]:
    return [dict(tool) for tool in call.attempt.tool_calls.values()]
