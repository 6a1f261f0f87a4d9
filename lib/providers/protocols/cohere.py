"""Cohere's chat (v2), streamed or at once; litellm's own reading of its stream loses the end and the counts.

The tokens that were billed and those that were read are told apart; the ledger keeps those that were read.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from lib.providers.chunks import Chunk, ReasoningDelta, TextDelta
from lib.providers.protocols import usage
from lib.providers.protocols.reader import Reader
from lib.providers.protocols.refusal import read_refusal
from lib.providers.protocols.tool_calls import encode_arguments


class CohereChat(Reader):
    """The reader."""

    def event(self, document: Mapping[str, Any]) -> Iterator[Chunk]:
        """One event; its type stands in the data."""
        kind = document.get("type")
        delta = document.get("delta") or {}
        if kind == "error" or "error" in document:
            raise read_refusal(document)
        if kind is None:
            yield from self.whole(document)
            return
        self.has_begun = True
        self.tools.seed = self.tools.seed or str(document.get("id") or "")
        message = delta.get("message") or {}
        index = document.get("index") or 0
        match kind:
            case "content-start" | "content-delta":
                yield from _yield_content(message.get("content") or {})
            case "tool-plan-delta" if message.get("tool_plan"):
                yield ReasoningDelta(str(message["tool_plan"]))
            case "tool-call-start":
                yield from self.tools.begin(index, *_read_tool_call(message.get("tool_calls")))
            case "tool-call-delta":
                yield from self.tools.add(index, _read_tool_call(message.get("tool_calls"))[2])
            case "tool-call-end":
                yield from self.tools.close(index)
            case "message-end":
                yield from self._end(delta)
                self.is_whole = True

    def body(self, document: Mapping[str, Any]) -> Iterator[Chunk]:
        """An answer; a refusal has a message that is a text."""
        message = document.get("message")
        if not isinstance(message, Mapping):
            raise read_refusal(document)
        self.has_begun = True
        self.tools.seed = str(document.get("id") or "")
        if plan := message.get("tool_plan"):
            yield ReasoningDelta(str(plan))
        for part in message.get("content") or []:
            yield from _yield_content(part)
        for index, tool in enumerate(message.get("tool_calls") or []):
            yield from self.tools.begin(index, *_read_tool_call(tool))
            yield from self.tools.close(index)
        yield from self._end(document)

    def _end(self, ending: Mapping[str, Any]) -> Iterator[Chunk]:
        if ending.get("error"):
            raise read_refusal({"error": {"message": ending["error"], "type": "server_error"}})
        self.ended(ending.get("finish_reason"))
        counts = ending.get("usage") or {}
        tokens = dict(counts.get("tokens") or counts.get("billed_units") or {})
        cached = counts.get("cached_tokens")
        searches = (counts.get("billed_units") or {}).get("search_units")
        yield from self.count(
            usage.read_openai(tokens | {"cached_tokens": cached, "search_units": searches}, self.images)
        )


def _yield_content(part: Mapping[str, Any]) -> Iterator[Chunk]:
    if thought := part.get("thinking"):
        yield ReasoningDelta(str(thought))
    if text := part.get("text"):
        yield TextDelta(str(text))


def _read_tool_call(piece: Any) -> tuple[str, str, str]:
    """Id, name and arguments in a piece of a tool call."""
    tool = piece[0] if isinstance(piece, list) and piece else piece
    tool = tool if isinstance(tool, Mapping) else {}
    function = tool.get("function") or {}
    return str(tool.get("id") or ""), str(function.get("name") or ""), encode_arguments(function.get("arguments"))
