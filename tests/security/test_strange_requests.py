"""Bytes that no client of good will sends: never a 500, never a row that stays open, on either store."""

import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from lib.access.grants import GatewayEndpoint
from lib.calls import calls
from lib.gateway.http.exchange import Exchange
from lib.settings import Settings
from tests.counts import repeats
from tests.gateway.live import Live, live
from tests.providers.wire import Wire, stalled_by
from tests.waiting import CEILING_S

pytestmark = pytest.mark.feature("GATE-3")
NAMES = ["b\x00t", "bot\x00", "\ud800", "nobody/\x00", "bot/\ud800", "x" * 100_000, "\u202ebot", "' OR 1=1 --"]
WORDS = ["a\x00b", "\ud800 half", "\udcff", "x" * 300_000, "\x00", [{"type": "text", "text": "\x00a"}]]
FIELDS = ["messages", "model", "stream", "tools", "stream_options", "max_tokens", "response_format", "n", "x"]
BODIES = [b"\xff\xfe", b"{" * 100_000, b'{"a":' * 50_000, b"NaN", b'"x"', b"", b'{"model":"bot","model":7}']
ANSWER = json.dumps(
    {
        "choices": [{"message": {"role": "assistant", "content": "ok \x00 \ud83d"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 4},
    }
)


def scripted(wire: Wire) -> None:
    """An answer with a NUL and half a letter in it."""
    wire.begin("application/json")
    wire.say(ANSWER)


@pytest.fixture
def rig(settings: Settings, database_url: str) -> Iterator[Live]:
    with live(replace(settings, database_url=database_url)) as made:
        made.provider("bot", "custom", scripted)
        yield made


def post(rig: Live, body: Any, path: str = "/v1/chat/completions", key: str = "") -> httpx.Response:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = {"authorization": f"Bearer {key or rig.key}", "content-type": "application/json"}
    return httpx.post(rig.url + path, content=raw, headers=head, timeout=CEILING_S)


def said(rig: Live, model: str, content: Any = "hi", **more: Any) -> int:
    return post(rig, {"model": model, "messages": [{"role": "user", "content": content}], **more}).status_code


@pytest.mark.parametrize("name", NAMES)
def test_a_model_nobody_has_is_not_found_whatever_its_name(rig: Live, name: str) -> None:
    key, _ = rig.services.api_keys.create(rig.jonas, app="bot", endpoints=list(GatewayEndpoint))
    for path in ("/v1/chat/completions", "/v1/messages", "/v1/responses", "/v1/embeddings", "/api/generate"):
        body = {"model": name, "messages": [{"role": "user", "content": "hi"}], "input": "hi", "max_tokens": 5}
        body |= {"configuration": name, "prompt": "hi"} if path.startswith("/api") else {}
        assert post(rig, body, path, key).status_code in (400, 404), path


@pytest.mark.parametrize("content", WORDS)
def test_words_that_no_store_takes_are_answered_and_logged(rig: Live, content: Any) -> None:
    assert said(rig, "bot", content, user="\x00", metadata={"\x00": "\ud800"}, stop=["\x00"]) in (200, 400)
    for row in rig.rows():
        assert row["status"] == "ok"


@examples(max_examples=repeats(30, 1000), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=8,
    ),
    st.sampled_from(FIELDS),
)
def test_any_value_in_any_field_is_an_answer_or_a_clear_no(rig: Live, value: Any, name: str) -> None:
    body = {"model": "bot", "messages": [{"role": "user", "content": "hi"}], name: value}
    answer = post(rig, body)
    assert answer.status_code < 500 or answer.status_code == 502, answer.text
    if answer.status_code >= 400:
        assert answer.json()["error"]["message"]


@pytest.mark.parametrize("raw", BODIES)
def test_a_body_that_is_no_object_is_said(rig: Live, raw: bytes) -> None:
    assert post(rig, raw).status_code == 400


def raw_answer(rig: Live, head: str, body: bytes = b"") -> bytes:
    """What comes back for bytes of one's own, until the connection ends or is silent."""
    with socket.create_connection(("127.0.0.1", rig.port), 5) as client:
        client.sendall(head.replace("\n", "\r\n").encode("latin-1") + body)
        client.settimeout(5)
        got = b""
        while b"\r\n\r\n" not in got and (part := client.recv(65536)):
            got += part
        return got


def test_old_and_odd_http_is_answered(rig: Live) -> None:
    body = json.dumps({"model": "bot", "messages": [{"role": "user", "content": "hi"}]}).encode()
    head = f"POST /v1/chat/completions HTTP/{{}}\n{{}}Authorization: Bearer {rig.key}\nContent-Length: {len(body)}\n\n"
    assert b" 200 " in raw_answer(rig, head.format("1.0", ""), body)
    assert b" 200 " in raw_answer(rig, head.format("1.1", "Host: evil.example\nX-Forwarded-Host: a\n"), body)
    assert b" 200 " in raw_answer(rig, head.format("1.1", "Host: a\nX-Api-Key: \xff\n"), body)
    for strange in ("GET / HTTP/9.9\n\n", "\x00\x01\x02\n\n", "POST /v1/models HTTP/1.1\nContent-Length: x\n\n"):
        assert b" 400 " in raw_answer(rig, strange)
    rig.eventually(lambda: len(rig.rows()) == 3)


def test_a_body_that_drips_is_given_up(rig: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Exchange, "slowest_body_s", 0.2)
    head = f"POST /v1/chat/completions HTTP/1.1\nHost: a\nAuthorization: Bearer {rig.key}\nContent-Length: 100\n\n"
    assert b" 408 " in raw_answer(rig, head, b'{"model"')
    assert rig.rows() == []


def test_more_calls_than_a_process_takes_are_told_to_come_again(rig: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "MAX_ANSWERING", 3)
    gate = threading.Event()
    rig.provider("slow", "custom", stalled_by(gate))
    body = {"model": "slow", "messages": [{"role": "user", "content": "hi"}], "stream": True}
    threads = [threading.Thread(target=post, args=(rig, body)) for _ in range(3)]
    for thread in threads:
        thread.start()
    rig.eventually(lambda: rig.services.calls._answering == 3)
    answer = post(rig, {**body, "model": "bot", "stream": False})
    assert (answer.status_code, answer.headers.get("retry-after")) == (429, "1"), answer.text
    gate.set()
    for thread in threads:
        thread.join(CEILING_S)
    assert post(rig, {**body, "model": "bot", "stream": False}).status_code == 200
