"""A server as a child process: its pipes as the client's streams, with a limit of bytes before anything is parsed.

A line longer than the limit is read to its end and thrown away; when it was the answer to a request, that request gets
an error instead, and the server goes on. Lines that are no messages are noted beside what the server says on standard
error, of which the last 64 kB are kept.
"""

import asyncio
import json
import os
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import mcp_types
from mcp.client._transport import TransportStreams
from mcp.shared.message import SessionMessage

from lib.mcp import processes
from lib.mcp.pins import strip_invisible
from lib.mcp.processes import ProcessMark
from lib.patterns import compile_pattern

LARGEST_MESSAGE = 8 * 1024 * 1024  # bytes
MOST_ERROR_TEXT = 64 * 1024
_PART = 64 * 1024
_MOST_GARBAGE = 200  # lines that are no messages
_LONGEST_GARBAGE = 200
_LAST_WORDS_S = 0.5
_LINES_SHOWN = 4  # of standard error in a reason, which ends with what went wrong
_LONGEST_LINE = 200
_GRACE_S = 1.0
_LOOK_S = 0.02
_LOOK_SELDOM_S = 0.5  # where the system does not tell of an end
_ID = compile_pattern(rb'"id"\s*:\s*(\d{1,18}|"[^"\\]{1,64}")')


class Flood(Exception):
    """The server prints what is no protocol."""


class ErrorText:
    """The last 64 kB of what a server says on standard error."""

    def __init__(self) -> None:
        self._text = bytearray()
        self.added = asyncio.Event()  # since it was last written down

    def add(self, data: bytes) -> None:
        """Add bytes; the oldest are dropped."""
        self._text += data
        del self._text[:-MOST_ERROR_TEXT]
        self.added.set()

    @property
    def text(self) -> str:
        """Return the last bytes of the stream that were kept, decoded as UTF-8."""
        return self._text.decode("utf-8", "replace").replace("\0", "")

    @property
    def last_words(self) -> str:
        """The newest lines in one, each once, since who is restarted repeats itself; empty where nothing was said."""
        lines = [line.strip() for line in strip_invisible(self.text).splitlines() if line.strip(" ^~")]  # no underlines
        newest = [*dict.fromkeys(reversed(lines))][:_LINES_SHOWN]
        return " / ".join(line[:_LONGEST_LINE] for line in reversed(newest))


class Child:
    """One process of a server. `start`, then `streams` as the client's transport, then `end` whatever happened."""

    def __init__(
        self,
        command: Sequence[str],
        variables: Mapping[str, str],
        folder: Path,
        limits: Mapping[str, int],
        errors: ErrorText,
    ) -> None:
        self._command = command
        self._variables = variables
        self._folder = folder
        self._limits = limits
        self._errors = errors
        self._process: asyncio.subprocess.Process | None = None
        self._spawning: asyncio.Future[None] | None = None
        self._token = secrets.token_hex(16)
        self._reading = list[asyncio.Task[None]]()
        self.mark = processes.mark_process(0, self._token)

    async def start(self) -> ProcessMark:
        """Start the process in a session and a folder of its own; raises OSError. A cancellation loses no process."""
        self._spawning = asyncio.ensure_future(self._spawn())
        await asyncio.shield(self._spawning)
        return self.mark

    async def _spawn(self) -> None:
        (self._folder / "tmp").mkdir(parents=True, exist_ok=True, mode=0o700)
        self._process = await asyncio.create_subprocess_exec(
            *processes.build_command(self._command, self._limits),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=processes.build_environment(self._folder, self._token, self._variables),
            cwd=self._folder,
            start_new_session=True,
            limit=_PART,
        )
        self.mark = processes.mark_process(self._process.pid, self._token)
        self._reading.append(asyncio.create_task(self._read_errors()))

    async def wait(self) -> int:
        """Wait for the end of the process itself, not of what it started and gave its pipes to; its exit status."""
        process = self._running()
        is_told = process.returncode is not None or await _wait_for_exit(process.pid)
        while process.returncode is None:  # noqa: ASYNC110 (its own `wait` would wait for the pipes, too)
            await asyncio.sleep(_LOOK_S if is_told else _LOOK_SELDOM_S)
        return process.returncode

    @property
    def status(self) -> int | None:
        """The exit status; None while it runs."""
        return None if self._process is None else self._process.returncode

    async def end(self) -> None:
        """Let the process go, then end whatever is left of it and of what it started; at most three seconds."""
        if self._spawning is not None:
            await asyncio.wait({self._spawning})
        if self._process is None:
            return
        with suppress(OSError, RuntimeError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(_GRACE_S):
                await self.wait()
        await asyncio.to_thread(processes.end_all, self.mark, is_own=True)
        await self.hear_last_words()
        for task in self._reading:
            task.cancel()
        transport: Any = getattr(self._process, "_transport", None)
        if transport is not None:
            transport.close()  # pipes that a survivor holds open

    async def hear_last_words(self) -> None:
        """Read what an ended process has still said on standard error."""
        if self._reading:
            await asyncio.wait(self._reading, timeout=_LAST_WORDS_S)

    @asynccontextmanager
    async def streams(self) -> AsyncIterator[TransportStreams]:
        """The transport of the client: messages from the process, messages to it."""
        incoming, received = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        sent, outgoing = anyio.create_memory_object_stream[SessionMessage](0)

        async def read() -> None:
            async with incoming:
                with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError, Flood):
                    async for message in self._messages():
                        await incoming.send(message)

        async def write() -> None:
            stdin = self._running().stdin
            async with outgoing:
                with suppress(OSError, RuntimeError):
                    async for message in outgoing:
                        text = message.message.model_dump_json(by_alias=True, exclude_unset=True)
                        if stdin is not None:
                            stdin.write(text.encode() + b"\n")
                            await stdin.drain()
            await incoming.aclose()

        tasks = [asyncio.create_task(read()), asyncio.create_task(write())]
        try:
            yield received, sent
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for stream in (incoming, received, sent, outgoing):
                stream.close()

    async def _messages(self) -> AsyncIterator[SessionMessage]:
        garbage = 0
        async for line in read_lines(self._running().stdout, LARGEST_MESSAGE):
            if not line.strip():
                continue
            message = _parse(line)
            if message is not None:
                yield message
                continue
            garbage += 1
            self._errors.add(b"(on standard output) " + line[:_LONGEST_GARBAGE] + b"\n")
            if garbage > _MOST_GARBAGE:
                self._errors.add(b"It prints lines that are no messages of the protocol.\n")
                raise Flood

    async def _read_errors(self) -> None:
        stream = self._running().stderr
        while stream is not None and (data := await stream.read(_PART)):
            self._errors.add(data)

    def _running(self) -> asyncio.subprocess.Process:
        if self._process is None:
            raise RuntimeError("the process was not started")
        return self._process


async def _wait_for_exit(pid: int) -> bool:
    """Return True when a process has ended, as its descriptor says; False at once where there is none for processes."""
    try:
        descriptor = os.pidfd_open(pid)
    except (AttributeError, OSError):
        return False
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
    return True


async def read_lines(stream: asyncio.StreamReader | None, most: int) -> AsyncIterator[bytes]:
    """Lines of a stream. For a line beyond `most` bytes comes an error in JSON-RPC, for the id it begins with."""
    line = bytearray()
    is_too_long = False
    while stream is not None and (part := await stream.read(_PART)):
        *ended, unfinished = part.split(b"\n")
        for piece in ended:
            yield _refuse_line(bytes(line)) if is_too_long or len(line) + len(piece) > most else bytes(line + piece)
            line.clear()
            is_too_long = False
        if is_too_long or len(line) + len(unfinished) > most:
            is_too_long = True
            del line[_PART:]  # enough to find the id in
        else:
            line += unfinished


def _refuse_line(start: bytes) -> bytes:
    """A response with an error for the id that a message begins with; a line that is no message where there is none."""
    match = _ID.search(start[:_PART])
    if match is None:
        return b"a message that is too long"
    error = {"code": -32000, "message": f"The answer is larger than {LARGEST_MESSAGE:,} bytes."}
    return json.dumps({"jsonrpc": "2.0", "id": json.loads(match[1]), "error": error}).encode()


def _parse(line: bytes) -> SessionMessage | None:
    try:
        return SessionMessage(mcp_types.jsonrpc_message_adapter.validate_json(line, by_name=False))
    except ValueError:
        return None
