"""OpenAI's responses: read into the shape inside, written so that the official SDK's own models accept every byte."""

import json
from typing import Any

import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from lib.errors import InvalidInput
from lib.gateway.openai.responses_answer import ResponsesWriter
from lib.gateway.openai.responses_request import read
from lib.providers.chunks import Chunk, Finish, ReasoningDelta, TextDelta, ToolCallDelta, Usage

USAGE = Usage(120, 30, cache_read_tokens=100, reasoning_tokens=10)
EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


def events(*chunks: Chunk, usage: Usage | None = USAGE) -> list[Any]:
    """A stream's events as the SDK's models."""
    writer = ResponsesWriter("log-1", "support-bot")
    raw = writer.begin() + b"".join(writer.chunk(chunk) for chunk in chunks) + writer.end(usage)
    found = []
    for block in filter(None, raw.decode().split("\n\n")):
        name, data = block.split("\n")
        event = EVENT.validate_json(data.removeprefix("data: "))
        assert name == f"event: {event.type}"
        found.append(event)
    assert [event.sequence_number for event in found] == list(range(len(found)))
    return found


def test_a_conversation_with_tools_and_pictures_is_read() -> None:
    asked = read(
        {
            "model": "support-bot",
            "instructions": "Be brief.",
            "input": [
                {"role": "user", "content": [{"type": "input_text", "text": "What is this?"},
                                             {"type": "input_image", "image_url": "data:image/png;base64,AA"}]},
                {"type": "reasoning", "summary": []},
                {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"},
                {"type": "function_call", "call_id": "c2", "name": "hear", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "c1", "output": "a fox"},
            ],
            "max_output_tokens": 50,
            "reasoning": {"effort": "low"},
            "text": {"format": {"type": "json_schema", "name": "animal", "schema": {"type": "object"}}},
            "tools": [{"type": "function", "name": "look", "parameters": {"type": "object"}}],
            "tool_choice": {"type": "function", "name": "look"},
        }
    )  # fmt: skip
    assert [message["role"] for message in asked.messages] == ["system", "user", "assistant", "tool"]
    assert asked.messages[1]["content"][1] == {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
    assert [call["id"] for call in asked.messages[2]["tool_calls"]] == ["c1", "c2"]
    assert asked.parameters["max_completion_tokens"] == 50
    assert asked.parameters["reasoning_effort"] == "low"
    assert asked.parameters["response_format"]["json_schema"]["name"] == "animal"
    assert asked.parameters["tools"][0]["function"]["name"] == "look"
    assert asked.parameters["tool_choice"] == {"type": "function", "function": {"name": "look"}}
    assert read({"model": "m", "input": "Hi"}).messages == [{"role": "user", "content": "Hi"}]


@pytest.mark.parametrize(
    "change",
    [
        {"input": ""},
        {"input": [3]},
        {"conversation": "conv_1"},
        {"background": True},
        {"tools": "x"},
        {"tools": [1]},
        {"reasoning": "low"},
        {"text": "json"},
        {"model": None},
    ],
)
def test_what_cannot_be_done_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        read({"model": "m", "input": "Hi"} | change)


def test_files_and_what_tools_show_are_read() -> None:
    shown = {"type": "input_image", "image_url": "data:image/png;base64,AA"}
    asked = read(
        {
            "model": "m",
            "input": [
                {"role": "user", "content": [
                    {"type": "input_file", "filename": "plan.pdf", "file_data": "data:application/pdf;base64,AA"}]},
                {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "c1",
                 "output": [{"type": "input_text", "text": "See."}, shown]},
            ],
            "text": {"verbosity": "low"},
            "never_heard_of": 1,
        }
    )  # fmt: skip
    file = {"filename": "plan.pdf", "file_data": "data:application/pdf;base64,AA"}
    assert asked.messages[0]["content"] == [{"type": "file", "file": file}]
    assert asked.messages[2:] == [
        {"role": "tool", "tool_call_id": "c1", "content": "See."},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}]},
    ]
    assert (asked.parameters["verbosity"], asked.parameters["never_heard_of"]) == ("low", 1)
    assert asked.native == ""


@pytest.mark.parametrize(
    ("change", "native"),
    [
        ({"tools": [{"type": "custom", "name": "patch"}]}, "Tools of the type custom"),
        ({"input": [{"type": "custom_tool_call_output", "call_id": "c"}]}, "Items of the type custom_tool_call_output"),
        ({"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]},
         "Parts of the type input_file that are kept elsewhere"),
    ],
)  # fmt: skip
def test_what_only_this_protocol_can_say_is_named(change: dict[str, Any], native: str) -> None:
    assert read({"model": "m", "input": "Hi"} | change).native == native


def test_a_stream_of_reasoning_text_and_two_tools() -> None:
    found = events(
        ReasoningDelta("Hmm"),
        TextDelta("Hello "),
        TextDelta("there"),
        ToolCallDelta(0, "c1", "look", '{"at":'),
        ToolCallDelta(0, arguments='"fox"}'),
        ToolCallDelta(1, "c2", "hear", "{}"),
        Finish("tool_calls"),
    )
    response = found[-1].response
    assert found[-1].type == "response.completed"
    assert [item.type for item in response.output] == ["reasoning", "message", "function_call", "function_call"]
    assert response.output_text == "Hello there"
    assert [(i.call_id, i.arguments) for i in response.output[2:]] == [("c1", '{"at":"fox"}'), ("c2", "{}")]
    assert response.usage.input_tokens_details.cached_tokens == 100
    added = [event.output_index for event in found if event.type == "response.output_item.added"]
    done = [event.output_index for event in found if event.type == "response.output_item.done"]
    assert added == done == [0, 1, 2, 3]


def test_an_answer_that_was_cut_short_says_so() -> None:
    last = events(TextDelta("Hel"), Finish("length"))[-1]
    assert (last.type, last.response.status) == ("response.incomplete", "incomplete")
    assert last.response.incomplete_details.reason == "max_output_tokens"


def test_a_whole_answer_and_a_failed_one() -> None:
    tools = [{"id": "c1", "name": "look", "arguments": "{}"}]
    body = ResponsesWriter("log-1", "m").whole("Hi", "Hmm", tools, "stop", USAGE)
    answer = Response.model_validate_json(json.dumps(body))
    assert (answer.output_text, answer.status, len(answer.output)) == ("Hi", "completed", 3)
    writer = ResponsesWriter("log-1", "m")
    raw = (writer.begin() + writer.chunk(TextDelta("Hi")) + writer.error(502, "stream_cut", "It broke.")).decode()
    last = EVENT.validate_json(raw.strip().rsplit("data: ", 1)[1])
    assert (last.type, last.response.error.message) == ("response.failed", "It broke.")
