"""OpenAI's chat completions, as OpenAI and everybody who followed send them, streamed or at once.

Reasoning stands in `reasoning_content`, `reasoning`, `reasoning_details` or in parts of the content; usage at the end,
in `x_groq` or in every chunk; an error may come after a good beginning. Text completions are read as well.
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from lib.providers.chunks import Chunk, ReasoningDelta, TextDelta, ToolCallDelta
from lib.providers.protocols import usage
from lib.providers.protocols.framing import parse
from lib.providers.protocols.reader import Reader, as_json
from lib.providers.protocols.refusal import refusal

_REASONS = {"function_call": "tool_calls", "model_length": "length", "eos": "stop", "eos_token": "stop"}


class _Delta(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    content: str | None = None
    role: str | None = None
    refusal: None = None
    tool_calls: None = None
    function_call: None = None
    reasoning: None = None
    reasoning_content: None = None


class _Choice(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    delta: _Delta
    index: int = 0
    finish_reason: None = None
    logprobs: msgspec.Raw = msgspec.Raw(b"null")
    native_finish_reason: None = None


class _Words(msgspec.Struct, gc=False):
    """The event that nearly all of a stream consists of: some words of the one answer, and nothing else to read."""

    choices: tuple[_Choice]
    model: str = ""
    usage: None = None
    error: None = None
    x_groq: None = None


class _Message(_Delta, forbid_unknown_fields=True, gc=False):
    annotations: msgspec.Raw = msgspec.Raw(b"null")


class _Only(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    message: _Message
    finish_reason: str
    index: int = 0
    logprobs: msgspec.Raw = msgspec.Raw(b"null")
    native_finish_reason: msgspec.Raw = msgspec.Raw(b"null")


class _Answer(msgspec.Struct, gc=False):
    """The body that nearly all whole answers are: one message of words alone."""

    choices: tuple[_Only]
    usage: dict[str, Any]
    model: str = ""
    error: None = None
    x_groq: None = None


_words = msgspec.json.Decoder(_Words).decode
_answer = msgspec.json.Decoder(_Answer, float_hook=Decimal).decode


class OpenAIChat(Reader):
    """The reader."""

    @staticmethod
    def parse(data: bytes) -> Any:
        """A document; most are decoded into `_Words`, which costs a fifth."""
        try:
            return _words(data)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            return parse(data)

    def read(self, document: Any) -> list[Chunk]:
        """The chunks in one document of a stream."""
        if type(document) is not _Words:
            return super().read(document)
        choice = document.choices[0]
        if choice.index:  # only one answer is asked for
            return list(self.served(document.model))
        self.has_begun = True
        words = choice.delta.content
        if document.model == self._served or not document.model:
            return [TextDelta(words)] if words else []
        return [*self.served(document.model), *([TextDelta(words)] if words else [])]

    def read_whole(self, data: bytes) -> list[Chunk]:
        """The chunks in an answer that came at once."""
        try:
            answer = _answer(data)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            return super().read_whole(data)
        choice = answer.choices[0]
        if choice.index or not choice.finish_reason:
            return super().read_whole(data)
        self.has_begun, words = True, choice.message.content
        self.finish = _REASONS.get(choice.finish_reason, choice.finish_reason)
        counted = usage.of_openai(answer.usage, self.images)
        counts = self.count(counted, usage.cost_nano_usd(answer.usage))
        return [*self.served(answer.model), *([TextDelta(words)] if words else []), *counts]

    def __init__(self, images: int = 0) -> None:
        super().__init__(images)
        self._tools: list[str] = []  # the ids of the tool calls begun, by our index
        self._index: dict[int, int] = {}  # the provider's index → ours

    def event(self, document: Mapping[str, Any]) -> Iterator[Chunk]:
        """A chunk, or a whole completion: they differ in `delta` and `message` alone."""
        groq = document.get("x_groq") or {}
        failed = document if document.get("error") else groq if groq.get("error") else None
        choices = document.get("choices")
        if failed is None and not isinstance(choices, list) and not document.get("usage"):
            if document.get("object") == "error" or "detail" in document or "message" in document:
                failed = document
            elif self.has_begun:
                return  # a ping, or a word of the server's own
        yield from self.served(document.get("model"))
        for choice in choices or []:
            if isinstance(choice, Mapping) and not choice.get("index"):  # only one answer is asked for
                self.has_begun = True
                yield from self._choice(choice)
                failed = failed or (choice if choice.get("error") else None)
        told = document.get("usage") or groq.get("usage")
        counted = usage.of_openai(told, self.images)
        yield from self.count(counted, usage.cost_nano_usd(told), complete=not choices)
        if failed is not None:
            self.finish = None  # some send both
            raise refusal(failed)

    def _choice(self, choice: Mapping[str, Any]) -> Iterator[Chunk]:
        delta = choice.get("delta") or choice.get("message") or {}
        if not isinstance(delta, Mapping):
            delta = {}
        yield from _reasoning(delta)
        yield from _content(delta.get("content"))
        for text in (delta.get("refusal"), choice.get("text")):
            if text:
                yield TextDelta(str(text))
        for position, tool in enumerate(delta.get("tool_calls") or []):
            if isinstance(tool, Mapping):
                yield self._tool(tool, position)
        if isinstance(function := delta.get("function_call"), Mapping):
            yield self._tool({"index": 0, "function": function}, 0)
        if reason := choice.get("finish_reason"):
            self.finish = _REASONS.get(str(reason), str(reason))

    def _tool(self, tool: Mapping[str, Any], position: int) -> ToolCallDelta:
        function = tool.get("function") or tool.get("custom") or {}
        told, own_id, name = tool.get("index"), str(tool.get("id") or ""), str(function.get("name") or "")
        place = told if isinstance(told, int) else position
        index = self._index.get(place)
        if index is None or (own_id and name and self._tools[index] not in ("", own_id)):
            index = self._index[place] = len(self._tools)  # some give every call the same index, or none
            self._tools.append(own_id)
        arguments = function.get("arguments", function.get("input"))
        if arguments is not None and not isinstance(arguments, str):
            arguments = as_json(arguments)
        return ToolCallDelta(index, own_id, name, arguments or "")


def _reasoning(delta: Mapping[str, Any]) -> Iterator[Chunk]:
    told = delta.get("reasoning_content") or delta.get("reasoning")
    if isinstance(told, str):
        yield ReasoningDelta(told)
        return
    for detail in delta.get("reasoning_details") or []:
        if isinstance(detail, Mapping) and (text := detail.get("text") or detail.get("summary")):
            yield ReasoningDelta(str(text))


def _content(content: Any) -> Iterator[Chunk]:
    """A string, or Mistral's list of parts, of which some are thoughts."""
    if isinstance(content, str):
        if content:
            yield TextDelta(content)
        return
    for part in content or []:
        if not isinstance(part, Mapping):
            continue
        if thoughts := part.get("thinking"):
            inner = thoughts if isinstance(thoughts, list) else [{"text": thoughts}]
            for thought in inner:
                if isinstance(thought, Mapping) and thought.get("text"):
                    yield ReasoningDelta(str(thought["text"]))
        elif text := part.get("text") or part.get("refusal"):
            yield TextDelta(str(text))
