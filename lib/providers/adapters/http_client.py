"""HTTP/1.1 to a provider, as little of it as a relay needs: POST a body, read the answer as it comes.

A general client costs more than all the rest of a relayed call (docs/decisions/lanes.md has the figures). This one is
llhttp's parser (httptools) on a transport and a list of idle connections per address. No redirect, cookie, proxy or
compression: a provider's API needs none. Every address a name resolves to is judged before it is connected to.
"""

import asyncio
import ipaddress
import socket
import ssl
import time
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any, NamedTuple
from urllib.parse import quote

import aiohappyeyeballs
import httptools

from lib.errors import InvalidInput
from lib.one_turn import turn_of
from lib.providers import hosts

_IDLE_S = 15.0  # a connection that was not used for so long may be closed at the other end
_CONNECT_S = 30.0
_MOST_WAITING = 256 * 1024  # bytes that nobody has read: then the transport stops
_LONGEST_HEAD = 64 * 1024
LARGEST_BODY = 64 * 1024 * 1024


class ConnectError(ConnectionError):
    """No address of the host takes a connection: name, network or certificate."""


class ConnectTimeout(TimeoutError):
    """No address answered in time."""


class RemoteProtocolError(ConnectionError):
    """The answer is no HTTP, or breaks off."""


class Url(NamedTuple):
    """Where to send: `host` without brackets, `authority` as in the Host header, `path` ready for the request line."""

    is_tls: bool
    host: str
    port: int
    authority: str
    path: str


@lru_cache(maxsize=1_000)
def parse_url(text: str) -> Url:
    """The parts of an http(s) address; InvalidInput when it is none."""
    parts = hosts.parse(text)
    is_tls = parts.scheme == "https"
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    return Url(is_tls, parts.hostname or "", parts.port or (443 if is_tls else 80), parts.netloc, path)


class Client:
    """Connections that are kept between requests; belongs to one event loop."""

    def __init__(self) -> None:
        self._idle: dict[tuple[bool, str, int, bool], list[_Connection]] = {}

    async def post(
        self, address: str, headers: Mapping[str, str], body: bytes, *, allow_private: bool = False
    ) -> "Response":
        """Send, and return when the head of the answer is here; close the response in any case.

        InvalidInput for a private address; ConnectError, ConnectTimeout or RemoteProtocolError otherwise.
        """
        url = parse_url(address)
        key = (url.is_tls, url.host, url.port, allow_private)
        head = _head(url, headers, len(body))
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
    """The answer of one request: `status` and `headers` (names in lower case), then its body, once."""

    def __init__(self, connection: "_Connection", idle: list["_Connection"]) -> None:
        self._connection, self._idle = connection, idle
        self.status, self.headers = connection.status, connection.headers

    async def read(self, most: int = LARGEST_BODY) -> bytes:
        """The whole body; RemoteProtocolError when it breaks off or is longer than `most` bytes."""
        parts, size = list[bytes](), 0
        while data := await self._connection.receive():
            size += len(data)
            if size > most:
                raise RemoteProtocolError(f"The body is longer than {most:,} bytes.")
            parts.append(data)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def part(self) -> bytes:
        """What has come of the body since, or comes next; empty at its end. RemoteProtocolError when it breaks off."""
        return await self._connection.receive()

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
        self._transport, self.is_open = transport, True
        self._loop = asyncio.get_running_loop()
        self._turn = turn_of(self._loop)
        self._waiter: asyncio.Future[None] | None = None
        self._error: Exception | None = None
        self._is_reading = True
        self._begin()
        self._is_done = True  # nothing has been asked

    def _begin(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self.status, self.headers = 0, dict[str, str]()
        self._has_head = self._is_done = False
        self._head_size = self._waiting = 0
        self._parts: list[bytes] = []

    async def send(self, head: bytes, body: bytes) -> None:
        """Send a request and wait for the head of its answer."""
        self._begin()
        self._turn.write(self._transport, head + body)
        while not self._has_head:
            await self._more()

    async def receive(self) -> bytes:
        """What has come of the body; empty at its end."""
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
        if not self._has_head:
            self._head_size += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade, UnicodeDecodeError) as error:
            self._fail(RemoteProtocolError(f"That is no HTTP answer: {type(error).__name__}."))
            self.abort()
            return
        if self._has_head or self._is_done:
            self._wake()
        elif self._head_size > _LONGEST_HEAD:
            self._fail(RemoteProtocolError("The head of the answer has no end."))
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        is_framed = "content-length" in self.headers or "chunked" in self.headers.get("transfer-encoding", "")
        if self._has_head and not self._is_done and exc is None and not is_framed:  # it ends with the connection
            self._is_done = True
            self._wake()
        elif not self._is_done:
            self._fail(RemoteProtocolError("The connection was closed before the answer was complete."))

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        if self.status >= 200:
            self._has_head = True
        else:  # 100 Continue, 103 Early Hints: the answer follows
            self.headers = {}

    def on_body(self, body: bytes) -> None:
        self._parts.append(body)
        self._waiting += len(body)
        if self._waiting > _MOST_WAITING and self._is_reading:
            self._is_reading = False
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        if self._has_head:
            self._is_done = True
            self._keeps_alive = self._parser.should_keep_alive()


def _head(url: Url, headers: Mapping[str, str], length: int) -> bytes:
    lines = [f"POST {url.path} HTTP/1.1", f"Host: {url.authority}", f"Content-Length: {length}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    text = "\r\n".join(lines)
    if text.count("\n") != len(lines) - 1 or text.count("\r") != len(lines) - 1 or "\x00" in text:
        raise InvalidInput("A header of the provider can't be sent.", "It holds a line break.", "Correct its headers.")
    return text.encode("latin-1", "replace") + b"\r\n\r\n"


async def _connect(url: Url, *, allow_private: bool) -> _Connection:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_CONNECT_S):
            found = await loop.getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM)
            if not allow_private:
                for entry in found:
                    _judge(url.host, str(entry[4][0]))
            sock = await aiohappyeyeballs.start_connection(found, happy_eyeballs_delay=0.25, loop=loop)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            tls: dict[str, Any] = {"ssl": _tls(), "server_hostname": url.host} if url.is_tls else {}
            _, connection = await loop.create_connection(_Connection, sock=sock, **tls)
            return connection
    except TimeoutError:
        raise ConnectTimeout(f"{url.authority} did not take the connection within {_CONNECT_S:g} s.") from None
    except OSError as error:
        raise ConnectError(f"{url.authority}: {error.strerror or error}") from error


def _judge(host: str, address: str) -> None:
    if hosts.is_private(ipaddress.ip_address(address.partition("%")[0])):
        raise InvalidInput(
            f"{host} is a private address.",
            "A provider on this machine or inside your network must be allowed by name.",
            "Tick “Allow private hosts” for this provider if the address is meant.",
        )


@cache
def _tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context
