"""When a refused program should come back, and what a scope keeps from it."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from live import Live, live
from wire import Wire

from lib.access.grants import Limits
from lib.access.permissions import OPERATOR
from lib.providers.circuits import THRESHOLD
from lib.settings import Settings

pytestmark = pytest.mark.feature("GATE-3")
ANSWER = {
    "choices": [{"message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 4},
    "model": "m-served",
}


@pytest.fixture
def rig(settings: Settings) -> Iterator[Live]:
    with live(settings) as made:
        yield made


def answers(wire: Wire) -> None:
    wire.begin("application/json")
    wire.say(json.dumps(ANSWER))


def provide(rig: Live, name: str, script: Any) -> None:
    """A provider whose configuration tries once."""
    server = rig.provider(f"at-{name}", "custom", script)
    rig.services.configurations.create(
        OPERATOR, slug=name, app="bot", provider=f"at-{name}", model="m", routing={"max_attempts": 1}
    )
    assert server


def ask(rig: Live, model: str, path: str = "/v1/chat/completions", key: str = "", **more: Any) -> httpx.Response:
    body = {"model": model, "max_tokens": 10, "messages": [{"role": "user", "content": "hi"}], **more}
    return httpx.post(rig.url + path, json=body, headers={"authorization": f"Bearer {key or rig.key}"}, timeout=30)


@pytest.mark.parametrize(("told", "seconds", "again"), [("7", "7", None), ("90", "90", "false")])
def test_a_providers_own_wish_is_passed_on(rig: Live, told: str, seconds: str, again: str | None) -> None:
    def busy(wire: Wire) -> None:
        wire.begin("application/json", 429, retry_after=told)
        wire.say('{"error": {"message": "slow down"}}')

    provide(rig, "busy", busy)
    answer = ask(rig, "busy")
    assert answer.status_code == 429
    assert (answer.headers["retry-after"], answer.headers.get("x-should-retry")) == (seconds, again)


def test_an_open_circuit_says_when_it_is_tried_again(rig: Live) -> None:
    def broken(wire: Wire) -> None:
        wire.begin("application/json", 500)
        wire.say("{}")

    provide(rig, "broken", broken)
    for _ in range(THRESHOLD):
        assert ask(rig, "broken").status_code == 502
    answer = ask(rig, "broken")
    assert answer.status_code == 503
    assert 25 <= int(answer.headers["retry-after"]) <= 30


def test_what_never_fits_is_not_told_to_wait(rig: Live) -> None:
    provide(rig, "bot", answers)
    small, _ = rig.services.api_keys.create(rig.jonas, app="bot", limits=Limits(tokens_per_minute=5))
    answer = ask(rig, "bot", key=small)
    assert answer.status_code == 429
    assert "The call alone is larger." in answer.json()["error"]["message"]
    assert "retry-after" not in answer.headers
    assert answer.headers["x-should-retry"] == "false"


def test_out_of_scope_looks_the_same_whether_it_exists_or_not(rig: Live) -> None:
    provide(rig, "bot", answers)
    provide(rig, "secret", answers)
    key, _ = rig.services.api_keys.create(rig.jonas, app="bot", models=["bot"], endpoints=["chat", "messages"])
    assert ask(rig, "bot", key=key).status_code == 200
    for there, not_there in (("secret", "nobody"), ("at-secret/m", "nobody/m")):
        found, missing = ask(rig, there, key=key), ask(rig, not_there, key=key)
        assert found.status_code == missing.status_code == 403
        assert found.text.replace(there, "") == missing.text.replace(not_there, "")
    counted = "/v1/messages/count_tokens"
    assert ask(rig, "bot", counted, key).json()["input_tokens"] > 0
    assert ask(rig, "secret", counted, key).status_code == 403
    long = ask(rig, "bot", counted, key, system="word " * 50_000)
    assert long.json()["input_tokens"] == 50_000 + ask(rig, "bot", counted, key).json()["input_tokens"]


def test_a_server_that_does_not_stream_is_written_as_events(rig: Live) -> None:
    provide(rig, "bot", answers)
    answer = ask(rig, "bot", stream=True, stream_options={"include_usage": True})
    assert answer.headers["content-type"].startswith("text/event-stream")
    *events, last = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
    said = [json.loads(event) for event in events]
    assert last == "[DONE]"
    assert "".join(c["delta"].get("content", "") for event in said for c in event["choices"]) == "ok"
    assert said[-1]["usage"]["completion_tokens"] == 4
    row = rig.row()
    assert (row["status"], row["served_model"], row["lane"]) == ("ok", "m-served", "relay")
    assert (row["prompt_tokens"], row["completion_tokens"], row["usage_source"]) == (3, 4, "provider")
