"""The lone gateway's HTTP: uvicorn's own, with a short way to the doors of a model and limits on a request's head.

A request for a model goes from uvicorn's parser to its door, and the answer to the socket, without the messages, tasks
and headers of ASGI between them: those cost a tenth of a call. A head and what follows it at once are one write. All
else (other addresses, HTTP/1.0, requests that come before the last one is answered) goes uvicorn's way.

A head that has no end is refused. A wish to speak another protocol (h2c, as some clients add it to every request) is
ignored as the standard allows; uvicorn would run the body as the next request.
"""

import asyncio
import logging
import math
import re
import traceback
from collections.abc import Mapping
from typing import cast

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from lib.gateway.completions import DOORS, Door
from lib.gateway.exchange import JSON, LARGEST_BODY, Exchange, Left, check_size, too_slow
from lib.one_turn import TurnTransport
from lib.providers.redaction import redact

log = logging.getLogger(__name__)
_LONGEST_HEAD = 64 * 1024
_UPGRADE = re.compile(rb"\r\nupgrade:", re.IGNORECASE)
_DOORS = {path.encode(): door for path, door in DOORS.items()}


class StraightProtocol(HttpToolsProtocol):
    """uvicorn's own, with that way and those limits."""

    _head_size = 0.0  # bytes of a head so far; below zero while a body comes

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has come."""
        super().connection_made(cast(asyncio.Transport, TurnTransport(transport, self.loop)))

    def data_received(self, data: bytes) -> None:
        """What comes, unless it is more of a head that has no end."""
        if self._head_size >= 0:
            if self._head_size > _LONGEST_HEAD:
                self.send_400_response("The head of the request has no end.")
                return
            self._head_size += len(data)
            if b"pgrade:" in data or b"PGRADE:" in data:
                head, end, body = data.partition(b"\r\n\r\n")
                data = _UPGRADE.sub(b"\r\nx-ignored:", head) + end + body
        super().data_received(data)

    def on_headers_complete(self) -> None:
        """The head has come: a door to a model is opened, uvicorn answers everything else."""
        self._head_size = -math.inf
        door, before, parser = _DOORS.get(self.url), self.cycle, self.parser
        is_free = before is None or before.response_complete
        if door is None or not is_free or parser.get_method() != b"POST" or parser.get_http_version() != "1.1":
            super().on_headers_complete()
            return
        exchange = Straight(self)
        self.cycle = exchange  # type: ignore[assignment]  # what uvicorn wants of one is there
        task = self.loop.create_task(exchange.serve(door))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def on_body(self, body: bytes) -> None:
        """A part of a body."""
        if isinstance(self.cycle, Straight):
            self.cycle.take(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The whole request has come; another one may follow."""
        self._head_size = 0.0
        if isinstance(self.cycle, Straight):
            self.cycle.is_whole = True
            self.cycle.set()
        else:
            super().on_message_complete()


class Straight(Exchange):
    """A request on such a connection. `keep_alive`, `disconnected`, `response_complete` and `set` are uvicorn's."""

    def __init__(self, protocol: StraightProtocol) -> None:
        self._protocol, self._transport, self._loop = protocol, protocol.transport, protocol.loop
        self.headers = dict(protocol.headers)
        self.keep_alive = protocol.parser.should_keep_alive()
        self.began = self.disconnected = self.response_complete = self.is_whole = self._is_wanted = False
        self._parts: list[bytes] = []
        self._size = 0  # of the body so far, in bytes
        self._head = b""  # of the answer, until the first of its body follows
        self._waiter: asyncio.Future[None] | None = None

    async def serve(self, door: Door) -> None:
        """Answer; what has no answer, or but a part of one, ends its connection."""
        try:
            await door.answer(self)
        except Exception as bug:
            log.error("an answer broke off:\n%s", redact("".join(traceback.format_exception(bug))))
        finally:
            if not self.response_complete:
                self._transport.close()

    @property
    def place(self) -> str:
        """From where it came."""
        client = self._protocol.client
        return f"gateway {client[0]}" if client else "gateway"

    @property
    def message_event(self) -> "Straight":
        """What uvicorn sets when something has happened."""
        return self

    def set(self) -> None:
        """Something has happened."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def take(self, data: bytes) -> None:
        """A part of the body; while nobody wants it, the client waits with the rest."""
        if self.response_complete:
            return
        self._parts.append(data)
        self._size += len(data)
        if self._size > (LARGEST_BODY if self._is_wanted else HIGH_WATER_LIMIT):
            self._protocol.flow.pause_reading()
        self.set()

    async def body(self) -> bytes:
        """The body, read as far as the limits of size and time; Refused past them, Left when the client went."""
        if self.disconnected:
            raise Left
        if not self.is_whole:
            await self._rest()
        return self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)

    async def gone(self) -> None:
        """Return when the client has left."""
        while not self.disconnected:
            await self._news()

    async def begin(self, status: int, headers: Mapping[str, str], content_type: str = JSON) -> None:
        """The head of an answer that comes in parts; it leaves with the first."""
        self.began = True
        self._head = self._head_of(status, {"transfer-encoding": "chunked", **headers}, content_type)

    async def write(self, data: bytes) -> None:
        """Send a part of the body."""
        if data and await self._may_write():
            self._transport.write(b"%b%x\r\n%b\r\n" % (self._head, len(data), data))
            self._head = b""

    async def end(self, data: bytes = b"") -> None:
        """Send the last part."""
        if await self._may_write():
            last = b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data) if data else b"0\r\n\r\n"
            self._transport.write(self._head + last)
            self._complete()

    async def answer(self, status: int, data: bytes, headers: Mapping[str, str]) -> None:
        """Send a whole answer."""
        self.began = True
        if await self._may_write():
            head = self._head_of(status, {"content-length": str(len(data)), **headers}, JSON)
            self._transport.write(head + data)
            self._complete()

    async def _rest(self) -> None:
        reading = self._reading(self._loop)
        self._is_wanted = True
        if self._protocol.expect_100_continue:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        try:
            with reading:
                while not self.is_whole:
                    check_size(self._size)
                    self._protocol.flow.resume_reading()
                    await self._news()
                    if self.disconnected:
                        raise Left
        except TimeoutError:
            raise too_slow() from None

    async def _news(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    async def _may_write(self) -> bool:
        """Whether anybody is there to read, once the socket takes more."""
        if self._protocol.flow.write_paused and not self.disconnected:
            await self._protocol.flow.drain()
        return not self.disconnected

    def _head_of(self, status: int, headers: Mapping[str, str], content_type: str) -> bytes:
        if headers.get("connection") == "close":
            self.keep_alive = False
        elif not self.keep_alive:
            headers = {**headers, "connection": "close"}
        lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
        text = f"content-type: {content_type}\r\nx-content-type-options: nosniff\r\n{''.join(lines)}\r\n"
        if text.count("\n") != len(lines) + 3:
            raise ValueError("a header of an answer holds a line break")
        own = b"".join([b"%b: %b\r\n" % line for line in self._protocol.server_state.default_headers])
        return STATUS_LINE[status] + own + text.encode("latin-1", "replace")

    def _complete(self) -> None:
        self.response_complete = True
        if not self.keep_alive:
            self._transport.close()
        self._protocol.on_response_complete()
