"""Ollama's own chat: lines of JSON, of which the last says `done` and counts; at once, that line is all."""

from collections.abc import Iterator, Mapping
from typing import Any

from lib.providers.chunks import Chunk, ReasoningDelta, TextDelta
from lib.providers.protocols import usage
from lib.providers.protocols.reader import Reader
from lib.providers.protocols.refusal import read_refusal
from lib.providers.protocols.tool_calls import encode_arguments


class OllamaChat(Reader):
    """The reader."""

    def __init__(self, images: int = 0) -> None:
        super().__init__(images)
        self._tools = 0

    def event(self, document: Mapping[str, Any]) -> Iterator[Chunk]:
        """A line, or all of it."""
        if "error" in document:
            raise read_refusal(document)
        self.has_begun = self.has_begun or not document.keys().isdisjoint(("message", "response", "done"))
        yield from self.served(document.get("model"))
        self.tools.seed = self.tools.seed or str(document.get("created_at") or "")
        message = document.get("message") or {}
        if thought := message.get("thinking"):
            yield ReasoningDelta(str(thought))
        if text := message.get("content") or document.get("response"):
            yield TextDelta(str(text))
        for tool in message.get("tool_calls") or []:
            yield from self._tool(tool)
        if document.get("done"):
            self.ended(document.get("done_reason") or "stop")
            yield from self.count(usage.read_ollama(document, self.images))

    def is_complete(self, document: Mapping[str, Any]) -> bool:
        """Whether it does not say that more follows."""
        return document.get("done") is not False

    def _tool(self, tool: Mapping[str, Any]) -> Iterator[Chunk]:
        function = tool.get("function") or {}
        index = self._tools
        self._tools += 1
        name = str(function.get("name") or "")
        arguments = encode_arguments(function.get("arguments"))
        yield from self.tools.take(index, str(tool.get("id") or ""), name, arguments)
        yield from self.tools.close(index)
