"""One HTTP request of a program, read and answered on bare ASGI: the way every call of the gateway takes.

Starlette's request and response objects would cost as much as the rest of a relayed call.
"""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from starlette.types import Receive, Scope, Send

from lib.calls.deadline import Deadline
from lib.gateway.refusals import Refusal

LARGEST_BODY = 32 * 1024 * 1024  # bytes; pictures travel inside
_SLOWEST_BODY_S = 30.0
JSON = "application/json"


class Refused(Exception):
    """The request is answered with a refusal."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


class Left(Exception):
    """The client has gone before its request was read."""


class Exchange:
    """A request, and what is sent in answer. `began`: the head has been sent."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.began = False

    def header(self, name: str) -> str:
        """A header's value, or an empty text."""
        return self.headers.get(name.encode(), b"").decode("latin-1")

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
        """The body, read as far as the limits of size and time; Refused past them."""
        parts, size = list[bytes](), 0
        try:
            with self._reading(asyncio.get_running_loop()):
                while True:
                    message = await self._receive()
                    if message["type"] == "http.disconnect":
                        raise Left
                    part = message.get("body", b"")
                    size += len(part)
                    check_size(size)
                    parts.append(part)
                    if not message.get("more_body"):
                        return parts[0] if len(parts) == 1 else b"".join(parts)
        except TimeoutError:
            raise too_slow() from None

    def _reading(self, loop: asyncio.AbstractEventLoop) -> Deadline:
        """The time that a body may take; Refused at once when it says that it is too large."""
        if (length := self.headers.get(b"content-length", b"")).isdigit():
            check_size(int(length))
        return Deadline(loop.time() + _SLOWEST_BODY_S, loop)

    async def gone(self) -> None:
        """Return when the client has left."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def begin(self, status: int, headers: Mapping[str, str], content_type: str = JSON) -> None:
        """Send the head."""
        self.began = True
        lines = [(b"content-type", content_type.encode()), (b"x-content-type-options", b"nosniff")]
        lines += [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": lines})

    async def write(self, data: bytes) -> None:
        """Send a part of the body."""
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self, data: bytes = b"") -> None:
        """Send the last part."""
        await self._send({"type": "http.response.body", "body": data})

    async def answer(self, status: int, data: bytes, headers: Mapping[str, str]) -> None:
        """Send a whole answer."""
        await self.begin(status, {"content-length": str(len(data)), **headers})
        await self.end(data)

    async def answer_json(self, status: int, document: Any, headers: Mapping[str, str]) -> None:
        """Send a whole answer in JSON."""
        await self.answer(status, json.dumps(document, ensure_ascii=False).encode("utf-8", "replace"), headers)


def too_slow() -> Refused:
    """The refusal of a body that does not come."""
    why = f"The body did not arrive within {_SLOWEST_BODY_S:g} s. Send it again."
    return Refused(Refusal(408, "request_timeout", why, headers={"connection": "close"}))


def check_size(size: int) -> None:
    """Refused when a body has more bytes than it may."""
    if size > LARGEST_BODY:
        message = f"The body is larger than {LARGEST_BODY:,} bytes. Send less."
        raise Refused(Refusal(413, "request_too_large", message, headers={"connection": "close"}))
