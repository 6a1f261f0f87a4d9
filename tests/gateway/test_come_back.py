"""When a refused program should come back, and what a scope keeps from it."""

import json
from collections.abc import Iterator
from datetime import date
from typing import Any

import httpx
import openai
import pytest

from lib.access.grants import GatewayEndpoint, Limits
from lib.access.permissions import OPERATOR
from lib.providers.circuits import THRESHOLD
from lib.settings import Settings
from tests.gateway.live import Live, live
from tests.providers.wire import Wire, openai_delta, sse
from tests.waiting import CEILING_S

pytestmark = pytest.mark.feature("GATE-3")
PRICE = f"kind,model,valid_from,above_tokens,input,output\ncustom,m,{date.today()},,1,1\n"
ANSWER: dict[str, Any] = {
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
    rig.provider(f"at-{name}", "custom", script)
    rig.services.configurations.create(
        OPERATOR, slug=name, app="bot", provider=f"at-{name}", model="m", routing={"max_attempts": 1}
    )


def ask(rig: Live, model: str, path: str = "/v1/chat/completions", key: str = "", **more: Any) -> httpx.Response:
    body = {"model": model, "max_tokens": 10, "messages": [{"role": "user", "content": "hi"}], **more}
    if path.startswith("/api/"):
        body = {"configuration": model, "prompt": "hi"}
    return httpx.post(
        rig.url + path, json=body, headers={"authorization": f"Bearer {key or rig.key}"}, timeout=CEILING_S
    )


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


def test_no_credit_and_a_bad_request_are_not_told_to_come_back(rig: Live) -> None:
    def broke(wire: Wire) -> None:
        wire.begin("application/json", 429)
        wire.say('{"error": {"message": "no credit", "code": "insufficient_quota"}}')

    def wrong(wire: Wire) -> None:
        wire.begin("application/json", 400, retry_after="90")
        wire.say('{"error": {"message": "bad"}}')

    provide(rig, "broke", broke)
    provide(rig, "wrong", wrong)
    for model, status, again in (("broke", 429, "false"), ("wrong", 400, None)):
        answer = ask(rig, model)
        assert (answer.status_code, answer.headers.get("x-should-retry")) == (status, again)
        assert "retry-after" not in answer.headers


def test_a_used_up_budget_names_its_end_however_large_the_call(rig: Live) -> None:
    provide(rig, "bot", answers)
    rig.services.price_entries.import_csv(OPERATOR, PRICE)
    rig.services.budgets.create(OPERATOR, scope="app", subject="bot", period="day", limit_nano=10**9)
    first = ask(rig, "bot", max_tokens=1)
    assert first.status_code == 200, first.text
    assert rig.row()["cost_nano_usd"] == 7_000
    (budget,) = rig.services.budgets.list(OPERATOR)
    rig.services.budgets.update(OPERATOR, budget.budget.id, limit_nano=7_000)
    for ceiling in (1, 100_000):
        answer = ask(rig, "bot", max_tokens=ceiling)
        assert answer.status_code == 429
        assert "Calls start again on" in answer.json()["error"]["message"]
        assert 1 <= int(answer.headers["retry-after"]) <= 86_400


def test_a_conversation_says_it_too(rig: Live) -> None:
    def busy(wire: Wire) -> None:
        wire.begin("application/json", 429, retry_after="90")
        wire.say('{"error": {"message": "slow down"}}')

    provide(rig, "busy", busy)
    key, _ = rig.services.api_keys.create(rig.jonas, app="bot", endpoints=["api"])
    with httpx.Client(base_url=rig.url, headers={"authorization": f"Bearer {key}"}, timeout=CEILING_S) as client:
        begun = client.post("/api/conversations", json={"configuration": "busy"}).json()
        answer = client.post(f"/api/conversations/{begun['id']}/messages", json={"content": "hi"})
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "90")


def test_out_of_scope_looks_the_same_whether_it_exists_or_not(rig: Live) -> None:
    provide(rig, "bot", answers)
    provide(rig, "secret", answers)
    provide(rig, "hidden", answers)
    hidden = rig.services.configurations.get(OPERATOR, "hidden")
    rig.services.configurations.set_default(OPERATOR, hidden.id)
    key, _ = rig.services.api_keys.create(rig.jonas, app="bot", models=["bot"], endpoints=list(GatewayEndpoint))
    of = {slug: rig.services.configurations.get(OPERATOR, slug).id for slug in ("bot", "secret")}
    nobody = "01900000-0000-7000-8000-000000000000"
    counted, said = "/v1/messages/count_tokens", "/api/conversations"
    pairs = [("secret", "nobody"), ("at-secret/m", "nobody/m"), ("at-secret/a?b", "nobody/a?b"), (of["secret"], nobody)]
    for name in ("bot", of["bot"]):
        assert ask(rig, name, key=key).status_code == 200
        assert ask(rig, name, counted, key).json()["input_tokens"] > 0
    for there, not_there in pairs:
        for path in ("/v1/chat/completions", "/v1/messages", counted, said, "/api/generate"):
            found, missing = (ask(rig, one, path, key) for one in (there, not_there))
            assert found.status_code == missing.status_code == 403, (path, there, found.text)
            assert found.text.replace(there, "") == missing.text.replace(not_there, "")
        head = {"authorization": f"Bearer {key}"}
        checks = [
            httpx.get(f"{rig.url}/api/budgets/check", params={"configuration": n}, headers=head, timeout=CEILING_S)
            for n in (there, not_there)
        ]
        assert [one.status_code for one in checks] == [403, 403]
    for path in ("/api/generate", said):
        default = httpx.post(
            rig.url + path, json={"prompt": "hi"}, headers={"authorization": f"Bearer {key}"}, timeout=CEILING_S
        )
        assert (default.status_code, "hidden" in default.text) == (403, False), path
    short, long = (ask(rig, "bot", counted, key, system=system) for system in ("", "word " * 50_000))
    assert 50_000 <= long.json()["input_tokens"] - short.json()["input_tokens"] <= 50_100


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


@pytest.mark.parametrize("labelled", ["application/json", "text/plain", "application/vnd.api+json", ""])
def test_what_is_told_at_once_and_what_is_streamed_is_known_by_itself(rig: Live, labelled: str) -> None:
    two = {
        "index": 1,
        "message": {"role": "assistant", "content": "two"},
        "finish_reason": "length",
        "logprobs": {"x": 0.25},
    }
    tools = [{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    three = {
        "index": 2,
        "message": {"role": "assistant", "content": None, "tool_calls": tools},
        "finish_reason": "tool_calls",
    }

    def at_once(wire: Wire) -> None:
        wire.begin(labelled)
        wire.say("\n", json.dumps(ANSWER | {"choices": [*ANSWER["choices"], two, three], "beyond": [1.5]}))

    def streamed(wire: Wire) -> None:
        wire.begin(labelled)
        wire.say(openai_delta("wo"), openai_delta("rd"), openai_delta(None, "stop"), "data: [DONE]\n\n")

    provide(rig, "at-once", at_once)
    provide(rig, "streamed", streamed)
    with openai.OpenAI(base_url=f"{rig.url}/v1", api_key=rig.key, max_retries=0) as client:
        hi: Any = [{"role": "user", "content": "hi"}]
        words = [c for c in client.chat.completions.create(model="streamed", messages=hi, stream=True)]
        assert "".join(c.choices[0].delta.content or "" for c in words) == "word"
        chunks = [c for c in client.chat.completions.create(model="at-once", messages=hi, stream=True, n=3)]
    choices = [choice for chunk in chunks for choice in chunk.choices]
    assert [(c.index, c.delta.content) for c in choices if c.delta.content] == [(0, "ok"), (1, "two")]
    assert [c.finish_reason for c in choices if c.finish_reason] == ["stop", "length", "tool_calls"]
    assert [t.index for c in choices for t in c.delta.tool_calls or []] == [0]
    assert chunks[0].model_extra == {"beyond": [1.5]}
    assert [chunk for chunk in chunks if chunk.usage] == [], "nobody asked for them"


def test_a_stream_of_json_without_a_label_is_still_a_stream(rig: Live) -> None:
    def lines(wire: Wire) -> None:
        wire.begin("text/plain")
        wire.say('{"status": "queued"}\n', openai_delta("word"), openai_delta(None, "stop"), "data: [DONE]\n\n")

    provide(rig, "lines", lines)
    answer = ask(rig, "lines", stream=True)
    assert (answer.status_code, "word" in answer.text, rig.row()["status"]) == (200, True, "ok")


def test_an_answer_of_blanks_is_none(rig: Live) -> None:
    def blank(wire: Wire) -> None:
        wire.begin("text/event-stream")
        for _ in range(100):
            wire.say(b"\n" * 1_000)

    provide(rig, "blank", blank)
    assert ask(rig, "blank", stream=True).status_code == 502


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("second", ["told at once", "translated"])
def test_what_a_first_attempt_passed_on_is_not_in_the_way_of_the_second(rig: Live, stream: bool, second: str) -> None:
    tried: list[bool] = []

    def cut(wire: Wire) -> None:
        tried.append(True)
        if len(tried) > 1 and second == "told at once":
            answers(wire)
            return
        wire.begin("text/event-stream" if stream else "application/json")
        wire.say(sse({"choices": [{"index": 0, "delta": {"role": "assistant"}}]}) if stream else '{"choices": [{"mess')

    rig.provider("at-cut", "custom", cut)
    rig.services.providers.create(OPERATOR, name="scripted", kind="scripted")
    spare = {"fallbacks": [{"provider_id": rig.services.providers.get(OPERATOR, "scripted").id, "model": "say:ok"}]}
    rig.services.configurations.create(
        OPERATOR,
        slug="cut",
        app="bot",
        provider="at-cut",
        model="m",
        routing={"max_attempts": 2} if second == "told at once" else {"max_attempts": 1} | spare,
    )
    answer = ask(rig, "cut", stream=stream)
    assert answer.status_code == 200, answer.text
    assert "ok" in answer.text
    assert (rig.row()["status"], rig.row()["attempt"]) == ("ok", 2)
