"""OpenAI's responses: named events that build up items (messages, reasoning, tool calls), or all items at once."""

from collections.abc import Iterator, Mapping
from typing import Any

from lib.providers.chunks import Chunk, ReasoningDelta, TextDelta, ToolCallDelta
from lib.providers.protocols import usage
from lib.providers.protocols.reader import Reader
from lib.providers.protocols.refusal import refusal

_TOOLS = {"function_call": "arguments", "custom_tool_call": "input"}
_PART_BREAK = "\n\n"


class Responses(Reader):
    """The reader."""

    def __init__(self, images: int = 0) -> None:
        super().__init__(images)
        self._tools: dict[Any, int] = {}  # the item's place in the output → the tool call's index
        self._said: set[Any] = set()  # places of items of which pieces have come
        self._has_reasoned = False

    def event(self, document: Mapping[str, Any]) -> Iterator[Chunk]:
        """One event; its type stands in the data."""
        kind, place = str(document.get("type") or ""), document.get("output_index")
        if document.get("object") == "response":
            yield from self.whole(document)
            return
        if kind == "error" or (not kind and "error" in document):
            raise refusal(document)
        self.has_begun = self.has_begun or kind.startswith("response.")
        text = document.get("delta")
        match kind:
            case "response.output_text.delta" | "response.refusal.delta" if text:
                self._said.add(place)
                yield TextDelta(str(text))
            case "response.reasoning_summary_text.delta" | "response.reasoning_text.delta" if text:
                self._said.add(place)
                self._has_reasoned = True
                yield ReasoningDelta(str(text))
            case "response.reasoning_summary_part.added" if self._has_reasoned:
                yield ReasoningDelta(_PART_BREAK)
            case "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta" if text:
                self._said.add(place)
                yield ToolCallDelta(self._tools.get(place, 0), arguments=str(text))
            case "response.output_item.added":
                yield from self._begin(place, document.get("item") or {})
            case "response.output_item.done":
                yield from self._item(place, document.get("item") or {})
            case "response.created" | "response.in_progress":
                yield from self.served((document.get("response") or {}).get("model"))
            case "response.completed" | "response.incomplete" | "response.failed" | "response.done":
                yield from self.whole(document.get("response") or {})

    def whole(self, document: Mapping[str, Any]) -> Iterator[Chunk]:
        """A response: what of its items has not come yet, the counts and how it ended."""
        self.has_begun = self.has_begun or "output" in document or "status" in document
        yield from self.served(document.get("model"))
        for place, item in enumerate(document.get("output") or []):
            yield from self._item(place, item)
        self._reason(document)
        told = document.get("usage")
        yield from self.count(usage.of_openai(told, self.images), usage.cost_nano_usd(told), complete=True)
        if document.get("error") or document.get("status") == "failed":
            self.finish = None
            raise refusal(document if document.get("error") else {"error": {"message": "", "type": "server_error"}})

    def _begin(self, place: Any, item: Mapping[str, Any]) -> Iterator[Chunk]:
        if item.get("type") in _TOOLS and place not in self._tools:
            index = self._tools[place] = len(self._tools)
            yield ToolCallDelta(index, str(item.get("call_id") or item.get("id") or ""), str(item.get("name") or ""))

    def _item(self, place: Any, item: Mapping[str, Any]) -> Iterator[Chunk]:
        """An item that is complete; said once, whether in pieces or here."""
        yield from self._begin(place, item)
        if place in self._said:
            return
        self._said.add(place)
        match item.get("type"):
            case "message":
                for part in item.get("content") or []:
                    if text := part.get("text") or part.get("refusal"):
                        yield TextDelta(str(text))
            case "reasoning":
                for part in item.get("summary") or item.get("content") or []:
                    if text := part.get("text"):
                        yield ReasoningDelta(_PART_BREAK + str(text) if self._has_reasoned else str(text))
                        self._has_reasoned = True
            case str(kind) if kind in _TOOLS:
                yield ToolCallDelta(self._tools[place], arguments=str(item.get(_TOOLS[kind]) or ""))

    def _reason(self, document: Mapping[str, Any]) -> None:
        match document.get("status"):
            case "completed":
                self.finish = "tool_calls" if self._tools else "stop"
            case "incomplete":
                why = (document.get("incomplete_details") or {}).get("reason") or "incomplete"
                self.finish = "length" if why in ("max_output_tokens", "max_tokens") else str(why)
            case str(status) if status not in ("in_progress", "queued", "failed"):
                self.finish = status
