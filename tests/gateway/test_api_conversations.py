"""`/api/conversations`: the true history over HTTP, events, branches, ends; and whose they are."""

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from lib.access.permissions import Role
from lib.settings import Settings
from tests.gateway.api_rig import ANSWER, ApiRig, opened
from tests.gateway.test_api import events

pytestmark = pytest.mark.feature("GATE-2")
ROOT = "/api/conversations"


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


def begin(client: TestClient, key: dict[str, str], **body: Any) -> str:
    made = client.post(ROOT, headers=key, json={"configuration": "rivers"} | body)
    assert made.status_code == 201, made.text
    return str(made.json()["id"])


def say(client: TestClient, key: dict[str, str], one: str, status: int = 201, **body: Any) -> dict[str, Any]:
    answer = client.post(f"{ROOT}/{one}/messages", headers=key, json=body)
    assert answer.status_code == status, answer.text
    return dict(answer.json())


def test_a_conversation_remembers(rig: ApiRig, client: TestClient) -> None:
    one = begin(client, rig.of_jonas, title="Water", system="Be short", tags=["geography"])
    say(client, rig.of_jonas, one, content="First")
    said = say(client, rig.of_jonas, one, content="Second")
    assert (said["text"], said["cost_usd"], said["conversation_id"]) == (ANSWER, "0", one)
    sent = client.get(f"/api/calls/{said['call_id']}", headers=rig.of_jonas).json()
    assert [message["content"] for message in sent["messages"]] == ["Be short", "First", ANSWER, "Second"]
    assert (sent["origin"], sent["app"]) == ("conversation", "bot")
    thread = client.get(f"{ROOT}/{one}", headers=rig.of_jonas).json()
    assert [message["content"] for message in thread["messages"]] == ["First", ANSWER, "Second", ANSWER]
    assert thread["usage"]["calls"] == 2
    (listed,) = client.get(ROOT, headers=rig.of_jonas).json()["conversations"]
    assert (listed["id"], listed["title"], listed["tags"]) == (one, "Water", ["geography"])


def test_an_answer_streams_as_events(rig: ApiRig, client: TestClient) -> None:
    one = begin(client, rig.of_jonas)
    answer = client.post(f"{ROOT}/{one}/stream", headers=rig.of_jonas, json={"content": "Tell me"})
    assert answer.headers["content-type"].startswith("text/event-stream")
    found = events(answer.text)
    assert "".join(data["content"] for name, data in found if name == "chunk") == ANSWER
    name, done = found[-1]
    assert (name, done["text"], done["finish_reason"]) == ("done", ANSWER, "stop")


def test_a_failed_answer_is_an_error_whole_and_as_event_and_stays_in_the_thread(
    rig: ApiRig, client: TestClient
) -> None:
    one = begin(client, rig.of_jonas, configuration="broken")
    assert say(client, rig.of_jonas, one, 502, content="Go")["error"]["code"] == "server_error"
    answer = client.post(f"{ROOT}/{one}/stream", headers=rig.of_jonas, json={"content": "Again"})
    assert events(answer.text)[-1][0] == "error"
    thread = client.get(f"{ROOT}/{one}", headers=rig.of_jonas).json()
    assert [message["status"] for message in thread["messages"]] == ["ok", "error", "ok", "error"]


def test_branches(rig: ApiRig, client: TestClient) -> None:
    one = begin(client, rig.of_jonas)
    first = say(client, rig.of_jonas, one, content="First")
    say(client, rig.of_jonas, one, content="Second")
    say(client, rig.of_jonas, one, content="Other second", parent_id=first["message_id"])
    again = say(client, rig.of_jonas, one, regenerate=first["message_id"])
    assert again["question_id"] is None
    thread = client.get(f"{ROOT}/{one}", headers=rig.of_jonas).json()
    assert [message["content"] for message in thread["messages"]] == ["First", ANSWER]
    assert thread["messages"][1]["branches"] == [first["message_id"], again["message_id"]]
    choice = {"message_id": first["message_id"]}
    chosen = client.post(f"{ROOT}/{one}/branch", headers=rig.of_jonas, json=choice).json()
    assert [message["content"] for message in chosen["messages"]][2] == "Other second"


def test_what_was_said_meanwhile_is_a_conflict_and_an_ended_one_takes_nothing(rig: ApiRig, client: TestClient) -> None:
    one = begin(client, rig.of_jonas)
    first = say(client, rig.of_jonas, one, content="First", seen="")
    say(client, rig.of_jonas, one, content="Second", seen=first["message_id"])
    assert say(client, rig.of_jonas, one, 409, content="Third", seen=first["message_id"])["error"]["code"] == "conflict"
    assert client.post(f"{ROOT}/{one}/stop", headers=rig.of_jonas, json={}).status_code == 200
    ended = client.post(f"{ROOT}/{one}/end", headers=rig.of_jonas, json={}).json()
    assert ended["status"] == "ended"
    say(client, rig.of_jonas, one, 409, content="Third")
    assert client.get(f"{ROOT}?status=active", headers=rig.of_jonas).json()["conversations"] == []


def test_nobody_elses_key_reaches_it(rig: ApiRig, client: TestClient) -> None:
    one = begin(client, rig.of_jonas)
    eve = rig.person("eve", Role.SUPER_ADMIN)
    for key in (rig.key(eve), rig.key(rig.jonas, app="other")):
        assert client.get(f"{ROOT}/{one}", headers=key).status_code == 404
        assert client.get(ROOT, headers=key).json()["conversations"] == []
        for address in ("messages", "stream", "branch", "stop", "end"):
            body = {"content": "Hi"} if address in ("messages", "stream") else {"message_id": "x"}
            assert client.post(f"{ROOT}/{one}/{address}", headers=key, json=body).status_code == 404, address
    for answer in (
        client.get(f"{ROOT}/{one}", headers=rig.of_nobody),
        client.post(ROOT, headers=rig.of_nobody, json={}),
        client.post(f"{ROOT}/{one}/messages", headers=rig.of_nobody, json={"content": "Hi"}),
    ):
        assert answer.status_code == 403  # a key without an owner calls models and no more


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"content": ""},
        {"content": 3},
        {"content": "a", "regenerate": "b"},
        {"content": "a", "seen": 3},
        {"content": "a", "parameters": []},
        {"regenerate": " "},
    ],
)
def test_a_body_that_makes_no_sense_is_refused(rig: ApiRig, client: TestClient, body: dict[str, Any]) -> None:
    one = begin(client, rig.of_jonas)
    say(client, rig.of_jonas, one, 400, **body)
    assert client.get(f"{ROOT}/{one}", headers=rig.of_jonas).json()["messages"] == []
