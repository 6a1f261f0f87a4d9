"""A sliding minute: what was counted in each of the last seconds, as one short list that fits a row.

A second leaves the count when its last instant is 60 s old, so in no span of 60 s more is admitted than the limit; what
was counted at a second's beginning waits up to one second longer than it has to.
"""

import math
from collections.abc import Iterable

_SPAN_S = 61  # the window, and the second itself
_LEAP_S = 5  # a clock further ahead than this was wrong: what it wrote counts as of now


class Counter:
    """Requests and tokens by Unix second. `now` is Unix time; hosts whose clocks lag write into the newest second."""

    def __init__(self, seconds: Iterable[Iterable[int]], now: float) -> None:
        self._now, newest = now, math.floor(now) + _LEAP_S
        self._seconds: dict[int, list[int]] = {}
        for second, requests, tokens in seconds:
            if second > now - _SPAN_S:
                self._add(second if second <= newest else math.floor(now), requests, tokens)
        self._current = max([math.floor(now), *self._seconds])

    @property
    def requests(self) -> int:
        """Requests of the last minute."""
        return sum(counted[0] for counted in self._seconds.values())

    @property
    def tokens(self) -> int:
        """Tokens of the last minute."""
        return sum(counted[1] for counted in self._seconds.values())

    @property
    def reset_s(self) -> float:
        """Seconds until everything counted so far has left."""
        return max(0.0, max(self._seconds) + _SPAN_S - self._now) if self._seconds else 0.0

    def take(self, tokens: int) -> None:
        """Count a request with its estimated tokens, now."""
        self._add(self._current, 1, tokens)

    def correct(self, opened: float, difference: int) -> None:
        """Replace an estimate: in the second it was counted in, or, when that has left, what was more than it, now."""
        second = min(math.floor(opened), self._current)
        if second in self._seconds and second > self._now - _SPAN_S:
            self._add(second, 0, difference)
            self._seconds[second][1] = max(0, self._seconds[second][1])
        elif difference > 0:
            self._add(self._current, 0, difference)

    def wait_for_requests(self, limit: int) -> float | None:
        """Seconds until one more request fits: 0 now, None never."""
        return self._wait(0, limit, 1)

    def wait_for_tokens(self, limit: int, tokens: int) -> float | None:
        """Seconds until so many more tokens fit: 0 now, None never."""
        return self._wait(1, limit, tokens)

    def as_row(self) -> list[list[int]]:
        """For storing."""
        return [[second, *counted] for second, counted in sorted(self._seconds.items())]

    def _wait(self, column: int, limit: int, more: int) -> float | None:
        if more > limit:
            return None
        used = sum(counted[column] for counted in self._seconds.values())
        if used + more <= limit:
            return 0.0
        for second, counted in sorted(self._seconds.items()):
            used -= counted[column]
            if used + more <= limit:
                return second + _SPAN_S - self._now
        return None

    def _add(self, second: int, requests: int, tokens: int) -> None:
        counted = self._seconds.setdefault(second, [0, 0])
        counted[0] += requests
        counted[1] += tokens
