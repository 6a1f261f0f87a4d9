"""The knowledge base for programs: documents in, passages and answers out, strangers kept away."""

import base64
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from lib.access.permissions import Role
from lib.settings import Settings
from tests.gateway.api_rig import ANSWER, ApiRig, opened
from tests.gateway.test_api import events

pytestmark = [pytest.mark.feature("RAG-5"), pytest.mark.feature("GATE-2")]
ROOT = "/api/collections"


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


@pytest.fixture
def one(rig: ApiRig, client: TestClient) -> str:
    """A collection of Jonas's with one document."""
    made = post(client, rig.of_jonas, ROOT, 201, name="Manual", embedding_model="script/words:64")
    data = base64.b64encode(b"The boiler is descaled every four weeks.").decode()
    path = f"{ROOT}/{made['id']}/documents"
    added = post(client, rig.of_jonas, path, 201, file_name="boiler.txt", base64=data, tags=["steam"])
    assert added["state"] == "queued"
    rig.services.knowledge.ingest.run_due()
    found = client.get(f"/api/documents/{added['id']}", headers=rig.of_jonas).json()
    assert (found["state"], found["chunks_total"], found["tags"]) == ("ready", 1, ["steam"])
    return str(made["id"])


def post(client: TestClient, key: dict[str, str], path: str, status: int = 200, **body: Any) -> dict[str, Any]:
    answer = client.post(path, headers=key, json=body)
    assert answer.status_code == status, answer.text
    return dict(answer.json())


def test_passages_and_answers_with_their_sources(rig: ApiRig, client: TestClient, one: str) -> None:
    found = post(client, rig.of_jonas, f"{ROOT}/{one}/search", question="boiler", k=3, mode="keyword")
    assert [hit["title"] for hit in found["hits"]] == ["boiler.txt"]
    asked: dict[str, Any] = {"question": "How often is the boiler descaled?", "configuration": "rivers"}
    told = post(client, rig.of_jonas, f"{ROOT}/Manual/answer", **asked)
    assert (told["answer"], told["cited"], told["call"]["cost_usd"]) == (ANSWER, [], "0")
    assert [source["n"] for source in told["sources"]] == [1]
    streamed = client.post(f"{ROOT}/{one}/answer/stream", headers=rig.of_jonas, json=asked)
    said = events(streamed.text)
    assert "".join(data["content"] for name, data in said if name == "chunk") == ANSWER
    assert (said[-1][0], said[-1][1]["answer"]) == ("done", ANSWER)


def test_filters_and_refusals(rig: ApiRig, client: TestClient, one: str) -> None:
    nothing = post(client, rig.of_jonas, f"{ROOT}/{one}/search", question="boiler", tags=["other"])
    assert nothing["hits"] == []
    for wrong in ({"k": 0}, {"k": "x"}, {"mode": "magic"}, {"tags": "x"}, {"rerank": 1}, {"question": " "}):
        post(client, rig.of_jonas, f"{ROOT}/{one}/search", 400, **{"question": "boiler"} | wrong)
    for body in ({}, {"text": "a", "url": "b"}, {"base64": "?"}, {"base64": "YQ=="}, {"url": "http://127.0.0.1/"}):
        post(client, rig.of_jonas, f"{ROOT}/{one}/documents", 400, **body)
    post(client, rig.of_jonas, f"{ROOT}/{one}/answer", 400, question="x", history=[{"role": 1}])
    post(client, rig.of_jonas, ROOT, 400, name="x", chunking={"size": 5})


def test_strangers_find_nothing(rig: ApiRig, client: TestClient, one: str) -> None:
    lena = rig.key(rig.person("lena", Role.DEVELOPER))
    document = client.get(f"{ROOT}/{one}/documents", headers=rig.of_jonas).json()["documents"][0]["id"]
    for path in (f"{ROOT}/{one}", f"{ROOT}/{one}/documents", f"/api/documents/{document}"):
        assert client.get(path, headers=lena).status_code == 404
    post(client, lena, f"{ROOT}/{one}/search", 404, question="boiler")
    post(client, lena, f"/api/documents/{document}/delete", 404)
    assert client.get(ROOT, headers=lena).json() == {"collections": []}
    post(client, rig.of_jonas, f"/api/documents/{document}/delete")
    assert client.get(f"{ROOT}/{one}/documents", headers=rig.of_jonas).json() == {"documents": []}
