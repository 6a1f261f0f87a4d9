"""A sliding minute: what was counted in each of the last seconds, as three short lists that fit a row.

A second leaves the count when its last instant is 60 s old, so in no span of 60 s more is admitted than the limit; what
was counted at a second's beginning waits up to one second longer than it has to.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence

_SPAN_S = 61  # the window, and the second itself
_LEAP_S = 5  # a clock further ahead than this was wrong: what it wrote counts as of now


class RateCounter:
    """Requests and tokens by Unix second. `now` is Unix time; hosts whose clocks lag write into the newest second."""

    def __init__(self, row: Sequence[Sequence[int]], now: float) -> None:
        self._now = now
        current_second = math.floor(now)
        seconds, requests, tokens = row or ([], [], [])
        first = bisect_right(seconds, now - _SPAN_S)
        end = bisect_right(seconds, current_second + _LEAP_S)
        self._seconds, self._requests, self._tokens = (list(part[first:end]) for part in (seconds, requests, tokens))
        self.requests = sum(self._requests)
        self.tokens = sum(self._tokens)
        self._current = max(current_second, self._seconds[-1]) if self._seconds else current_second
        if end < len(seconds):
            self._add(sum(requests[end:]), sum(tokens[end:]))

    @property
    def reset_s(self) -> float:
        """Seconds until everything counted so far has left."""
        return self._seconds[-1] + _SPAN_S - self._now if self._seconds else 0.0

    def take(self, tokens: int) -> None:
        """Count a request with its estimated tokens, now."""
        self._add(1, tokens)

    def correct(self, opened: float, difference: int) -> None:
        """Replace an estimate in the second it was counted in; when that has left, the excess counts now."""
        second = min(math.floor(opened), self._current)
        if second in self._seconds:
            index = self._seconds.index(second)
            change = max(difference, -self._tokens[index])
            self._tokens[index] += change
            self.tokens += change
        elif difference > 0:
            self._add(0, difference)

    def wait_for_requests(self, limit: int) -> float | None:
        """Seconds until one more request fits: 0 now, None never."""
        return 0.0 if self.requests < limit else self._compute_wait(self._requests, self.requests, limit, 1)

    def wait_for_tokens(self, limit: int, tokens: int) -> float | None:
        """Seconds until so many more tokens fit: 0 now, None never."""
        return 0.0 if self.tokens + tokens <= limit else self._compute_wait(self._tokens, self.tokens, limit, tokens)

    def as_row(self) -> list[list[int]]:
        """Return three lists for storing: Unix seconds, ascending; requests in each; tokens in each."""
        return [self._seconds, self._requests, self._tokens]

    def _compute_wait(self, counted: list[int], used: int, limit: int, addition: int) -> float | None:
        if addition > limit:
            return None
        for second, leaving in zip(self._seconds, counted, strict=True):
            used -= leaving
            if used + addition <= limit:
                return second + _SPAN_S - self._now
        return None

    def _add(self, requests: int, tokens: int) -> None:
        if not self._seconds or self._seconds[-1] < self._current:
            for part, value in ((self._seconds, self._current), (self._requests, 0), (self._tokens, 0)):
                part.append(value)
        self._requests[-1] += requests
        self._tokens[-1] += tokens
        self.requests += requests
        self.tokens += tokens
