"""How answers end, in the words of all providers and without any, and how long a refusal asks to wait."""

import json
from collections.abc import Mapping
from typing import Any, get_args

import anthropic.types
import openai.types.chat.chat_completion as openai_types
import pytest

from lib.errors import ErrorKind
from lib.gateway.anthropic import messages_answer
from lib.gateway.openai import chat_completions, responses_answer
from lib.providers.adapters.failures import explain_answer
from lib.providers.adapters.relay import _ErrorAnswer, _Events
from lib.providers.chunks import Chunk, Endpoint, Finish, OtherAnswer, TextDelta
from lib.providers.protocols import find_reader
from lib.providers.protocols.finish import standardise_reason, translate_reason
from lib.providers.protocols.framing import DocumentFramer
from lib.providers.protocols.refusal import StatedFailure

_PATHS = {
    "chat": "/chat/completions",
    "messages": "/v1/messages",
    "responses": "/responses",
    "gemini": "/m:generateContent",
    "ollama": "/api/chat",
    "cohere": "/v2/chat",
}
_WORDS = (
    *("stop", "STOP", "end_turn", "eos", "length", "MAX_TOKENS", "model_length", "tool_use", "function_call", "SAFETY"),
    *("refusal", "content_filter", "IMAGE_SAFETY", "malformed_function_call", "OTHER", "load", "unload", "pause_turn"),
    *("insufficient_system_resource", "compaction", "", "a word of tomorrow"),
)


def streamed(protocol: str, data: bytes) -> list[Chunk]:
    """What the bytes of a stream say."""
    reader, documents = find_reader(_PATHS[protocol]), DocumentFramer()
    assert reader is not None
    chunks = [chunk for one in (*documents.feed(data), *documents.end()) for chunk in reader.read(one)]
    return [*chunks, *reader.end(is_done=documents.is_done)]


def at_once(protocol: str, document: Mapping[str, Any]) -> list[Chunk]:
    reader = find_reader(_PATHS[protocol])
    assert reader is not None
    return [*reader.read_whole(json.dumps(document).encode()), *reader.end()]


def events(*documents: Any) -> bytes:
    return b"".join(
        b"data: " + (one if isinstance(one, bytes) else json.dumps(one).encode()) + b"\n\n" for one in documents
    )


def finish_of(chunks: list[Chunk]) -> str | None:
    return next((chunk.reason for chunk in chunks if isinstance(chunk, Finish)), None)


@pytest.mark.feature("GATE-1")
@pytest.mark.parametrize("word", _WORDS)
def test_no_client_sees_a_reason_that_its_list_does_not_hold(word: str) -> None:
    chat = chat_completions.ChatWriter("id", "m").whole("Hi", "", [], word or None, None)
    assert chat["choices"][0]["finish_reason"] in get_args(openai_types.Choice.model_fields["finish_reason"].annotation)
    message = messages_answer.MessagesWriter("id", "m").whole("Hi", "", [], word or None, None)
    assert message["stop_reason"] in get_args(anthropic.types.StopReason)
    response = responses_answer.ResponsesWriter("id", "m").whole("Hi", "", [], word or None, None)
    assert response["status"] in ("completed", "incomplete")
    for writer in (chat_completions.ChatWriter("id", "m"), messages_answer.MessagesWriter("id", "m")):
        writer.chunk(Finish(word))
        said = writer.end(None).decode()
        assert chat["choices"][0]["finish_reason"] in said or message["stop_reason"] in said


@pytest.mark.feature("CALL-5")
def test_words_without_a_counterpart_stay_the_providers_own() -> None:
    assert (translate_reason("MALFORMED_FUNCTION_CALL"), translate_reason("MAX_TOKENS")) == (
        "malformed_function_call",
        "length",
    )
    assert (standardise_reason("pause_turn"), standardise_reason(None)) == ("stop", "stop")
    body = chat_completions.ChatWriter("id", "m").whole("", "", [], "malformed_function_call", None)
    assert body["choices"][0] | {"message": None} == {
        **{"index": 0, "message": None, "logprobs": None, "finish_reason": "stop"},
        **{"native_finish_reason": "malformed_function_call"},
    }
    assert (
        messages_answer.MessagesWriter("id", "m").whole("", "", [], "pause_turn", None)["stop_reason"] == "pause_turn"
    )


@pytest.mark.feature("CALL-4")
@pytest.mark.parametrize(
    ("protocol", "document"),
    [
        ("chat", {"choices": [{"message": {"content": "Hi"}, "finish_reason": None}]}),
        ("chat", {"choices": [{"message": {"content": "Hi"}}]}),
        ("messages", {"type": "message", "content": [{"type": "text", "text": "Hi"}], "stop_reason": None}),
        ("responses", {"output": [{"type": "message", "content": [{"text": "Hi"}]}]}),
        ("gemini", {"candidates": [{"content": {"parts": [{"text": "Hi"}]}}]}),
        ("ollama", {"message": {"content": "Hi"}}),
        ("cohere", {"message": {"content": [{"text": "Hi"}]}}),
    ],
)
def test_a_whole_answer_is_whole_without_a_reason(protocol: str, document: dict[str, Any]) -> None:
    came = at_once(protocol, document)
    assert TextDelta("Hi") in came
    assert finish_of(came) == "stop"
    assert finish_of(at_once("chat", {"choices": [{"message": {"content": ""}}]})) is None, "nothing was said"
    assert finish_of(at_once("ollama", {"message": {"content": "Hi"}, "done": False})) is None
    running = {"status": "in_progress", "output": [{"type": "message", "content": [{"text": "Hi"}]}]}
    assert finish_of(at_once("responses", running)) is None


@pytest.mark.parametrize(
    ("protocol", "document"),
    [
        ("chat", {"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop", "stop_reason": "END"}]}),
        (
            "messages",
            {
                "type": "message",
                "content": [{"type": "text", "text": "Hi"}],
                "stop_reason": "stop_sequence",
                "stop_sequence": "END",
            },
        ),
    ],
)
def test_the_stop_sequence_that_ended_an_answer_is_read(protocol: str, document: dict[str, Any]) -> None:
    assert Finish("stop", "END") in at_once(protocol, document)


HI = {"choices": [{"index": 0, "delta": {"content": "Hi"}}]}
COUNTS = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 1}}


@pytest.mark.feature("CALL-4")
@pytest.mark.parametrize(
    ("protocol", "data", "finish"),
    [
        ("chat", events(HI, COUNTS, b"[DONE]"), "stop"),
        ("chat", events(HI, COUNTS), None),
        ("chat", events(HI, b"[DONE]"), None),
        ("chat", events(HI | {"usage": COUNTS["usage"]}, b"[DONE]"), None),
        ("messages", events({"type": "message_start", "message": {}}, {"type": "message_stop"}), "stop"),
        ("messages", events({"type": "message_start", "message": {}}), None),
        ("responses", events({"type": "response.completed", "response": {"output": []}}), "stop"),
        ("cohere", events({"type": "message-end", "delta": {}}), "stop"),
    ],
)
def test_a_stream_is_whole_when_its_server_says_so(protocol: str, data: bytes, finish: str | None) -> None:
    assert finish_of(streamed(protocol, data)) == finish


@pytest.mark.feature("CALL-4")
@pytest.mark.parametrize("word", ["error", "ERROR", "abort", "timeout"])
def test_a_reason_that_is_a_failure_is_one(word: str) -> None:
    with pytest.raises(StatedFailure, match="ended with"):
        at_once("chat", {"choices": [{"message": {"content": "Hi"}, "finish_reason": word}]})


@pytest.mark.feature("CALL-5")
@pytest.mark.parametrize("protocol", ["chat", "gemini"])
def test_of_several_answers_all_are_read_and_none_may_be_cut(protocol: str) -> None:
    def said(index: int, text: str, reason: str | None) -> dict[str, Any]:
        if protocol == "gemini":
            return {"candidates": [{"index": index, "content": {"parts": [{"text": text}]}, "finishReason": reason}]}
        return {"choices": [{"index": index, "delta": {"content": text}, "finish_reason": reason}]}

    beginnings = [said(0, "Hi", None), said(1, "Ho", None), said(0, "", "stop")]
    cut = streamed(protocol, events(*beginnings))
    assert [chunk for chunk in cut if isinstance(chunk, TextDelta | OtherAnswer)] == [
        TextDelta("Hi"),
        OtherAnswer(1, "Ho"),
    ]
    assert finish_of(cut) is None
    assert finish_of(streamed(protocol, events(*beginnings, said(1, "!", "stop")))) == "stop"


@pytest.mark.feature("CALL-5")
@pytest.mark.parametrize("size", [1, 2, 4, 1000])
def test_a_byte_order_mark_is_passed_over(size: int) -> None:
    data = b"\xef\xbb\xbf" + events(HI, {"choices": [{"delta": {}, "finish_reason": "stop"}]})
    reader, documents = find_reader(_PATHS["chat"]), DocumentFramer()
    assert reader is not None
    parts = [data[start : start + size] for start in range(0, len(data), size)]
    came = [chunk for part in parts for one in documents.feed(part) for chunk in reader.read(one)]
    assert [*came, *reader.end()] == [TextDelta("Hi"), Finish("stop")]
    whole = b'\xef\xbb\xbf{"choices": [{"message": {"content": "Hi"}}]}'
    assert type(reader)().read_whole(whole) == [TextDelta("Hi")]


@pytest.mark.feature("GATE-1")
def test_an_event_is_taken_out_for_what_it_says_and_not_for_its_bytes() -> None:
    filters = b'data: {"choices":[],"prompt_filter_results":[{"prompt_index":0}],"usage":null}\n\n'
    words = b'data: {"choices":[{"delta":{"content":"\\"usage\\":{ \\"choices\\":[]"}}],"usage":null}\n\n'
    for counts in (b'{"choices" : [ ],"usage":{"prompt_tokens":1}}', b'{"usage" : {"prompt_tokens":1}}'):
        sent = filters + words + b"data: " + counts + b"\n\ndata: [DONE]\n\n"
        assert _Events().complete(sent) == filters + words + b"data: [DONE]\n\n"
    first = streamed("chat", filters + events(HI, {"choices": [{"delta": {}, "finish_reason": "stop"}]}))
    assert first == [TextDelta("Hi"), Finish("stop")]


@pytest.mark.feature("CALL-4")
@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7),
        ({"retry-after-ms": "1500", "retry-after": "2"}, 1.5),
        ({"retry-after": "Sun, 06 Nov 1994 08:50:37 GMT", "date": "Sun, 06 Nov 1994 08:49:37 GMT"}, 60),
        ({"retry-after": "Sun, 06 Nov 1994 08:50:37 GMT"}, 0),
        ({"retry-after": "soon"}, None),
        ({}, None),
    ],
)
def test_a_refusals_wish_is_a_number_or_a_moment(headers: dict[str, str], seconds: float | None) -> None:
    error = explain_answer(Endpoint("id", "one", "custom"), "m", _ErrorAnswer(429, headers, b"{}"))
    assert error.retry_after == seconds


@pytest.mark.feature("CALL-4")
@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("API key not valid. Please pass a valid API key.", ErrorKind.AUTHENTICATION),
        ("API key expired. Please renew the API key.", ErrorKind.AUTHENTICATION),
        ("Incorrect API key provided: sk-…", ErrorKind.AUTHENTICATION),
        ("The API_KEY is missing.", ErrorKind.AUTHENTICATION),
        ("The schema is not valid.", ErrorKind.BAD_REQUEST),
    ],
)
def test_a_refused_key_is_one_whatever_its_status(message: str, kind: ErrorKind) -> None:
    body = json.dumps({"error": {"code": 400, "message": message, "status": "INVALID_ARGUMENT"}}).encode()
    assert explain_answer(Endpoint("id", "one", "gemini"), "m", _ErrorAnswer(400, {}, body)).kind is kind
