"""What the gateway saves: an answer's parts leave in one write, and an ended call is freed at once."""

import asyncio
import gc
from typing import Any

import httpx
import pytest
from live import live

from lib.access.permissions import OPERATOR
from lib.calls.live import LiveCall
from lib.gateway import answers
from lib.gateway.one_write import Joined
from lib.settings import Settings


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


@pytest.mark.parametrize("watched_after_s", [0.0, 30.0])
def test_a_call_that_was_answered_leaves_nothing_to_the_garbage_collector(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, watched_after_s: float
) -> None:
    monkeypatch.setattr(answers, "_WATCH_AFTER_S", watched_after_s)
    body = {"model": "bot", "messages": [{"role": "user", "content": "hi"}]}
    with live(settings) as rig:
        rig.services.providers.create(OPERATOR, name="scripted", kind="scripted")
        rig.services.configurations.create(OPERATOR, slug="bot", app="bot", provider="scripted", model="words:3")
        gc.collect()
        gc.disable()
        try:
            for stream in (False, True):
                answer = httpx.post(
                    f"{rig.url}/v1/chat/completions",
                    json=body | {"stream": stream},
                    headers={"authorization": f"Bearer {rig.key}"},
                )
                assert answer.status_code == 200
            rig.eventually(lambda: not any(isinstance(one, LiveCall) for one in gc.get_objects()), 5)
        finally:
            gc.enable()
