"""Gemini's content: every event of a stream has the shape of a whole answer, with the counts so far.

A thought's signature must come back with the tool call it belongs to; it travels in the call's id, behind the mark at
which litellm looks for it.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from lib.providers.chunks import Chunk, OtherAnswer, ReasoningDelta, TextDelta, UsesSoFar
from lib.providers.protocols import usage
from lib.providers.protocols.finish import translate_reason
from lib.providers.protocols.reader import Reader
from lib.providers.protocols.refusal import read_refusal
from lib.providers.protocols.tool_calls import encode_arguments

SIGNATURE_MARK = "__thought__"
_FILTERED = ("SAFETY", "RECITATION", "PROHIBITED", "BLOCKLIST", "SPII", "LANGUAGE")


class Gemini(Reader):
    """The reader."""

    def __init__(self, images: int = 0) -> None:
        super().__init__(images)
        self._tools = 0
        self._open: set[int] = set()  # further answers that have not ended
        self._uses: dict[str, int] = {}  # what Google charges for beside tokens

    def event(self, document: Mapping[str, Any]) -> Iterator[Chunk]:
        """A piece of an answer, or all of it."""
        if "error" in document:
            raise read_refusal(document)
        document = document.get("response") or document
        self.has_begun = self.has_begun or not document.keys().isdisjoint(("candidates", "usageMetadata"))
        yield from self.served(document.get("modelVersion"))
        self.tools.seed = self.tools.seed or str(document.get("responseId") or "")
        for candidate in document.get("candidates") or []:
            if isinstance(candidate, Mapping):
                yield from self._candidate(candidate)
        if (document.get("promptFeedback") or {}).get("blockReason"):
            self.has_begun = True
            self.finish = "content_filter"
        yield from self.count(usage.read_gemini(document.get("usageMetadata"), self.images, self._uses))

    def _note_grounding(self, grounding: Any) -> bool:
        """Count searches, and say whether there were any.

        Up to Gemini 2.5 Google charges a grounded prompt once, later models each query.
        Source: ai.google.dev, pricing, "Grounding with Google Search" and "… with Google Maps".
        """
        if not isinstance(grounding, Mapping):
            return False
        served = (self._served or "gemini-2").removeprefix("models/")
        is_by_prompt = served.startswith(("gemini-1", "gemini-2"))
        queries = grounding.get("webSearchQueries")
        chunks = grounding.get("groundingChunks")
        number = len(queries) if isinstance(queries, list) else 0
        listed = chunks if isinstance(chunks, list) else []
        is_map = any(isinstance(chunk, Mapping) and "maps" in chunk for chunk in listed)
        if is_map or grounding.get("googleMapsWidgetContextToken"):
            use = "google_maps"
        elif number or grounding.get("searchEntryPoint"):
            use = "google_search"
        else:
            return False
        self._uses[use if is_by_prompt else f"{use}_query"] = 1 if is_by_prompt else max(1, number)
        return True

    def end(self, *, is_done: bool = False) -> Iterator[Chunk]:
        """Yield the chunks that only the end makes certain; no finish while one of several answers has not ended."""
        if self._open and not self.is_whole:
            self.finish = None
        return super().end(is_done=is_done)

    def _candidate(self, candidate: Mapping[str, Any]) -> Iterator[Chunk]:
        if self._note_grounding(candidate.get("groundingMetadata")):
            yield UsesSoFar(dict(self._uses))
        index = candidate.get("index")
        reason = candidate.get("finishReason")
        parts = (candidate.get("content") or {}).get("parts") or []
        if isinstance(index, int) and index:
            (self._open.discard if reason else self._open.add)(index)
            for part in parts:
                if text := part.get("text") or encode_arguments(part.get("functionCall")):
                    yield OtherAnswer(index, str(text))
            return
        for part in parts:
            yield from self._part(part)
        if reason:
            self.finish = self._reason(str(reason))

    def _part(self, part: Mapping[str, Any]) -> Iterator[Chunk]:
        if text := part.get("text"):
            yield ReasoningDelta(str(text)) if part.get("thought") else TextDelta(str(text))
        if isinstance(call := part.get("functionCall"), Mapping):
            index = self._tools
            name = str(call.get("name") or "")
            self._tools += 1
            identity = str(call.get("id") or self.tools.make_id(name))
            if signature := part.get("thoughtSignature"):
                identity += f"{SIGNATURE_MARK}{signature}"
            yield from self.tools.take(index, identity, name, encode_arguments(call.get("args")))
            yield from self.tools.close(index)

    def _reason(self, reason: str) -> str:
        return "content_filter" if any(word in reason.upper() for word in _FILTERED) else translate_reason(reason)
