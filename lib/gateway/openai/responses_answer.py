"""An answer in OpenAI's responses (https://platform.openai.com/docs/api-reference/responses): events and whole bodies.

Items come in the order in which they begin: reasoning, message, function calls. Their ids name the call of the ledger,
and those of function calls which one of its calls it is, so that a later request can name them (`item_references`).
"""

import time
from dataclasses import dataclass, field
from typing import Any

from lib.gateway.models.ordered_pieces import OrderedPieces
from lib.gateway.models.program_request import encode_event
from lib.providers.chunks import Chunk, Finish, ReasoningDelta, ServedModel, TextDelta, ToolCallDelta, Usage
from lib.providers.protocols.finish import standardise_reason


@dataclass
class _Item:
    """An item of the answer: what it says so far, and its place."""

    kind: str
    index: int
    id: str
    tool: int = 0
    call_id: str = ""
    name: str = ""
    text: str = ""

    def body(self, status: str) -> dict[str, Any]:
        if self.kind == "reasoning":
            return {"id": self.id, "type": "reasoning", "summary": [{"type": "summary_text", "text": self.text}]}
        if self.kind == "function_call":
            called = {"call_id": self.call_id, "name": self.name, "arguments": self.text}
            return {"id": self.id, "type": "function_call", "status": status, **called}
        content = [_build_text_part(self.text)] if status == "completed" else []
        return {"id": self.id, "type": "message", "status": status, "role": "assistant", "content": content}


@dataclass
class ResponsesWriter:
    """An answer as it is written: `begin`, `chunk` and `end` for events, `whole` for one body."""

    id: str
    model: str
    created: int = field(default_factory=lambda: int(time.time()))
    _items: list[_Item] = field(default_factory=list)
    _open: bool = False
    _number: int = -1
    _finish: str | None = None
    _order: OrderedPieces = field(default_factory=OrderedPieces)

    def begin(self) -> bytes:
        """The first events."""
        response = self._body("in_progress", None)
        return self._event("response.created", response=response) + self._event(
            "response.in_progress", response=response
        )

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
                return self._write_piece("message", 0, text, "response.output_text.delta", content_index=0, logprobs=[])
            case ReasoningDelta(text) if text:
                return self._write_piece("reasoning", 0, text, "response.reasoning_summary_text.delta", summary_index=0)
            case ToolCallDelta():
                name = "response.function_call_arguments.delta"
                return self._write_piece("function_call", chunk.index, chunk.arguments, name, tool=chunk)
            case ServedModel(model):
                self.model = model
            case Finish(reason):
                self._finish = reason
            case _:
                pass
        return b""

    def end(self, usage: Usage | None) -> bytes:
        """The last events of an answer that came to its end."""
        name = "response.incomplete" if self._is_cut else "response.completed"
        return (
            self._write_waiting()
            + self._end_item()
            + self._event(name, response=self._body(name.partition(".")[2], usage))
        )

    def error(self, status: int, kind: str, message: str) -> bytes:
        """The events of an answer that broke off."""
        del kind
        last_events = self._write_waiting() + self._end_item()
        code = "rate_limit_exceeded" if status == 429 else "server_error" if status >= 500 else "invalid_prompt"
        body = self._body("failed", None) | {"error": {"code": code, "message": message}}
        return last_events + self._event("response.failed", response=body)

    def whole(
        self, text: str, reasoning: str, tool_calls: list[dict[str, str]], finish: str | None, usage: Usage | None
    ) -> dict[str, Any]:
        """The body of a whole answer."""
        self._finish = finish
        if reasoning:
            self._items.append(_Item("reasoning", 0, f"rs_{self.id}", text=reasoning))
        if text:
            self._items.append(_Item("message", len(self._items), f"msg_{self.id}", text=text))
        for number, call in enumerate(tool_calls):
            index = len(self._items)
            identity = f"fc_{self.id}_{number}"
            item = _Item("function_call", index, identity, number, call["id"], call["name"], call["arguments"])
            self._items.append(item)
        return self._body("incomplete" if self._is_cut else "completed", usage)

    @property
    def _is_cut(self) -> bool:
        return standardise_reason(self._finish) in ("length", "content_filter")

    def _write_piece(
        self, kind: str, number: int, text: str, name: str, *, tool: ToolCallDelta | None = None, **fields: Any
    ) -> bytes:
        began = self._begin_item(kind, number, tool)
        item = self._items[-1]
        item.text += text
        if not text:
            return began
        return began + self._event(name, item_id=item.id, output_index=item.index, delta=text, **fields)

    def _begin_item(self, kind: str, number: int, tool: ToolCallDelta | None) -> bytes:
        """Begin an item unless it is the one being written."""
        last = self._items[-1] if self._open else None
        if last is not None and (last.kind, last.tool) == (kind, number):
            return b""
        item_end = self._end_item()
        index = len(self._items)
        prefix = {"message": "msg", "reasoning": "rs", "function_call": "fc"}[kind]
        item = _Item(kind, index, f"{prefix}_{self.id}_{number if kind == 'function_call' else index}", number)
        if tool is not None:
            item.call_id = tool.id
            item.name = tool.name
        self._items.append(item)
        self._open = True
        began = self._event("response.output_item.added", output_index=index, item=item.body("in_progress"))
        if kind == "message":
            position = {"item_id": item.id, "output_index": index, "content_index": 0}
            began += self._event("response.content_part.added", **position, part=_build_text_part(""))
        return item_end + began

    def _end_item(self) -> bytes:
        """End the item being written."""
        if not self._open:
            return b""
        self._open = False
        item = self._items[-1]
        position = {"item_id": item.id, "output_index": item.index}
        done = b""
        if item.kind == "message":
            text = {"text": item.text, "logprobs": list[Any]()}
            done = self._event("response.output_text.done", **position, content_index=0, **text)
            done += self._event(
                "response.content_part.done", **position, content_index=0, part=_build_text_part(item.text)
            )
        elif item.kind == "function_call":
            done = self._event("response.function_call_arguments.done", **position, name=item.name, arguments=item.text)
        body = item.body("completed")
        return done + self._event("response.output_item.done", output_index=item.index, item=body)

    def _event(self, name: str, /, **values: Any) -> bytes:
        self._number += 1
        return encode_event({"type": name, "sequence_number": self._number, **values}, name)

    def _body(self, status: str, usage: Usage | None) -> dict[str, Any]:
        why = {
            "reason": "content_filter" if standardise_reason(self._finish) == "content_filter" else "max_output_tokens"
        }
        return {
            "id": f"resp_{self.id}",
            "object": "response",
            "created_at": self.created,
            "status": status,
            "model": self.model,
            "output": [] if status == "in_progress" else [item.body("completed") for item in self._items],
            "error": None,
            "incomplete_details": why if status == "incomplete" else None,
            "instructions": None,
            "metadata": {},
            "parallel_tool_calls": True,
            "temperature": None,
            "tool_choice": "auto",
            "tools": [],
            "top_p": None,
            "usage": build_usage_body(usage) if usage else None,
        }


def build_usage_body(usage: Usage) -> dict[str, Any]:
    """Counts in this protocol's form."""
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cache_read_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.total_tokens,
    }


def _build_text_part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
