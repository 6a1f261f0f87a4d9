"""Tools over HTTP: run here only where the configuration says so; the program's own requests pass untouched."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anthropic
import httpx
import openai
import pytest

from lib.access.permissions import OPERATOR
from lib.approvals.approval import Decision, Verdict
from lib.configs.tool_rules import ProgramTools, ToolRules
from lib.gateway.models import program_turn
from lib.providers.adapters.claude import THOUGHTS, fit_thoughts
from lib.providers.chunks import Endpoint
from lib.settings import Settings
from lib.tokens.prompt_size import measure
from lib.tools.native import NativeTools
from lib.tools.tool import ToolAnnotations
from tests.gateway.live import Live, live
from tests.providers.wire import Wire, sse
from tests.waiting import CEILING_S

pytestmark = pytest.mark.feature("TOOL-2")
RELEASE = threading.Event()  # lets the tool that waits go
RUN = ProgramTools.RUN
MIX = ProgramTools.MIX
ASK: Any = [{"role": "user", "content": '{"expression": "20 + 22"}'}]
OWN: Any = {"type": "function", "function": {"name": "mine", "parameters": {"type": "object", "properties": {}}}}


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("program-tools")
    with live(Settings(data_dir=folder, database_url=f"sqlite:///{folder / 'llm_manager.db'}")) as running:
        running.services.providers.create(OPERATOR, name="scripted", kind="scripted")
        native = NativeTools()

        def ring() -> str:
            """Ring the bell."""
            return "It rang."

        def sit() -> str:
            """Wait until the test lets it go."""
            RELEASE.wait(CEILING_S)
            return "It waited."

        native.register(ring)
        native.register(sit, ToolAnnotations(read_only=True, destructive=False, open_world=False))
        running.services.tools.sources.append(native)
        for slug, script, rules in (
            ("off", "call:calculate+say:done", ToolRules(names=("calculate",))),
            ("run", "call:calculate+say:It is 42.+priced", ToolRules(names=("calculate",), programs=RUN)),
            ("mix", "call:calculate+say:It is 42.", ToolRules(names=("calculate", "ring"), programs=MIX)),
            ("both", "call:mine,calculate", ToolRules(names=("calculate",), programs=MIX)),
            ("bell", "call:ring+say:done", ToolRules(names=("ring",), programs=RUN)),
            ("patient", "call:ring+say:It rang.", ToolRules(names=("ring",), programs=RUN, waits=True)),
            ("slow", "call:sit+say:It waited.", ToolRules(names=("sit",), programs=RUN)),
            ("none", "echo", ToolRules(names=("nothing__*",), programs=RUN)),
            ("endless", "call:calculate+again", ToolRules(names=("calculate",), programs=RUN, max_rounds=2)),
        ):
            running.services.configurations.create(
                OPERATOR, slug=slug, app="bot", provider="scripted", model=script, tools=rules.to_record()
            )
        yield running


@pytest.fixture
def client(door: Live) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{door.url}/v1", api_key=door.key, max_retries=0) as made:
        yield made


def test_tools_run_here_and_the_answer_is_one_with_the_counts_of_all_rounds(door: Live, client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="run", messages=ASK)
    choice = answer.choices[0]
    assert (choice.message.content, choice.message.tool_calls, choice.finish_reason) == ("It is 42.", None, "stop")
    first, second = door.rows()[-2:]
    assert (second["parent_call_id"], second["origin"]) == (first["call_id"], "gateway")
    assert answer.usage is not None
    assert answer.usage.total_tokens == first["total_tokens"] + second["total_tokens"]
    (run,) = door.services.tools.executions.of_turn(door.jonas, first["call_id"])
    assert (run.tool, run.app, run.status) == ("calculate", "bot", "ok")


def test_the_same_as_events_and_in_the_other_protocols(door: Live, client: openai.OpenAI) -> None:
    chunks = list(client.chat.completions.create(model="run", messages=ASK, stream=True))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    finishes = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices and chunk.choices[0].finish_reason]
    assert (text, finishes) == ("It is 42.", ["stop"])
    assert client.responses.create(model="run", input=ASK[0]["content"]).output_text == "It is 42."
    with client.responses.stream(model="run", input=ASK[0]["content"]) as response:
        assert response.get_final_response().output_text == "It is 42."
    with anthropic.Anthropic(base_url=door.url, api_key=door.key, max_retries=0) as other:
        told = other.messages.create(model="run", max_tokens=50, messages=ASK)
        assert [part.text for part in told.content if part.type == "text"] == ["It is 42."]
        with other.messages.stream(model="run", max_tokens=50, messages=ASK) as events:
            assert events.get_final_text() == "It is 42."


def read_comments(door: Live, path: str, **body: Any) -> list[str]:
    """The comments of a streamed answer."""
    headers = {"authorization": f"Bearer {door.key}", "anthropic-version": "2023-06-01"}
    with httpx.stream(
        "POST", door.url + path, json={"stream": True, **body}, headers=headers, timeout=CEILING_S
    ) as answer:
        return [line[2:] for line in answer.iter_lines() if line.startswith(": ")]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"messages": ASK}),
        ("/v1/responses", {"input": ASK[0]["content"]}),
        ("/v1/messages", {"messages": ASK, "max_tokens": 50}),
    ],
)
def test_a_stream_tells_of_the_tools_in_comments(door: Live, path: str, body: dict[str, Any]) -> None:
    events = [json.loads(line.removeprefix("tool ")) for line in read_comments(door, path, model="run", **body)]
    assert [(event["tool"], event["status"]) for event in events] == [("calculate", "running"), ("calculate", "ok")]
    assert events[0]["id"] == events[1]["id"] != ""
    assert "duration_ms" in events[1]
    assert not {"arguments", "result", "output"} & set(events[1])


def test_a_stream_lives_while_a_tool_runs(door: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program_turn, "BEAT_S", 0.0)
    told: list[str] = []
    with ThreadPoolExecutor(1) as pool:
        headers = {"authorization": f"Bearer {door.key}"}
        body = {"stream": True, "model": "slow", "messages": [{"role": "user", "content": "{}"}]}
        waiting = pool.submit(_collect, door, body, headers, told)
        door.eventually(lambda: "waiting" in told)
        RELEASE.set()
        waiting.result()
    assert "It waited." in "".join(told)


def _collect(door: Live, body: dict[str, Any], headers: dict[str, str], told: list[str]) -> None:
    with httpx.stream(
        "POST", f"{door.url}/v1/chat/completions", json=body, headers=headers, timeout=CEILING_S
    ) as answer:
        for line in answer.iter_lines():
            told.append(line.removeprefix(": "))


def test_without_the_configurations_word_calls_are_the_programs(client: openai.OpenAI) -> None:
    for model, tools in (("off", [OWN]), ("run", [OWN]), ("off", [])):
        more: Any = {"tools": tools} if tools else {}
        choice = client.chat.completions.create(model=model, messages=ASK, **more).choices[0]
        assert [call.function.name for call in choice.message.tool_calls or ()] == ["calculate"]


def test_mixed_tools_only_read_and_a_round_that_asks_for_the_programs_ends_with_its_calls(
    door: Live, client: openai.OpenAI
) -> None:
    choice = client.chat.completions.create(model="mix", messages=ASK, tools=[OWN]).choices[0]
    assert choice.message.content == "It is 42."
    sent = door.row()["parameters"]["tools"]
    assert sorted(tool["function"]["name"] for tool in sent) == ["calculate", "mine"]
    choice = client.chat.completions.create(model="both", messages=ASK, tools=[OWN]).choices[0]
    assert [call.function.name for call in choice.message.tool_calls or ()] == ["mine"]  # type: ignore[union-attr]
    assert choice.finish_reason == "tool_calls"
    chunks = list(client.chat.completions.create(model="both", messages=ASK, tools=[OWN], stream=True))
    deltas = [call for chunk in chunks if chunk.choices for call in chunk.choices[0].delta.tool_calls or ()]
    assert {call.index for call in deltas} == {0}
    assert deltas[0].function is not None
    assert deltas[0].function.name == "mine"


@pytest.mark.feature("TOOL-6")
def test_a_tool_that_has_to_be_allowed_is_an_error_with_the_address_of_the_question(
    door: Live, client: openai.OpenAI
) -> None:
    assert client.chat.completions.create(model="bell", messages=[{"role": "user", "content": "{}"}]).choices
    (approval,) = door.services.approvals.waiting(door.jonas)
    told = [m for m in door.services.calls.view(door.jonas, door.row()["call_id"]).messages if m["role"] == "tool"]
    assert f"/approvals?id={approval.id}" in told[0]["content"]
    door.services.approvals.decide(door.jonas, approval.id, Decision(verdict=Verdict.APPROVE))
    assert client.chat.completions.create(model="bell", messages=[{"role": "user", "content": "{}"}]).choices
    told = [m for m in door.services.calls.view(door.jonas, door.row()["call_id"]).messages if m["role"] == "tool"]
    assert told[0]["content"] == "It rang."


@pytest.mark.feature("TOOL-6")
def test_a_request_waits_for_the_decision_where_the_configuration_says_so(door: Live, client: openai.OpenAI) -> None:
    question: Any = [{"role": "user", "content": "{}"}]
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.chat.completions.create, model="patient", messages=question)
        door.eventually(lambda: bool(door.services.approvals.waiting(door.jonas)))
        (approval,) = door.services.approvals.waiting(door.jonas)
        door.services.approvals.decide(door.jonas, approval.id, Decision(verdict=Verdict.APPROVE))
        assert waiting.result().choices[0].message.content == "It rang."


def test_tools_that_can_not_be_had_and_limits_are_errors_with_the_reason(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="None of the tools can be had"):
        client.chat.completions.create(model="none", messages=ASK)
    with pytest.raises(openai.UnprocessableEntityError, match="all its 2 rounds"):
        client.chat.completions.create(model="endless", messages=ASK)
    with pytest.raises(openai.APIError, match="all its 2 rounds"):
        list(client.chat.completions.create(model="endless", messages=ASK, stream=True))


def test_claudes_thoughts_come_back_with_the_results_of_tools(door: Live, client: openai.OpenAI) -> None:
    def block(index: int, begin: dict[str, Any], *deltas: dict[str, Any]) -> str:
        events = [sse({"type": "content_block_start", "index": index, "content_block": begin})]
        events += [sse({"type": "content_block_delta", "index": index, "delta": delta}) for delta in deltas]
        return "".join(events) + sse({"type": "content_block_stop", "index": index})

    def script(wire: Wire) -> None:
        is_first = len(wire.server.requests) == 1
        wire.begin()
        usage = {"input_tokens": 10, "output_tokens": 1}
        wire.say(sse({"type": "message_start", "message": {"id": "m", "model": "claude", "usage": usage}}))
        if is_first:
            thought = {"type": "thinking_delta", "thinking": "Add them."}
            signature = {"type": "signature_delta", "signature": "s1"}
            wire.say(block(0, {"type": "thinking", "thinking": ""}, thought, signature))
            wire.say(block(1, {"type": "redacted_thinking", "data": "hidden"}))
            call = {"type": "tool_use", "id": "t1", "name": "calculate", "input": {}}
            wire.say(block(2, call, {"type": "input_json_delta", "partial_json": ASK[0]["content"]}))
        else:
            wire.say(block(0, {"type": "text", "text": ""}, {"type": "text_delta", "text": "It is 42."}))
        end = {"stop_reason": "tool_use" if is_first else "end_turn"}
        wire.say(sse({"type": "message_delta", "delta": end, "usage": usage}), sse({"type": "message_stop"}))

    server = door.provider("claude", "anthropic", script)
    made = door.services.configurations.get(OPERATOR, "claude")
    rules = ToolRules(names=("calculate",), programs=RUN).to_record()
    thinking = {"reasoning_effort": "low", "max_tokens": 4096}
    changes: dict[str, Any] = {"model": "claude-sonnet-4-5", "tools": rules, "parameters": thinking}
    door.services.configurations.update(OPERATOR, made.id, made.revision, **changes)
    chunks = list(client.chat.completions.create(model="claude", messages=ASK, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "It is 42."
    first, second = (request["body"] for request in server.requests)
    assert second["thinking"] == first["thinking"]
    assert second["messages"][1]["content"][:2] == [
        {"type": "thinking", "thinking": "Add them.", "signature": "s1"},
        {"type": "redacted_thinking", "data": "hidden"},
    ]


def test_thoughts_go_to_claude_alone_and_count_as_words() -> None:
    thoughts = [{"type": "thinking", "thinking": "many words " * 50, "signature": "s"}]
    messages = [{"role": "assistant", "content": "x", THOUGHTS: thoughts}]
    for kind, keeps in (("anthropic", True), ("openai", False), ("litellm", False)):
        sent = fit_thoughts(messages, Endpoint("p", "p", kind), "m")
        assert (THOUGHTS in sent[0]) is keeps
    without = measure({"messages": fit_thoughts(messages, Endpoint("p", "p", "openai"), "m")})
    assert measure({"messages": messages}).words > without.words + 90
