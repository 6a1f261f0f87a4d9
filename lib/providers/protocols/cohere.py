"""Cohere's chat (v2), streamed or at once; litellm's own reading of its stream loses the end and the counts.

The tokens that were billed and those that were read are told apart; the ledger keeps those that were read.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from lib.providers.chunks import Chunk, ReasoningDelta, TextDelta, ToolCallDelta
from lib.providers.protocols import usage
from lib.providers.protocols.reader import Reader
from lib.providers.protocols.refusal import refusal

_REASONS = {"COMPLETE": "stop", "STOP_SEQUENCE": "stop", "MAX_TOKENS": "length", "TOOL_CALL": "tool_calls"}


class CohereChat(Reader):
    """The reader."""

    def event(self, document: Mapping[str, Any]) -> Iterator[Chunk]:
        """One event; its type stands in the data."""
        kind, delta = document.get("type"), document.get("delta") or {}
        if kind == "error" or "error" in document:
            raise refusal(document)
        if kind is None:
            yield from self.whole(document)
            return
        self.has_begun = True
        message = delta.get("message") or {}
        match kind:
            case "content-start" | "content-delta":
                yield from _content(message.get("content") or {})
            case "tool-plan-delta" if message.get("tool_plan"):
                yield ReasoningDelta(str(message["tool_plan"]))
            case "tool-call-start" | "tool-call-delta":
                yield _tool(document.get("index") or 0, message.get("tool_calls") or {})
            case "message-end":
                yield from self._end(delta)

    def whole(self, document: Mapping[str, Any]) -> Iterator[Chunk]:
        """An answer; a refusal has a message that is a text."""
        message = document.get("message")
        if not isinstance(message, Mapping):
            raise refusal(document)
        self.has_begun = True
        if plan := message.get("tool_plan"):
            yield ReasoningDelta(str(plan))
        for part in message.get("content") or []:
            yield from _content(part)
        for index, tool in enumerate(message.get("tool_calls") or []):
            yield _tool(index, tool)
        yield from self._end(document)

    def _end(self, told: Mapping[str, Any]) -> Iterator[Chunk]:
        if told.get("error") or told.get("finish_reason") in ("ERROR", "TIMEOUT"):
            raise refusal({"error": {"message": told.get("error") or "", "type": "server_error"}})
        if reason := told.get("finish_reason"):
            self.finish = _REASONS.get(str(reason), str(reason).lower())
        counts = told.get("usage") or {}
        tokens = dict(counts.get("tokens") or counts.get("billed_units") or {})
        yield from self.count(usage.of_openai(tokens | {"cached_tokens": counts.get("cached_tokens")}, self.images))


def _content(part: Mapping[str, Any]) -> Iterator[Chunk]:
    if thought := part.get("thinking"):
        yield ReasoningDelta(str(thought))
    if text := part.get("text"):
        yield TextDelta(str(text))


def _tool(index: int, tool: Mapping[str, Any]) -> ToolCallDelta:
    function = tool.get("function") or {}
    return ToolCallDelta(
        index, str(tool.get("id") or ""), str(function.get("name") or ""), str(function.get("arguments") or "")
    )
