"""Writes to sockets that leave together at the end of a turn of the event loop.

A write to a socket whose reader sleeps wakes it, which costs as much as a good part of a call. Reader and writer take
turns on loopback and between containers: written one by one, every piece finds its reader asleep; written together,
the first wakes it and the others find it awake. Parts for one socket are one write. Figures: docs/decisions/lanes.md.
"""

import asyncio
import logging
from typing import Any

log = logging.getLogger(__name__)
_MUCH = 64 * 1024  # bytes: more than that waits for nothing, so that a slow reader is felt
_by_loop: dict[asyncio.AbstractEventLoop, "WriteCoalescer"] = {}


class WriteCoalescer:
    """Parts that wait for the end of the turn of one event loop. Get it by `get_coalescer`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: dict[asyncio.WriteTransport, list[bytes]] = {}

    def write(self, transport: asyncio.WriteTransport, data: bytes) -> None:
        """Write at the end of the turn, much data at once; a socket that is closed by then gets nothing."""
        if len(data) > _MUCH:
            self._send(transport, [*self._waiting.pop(transport, ()), data])
            return
        if not self._waiting:
            self._loop.call_soon(self._flush)
        parts = self._waiting.get(transport)
        if parts is None:
            self._waiting[transport] = [data]
        else:
            parts.append(data)

    def close(self, transport: asyncio.WriteTransport) -> None:
        """Close a transport after what was written to it."""
        if transport in self._waiting:
            self._send(transport, self._waiting.pop(transport))
        transport.close()

    def _flush(self) -> None:
        waiting = self._waiting
        self._waiting = {}
        for transport, parts in waiting.items():
            self._send(transport, parts)

    @staticmethod
    def _send(transport: asyncio.WriteTransport, parts: list[bytes]) -> None:
        try:
            if not transport.is_closing():
                transport.write(parts[0] if len(parts) == 1 else b"".join(parts))
        except Exception as error:  # the boundary between connections: the others' parts must leave
            log.warning("A connection could not be written to and is ended: %s", error)
            transport.abort()


class CoalescingTransport:
    """A transport whose writes leave at the end of the turn; all else is the wrapped one's."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._turn = get_coalescer(loop)

    def write(self, data: bytes) -> None:
        """Write at the end of the turn."""
        self._turn.write(self._transport, data)

    def close(self) -> None:
        """Close after what was written."""
        self._turn.close(self._transport)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


def get_coalescer(loop: asyncio.AbstractEventLoop) -> WriteCoalescer:
    """Get the coalescer of a loop, made at the first call; call it from the loop itself."""
    turn = _by_loop.get(loop)
    if turn is None:
        for other in [other for other in list(_by_loop) if other.is_closed()]:
            _by_loop.pop(other, None)
        turn = _by_loop[loop] = WriteCoalescer(loop)
    return turn
