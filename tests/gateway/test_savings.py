"""What the gateway saves: an answer's parts leave in one write, and an ended call is freed at once."""

import asyncio
import gc

import httpx
import pytest

from lib.access.permissions import OPERATOR
from lib.calls.live_call import LiveCall
from lib.gateway.http.answers import AnswerSender
from lib.settings import Settings
from lib.write_coalescing import CoalescingTransport, WriteCoalescer, get_coalescer
from tests.gateway.live import live
from tests.waiting import CEILING_S


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


def test_what_is_written_in_a_turn_leaves_at_its_end() -> None:
    async def go() -> None:
        one, other, turn = Transport(), Transport(), get_coalescer(asyncio.get_running_loop())
        for transport, data in ((one, b"head"), (other, b"whole"), (one, b"body")):
            turn.write(transport, data)  # type: ignore[arg-type]
        assert not one.seen
        await asyncio.sleep(0)
        assert (one.seen, other.seen) == ([b"headbody"], [b"whole"])
        turn.write(one, b"next")  # type: ignore[arg-type]
        await asyncio.sleep(0)
        assert one.seen == [b"headbody", b"next"]

    asyncio.run(go())


def test_closing_sends_the_rest_first() -> None:
    async def go() -> None:
        transport, turn = Transport(), get_coalescer(asyncio.get_running_loop())
        turn.write(transport, b"last")  # type: ignore[arg-type]
        turn.close(transport)  # type: ignore[arg-type]
        assert (transport.seen, transport.closed) == ([b"last"], True)
        turn.write(transport, b"too late")  # type: ignore[arg-type]
        await asyncio.sleep(0)
        assert transport.seen == [b"last"]

    asyncio.run(go())


def test_a_transport_may_be_written_to_this_way_alone() -> None:
    async def go() -> None:
        transport = Transport()
        one = CoalescingTransport(transport, asyncio.get_running_loop())  # type: ignore[arg-type]
        one.write(b"head")
        one.write(b"body")
        assert (transport.seen, one.is_closing()) == ([], False)
        one.close()
        assert (transport.seen, one.is_closing()) == ([b"headbody"], True)

    asyncio.run(go())


def test_a_connection_that_can_not_be_written_to_does_not_keep_the_others_waiting() -> None:
    class Broken(Transport):
        def write(self, data: bytes) -> None:
            raise RuntimeError("no")

        def abort(self) -> None:
            self.closed = True

    async def go() -> None:
        broken, other, turn = Broken(), Transport(), get_coalescer(asyncio.get_running_loop())
        for transport in (broken, other):
            turn.write(transport, b"data")  # type: ignore[arg-type]
        await asyncio.sleep(0)
        assert (broken.closed, other.seen) == (True, [b"data"])

    asyncio.run(go())


def test_every_loop_has_its_own_turn_and_takes_it_along() -> None:
    async def go() -> WriteCoalescer:
        assert get_coalescer(asyncio.get_running_loop()) is get_coalescer(asyncio.get_running_loop())
        return get_coalescer(asyncio.get_running_loop())

    assert asyncio.run(go()) is not asyncio.run(go())


def live_calls() -> list[LiveCall]:
    return [tracked for tracked in gc.get_objects() if isinstance(tracked, LiveCall)]


@pytest.mark.parametrize("watched_after_s", [0.0, 30.0])
def test_a_call_that_was_answered_leaves_nothing_to_the_garbage_collector(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, watched_after_s: float
) -> None:
    monkeypatch.setattr(AnswerSender, "watch_after_s", watched_after_s)
    body = {"model": "bot", "messages": [{"role": "user", "content": "hi"}]}
    with live(settings) as rig:
        rig.services.providers.create(OPERATOR, name="scripted", kind="scripted")
        rig.services.configurations.create(OPERATOR, slug="bot", app="bot", provider="scripted", model="words:3")
        gc.collect()
        earlier_calls = live_calls()  # of other tests in this process; held, so that no identity is used twice
        gc.disable()
        try:
            for stream in (False, True):
                answer = httpx.post(
                    f"{rig.url}/v1/chat/completions",
                    json=body | {"stream": stream},
                    headers={"authorization": f"Bearer {rig.key}"},
                    timeout=CEILING_S,
                )
                assert answer.status_code == 200
            rig.eventually(lambda: not {id(call) for call in live_calls()} - {id(call) for call in earlier_calls})
        finally:
            gc.enable()
