"""OpenAI's and Anthropic's own clients, unmodified, in both lanes; and the same row whichever lane it was."""

import asyncio
import base64
import json
import socket
import struct
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anthropic
import httpx
import openai
import pytest

from lib.calls.request import CallRequest
from lib.calls.routing import Route
from lib.settings import Settings
from tests.gateway.live import Live, live
from tests.providers.payloads import ARGUMENTS, PAYLOADS, TEXT, THOUGHT
from tests.providers.wire import Script, Wire, openai_delta, sse
from tests.waiting import CEILING_S

ASK: Any = [{"role": "user", "content": "Where do rivers run?"}]
TOOL: Any = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
PIXEL = "data:image/png;base64,iVBORw0KGgo="
SAME = {"id", "call_id", "started_at", "finished_at", "origin", "user_id", "api_key_id", "lane", "change_seq"} | {
    *("execution_time_ms", "first_token_ms", "configuration_id", "provider", "parameters", "app", "tags"),
}


def recorded(name: str) -> Script:
    """A provider that gives one recorded answer, streamed or whole as it is asked."""

    def script(wire: Wire) -> None:
        streamed = wire.server.requests[-1]["body"].get("stream")
        wire.begin("text/event-stream" if streamed else "application/json")
        wire.say(PAYLOADS[name].streamed if streamed else PAYLOADS[name].whole)

    return script


def refusing(status: int, **headers: str) -> Script:
    """A provider that says no."""

    def script(wire: Wire) -> None:
        wire.begin("application/json", status, **headers)
        wire.say('{"error": {"message": "no", "type": "x", "code": "y"}}')

    return script


def embedding(wire: Wire) -> None:
    """A provider that embeds."""
    texts = wire.server.requests[-1]["body"]["input"]
    raw = struct.pack("<2f", 0.25, -1.0)
    in_bytes = wire.server.requests[-1]["body"].get("encoding_format") == "base64"
    vector = base64.b64encode(raw).decode() if in_bytes else [0.25, -1.0]
    data = [{"object": "embedding", "index": n, "embedding": vector} for n, _ in enumerate(texts)]
    wire.begin("application/json")
    usage = {"prompt_tokens": 6, "total_tokens": 6}
    wire.say(json.dumps({"object": "list", "data": data, "model": "m-served", "usage": usage}))


@pytest.fixture
def rig(settings: Settings) -> Iterator[Live]:
    with live(settings) as made:
        made.provider("relayed", "custom", recorded("openai"))
        made.provider("claude", "anthropic", recorded("anthropic"))
        made.provider("replies", "openai", recorded("responses"))
        yield made


@pytest.fixture
def gpt(rig: Live) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{rig.url}/v1", api_key=rig.key, max_retries=0) as client:
        yield client


@pytest.fixture
def claude(rig: Live) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=rig.url, api_key=rig.key, max_retries=0) as client:
        yield client


LANES = [("relayed", "relay"), ("claude", "translate")]


@pytest.mark.feature("GATE-1")
@pytest.mark.parametrize(("model", "lane"), LANES)
def test_openais_client_chats(rig: Live, gpt: openai.OpenAI, model: str, lane: str) -> None:
    answer = gpt.chat.completions.create(model=model, messages=ASK, tools=[TOOL], max_tokens=500)
    message = answer.choices[0].message
    assert message.content == TEXT
    assert message.tool_calls is not None
    assert json.loads(message.tool_calls[0].function.arguments) == ARGUMENTS  # type: ignore[union-attr]
    assert answer.choices[0].finish_reason == "tool_calls"
    assert answer.usage is not None
    row = rig.row()
    assert (row["status"], row["lane"], row["app"], row["user_id"]) == ("ok", lane, "bot", rig.jonas.user_id)
    assert answer._request_id == row["call_id"]
    assert row["prompt_tokens"] == PAYLOADS["openai" if lane == "relay" else "anthropic"].usage.prompt_tokens


@pytest.mark.feature("GATE-1")
@pytest.mark.parametrize(("model", "lane"), LANES)
@pytest.mark.parametrize("asks", [True, False])
def test_openais_client_streams_and_gets_counts_if_it_asks(
    rig: Live, gpt: openai.OpenAI, model: str, lane: str, asks: bool
) -> None:
    options: Any = {"stream_options": {"include_usage": True}} if asks else {}
    chunks = list(gpt.chat.completions.create(model=model, messages=ASK, max_tokens=500, stream=True, **options))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == TEXT
    assert any(chunk.usage is not None and not chunk.choices for chunk in chunks) == asks
    assert all(chunk.choices for chunk in chunks) != asks
    row = rig.row()
    assert (row["status"], row["lane"], row["streamed"], row["usage_source"]) == ("ok", lane, True, "provider")


@pytest.mark.feature("GATE-1")
def test_fields_that_nobody_here_knows_travel_in_the_relay(rig: Live, gpt: openai.OpenAI) -> None:
    server = rig.provider("whole", "custom", recorded("openai"))
    content: Any = [{"type": "text", "text": "Look."}, {"type": "image_url", "image_url": {"url": PIXEL}}]
    form: Any = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}, "strict": True}}
    gpt.chat.completions.create(
        model="whole",
        messages=[{"role": "user", "content": content}],
        n=2,
        logprobs=True,
        response_format=form,
        extra_body={"never_heard_of": {"deep": [1, 2]}},
    )
    sent = server.requests[-1]["body"]
    assert sent["messages"] == [{"role": "user", "content": content}]
    assert (sent["n"], sent["logprobs"], sent["response_format"]) == (2, True, form)
    assert sent["never_heard_of"] == {"deep": [1, 2]}
    assert sent["model"] == "m-asked"
    assert server.requests[-1]["headers"]["authorization"] == "Bearer sk-upstream-0123456789"
    assert rig.row()["images"] == 1


@pytest.mark.feature("GATE-1")
@pytest.mark.parametrize(("model", "lane"), [("replies", "relay"), ("relayed", "translate")])
def test_openais_client_speaks_responses(rig: Live, gpt: openai.OpenAI, model: str, lane: str) -> None:
    answer = gpt.responses.create(model=model, input="Where do rivers run?")
    assert TEXT in answer.output_text
    assert rig.row()["lane"] == lane
    events = list(gpt.responses.create(model=model, input="Where do rivers run?", stream=True))
    assert events[-1].type == "response.completed"
    assert rig.row()["status"] == "ok"


@pytest.mark.feature("GATE-1")
@pytest.mark.parametrize("form", ["float", "base64"])
def test_openais_client_embeds(rig: Live, gpt: openai.OpenAI, form: Any) -> None:
    rig.provider("vectors", "custom", embedding)
    found = gpt.embeddings.create(model="vectors", input=["a", "b"], encoding_format=form)
    expected: Any = [0.25, -1.0] if form == "float" else base64.b64encode(struct.pack("<2f", 0.25, -1.0)).decode()
    assert [one.embedding for one in found.data] == [expected, expected]
    row = rig.row()
    assert (row["status"], row["lane"], row["prompt_tokens"], row["completion_tokens"]) == ("ok", "relay", 6, 0)


@pytest.mark.feature("GATE-1")
@pytest.mark.parametrize(("model", "lane"), [("claude", "relay"), ("relayed", "translate")])
def test_anthropics_client_asks_and_streams(rig: Live, claude: anthropic.Anthropic, model: str, lane: str) -> None:
    whole = claude.messages.create(model=model, max_tokens=100, messages=ASK, system="Be brief.")
    assert [block.text for block in whole.content if block.type == "text"] == [TEXT]
    assert [block.thinking for block in whole.content if block.type == "thinking"] == [THOUGHT]
    assert [block.input for block in whole.content if block.type == "tool_use"] == [ARGUMENTS]
    assert rig.row()["lane"] == lane
    events = list(claude.messages.create(model=model, max_tokens=100, messages=ASK, stream=True))
    deltas = [event.delta for event in events if event.type == "content_block_delta"]
    assert "".join(delta.text for delta in deltas if delta.type == "text_delta") == TEXT
    assert [event.delta.stop_reason for event in events if event.type == "message_delta"][-1] == "tool_use"
    assert events[-1].type == "message_stop"
    assert (rig.row()["lane"], rig.row()["status"]) == (lane, "ok")


@pytest.mark.feature("GATE-1")
def test_anthropics_client_gets_the_form_it_asks_for_from_another_provider(
    rig: Live, claude: anthropic.Anthropic
) -> None:
    server = rig.provider("forms", "custom", recorded("openai"))
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    form: Any = {"format": {"type": "json_schema", "schema": schema}}
    claude.messages.create(
        model="forms", max_tokens=100, messages=ASK, output_config=form, extra_body={"never_heard_of": 1}
    )
    assert server.requests[-1]["body"]["response_format"]["json_schema"]["schema"] == schema
    assert rig.row()["tags"] == {"dropped_parameters": ["never_heard_of"]}


@pytest.mark.feature("GATE-1")
def test_what_only_one_protocol_can_say_is_relayed_or_refused(rig: Live, claude: anthropic.Anthropic) -> None:
    server = rig.provider("relays", "anthropic", recorded("anthropic"))
    tool: Any = {"type": "memory_20250818", "name": "memory"}
    claude.messages.create(model="relays", max_tokens=100, messages=ASK, tools=[tool])
    assert server.requests[-1]["body"]["tools"] == [tool]
    with pytest.raises(anthropic.BadRequestError, match="Tools of Anthropic's own can't be used"):
        claude.messages.create(model="relayed", max_tokens=100, messages=ASK, tools=[tool])
    assert [row["provider"] for row in rig.rows()] == ["relays"]


def alternating(wire: Wire) -> None:
    """Two calls whose pieces come in turn, and an end that does not speak of them; or both at once."""
    tools = [{"index": n, "id": f"c{n}", "function": {"name": f"f{n}", "arguments": ""}} for n in range(2)]
    if not wire.server.requests[-1]["body"].get("stream"):
        whole = [{"id": f"c{n}", "function": {"name": f"f{n}", "arguments": "{}"}} for n in range(2)]
        wire.begin("application/json")
        wire.say(json.dumps({"choices": [{"message": {"tool_calls": whole}, "finish_reason": None}]}))
        return
    parts = [{"index": n, "function": {"arguments": part}} for part in ('{"n": ', "1}") for n in range(2)]
    wire.begin()
    wire.say(*[sse({"choices": [{"delta": {"tool_calls": [one]}}]}) for one in [*tools, *parts]])
    wire.say(openai_delta(finish="stop"), sse("[DONE]"))


@pytest.mark.feature("GATE-1")
def test_clients_of_blocks_get_calls_whose_pieces_come_in_turn(
    rig: Live, gpt: openai.OpenAI, claude: anthropic.Anthropic
) -> None:
    rig.provider("odd", "custom", alternating)
    with claude.messages.stream(model="odd", max_tokens=50, messages=ASK) as stream:
        message = stream.get_final_message()
    assert [(block.type == "tool_use" and (block.id, block.name, block.input)) for block in message.content] == [
        ("c0", "f0", {"n": 1}),
        ("c1", "f1", {"n": 1}),
    ]
    assert message.stop_reason == "tool_use"
    assert (rig.row()["status"], rig.row()["finish_reason"]) == ("ok", "tool_calls")
    whole = claude.messages.create(model="odd", max_tokens=50, messages=ASK)
    assert (len(whole.content), whole.stop_reason, rig.row()["status"]) == (2, "tool_use", "ok")
    events = list(gpt.responses.create(model="odd", input="hi", stream=True))
    done = [event.item for event in events if event.type == "response.output_item.done"]
    assert [item.type == "function_call" and (item.name, item.arguments) for item in done] == [
        ("f0", '{"n": 1}'),
        ("f1", '{"n": 1}'),
    ]


@pytest.mark.feature("GATE-1")
@pytest.mark.parametrize(("name", "kind"), [("openai", "custom"), ("responses", "openai")])
def test_a_server_that_always_streams_is_written_as_a_whole_answer(
    rig: Live, gpt: openai.OpenAI, claude: anthropic.Anthropic, name: str, kind: str
) -> None:
    def streams(wire: Wire) -> None:
        wire.begin()
        wire.say(PAYLOADS[name].streamed)

    rig.provider("streams", kind, streams)
    if name == "responses":
        assert gpt.responses.create(model="streams", input="hi").output_text == TEXT
    else:
        assert gpt.chat.completions.create(model="streams", messages=ASK).choices[0].message.content == TEXT
        message = claude.messages.create(model="streams", max_tokens=50, messages=ASK)
        assert [block.text for block in message.content if block.type == "text"] == [TEXT]
    assert {row["status"] for row in rig.rows()} == {"ok"}
    assert rig.row()["completion_tokens"] == PAYLOADS[name].usage.completion_tokens


@pytest.mark.feature("GATE-1")
def test_models_and_counts(rig: Live, gpt: openai.OpenAI, claude: anthropic.Anthropic) -> None:
    assert {"relayed", "claude", "replies"} <= {model.id for model in gpt.models.list()}
    assert gpt.models.retrieve("relayed").owned_by == "relayed"
    assert {"relayed", "claude", "replies"} <= {model.id for model in claude.models.list()}
    assert claude.messages.count_tokens(model="claude", messages=ASK).input_tokens > 3
    assert rig.rows() == []


@pytest.mark.feature("GATE-1")
@pytest.mark.parametrize(
    ("status", "raised"),
    [
        (400, openai.BadRequestError),
        (404, openai.NotFoundError),
        (429, openai.RateLimitError),
        (503, openai.InternalServerError),
    ],
)
def test_openais_client_knows_the_providers_errors(rig: Live, gpt: openai.OpenAI, status: int, raised: Any) -> None:
    rig.provider("bad", "custom", refusing(status))
    rig.services.configurations.create(
        rig.jonas, slug="once", app="bot", provider="bad", model="m", routing={"max_attempts": 1}
    )
    for streams in (False, True):
        with pytest.raises(raised) as caught:
            gpt.chat.completions.create(model="once", messages=ASK, stream=streams)
        assert caught.value.request_id == rig.row()["call_id"]
    assert rig.row()["status"] == "error"


@pytest.mark.feature("GATE-3")
def test_both_clients_know_a_key_that_is_not_valid(rig: Live) -> None:
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=f"{rig.url}/v1", api_key="llmm_wrong", max_retries=0).models.list()
    with pytest.raises(anthropic.AuthenticationError):
        anthropic.Anthropic(base_url=rig.url, api_key="llmm_wrong", max_retries=0).messages.create(
            model="claude", max_tokens=5, messages=ASK
        )
    assert rig.rows() == []


@pytest.mark.feature("GATE-1")
def test_a_stream_that_breaks_off_is_told_and_kept(rig: Live, gpt: openai.OpenAI) -> None:
    def cut(wire: Wire) -> None:
        wire.begin()
        wire.say(openai_delta("Half an "), openai_delta("answer"))

    rig.provider("cut", "custom", cut)
    stream = gpt.chat.completions.create(model="cut", messages=ASK, stream=True)
    words = [next(stream).choices[0].delta.content for _ in range(2)]
    with pytest.raises(openai.APIError, match="before the provider said it was finished"):
        next(stream)
    assert words == ["Half an ", "answer"]
    row = rig.row()
    assert (row["status"], row["usage_source"]) == ("truncated", "estimated")


@pytest.mark.feature("CALL-3")
@pytest.mark.parametrize("words", [0, 3])
def test_a_client_that_leaves_ends_its_call_upstream(rig: Live, words: int) -> None:
    def silent(wire: Wire) -> None:
        wire.begin()
        wire.say(*[openai_delta("word ")] * words)
        wire.wait_for_the_client_to_go()

    server = rig.provider("silent", "custom", silent)
    body = json.dumps({"model": "silent", "messages": ASK, "stream": True}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {rig.key}\r\n"
    with socket.create_connection(("127.0.0.1", rig.port)) as client:
        client.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        rig.eventually(lambda: bool(server.requests))
        received = b""
        while received.count(b"word ") < words:
            part = client.recv(4_096)
            assert part, received
            received += part
    rig.eventually(lambda: bool(server.gone))
    assert server.gone == [True]
    rig.eventually(lambda: bool(rig.rows()))
    assert (rig.row()["status"], rig.row()["chunks"]) == ("cancelled", words)


@pytest.mark.feature("CALL-3")
def test_a_client_that_leaves_before_its_call_is_opened_leaves_nothing(
    rig: Live, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    waiting, server = threading.Event(), rig.provider("patient", "custom", recorded("openai"))

    async def slow(*_: Any) -> Any:
        waiting.set()
        await asyncio.sleep(30)

    monkeypatch.setattr(Route, "first", slow)
    body = json.dumps({"model": "patient", "messages": ASK}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {rig.key}\r\n"
    with socket.create_connection(("127.0.0.1", rig.port)) as client:
        client.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        assert waiting.wait(CEILING_S)
    rig.eventually(lambda: not rig.services.calls._calls)
    assert (rig.rows(), server.requests, caplog.records) == ([], [], [])


@pytest.mark.feature("CALL-5")
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("name", "kind", "path", "body"),
    [
        ("openai", "custom", "/v1/chat/completions", {"messages": ASK}),
        ("anthropic", "anthropic", "/v1/messages", {"messages": ASK, "max_tokens": 4096}),
    ],
)
def test_the_row_is_the_same_in_both_lanes(
    rig: Live, name: str, kind: str, path: str, body: dict[str, Any], stream: bool
) -> None:
    rig.provider("twice", kind, recorded(name))
    head = {"authorization": f"Bearer {rig.key}"}
    answer = httpx.post(
        rig.url + path, json={"model": "twice", "stream": stream, **body}, headers=head, timeout=CEILING_S
    )
    assert answer.status_code == 200, answer.text
    rig.services.calls.flush()
    rows = rig.rows()
    assert [row["lane"] for row in rows] == ["relay"]
    asked = CallRequest(rig.jonas, ASK, configuration="twice", stream=stream, parameters={"max_tokens": 4096})
    translated = rig.services.calls.run(asked)
    assert translated.status == "ok"
    one, other = rig.rows()
    assert other["lane"] == "translate"
    assert {k: v for k, v in one.items() if k not in SAME} == {k: v for k, v in other.items() if k not in SAME}
    assert one["prompt_tokens"] == PAYLOADS[name].usage.prompt_tokens


@pytest.mark.feature("GATE-3")
def test_what_a_program_sends_wrongly_has_its_own_answer(rig: Live) -> None:
    head = {"authorization": f"Bearer {rig.key}"}
    url = f"{rig.url}/v1/chat/completions"
    good = {"model": "relayed", "messages": ASK}

    def status(**request: Any) -> int:
        answer = httpx.post(url, **({"headers": head} | request), timeout=CEILING_S)
        assert answer.headers["content-type"] == "application/json"
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
        return answer.status_code

    assert status(content=b"{") == 400
    assert status(content=b"[1]") == 400
    assert status(json={**good, "messages": "hi"}) == 400
    assert status(json={**good, "messages": []}) == 400
    assert status(json={**good, "messages": [{"role": 7}]}) == 400
    assert status(json={**good, "stream": "yes"}) == 400
    assert status(json={**good, "temperature": "hot"}) == 400
    assert status(json={**good, "model": 5}) == 400
    assert status(json={**good, "model": "no-such-thing"}) == 404
    assert status(json={**good, "model": "nobody/gpt"}) == 404
    assert status(json=good, headers={}) == 401
    assert status(json=good, headers={"authorization": "Basic eA=="}) == 401
    assert status(json=good, headers={}, params={"api_key": rig.key}) == 401
    assert status(content=b"x" * (33 * 1024 * 1024)) == 413
    for_models, _ = rig.services.api_keys.create(rig.jonas, app="bot", endpoints=["models"])
    assert status(json=good, headers={"authorization": f"Bearer {for_models}"}) == 403
    narrow, key = rig.services.api_keys.create(rig.jonas, app="bot", models=["claude"])
    assert status(json=good, headers={"authorization": f"Bearer {narrow}"}) == 403
    rig.services.api_keys.revoke(rig.jonas, key.id)
    assert status(json=good, headers={"authorization": f"Bearer {narrow}"}) == 401
    assert httpx.get(url, headers=head, timeout=CEILING_S).status_code == 405
    assert httpx.get(f"{rig.url}/v1/nothing", headers=head, timeout=CEILING_S).status_code == 404
    preflight = httpx.options(url, headers={"origin": "https://evil.example", "access-control-request-method": "POST"})
    assert "access-control-allow-origin" not in preflight.headers
    assert rig.rows() == []


@pytest.mark.feature("GATE-3")
@pytest.mark.parametrize(
    "model", ["relayed/a/../b", "relayed/../../admin?x=", "relayed/a#b", "relayed/a%2fb", "google/gemini:embedContent"]
)
def test_a_models_name_leads_to_no_other_address(rig: Live, model: str) -> None:
    server = rig.provider("google", "gemini", recorded("openai"))
    head = {"authorization": f"Bearer {rig.key}"}
    answer = httpx.post(
        f"{rig.url}/v1/chat/completions", json={"model": model, "messages": ASK}, headers=head, timeout=CEILING_S
    )
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "model")
    assert (server.requests, rig.rows()) == ([], [])


@pytest.mark.feature("GATE-1")
def test_what_cannot_be_translated_is_the_programs_slip_and_nobody_elses(rig: Live) -> None:
    """It is told as such, sent once, and shuts the model for nobody."""
    server, head = rig.provider("google", "gemini", recorded("gemini")), {"authorization": f"Bearer {rig.key}"}
    part = {"type": "input_audio", "input_audio": [[]]}
    for _ in range(6):
        asked = {"model": "google", "messages": [{"role": "user", "content": [part]}]}
        answer = httpx.post(f"{rig.url}/v1/chat/completions", json=asked, headers=head, timeout=CEILING_S)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_request")
    assert server.requests == []
    assert len(rig.rows()) == 6
    good = httpx.post(
        f"{rig.url}/v1/chat/completions", json={"model": "google", "messages": ASK}, headers=head, timeout=CEILING_S
    )
    assert good.status_code == 200


@pytest.mark.feature("GATE-1")
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("messages", {"max_tokens": 9, "messages": [{"role": "user", "content": [{"type": ["text"]}]}]}),
        ("responses", {"input": [{"type": {}}]}),
        ("responses", {"input": [{"role": "user", "content": [{"type": []}]}]}),
        ("responses", {"input": [{"role": "user", "content": 5}]}),
        ("responses", {"input": "Hi", "tools": [{"type": []}]}),
    ],
)
def test_odd_types_are_refused(rig: Live, path: str, body: dict[str, Any]) -> None:
    head = {"authorization": f"Bearer {rig.key}"}
    answer = httpx.post(f"{rig.url}/v1/{path}", json={"model": "relayed", **body}, headers=head, timeout=CEILING_S)
    assert answer.status_code == 400, answer.text


@pytest.mark.feature("GATE-1")
def test_a_bug_is_told_in_the_protocols_shape(rig: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("sk-upstream-0123456789")

    monkeypatch.setattr("lib.gateway.models.completions.read_within", broken)
    head, asked = {"authorization": f"Bearer {rig.key}"}, {"model": "relayed", "messages": ASK, "max_tokens": 9}
    for path, kind in (("chat/completions", "server_error"), ("messages", "api_error")):
        answer = httpx.post(f"{rig.url}/v1/{path}", json=asked, headers=head, timeout=CEILING_S)
        assert (answer.status_code, answer.json()["error"]["type"]) == (500, kind)
        assert "sk-upstream" not in answer.text


@pytest.mark.feature("CALL-7")
def test_as_many_as_like_note_something_about_their_calls_at_once(rig: Live) -> None:
    """Each waits for the ledger in a thread; the ledger's own is not one of those."""
    token, _ = rig.services.api_keys.create(rig.jonas, app="bot", endpoints=["api"])
    head = {"authorization": f"Bearer {token}"}

    def one(_: int) -> int:
        with httpx.Client(base_url=rig.url, headers=head, timeout=CEILING_S) as client:
            asked = client.post("/api/generate", json={"configuration": "relayed", "prompt": "Hi"})
            call_id = asked.json()["call_id"]
            noted = {"metrics": [{"key": "rating", "value": 5}]}
            return client.post(f"/api/calls/{call_id}/metrics", json=noted).status_code

    with ThreadPoolExecutor(40) as pool:
        assert set(pool.map(one, range(80))) <= {200, 201}


@pytest.mark.feature("COST-2")
def test_a_hard_budget_makes_the_call_send_its_ceiling_and_says_no_when_it_is_used_up(rig: Live) -> None:
    server = rig.provider("paid", "openai", recorded("openai"))
    rig.services.configurations.create(rig.jonas, slug="gpt", app="bot", provider="paid", model="gpt-4.1-mini")
    from lib.access.permissions import OPERATOR

    rig.services.budgets.create(OPERATOR, scope="app", subject="bot", period="month", limit_nano=70_000_000)
    client = openai.OpenAI(base_url=f"{rig.url}/v1", api_key=rig.key, max_retries=0)
    client.chat.completions.create(model="gpt", messages=ASK)
    assert server.requests[-1]["body"]["max_completion_tokens"] == 32_768
    with pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(model="gpt", messages=ASK, n=2, max_tokens=30_000)
    assert "app budget bot" in str(caught.value)
    assert "retry-after" not in caught.value.response.headers  # it is larger than the whole budget
    assert caught.value.response.headers["x-should-retry"] == "false"
    row = rig.row()
    assert (row["status"], row["error_kind"], row["cost_nano_usd"]) == ("refused", "budget", 0)
    [state] = rig.services.budgets.list(OPERATOR)
    assert (state.now.spent_nano, state.now.held_nano) == (rig.rows()[0]["cost_nano_usd"], 0)
