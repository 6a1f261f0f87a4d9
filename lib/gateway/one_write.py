"""The lone gateway's HTTP: uvicorn's own, with an answer's head and body in one write, and limits on a request's head.

uvicorn gives them to the socket one after the other, which is a system call, a packet and a waking of the client more.
Here what is written in one turn of the event loop leaves at its end. A head that has no end is refused. A wish to speak
another protocol (h2c, as some clients add it to every request) is ignored as the standard allows; uvicorn would run
the body as the next request.
"""

import asyncio
import math
import re
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_LONGEST_HEAD = 64 * 1024
_UPGRADE = re.compile(rb"\r\nupgrade:", re.IGNORECASE)


class Joined:
    """A transport that gathers what is written in a turn of the loop."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Take it; it leaves before the loop looks for news."""
        if not self._parts:
            self._loop.call_soon(self._flush)
        self._parts.append(data)

    def close(self) -> None:
        """Close, after what was written."""
        self._flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def _flush(self) -> None:
        parts, self._parts = self._parts, []
        if parts and not self._transport.is_closing():
            self._transport.write(b"".join(parts))


class OneWriteProtocol(HttpToolsProtocol):
    """uvicorn's own, on such a transport."""

    _head_size = 0.0  # bytes of a head so far; below zero while a body comes

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has come."""
        super().connection_made(cast(asyncio.Transport, Joined(transport, self.loop)))

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
        """The head has come."""
        self._head_size = -math.inf
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The whole request has come; another one may follow."""
        self._head_size = 0.0
        super().on_message_complete()
