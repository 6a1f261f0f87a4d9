"""OpenAI's responses: named events that build up items (messages, reasoning, tool calls), or all items at once."""

from collections.abc import Iterator, Mapping
from typing import Any

from lib.providers.chunks import AnswerId, Chunk, ReasoningDelta, TextDelta, UsesSoFar
from lib.providers.protocols import usage
from lib.providers.protocols.reader import Reader
from lib.providers.protocols.refusal import read_refusal
from lib.providers.protocols.tool_calls import encode_arguments

_TOOLS = {"function_call": "arguments", "custom_tool_call": "input"}
_WHOLE = {
    "response.function_call_arguments.done": "arguments",
    "response.custom_tool_call_input.done": "input",
}
_CHARGED_CALLS = ("web_search_call", "file_search_call", "image_generation_call")
_CALLS_IN_CONTAINERS = ("code_interpreter_call", "shell_call")
_CALLS_RUN = frozenset((*_CHARGED_CALLS, *_CALLS_IN_CONTAINERS))
_PART_BREAK = "\n\n"


class Responses(Reader):
    """The reader. An item is known by its ids, else by its place in the output: servers get either wrong."""

    def __init__(self, images: int = 0) -> None:
        super().__init__(images)
        self._items: list[str] = []  # the kinds of those that have begun, by our number
        self._known: dict[Any, int] = {}  # an item's ids, and its place → our number
        self._named: set[int] = set()  # tool calls that have begun
        self._said: set[int] = set()  # items of which pieces have come
        self._has_reasoned = False
        self._run: dict[str, Any] = {"output": []}  # what OpenAI ran itself, in the form of a response

    def event(self, document: Mapping[str, Any]) -> Iterator[Chunk]:
        """One event; its type stands in the data."""
        kind = str(document.get("type") or "")
        if document.get("object") == "response":
            yield from self.whole(document)
            return
        if kind == "error" or (not kind and "error" in document):
            raise read_refusal(document)
        self.has_begun = self.has_begun or kind.startswith("response.")
        item = document.get("item") or {}
        match kind:
            case "response.output_item.added":
                yield from self._begin(self._number(document.get("output_index"), item), item)
            case "response.output_item.done":
                yield from self._item(self._number(document.get("output_index"), item), item)
                yield from self._used(item)
            case "response.created" | "response.in_progress":
                yield from self._head(document.get("response") or {})
            case "response.completed" | "response.incomplete" | "response.failed" | "response.done":
                yield from self.body(document.get("response") or {})
                self.is_whole = kind in ("response.completed", "response.done")
            case _:
                yield from self._piece(kind, document)

    def body(self, document: Mapping[str, Any]) -> Iterator[Chunk]:
        """A response: what of its items has not come yet, the counts and how it ended."""
        self.has_begun = self.has_begun or "output" in document or "status" in document
        yield from self._head(document)
        had = {self._items[number] for number in self._said}
        for output_index, item in enumerate(document.get("output") or []):
            number = self._number(output_index, item)
            if number in self._said or item.get("type") in _TOOLS or item.get("type") not in had:
                yield from self._item(number, item)
        self._reason(document)
        reported_usage = document.get("usage")
        counted = usage.read_openai(reported_usage, self.images, document.get("service_tier"))
        if counted is not None:
            counted = usage.add_uses(counted, _count_uses(document))
        yield from self.count(counted, usage.read_cost_nano(reported_usage), complete=True)
        if document.get("error") or document.get("status") == "failed":
            self.finish = None
            raise read_refusal(
                document if document.get("error") else {"error": {"message": "", "type": "server_error"}}
            )

    def is_complete(self, document: Mapping[str, Any]) -> bool:
        """Whether it does not say that more follows."""
        return document.get("status") not in ("in_progress", "queued", "cancelled")

    def _head(self, document: Mapping[str, Any]) -> Iterator[Chunk]:
        if not self.tools.seed and (answer_id := str(document.get("id") or "")):
            self.tools.seed = answer_id
            yield AnswerId(answer_id)
        self._run |= {name: document[name] for name in ("tools", "model") if document.get(name)}
        yield from self.served(document.get("model"))

    def _used(self, item: Mapping[str, Any]) -> Iterator[Chunk]:
        """Tell a use that has ended, for an answer that may be cut: its counts tell all of them."""
        if item.get("type") in _CALLS_RUN:
            self._run["output"].append(item)
            yield UsesSoFar(_count_uses(self._run))

    def _number(self, output_index: Any, item: Mapping[str, Any]) -> int:
        """Our number of an item, of which an event tells a place and perhaps ids."""
        kind = str(item.get("type") or "")
        ids = [str(item[name]) for name in ("call_id", "id") if item.get(name)]
        number = next((self._known[identity] for identity in ids if identity in self._known), None)
        places = (
            [(output_index, item.get("call_id")), (output_index, None)] if output_index is not None or not ids else []
        )
        if number is None:
            number = next((self._known[key] for key in places if key in self._known), None)
            if number is not None and self._items[number] not in ("", kind):
                number = None
        if number is None:
            number = len(self._items)
            self._items.append(kind)
        self._items[number] = self._items[number] or kind
        self._known |= dict.fromkeys([*ids, *places[:1], ("at", output_index)], number)
        return number

    def _piece(self, kind: str, document: Mapping[str, Any]) -> Iterator[Chunk]:
        """A piece of an item's words or arguments, or all of the arguments."""
        if kind == "response.reasoning_summary_part.added" and self._has_reasoned:
            yield ReasoningDelta(_PART_BREAK)
        text = document.get(_WHOLE.get(kind, "delta"))
        if not text or not (kind in _WHOLE or kind.endswith(".delta")):
            return
        identity = document.get("item_id")
        output_index = document.get("output_index")
        number = self._known.get(str(identity))
        if number is None and (output_index is not None or not identity):
            number = self._known.get(("at", output_index))
        if number is None:
            number = self._number(output_index, {"id": identity})
        match kind:
            case "response.output_text.delta" | "response.refusal.delta":
                self._mark(number, "message")
                yield TextDelta(str(text))
            case "response.reasoning_summary_text.delta" | "response.reasoning_text.delta":
                self._mark(number, "reasoning")
                self._has_reasoned = True
                yield ReasoningDelta(str(text))
            case "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta":
                self._said.add(number)
                if number not in self._named:
                    yield from self._begin(
                        number, {"type": "custom_tool_call" if "custom" in kind else "function_call"}
                    )
                yield from self.tools.add(number, encode_arguments(text))
            case _ if kind in _WHOLE:
                yield from self._settle(number, encode_arguments(text))

    def _mark(self, number: int, kind: str) -> None:
        self._said.add(number)
        self._items[number] = self._items[number] or kind

    def _begin(self, number: int, item: Mapping[str, Any]) -> Iterator[Chunk]:
        kind = item.get("type")
        name = str(item.get("name") or "")
        if kind not in _TOOLS:
            return
        identity = str(item.get("call_id") or item.get("id") or "")
        is_text = _TOOLS[kind] == "input"
        if number not in self._named:
            self._named.add(number)
            yield from self.tools.begin(number, identity, name, is_text=is_text)
        else:
            yield from self.tools.name(number, identity, name)

    def _settle(self, number: int, arguments: str) -> Iterator[Chunk]:
        self._said.add(number)
        yield from self.tools.settle(number, arguments)

    def _item(self, number: int, item: Mapping[str, Any]) -> Iterator[Chunk]:
        """An item that is complete; said once, whether in pieces or here."""
        kind = item.get("type")
        yield from self._begin(number, item)
        if kind in _TOOLS:
            yield from self._settle(number, encode_arguments(item.get(_TOOLS[kind])))
        if number in self._said:
            return
        self._said.add(number)
        match kind:
            case "message":
                for part in item.get("content") or []:
                    if text := part.get("text") or part.get("refusal"):
                        yield TextDelta(str(text))
            case "reasoning":
                for part in item.get("summary") or item.get("content") or []:
                    if text := part.get("text"):
                        yield ReasoningDelta(_PART_BREAK + str(text) if self._has_reasoned else str(text))
                        self._has_reasoned = True

    def _reason(self, document: Mapping[str, Any]) -> None:
        match document.get("status"):
            case "completed":
                self.finish = "stop"
            case "incomplete":
                self.ended((document.get("incomplete_details") or {}).get("reason") or "incomplete")
            case str(status) if status not in ("in_progress", "queued", "failed"):
                self.ended(status)


def _count_uses(document: Mapping[str, Any]) -> dict[str, int]:
    """Count what a response shows that OpenAI charges beside tokens: uses of its own tools, by their fee's name.

    A search is charged, opening a page and finding in it are not; code runs in a container, which is charged once.
    With models that don't reason the preview of the search tool costs more (developers.openai.com, pricing).
    """
    counts: dict[str, int] = {}
    containers: set[str] = set()
    for item in document.get("output") or []:
        if not isinstance(item, Mapping):
            continue
        kind = str(item.get("type") or "")
        action = item.get("action")
        if kind == "web_search_call" and isinstance(action, Mapping) and action.get("type") not in (None, "search"):
            continue
        if kind in _CALLS_IN_CONTAINERS:
            containers.add(str(item.get("container_id") or ""))
        elif kind in _CHARGED_CALLS:
            use = kind.removesuffix("_call")
            counts[use] = counts.get(use, 0) + 1
    if containers:
        counts["code_interpreter"] = len(containers)
    if counts.get("web_search") and _has_preview_search(document):
        counts["web_search_preview"] = counts.pop("web_search")
    return counts


def _has_preview_search(document: Mapping[str, Any]) -> bool:
    tools = document.get("tools")
    kinds = [str(tool.get("type")) for tool in tools if isinstance(tool, Mapping)] if isinstance(tools, list) else []
    is_preview = any(kind.startswith("web_search_preview") for kind in kinds)
    return is_preview and str(document.get("model") or "").startswith(("gpt-4o", "gpt-4.1"))
