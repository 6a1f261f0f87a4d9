"""Anthropic's messages, streamed or at once.

The prompt's count comes with the first event and is reported at once, as partial; the answer's with the last. Counts
only grow, so of two the larger holds. Thoughts are reasoning; tools that Anthropic runs itself are none of ours.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from lib.providers.chunks import Chunk, ReasoningDelta, TextDelta, ToolCallDelta
from lib.providers.protocols import usage
from lib.providers.protocols.reader import Reader, as_json
from lib.providers.protocols.refusal import refusal

_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


class AnthropicMessages(Reader):
    """The reader."""

    def __init__(self, images: int = 0) -> None:
        super().__init__(images)
        self._told: dict[str, Any] = {}
        self._tools: dict[int, int] = {}  # the block's index → the tool call's
        self._unsaid: dict[int, Any] = {}  # tool calls without arguments so far → those their block began with

    def event(self, document: Mapping[str, Any]) -> Iterator[Chunk]:
        """One event; its type stands in the data."""
        index = document.get("index") or 0
        match document.get("type"):
            case "message_start":
                self.has_begun = True
                message = document.get("message") or {}
                yield from self.served(message.get("model"))
                yield from self._usage(message.get("usage"))
            case "content_block_start":
                yield from self._block(index, document.get("content_block") or {})
            case "content_block_delta":
                yield from self._delta(index, document.get("delta") or {})
            case "content_block_stop" if index in self._unsaid:
                yield ToolCallDelta(self._tools[index], arguments=as_json(self._unsaid.pop(index)))
            case "message_delta":
                self._reason((document.get("delta") or {}).get("stop_reason"))
                yield from self._usage(document.get("usage"))
            case "error":
                raise refusal(document)
            case "message":
                yield from self.whole(document)
            case None if "error" in document:
                raise refusal(document)

    def whole(self, document: Mapping[str, Any]) -> Iterator[Chunk]:
        """A message."""
        if document.get("type") == "error" or "error" in document:
            raise refusal(document)
        self.has_begun = "content" in document
        yield from self.served(document.get("model"))
        for index, block in enumerate(document.get("content") or []):
            yield from self._block(index, block)
            if index in self._unsaid:
                yield ToolCallDelta(self._tools[index], arguments=as_json(self._unsaid.pop(index)))
        self._reason(document.get("stop_reason"))
        yield from self._usage(document.get("usage"))

    def _block(self, index: int, block: Mapping[str, Any]) -> Iterator[Chunk]:
        match block.get("type"):
            case "text" if block.get("text"):
                yield TextDelta(str(block["text"]))
            case "thinking" if block.get("thinking"):
                yield ReasoningDelta(str(block["thinking"]))
            case "tool_use":
                self._tools[index] = len(self._tools)
                self._unsaid[index] = block.get("input") or {}
                yield ToolCallDelta(self._tools[index], str(block.get("id") or ""), str(block.get("name") or ""))

    def _delta(self, index: int, delta: Mapping[str, Any]) -> Iterator[Chunk]:
        match delta.get("type"):
            case "text_delta" if delta.get("text"):
                yield TextDelta(str(delta["text"]))
            case "thinking_delta" if delta.get("thinking"):
                yield ReasoningDelta(str(delta["thinking"]))
            case "input_json_delta" if delta.get("partial_json") and index in self._tools:
                self._unsaid.pop(index, None)
                yield ToolCallDelta(self._tools[index], arguments=str(delta["partial_json"]))

    def _reason(self, reason: Any) -> None:
        if reason:
            self.finish = _REASONS.get(str(reason), str(reason))

    def _usage(self, told: Any) -> Iterator[Chunk]:
        if not isinstance(told, Mapping):
            return
        for name, value in told.items():
            before = self._told.get(name)
            if isinstance(value, int) and isinstance(before, int):
                self._told[name] = max(before, value)
            elif value is not None:
                self._told[name] = value
        yield from self.count(usage.of_anthropic(self._told, self.images))
