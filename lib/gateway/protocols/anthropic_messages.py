"""Anthropic's messages (https://docs.anthropic.com/en/api/messages): its blocks and events ↔ the one shape inside.

Text, images, tool use and tool results are translated both ways; thinking goes out as thinking blocks. Blocks of an
answer are numbered in the order in which they begin; a tool's input is sent as pieces of JSON.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from lib.errors import InvalidInput
from lib.gateway.protocols.asked import Asked, event, flag, list_field, model_field
from lib.providers.chunks import Chunk, Finish, ReasoningDelta, ServedModel, TextDelta, ToolCallDelta, Usage

_SAME = {"max_tokens", "temperature", "top_p", "top_k", "thinking"}
_STOP = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}
_ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}


def read(body: dict[str, Any]) -> Asked:
    """The question of a body; InvalidInput names the field that can't be used."""
    messages = [inside for message in list_field(body, "messages") for inside in _message(message)]
    if (system := _text_of(body.get("system"))).strip():
        messages.insert(0, {"role": "system", "content": system})
    parameters = {name: body[name] for name in _SAME if body.get(name) is not None}
    if stops := body.get("stop_sequences"):
        parameters["stop"] = stops
    if tools := body.get("tools"):
        parameters["tools"] = [_tool(tool) for tool in tools if isinstance(tool, dict)]
        parameters |= _tool_choice(body.get("tool_choice"))
    return Asked(model_field(body), messages, parameters, flag(body, "stream"), include_usage=True, body=body)


@dataclass
class Writer:
    """An answer as it is written: `begin`, `chunk` and `end` for events, `whole` for one body."""

    id: str
    model: str
    prompt_tokens: int = 0  # an estimate until the provider's counts are known
    _block: tuple[str, int] | None = None  # what is being written: its type and the tool's index
    _index: int = -1
    _finish: str | None = None

    def begin(self) -> bytes:
        """The first event."""
        message = self._head([], None, {"input_tokens": self.prompt_tokens, "output_tokens": 0})
        return event({"type": "message_start", "message": message}, "message_start")

    def chunk(self, chunk: Chunk) -> bytes:
        """The events of a chunk, or nothing."""
        match chunk:
            case TextDelta(text) if text:
                return self._enter("text", 0, {"type": "text", "text": ""}) + self._delta("text_delta", text=text)
            case ReasoningDelta(text) if text:
                start = {"type": "thinking", "thinking": "", "signature": ""}
                return self._enter("thinking", 0, start) + self._delta("thinking_delta", thinking=text)
            case ToolCallDelta():
                tool = {"type": "tool_use", "id": chunk.id, "name": chunk.name, "input": dict[str, Any]()}
                began = self._enter("tool_use", chunk.index, tool)
                return began + (
                    self._delta("input_json_delta", partial_json=chunk.arguments) if chunk.arguments else b""
                )
            case ServedModel(model):
                self.model = model
            case Finish(reason):
                self._finish = reason
            case _:
                pass
        return b""

    def end(self, usage: Usage | None) -> bytes:
        """The last events of an answer that came to its end."""
        delta = {"stop_reason": _stop(self._finish), "stop_sequence": None}
        counts = usage_body(usage) if usage else {"output_tokens": 0}
        done = event({"type": "message_delta", "delta": delta, "usage": counts}, "message_delta")
        return self._leave() + done + event({"type": "message_stop"}, "message_stop")

    def error(self, status: int, kind: str, message: str) -> bytes:
        """The event of an answer that broke off."""
        return event(error_body(status, kind, message), "error")

    def whole(
        self, text: str, reasoning: str, tool_calls: list[dict[str, str]], finish: str | None, usage: Usage | None
    ) -> dict[str, Any]:
        """The body of a whole answer."""
        blocks: list[dict[str, Any]] = []
        if reasoning:
            blocks.append({"type": "thinking", "thinking": reasoning, "signature": ""})
        if text:
            blocks.append({"type": "text", "text": text})
        for call in tool_calls:
            blocks.append({"type": "tool_use", "id": call["id"], "name": call["name"], "input": _input(call)})
        return self._head(blocks, _stop(finish), usage_body(usage) if usage else {})

    def _enter(self, kind: str, tool: int, start: dict[str, Any]) -> bytes:
        """Begin a block unless it is the one being written."""
        if self._block == (kind, tool):
            return b""
        left = self._leave()
        self._block, self._index = (kind, tool), self._index + 1
        began = {"type": "content_block_start", "index": self._index, "content_block": start}
        return left + event(began, "content_block_start")

    def _leave(self) -> bytes:
        if self._block is None:
            return b""
        self._block = None
        return event({"type": "content_block_stop", "index": self._index}, "content_block_stop")

    def _delta(self, kind: str, **values: str) -> bytes:
        delta = {"type": "content_block_delta", "index": self._index, "delta": {"type": kind, **values}}
        return event(delta, "content_block_delta")

    def _head(self, content: list[dict[str, Any]], stop: str | None, usage: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": f"msg_{self.id}",
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": content,
            "stop_reason": stop,
            "stop_sequence": None,
            "usage": usage,
        }


def usage_body(usage: Usage) -> dict[str, Any]:
    """Counts in Anthropic's form: cached ones stand beside the input."""
    fresh = max(0, usage.prompt_tokens - usage.cache_read_tokens - usage.cache_write_tokens)
    return {
        "input_tokens": fresh,
        "cache_read_input_tokens": usage.cache_read_tokens,
        "cache_creation_input_tokens": usage.cache_write_tokens,
        "output_tokens": usage.completion_tokens,
    }


def models_body(models: list[tuple[str, str, int]]) -> dict[str, Any]:
    """A list of models: (id, owner, created in Unix seconds)."""
    data = [
        {"type": "model", "id": name, "display_name": name, "created_at": f"{datetime.fromtimestamp(at, UTC):%FT%TZ}"}
        for name, _, at in models
    ]
    ends = {"first_id": data[0]["id"] if data else None, "last_id": data[-1]["id"] if data else None}
    return {"data": data, "has_more": False, **ends}


def error_body(status: int, kind: str, message: str, param: str | None = None) -> dict[str, Any]:
    """An error in Anthropic's form."""
    del kind, param  # it has no place for them
    return {"type": "error", "error": {"type": _ERRORS.get(status, "api_error"), "message": message}}


def _message(message: dict[str, Any]) -> list[dict[str, Any]]:
    """One message as the messages inside: results of tools become messages of their own."""
    role, content = message.get("role"), message.get("content")
    if role not in ("user", "assistant") or not isinstance(content, str | list):
        raise InvalidInput(
            "A message can't be read.", "It needs a role (user, assistant) and content.", "Correct it.", "messages"
        )
    if isinstance(content, str):
        return [{"role": role, "content": content}]
    blocks = [block for block in content if isinstance(block, dict)]
    results = [
        {"role": "tool", "tool_call_id": str(block.get("tool_use_id", "")), "content": _text_of(block.get("content"))}
        for block in blocks
        if block.get("type") == "tool_result"
    ]
    parts = [part for block in blocks if (part := _part(block)) is not None]
    calls = [_call(block) for block in blocks if block.get("type") == "tool_use"]
    rest: dict[str, Any] = {"role": role, "content": _joined(parts) or None}
    if calls:
        rest["tool_calls"] = calls
    return [*results, *([rest] if parts or calls else [])]


def _part(block: dict[str, Any]) -> dict[str, Any] | None:
    if block.get("type") == "text":
        return {"type": "text", "text": str(block.get("text", ""))}
    if block.get("type") == "image":
        source = block.get("source") or {}
        url = source.get("url") or f"data:{source.get('media_type')};base64,{source.get('data')}"
        return {"type": "image_url", "image_url": {"url": url}}
    return None


def _joined(parts: list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    """Text alone is sent as text: every provider takes that."""
    if all(part["type"] == "text" for part in parts):
        return "\n".join(part["text"] for part in parts)
    return parts


def _call(block: dict[str, Any]) -> dict[str, Any]:
    arguments = json.dumps(block.get("input") or {}, ensure_ascii=False)
    function = {"name": str(block.get("name", "")), "arguments": arguments}
    return {"id": str(block.get("id", "")), "type": "function", "function": function}


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    names = {"name": tool.get("name", ""), "description": tool.get("description", "")}
    return {"type": "function", "function": names | {"parameters": tool.get("input_schema") or {"type": "object"}}}


def _tool_choice(choice: Any) -> dict[str, Any]:
    kind = choice.get("type") if isinstance(choice, dict) else None
    found: dict[str, Any] = {}
    if kind == "tool":
        found["tool_choice"] = {"type": "function", "function": {"name": str(choice.get("name", ""))}}
    elif kind in ("auto", "any", "none"):
        found["tool_choice"] = "required" if kind == "any" else kind
    if kind is not None and choice.get("disable_parallel_tool_use") is True:
        found["parallel_tool_calls"] = False
    return found


def _text_of(content: Any) -> str:
    if isinstance(content, str):
        return content
    blocks = content if isinstance(content, list) else []
    return "\n".join(str(block.get("text", "")) for block in blocks if isinstance(block, dict))


def _input(call: dict[str, str]) -> Any:
    try:
        return json.loads(call["arguments"] or "{}")
    except ValueError:
        return {}


def _stop(finish: str | None) -> str:
    return _STOP.get(finish or "stop", finish or "end_turn")
