"""Equal requests that are on their way in this process: the first asks the model, the others wait for its answer.

When the first one fails or its answer may not be kept, one of those that wait asks the model in its place; the others
go on waiting, so a failure is never multiplied by their number. All of it on the calls' event loop.
"""

import asyncio
from collections import deque
from time import monotonic

from msgspec import Struct

from lib.cache.entries import CacheEntry

LONGEST_WAIT_S = 120.0  # then one asks by itself


class _Flight(Struct):
    began: float
    waiting: deque[asyncio.Future[CacheEntry | None]] | None = None  # None: nobody has waited yet


class Flights:
    """The flights of one event loop, by exact key."""

    def __init__(self) -> None:
        self._flights: dict[str, _Flight] = {}

    def lead(self, key: str) -> bool:
        """Whether the caller is the first with this key, and has to `land` it when its call has ended."""
        flight = self._flights.get(key)
        if flight is not None and monotonic() - flight.began < LONGEST_WAIT_S:
            return False
        self._flights[key] = _Flight(monotonic(), None if flight is None else flight.waiting)
        return True

    async def wait(self, key: str) -> CacheEntry | None:
        """The answer of the one that leads; None: the caller leads now, or has waited for too long."""
        flight = self._flights[key]
        future: asyncio.Future[CacheEntry | None] = asyncio.get_running_loop().create_future()
        if flight.waiting is None:
            flight.waiting = deque()
        flight.waiting.append(future)
        try:
            return await asyncio.wait_for(future, LONGEST_WAIT_S)
        except TimeoutError:
            return None
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.result() is None:
                self.land(key, None)  # it was to lead, and has been stopped
            raise

    def land(self, key: str, entry: CacheEntry | None) -> None:
        """Hand an answer to all that wait; without one, the lead to the first of them."""
        flight = self._flights.get(key)
        if flight is None:
            return
        while flight.waiting:
            future = flight.waiting.popleft()
            if future.done():
                continue
            future.set_result(entry)
            if entry is None:
                flight.began = monotonic()
                return
        del self._flights[key]

    def __len__(self) -> int:
        return len(self._flights)
