"""OpenAI's chat completions, as OpenAI and everybody who followed send them, streamed or at once.

Reasoning stands in `reasoning_content`, `reasoning`, `reasoning_details` or in parts of the content; usage at the end,
in `x_groq` or in every chunk; an error may come after a good beginning. Text completions are read as well. Of several
answers (`n`) the first is the answer; what the others say is counted.
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from lib.patterns import read_whole_number
from lib.providers.chunks import Chunk, OtherAnswer, ReasoningDelta, TextDelta, UsesSoFar
from lib.providers.protocols import usage
from lib.providers.protocols.framing import parse
from lib.providers.protocols.reader import Reader
from lib.providers.protocols.refusal import StatedFailure, read_refusal
from lib.providers.protocols.tool_calls import encode_arguments

_FUNCTION = "function_call"  # the older form of the one tool call


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
    stop_reason: None = None


class _Words(msgspec.Struct, gc=False):
    """The event that nearly all of a stream consists of: some words of the one answer, and nothing else to read."""

    choices: tuple[_Choice]
    model: str = ""
    usage: None = None
    error: None = None
    x_groq: None = None


class _PlainMessage(_Delta, forbid_unknown_fields=True, gc=False):
    annotations: msgspec.Raw = msgspec.Raw(b"null")


class _PlainChoice(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    message: _PlainMessage
    finish_reason: str
    index: int = 0
    logprobs: msgspec.Raw = msgspec.Raw(b"null")
    native_finish_reason: msgspec.Raw = msgspec.Raw(b"null")


class _PlainCompletion(msgspec.Struct, gc=False):
    """The body that nearly all whole answers are: one message of words alone."""

    choices: tuple[_PlainChoice]
    usage: dict[str, Any]
    model: str = ""
    service_tier: str | None = None
    error: None = None
    x_groq: None = None


_words = msgspec.json.Decoder(_Words).decode
_answer = msgspec.json.Decoder(_PlainCompletion, float_hook=Decimal).decode


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
        self.has_begun = True
        words = choice.delta.content
        if choice.index:
            self._open.add(choice.index)
            return [*self.served(document.model), *([OtherAnswer(choice.index, words)] if words else [])]
        self._has_streamed = True
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
        if choice.index or not choice.finish_reason or len(choice.message.annotations) > len(b"null"):
            return super().read_whole(data)
        self.has_begun = self.is_whole = True
        self.ended(choice.finish_reason)
        words = choice.message.content
        counted = usage.read_openai(answer.usage, self.images, answer.service_tier)
        counts = self.count(counted, usage.read_cost_nano(answer.usage))
        return [*self.served(answer.model), *([TextDelta(words)] if words else []), *counts]

    def __init__(self, images: int = 0) -> None:
        super().__init__(images)
        self._open: set[int] = set()  # further answers that have not ended
        self._has_streamed = False  # something came in pieces
        self._has_citations = False  # of pages that the provider searched the web for

    def event(self, document: Mapping[str, Any]) -> Iterator[Chunk]:
        """A chunk, or a whole completion: they differ in `delta` and `message` alone."""
        groq = document.get("x_groq") or {}
        failed: Any = document if document.get("error") else groq if groq.get("error") else None
        choices = document.get("choices")
        if failed is None and not isinstance(choices, list) and not document.get("usage"):
            if document.get("object") == "error" or "detail" in document or "message" in document:
                failed = document
            elif self.has_begun:
                return  # a ping, or a word of the server's own
        yield from self.served(document.get("model"))
        self.tools.seed = self.tools.seed or str(document.get("id") or "")
        for choice in choices or []:
            if isinstance(choice, Mapping):
                yield from self._any_choice(choice)
                failed = failed or self._failure(choice)
        reported_usage = document.get("usage") or groq.get("usage")
        counted = usage.read_openai(reported_usage, self.images, document.get("service_tier"))
        if self._has_citations and counted is not None:
            counted = usage.add_uses(counted, {"web_search": 1})
        yield from self.count(counted, usage.read_cost_nano(reported_usage), complete=not choices)
        if failed is not None:
            self.finish = None  # some send both
            self.is_whole = False
            raise failed if isinstance(failed, StatedFailure) else read_refusal(failed)

    def end(self, *, is_done: bool = False) -> Iterator[Chunk]:
        """Yield the chunks that only the end makes certain; no finish while one of several answers has not ended.

        `is_done`: the server wrote `[DONE]`, which ends all of them.
        """
        if self._open and not is_done and not self._is_done and not self.is_whole:
            self.finish = None
        return super().end(is_done=is_done)

    def _any_choice(self, choice: Mapping[str, Any]) -> Iterator[Chunk]:
        self.has_begun = True
        index = choice.get("index")
        if not index or not isinstance(index, int):
            yield from self._choice(choice)
            return
        if text := _join_words(choice.get("delta") or choice.get("message") or choice):
            yield OtherAnswer(index, text)
        if choice.get("finish_reason"):
            self._open.discard(index)
        else:
            self._open.add(index)

    def _failure(self, choice: Mapping[str, Any]) -> Any:
        """Note why a choice ended, and return its failure: the choice if it holds an error, or a StatedFailure.

        None when the choice has not failed.
        """
        if choice.get("error"):
            return choice
        try:
            if not choice.get("index"):
                self.note_sequence(choice.get("stop_reason"))  # as vLLM and SGLang tell it
                self.ended(choice.get("finish_reason"))
        except StatedFailure as failure:
            return failure
        return None

    def _choice(self, choice: Mapping[str, Any]) -> Iterator[Chunk]:
        message = self._said(choice)
        if message is choice.get("message") and self._has_streamed:  # all that was streamed, once more
            message = {name: message[name] for name in ("tool_calls", _FUNCTION) if name in message}
        if not self._has_citations and _has_citations(message):
            self._has_citations = True
            yield UsesSoFar({"web_search": 1})
        yield from _yield_reasoning(message)
        yield from _yield_content(message.get("content"))
        for text in (message.get("refusal"), choice.get("text")):
            if text:
                yield TextDelta(str(text))
        calls = [call for call in message.get("tool_calls") or [] if isinstance(call, Mapping)]
        for position, call in enumerate(calls):
            yield from self._tool(call, position)
        function = message.get(_FUNCTION)
        if isinstance(function, Mapping) and not calls:  # some send both forms
            yield from self._tool({"index": _FUNCTION, "function": function}, 0)

    def _said(self, choice: Mapping[str, Any]) -> Mapping[str, Any]:
        delta = choice.get("delta")
        message = choice.get("message")
        if isinstance(delta, Mapping) and (delta or not message):
            self._has_streamed = True
            return delta
        return message if isinstance(message, Mapping) else {}

    def _tool(self, call: Mapping[str, Any], position: int) -> Iterator[Chunk]:
        is_text = isinstance(call.get("custom"), Mapping)
        function = call.get("custom") or call.get("function") or {}
        index = call.get("index")
        identity = call.get("id")
        if not isinstance(function, Mapping):
            return
        if isinstance(index, str) and (number := read_whole_number(index)) is not None:
            index = number
        elif index != _FUNCTION and not isinstance(index, int):
            index = position
        arguments = encode_arguments(function.get("arguments", function.get("input")))
        name = str(function.get("name") or "")
        yield from self.tools.take(index, str(identity or ""), name, arguments, is_text=is_text)


def _has_citations(message: Mapping[str, Any]) -> bool:
    annotations = message.get("annotations")
    return isinstance(annotations, list) and any(
        isinstance(annotation, Mapping) and annotation.get("type") == "url_citation" for annotation in annotations
    )


def _join_words(message: Any) -> str:
    """All that a piece of a further answer says, for the counts alone."""
    if not isinstance(message, Mapping):
        return ""
    words = [chunk.text for chunk in (*_yield_reasoning(message), *_yield_content(message.get("content")))]
    words += [str(message[name]) for name in ("refusal", "text") if message.get(name)]
    for call in [*(message.get("tool_calls") or []), {"function": message.get(_FUNCTION)}]:
        function = (call.get("function") or call.get("custom")) if isinstance(call, Mapping) else None
        if isinstance(function, Mapping):
            words += [
                str(function.get("name") or ""),
                encode_arguments(function.get("arguments", function.get("input"))),
            ]
    return "".join(words)


def _yield_reasoning(delta: Mapping[str, Any]) -> Iterator[ReasoningDelta]:
    reasoning = delta.get("reasoning_content") or delta.get("reasoning")
    if isinstance(reasoning, str):
        yield ReasoningDelta(reasoning)
        return
    for detail in delta.get("reasoning_details") or []:
        if isinstance(detail, Mapping) and (text := detail.get("text") or detail.get("summary")):
            yield ReasoningDelta(str(text))


def _yield_content(content: Any) -> Iterator[TextDelta | ReasoningDelta]:
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
