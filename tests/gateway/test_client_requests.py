"""Requests as programs really send them: relayed whole, or translated with every loss named in the answer's head."""

import json
import struct
from base64 import b64decode
from collections.abc import Iterator
from typing import Any

import anthropic
import httpx
import openai
import pytest

from lib.access.permissions import OPERATOR
from lib.settings import Settings
from tests.gateway.live import Live, live
from tests.providers.payloads import ARGUMENTS, PAYLOADS
from tests.providers.wire import Script, Wire
from tests.waiting import CEILING_S

pytestmark = pytest.mark.feature("GATE-1")
DROPPED = "x-llm-manager-dropped"
CACHED = {"cache_control": {"type": "ephemeral"}}
CLAUDE_CODE: dict[str, Any] = {
    "model": "",
    "max_tokens": 32_000,
    "temperature": 1,
    "system": [{"type": "text", "text": "You are a coding agent."}, {"type": "text", "text": "Env: linux", **CACHED}],
    "tools": [
        {"name": "Bash", "description": "Run.", "input_schema": {"type": "object"}, "eager_input_streaming": True},
        {"name": "Read", "description": "Read.", "input_schema": {"type": "object"}, **CACHED},
    ],
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "<system-reminder/>"}, {"type": "text", "text": "ls"}]},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
                {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {"command": "ls"}},
            ],
        },
        {"role": "system", "content": "The user opened a.py."},
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": "no", "is_error": True},
                {"type": "text", "text": "Go on.", **CACHED},
            ],
        },
    ],
    "thinking": {"type": "adaptive"},
    "output_config": {"effort": "high"},
    "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
    "metadata": {"user_id": "user_0_account__session_1"},
    "stream": True,
}
CLAUDE_HEAD = {
    "anthropic-version": "2023-06-01",
    "anthropic-beta": "claude-code-20250219,context-management-2025-06-27,interleaved-thinking-2025-05-14",
}
CODEX: dict[str, Any] = {
    "model": "",
    "instructions": "You are a coding agent.",
    "input": [
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "<permissions/>"}]},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Fix it."}]},
        {"type": "reasoning", "summary": [], "encrypted_content": "gAAAA", "id": "rs_1"},
        {"type": "function_call", "name": "shell", "arguments": "{}", "call_id": "call_1", "id": "fc_1"},
        {"type": "function_call_output", "call_id": "call_1", "output": "ok"},
    ],
    "tools": [{"type": "function", "name": "shell", "strict": False, "parameters": {"type": "object"}}],
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "reasoning": {"effort": "high", "summary": "auto"},
    "text": {"verbosity": "low"},
    "include": ["reasoning.encrypted_content"],
    "prompt_cache_key": "019a",
    "client_metadata": {"installation": "1"},
    "store": False,
    "stream": True,
}
KINDS_OF_ITEMS = ["item_reference", "compaction", "tool_search_call", "web_search_call", "mcp_list_tools"]
KINDS_OF_ITEMS += ["code_interpreter_call", "custom_tool_call_output", "local_shell_call", "never_heard_of"]


def recorded(name: str) -> Script:
    """A provider that gives one recorded answer, streamed or whole as it is asked."""

    def script(wire: Wire) -> None:
        streamed = wire.server.requests[-1]["body"].get("stream")
        wire.begin("text/event-stream" if streamed else "application/json")
        wire.say(PAYLOADS[name].streamed if streamed else PAYLOADS[name].whole)

    return script


@pytest.fixture
def rig(settings: Settings) -> Iterator[Live]:
    with live(settings) as made:
        yield made


def post(rig: Live, path: str, body: dict[str, Any], model: str, **headers: str) -> httpx.Response:
    head = {"authorization": f"Bearer {rig.key}", **headers}
    return httpx.post(rig.url + path, json={**body, "model": model}, headers=head, timeout=CEILING_S)


def dropped(answer: httpx.Response) -> set[str]:
    assert answer.status_code == 200, answer.text
    names = answer.headers.get(DROPPED, "")
    return set(names.split(", ")) if names else set()


def test_a_model_of_claudes_that_nobody_has_heard_of_gets_what_claude_code_wrote(rig: Live) -> None:
    server = rig.provider("claude", "anthropic", recorded("anthropic"))
    answer = post(rig, "/v1/messages?beta=true", CLAUDE_CODE, "claude/claude-next-9", **CLAUDE_HEAD)
    assert dropped(answer) == set()
    sent = server.requests[-1]
    assert sent["headers"]["anthropic-beta"] == CLAUDE_HEAD["anthropic-beta"]
    words = ("tools", "thinking", "output_config", "context_management", "metadata", "temperature", "max_tokens")
    assert {word: sent["body"][word] for word in words} == {word: CLAUDE_CODE[word] for word in words}
    *others, moved = sent["body"]["system"]  # this server is not Anthropic's own
    assert (others, moved["text"]) == (CLAUDE_CODE["system"], "The user opened a.py.")
    assert [message["role"] for message in sent["body"]["messages"]] == ["user", "assistant", "user"]
    assert (rig.row()["lane"], rig.row()["status"]) == ("relay", "ok")


def test_what_a_translation_of_claude_codes_request_loses_is_named(rig: Live) -> None:
    server = rig.provider("own", "custom", recorded("openai"))
    answer = post(rig, "/v1/messages?beta=true", CLAUDE_CODE, "own/qwen", **CLAUDE_HEAD)
    assert dropped(answer) == {
        *("thinking", "context_management", "metadata", "anthropic-beta", "system.cache_control"),
        *("messages.cache_control", "messages.thinking", "messages.is_error"),
        *("tools.cache_control", "tools.eager_input_streaming"),
    }
    sent = server.requests[-1]["body"]
    assert sent["messages"][0] == {
        "role": "system",
        "content": "You are a coding agent.\nEnv: linux\n\nThe user opened a.py.",
    }
    assert [message["role"] for message in sent["messages"]] == ["system", "user", "assistant", "tool", "user"]
    assert {"thinking", "metadata", "context_management"}.isdisjoint(sent)
    assert set(rig.row()["tags"]["dropped_parameters"]) == dropped(answer)


@pytest.mark.parametrize("thinking", [{"type": "enabled", "budget_tokens": 31_999}, {"type": "disabled"}])
def test_thinking_is_left_out_or_refused_by_name_as_the_configuration_says(rig: Live, thinking: dict[str, Any]) -> None:
    server = rig.provider("own", "custom", recorded("openai"))
    ask = {"max_tokens": 32_000, "thinking": thinking, "messages": [{"role": "user", "content": "hello"}]}
    assert dropped(post(rig, "/v1/messages", ask, "own/qwen")) == {"thinking"}
    refused = post(rig, "/v1/messages", ask, "own")
    assert refused.status_code == 400
    assert "does not take thinking" in refused.json()["error"]["message"]
    assert len(server.requests) == 1


LOOK = {"name": "look", "description": "Look.", "parameters": {"type": "object", "properties": {}}}


@pytest.mark.parametrize("stream", [False, True])
def test_functions_of_the_older_form_are_tools_elsewhere_and_answered_in_their_form(rig: Live, stream: bool) -> None:
    asks = [
        {"role": "user", "content": "Look twice."},
        {"role": "assistant", "content": None, "function_call": {"name": "look", "arguments": "{}"}},
        {"role": "function", "name": "look", "content": "a fox"},
    ]
    old: dict[str, Any] = {"messages": asks, "functions": [LOOK], "function_call": {"name": "look"}, "stream": stream}
    claude = rig.provider("claude", "anthropic", recorded("anthropic"))
    client = openai.OpenAI(base_url=f"{rig.url}/v1", api_key=rig.key, max_retries=0)
    answer: Any = client.chat.completions.create(model="claude/claude-haiku-4-5", **old)
    sent = claude.requests[-1]["body"]
    assert ([tool["name"] for tool in sent["tools"]], sent["tool_choice"]["name"]) == (["look"], "look")
    used, result = (message["content"][0] for message in sent["messages"][1:])
    assert (used["type"], used["id"]) == ("tool_use", result["tool_use_id"])
    if stream:
        chunks = [chunk.choices[0] for chunk in answer]
        called = [chunk.delta.function_call for chunk in chunks if chunk.delta.function_call]
        name, arguments = called[0].name, "".join(call.arguments or "" for call in called)
        reason = chunks[-1].finish_reason
    else:
        call = answer.choices[0].message.function_call
        name, arguments, reason = call.name, call.arguments, answer.choices[0].finish_reason
        assert answer.choices[0].message.tool_calls is None
    assert (name, json.loads(arguments), reason) == ("weather", ARGUMENTS, "function_call")
    assert rig.row()["dropped_fields"] == ""
    chats = rig.provider("own", "custom", recorded("openai"))
    assert post(rig, "/v1/chat/completions", {**old, "stream": False}, "own/m").status_code == 200
    assert chats.requests[-1]["body"] == {**old, "stream": False, "model": "m"}


def test_codex_is_relayed_and_translated(rig: Live) -> None:
    replies = rig.provider("replies", "openai", recorded("responses"))
    chats = rig.provider("own", "custom", recorded("openai"))
    assert dropped(post(rig, "/v1/responses", CODEX, "replies/gpt-next")) == set()
    assert replies.requests[-1]["body"] == {**CODEX, "model": "gpt-next"}
    lost = {"include", "prompt_cache_key", "client_metadata", "reasoning.summary", "input.reasoning"}
    assert dropped(post(rig, "/v1/responses", CODEX, "own/qwen")) == lost
    sent = chats.requests[-1]["body"]
    assert (sent["reasoning_effort"], sent["verbosity"]) == ("high", "low")
    roles = [message["role"] for message in sent["messages"]]
    assert roles[0] == "system"
    assert roles[-3:] == ["user", "assistant", "tool"]


@pytest.mark.parametrize("kind", KINDS_OF_ITEMS)
def test_an_item_of_any_type_is_relayed_and_named_where_it_cannot_be_translated(rig: Live, kind: str) -> None:
    replies = rig.provider("replies", "openai", recorded("responses"))
    chats = rig.provider("own", "custom", recorded("openai"))
    item = {"type": kind, "id": "x_1", "content": "y" * 3_000}
    ask = {"input": [{"role": "user", "content": "And now?"}, item]}
    assert dropped(post(rig, "/v1/responses", ask, "replies/gpt-next")) == set()
    assert replies.requests[-1]["body"]["input"] == ask["input"]
    refused = post(rig, "/v1/responses", ask, "own/qwen")
    assert refused.status_code == 400
    assert f"Items of the type {kind}" in refused.json()["error"]["message"]
    assert chats.requests == []


def using_a_tool(name: str) -> Script:
    """A provider that asks for a tool, and answers in words once it has the result."""
    words = {"role": "assistant", "content": [{"type": "text", "text": "Sunny."}], "stop_reason": "end_turn"}
    calls = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Rome"}}
    claude = {"id": "msg_1", "type": "message", "model": "m", "usage": {"input_tokens": 5, "output_tokens": 5}}
    function = {"name": "weather", "arguments": '{"city": "Rome"}'}
    asks = {"role": "assistant", "tool_calls": [{"id": "call_1", "type": "function", "function": function}]}

    def script(wire: Wire) -> None:
        is_first = "Rome: sunny" not in json.dumps(wire.server.requests[-1]["body"])
        wire.begin("application/json")
        if name == "anthropic":
            wire.say(
                json.dumps({**claude, **words} | ({"content": [calls], "stop_reason": "tool_use"} if is_first else {}))
            )
        else:
            message = asks if is_first else {"role": "assistant", "content": "Sunny."}
            reason = "tool_calls" if is_first else "stop"
            wire.say(
                json.dumps({"choices": [{"message": message, "finish_reason": reason}], "usage": {"prompt_tokens": 5}})
            )

    return script


@pytest.mark.parametrize("kind", ["anthropic", "custom"])
def test_anthropics_tool_runner_sends_the_whole_conversation_when_threads_are_refused(rig: Live, kind: str) -> None:
    server = rig.provider("bot", kind, using_a_tool(kind))

    @anthropic.beta_tool
    def weather(city: str) -> str:
        """The weather of a city."""
        return f"{city}: sunny"

    with anthropic.Anthropic(base_url=rig.url, api_key=rig.key, max_retries=0) as client:
        ask: Any = [{"role": "user", "content": "How is the weather in Rome?"}]
        runner = client.beta.messages.tool_runner(model="bot/m", max_tokens=90, messages=ask, tools=[weather])
        answer = runner.until_done()
        assert answer.content[0].text == "Sunny."  # type: ignore[union-attr]
        with pytest.raises(anthropic.BadRequestError) as caught:
            client.messages.create(model="bot/m", max_tokens=9, messages=ask, extra_body={"thread": {"type": "create"}})
    assert caught.value.body["error"]["details"] == {"error_code": "thread_unsupported_request"}  # type: ignore[index]
    assert ["thread" in sent["body"] for sent in server.requests] == [False, False]
    assert len(server.requests[-1]["body"]["messages"]) == 3


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("groq", {"reasoning_effort": "high", "temperature": 0.2}),
        ("mistral", {"frequency_penalty": 0.5, "presence_penalty": 0.1, "reasoning_effort": "none"}),
        ("deepseek", {"thinking": {"type": "enabled"}, "verbosity": "low"}),
        ("custom", {"thinking": {"type": "disabled"}, "verbosity": "low", "service_tier": "flex", "top_k": 3}),
        ("openai", {"verbosity": "low", "reasoning_effort": "xhigh", "service_tier": "flex"}),
    ],
)
def test_what_a_program_says_in_the_providers_protocol_travels_as_written(
    rig: Live, kind: str, words: dict[str, Any]
) -> None:
    server = rig.provider("own", kind, recorded("openai"))
    ask = {"messages": [{"role": "user", "content": "hi"}], **words}
    assert dropped(post(rig, "/v1/chat/completions", ask, "own/m-next")) == set()
    assert {name: server.requests[-1]["body"].get(name) for name in words} == words


def test_what_a_configuration_adds_is_said_in_the_programs_protocol(rig: Live) -> None:
    replies = rig.provider("replies", "openai", recorded("responses"))
    claude = rig.provider("claude", "anthropic", recorded("anthropic"))
    for name, parameters in (
        ("replies", {"reasoning_effort": "low", "verbosity": "high", "max_tokens": 77}),
        ("claude", {"temperature": 0.2, "stop": ["END"], "top_k": 5}),
    ):
        configuration = rig.services.configurations.get(OPERATOR, name)
        rig.services.configurations.update(
            OPERATOR, configuration.id, configuration.revision, parameters=parameters, unsupported_parameters="drop"
        )
    assert (
        dropped(post(rig, "/v1/responses", {"input": "hi", "text": {"format": {"type": "text"}}}, "replies")) == set()
    )
    sent = replies.requests[-1]["body"]
    assert (sent["reasoning"], sent["max_output_tokens"]) == ({"effort": "low"}, 77)
    assert sent["text"] == {"format": {"type": "text"}, "verbosity": "high"}
    ask = {"max_tokens": 4_000, "messages": [{"role": "user", "content": "hi"}]}
    assert dropped(post(rig, "/v1/messages", ask, "claude")) == set()
    sent = claude.requests[-1]["body"]
    assert (sent["temperature"], sent["top_k"], sent["stop_sequences"]) == (0.2, 5, ["END"])
    thinks = {**ask, "thinking": {"type": "enabled", "budget_tokens": 2_000}}
    assert dropped(post(rig, "/v1/messages", thinks, "claude")) == {"temperature", "top_k"}
    assert {"temperature", "top_k"}.isdisjoint(claude.requests[-1]["body"])
    assert rig.row()["lane"] == "relay"


def gemini_vectors(wire: Wire) -> None:
    wire.begin("application/json")
    wire.say(json.dumps({"embeddings": [{"values": [0.5, -2.0]}]}))


def test_openais_client_embeds_with_gemini_in_the_form_it_asks_for(rig: Live) -> None:
    rig.provider("gemini", "gemini", gemini_vectors, "/v1beta")
    with openai.OpenAI(base_url=f"{rig.url}/v1", api_key=rig.key, max_retries=0) as client:
        made = client.embeddings.create(model="gemini/gemini-embedding-001", input="hi")
    assert made.data[0].embedding == [0.5, -2.0]
    ask = {"input": "hi", "encoding_format": "base64", "user": "u", "odd": 1}
    answer = post(rig, "/v1/embeddings", ask, "gemini/gemini-embedding-001")
    assert struct.unpack("<2f", b64decode(answer.json()["data"][0]["embedding"])) == (0.5, -2.0)
    assert "odd" in dropped(answer)


@pytest.mark.parametrize("given", [[[15339, 1917]], [15339], ["words", [1]]])
def test_token_numbers_are_never_embedded_as_digits(rig: Live, given: list[Any]) -> None:
    gemini = rig.provider("gemini", "gemini", gemini_vectors, "/v1beta")
    refused = post(rig, "/v1/embeddings", {"input": given}, "gemini/gemini-embedding-001")
    assert refused.status_code == 400
    assert "token numbers" in refused.json()["error"]["message"]
    assert gemini.requests == []


@pytest.mark.parametrize("given", ["", ["", "a"], [], [[15339, 1917]], " "])
def test_any_input_of_an_embedding_is_relayed_as_written(rig: Live, given: Any) -> None:
    def script(wire: Wire) -> None:
        wire.begin("application/json")
        texts = wire.server.requests[-1]["body"]["input"]
        data = [{"index": n, "embedding": [0.5]} for n, _ in enumerate(texts or ["x"])]
        wire.say(json.dumps({"data": data, "model": "e", "usage": {"prompt_tokens": 1, "total_tokens": 1}}))

    server = rig.provider("own", "custom", script)
    assert dropped(post(rig, "/v1/embeddings", {"input": given}, "own/e")) == set()
    assert server.requests[-1]["body"]["input"] == given


def test_names_of_fields_can_be_anything_and_are_told_in_one_line(rig: Live) -> None:
    rig.provider("own", "custom", recorded("openai"))
    ask = {"max_tokens": 9, "messages": [{"role": "user", "content": "hi"}], "a\r\nset-cookie: b, c": 1, "\u20ac": 2}
    assert dropped(post(rig, "/v1/messages", ask | {f"field_{n}": n for n in range(500)}, "own/m")) >= {"?", "field_1"}
    answer = post(rig, "/v1/messages", ask, "own/m")
    assert dropped(answer) == {"a??set-cookie:?b??c", "?"}
    assert "set-cookie" not in answer.headers
