"""One server's life: started, listed, watched, ended, and started again after a pause, by one task of its own.

A start has thirty seconds. A connection is well while its tools can be listed; a listing that fails is a lost
connection. After five starts that failed within ten minutes it is given up, until somebody asks again. Pauses between
starts grow from one second to a minute. Whatever ends a connection ends its process, with all that it has started.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from lib.clock import utc_now
from lib.db.engine import Store
from lib.db.vault import Vault
from lib.errors import LLMManagerError
from lib.mcp import processes, records, sign_in_records
from lib.mcp.clients.child import Child, ErrorText
from lib.mcp.clients.connection import (
    GivenStreams,
    ServerConnection,
    ServerListing,
    Unanswered,
    connect,
    end_sentence,
    explain,
    find_cause,
    open_http_transport,
)
from lib.mcp.clients.personal import PersonalConnections
from lib.mcp.clients.signed_http import PersonTokens
from lib.mcp.processes import ProcessMark
from lib.mcp.server import SIGN_IN_PLACE, ActualState, McpServer
from lib.providers.redaction import redact

log = logging.getLogger(__name__)
START_S = 30.0
HEALTH_S = 60.0
_LISTING_S = 30.0
_MOST_FAILURES = 5
_FAILURES_WITHIN_S = 600.0
_LONGEST_PAUSE_S = 60.0
_ERRORS_EVERY_S = 2.0
_STOP_S = 5.0


class SignInNeeded(Unanswered):
    """The server wants credentials that it was not given."""


class Lost(Exception):
    """The connection that stood is gone; the message says why."""


class ConnectionOwner:
    """The one task of one server in this process."""

    def __init__(self, store: Store, vault: Vault, server: McpServer, secrets: Mapping[str, str], folder: Path) -> None:
        self.server = server
        self._store = store
        self._vault = vault
        self._secrets = secrets
        self._folder = folder
        self._errors = ErrorText()
        self._errors_written_at = 0.0
        self._changed = asyncio.Event()
        self._connection: ServerConnection | None = None
        self._listed_as: str | None = None  # whose sign-in the connection has
        self._personal = PersonalConnections(self._open_for)
        self._child: Child | None = None
        self._state = (server.state.actual, server.state.reason)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin the task that connects to the server and keeps the connection."""
        self._task = asyncio.create_task(self._live(), name=self.server.name)

    async def stop(self) -> None:
        """End the connection and the process; what is asked meanwhile fails."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=_STOP_S)
        await self._personal.close()
        await self._end_child()
        await self._note(ActualState.OFF, "")

    async def ask(self, question: Mapping[str, Any]) -> Any:
        """Answer a question of another process, for whoever asks; raises Unanswered."""
        connection = self._connection
        if connection is None:
            actual, reason = self._state
            raise Unanswered(f"{self.server.name} is {actual}.", reason, "Look at the page MCP servers.")
        user_id = str(question.get("user_id") or "")
        if await self._is_signed_in(user_id):
            return await self._ask_signed_in(user_id, question)
        if self._listed_as is not None:
            raise SignInNeeded(f"{self.server.name} wants you to sign in.", "Each person has a sign-in.", SIGN_IN_PLACE)
        return await _answer(connection, question)

    async def _is_signed_in(self, user_id: str) -> bool:
        """Whether a person has tokens for this server."""
        if not self.server.takes_sign_in or not user_id:
            return False
        read = sign_in_records.read_credentials
        server = self.server
        return await asyncio.to_thread(read, self._store, self._vault, server.id, user_id, server.url) is not None

    async def _ask_signed_in(self, user_id: str, question: Mapping[str, Any]) -> Any:
        """Answer a question over the person's own connection; SignInNeeded where their sign-in has just ended."""
        try:
            return await self._personal.run(user_id, lambda connection: _answer(connection, question))
        except Unanswered as error:
            if await self._is_signed_in(user_id):
                raise
            why = "Your sign-in has ended."
            raise SignInNeeded(f"{self.server.name} wants you to sign in again.", why, SIGN_IN_PLACE) from error

    @asynccontextmanager
    async def _open_for(self, user_id: str) -> AsyncIterator[ServerConnection]:
        """An open connection with one person's tokens."""
        server = self.server
        tokens = PersonTokens(self._store, self._vault, server, user_id)
        async with (
            open_http_transport(server.url, self._secrets, allow_private=server.allow_private, tokens=tokens) as (
                transport,
                _,
            ),
            connect(transport, self._changed.set) as connection,
        ):
            yield connection

    async def _live(self) -> None:
        failures = deque[float](maxlen=_MOST_FAILURES)
        pause = 1.0
        beginning = ActualState.STARTING
        reason = ""
        while True:
            await self._note(beginning, reason)
            beginning = ActualState.RESTARTING
            began = time.monotonic()
            actual, reason = await self._run_once()
            if time.monotonic() - began > _LONGEST_PAUSE_S:
                pause = 1.0
                failures.clear()
            failures.append(time.monotonic())
            is_hopeless = len(failures) == _MOST_FAILURES and failures[-1] - failures[0] < _FAILURES_WITHIN_S
            waits_for_people = actual is ActualState.NEEDS_SIGN_IN
            if is_hopeless or (waits_for_people and await self._find_lister() is None):
                await self._note(actual if waits_for_people else ActualState.GIVEN_UP, reason)
                return
            await self._note(actual, f"{reason} It is tried again in {pause:g} s.")
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_S)

    async def _run_once(self) -> tuple[ActualState, str]:
        """Start, serve until it ends; how it is then and why. Only a cancellation is raised."""
        try:
            async with self._open() as connection:
                await self._serve(connection)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # the boundary of a stranger's program: whatever it does is a reason
            cause = find_cause(error)
            if isinstance(cause, SignInNeeded):
                return ActualState.NEEDS_SIGN_IN, cause.title
            actual = ActualState.LOST if isinstance(cause, Lost) else ActualState.CRASHED
            return actual, await self._with_last_words(end_sentence(explain(cause)))
        finally:
            self._connection = None
            await asyncio.shield(asyncio.ensure_future(self._end_child()))
        return ActualState.LOST, "The connection was closed."

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[ServerConnection]:
        """An open connection of which the tools are listed; TimeoutError after thirty seconds."""
        starting = asyncio.timeout(START_S)
        server = self.server
        async with starting:
            if server.transport == "stdio":
                limits = {**processes.DEFAULT_LIMITS, **server.limits}
                self._child = Child(server.command, self._secrets, self._folder, limits, self._errors)
                await self._note_process(self._child.mark)  # a kill from here on leaves nothing that can't be found
                await self._note_process(await self._child.start())
                async with (
                    self._child.streams() as streams,
                    connect(GivenStreams(streams), self._changed.set) as connection,
                ):
                    await self._take_listing(connection)
                    starting.reschedule(None)
                    yield connection
            else:
                async with self._open_listing() as connection:
                    await self._take_listing(connection)
                    starting.reschedule(None)
                    yield connection

    @asynccontextmanager
    async def _open_listing(self) -> AsyncIterator[ServerConnection]:
        """The connection over HTTP that lists tools: with the sign-in of somebody who has one; else with none."""
        server = self.server
        self._listed_as = await self._find_lister()
        tokens = None
        if self._listed_as is not None:
            tokens = PersonTokens(self._store, self._vault, server, self._listed_as)
        async with open_http_transport(
            server.url, self._secrets, allow_private=server.allow_private, tokens=tokens
        ) as (
            transport,
            guarded,
        ):
            try:
                async with connect(transport, self._changed.set) as connection:
                    yield connection
            except Exception as error:
                if guarded.refusal is not None:
                    raise SignInNeeded(_describe_refusal(server, guarded.refusal)) from error
                raise

    async def _find_lister(self) -> str | None:
        if not self.server.takes_sign_in:
            return None

        def find() -> str | None:
            with self._store.read() as reading:
                return sign_in_records.find_lister(reading, self.server.id, self.server.url)

        return await asyncio.to_thread(find)

    async def _serve(self, connection: ServerConnection) -> None:
        """Watch a connection until it is lost."""
        self._connection = connection
        ending = asyncio.create_task(_wait_for_end(self._child))
        checked_at = time.monotonic()
        try:
            while True:
                await self._wait_for_news(ending, checked_at + HEALTH_S - time.monotonic())
                await self._write_errors()
                if ending.done():
                    raise Lost(f"Its process ended with status {ending.result()}.")
                if self._changed.is_set() or time.monotonic() - checked_at > HEALTH_S:
                    self._changed.clear()
                    checked_at = time.monotonic()
                    await self._check(connection)
        finally:
            ending.cancel()

    async def _wait_for_news(self, ending: "asyncio.Task[int]", seconds: float) -> None:
        """Return when the process has ended, the tools changed, something was said on standard error that may be
        written down by now, or after so many seconds.
        """
        writable_in_s = self._errors_written_at + _ERRORS_EVERY_S - time.monotonic()
        news = [asyncio.create_task(self._changed.wait())]
        if writable_in_s <= 0:
            news.append(asyncio.create_task(self._errors.added.wait()))
        else:
            seconds = min(seconds, writable_in_s)
        try:
            await asyncio.wait({ending, *news}, timeout=max(seconds, 0.0), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in news:
                task.cancel()

    async def _check(self, connection: ServerConnection) -> None:
        try:
            async with asyncio.timeout(_LISTING_S):
                await self._take_listing(connection)
        except (Unanswered, TimeoutError) as error:
            raise Lost(f"Its tools can't be listed: {explain(error)}") from error

    async def _take_listing(self, connection: ServerConnection) -> None:
        """Read everything that is offered and store it in one piece."""
        listing = await connection.read_listing()
        actual = ActualState.READY if listing.tools else ActualState.NO_TOOLS
        stored = {
            "protocol": listing.protocol[:16],
            "server_version": _write_version(listing),
            "tools": listing.tools,
            "resources": listing.resources,
            "prompts": listing.prompts,
            "listed_as": self._listed_as,
        }
        await self._note(actual, "", tools_at=utc_now(), **stored)

    async def _note(self, actual: ActualState, reason: str, **columns: Any) -> None:
        """Write the state, without secrets; a database that is away is written to the next time."""
        self._state = (actual, reason)
        values = {"actual": actual, "reason": redact(reason), "revision": self.server.revision, **columns}
        self._errors.added.clear()
        values["error_text"] = redact(self._errors.text)
        try:
            await _finish_writing(partial(records.write_state, self._store, self.server.id, **values))
        except LLMManagerError as error:
            log.warning("The state of %s can't be written: %s", self.server.name, error)

    async def _note_process(self, mark: ProcessMark | None) -> None:
        await _finish_writing(partial(records.note_process, self._store, self.server.id, mark))

    async def _write_errors(self) -> None:
        """Write what was said on standard error, every two seconds at most."""
        if self._errors.added.is_set() and time.monotonic() - self._errors_written_at >= _ERRORS_EVERY_S:
            self._errors_written_at = time.monotonic()
            await self._note(*self._state)

    async def _with_last_words(self, reason: str) -> str:
        """A reason with the end of what the process said on standard error."""
        if self._child is None:
            return reason
        await self._child.hear_last_words()
        status = self._child.status
        ended = f" Its process ended with status {status}." if status is not None and "status" not in reason else ""
        words = self._errors.last_words
        return f"{reason}{ended}" + (f" It says: {end_sentence(words)}" if words else "")

    async def _end_child(self) -> None:
        child = self._child
        self._child = None
        if child is not None:
            await child.end()
            with suppress(LLMManagerError):
                await self._note_process(None)


async def _finish_writing(write: Callable[[], None]) -> None:
    """Write in a thread; who is cancelled meanwhile waits for it, so that what is written next is not overwritten."""
    writing = asyncio.ensure_future(asyncio.to_thread(write))
    try:
        await asyncio.shield(writing)
    finally:
        await asyncio.wait({writing})


async def _answer(connection: ServerConnection, question: Mapping[str, Any]) -> Any:
    match question["do"]:
        case "call":
            arguments = question.get("arguments") or {}
            return await connection.call_tool(
                question["tool"], arguments, question.get("responses"), question.get("state")
            )
        case "resource":
            return await connection.read_resource(question["uri"])
        case "prompt":
            return await connection.get_prompt(question["prompt"], question.get("arguments") or {})
    raise Unanswered("The question is not known.")


def _describe_refusal(server: McpServer, status: int) -> str:
    if not server.takes_sign_in:
        return "It wants credentials; give it a header with them."
    again = "It wants somebody to sign in, or a header with credentials."
    return again if status == 401 else "It refuses what a sign-in there allows; sign in again, or give it a header."


async def _wait_for_end(child: Child | None) -> int:
    """The exit status of a process, once it has ended; a server that is no child of ours has no end."""
    return await child.wait() if child is not None else await asyncio.get_running_loop().create_future()


def _write_version(listing: ServerListing) -> str:
    return f"{listing.name} {listing.version}".strip()[:320]
