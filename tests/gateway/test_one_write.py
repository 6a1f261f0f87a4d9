"""An answer's parts leave in one write, in their order, and none is lost at the end."""

import asyncio
from typing import Any

from lib.gateway.one_write import Joined


class Transport:
    """What a socket's transport is told."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        self.seen.append(data)

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return name


def joined(transport: Transport) -> Any:
    return Joined(transport, asyncio.get_running_loop())  # type: ignore[arg-type]


def test_what_is_written_in_a_turn_leaves_at_its_end() -> None:
    async def go() -> None:
        transport = Transport()
        one = joined(transport)
        one.write(b"head")
        one.write(b"body")
        assert not transport.seen
        await asyncio.sleep(0)
        assert transport.seen == [b"headbody"]
        one.write(b"next")
        await asyncio.sleep(0)
        assert transport.seen == [b"headbody", b"next"]
        assert one.get_extra_info("peername") == "peername"

    asyncio.run(go())


def test_closing_sends_the_rest_first() -> None:
    async def go() -> None:
        transport = Transport()
        one = joined(transport)
        one.write(b"last")
        one.close()
        assert (transport.seen, transport.closed) == ([b"last"], True)
        one.write(b"too late")
        await asyncio.sleep(0)
        assert transport.seen == [b"last"]

    asyncio.run(go())
