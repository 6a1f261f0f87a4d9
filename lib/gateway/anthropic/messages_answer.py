"""An answer in Anthropic's messages (https://docs.anthropic.com/en/api/messages): events, whole bodies, errors.

Thinking goes out as thinking blocks with a signature of our own, by which it is known when it comes back. Blocks are
numbered in the order in which they begin; a tool's input is sent as pieces of JSON.
"""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from lib.gateway.models.ordered_pieces import OrderedPieces
from lib.gateway.models.program_request import encode_event
from lib.providers.chunks import Chunk, Finish, ReasoningDelta, ServedModel, TextDelta, ToolCallDelta, Usage
from lib.providers.own_words import SIGNATURE
from lib.providers.protocols.finish import Reason, standardise_reason

_STOP: dict[Reason, str] = {
    "stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"
}  # fmt: skip
_OWN = {"pause_turn"}  # of this protocol's list, without a counterpart elsewhere
_ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}
_PASSED_CODES = {"thread_unsupported_request"}  # codes that Anthropic's clients act on


@dataclass
class MessagesWriter:
    """An answer as it is written: `begin`, `chunk` and `end` for events, `whole` for one body."""

    id: str
    model: str
    prompt_tokens: int = 0  # an estimate until the provider's counts are known
    stop_sequence: str = ""  # that ended the answer, where the provider names it
    _block: tuple[str, int] | None = None  # what is being written: its type and the tool's index
    _index: int = -1
    _finish: str | None = None
    _order: OrderedPieces = field(default_factory=OrderedPieces)

    def begin(self) -> bytes:
        """The first event."""
        message = self._head([], {"input_tokens": self.prompt_tokens, "output_tokens": 0})
        return encode_event({"type": "message_start", "message": message}, "message_start")

    def chunk(self, chunk: Chunk) -> bytes:
        """The events of a chunk, or nothing."""
        pieces = self._order.take(chunk)
        return (
            self._write_chunk(pieces[0])
            if len(pieces) == 1
            else b"".join([self._write_chunk(piece) for piece in pieces])
        )

    def _write_waiting(self) -> bytes:
        return b"".join([self._write_chunk(piece) for piece in self._order.end()])

    def _write_chunk(self, chunk: Chunk) -> bytes:
        match chunk:
            case TextDelta(text) if text:
                return self._begin_block("text", 0, {"type": "text", "text": ""}) + self._delta("text_delta", text=text)
            case ReasoningDelta(text) if text:
                start = {"type": "thinking", "thinking": "", "signature": ""}
                return self._begin_block("thinking", 0, start) + self._delta("thinking_delta", thinking=text)
            case ToolCallDelta():
                tool = {"type": "tool_use", "id": chunk.id, "name": chunk.name, "input": dict[str, Any]()}
                began = self._begin_block("tool_use", chunk.index, tool)
                return began + (
                    self._delta("input_json_delta", partial_json=chunk.arguments) if chunk.arguments else b""
                )
            case ServedModel(model):
                self.model = model
            case Finish(reason, sequence):
                self._finish = reason
                self.stop_sequence = sequence
            case _:
                pass
        return b""

    def end(self, usage: Usage | None) -> bytes:
        """The last events of an answer that came to its end."""
        delta = self._ending(self._finish)
        counts = build_usage_body(usage) if usage else {"output_tokens": 0}
        done = encode_event({"type": "message_delta", "delta": delta, "usage": counts}, "message_delta")
        return self._write_waiting() + self._end_block() + done + encode_event({"type": "message_stop"}, "message_stop")

    def error(self, status: int, kind: str, message: str) -> bytes:
        """The event of an answer that broke off."""
        return self._write_waiting() + encode_event(build_error_body(status, kind, message), "error")

    def whole(
        self, text: str, reasoning: str, tool_calls: list[dict[str, str]], finish: str | None, usage: Usage | None
    ) -> dict[str, Any]:
        """The body of a whole answer."""
        blocks: list[dict[str, Any]] = []
        if reasoning:
            blocks.append({"type": "thinking", "thinking": reasoning, "signature": SIGNATURE})
        if text:
            blocks.append({"type": "text", "text": text})
        for call in tool_calls:
            blocks.append({"type": "tool_use", "id": call["id"], "name": call["name"], "input": _parse_input(call)})
        return self._head(blocks, build_usage_body(usage) if usage else {}) | self._ending(finish)

    def _ending(self, finish: str | None) -> dict[str, str | None]:
        """Why the answer ended, and the stop sequence that ended it."""
        if self.stop_sequence and standardise_reason(finish) == "stop":
            return {"stop_reason": "stop_sequence", "stop_sequence": self.stop_sequence}
        return {"stop_reason": _stop(finish), "stop_sequence": None}

    def _begin_block(self, kind: str, tool: int, start: dict[str, Any]) -> bytes:
        """Begin a block unless it is the one being written."""
        if self._block == (kind, tool):
            return b""
        block_end = self._end_block()
        self._block = (kind, tool)
        self._index = self._index + 1
        began = {"type": "content_block_start", "index": self._index, "content_block": start}
        return block_end + encode_event(began, "content_block_start")

    def _end_block(self) -> bytes:
        if self._block is None:
            return b""
        signed = self._delta("signature_delta", signature=SIGNATURE) if self._block[0] == "thinking" else b""
        self._block = None
        return signed + encode_event({"type": "content_block_stop", "index": self._index}, "content_block_stop")

    def _delta(self, kind: str, **values: str) -> bytes:
        delta = {"type": "content_block_delta", "index": self._index, "delta": {"type": kind, **values}}
        return encode_event(delta, "content_block_delta")

    def _head(self, content: list[dict[str, Any]], usage: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": f"msg_{self.id}",
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": content,
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage,
        }


def build_usage_body(usage: Usage) -> dict[str, Any]:
    """Counts in Anthropic's form: cached ones stand beside the input."""
    fresh = max(0, usage.prompt_tokens - usage.cache_read_tokens - usage.cache_write_tokens)
    return {
        "input_tokens": fresh,
        "cache_read_input_tokens": usage.cache_read_tokens,
        "cache_creation_input_tokens": usage.cache_write_tokens,
        "output_tokens": usage.completion_tokens,
    }


def build_models_body(models: list[tuple[str, str, int]]) -> dict[str, Any]:
    """A list of models: (id, owner, created in Unix seconds)."""
    data = [
        {"type": "model", "id": name, "display_name": name, "created_at": f"{datetime.fromtimestamp(at, UTC):%FT%TZ}"}
        for name, _, at in models
    ]
    ends = {"first_id": data[0]["id"] if data else None, "last_id": data[-1]["id"] if data else None}
    return {"data": data, "has_more": False, **ends}


def build_error_body(status: int, kind: str, message: str, param: str | None = None) -> dict[str, Any]:
    """An error in Anthropic's form."""
    del param  # it has no place for it
    error: dict[str, Any] = {"type": _ERRORS.get(status, "api_error"), "message": message}
    if kind in _PASSED_CODES:
        error["details"] = {"error_code": kind}
    return {"type": "error", "error": error}


def _parse_input(call: dict[str, str]) -> Any:
    """The arguments of a call as the object that this protocol has; none where they were cut off."""
    try:
        arguments = json.loads(call["arguments"] or "{}")
    except (ValueError, RecursionError):
        return {}
    return arguments if isinstance(arguments, dict) else {}


def _stop(finish: str | None) -> str:
    return str(finish) if finish in _OWN else _STOP[standardise_reason(finish)]
