"""Workflows over HTTP: begun, followed as events, quoted, repeated; asked as a model by OpenAI's own address."""

import json
from typing import Any

import httpx
import pytest

from lib.access.permissions import OPERATOR
from lib.settings import Settings
from tests.gateway.api_rig import ApiRig, live
from tests.waiting import CEILING_S, until
from tests.workflows.rig import draw, finish, node, start

pytestmark = [pytest.mark.feature("GATE-2"), pytest.mark.feature("FLOW-9")]
SHOUT = draw(start("text"), node("transform", "shout", value="upper(start.text)"), finish("{{shout}}!"))
ASK = draw(
    start("text"), node("approval", "check", question="Go?"), finish("x"), edges="start>check check:approved>finish"
)


def events(text: str) -> list[tuple[str, Any]]:
    """(name, data) of server-sent events."""
    read = []
    for block in text.strip().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "data" in lines:
            read.append((lines.get("event", ""), lines["data"]))
    return read


def test_a_workflow_is_run_over_http(settings: Settings) -> None:
    with live(settings) as (address, rig):
        for slug, document in (("shout", SHOUT), ("ask-first", ASK)):
            rig.services.workflows.definitions.create(OPERATOR, slug, document, runners={"roles": ["developer"]})
        with httpx.Client(base_url=address, headers=rig.of_jonas, timeout=CEILING_S) as client:
            listed = client.get("/api/workflows").json()["workflows"]
            assert [workflow["slug"] for workflow in listed] == ["ask-first", "shout"]
            detail = client.get("/api/workflows/shout").json()
            assert detail["inputs_schema"]["required"] == ["text"]
            ran = client.post("/api/workflows/shout/runs", json={"inputs": {"text": "hi"}}).json()
            assert (ran["state"], ran["output"], ran["cost_usd"]) == ("done", "HI!", "0")
            read = client.get(f"/api/workflow-runs/{ran['run_id']}").json()
            assert [step["path"] for step in read["step_list"]] == ["start", "shout", "finish"]
            streamed = client.post("/api/workflows/shout/runs", json={"inputs": {"text": "yo"}, "stream": True})
            told = events(streamed.text)
            assert [name for name, _ in told][-2:] == ["chunk", "done"]
            assert json.loads(told[-2][1])["content"] == "YO!"
            assert client.post("/api/workflows/shout/quote", json={}).json()["high_usd"] == "0"
            again = client.post(f"/api/workflow-runs/{ran['run_id']}/rerun", json={"from_step": "shout"}).json()
            assert again["trigger"] == "rerun"
            refused = client.post("/api/workflows/shout/runs", json={"inputs": {"txt": "hi"}})
            assert (refused.status_code, refused.json()["error"]["param"]) == (400, "inputs")
            waiting = client.post("/api/workflows/ask-first/runs", json={"inputs": {"text": "hi"}}).json()
            assert (waiting["state"], waiting["waits_at"]) == ("waiting", "/approvals")
            rows = [{"text": "a"}, {"text": "b"}]
            begun = client.post("/api/workflows/shout/batches", json={"rows": rows})
            assert (begun.status_code, begun.json()["rows"]) == (202, 2)
            batch = f"/api/workflow-batches/{begun.json()['batch_id']}"
            until(lambda: client.get(batch).json()["over"])
            assert [row["output"] for row in client.get(batch).json()["runs"]] == ["A!", "B!"]
            assert client.post(f"{batch}/cancel", json={}).json()["states"] == {"done": 2}
            assert len(client.get("/api/workflows/shout/batches").json()["batches"]) == 1
            bad = client.post("/api/workflows/shout/batches", json={"rows": [{"txt": "a"}]})
            assert bad.status_code == 400
            checked = client.post("/api/workflows/validate", json={"definition": {"nodes": []}}).json()
            assert checked["valid"] is False
        check_webhook(address, rig)


def check_webhook(address: str, rig: ApiRig) -> None:
    """A delivery needs no API key but the webhook's secret; what it can't be taken for is said in JSON."""
    made, secret = rig.services.workflows.webhooks.add(OPERATOR, "shout")
    bearer = {"authorization": f"Bearer {secret}", "idempotency-key": "1"}
    with httpx.Client(base_url=address, timeout=CEILING_S) as client:
        answers = [client.post(made.path, json={"text": "hook", "more": 1}, headers=bearer) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [202, 200]
        first, second = (answer.json() for answer in answers)
        assert (first["run_id"], second["repeated"]) == (second["run_id"], True)
        assert rig.services.workflows.runs.wait(OPERATOR, first["run_id"], CEILING_S).output == "HOOK!"
        wrong = client.post(made.path, json={}, headers={"authorization": "Bearer x"})
        nowhere = client.post("/hooks/nothing", json={}, headers=bearer)
        assert (wrong.status_code, nowhere.status_code) == (403, 403)
        assert wrong.json() == nowhere.json()
        large = client.post(made.path, content=b"x" * (1024 * 1024 + 1), headers=bearer)
        assert large.status_code == 413
        assert client.get(made.path).status_code == 405
        assert client.post("/hooks/", json={}).status_code == 404


def test_a_workflow_is_a_model(settings: Settings) -> None:
    with live(settings) as (address, rig):
        for slug, document in (("shout", SHOUT), ("ask-first", ASK)):
            rig.services.workflows.definitions.create(OPERATOR, slug, document, runners={"roles": ["developer"]})
        body: dict[str, Any] = {"model": "workflow/shout", "messages": [{"role": "user", "content": "hello"}]}
        chatting = rig.key(rig.jonas, endpoints=["chat", "models"])
        with httpx.Client(base_url=address, headers=chatting, timeout=CEILING_S) as client:
            assert "workflow/shout" in [model["id"] for model in client.get("/v1/models").json()["data"]]
            answer = client.post("/v1/chat/completions", json=body).json()
            assert answer["choices"][0]["message"]["content"] == "HELLO!"
            streamed = client.post("/v1/chat/completions", json=body | {"stream": True})
            pieces = [json.loads(data) for _, data in events(streamed.text) if data != "[DONE]"]
            said = "".join(piece["choices"][0]["delta"].get("content", "") for piece in pieces)
            assert said == "HELLO!"
            waiting = client.post("/v1/chat/completions", json=body | {"model": "workflow/ask-first"})
            assert (waiting.status_code, waiting.json()["error"]["code"]) == (409, "waiting_for_approval")
            assert "/approvals" in waiting.json()["error"]["message"]
            unknown = client.post("/v1/chat/completions", json=body | {"model": "workflow/nothing"})
            assert unknown.status_code == 404
