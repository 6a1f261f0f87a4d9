"""One HTTP request of a program, read and answered on bare ASGI: the way every call of the gateway takes.

Starlette's request and response objects would cost as much as the rest of a relayed call.
"""

import asyncio
import json
from collections.abc import Collection, Mapping
from typing import Any

from starlette.types import Message, Receive, Scope, Send

from lib.calls.deadline import Deadline
from lib.gateway.http import request_encoding
from lib.gateway.http.refusals import Refusal

LARGEST_BODY = 32 * 1024 * 1024  # bytes; pictures travel inside
_ALONE = {b"authorization", b"x-api-key", b"content-length", b"content-type", b"host"}  # no lists: the last line counts
JSON = "application/json"


class RefusedRequest(Exception):
    """The request is answered with a refusal."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


class ClientLeft(Exception):
    """The client has gone before its request was read."""


class Exchange:
    """A request, and what is sent in answer. `began`: the head has been sent; `largest_body`: its most bytes.

    `slowest_body_s`: how long the body may take to come.
    """

    largest_body = LARGEST_BODY
    slowest_body_s = 30.0

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self.headers = merge_headers(scope["headers"])
        self.began = False

    def header(self, name: str) -> str:
        """A header's value, or an empty text."""
        return self.headers.get(name.encode(), b"").decode("latin-1")

    @property
    def path(self) -> str:
        """The address without its query."""
        return str(self._scope["path"])

    @property
    def token(self) -> str:
        """The API key that was sent: as a bearer, or as Anthropic's clients do."""
        scheme, _, token = self.headers.get(b"authorization", b"").partition(b" ")
        sent = token if scheme.lower() == b"bearer" else self.headers.get(b"x-api-key", b"")
        return sent.decode("latin-1").strip()

    @property
    def place(self) -> str:
        """From where it came, for the audit log; a proxy's word counts where uvicorn trusts the proxy."""
        client = self._scope.get("client")
        return f"gateway {client[0]}" if client else "gateway"

    async def body(self) -> bytes:
        """The unpacked body; RefusedRequest past the limits of size and time, ClientLeft when the client has gone."""
        data = await self._read_body()
        codings = self.header("content-encoding")
        return await asyncio.to_thread(_unpack_body, data, codings, self.largest_body) if codings else data

    async def _read_body(self) -> bytes:
        """The body as it came."""
        parts = list[bytes]()
        size = 0
        try:
            with self._reading(asyncio.get_running_loop()):
                while True:
                    message = await self._receive()
                    if message["type"] == "http.disconnect":
                        raise ClientLeft
                    part = message.get("body", b"")
                    size += len(part)
                    check_size(size, self.largest_body)
                    parts.append(part)
                    if not message.get("more_body"):
                        return parts[0] if len(parts) == 1 else b"".join(parts)
        except TimeoutError:
            raise make_too_slow_refusal(self.slowest_body_s) from None

    def _reading(self, loop: asyncio.AbstractEventLoop) -> Deadline:
        """The time that a body may take; RefusedRequest at once when it says that it is too large."""
        if (length := self.headers.get(b"content-length", b"")).isdigit():
            check_size(int(length), self.largest_body)
        return Deadline(loop.time() + self.slowest_body_s, loop)

    async def gone(self) -> None:
        """Return when the client has left."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def begin(self, status: int, headers: Mapping[str, str], content_type: str = JSON) -> None:
        """Send the head."""
        lines = [(b"content-type", content_type.encode()), (b"x-content-type-options", b"nosniff")]
        lines += [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers.items()]
        await self.send({"type": "http.response.start", "status": status, "headers": lines})

    async def send(self, message: Message) -> None:
        """Send an ASGI message, of a route that speaks ASGI itself."""
        self.began = True
        await self._send(message)

    async def write(self, data: bytes) -> None:
        """Send a part of the body."""
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self, data: bytes = b"") -> None:
        """Send the last part."""
        await self._send({"type": "http.response.body", "body": data})

    async def answer(self, status: int, data: bytes, headers: Mapping[str, str], content_type: str = JSON) -> None:
        """Send a whole answer."""
        await self.begin(status, {"content-length": str(len(data)), **headers}, content_type)
        await self.end(data)

    async def answer_json(self, status: int, document: Any, headers: Mapping[str, str]) -> None:
        """Send a whole answer in JSON."""
        await self.answer(status, json.dumps(document, ensure_ascii=False).encode("utf-8", "replace"), headers)


def merge_headers(lines: Collection[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Headers by their names in small letters; lines of one name are one list (RFC 9110, 5.3), keys excepted."""
    headers = dict(lines)
    if len(headers) == len(lines):
        return headers
    headers.clear()
    for name, value in lines:
        headers[name] = value if name not in headers or name in _ALONE else b"%b, %b" % (headers[name], value)
    return headers


def _unpack_body(data: bytes, codings: str, largest: int) -> bytes:
    try:
        return request_encoding.unpack(data, codings, largest)
    except request_encoding.UnknownCoding:
        why = f"The body's Content-Encoding {codings[:60]!r} is not known here. Send it as {request_encoding.TAKEN}."
        raise RefusedRequest(
            Refusal(415, "unsupported_encoding", why, headers={"accept-encoding": request_encoding.TAKEN})
        ) from None
    except request_encoding.TooLong:
        raise make_too_large_refusal(largest) from None
    except request_encoding.Damaged:
        why = f"The body is not what its Content-Encoding {codings[:60]!r} says, or it breaks off. Send it again."
        raise RefusedRequest(Refusal(400, "invalid_request", why)) from None


def make_too_slow_refusal(seconds: float) -> RefusedRequest:
    """The refusal of a body that has not come in so many seconds."""
    why = f"The body did not arrive within {seconds:g} s. Send it again."
    return RefusedRequest(Refusal(408, "request_timeout", why, headers={"connection": "close"}))


def check_size(size: int, largest: int) -> None:
    """RefusedRequest when a body has more bytes than it may."""
    if size > largest:
        raise make_too_large_refusal(largest)


def make_too_large_refusal(largest: int) -> RefusedRequest:
    """The refusal of a body that is longer than it may be, as it comes or unpacked."""
    message = f"The body is larger than {largest:,} bytes. Send less."
    return RefusedRequest(Refusal(413, "request_too_large", message, headers={"connection": "close"}))
