"""Gemini's content: every event of a stream has the shape of a whole answer, with the counts so far.

A thought's signature must come back with the tool call it belongs to; it travels in the call's id, behind the mark at
which litellm looks for it.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from lib.providers.chunks import Chunk, ReasoningDelta, TextDelta, ToolCallDelta
from lib.providers.protocols import usage
from lib.providers.protocols.reader import Reader, as_json, made_up_id
from lib.providers.protocols.refusal import refusal

_SIGNATURE_MARK = "__thought__"
_REASONS = {"STOP": "stop", "MAX_TOKENS": "length"}
_FILTERED = ("SAFETY", "RECITATION", "PROHIBITED", "BLOCKLIST", "SPII", "LANGUAGE")


class Gemini(Reader):
    """The reader."""

    def __init__(self, images: int = 0) -> None:
        super().__init__(images)
        self._tools = 0

    def event(self, document: Mapping[str, Any]) -> Iterator[Chunk]:
        """A piece of an answer, or all of it."""
        if "error" in document:
            raise refusal(document)
        document = document.get("response") or document
        self.has_begun = self.has_begun or not document.keys().isdisjoint(("candidates", "usageMetadata"))
        yield from self.served(document.get("modelVersion"))
        for candidate in document.get("candidates") or []:
            if candidate.get("index"):
                continue
            for part in (candidate.get("content") or {}).get("parts") or []:
                yield from self._part(part, document.get("responseId"))
            if reason := candidate.get("finishReason"):
                self.finish = self._reason(str(reason))
        if (document.get("promptFeedback") or {}).get("blockReason"):
            self.has_begun, self.finish = True, "content_filter"
        yield from self.count(usage.of_gemini(document.get("usageMetadata"), self.images))

    def _part(self, part: Mapping[str, Any], response: Any) -> Iterator[Chunk]:
        if text := part.get("text"):
            yield ReasoningDelta(str(text)) if part.get("thought") else TextDelta(str(text))
        if isinstance(call := part.get("functionCall"), Mapping):
            index, name, arguments = self._tools, str(call.get("name") or ""), as_json(call.get("args") or {})
            self._tools += 1
            identity = str(call.get("id") or made_up_id(response, index, name, arguments))
            if signature := part.get("thoughtSignature"):
                identity += f"{_SIGNATURE_MARK}{signature}"
            yield ToolCallDelta(index, identity, name, arguments)

    def _reason(self, reason: str) -> str:
        if any(word in reason for word in _FILTERED):
            return "content_filter"
        known = _REASONS.get(reason, reason.lower())
        return "tool_calls" if known == "stop" and self._tools else known
