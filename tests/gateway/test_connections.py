"""One connection of the lone gateway, without a socket: what is written when, what is refused, what is let go."""

import asyncio
import gc
import weakref
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from lib.gateway.http import error_boundary
from lib.gateway.http.fast_http import FastHttpProtocol

pytestmark = pytest.mark.feature("GATE-5")
ASKED = b"POST /model HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi"


class Transport:
    """What a socket's transport is told."""

    def __init__(self) -> None:
        self.seen, self.closed, self.is_reading = b"", False, True

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.seen += data

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        self.is_reading = False

    def resume_reading(self) -> None:
        self.is_reading = True

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)}.get(name, default)


class Echo:
    """A door that says what it was sent; `wait` holds it back, `bug` ends it."""

    errors = error_boundary.OPENAI

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.exchanges: list[weakref.ref[Any]] = []
        self.wait: asyncio.Event | None = None
        self.bug: Exception | None = None
        self.has_left = False

    async def answer(self, exchange: Any) -> None:
        body = await exchange.body()
        self.asked.append(body)
        self.exchanges.append(weakref.ref(exchange))
        if self.bug is not None:
            raise self.bug
        if self.wait is not None:
            gone = asyncio.ensure_future(exchange.gone())
            await asyncio.wait([gone, asyncio.ensure_future(self.wait.wait())], return_when=asyncio.FIRST_COMPLETED)
            self.has_left = gone.done()
            gone.cancel()
        await exchange.answer(200, body, {})


async def other(scope: Any, receive: Any, send: Any) -> None:
    """Whatever is no door."""
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch) -> Echo:
    made = Echo()
    monkeypatch.setattr(FastHttpProtocol, "model_routes", {b"/model": made})
    return made


def run(test: Callable[[Callable[[], tuple[FastHttpProtocol, Transport]]], Awaitable[None]]) -> None:
    """Run a test in a loop; `connect` makes connections."""
    config = uvicorn.Config(other, http=FastHttpProtocol, log_config=None, lifespan="off", access_log=False)
    config.load()

    def connect() -> tuple[FastHttpProtocol, Transport]:
        protocol, transport = FastHttpProtocol(config, ServerState(), {}), Transport()
        protocol.connection_made(transport)  # type: ignore[arg-type]
        return protocol, transport

    async def go() -> None:
        await test(connect)

    asyncio.run(go())


async def until(holds: Callable[[], object]) -> None:
    for _ in range(1_000):
        if holds():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not come to that")


@pytest.mark.parametrize("end", ["shutdown", "eof_received"])
def test_an_answer_that_was_made_leaves_before_its_connection_ends(door: Echo, end: str) -> None:
    async def test(connect: Any) -> None:
        protocol, transport = connect()
        protocol.data_received(ASKED)
        await until(lambda: protocol.cycle.response_complete)
        getattr(protocol, end)()  # before the turn has ended
        assert transport.seen.startswith(b"HTTP/1.1 200 OK\r\n")
        assert transport.seen.endswith(b"\r\n\r\nhi")
        assert transport.closed

    run(test)


@pytest.mark.parametrize("head", [b"POST /model HTTP/1.1\r\nhost: a\n\r\n", b"POST /model HTTP/1.1\nhost: a\n\n"])
def test_a_head_with_other_ends_of_lines_is_answered_at_once(door: Echo, head: bytes) -> None:
    async def test(connect: Any) -> None:
        protocol, transport = connect()
        protocol.data_received(head)
        await asyncio.sleep(0.01)
        assert transport.seen.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 400 "))

    run(test)


@pytest.mark.parametrize("name", [b"Upgrade", b"upgrade", b"UPGRADE", b"uPgRaDe"])
@pytest.mark.parametrize("cut", [None, 40, 60, 66, 70])
@pytest.mark.parametrize("before", [b"", ASKED])
def test_a_body_is_never_run_as_a_request(door: Echo, name: bytes, cut: int | None, before: bytes) -> None:
    hidden = b"POST /model HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\n\r\nhidden"
    asked = b"POST /other HTTP/1.1\r\nhost: a\r\nconnection: " + name + b"\r\n" + name + b": h2c\r\n"
    asked += b"content-length: %d\r\n\r\n%b" % (len(hidden), hidden)

    async def test(connect: Any) -> None:
        protocol, transport = connect()
        whole = before + asked
        for part in (whole[: cut and len(before) + cut], whole[len(before) + cut :] if cut else b""):
            if part and not transport.closed:
                protocol.data_received(part)
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.01)
        assert b"hidden" not in b"".join(door.asked)
        assert transport.closed or b"HTTP/1.1 204 " in transport.seen
        if not before and name != b"uPgRaDe":
            assert not transport.closed, "what is only a wish is ignored, wherever the network cuts it"

    run(test)


def test_no_head_and_no_trailers_without_an_end(door: Echo) -> None:
    line = b"x-much: " + b"y" * 1_000 + b"\r\n"

    async def test(connect: Any) -> None:
        begun = b"POST /model HTTP/1.1\r\nhost: a\r\n"
        for start, more in (
            (begun, line),
            (b"\r\n" + begun, b"1: " + line),  # which does not look like the beginning of a head
            (begun + b"transfer-encoding: chunked\r\n\r\n0\r\n", line),
        ):
            protocol, transport = connect()
            protocol.data_received(start)
            sent = 0
            while not transport.closed and sent < 200:
                protocol.data_received(more)
                sent += 1
            assert 60 < sent < 70
            assert transport.seen.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 200 "))

    run(test)


def test_a_connection_on_which_nothing_is_asked_ends(door: Echo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FastHttpProtocol, "head_s", 0.1)

    async def test(connect: Any) -> None:
        silent, begun, answered, running = (connect() for _ in range(4))
        silent[0]._idle_timeout.restart(0.1)
        begun[0].data_received(ASKED[:30])
        answered[0].timeout_keep_alive = 0.1
        answered[0].data_received(ASKED)
        await until(lambda: silent[1].closed and begun[1].closed and answered[1].closed)
        assert answered[1].seen.endswith(b"hi")
        door.wait = asyncio.Event()
        running[0].data_received(ASKED + b"POST")
        await asyncio.sleep(0.3)
        assert not running[1].closed, "what is answered lasts as long as it takes"
        door.wait.set()
        await until(lambda: running[1].seen.endswith(b"hi"))

    run(test)


def test_a_client_that_goes_is_noticed_however_much_it_sent(door: Echo) -> None:
    large = b"POST /model HTTP/1.1\r\nhost: a\r\ncontent-length: 200000\r\n\r\n" + b"x" * 200_000

    async def test(connect: Any) -> None:
        for sent in (large, ASKED + ASKED, ASKED + large[:1000]):
            door.wait, door.has_left = asyncio.Event(), False
            protocol, transport = connect()
            protocol.data_received(sent)
            await asyncio.sleep(0.01)
            assert transport.is_reading, "else the end of the connection is not seen"
            protocol.connection_lost(None)
            await until(lambda: door.has_left)

    run(test)


def test_too_many_requests_at_once_wait_outside(door: Echo) -> None:
    async def test(connect: Any) -> None:
        door.wait = asyncio.Event()
        protocol, transport = connect()
        for _ in range(8):
            protocol.data_received(ASKED)
            await asyncio.sleep(0)
        assert not transport.is_reading
        door.wait.set()
        await until(lambda: transport.seen.count(b"HTTP/1.1 ") == 8)
        await until(lambda: transport.is_reading)

    run(test)


def test_a_flood_of_requests_is_ended_and_keeps_nothing(door: Echo) -> None:
    async def test(connect: Any) -> None:
        for flood in (ASKED, b"GET /nothing HTTP/1.1\r\n\r\n"):
            door.wait = asyncio.Event()
            protocol, transport = connect()
            protocol.data_received(ASKED + flood * 5_000)
            await asyncio.sleep(0)
            assert transport.closed
            assert len(protocol.pipeline) <= 100
            door.wait.set()
            await asyncio.sleep(0.02)

    run(test)


def test_a_client_that_goes_while_a_later_request_is_answered_is_noticed(door: Echo) -> None:
    async def test(connect: Any) -> None:
        door.wait = asyncio.Event()
        protocol, transport = connect()
        gone = asyncio.Event()

        async def app(_scope: Any, receive: Any, _send: Any) -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            gone.set()

        protocol.app = app
        protocol.data_received(ASKED + b"GET /a HTTP/1.1\r\n\r\n" + b"GET /b HTTP/1.1\r\n\r\n")
        await asyncio.sleep(0.01)
        door.wait.set()
        await until(lambda: transport.seen.endswith(b"hi"))
        await asyncio.sleep(0.01)
        assert not gone.is_set()
        protocol.connection_lost(None)
        await asyncio.sleep(0.01)
        assert gone.is_set()

    run(test)


def _has_answered(protocol: Any) -> bool:
    return bool(protocol.cycle.response_complete)


def test_a_connection_that_has_ended_leaves_nothing_to_the_garbage_collector(door: Echo) -> None:
    async def test(connect: Any) -> None:
        kept: list[weakref.ref[Any]] = []
        gc.collect()
        gc.disable()
        try:
            for _ in range(3):
                protocol, _ = connect()
                protocol.data_received(ASKED)
                await until(partial(_has_answered, protocol))
                await asyncio.sleep(0.01)
                protocol.connection_lost(None)
                kept.append(weakref.ref(protocol))
                del protocol
            await asyncio.sleep(0.05)
            assert [one for one in (*kept, *door.exchanges) if one() is not None] == []
        finally:
            gc.enable()

    run(test)


def test_who_is_not_answered_when_the_server_stops_is_told(door: Echo) -> None:
    async def test(connect: Any) -> None:
        protocol, transport = connect()
        protocol.data_received(ASKED[:-1])
        await asyncio.sleep(0.01)
        for task in list(protocol.tasks):
            task.cancel()
        await until(lambda: transport.closed)
        assert transport.seen.startswith(b"HTTP/1.1 503 ")
        assert b"connection: close\r\n" in transport.seen

    run(test)


def test_a_bug_behind_a_door_is_answered_in_its_form_and_logged(door: Echo, caplog: pytest.LogCaptureFixture) -> None:
    async def test(connect: Any) -> None:
        door.bug = RuntimeError("a bug with sk-0123456789abcdefghijklmnop")
        protocol, transport = connect()
        protocol.data_received(ASKED)
        await until(lambda: transport.seen)
        assert transport.seen.startswith(b"HTTP/1.1 500 ")
        assert b'"code": "internal"' in transport.seen
        assert b"a bug" not in transport.seen
        assert "a bug with [hidden]" in caplog.text
        assert not transport.closed, "the next request is answered"

    run(test)
