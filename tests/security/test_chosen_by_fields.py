"""No field of a request takes it past a key's scope or a hard budget, in either lane, whatever its spelling."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from lib.access.permissions import OPERATOR
from lib.providers.hosted_tools import USES
from lib.settings import Settings
from tests.gateway.live import Live, live
from tests.providers.wire import Wire, WireServer
from tests.waiting import CEILING_S

CHAT, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/responses", "/v1/messages"
FUNCTION = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}
KINDS = ["openai", "anthropic", "openrouter", "gemini", "groq", "mistral", "deepseek", "custom"]
HIDES: list[dict[str, Any]] = [
    {"preset": "mine"},
    {"extra_body": {"models": ["other"]}},
    {"prompt": {"id": "pmpt_1"}},
    {"models": [{"slug": "other"}]},
]
NAMES: list[dict[str, Any]] = [{"models": ["m-asked", "other"]}, {"fallbacks": ["other"]}, {"engine": "other"}]
RUNS: list[dict[str, Any]] = [
    {"plugins": [{"id": "web"}]},
    {"search_parameters": {"mode": "on"}},
    {"enable_search": True},
    {"web_search_options": {}},
    {"tools": [{"type": "web_search"}]},
    {"tools": [{"type": "mcp", "server_url": "https://mcp.test"}]},
    {"tools": [{"googleSearch": {}}]},
    {"tools": [FUNCTION, {"codeExecution": {}}]},
    {"tools": [{"type": "code_execution_20250825", "name": "code_execution"}]},
]
GROWS: list[dict[str, Any]] = [{"n": "many"}, {"num_predict": -1}, {"best_of": [2]}]
PRICES = (
    "kind,model,valid_from,above_tokens,input,output,cache_read,cache_write,cache_write_1h,reasoning,image,request\n"
)
PRICES += "".join(f"{kind},m-asked,2026-01-01,,1,1,,,,,,\n" for kind in KINDS)
PRICES += "openrouter,dear,2026-01-01,,1,100,,,,,,\n"
PRICES += "anthropic,tool:web_search,2026-01-01,,0,0,,,,,,0.01\nopenai,tool:web_search,2026-01-01,,0,0,,,,,,0.01\n"
USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "input_tokens": 3, "output_tokens": 4, "total_tokens": 7}


def scripted(wire: Wire) -> None:
    """A short answer in the protocol that was asked in."""
    wire.begin("application/json")
    if wire.path.endswith("/messages"):
        said: dict[str, Any] = {
            "type": "message",
            "content": [{"type": "text", "text": "ok"}],
            "stop_reason": "end_turn",
        }
    elif wire.path.endswith("/responses"):
        text = {"type": "output_text", "text": "ok", "annotations": []}
        said = {
            "id": "r",
            "status": "completed",
            "output": [{"type": "message", "role": "assistant", "content": [text]}],
        }
    elif "generateContent" in wire.path:
        said = {"candidates": [{"content": {"parts": [{"text": "ok"}]}, "finishReason": "STOP"}]}
        said["usageMetadata"] = {"promptTokenCount": 3, "candidatesTokenCount": 4, "totalTokenCount": 7}
    else:
        said = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}]}
    wire.say(json.dumps({**said, "model": "m-asked", "usage": USAGE}))


@pytest.fixture
def rig(settings: Settings) -> Iterator[Live]:
    with live(settings) as made:
        made.services.price_entries.import_csv(OPERATOR, PRICES)
        yield made


def post(rig: Live, kind: str, path: str = CHAT, key: str = "", **more: Any) -> httpx.Response:
    words = {"input": "hi"} if path == RESPONSES else {"messages": [{"role": "user", "content": "hi"}]}
    body = {"model": f"my-{kind}/m-asked", "max_tokens": 50, **words, **more}
    return httpx.post(
        rig.url + path, json=body, headers={"authorization": f"Bearer {key or rig.key}"}, timeout=CEILING_S
    )


def hard_budget(rig: Live, dollars: float = 5) -> None:
    limit = round(dollars * 10**9)
    rig.services.budgets.create(OPERATOR, scope="app", subject="bot", period="day", limit_nano=limit)


def bodies(server: WireServer) -> list[dict[str, Any]]:
    return [request["body"] for request in server.requests]


@pytest.mark.feature("COST-2", "GATE-3")
@pytest.mark.parametrize("kind", KINDS)
def test_under_a_hard_budget_nothing_unbounded_is_sent(rig: Live, kind: str) -> None:
    server = rig.provider(f"my-{kind}", kind, scripted)
    hard_budget(rig)
    for field in [*HIDES, *NAMES, *RUNS, *GROWS]:
        seen = len(server.requests)
        answer = post(rig, kind, **field)
        for sent in bodies(server)[seen:]:  # then without it: it is no word of the protocol it was translated to
            name = next(iter(field))
            assert name not in sent or (name == "n" and sent[name] == 1), field
        if len(server.requests) == seen:
            assert answer.status_code in (400, 429), field
            if answer.status_code == 429:
                assert "can't be used under a hard budget" in answer.text, field
                assert rig.row()["error_kind"] == "budget"
    rig.services.calls.flush()
    assert rig.services.budgets.list(OPERATOR)[0].now.held_nano == 0


@pytest.mark.feature("GATE-3")
@pytest.mark.parametrize("kind", KINDS)
def test_a_scoped_key_reaches_no_other_model_by_any_field(rig: Live, kind: str) -> None:
    server = rig.provider(f"my-{kind}", kind, scripted)
    key, _ = rig.services.api_keys.create(rig.jonas, app="bot", models=[f"my-{kind}/m-asked", f"my-{kind}"])
    for field in [*HIDES, *NAMES]:
        for model in (f"my-{kind}/m-asked", f"my-{kind}"):
            answer = post(rig, kind, key=key, **(field | {"model": model}))
            if answer.status_code == 200:
                assert not field.keys() & bodies(server)[-1].keys(), field
            else:
                assert answer.status_code in (400, 403), field
    assert post(rig, kind, key=key, models=["m-asked"]).status_code == 200


@pytest.mark.feature("GATE-3")
def test_models_in_scope_travel_and_the_hold_is_the_dearest(rig: Live) -> None:
    server = rig.provider("my-or", "openrouter", scripted)
    key, _ = rig.services.api_keys.create(rig.jonas, app="bot", models=["my-or/m-asked", "my-or/dear"])
    assert post(rig, "or", key=key, models=["dear"]).status_code == 200
    assert bodies(server)[-1]["models"] == ["dear"]
    hard_budget(rig, 0.004)  # 50 tokens of the one cost 0.00005, of the other 0.005
    assert post(rig, "or", key=key).status_code == 200
    assert post(rig, "or", key=key, models=["dear"]).status_code == 429
    assert post(rig, "or", key=key, n="100").status_code == 429


@pytest.mark.feature("COST-2")
def test_uses_are_limited_and_held_under_a_hard_budget(rig: Live) -> None:
    anthropic, openai = (rig.provider(f"my-{kind}", kind, scripted) for kind in ("anthropic", "openai"))
    search = [{"type": "web_search_20250305", "name": "web_search"}]
    assert post(rig, "anthropic", MESSAGES, tools=search).status_code == 200
    assert bodies(anthropic)[-1]["tools"] == search  # no hard budget: as it came
    assert post(rig, "openai", RESPONSES, tools=[{"type": "web_search"}]).status_code == 200
    assert "max_tool_calls" not in bodies(openai)[-1]
    hard_budget(rig, 1)
    assert post(rig, "anthropic", MESSAGES, tools=search).status_code == 200
    assert bodies(anthropic)[-1]["tools"] == [search[0] | {"max_uses": USES}]
    assert post(rig, "openai", RESPONSES, tools=[{"type": "web_search"}]).status_code == 200
    assert bodies(openai)[-1]["max_tool_calls"] == USES
    seen = len(anthropic.requests)
    many = [search[0] | {"max_uses": 101}]  # at a cent each more than a dollar
    assert post(rig, "anthropic", MESSAGES, tools=many).status_code == 429
    assert len(anthropic.requests) == seen


@pytest.mark.feature("COST-2")
def test_hosts_may_not_be_dearer_than_the_hold(rig: Live) -> None:
    server = rig.provider("my-or", "openrouter", scripted)
    wish = {"order": ["fast"], "max_price": {"prompt": 0.5}}
    assert post(rig, "or", provider=wish).status_code == 200
    assert bodies(server)[-1]["provider"] == wish
    hard_budget(rig)
    assert post(rig, "or", provider=wish, models=["dear"]).status_code == 200
    assert bodies(server)[-1]["provider"] == {"order": ["fast"], "max_price": {"prompt": 0.5, "completion": 100}}


@pytest.mark.feature("COST-1")
def test_the_model_that_answered_is_priced_where_fields_let_it_answer(rig: Live) -> None:
    rig.provider("my-or", "openrouter", scripted)
    rig.services.configurations.create(OPERATOR, slug="dear", app="bot", provider="my-or", model="dear")
    assert post(rig, "or", model="dear").status_code == 200
    assert rig.row()["cost_nano_usd"] == 3 * 1000 + 4 * 100_000  # by the name that was asked
    assert post(rig, "or", model="dear", models=["m-asked"]).status_code == 200
    assert rig.row()["cost_nano_usd"] == 3 * 1000 + 4 * 1000


@pytest.mark.feature("COST-2")
def test_files_are_read_by_a_reader_without_a_fee_under_a_hard_budget(rig: Live) -> None:
    server = rig.provider("my-or", "openrouter", scripted)
    hard_budget(rig)
    file = {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"}}
    messages = [{"role": "user", "content": [{"type": "text", "text": "hi"}, file]}]
    assert post(rig, "or", messages=messages).status_code == 200
    assert bodies(server)[-1]["plugins"] == [{"id": "file-parser", "pdf": {"engine": "pdf-text"}}]
    for engine, status in (("native", 200), ("mistral-ocr", 429)):
        named = [{"id": "file-parser", "pdf": {"engine": engine}}]
        assert post(rig, "or", messages=messages, plugins=named).status_code == status
    assert post(rig, "or").status_code == 200
    assert "plugins" not in bodies(server)[-1]


@pytest.mark.feature("GATE-3")
def test_without_a_hard_budget_and_a_scope_fields_travel(rig: Live) -> None:
    server = rig.provider("my-or", "openrouter", scripted)
    for field in [*HIDES, *NAMES, *RUNS]:
        assert post(rig, "or", **field).status_code == 200, field
        assert {name: bodies(server)[-1][name] for name in field} == field
    server = rig.provider("my-gemini", "gemini", scripted)
    assert post(rig, "gemini", tools=[{"googleSearch": {}}]).status_code == 200
    assert bodies(server)[-1]["tools"] == [{"googleSearch": {}}]
