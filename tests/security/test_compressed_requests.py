"""A request's body may come compressed; what it unpacks to is bounded, and an unknown coding is named."""

import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import zstandard

from lib.gateway.http import exchange, request_encoding
from lib.gateway.http.fast_http import FastHttpProtocol
from lib.settings import Settings
from tests.gateway.live import Live, live
from tests.providers.wire import Wire
from tests.waiting import CEILING_S

pytestmark = pytest.mark.feature("GATE-1")


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


def streamed_zstd(data: bytes) -> bytes:
    packer = zstandard.ZstdCompressor().compressobj()
    return packer.compress(data) + packer.flush()


CODINGS: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("gzip", gzip.compress),
    ("x-gzip", lambda data: gzip.compress(data[:7]) + gzip.compress(data[7:])),
    ("deflate", zlib.compress),
    ("deflate", raw_deflate),
    ("zstd", zstandard.ZstdCompressor().compress),
    ("zstd", lambda data: streamed_zstd(data[:7]) + streamed_zstd(data[7:])),
    ("identity", bytes),
    ("gzip, ZSTD", lambda data: streamed_zstd(gzip.compress(data))),
]


@pytest.mark.parametrize(("coding", "pack"), CODINGS)
def test_every_coding_gives_the_body_back_up_to_the_limit(coding: str, pack: Callable[[bytes], bytes]) -> None:
    text = json.dumps({"input": "hi " * 500}).encode()
    assert request_encoding.unpack(pack(text), coding, len(text)) == text
    if coding == "identity":
        return
    with pytest.raises(request_encoding.TooLong):
        request_encoding.unpack(pack(text), coding, len(text) - 1)
    for damaged in (pack(text)[:-6], b"", b"\x00" + pack(text)):
        with pytest.raises(request_encoding.Damaged):
            request_encoding.unpack(damaged, coding, len(text))


@pytest.mark.parametrize(("coding", "pack"), CODINGS[:6])
def test_few_bytes_that_stand_for_many_are_given_up(coding: str, pack: Callable[[bytes], bytes]) -> None:
    with pytest.raises(request_encoding.TooLong):
        request_encoding.unpack(pack(bytes(30_000_000)), coding, 1_000_000)


@pytest.mark.parametrize("codings", ["br", "gzip, br", "gzip," * 5 + "gzip"])
def test_a_coding_nobody_here_knows(codings: str) -> None:
    with pytest.raises(request_encoding.UnknownCoding):
        request_encoding.unpack(b"", codings, 100)


def answer(wire: Wire) -> None:
    choice = {"message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}
    wire.begin("application/json")
    wire.say(json.dumps({"choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 4}}))


@pytest.fixture(params=[FastHttpProtocol, "httptools"], ids=["straight", "asgi"])
def rig(settings: Settings, request: pytest.FixtureRequest) -> Iterator[Live]:
    with live(settings, request.param) as made:
        made.provider("bot", "custom", answer)
        yield made


def post(rig: Live, path: str, body: bytes, coding: str) -> httpx.Response:
    head = {"authorization": f"Bearer {rig.key}", "content-type": "application/json", "content-encoding": coding}
    return httpx.post(rig.url + path, content=body, headers=head, timeout=CEILING_S)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses", "/v1/messages?beta=true"])
def test_every_door_takes_compressed_bodies(rig: Live, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ask: dict[str, Any] = {"model": "bot", "max_tokens": 50}
    ask |= {"input": "hi"} if "responses" in path else {"messages": [{"role": "user", "content": "hi"}]}
    body = json.dumps(ask).encode()
    assert post(rig, path, gzip.compress(body), "gzip").status_code == 200
    assert post(rig, path, streamed_zstd(body), "zstd").status_code == 200
    unknown = post(rig, path, body, "br")
    assert (unknown.status_code, unknown.headers["accept-encoding"]) == (415, request_encoding.TAKEN)
    assert "'br'" in unknown.json()["error"]["message"]
    assert post(rig, path, b"no gzip", "gzip").status_code == 400
    monkeypatch.setattr(exchange.Exchange, "largest_body", 1_000)
    assert post(rig, path, gzip.compress(body + b" " * 2_000), "gzip").status_code == 413
    assert [row["status"] for row in rig.rows()] == ["ok", "ok"]
