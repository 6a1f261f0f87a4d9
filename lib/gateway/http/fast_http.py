"""The lone gateway's HTTP: uvicorn's own, with a short way to the doors of a model, and limits.

A request for a model goes from uvicorn's parser to its door, and the answer to the socket, without the messages, tasks
and headers of ASGI between them: those cost a tenth of a call. What is written in a turn of the loop is one write. All
else (other addresses, HTTP/1.0, requests that come before the last one is answered) goes uvicorn's way.

A head has a size and a time to come in, trailers have that size, and a connection that nothing is asked of ends. A wish
to speak another protocol (h2c, as some clients add it to every request) is ignored as the standard allows; what is left
of such wishes is refused, for the parser would run the body as the next request.
"""

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any, cast

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from lib.gateway.http import error_boundary, request_head
from lib.gateway.http.exchange import JSON, ClientLeft, Exchange, check_size, make_too_slow_refusal, merge_headers
from lib.gateway.http.idle_timeout import IdleTimeout
from lib.gateway.models.completions import MODEL_ROUTES, ModelRoute
from lib.write_coalescing import CoalescingTransport

_LONGEST_HEAD = 64 * 1024
_MOST_QUEUED = 4  # requests before the last one is answered: the next wait, or are refused
_FAR_TOO_MANY = 100


class FastHttpProtocol(HttpToolsProtocol):
    """uvicorn's protocol with the short way to the routes of a model and with limits of size and time."""

    model_routes: Mapping[bytes, ModelRoute] = {path.encode(): route for path, route in MODEL_ROUTES.items()}
    head_s = 20.0  # for a head to come in
    _is_between = True  # a head is awaited, or has begun
    _head = b""  # so far, in bytes
    _head_size = 0
    _trailers = 0  # bytes
    _running: Any = None  # the request that is being answered, by a door or uvicorn

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin with a client's new connection."""
        super().connection_made(cast(asyncio.Transport, CoalescingTransport(transport, self.loop)))
        self._idle_timeout = IdleTimeout(self._close_idle, self.loop)
        self._idle_timeout.restart(self.timeout_keep_alive)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone; whoever answers it hears of that, and nothing of it is kept."""
        self._idle_timeout.forget()
        super().connection_lost(exc)
        if self._running is not None:
            self._running.disconnected = True
            self._running.message_event.set()
        self._running = self.cycle = None  # type: ignore[assignment]

    def eof_received(self) -> None:
        """The client says no more: what waits for it is written first."""
        self.transport.close()

    def data_received(self, data: bytes) -> None:
        """Take bytes from the socket; a head goes on once it is whole, so that it is checked wherever it was cut."""
        if self._is_between:
            if self._head_size > _LONGEST_HEAD:
                self.send_400_response("The head of the request has no end.")
                return
            has_begun = self._head_size > 0
            self._head_size = self._head_size + len(data)
            data = self._head + data
            if not request_head.is_whole(data):
                if not has_begun:
                    self._idle_timeout.restart(self.head_s)
                self._head = data
                return
            self._head = b""
            data = request_head.remove_upgrade(data)
        super().data_received(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A line of the head, or one that follows a body in parts, which says nothing here."""
        if not self._is_between:
            self._trailers += len(name) + len(value)
            if self._trailers > _LONGEST_HEAD:
                raise ValueError("The trailers have no end.")
            return
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def _close_idle(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()

    def on_headers_complete(self) -> None:
        """The head has come: a door to a model is opened, uvicorn answers everything else."""
        self._is_between = False
        self._head_size = 0
        self._trailers = 0
        parser = self.parser
        if parser.should_upgrade():
            raise ValueError("The connection speaks HTTP/1.1 alone.")
        self._idle_timeout.end()
        door = self.model_routes.get(self.url.partition(b"?")[0])
        previous_cycle = self.cycle
        is_free = previous_cycle is None or previous_cycle.response_complete
        if door is None or not is_free or parser.get_method() != b"POST" or parser.get_http_version() != "1.1":
            if len(self.pipeline) >= _FAR_TOO_MANY:
                raise ValueError("Too many requests wait on one connection.")
            super().on_headers_complete()
            if is_free:
                self._running = self.cycle
            else:
                self.read_on()  # else nobody would see the client go
            return
        if (fault := request_head.find_fault(self.headers, b"", "1.1")) is not None:
            raise ValueError(fault)
        exchange = self._running = FastExchange(self)
        self.cycle = exchange  # type: ignore[assignment]  # what uvicorn wants of one is there
        task = self.loop.create_task(exchange.serve(door))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def read_on(self) -> None:
        """More may come, unless too much waits already."""
        if len(self.pipeline) < _MOST_QUEUED:
            self.flow.resume_reading()

    def on_body(self, body: bytes) -> None:
        """A part of a body."""
        if isinstance(self.cycle, FastExchange):
            self.cycle.take(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The whole request has come; another one may follow."""
        self._is_between = True
        if isinstance(self.cycle, FastExchange):
            self.cycle.is_whole = True
            self.cycle.set()
        else:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """Begin the next waiting request, or wait for one; replaces uvicorn's method, which sets a timer of its own."""
        self._running = None
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if self.pipeline:
            self._running, app = self.pipeline.pop()
            self._start_asgi_task(self._running, app)
            self.read_on()
        else:
            self.flow.resume_reading()
            self._idle_timeout.restart(self.timeout_keep_alive)


class FastExchange(Exchange):
    """A request on a connection of `FastHttpProtocol`.

    uvicorn calls for `keep_alive`, `disconnected`, `response_complete` and `set`.
    """

    def __init__(self, protocol: FastHttpProtocol) -> None:
        self._protocol = protocol
        self._transport = protocol.transport
        self._loop = protocol.loop
        self.headers = merge_headers(protocol.headers)
        self.keep_alive = protocol.parser.should_keep_alive()
        self.began = self.disconnected = self.response_complete = self.is_whole = self._is_wanted = False
        self._parts: list[bytes] = []
        self._size = 0  # of the body so far, in bytes
        self._head = b""  # of the answer, until the first of its body follows
        self._waiter: asyncio.Future[None] | None = None

    async def serve(self, door: ModelRoute) -> None:
        """Answer; what has no answer, or but a part of one, ends its connection."""
        try:
            await error_boundary.answer_request(self, door.errors, partial(door.answer, self))
        finally:
            if not self.response_complete:
                self._transport.close()

    @property
    def place(self) -> str:
        """From where it came."""
        client = self._protocol.client
        return f"gateway {client[0]}" if client else "gateway"

    @property
    def message_event(self) -> "FastExchange":
        """The event of uvicorn's protocol: this exchange itself, which has `set`."""
        return self

    def set(self) -> None:
        """Wake the task that waits for a part of the body or for the client to leave."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def take(self, data: bytes) -> None:
        """A part of the body; while nobody wants it, the client waits with the rest."""
        if self.response_complete:
            return
        self._parts.append(data)
        self._size += len(data)
        if self._size > (self.largest_body if self._is_wanted else HIGH_WATER_LIMIT):
            self._protocol.flow.pause_reading()
        self.set()

    async def _read_body(self) -> bytes:
        """The body as it came."""
        if self.disconnected:
            raise ClientLeft
        if not self.is_whole:
            await self._receive_rest()
        parts = self._parts
        self._parts = []
        self._protocol.read_on()  # to see the client go
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def gone(self) -> None:
        """Return when the client has left."""
        while not self.disconnected:
            await self._wait_for_change()

    async def begin(self, status: int, headers: Mapping[str, str], content_type: str = JSON) -> None:
        """The head of an answer that comes in parts; it leaves with the first."""
        self._head = self._head_of(status, {"transfer-encoding": "chunked", **headers}, content_type)
        self.began = True

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

    async def answer(self, status: int, data: bytes, headers: Mapping[str, str], content_type: str = JSON) -> None:
        """Send a whole answer."""
        if await self._may_write():
            head = self._head_of(status, {"content-length": str(len(data)), **headers}, content_type)
            self.began = True
            self._transport.write(head + data)
            self._complete()

    async def _receive_rest(self) -> None:
        reading = self._reading(self._loop)
        self._is_wanted = True
        if self._protocol.expect_100_continue:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        try:
            with reading:
                while not self.is_whole:
                    check_size(self._size, self.largest_body)
                    self._protocol.flow.resume_reading()
                    await self._wait_for_change()
                    if self.disconnected:
                        raise ClientLeft
        except TimeoutError:
            raise make_too_slow_refusal(self.slowest_body_s) from None

    async def _wait_for_change(self) -> None:
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
        if text.count("\n") != len(lines) + 3 or text.count("\r") != len(lines) + 3 or "\x00" in text:
            raise ValueError("a header of an answer holds a line break")
        own = b"".join([b"%b: %b\r\n" % line for line in self._protocol.server_state.default_headers])
        return STATUS_LINE[status] + own + text.encode("latin-1", "replace")

    def _complete(self) -> None:
        self.response_complete = True
        if not self.keep_alive:
            self._transport.close()
        self._protocol.on_response_complete()
