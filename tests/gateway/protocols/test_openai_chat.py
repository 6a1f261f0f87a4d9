"""OpenAI's chat completions: read and written so that the official SDK's own models accept every byte."""

import json
from typing import Any

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from lib.errors import InvalidInput
from lib.gateway.models.program_request import read_json
from lib.gateway.openai.chat_completions import DONE, ChatWriter, build_error_body, read
from lib.providers.chunks import Finish, ReasoningDelta, ServedModel, TextDelta, ToolCallDelta, Usage

USAGE = Usage(120, 30, cache_read_tokens=100, reasoning_tokens=10)
QUESTION = {"model": "support-bot", "messages": [{"role": "user", "content": "Hi"}]}


def chunks(raw: bytes) -> list[ChatCompletionChunk]:
    """The events of a stream as the SDK's models, strictly; the end mark is checked and left out."""
    assert raw.endswith(DONE)
    lines = [line for line in raw.removesuffix(DONE).decode().split("\n\n") if line]
    return [ChatCompletionChunk.model_validate_json(line.removeprefix("data: "), strict=True) for line in lines]


def test_a_request_becomes_a_question_and_keeps_unknown_fields() -> None:
    body = QUESTION | {"stream": True, "stream_options": {"include_usage": True}, "temperature": 0, "x_new": 1}
    asked = read(body | {"max_tokens": None})
    assert (asked.model, asked.stream, asked.include_usage) == ("support-bot", True, True)
    assert asked.parameters == {"temperature": 0, "x_new": 1}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"model": ""}, "model"),
        ({"model": 3}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": "Hi"}, "messages"),
        ({"messages": [{"content": "Hi"}]}, "messages"),
        ({"messages": [{"role": {}, "content": "Hi"}]}, "messages"),
        ({"stream": "yes"}, "stream"),
    ],
)
def test_what_cannot_be_used_is_named(change: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        read(QUESTION | change)
    assert raised.value.field == field


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_object_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidInput):
        read_json(raw)


def test_a_body_may_be_wide_but_not_endlessly_deep() -> None:
    wide = {"messages": [{"content": [{"type": "text", "text": "[{"}]}] * 300}
    assert read_json(json.dumps(wide).encode()) == wide
    for deepest, opens, closes in ((199, b"[", b"]"), (99, b'[{"x":', b"}]")):
        assert read_json(b'{"x":' + opens * deepest + b"1" + closes * deepest + b"}")
        with pytest.raises(InvalidInput, match="nested too deep"):
            read_json(b'{"x":' + opens * 3 * deepest + b"1" + closes * 3 * deepest + b"}")


def test_a_stream_of_text_reasoning_and_tools() -> None:
    writer = ChatWriter("log-1", "support-bot", include_usage=True)
    raw = b"".join(
        writer.chunk(chunk)
        for chunk in (
            ServedModel("gpt-5.1"),
            ReasoningDelta("Let me see"),
            TextDelta(""),
            TextDelta("Grüß "),
            TextDelta("dich 🦊"),
            ToolCallDelta(0, "call_1", "weather", ""),
            ToolCallDelta(0, arguments='{"city":'),
            ToolCallDelta(0, arguments='"Rome"}'),
            Finish("tool_use"),
        )
    )
    found = chunks(raw + writer.end(USAGE))
    assert {chunk.model for chunk in found} == {"gpt-5.1"}
    assert {chunk.id for chunk in found} == {"chatcmpl-log-1"}
    deltas = [chunk.choices[0].delta for chunk in found if chunk.choices]
    assert deltas[0].role == "assistant"
    assert "".join(delta.content or "" for delta in deltas) == "Grüß dich 🦊"
    calls = [call for delta in deltas for call in delta.tool_calls or []]
    assert [(c.function.name, c.id) for c in calls if c.function and c.id] == [("weather", "call_1")]
    assert "".join(c.function.arguments or "" for c in calls if c.function) == '{"city":"Rome"}'
    assert [c.choices[0].finish_reason for c in found if c.choices and c.choices[0].finish_reason] == ["tool_calls"]
    assert found[-1].choices == []
    assert found[-1].usage is not None
    assert found[-1].usage.prompt_tokens_details is not None
    assert (found[-1].usage.total_tokens, found[-1].usage.prompt_tokens_details.cached_tokens) == (150, 100)


def test_counts_come_only_when_they_were_asked_for() -> None:
    writer = ChatWriter("log-1", "support-bot")
    found = chunks(writer.chunk(TextDelta("Hi")) + writer.chunk(Finish("stop")) + writer.end(USAGE))
    assert all(chunk.usage is None for chunk in found)


def test_a_whole_answer() -> None:
    tools = [{"id": "call_1", "name": "weather", "arguments": "{}"}]
    body = ChatWriter("log-1", "gpt-5.1").whole("", "thinking", tools, "tool_calls", USAGE)
    answer = ChatCompletion.model_validate_json(json.dumps(body), strict=True)
    assert answer.choices[0].finish_reason == "tool_calls"
    assert answer.choices[0].message.content is None
    assert answer.choices[0].message.tool_calls is not None
    assert answer.usage is not None
    plain = ChatWriter("log-2", "gpt-5.1").whole("Hi", "", [], None, None)
    answer = ChatCompletion.model_validate_json(json.dumps(plain), strict=True)
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason, answer.usage) == ("Hi", "stop", None)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (413, "invalid_request_error"),
        (429, "rate_limit_error"),
        (502, "server_error"),
    ],
)
def test_errors_have_the_protocols_shape(status: int, kind: str) -> None:
    error = build_error_body(status, "budget", "The budget is spent.", "model")["error"]
    assert error == {"message": "The budget is spent.", "type": kind, "param": "model", "code": "budget"}
    assert ChatWriter("log-1", "m").error(status, "budget", "Spent.").endswith(DONE)
