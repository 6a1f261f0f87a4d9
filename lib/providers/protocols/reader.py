"""What the readers of all protocols share: counts, the finish reason and the served model wait for their moment."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from lib.providers.chunks import Chunk, Finish, ServedModel, Usage, UsageReport
from lib.providers.protocols.framing import parse


class Reader:
    """One answer. Feed its documents to `event` (streamed) or `whole` (at once), then take what `end` yields.

    The finish reason is only told at the end, since usage may follow it. Counts that come before it are partial: on a
    stream that is cut they would otherwise pass for the truth. `images` are those in the prompt.
    """

    def __init__(self, images: int = 0) -> None:
        self.has_begun = False
        self.images = images
        self.finish: str | None = None
        self._served: str | None = None
        self._report: UsageReport | None = None

    @staticmethod
    def parse(data: bytes) -> Any:
        """A document of its bytes, for `read`; Unreadable when they are none."""
        return parse(data)

    def read(self, document: Any) -> list[Chunk]:
        """The chunks in one document of a stream; nothing when it is no object. Refusal when it states an error."""
        return list(self.event(document)) if isinstance(document, dict) else []

    def event(self, document: Mapping[str, Any]) -> Iterator[Chunk]:
        """The chunks in one document of a stream; Refusal when it states an error."""
        raise NotImplementedError

    def read_whole(self, data: bytes) -> list[Chunk]:
        """The chunks in the bytes of an answer that came at once; nothing when they are no object."""
        document = parse(data) if data.strip() else None
        return list(self.whole(document)) if isinstance(document, dict) else []

    def whole(self, document: Mapping[str, Any]) -> Iterator[Chunk]:
        """The chunks in an answer that came at once; Refusal when it states an error. Ollama and Gemini: the same."""
        return self.event(document)

    def end(self) -> Iterator[Chunk]:
        """What is only certain once the answer has ended; nothing where no finish reason was sent."""
        if self.finish is not None:
            if self._report is not None and self._report.is_partial:
                yield UsageReport(self._report.usage, cost_nano_usd=self._report.cost_nano_usd)
            yield Finish(self.finish)

    def served(self, model: Any) -> Iterator[Chunk]:
        """The model that answers, once."""
        if isinstance(model, str) and model and model != self._served:
            self._served = model
            yield ServedModel(model)

    def count(self, usage: Usage | None, cost: int | None = None, *, complete: bool = False) -> Iterator[Chunk]:
        """Counts that came: complete once the answer has finished."""
        if usage is not None:
            report = UsageReport(usage, is_partial=not complete and self.finish is None, cost_nano_usd=cost)
            if report != self._report:
                self._report = report
                yield report


def made_up_id(*parts: object) -> str:
    """An id for a tool call whose provider gives none: the same for the same answer, another for any other."""
    text = "\x1f".join(map(str, parts))
    return "call_" + hashlib.blake2s(text.encode("utf-8", "replace"), digest_size=12).hexdigest()


def as_json(value: Any) -> str:
    """A tool's arguments as the JSON text a program expects."""
    return json.dumps(value, ensure_ascii=False, default=float)
