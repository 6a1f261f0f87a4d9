"""What the readers of all protocols share: counts, the finish reason and the served model wait for their moment."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lib.providers.chunks import (
    Chunk,
    Finish,
    ReasoningDelta,
    ServedModel,
    TextDelta,
    ToolCallDelta,
    Usage,
    UsageReport,
)
from lib.providers.protocols.finish import FAILURES, translate_reason
from lib.providers.protocols.framing import DocumentFramer, Unreadable, is_events, parse
from lib.providers.protocols.refusal import StatedFailure
from lib.providers.protocols.tool_calls import ToolCalls
from lib.providers.protocols.usage import convert_to_nano

_COST_HEADER = "x-litellm-response-cost"


_MISREAD = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


def _read_all(read: Callable[[Mapping[str, Any]], Iterator[Chunk]], document: Mapping[str, Any]) -> list[Chunk]:
    """The chunks in a document; Unreadable where a value has a type that nobody who wrote `read` thought of."""
    try:
        return list(read(document))
    except _MISREAD:
        raise Unreadable(f"values of unknown types in {', '.join(list(document)[:10])[:500]}") from None


class Reader:
    """One answer. Feed its documents to `event` (streamed) or `whole` (at once), then take what `end` yields.

    `is_whole`: the provider said that the answer has ended, though perhaps not why. The finish reason is only told at
    the end, since usage may follow it. Counts that come before it are partial: on a stream that is cut they would
    otherwise pass for the truth. `images` are those in the prompt.
    """

    def __init__(self, images: int = 0) -> None:
        self.has_begun = self.is_whole = self._is_done = False
        self.tools = ToolCalls()
        self.images = images
        self.finish: str | None = None
        self.stop_sequence = ""  # that ended the answer, where the provider names it
        self._served: str | None = None
        self._report: UsageReport | None = None
        self._told_cost: int | None = None  # beside the answer, in its headers

    def note_headers(self, headers: Mapping[str, str]) -> None:
        """Note the cost that an answer's headers state, as those of a LiteLLM proxy do."""
        self._told_cost = convert_to_nano(headers.get(_COST_HEADER))

    @staticmethod
    def parse(data: bytes) -> Any:
        """A document of its bytes, for `read`; Unreadable when they are none."""
        return parse(data)

    def read(self, document: Any) -> list[Chunk]:
        """The chunks in one document of a stream; nothing when it is no object.

        StatedFailure when it states an error, Unreadable when its values are of other types than the protocol says.
        """
        return _read_all(self.event, document) if isinstance(document, dict) else []

    def event(self, document: Mapping[str, Any]) -> Iterator[Chunk]:
        """The chunks in one document of a stream; Refusal when it states an error."""
        raise NotImplementedError

    def read_whole(self, data: bytes) -> list[Chunk]:
        """The chunks in the bytes of an answer that came at once; nothing when they are no object."""
        if is_events(data):
            return self.read_events(data)
        document = parse(data) if data.strip() else None
        return list(self.whole(document)) if isinstance(document, dict) else []

    def read_events(self, data: bytes) -> list[Chunk]:
        """The chunks in a stream that came as one body."""
        documents = DocumentFramer(self.parse)
        chunks = [chunk for document in (*documents.feed(data), *documents.end()) for chunk in self.read(document)]
        self._is_done = documents.is_done
        return chunks

    def whole(self, document: Mapping[str, Any]) -> Iterator[Chunk]:
        """The chunks in an answer that came at once, which is all of it; raises as `read` does."""
        says = False
        for chunk in _read_all(self.body, document):
            says = says or isinstance(chunk, TextDelta | ReasoningDelta | ToolCallDelta)
            yield chunk
        self.is_whole = self.is_whole or (says and self.is_complete(document))

    def body(self, document: Mapping[str, Any]) -> Iterator[Chunk]:
        """The chunks in a document that is a whole answer. Ollama's and Gemini's have the form of their events."""
        return self.event(document)

    def is_complete(self, document: Mapping[str, Any]) -> bool:
        """Whether nothing in a whole answer says that it is none."""
        return True

    def ended(self, word: object) -> None:
        """Note the provider's word for why the answer ended; Refusal where that is a failure."""
        if not word:
            return
        reason = translate_reason(word)
        if reason in FAILURES:
            raise StatedFailure(f"The answer ended with {str(word)[:40]!r}.", 500, "server_error")
        self.finish = reason

    def note_sequence(self, sequence: object) -> None:
        """Note the stop sequence that ended the answer; anything else than a text says nothing."""
        if isinstance(sequence, str):
            self.stop_sequence = sequence

    def end(self, *, is_done: bool = False) -> Iterator[Chunk]:
        """Yield the chunks that only the end makes certain; no finish where nobody said that the answer has ended.

        `is_done`: the server wrote `[DONE]`. With complete counts that says it, too.
        """
        is_counted = self._report is not None and not self._report.is_partial
        if self.finish is None and (self.is_whole or ((is_done or self._is_done) and is_counted)):
            self.finish = "stop"
        yield from self.tools.end(is_whole=self.finish in ("stop", "tool_calls"))
        if self.finish in ("stop", "tool_calls"):  # some say the one and mean the other
            self.finish = "tool_calls" if self.tools.are_any else "stop"
        if self.finish is not None:
            if self._report is not None and self._report.is_partial:
                yield UsageReport(self._report.usage, cost_nano_usd=self._report.cost_nano_usd)
            yield Finish(self.finish, self.stop_sequence if self.finish == "stop" else "")

    def served(self, model: Any) -> Iterator[Chunk]:
        """The model that answers, once."""
        if isinstance(model, str) and model and model != self._served:
            self._served = model
            yield ServedModel(model)

    def count(self, usage: Usage | None, cost: int | None = None, *, complete: bool = False) -> Iterator[Chunk]:
        """Counts that came: complete once the answer has finished."""
        if usage is not None:
            cost = self._told_cost or None if cost is None else cost
            report = UsageReport(usage, is_partial=not complete and self.finish is None, cost_nano_usd=cost)
            if report != self._report:
                self._report = report
                yield report
