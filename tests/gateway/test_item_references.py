"""Items of translated answers that a program names by id are read from the ledger, for who was answered alone."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from lib.access.permissions import OPERATOR, Role, make_actor
from lib.settings import Settings
from tests.gateway.live import PASSWORD, Live, live
from tests.providers.wire import Wire, WireServer
from tests.waiting import CEILING_S

pytestmark = pytest.mark.feature("GATE-1")
TOOL = {"type": "function", "name": "weather", "parameters": {"type": "object"}}


@dataclass(frozen=True)
class Rig:
    """The doors before a server of chats, which is translated for, and one of responses."""

    live: Live
    chats: WireServer
    replies: WireServer


@pytest.fixture
def rig(settings: Settings) -> Iterator[Rig]:
    with live(settings) as made:
        yield Rig(made, made.provider("own", "custom", answering), made.provider("replies", "openai", replying))


def answering(wire: Wire) -> None:
    """A chat: thoughts, words and, where there are tools, two calls; whole or streamed as it is asked."""
    body = wire.server.requests[-1]["body"]
    calls = [
        {
            "index": n,
            "id": f"call_{n}",
            "type": "function",
            "function": {"name": "weather", "arguments": f'{{"n":{n}}}'},
        }
        for n in range(2 if body.get("tools") else 0)
    ]
    said = {"role": "assistant", "reasoning_content": "Hm.", "content": "Sunny."} | (
        {"tool_calls": calls} if calls else {}
    )
    reason = "tool_calls" if calls else "stop"
    usage = {"prompt_tokens": 5, "completion_tokens": 5}
    if body.get("stream"):
        wire.begin("text/event-stream")
        for document in (
            {"choices": [{"index": 0, "delta": said, "finish_reason": None}]},
            {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}], "usage": usage},
        ):
            wire.say(f"data: {json.dumps(document)}\n\n")
        wire.say("data: [DONE]\n\n")
    else:
        wire.begin("application/json")
        wire.say(json.dumps({"choices": [{"message": said, "finish_reason": reason}], "usage": usage}))


def replying(wire: Wire) -> None:
    item = {"type": "message", "id": "msg_1", "role": "assistant", "content": [{"type": "output_text", "text": "ok"}]}
    wire.begin("application/json")
    wire.say(json.dumps({"object": "response", "id": "resp_1", "status": "completed", "output": [item]}))


def post(rig: Rig, model: str, items: list[Any], key: str = "", **more: Any) -> httpx.Response:
    head = {"authorization": f"Bearer {key or rig.live.key}"}
    return httpx.post(
        f"{rig.live.url}/v1/responses", json={"model": model, "input": items, **more}, headers=head, timeout=CEILING_S
    )


def first_answer(rig: Rig, *, stream: bool, **more: Any) -> list[dict[str, Any]]:
    answer = post(rig, "own/m", [{"role": "user", "content": "Weather?"}], stream=stream, **more)
    assert answer.status_code == 200
    if not stream:
        return list(answer.json()["output"])
    events = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]
    return list(events[-1]["response"]["output"])


def references(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"type": "item_reference", "id": item["id"]} for item in items]


@pytest.mark.parametrize("stream", [False, True])
def test_a_second_turn_may_name_what_the_first_one_said(rig: Rig, stream: bool) -> None:
    asks = [{"role": "user", "content": "Weather?"}]
    again = [*asks, *references(first_answer(rig, stream=stream)), {"role": "user", "content": "And now?"}]
    assert post(rig, "own/m", again).status_code == 200
    said = [(message["role"], message["content"]) for message in rig.chats.requests[-1]["body"]["messages"]]
    assert said == [("user", "Weather?"), ("assistant", "Sunny."), ("user", "And now?")]


@pytest.mark.parametrize("stream", [False, True])
def test_calls_of_tools_are_named_one_by_one(rig: Rig, stream: bool) -> None:
    items = first_answer(rig, stream=stream, tools=[TOOL])
    results = [{"type": "function_call_output", "call_id": f"call_{n}", "output": "ok"} for n in range(2)]
    assert post(rig, "own/m", [{"role": "user", "content": "?"}, *references(items), *results]).status_code == 200
    calls = [
        (call["id"], call["function"]["arguments"])
        for message in rig.chats.requests[-1]["body"]["messages"]
        for call in message.get("tool_calls") or []
    ]
    assert calls == [("call_0", '{"n":0}'), ("call_1", '{"n":1}')]


def test_in_the_relay_ours_are_replaced_and_the_providers_own_travel(rig: Rig) -> None:
    items = references(first_answer(rig, stream=False))
    theirs = {"type": "item_reference", "id": "msg_68af"}
    assert post(rig, "replies/gpt-next", [{"role": "user", "content": "?"}, theirs, *items]).status_code == 200
    sent = rig.replies.requests[-1]["body"]["input"]
    assert sent[1] == theirs
    assert [(item["type"], item["content"][0]["text"]) for item in sent[2:]] == [("message", "Sunny.")]


def test_nobody_elses_answer_and_none_that_is_not_kept_can_be_named(rig: Rig) -> None:
    items = references(first_answer(rig, stream=False))
    user = rig.live.services.users.create(OPERATOR, "mia", PASSWORD, Role.DEVELOPER)
    others, _ = rig.live.services.api_keys.create(make_actor(user.id, "mia", Role.DEVELOPER), app="bot")
    other_app, _ = rig.live.services.api_keys.create(rig.live.jonas, app="another")
    count = len(rig.chats.requests)
    unknown = [{"type": "item_reference", "id": "msg_01a22b6e-82ff-7000-9307-d78cd66fdff8"}]
    for key, named in ((others, items), (other_app, items), (rig.live.key, unknown)):
        refused = post(rig, "own/m", [{"role": "user", "content": "?"}, *named], key)
        assert refused.status_code == 400
        assert "store: false" in refused.json()["error"]["message"]
    assert len(rig.chats.requests) == count


def second_turn(rig: Rig, answer_id: str, model: str = "own/m", key: str = "", **more: Any) -> httpx.Response:
    head = {"authorization": f"Bearer {key or rig.live.key}"}
    body = {"model": model, "previous_response_id": answer_id, "input": "And now?", **more}
    return httpx.post(f"{rig.live.url}/v1/responses", json=body, headers=head, timeout=CEILING_S)


def sent_words(rig: Rig) -> list[tuple[str, str | None]]:
    return [(message["role"], message["content"]) for message in rig.chats.requests[-1]["body"]["messages"]]


def test_an_answer_may_be_gone_on_from_by_its_id(rig: Rig) -> None:
    asked = {
        "role": "user",
        "content": [
            {"type": "input_text", "text": "Weather?"},
            {"type": "input_image", "image_url": "https://example.com/a.png"},
        ],
    }
    first = post(rig, "own/m", [asked], instructions="Be kind.").json()
    second = second_turn(rig, first["id"], instructions="Be brief.").json()
    head, shown, *others = rig.chats.requests[-1]["body"]["messages"]
    assert head == {"role": "system", "content": "Be brief."}
    assert [part["type"] for part in shown["content"]] == ["text", "image_url"]
    assert [(message["role"], message["content"]) for message in others] == [
        ("assistant", "Sunny."),
        ("user", "And now?"),
    ]
    assert second_turn(rig, second["id"], instructions="Be brief.").status_code == 200
    assert [role for role, _ in sent_words(rig)] == ["system", "user", "assistant", "user", "assistant", "user"]


def test_the_configurations_own_prompt_stands_once_whatever_the_turn(rig: Rig) -> None:
    rig.live.services.configurations.create(
        OPERATOR, slug="kind", app="bot", provider="own", model="m", system_prompt="Be kind."
    )
    first = post(
        rig, "kind", [{"role": "system", "content": "Of 1900."}, {"role": "user", "content": "Weather?"}]
    ).json()
    assert second_turn(rig, first["id"], "kind").status_code == 200
    said = [("system", "Be kind."), ("system", "Of 1900."), ("user", "Weather?")]
    assert sent_words(rig) == [*said, ("assistant", "Sunny."), ("user", "And now?")]


def test_results_of_tools_follow_the_calls_of_the_answer_that_is_named(rig: Rig) -> None:
    first = post(rig, "own/m", [{"role": "user", "content": "?"}], tools=[TOOL]).json()
    results = [{"type": "function_call_output", "call_id": f"call_{n}", "output": "ok"} for n in range(2)]
    second = second_turn(rig, first["id"], input=results, tools=[TOOL])
    assert second.status_code == 200
    messages = rig.chats.requests[-1]["body"]["messages"]
    assert [call["id"] for message in messages for call in message.get("tool_calls") or ()] == ["call_0", "call_1"]
    assert [message["tool_call_id"] for message in messages if message["role"] == "tool"] == ["call_0", "call_1"]


def test_in_the_relay_a_turn_of_ours_is_written_out_and_the_providers_own_travels(rig: Rig) -> None:
    first = post(rig, "own/m", [{"role": "user", "content": "Weather?"}]).json()
    assert second_turn(rig, first["id"], "replies/gpt-next").status_code == 200
    sent = rig.replies.requests[-1]["body"]
    assert "previous_response_id" not in sent
    assert [item["role"] for item in sent["input"]] == ["user", "assistant", "user"]
    assert second_turn(rig, "resp_68af", "replies/gpt-next").status_code == 200
    assert rig.replies.requests[-1]["body"]["previous_response_id"] == "resp_68af"
    assert rig.replies.requests[-1]["body"]["input"] == "And now?"
    refused = second_turn(rig, "resp_68af", "own/m")
    assert (refused.status_code, "previous_response_id" in refused.json()["error"]["message"]) == (400, True)


def test_nobody_elses_answer_can_be_gone_on_from(rig: Rig) -> None:
    first = post(rig, "own/m", [{"role": "user", "content": "Weather?"}]).json()
    other_app, _ = rig.live.services.api_keys.create(rig.live.jonas, app="another")
    for key, named in ((other_app, first["id"]), (rig.live.key, "resp_01a22b6e-82ff-7000-9307-d78cd66fdff8")):
        refused = second_turn(rig, named, key=key)
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "previous_response_id")
    assert len(rig.chats.requests) == 1
