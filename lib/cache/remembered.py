"""An attempt's source that is a remembered answer: free, at once or as fast as the first time."""

import asyncio
from collections.abc import AsyncIterator, Iterator

from lib.cache.entries import CacheEntry
from lib.calls.live_call import LiveCall
from lib.calls.sources import FREE, Bound
from lib.clock import utc_now
from lib.errors import Throttled
from lib.providers.chunks import Finish, Piece, ReasoningDelta, ServedModel, TextDelta, Usage, UsageReport

_LANE = "cache"
_PIECE = 48  # characters of a piece that is told at its first pace
_LONGEST_PAUSE_S = 0.25


class Remembered:
    """Tells an entry again."""

    def __init__(self, entry: CacheEntry, tier: str, *, keeps_pace: bool) -> None:
        self.entry = entry
        self.cache = tier
        self.age_s: int | None = max(0, int((utc_now() - entry.created_at).total_seconds()))
        self._keeps_pace = keeps_pace

    def find_lane(self, call: LiveCall) -> str:
        """A lane of its own."""
        return _LANE

    def bound(self, call: LiveCall) -> Bound:
        """Return that a remembered answer costs nothing."""
        return FREE

    def limit(self, call: LiveCall) -> Throttled | None:
        """Nothing has to be limited."""
        return None

    async def read(self, call: LiveCall) -> AsyncIterator[Piece]:
        """The answer's pieces, then its end."""
        answer = self.entry.answer
        if answer.served_model:
            yield ServedModel(answer.served_model)
        paced = self._keeps_pace and call.plan.request.stream
        pause_s = self._pause_s() if paced else 0.0
        for text in _cut(answer.reasoning, paced=paced):
            yield ReasoningDelta(text)
            await asyncio.sleep(pause_s)
        for text in _cut(answer.text, paced=paced):
            yield TextDelta(text)
            if paced:
                await asyncio.sleep(pause_s)
        if answer.prompt_tokens is not None and answer.completion_tokens is not None:
            yield UsageReport(Usage(answer.prompt_tokens, answer.completion_tokens))  # of the first time
        yield Finish("stop")

    def compute_saved_nano(self, call: LiveCall) -> int | None:
        """Return what the model was paid for the answer when it was made, in nano-dollars; None where unknown."""
        return self.entry.cost_nano_usd

    def _pause_s(self) -> float:
        answer = self.entry.answer
        pieces = max(1, (len(answer.text) + len(answer.reasoning)) // _PIECE)
        return min((self.entry.execution_time_ms or 0) / 1000 / pieces, _LONGEST_PAUSE_S)


def _cut(text: str, *, paced: bool) -> Iterator[str]:
    size = _PIECE if paced else len(text)
    return (text[start : start + size] for start in range(0, len(text), max(size, 1)))
