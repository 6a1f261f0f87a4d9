"""Ollama's own chat: lines of JSON, of which the last says `done` and counts; at once, that line is all."""

from collections.abc import Iterator, Mapping
from typing import Any

from lib.providers.chunks import Chunk, ReasoningDelta, TextDelta, ToolCallDelta
from lib.providers.protocols import usage
from lib.providers.protocols.reader import Reader, as_json, made_up_id
from lib.providers.protocols.refusal import refusal


class OllamaChat(Reader):
    """The reader."""

    def __init__(self, images: int = 0) -> None:
        super().__init__(images)
        self._tools = 0

    def event(self, document: Mapping[str, Any]) -> Iterator[Chunk]:
        """A line, or all of it."""
        if "error" in document:
            raise refusal(document)
        self.has_begun = self.has_begun or not document.keys().isdisjoint(("message", "response", "done"))
        yield from self.served(document.get("model"))
        message = document.get("message") or {}
        if thought := message.get("thinking"):
            yield ReasoningDelta(str(thought))
        if text := message.get("content") or document.get("response"):
            yield TextDelta(str(text))
        for tool in message.get("tool_calls") or []:
            yield self._tool(tool, document.get("created_at"))
        if document.get("done"):
            reason = str(document.get("done_reason") or "stop")
            self.finish = "tool_calls" if reason == "stop" and self._tools else reason
            yield from self.count(usage.of_ollama(document, self.images))

    def _tool(self, tool: Mapping[str, Any], created: Any) -> ToolCallDelta:
        function, index = tool.get("function") or {}, self._tools
        self._tools += 1
        name, arguments = str(function.get("name") or ""), function.get("arguments")
        text = arguments if isinstance(arguments, str) else as_json(arguments or {})
        return ToolCallDelta(index, str(tool.get("id") or made_up_id(created, index, name, text)), name, text)
