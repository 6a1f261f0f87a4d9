"""Heads that a proxy may read otherwise than this server are refused on the wire, by both ways through HTTP."""

import json
import socket
from collections.abc import Iterator

import pytest

from lib.gateway.straight import StraightProtocol
from lib.settings import Settings
from tests.gateway.live import Live, live
from tests.providers.wire import Wire, WireServer
from tests.waiting import CEILING_S

pytestmark = [pytest.mark.feature("GATE-3"), pytest.mark.feature("ACC-4")]
BODY = json.dumps({"model": "bot", "messages": [{"role": "user", "content": "hi"}]}).encode()
ANSWER = json.dumps({"choices": [{"message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}]})
CHUNKED = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
CHAT, LENGTH = "POST /v1/chat/completions HTTP/1.1", f"Content-Length: {len(BODY)}"
ODD = {
    "no Host": (CHAT, [LENGTH], BODY),
    "two Hosts": (CHAT, ["Host: a", "Host: b", LENGTH], BODY),
    "two keys": (CHAT, ["Host: a", "Authorization: Bearer other", LENGTH], BODY),
    "two lengths": (CHAT, ["Host: a", LENGTH, "Content-Length: 3"], BODY),
    "the same length twice": (CHAT, ["Host: a", LENGTH, LENGTH], BODY),
    "a list of lengths": (CHAT, ["Host: a", f"Content-Length: {len(BODY)}, {len(BODY)}"], BODY),
    "length and chunks": (CHAT, ["Host: a", LENGTH, "Transfer-Encoding: chunked"], CHUNKED),
    "chunks and length": (CHAT, ["Host: a", "Transfer-Encoding: chunked", LENGTH], CHUNKED),
    "chunked, then more": (CHAT, ["Host: a", "Transfer-Encoding: chunked, identity"], CHUNKED),
    "a blank before the colon": (CHAT, ["Host: a", "Content-Length : 3"], BODY),
    "a length with a sign": (CHAT, ["Host: a", f"Content-Length: +{len(BODY)}"], BODY),
    "a slash in disguise": ("POST /v1%2fchat/completions HTTP/1.1", ["Host: a", LENGTH], BODY),
    "a backslash in disguise": ("POST /v1/chat%5ccompletions HTTP/1.1", ["Host: a", LENGTH], BODY),
    "a NUL in the address": ("POST /v1/chat/completions%00 HTTP/1.1", ["Host: a", LENGTH], BODY),
    "a NUL in a header": (CHAT, ["Host: a", "X-A: a\x00b", LENGTH], BODY),
}


Rig = tuple[Live, WireServer]


@pytest.fixture(scope="module", params=[StraightProtocol, "httptools"], ids=["straight", "asgi"])
def rig(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Rig]:
    def scripted(wire: Wire) -> None:
        wire.begin("application/json")
        wire.say(ANSWER)

    folder = tmp_path_factory.mktemp("odd-heads")
    with live(Settings(data_dir=folder, database_url=f"sqlite:///{folder / 'llm_manager.db'}"), request.param) as made:
        yield made, made.provider("bot", "custom", scripted)


def status_of(gateway: Live, line: str, head: list[str], body: bytes) -> int:
    """Of the answer to a request that bears the key; the connection ends after it."""
    lines = [line, f"Authorization: Bearer {gateway.key}", *head]
    with socket.create_connection(("127.0.0.1", gateway.port), CEILING_S) as connection:
        connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        said = b""
        while b"\r\n" not in said and (more := connection.recv(65_536)):
            said += more
        return int(said.split(b" ")[1])


@pytest.mark.parametrize("name", ODD)
def test_a_head_of_two_meanings_is_refused_and_nothing_is_sent_on(rig: Rig, name: str) -> None:
    gateway, upstream = rig
    sent = len(upstream.requests)
    assert status_of(gateway, *ODD[name]) == 400
    assert len(upstream.requests) == sent


def test_the_same_request_with_a_plain_head_is_answered(rig: Rig) -> None:
    assert status_of(rig[0], CHAT, ["Host: a", LENGTH], BODY) == 200
    assert status_of(rig[0], CHAT, ["Host: a", "Transfer-Encoding: chunked"], CHUNKED) == 200
