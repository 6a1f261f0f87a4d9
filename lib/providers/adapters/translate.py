"""litellm's raw stream pieces → our chunks: dictionaries and objects of three shapes, told apart by what they hold.

OpenAI-shaped pieces carry `choices[0].delta` and perhaps `usage`; litellm's generic pieces carry `text`, `is_finished`
and `tool_use`. Usage is normalised: prompt tokens include what came from a cache or went into one, completion tokens
include reasoning. Anthropic counts its answer at the start (one token, so far) and again at the end: the first count is
kept back until the finish reason has come, since on a cut stream it would pass for the truth.
"""

from collections.abc import Iterator
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
from lib.providers.kinds import ProviderKind

_COUNTS_EARLY = (ProviderKind.ANTHROPIC,)


class Translation:
    """The state of one stream."""

    def __init__(self, kind: str) -> None:
        self.has_begun = False
        self._counts_early = kind in _COUNTS_EARLY
        self._names_model = kind != ProviderKind.LOCAL
        self._served: str | None = None
        self._finish: str | None = None
        self._usage: Usage | None = None

    def chunks(self, piece: Any) -> Iterator[Chunk]:
        """The chunks in one piece; the finish reason waits for the stream's end, since usage may follow it."""
        self.has_begun = True
        if self._names_model and (model := _get(piece, "model")) and model != self._served:
            self._served = str(model)
            yield ServedModel(self._served)
        if isinstance(piece, dict) and "is_finished" in piece:
            yield from self._generic(piece)
        else:
            yield from self._openai(piece)
        if (usage := usage_of(_get(piece, "usage") or _get(_get(piece, "x_groq"), "usage"))) is not None:
            self._usage = usage
            if not self._counts_early:
                yield UsageReport(usage)

    def end(self) -> Iterator[Chunk]:
        """What is only certain once the stream has ended: late usage, and the finish reason if one was sent."""
        if self._finish is not None:
            if self._counts_early and self._usage is not None:
                yield UsageReport(self._usage)
            yield Finish(self._finish)

    def _generic(self, piece: dict[str, Any]) -> Iterator[Chunk]:
        if text := piece.get("text"):
            yield TextDelta(str(text))
        if tool := piece.get("tool_use"):
            yield _tool_call(tool)
        if piece.get("is_finished") and piece.get("finish_reason"):
            self._finish = str(piece["finish_reason"])

    def _openai(self, piece: Any) -> Iterator[Chunk]:
        for choice in _get(piece, "choices") or []:
            if _get(choice, "index"):
                continue  # only one answer is asked for
            delta = _get(choice, "delta")
            if reasoning := _get(delta, "reasoning_content") or _get(delta, "reasoning"):
                yield ReasoningDelta(str(reasoning))
            if text := _get(delta, "content"):
                yield TextDelta(str(text))
            if refusal := _get(delta, "refusal"):
                yield TextDelta(str(refusal))
            for tool in _get(delta, "tool_calls") or []:
                yield _tool_call(tool)
            if reason := _get(choice, "finish_reason"):
                self._finish = str(reason)


def usage_of(reported: Any) -> Usage | None:
    """Normalised counts, or None where none were sent. Anthropic's cached parts are in the prompt already."""
    prompt, completion = _get(reported, "prompt_tokens"), _get(reported, "completion_tokens")
    if prompt is None and completion is None:
        return None
    prompt_parts, completion_parts = (
        _get(reported, "prompt_tokens_details"),
        _get(reported, "completion_tokens_details"),
    )
    read = _first(_get(prompt_parts, "cached_tokens"), _get(reported, "cache_read_input_tokens"))
    write = _first(
        _get(prompt_parts, "cache_write_tokens"),
        _get(prompt_parts, "cache_creation_tokens"),
        _get(reported, "cache_creation_input_tokens"),
    )
    return Usage(
        int(prompt or 0), int(completion or 0), read, write, _first(_get(completion_parts, "reasoning_tokens"))
    )


def _first(*counts: Any) -> int:
    """The first count that is not nothing."""
    return next((int(count) for count in counts if count), 0)


def _tool_call(tool: Any) -> ToolCallDelta:
    function = _get(tool, "function")
    return ToolCallDelta(
        int(_get(tool, "index") or 0),
        str(_get(tool, "id") or ""),
        str(_get(function, "name") or ""),
        str(_get(function, "arguments") or ""),
    )


def _get(thing: Any, name: str) -> Any:
    return thing.get(name) if isinstance(thing, dict) else getattr(thing, name, None)
