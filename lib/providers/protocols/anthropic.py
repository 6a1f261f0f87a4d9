"""Anthropic's messages, streamed or at once.

The prompt's count comes with the first event and is reported at once, as partial; the answer's with the last. Counts
only grow, so of two the larger holds. Thoughts are reasoning; tools that Anthropic runs itself are none of ours.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from lib.providers.chunks import Chunk, ReasoningDelta, TextDelta, ThoughtBlock, UsesSoFar
from lib.providers.protocols import usage
from lib.providers.protocols.reader import Reader
from lib.providers.protocols.refusal import read_refusal
from lib.providers.protocols.tool_calls import encode_arguments

_WEB = frozenset({"web_search", "web_fetch"})


class AnthropicMessages(Reader):
    """The reader."""

    def __init__(self, images: int = 0) -> None:
        super().__init__(images)
        self._told: dict[str, Any] = {}
        self._unsaid: dict[Any, Any] = {}  # tool calls without arguments so far → those their block began with
        self._others: set[Any] = set()  # blocks that are no tool calls of ours
        self._thoughts: dict[Any, dict[str, str]] = {}  # blocks of thinking that are open
        self._uses: dict[str, int] = {}  # of tools that Anthropic runs, by the blocks that call them

    def event(self, document: Mapping[str, Any]) -> Iterator[Chunk]:
        """One event; its type stands in the data."""
        index = document.get("index") or 0
        match document.get("type"):
            case "message_start":
                self.has_begun = True
                message = document.get("message") or {}
                self.tools.seed = str(message.get("id") or "")
                yield from self.served(message.get("model"))
                yield from self._usage(message.get("usage"))
            case "content_block_start":
                yield from self._block(index, document.get("content_block") or {})
            case "content_block_delta":
                yield from self._delta(index, document.get("delta") or {})
            case "content_block_stop":
                yield from self._stop(index)
            case "message_delta":
                delta = document.get("delta") or {}
                self.note_sequence(delta.get("stop_sequence"))
                self.ended(delta.get("stop_reason"))
                yield from self._usage(document.get("usage"))
            case "message_stop":
                self.is_whole = True
            case "error":
                raise read_refusal(document)
            case "message":
                yield from self.whole(document)
            case None if "error" in document:
                raise read_refusal(document)

    def body(self, document: Mapping[str, Any]) -> Iterator[Chunk]:
        """Yield the chunks of a whole message, which came at once; raises the refusal when it states an error."""
        if document.get("type") == "error" or "error" in document:
            raise read_refusal(document)
        self.has_begun = "content" in document
        self.tools.seed = str(document.get("id") or "")
        yield from self.served(document.get("model"))
        for index, block in enumerate(document.get("content") or []):
            yield from self._block(index, block)
            yield from self._stop(index)
        self.note_sequence(document.get("stop_sequence"))
        self.ended(document.get("stop_reason"))
        yield from self._usage(document.get("usage"))

    def _block(self, index: Any, block: Mapping[str, Any]) -> Iterator[Chunk]:
        self._others.add(index)
        match block.get("type"):
            case "text" if block.get("text"):
                yield TextDelta(str(block["text"]))
            case "thinking":
                thought = str(block.get("thinking") or "")
                self._thoughts[index] = {"thinking": thought, "signature": str(block.get("signature") or "")}
                if thought:
                    yield ReasoningDelta(thought)
            case "redacted_thinking" if block.get("data"):
                yield ThoughtBlock({"type": "redacted_thinking", "data": str(block["data"])})
            case "server_tool_use":
                yield from self._used(str(block.get("name") or "")[:40])
            case "tool_use":
                self._others.discard(index)
                self._unsaid[index] = block.get("input")
                yield from self.tools.begin(index, str(block.get("id") or ""), str(block.get("name") or ""))

    def _used(self, name: str) -> Iterator[Chunk]:
        """Count a tool that Anthropic runs. Code runs under three names, and free of charge beside the web's tools.

        Source: platform.claude.com, pricing, "Code execution tool".
        """
        use = "code_execution" if name.endswith("code_execution") else name
        self._uses[use] = self._uses.get(use, 0) + 1
        if not _WEB.isdisjoint(self._uses):
            self._uses.pop("code_execution", None)
        yield UsesSoFar(dict(self._uses))

    def _delta(self, index: Any, delta: Mapping[str, Any]) -> Iterator[Chunk]:
        match delta.get("type"):
            case "text_delta" if delta.get("text"):
                yield TextDelta(str(delta["text"]))
            case "thinking_delta" if delta.get("thinking"):
                self._add_thought(index, "thinking", str(delta["thinking"]))
                yield ReasoningDelta(str(delta["thinking"]))
            case "signature_delta" if delta.get("signature"):
                self._add_thought(index, "signature", str(delta["signature"]))
            case "input_json_delta" if delta.get("partial_json") and index not in self._others:
                self._unsaid.pop(index, None)
                yield from self.tools.add(index, encode_arguments(delta["partial_json"]))

    def _add_thought(self, index: Any, name: str, text: str) -> None:
        thought = self._thoughts.setdefault(index, {"thinking": "", "signature": ""})
        thought[name] += text

    def _stop(self, index: Any) -> Iterator[Chunk]:
        """A block ends: the arguments that a tool call began with are its own where no others came."""
        thought = self._thoughts.pop(index, None)
        if thought is not None and thought["signature"]:
            yield ThoughtBlock({"type": "thinking", **thought})
        if index in self._unsaid:
            yield from self.tools.add(index, encode_arguments(self._unsaid.pop(index)))
        if index not in self._others:
            yield from self.tools.close(index)

    def _usage(self, counts: Any) -> Iterator[Chunk]:
        if not isinstance(counts, Mapping):
            return
        for name, value in counts.items():
            previous = self._told.get(name)
            if isinstance(value, int) and isinstance(previous, int):
                self._told[name] = max(previous, value)
            elif value is not None:
                self._told[name] = value
        counted = usage.read_anthropic(self._told, self.images)
        if counted is not None and (runs := self._uses.get("code_execution")):  # the only use that is in no count
            counted = usage.add_uses(counted, {"code_execution": runs})
        yield from self.count(counted)
