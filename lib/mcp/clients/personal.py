"""Connections to one server for people who have signed in there: one a person, opened at the first call.

The protocol's client has to be closed by the task that has opened it, so each connection has a task of its own. One
that was not used for a while is closed, and so is one that the server has ended: the next call opens another.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import TypeVar

from lib.errors import LLMManagerError
from lib.mcp.clients.connection import ServerConnection, Unanswered, explain, find_cause

_IDLE_S = 300.0
_MOST = 100  # of one server
_ENDED = ("Session terminated", "Connection closed")  # in the words of the protocol's client
T = TypeVar("T")
OpenFor = Callable[[str], AbstractAsyncContextManager[ServerConnection]]


class _PersonalConnection:
    """One person's connection and the task that holds it."""

    def __init__(self, opening: AbstractAsyncContextManager[ServerConnection]) -> None:
        self.used_at = time.monotonic()
        self.calls = 0
        self._closing = asyncio.Event()
        self._opened: asyncio.Future[ServerConnection] = asyncio.get_running_loop().create_future()
        self.task = asyncio.create_task(self._hold(opening))

    async def get(self) -> ServerConnection:
        """The connection, once it is open; raises what kept it from opening."""
        return await asyncio.shield(self._opened)

    def close(self) -> None:
        """Let the task close the connection."""
        self._closing.set()

    @property
    def is_over(self) -> bool:
        """Whether it is closed, or about to be."""
        return self._closing.is_set() or self.task.done()

    async def _hold(self, opening: AbstractAsyncContextManager[ServerConnection]) -> None:
        try:
            async with opening as connection:
                self._opened.set_result(connection)
                while not self._closing.is_set() and (self.calls or time.monotonic() - self.used_at < _IDLE_S):
                    with suppress(TimeoutError):
                        async with asyncio.timeout(_IDLE_S):
                            await self._closing.wait()
        except Exception as error:  # the boundary of a stranger's server: whatever it does is a reason
            cause = find_cause(error)
            if not self._opened.done():
                reason = (
                    cause if isinstance(cause, LLMManagerError) else Unanswered("It can't be reached.", explain(cause))
                )
                self._opened.set_exception(reason)
                self._opened.exception()  # somebody may have left before
        finally:
            self._closing.set()


class PersonalConnections:
    """The connections of people to one server. `run` from any task, `close` at the end."""

    def __init__(self, open_for: OpenFor) -> None:
        self._open_for = open_for
        self._by_person: dict[str, _PersonalConnection] = {}

    async def run(self, user_id: str, work: Callable[[ServerConnection], Awaitable[T]]) -> T:
        """Do something over a person's connection."""
        async with self._use(user_id) as connection:
            return await work(connection)

    async def close(self) -> None:
        """Close the connections of all people."""
        tasks = [personal.task for personal in self._by_person.values()]
        for task in tasks:
            task.cancel()
        self._by_person.clear()
        await asyncio.gather(*tasks, return_exceptions=True)

    @asynccontextmanager
    async def _use(self, user_id: str) -> AsyncIterator[ServerConnection]:
        personal = self._find(user_id)
        personal.calls += 1
        try:
            yield await personal.get()
        except LLMManagerError as error:
            if any(words in error.why for words in _ENDED):
                personal.close()
            raise
        finally:
            personal.calls -= 1
            personal.used_at = time.monotonic()

    def _find(self, user_id: str) -> _PersonalConnection:
        """The person's connection that lives, or a new one in place of the longest unused."""
        self._by_person = {person: held for person, held in self._by_person.items() if not held.is_over}
        personal = self._by_person.get(user_id)
        if personal is not None:
            return personal
        if len(self._by_person) >= _MOST:
            idle = [person for person, held in self._by_person.items() if not held.calls]
            if not idle:
                raise Unanswered("Too many people use the server at once.", f"The limit is {_MOST}.", "Try again.")
            self._by_person.pop(min(idle, key=lambda person: self._by_person[person].used_at)).close()
        personal = _PersonalConnection(self._open_for(user_id))
        self._by_person[user_id] = personal
        return personal
