"""HTTP/1.1 to the world outside, for everything that leaves this process: send a request, read the answer as it comes.

A general client costs more than all the rest of a relayed call (docs/decisions/lanes.md has the figures). This one is
llhttp's parser (httptools) on a transport and a list of idle connections per address; litellm's clients use it by way
of `httpx_transport`, whoever has no event loop by way of `asking`. No redirect is followed and no cookie kept.

What answers may be hostile. A name is resolved once, and the addresses that were judged are connected to. A head, or
what stands between two parts of a body (chunk sizes, trailers), has 64 kB; an answer has 64 MB, on the wire and
unpacked. Nothing packed is asked for; gzip is undone piece by piece, anything else is refused.
"""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import httptools

from lib.providers.adapters.dialling import (
    ConnectError,
    ConnectTimeout,
    Url,
    build_tls_context,
    open_socket,
    parse_url,
    request_head,
)
from lib.providers.adapters.unpacking import AnswerTooLarge, RemoteProtocolError, select_unpacker
from lib.write_coalescing import get_coalescer

_IDLE_S = 15.0  # a connection that was not used for so long may be closed at the other end
_CONNECT_S = 30.0
_MOST_WAITING = 256 * 1024  # bytes that nobody has read: then the transport stops
_LONGEST_HEAD = 64 * 1024
LARGEST_ANSWER = 64 * 1024 * 1024  # bytes


class Client:
    """Connections that are kept between requests; belongs to one event loop."""

    def __init__(self) -> None:
        self._idle: dict[tuple[bool, str, int, bool], list[_Connection]] = {}

    async def post(
        self, address: str, headers: Mapping[str, str], body: bytes, *, allow_private: bool = False
    ) -> "Response":
        """Send a POST request and return when the head of its answer is here; errors and closing as for `request`."""
        return await self.request("POST", address, headers, body, allow_private=allow_private)

    async def request(
        self, method: str, address: str, headers: Mapping[str, str], body: bytes = b"", *, allow_private: bool = False
    ) -> "Response":
        """Send, and return when the head of the answer is here; close the response in any case.

        InvalidInput for a private address; ConnectError, ConnectTimeout or RemoteProtocolError otherwise.
        """
        url = parse_url(address)
        key = (url.is_tls, url.host, url.port, allow_private)
        head = request_head(method, url, headers, len(body))
        connection = self._kept(key) or await _connect(url, allow_private=allow_private)
        try:
            await connection.send(head, body)
        except BaseException:
            connection.abort()
            raise
        return Response(connection, self._idle.setdefault(key, []))

    def close(self) -> None:
        """Close what is idle."""
        for connections in self._idle.values():
            for connection in connections:
                connection.abort()
        self._idle.clear()

    def _kept(self, key: tuple[bool, str, int, bool]) -> "_Connection | None":
        """The connection that was used last, if it is still good."""
        connections = self._idle.get(key)
        while connections:
            connection = connections.pop()
            if connection.is_open and time.monotonic() - connection.idle_since < _IDLE_S:
                return connection
            connection.abort()
        return None


class Response:
    """The answer of one request: `status` and `headers` (names in lower case), then its body, once, unpacked."""

    def __init__(self, connection: "_Connection", idle: list["_Connection"]) -> None:
        self._connection = connection
        self._idle = idle
        self.status = connection.status
        self.headers = connection.headers
        self._left = LARGEST_ANSWER
        try:
            self._unpacker = select_unpacker(self.headers.pop("content-encoding", "identity"))
        except RemoteProtocolError:
            connection.abort()
            raise

    async def read(self, most: int = LARGEST_ANSWER) -> bytes:
        """The whole body; AnswerTooLarge when it has more than `most` bytes, RemoteProtocolError when it breaks off."""
        parts = list[bytes]()
        size = 0
        while data := await self.part():
            size += len(data)
            if size > most:
                raise AnswerTooLarge(f"The answer is longer than {most:,} bytes.")
            parts.append(data)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def part(self) -> bytes:
        """Return the next unpacked bytes of the body, waiting for them if none are here; empty at the body's end.

        AnswerTooLarge when the body is longer than `LARGEST_ANSWER` bytes, RemoteProtocolError when it breaks off.
        """
        if self._unpacker is None:
            return await self._connection.receive()  # which counts
        data = await self._unpacker.unpack(self._connection.receive)
        self._left -= len(data)
        if self._left < 0:
            raise AnswerTooLarge(f"The unpacked answer is longer than {LARGEST_ANSWER:,} bytes.")
        return data

    def close(self) -> None:
        """Keep the connection when the body was read to its end, else end it."""
        if self._connection.may_be_kept:
            self._connection.idle_since = time.monotonic()
            self._idle.append(self._connection)
        else:
            self._connection.abort()


class _Connection(asyncio.Protocol):
    """One connection, one request at a time. Its methods named `on_` are the parser's callbacks."""

    is_open = _keeps_alive = False
    idle_since = 0.0

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self.is_open = True
        self._loop = asyncio.get_running_loop()
        self._turn = get_coalescer(self._loop)
        self._waiter: asyncio.Future[None] | None = None
        self._error: Exception | None = None
        self._is_reading = True
        self._begin()
        self._is_done = True  # nothing has been asked

    def _begin(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self.status = 0
        self.headers = dict[str, str]()
        self._has_head = self._is_done = False
        self._waiting = self._size = self._unread_size = 0
        self._parts: list[bytes] = []

    async def send(self, head: bytes, body: bytes) -> None:
        """Send a request and wait for the head of its answer."""
        self._begin()
        self._turn.write(self._transport, head + body)
        while not self._has_head:
            await self._more()

    async def receive(self) -> bytes:
        """Return all bytes of the body that came since the last call, waiting if there are none; empty at its end."""
        while not self._parts:
            if self._is_done:
                return b""
            await self._more()
        data = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts.clear()
        self._waiting = 0
        if not self._is_reading and self.is_open:
            self._is_reading = True
            self._transport.resume_reading()
        return data

    @property
    def may_be_kept(self) -> bool:
        """Whether another request may follow."""
        return self.is_open and self._is_done and self._keeps_alive and not self._parts

    def abort(self) -> None:
        """End it now."""
        self.is_open = False
        self._transport.abort()

    async def _more(self) -> None:
        if self._error is not None:
            raise self._error
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, error: Exception) -> None:
        self._error = self._error or error
        self._wake()

    def data_received(self, data: bytes) -> None:
        if self._is_done:  # nobody asked for this
            self.abort()
            return
        size = len(data)
        self._size += size
        self._unread_size += size  # since a part of the body came; `on_body` sets it to 0
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade, UnicodeDecodeError) as error:
            self._give_up(self._error or RemoteProtocolError(f"That is no HTTP answer: {type(error).__name__}."))
            return
        if not self._is_done and (self._unread_size > _LONGEST_HEAD or self._size > LARGEST_ANSWER):
            self._give_up(self._size_error())
        elif self._has_head:
            self._wake()

    def _size_error(self) -> RemoteProtocolError:
        if self._size > LARGEST_ANSWER:
            return AnswerTooLarge(f"The answer is longer than {LARGEST_ANSWER:,} bytes.")
        part = "between two parts of" if self._has_head else "before"
        return RemoteProtocolError(f"More than {_LONGEST_HEAD:,} bytes stand {part} the answer's body.")

    def _give_up(self, error: Exception) -> None:
        self._fail(error)
        self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        is_framed = "content-length" in self.headers or "transfer-encoding" in self.headers
        if self._has_head and not self._is_done and exc is None and not is_framed:  # it ends with the connection
            self._is_done = True
            self._wake()
        elif not self._is_done:
            self._fail(RemoteProtocolError("The connection was closed before the answer was complete."))

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._has_head:  # else it is a trailer, which nobody needs
            self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        coding = self.headers.get("transfer-encoding", "chunked")
        if coding.strip().lower() != "chunked":
            self._give_up(RemoteProtocolError(f"The answer is sent as {coding[:40]!r}."))
        elif self.status >= 200:
            self._has_head = True
        else:  # 100 Continue, 103 Early Hints: the answer follows
            self.headers = {}

    def on_body(self, body: bytes) -> None:
        self._unread_size = 0
        self._parts.append(body)
        self._waiting += len(body)
        if self._waiting > _MOST_WAITING and self._is_reading:
            self._is_reading = False
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        if self._has_head:
            self._is_done = True
            self._keeps_alive = self._parser.should_keep_alive()


async def _connect(url: Url, *, allow_private: bool) -> _Connection:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_CONNECT_S):
            sock = await open_socket(loop, url, allow_private=allow_private)
            tls: dict[str, Any] = {"ssl": build_tls_context(), "server_hostname": url.host} if url.is_tls else {}
            _, connection = await loop.create_connection(_Connection, sock=sock, **tls)
            return connection
    except ConnectError:
        raise
    except TimeoutError:
        raise ConnectTimeout(f"{url.authority} did not take the connection within {_CONNECT_S:g} s.") from None
    except OSError as error:
        raise ConnectError(f"{url.authority}: {error.strerror or error}") from error
