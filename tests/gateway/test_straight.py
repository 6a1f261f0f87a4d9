"""The lone gateway's short way through HTTP, and uvicorn's as the pages use it: the same bytes in, the same answers."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import httptools
import pytest

from lib.gateway.http import exchange
from lib.gateway.http.fast_http import FastHttpProtocol
from lib.settings import Settings
from tests.gateway.live import Live, live
from tests.providers.wire import Wire, openai_delta, sse, stalled_by

pytestmark = pytest.mark.feature("GATE-1")
ANSWER = {
    "choices": [{"message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 4},
}


def scripted(wire: Wire) -> None:
    """Whole, or in three events."""
    if wire.server.requests[-1]["body"].get("stream"):
        wire.begin("text/event-stream")
        for event in (openai_delta("a"), openai_delta("b"), openai_delta(None, "stop")):
            wire.say(event)
        wire.say(sse({"choices": [], "usage": ANSWER["usage"]}) + "data: [DONE]\n\n")
    else:
        wire.begin("application/json")
        wire.say(json.dumps(ANSWER))


@pytest.fixture(params=[FastHttpProtocol, "httptools"], ids=["straight", "asgi"])
def rig(settings: Settings, request: pytest.FixtureRequest) -> Iterator[Live]:
    with live(settings, request.param) as made:
        made.provider("bot", "custom", scripted)
        yield made


class Answer:
    """One HTTP answer, as a parser tells it."""

    def __init__(self) -> None:
        self.headers, self.body, self.is_whole = dict[str, str](), b"", False
        self.parser = httptools.HttpResponseParser(self)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode().lower()] = value.decode()

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.is_whole = True

    @property
    def status(self) -> int:
        return int(self.parser.get_status_code())


class Client:
    """A connection that is spoken by hand; the rig's end closes it."""

    def __init__(self, rig: Live) -> None:
        self.rig, self.socket = rig, socket.create_connection(("127.0.0.1", rig.port), 10)
        rig.at_end(self.socket.close)

    def request(self, body: bytes, *head: str, key: str = "", path: str = "/v1/chat/completions") -> bytes:
        lines = [f"POST {path} HTTP/1.1", "Host: a", f"Authorization: Bearer {key or self.rig.key}", *head]
        if not any(line.startswith(("Content-Length", "Transfer")) for line in head):
            lines.append(f"Content-Length: {len(body)}")
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def answers(self, count: int = 1) -> list[Answer]:
        """The next ones, each read to its end; a connection that ends before is an error."""
        data, head = b"", b"HTTP/1.1 "
        while True:
            found = []
            for part in data.split(head)[1:]:
                found.append(Answer())
                found[-1].parser.feed_data(head + part)
            if len(found) == count and found[-1].is_whole:
                return found
            if not (more := self.socket.recv(65_536)):
                raise ConnectionError(data)
            data += more

    def is_ended(self) -> bool:
        """Whether the server has closed it."""
        self.socket.settimeout(5)
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:  # there was more that it has not read
            return True


def asked(**more: Any) -> bytes:
    return json.dumps({"model": "bot", "messages": [{"role": "user", "content": "hi"}], **more}).encode()


def test_a_whole_answer_and_a_stream_come_on_one_connection(rig: Live) -> None:
    client = Client(rig)
    for _ in range(2):
        client.send(client.request(asked()))
        (whole,) = client.answers()
        assert (whole.status, json.loads(whole.body)) == (200, ANSWER)
        assert whole.headers["content-type"] == "application/json"
        assert int(whole.headers["content-length"]) == len(whole.body)
        client.send(client.request(asked(stream=True)))
        (stream,) = client.answers()
        assert stream.body.endswith(b"data: [DONE]\n\n")
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert stream.headers["transfer-encoding"] == "chunked"
        for answer in (whole, stream):
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert "date" in answer.headers
    rows = rig.rows()
    assert [row["status"] for row in rows] == ["ok"] * 4
    assert rows[-1]["call_id"] == stream.headers["x-request-id"]


def test_requests_that_do_not_wait_are_answered_in_their_order(rig: Live) -> None:
    client = Client(rig)
    other = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
    client.send(client.request(asked()) + client.request(asked(stream=True)) + other + client.request(asked()))
    first, second, third, fourth = client.answers(4)
    assert (first.headers["content-type"], second.body[-6:], fourth.status) == ("application/json", b"ONE]\n\n", 200)
    assert third.status == 200
    assert "x-request-id" not in third.headers


def test_a_body_may_come_in_parts_and_after_it_is_asked_for(rig: Live) -> None:
    client, body = Client(rig), asked()
    request = client.request(body)
    for at in range(0, len(request), 37):
        client.send(request[at : at + 37])
        time.sleep(0.005)
    assert client.answers()[0].status == 200
    client.send(client.request(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body), "Transfer-Encoding: chunked"))
    assert client.answers()[0].status == 200
    client.send(client.request(b"", "Expect: 100-continue", f"Content-Length: {len(body)}"))
    assert client.socket.recv(100).startswith(b"HTTP/1.1 100 ")
    client.send(body)
    assert client.answers()[0].status == 200


def test_a_refusal_before_the_body_was_read_leaves_the_connection_usable(rig: Live) -> None:
    client, body = Client(rig), asked(filler="x" * 300_000)
    client.send(client.request(body, key="llmm_wrong"))
    (refused,) = client.answers()
    assert (refused.status, refused.headers["www-authenticate"]) == (401, "Bearer")
    client.send(client.request(asked()))
    assert client.answers()[0].status == 200
    assert len(rig.rows()) == 1


def test_a_body_past_the_limit_ends_the_connection(rig: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange.Exchange, "largest_body", 100_000)
    declared, counted = Client(rig), Client(rig)
    declared.send(declared.request(b"{", "Content-Length: 100001"))
    part = b"186a0\r\n" + b"x" * 100_000 + b"\r\n"
    counted.send(counted.request(part + part, "Transfer-Encoding: chunked"))
    for client in (declared, counted):
        (answer,) = client.answers()
        assert (answer.status, json.loads(answer.body)["error"]["code"]) == (413, "request_too_large")
        assert answer.headers["connection"] == "close"
        assert client.is_ended()
    assert rig.rows() == []


def test_a_client_may_say_that_this_was_all(rig: Live) -> None:
    client = Client(rig)
    client.send(client.request(asked(), "Connection: close"))
    (answer,) = client.answers()
    assert (answer.status, answer.headers["connection"]) == (200, "close")
    assert client.is_ended()


def test_who_leaves_before_the_body_is_there_leaves_no_trace(rig: Live) -> None:
    client = Client(rig)
    client.send(client.request(b"{", "Content-Length: 100"))
    time.sleep(0.1)
    client.socket.close()
    other = Client(rig)
    other.send(other.request(asked()))
    assert other.answers()[0].status == 200
    assert len(rig.rows()) == 1


def test_a_slow_reader_slows_the_stream_and_gets_all_of_it(rig: Live) -> None:
    piece, pieces = "x" * 50_000, 800  # more than sockets hold
    sent = 0

    def long(wire: Wire) -> None:
        nonlocal sent
        wire.begin("text/event-stream")
        for _ in range(pieces):
            wire.say(openai_delta(piece))
            sent += 1
        wire.say(openai_delta(None, "stop") + "data: [DONE]\n\n")

    rig.provider("long", "custom", long)
    client = Client(rig)
    client.send(client.request(asked(model="long", stream=True)))
    time.sleep(1.0)
    assert sent < pieces
    answer = Answer()
    while not answer.is_whole:
        answer.parser.feed_data(client.socket.recv(1_000_000))
    assert answer.body.count(piece.encode()) == pieces
    assert rig.row()["status"] == "ok"


def test_who_leaves_in_mid_stream_ends_the_call(rig: Live) -> None:
    gate = threading.Event()
    rig.provider("slow", "custom", stalled_by(gate))
    client = Client(rig)
    client.send(client.request(asked(model="slow", stream=True)))
    assert b"200 OK" in client.socket.recv(1000)
    client.socket.close()
    rig.eventually(lambda: bool(rig.rows()) and rig.row()["status"] == "cancelled")
    gate.set()
