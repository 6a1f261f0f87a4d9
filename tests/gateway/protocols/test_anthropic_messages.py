"""Anthropic's messages: read into the shape inside; events in the order and form that its documentation gives."""

import json
from typing import Any

import pytest

from lib.errors import InvalidInput
from lib.gateway.anthropic.messages_answer import MessagesWriter, build_error_body
from lib.gateway.anthropic.messages_request import read
from lib.providers.chunks import Chunk, Finish, ReasoningDelta, TextDelta, ToolCallDelta, Usage

USAGE = Usage(120, 30, cache_read_tokens=90, cache_write_tokens=10)


def events(*chunks: Chunk) -> list[dict[str, Any]]:
    """A stream's events; each is named as its type."""
    writer = MessagesWriter("log-1", "support-bot", prompt_tokens=118)
    raw = writer.begin() + b"".join(writer.chunk(chunk) for chunk in chunks) + writer.end(USAGE)
    found = []
    for block in filter(None, raw.decode().split("\n\n")):
        name, data = block.split("\n")
        found.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {found[-1]['type']}"
    return found


def test_a_conversation_with_tools_and_pictures_is_read() -> None:
    asked = read(
        {
            "model": "support-bot",
            "max_tokens": 100,
            "system": [{"type": "text", "text": "Be brief."}],
            "stop_sequences": ["END"],
            "messages": [
                {"role": "user", "content": [
                    {"type": "text", "text": "What is this?"},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA"}}]},
                {"role": "assistant", "content": [
                    {"type": "thinking", "thinking": "Hmm", "signature": "x"},
                    {"type": "text", "text": "Let me look."},
                    {"type": "tool_use", "id": "t1", "name": "look", "input": {"at": "fox"}}]},
                {"role": "user", "content": [
                    {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "a fox"}]},
                    {"type": "text", "text": "So?"}]},
            ],
            "tools": [{"name": "look", "description": "Looks", "input_schema": {"type": "object"}}],
            "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
        }
    )  # fmt: skip
    assert [message["role"] for message in asked.messages] == ["system", "user", "assistant", "tool", "user"]
    assert asked.messages[1]["content"][1]["image_url"]["url"] == "data:image/png;base64,AA"
    assert asked.messages[2]["content"] == "Let me look."
    assert json.loads(asked.messages[2]["tool_calls"][0]["function"]["arguments"]) == {"at": "fox"}
    assert asked.messages[3] == {"role": "tool", "tool_call_id": "t1", "content": "a fox"}
    assert asked.parameters["stop"] == ["END"]
    assert asked.parameters["tools"][0]["function"]["parameters"] == {"type": "object"}
    assert (asked.parameters["tool_choice"], asked.parameters["parallel_tool_calls"]) == ("required", False)


@pytest.mark.parametrize(
    "change",
    [
        {"messages": []},
        {"messages": [{"role": "tool", "content": "x"}]},
        {"thread": {"type": "create"}},
        {"model": ""},
        {"stream": 1},
        {"tools": "x"},
        {"tools": [1]},
        {"output_config": "low"},
    ],
)
def test_what_cannot_be_used_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        read({"model": "m", "messages": [{"role": "user", "content": "Hi"}]} | change)


def test_documents_and_what_tools_show_are_read() -> None:
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA"}}
    pdf = {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}
    asked = read(
        {
            "model": "m",
            "messages": [
                {"role": "user", "content": [
                    {"type": "document", "title": "Plan.pdf", "source": pdf},
                    {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "Rivers."}},
                    {"type": "document", "source": {"type": "content", "content": [picture]}}]},
                {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "look", "input": {}}]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": [
                    {"type": "text", "text": "See."}, picture]}]},
            ],
        }
    )  # fmt: skip
    file = {"filename": "Plan.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
    text = {"type": "text", "text": "Rivers."}
    assert asked.messages[0]["content"] == [{"type": "file", "file": file}, text, image]
    assert asked.messages[2:] == [
        {"role": "tool", "tool_call_id": "t1", "content": "See."},
        {"role": "user", "content": [image]},
    ]
    assert asked.native == ""


def test_the_form_of_an_answer_is_read_and_unknown_fields_are_kept() -> None:
    form = {"type": "json_schema", "schema": {"type": "object"}}
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "never_heard_of": 1}
    for more in ({"output_config": {"format": form, "effort": "low"}}, {"output_format": form}):
        asked = read(body | more)
        assert asked.parameters["response_format"]["json_schema"]["schema"] == {"type": "object"}
        assert asked.parameters.get("reasoning_effort") == ("low" if "output_config" in more else None)
        assert asked.parameters["never_heard_of"] == 1


@pytest.mark.parametrize(
    ("change", "native"),
    [
        ({"tools": [{"type": "memory_20250818", "name": "memory"}]}, "Tools of Anthropic's own"),
        ({"messages": [{"role": "user", "content": [{"type": "document", "source": {"type": "file"}}]}]},
         "Blocks of the type document from a file"),
        ({"messages": [{"role": "assistant", "content": [{"type": "server_tool_use", "id": "s"}]}]},
         "Blocks of the type server_tool_use"),
    ],
)  # fmt: skip
def test_what_only_this_protocol_can_say_is_named(change: dict[str, Any], native: str) -> None:
    assert read({"model": "m", "messages": [{"role": "user", "content": "Hi"}]} | change).native == native


def test_a_stream_of_thinking_text_and_two_tools() -> None:
    found = events(
        ReasoningDelta("Hmm"),
        TextDelta("Hello "),
        TextDelta("there"),
        ToolCallDelta(0, "t1", "look", '{"at":'),
        ToolCallDelta(0, arguments='"fox"}'),
        ToolCallDelta(1, "t2", "hear"),
        Finish("tool_calls"),
    )
    assert found[0]["message"]["usage"] == {"input_tokens": 118, "output_tokens": 0}
    starts = [e for e in found if e["type"] == "content_block_start"]
    assert [(e["index"], e["content_block"]["type"]) for e in starts] == [
        (0, "thinking"),
        (1, "text"),
        (2, "tool_use"),
        (3, "tool_use"),
    ]
    assert [e["index"] for e in found if e["type"] == "content_block_stop"] == [0, 1, 2, 3]
    texts = [e["delta"]["text"] for e in found if e["type"] == "content_block_delta" and "text" in e["delta"]]
    assert texts == ["Hello ", "there"]
    pieces = [e["delta"].get("partial_json", "") for e in found if e["type"] == "content_block_delta"]
    assert "".join(pieces) == '{"at":"fox"}'
    assert found[-2]["delta"]["stop_reason"] == "tool_use"
    assert found[-2]["usage"] == {
        "input_tokens": 20,
        "cache_read_input_tokens": 90,
        "cache_creation_input_tokens": 10,
        "output_tokens": 30,
    }
    assert found[-1]["type"] == "message_stop"


def test_the_stop_sequence_that_ended_an_answer_is_told() -> None:
    ending = {"stop_reason": "stop_sequence", "stop_sequence": "END"}
    writer = MessagesWriter("log-1", "m")
    writer.chunk(Finish("stop", "END"))
    assert f'"delta":{json.dumps(ending, separators=(",", ":"))}' in writer.end(USAGE).decode()
    whole = MessagesWriter("log-1", "m", stop_sequence="END")
    assert ending.items() <= whole.whole("Hi", "", [], "stop", USAGE).items()
    assert whole.whole("Hi", "", [], "length", USAGE)["stop_sequence"] is None


def test_a_whole_answer_and_an_error() -> None:
    tools = [{"id": "t1", "name": "look", "arguments": '{"at": "fox"}'}, {"id": "t2", "name": "bad", "arguments": "{"}]
    body = MessagesWriter("log-1", "m").whole("Hi", "Hmm", tools, "length", USAGE)
    assert [block["type"] for block in body["content"]] == ["thinking", "text", "tool_use", "tool_use"]
    assert (body["content"][2]["input"], body["content"][3]["input"]) == ({"at": "fox"}, {})
    assert body["stop_reason"] == "max_tokens"
    assert build_error_body(429, "budget", "Spent.") == {
        "type": "error",
        "error": {"type": "rate_limit_error", "message": "Spent."},
    }
