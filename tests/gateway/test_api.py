"""The product's own interface: answers and events carry the ledger's figures, and a key sees what its owner may see."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from starlette.testclient import TestClient

from lib.access.permissions import OPERATOR
from lib.activity.call_filter import ActivityFilter
from lib.clock import utc_now
from lib.prompts.template import VersionDraft
from lib.settings import Settings
from tests.activity.activity_rig import AMIRA, log
from tests.gateway.api_rig import ANSWER, ApiRig, opened

pytestmark = pytest.mark.feature("GATE-2")


@pytest.fixture
def opened_rig(settings: Settings) -> Iterator[tuple[ApiRig, TestClient]]:
    with opened(settings) as made:
        yield made


@pytest.fixture
def rig(opened_rig: tuple[ApiRig, TestClient]) -> ApiRig:
    return opened_rig[0]


@pytest.fixture
def client(opened_rig: tuple[ApiRig, TestClient]) -> TestClient:
    return opened_rig[1]


def generate(client: TestClient, key: dict[str, str], **body: Any) -> dict[str, Any]:
    answer = client.post("/api/generate", headers=key, json={"configuration": "rivers", "prompt": "Tell me"} | body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def events(text: str) -> list[tuple[str, dict[str, Any]]]:
    found = []
    for block in filter(None, text.split("\n\n")):
        name, data = block.split("\n")
        found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


def test_an_answer_is_the_row_of_the_ledger(rig: ApiRig, client: TestClient) -> None:
    said = generate(client, rig.of_jonas, tags={"ticket": 7}, system="Be short", parameters={"temperature": 0.1})
    assert (said["text"], said["tool_calls"], said["finish_reason"]) == (ANSWER, [], "stop")
    assert (said["provider"], said["model"], said["cost_usd"], said["cost_status"]) == (
        "script",
        f"say:{ANSWER}",
        "0",
        "free",
    )
    found = client.get(f"/api/calls/{said['call_id']}", headers=rig.of_jonas).json()
    for name in ("log_id", "call_id", "usage", "cost_usd", "execution_time_ms", "first_token_ms", "model"):
        assert found[name] == said[name]
    assert (found["status"], found["app"], found["origin"], found["streamed"]) == ("ok", "bot", "gateway", False)
    assert (found["tags"], found["parameters"], found["text"]) == ({"ticket": 7}, {"temperature": 0.1}, ANSWER)
    assert found["messages"] == [{"role": "system", "content": "Be short"}, {"role": "user", "content": "Tell me"}]
    assert client.get(f"/api/calls/{said['log_id']}", headers=rig.of_jonas).json() == found


def test_a_stream_is_chunks_and_what_the_call_came_to(rig: ApiRig, client: TestClient) -> None:
    asked = {"messages": [{"role": "user", "content": "Tell me"}], "model": f"script/think:2+say:{ANSWER}"}
    answer = client.post("/api/stream", headers=rig.of_jonas, json=asked)
    assert answer.headers["content-type"].startswith("text/event-stream")
    told = events(answer.text)
    assert {name for name, _ in told[:-1]} == {"chunk"}
    assert "".join(data["content"] for _, data in told[:-1]) == ANSWER
    assert len("".join(data.get("reasoning", "") for _, data in told[:-1]).split()) == 2
    tokens = [data["tokens"] for _, data in told[:-1]]
    assert tokens == sorted(tokens)
    assert tokens[0] > 0
    name, done = told[-1]
    assert (name, done["call_id"], done["finish_reason"]) == ("done", answer.headers["x-request-id"], "stop")
    assert done["usage"]["completion_tokens"] == 4
    assert done["usage"]["source"] == "provider"
    assert client.get(f"/api/calls/{done['log_id']}", headers=rig.of_jonas).json()["status"] == "ok"


def test_an_answer_that_breaks_off_ends_with_an_error(rig: ApiRig, client: TestClient) -> None:
    told = events(
        client.post("/api/stream", headers=rig.of_jonas, json={"configuration": "cut", "prompt": "Tell me"}).text
    )
    assert [name for name, _ in told] == ["chunk", "chunk", "error"]
    assert told[-1][1]["code"] == "stream_cut"
    before_words = client.post("/api/stream", headers=rig.of_jonas, json={"configuration": "broken", "prompt": "x"})
    assert (before_words.status_code, before_words.json()["error"]["code"]) == (502, "server_error")
    assert set(before_words.json()["error"]) == {"code", "message", "param"}


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"prompt": ""}, 400, "prompt"),
        ({"prompt": "x", "messages": [{"role": "user", "content": "x"}]}, 400, "prompt"),
        ({}, 400, "prompt"),
        ({"messages": [{"role": "king", "content": "x"}]}, 400, "messages"),
        ({"messages": []}, 400, "messages"),
        ({"prompt": "x", "model": "rivers"}, 400, "model"),
        ({"prompt": "x", "model": "script/echo", "configuration": "rivers"}, 400, "model"),
        ({"prompt": "x", "configuration": 7}, 400, "configuration"),
        ({"prompt": "x", "configuration": "a\x00"}, 400, "configuration"),
        ({"prompt": "x", "configuration": "none-such"}, 404, None),
        ({"prompt": "x", "parameters": {"api_base": "http://evil.example"}}, 400, "parameters"),
        ({"prompt": "x", "parameters": [1]}, 400, "parameters"),
        ({"prompt": "x", "tags": {"a": "b" * 4_000}}, 400, "tags"),
        ({"prompt": "x", "system": 1}, 400, "system"),
    ],
)
def test_what_can_not_be_used_is_named(
    rig: ApiRig, client: TestClient, body: dict[str, Any], status: int, param: str | None
) -> None:
    for path in ("/api/generate", "/api/stream"):
        answer = client.post(path, headers=rig.of_jonas, json=body)
        assert (answer.status_code, answer.json()["error"]["param"]) == (status, param)
    assert client.get("/api/usage", headers=rig.of_jonas).json()["rows"][0]["calls"] == 0


def test_only_keys_for_it_open_it(rig: ApiRig, client: TestClient) -> None:
    chat_only = rig.key(rig.jonas, endpoints=["chat"])
    for path in ("/api/usage", "/api/metrics", "/api/calls/x", "/api/calls/x/metrics", "/api/budgets/check"):
        assert client.get(path).status_code == 401
        assert client.get(path, headers={"cookie": "llm_manager_session=x"}).status_code == 401
        assert client.get(path, headers=chat_only).json()["error"]["code"] == "permission_denied"
    for path in ("/api/generate", "/api/stream", "/api/calls/x/metrics"):
        assert client.post(path, json={}).status_code == 401
        assert client.post(path, json={}, headers=chat_only).status_code == 403
    narrow = rig.key(rig.jonas, models=["other"])
    assert (
        client.post("/api/generate", headers=narrow, json={"configuration": "rivers", "prompt": "x"}).status_code == 403
    )


def test_a_wrong_method_or_address_is_told_in_the_same_shape(rig: ApiRig, client: TestClient) -> None:
    for path, allowed in (("/api/generate", {"POST"}), ("/api/calls/x/metrics", {"GET", "HEAD", "POST"})):
        answer = client.delete(path, headers=rig.of_jonas)
        assert (answer.status_code, set(answer.headers["allow"].split(", "))) == (405, allowed)
        assert {"code", "message", "param"} <= set(answer.json()["error"])
    nothing = client.get("/api/nothing", headers=rig.of_jonas)
    assert (nothing.status_code, set(nothing.json()["error"])) == (404, {"code", "message", "param"})
    assert client.post("/metrics").status_code == 405


@pytest.mark.feature("CALL-7")
def test_metrics_are_noted_read_and_added_up(rig: ApiRig, client: TestClient) -> None:
    said = generate(client, rig.of_jonas)
    path = f"/api/calls/{said['call_id']}/metrics"
    one = client.post(path, headers=rig.of_jonas, json={"key": "rating", "value": 4, "metadata": {"by": "judge"}})
    assert (one.status_code, one.json()["metrics"][0]["type"]) == (201, "integer")
    many = {"metrics": [{"key": "rating", "value": 5.5}, {"key": "helped", "value": True}]}
    assert client.post(path, headers=rig.of_jonas, json=many).status_code == 201
    listed = client.get(path, headers=rig.of_jonas).json()["metrics"]
    assert [(found["key"], found["value"]) for found in listed] == [("rating", 4), ("rating", 5.5), ("helped", True)]
    today = f"{utc_now():%Y-%m-%d}"
    keys = client.get(f"/api/metrics?key=rating&app=bot&from={today}", headers=rig.of_jonas).json()["keys"]
    assert [(found["count"], found["mean"], found["p95"]) for found in keys] == [(2, 4.75, 5.5)]
    for body, param in (
        ({"key": "a b", "value": 1}, "key"),
        ({"key": "k"}, "value"),
        ({"key": "k", "value": 1, "type": []}, "type"),
        ({"metrics": []}, "metrics"),
        ({"metrics": 3}, "metrics"),
        ({}, "value"),
    ):
        answer = client.post(path, headers=rig.of_jonas, json=body)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert client.post(path, headers=rig.of_nobody, json={"key": "k", "value": 1}).status_code == 404


def test_a_key_sees_the_calls_of_its_app_and_owner(rig: ApiRig, client: TestClient) -> None:
    store, said = rig.services.store, generate(client, rig.of_jonas)
    elsewhere = log(store, rig.jonas, app="other", prompt_text="Q", response_text="A")
    foreign = log(store, AMIRA, app="bot", prompt_text="Q", response_text="A")
    path = "/api/calls/{}".format
    assert client.get(path(said["log_id"]), headers=rig.of_nobody).status_code == 404
    for log_id in (elsewhere, foreign):  # a developer sees figures of all, words of the key's own calls alone
        found = client.get(path(log_id), headers=rig.of_jonas).json()
        assert (found["usage"]["total_tokens"], found["text"], found["messages"]) == (150, None, None)
        assert client.get(path(log_id), headers=rig.of_nobody).status_code == 404
    own = generate(client, rig.of_nobody)
    assert client.get(path(own["call_id"]), headers=rig.of_nobody).json()["text"] == ANSWER


def test_usage_has_the_columns_of_the_command(rig: ApiRig, client: TestClient) -> None:
    generate(client, rig.of_jonas)
    generate(client, rig.of_nobody)
    log(rig.services.store, AMIRA, at=utc_now() - timedelta(days=40))
    usage = client.get("/api/usage?by=provider,model", headers=rig.of_jonas).json()["rows"]
    assert [(row["provider"], row["calls"], row["cost_usd"]) for row in usage] == [
        ("openai", 1, "0.0015"),
        ("script", 2, "0"),
    ]
    assert list(usage[0])[2:] == [
        *("calls", "prompt_tokens", "completion_tokens", "total_tokens", "cost_usd", "unpriced_calls")
    ]
    first = f"{utc_now() - timedelta(days=2):%Y-%m-%d}"
    assert [r["calls"] for r in client.get(f"/api/usage?from={first}", headers=rig.of_jonas).json()["rows"]] == [2]
    assert [r["calls"] for r in client.get("/api/usage", headers=rig.of_nobody).json()["rows"]] == [1]
    for query, param in (
        ("by=moon", "by"),
        ("from=yesterday", "from"),
        ("to=9999-12-31", "to"),
        ("from=2026-02-02&to=2026-02-01", "to"),
        ("from=0001-01-01", "from"),
    ):
        answer = client.get(f"/api/usage?{query}", headers=rig.of_jonas)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_budgets_say_what_they_would_do(rig: ApiRig, client: TestClient) -> None:
    dear = rig.services.configurations.create(
        OPERATOR, slug="dear", app="bot", provider="script", model="say:words+priced", parameters={"max_tokens": 1000}
    )
    rig.services.budgets.create(OPERATOR, scope="app", subject="bot", period="day", limit_nano=1_000_000)
    path = "/api/budgets/check?configuration={}&prompt_tokens=1000".format
    found = client.get(path("dear"), headers=rig.of_jonas).json()
    assert (found["passes"], found["most_usd"]) == (
        False,
        "0.013125",
    )  # five percent above the list price: tokens are estimated
    assert [(one["scope"], one["subject"], one["limit_usd"]) for one in found["budgets"]] == [("app", "bot", "0.001")]
    assert client.get(path("rivers"), headers=rig.of_jonas).json()["passes"] is True
    refused = client.post("/api/generate", headers=rig.of_jonas, json={"configuration": "dear", "prompt": "x" * 4000})
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "budget")
    assert (found["instead"], client.get(path("rivers"), headers=rig.of_jonas).json()["instead"]) == (None, None)
    script = rig.services.providers.get(OPERATOR, "script").id
    rig.services.configurations.update(
        OPERATOR,
        dear.id,
        dear.revision,
        routing={"fallbacks": [{"provider_id": script, "model": m} for m in ("say:more+priced", "say:words")]},
    )
    found = client.get(path("dear"), headers=rig.of_jonas).json()
    assert (found["passes"], found["budgets"][0]["passes"]) == (True, False)
    assert found["instead"] == {"provider": "script", "model": "say:words", "most_usd": "0"}
    assert client.get(path("rivers"), headers=rig.of_nobody).status_code == 403
    assert client.get(path("none-such"), headers=rig.of_jonas).status_code == 404
    for query, param in (("", "configuration"), ("configuration=dear&max_tokens=x", "max_tokens")):
        answer = client.get(f"/api/budgets/check?{query}", headers=rig.of_jonas)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_a_key_whose_owner_may_not_see_statistics_counts_its_app_alone(rig: ApiRig) -> None:
    store, mine = rig.services.store, rig.services.api_keys.create(rig.jonas, app="bot")[1].actor
    assert mine is not None
    assert not mine.sees_all_calls, "its scope has no api"
    for app in ("bot", "other"):
        log(store, rig.jonas, app=app)
    assert rig.services.statistics.stats_table(mine, []).calls.tolist() == [1]
    assert rig.services.activity.page(mine, ActivityFilter()).calls == 1


@pytest.mark.feature("PLAY-3")
def test_a_template_is_used_by_slug_and_label_at_every_door(rig: ApiRig, client: TestClient) -> None:
    draft = VersionDraft(
        "Where is {{city}}?", "Answer in {{words}} words.", [{"name": "words", "type": "number", "default": 5}]
    )
    rig.services.prompts.create(OPERATOR, "where", draft, category="trips")
    rig.services.prompts.create(OPERATOR, "other", VersionDraft("x"), app="another")
    rig.services.configurations.create(OPERATOR, slug="echo", app="bot", provider="script", model="echo")
    key = rig.key(rig.jonas, endpoints=["api", "chat", "responses", "messages"])
    asked = {"slug": "where", "variables": {"city": "{{words}}"}}
    refused = client.post("/api/generate", headers=key, json={"configuration": "echo", "prompt": asked})
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "not_found")
    rig.services.prompts.move_label(OPERATOR, "where", "production", 1)
    said = generate(client, key, configuration="echo", prompt=asked, tags={"ticket": "7"})
    assert said["text"] == "Where is {{words}}?"
    row = client.get(f"/api/calls/{said['call_id']}", headers=key).json()
    assert row["tags"] == {"ticket": "7", "template": "where", "template_version": "1"}
    assert [one["content"] for one in row["messages"]] == ["Answer in 5 words.", "Where is {{words}}?"]
    more = generate(client, key, configuration="echo", prompt=asked, system="Mine", parameters={"temperature": 0.3})
    row = client.get(f"/api/calls/{more['call_id']}", headers=key).json()
    assert (row["messages"][0]["content"], row["parameters"]) == ("Mine", {"temperature": 0.3})
    body = {"model": "echo", "prompt": asked | {"label": "draft"}}
    chat = client.post("/v1/chat/completions", headers=key, json=body).json()
    assert chat["choices"][0]["message"]["content"] == "Where is {{words}}?"
    response = client.post("/v1/responses", headers=key, json=body).json()
    assert response["output"][0]["content"][0]["text"] == "Where is {{words}}?"
    message = client.post("/v1/messages", headers=key, json=body | {"max_tokens": 50}).json()
    assert message["content"][0]["text"] == "Where is {{words}}?"
    listed = client.get("/api/prompts?category=trips", headers=key).json()["prompts"]
    assert [(one["slug"], one["labels"]) for one in listed] == [("where", {"draft": 1, "production": 1})]
    assert len(client.get("/api/prompts", headers=key).json()["prompts"]) == 1
    assert client.get("/api/prompts/where", headers=key).json()["variables"][0]["name"] == "city"
    assert client.get("/api/prompts/other?version=1", headers=key).status_code == 404


@pytest.mark.feature("PLAY-3")
@pytest.mark.parametrize(
    ("prompt", "why"),
    [
        ({"slug": "where", "label": "draft", "variables": {"town": "x"}}, "Missing: city. Not in the template: town."),
        ({"slug": 5}, "Slug is a text."),
        ({"slug": "where", "label": "draft", "version": 1}, "Label and version can't stand together."),
        ({"slug": "where", "version": 0}, "Version is a whole number above 0."),
        ({"slug": "where", "version": True}, "Version is a whole number above 0."),
        ({"slug": "where", "variables": ["x"]}, "Variables are an object."),
        ({"slug": "where", "id": "x"}, "It may hold label, slug, variables, version."),
    ],
)
def test_a_template_that_can_not_be_filled_is_refused_by_name(
    rig: ApiRig, client: TestClient, prompt: dict[str, Any], why: str
) -> None:
    rig.services.prompts.create(OPERATOR, "where", VersionDraft("Where is {{city}}?"))
    answer = client.post("/api/generate", headers=rig.of_jonas, json={"prompt": prompt})
    assert answer.status_code == 400
    assert why in answer.json()["error"]["message"]
    assert answer.json()["error"]["param"] in ("prompt", "variables")
