"""Six protocols, however the network cuts them: the same chunks, the same counts, streamed or at once."""

import itertools
import json
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lib.providers.adapters.relay import _Events
from lib.providers.chunks import (
    Chunk,
    Finish,
    Piece,
    ReasoningDelta,
    ServedModel,
    TextDelta,
    ToolCallDelta,
    Usage,
    UsageReport,
)
from lib.providers.protocols import find_reader, usage
from lib.providers.protocols.framing import MAX_BYTES, DocumentFramer, Unreadable, parse
from lib.providers.protocols.reader import Reader
from lib.providers.protocols.refusal import StatedFailure, read_refusal
from tests.providers.payloads import ARGUMENTS, PAYLOADS, TEXT, THOUGHT, Payload


def reader_of(payload: Payload) -> Reader:
    reader = find_reader(payload.path)
    assert reader is not None
    return reader


def read(payload: Payload, pieces: Iterable[bytes]) -> list[Chunk]:
    """Everything a stream's bytes say."""
    reader, documents = reader_of(payload), DocumentFramer()
    came = [chunk for piece in pieces for one in documents.feed(piece) for chunk in reader.event(one)]
    came += [chunk for one in documents.end() for chunk in reader.event(one)]
    return came + list(reader.end())


def check(payload: Payload, chunks: Sequence[Piece]) -> None:
    """The whole answer is there, and the counts are the last word on them."""
    assert "".join(c.text for c in chunks if isinstance(c, TextDelta)) == TEXT
    assert "".join(c.text for c in chunks if isinstance(c, ReasoningDelta)) == THOUGHT
    tools = [c for c in chunks if isinstance(c, ToolCallDelta)]
    assert json.loads("".join(c.arguments for c in tools)) == ARGUMENTS
    assert "".join(c.name for c in tools) == "weather"
    identity = "".join(c.id for c in tools)
    assert identity == payload.tool_id if payload.tool_id else identity.startswith("call_")
    assert [c for c in chunks if isinstance(c, UsageReport)][-1] == UsageReport(payload.usage, False, payload.cost)
    assert chunks[-1] == Finish("tool_calls")
    served = [ServedModel(payload.served)] if payload.served else []
    assert [c for c in chunks if isinstance(c, ServedModel)] == served


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted({place % len(data) for place in places}), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


@pytest.mark.feature("CALL-5")
@pytest.mark.parametrize("name", PAYLOADS)
@given(places=st.lists(st.integers(0, 100_000), max_size=60), crlf=st.booleans())
def test_any_cutting_of_a_stream_reads_the_same(name: str, places: list[int], crlf: bool) -> None:
    payload = PAYLOADS[name]
    data = payload.streamed.replace(b"\n", b"\r\n") if crlf else payload.streamed
    expected = read(payload, [payload.streamed])
    check(payload, expected)
    assert read(payload, cut(data, places)) == expected


@pytest.mark.feature("CALL-5")
@pytest.mark.parametrize("name", PAYLOADS)
def test_byte_by_byte_and_between_comments(name: str) -> None:
    payload = PAYLOADS[name]
    expected = read(payload, [payload.streamed])
    assert read(payload, (bytes([byte]) for byte in payload.streamed)) == expected
    ends = b"\n" if name == "ollama" else b"\n\n"
    assert read(payload, [payload.streamed.replace(ends, ends + b": keep-alive\n\n")]) == expected


@pytest.mark.feature("CALL-5")
@pytest.mark.parametrize("name", PAYLOADS)
def test_at_once_says_what_the_stream_says(name: str) -> None:
    payload = PAYLOADS[name]
    reader = reader_of(payload)
    whole = [*reader.whole(parse(payload.whole)), *reader.end()]
    check(payload, whole)
    pretty = json.dumps(json.loads(payload.whole), indent=2).encode()
    assert read(payload, [pretty[:50], pretty[50:]]) == whole  # a server that was asked for a stream and sends none


def said_at_once(data: bytes, *, shortly: bool) -> object:
    """What an answer of OpenAI's says, read the short way or the general one; why not, where it can't be read."""
    reader = find_reader("/chat/completions")
    assert reader is not None
    try:
        chunks = reader.read_whole(data) if shortly else Reader.read_whole(reader, data)
    except (Unreadable, StatedFailure) as error:
        return type(error)
    return chunks, list(reader.end()), reader.has_begun


@pytest.mark.feature("CALL-5")
@given(
    st.fixed_dictionaries(
        {"content": st.none() | st.text(max_size=9) | st.just([{"text": "a"}])},
        optional={
            "role": st.just("assistant"),
            "refusal": st.none() | st.just("no"),
            "tool_calls": st.none() | st.just([{"id": "a", "function": {"name": "f", "arguments": "{}"}}]),
            "reasoning": st.none() | st.just("so"),
            "annotations": st.just([]),
            "audio": st.none(),
        },
    ),
    st.fixed_dictionaries(
        {"finish_reason": st.sampled_from([None, "", "stop", "length", "eos", 7])},
        optional={"index": st.integers(0, 1), "logprobs": st.just({"content": []}), "error": st.just({"code": 500})},
    ),
    st.fixed_dictionaries(
        {},
        optional={
            "model": st.sampled_from(["m", "", None, 3]),
            "usage": st.none()
            | st.fixed_dictionaries(
                {"prompt_tokens": st.integers(-2, 9)},
                optional={"completion_tokens": st.integers(0, 9), "cost": st.sampled_from([0.25, "1", None, -1e300])},
            ),
            "error": st.none() | st.just({"message": "no"}),
            "x_groq": st.just({"usage": {"prompt_tokens": 1, "completion_tokens": 2}}),
        },
    ),
    st.integers(0, 2),
)
def test_the_short_way_through_a_whole_answer_reads_what_the_general_one_does(
    message: dict[str, object], choice: dict[str, object], body: dict[str, object], choices: int
) -> None:
    data = json.dumps({**body, "choices": [{**choice, "message": message}] * choices}).encode()
    assert said_at_once(data, shortly=True) == said_at_once(data, shortly=False)
    assert said_at_once(data[:-1], shortly=True) == said_at_once(data[:-1], shortly=False)


@cache
def whole_from(name: str) -> int:
    """How many bytes of a stream say that it has ended."""
    data = PAYLOADS[name].streamed
    lines = [place for place in range(len(data)) if data[place] == ord("\n")]
    return next(n for n in lines if any(isinstance(c, Finish) for c in read(PAYLOADS[name], [data[:n]])))


@pytest.mark.feature("CALL-4")
@pytest.mark.parametrize("name", PAYLOADS)
@given(place=st.integers(1, 1_000_000), cuts=st.lists(st.integers(0, 100_000), max_size=9))
@example(place=21, cuts=[])  # in the second line of an event
def test_a_stream_that_is_cut_anywhere_keeps_what_came_and_never_pretends_to_be_whole(
    name: str, place: int, cuts: list[int]
) -> None:
    payload = PAYLOADS[name]
    data = payload.streamed[: 1 + place % len(payload.streamed)]
    try:
        chunks = read(payload, cut(data, cuts))
    except Unreadable:
        assert b"\n" not in data, "a beginning that may be anything"
        return
    assert chunks == read(payload, [data])
    assert TEXT.startswith("".join(c.text for c in chunks if isinstance(c, TextDelta)))
    assert THOUGHT.startswith("".join(c.text for c in chunks if isinstance(c, ReasoningDelta)))
    arguments = "".join(c.arguments for c in chunks if isinstance(c, ToolCallDelta))
    assert any(json.dumps(ARGUMENTS, ensure_ascii=is_ascii).startswith(arguments) for is_ascii in (True, False))
    assert any(isinstance(c, Finish) for c in chunks) is (len(data) >= whole_from(name))
    if len(data) < whole_from(name):
        assert all(c.is_partial for c in chunks if isinstance(c, UsageReport))


@pytest.mark.feature("CALL-5")
def test_the_prompts_count_comes_at_once_where_it_is_told_early() -> None:
    payload = PAYLOADS["anthropic"]
    first = read(payload, [payload.streamed[: payload.streamed.index(b"ping")]])
    assert UsageReport(Usage(240, 1, 200, 30, 0, 20), is_partial=True) in first


@pytest.mark.feature("CALL-4")
def test_a_line_of_ten_megabytes_is_read_and_an_endless_one_is_not() -> None:
    long = "é" * 5_000_000
    data = json.dumps({"choices": [{"delta": {"content": long}}]}, ensure_ascii=False).encode()
    pieces = [b"data: ", *(data[i : i + 65_537] for i in range(0, len(data), 65_537)), b"\n\n"]
    assert TextDelta(long) in read(PAYLOADS["openai"], pieces)
    endless = (b"x" * 1_000_000 for _ in range(MAX_BYTES // 1_000_000 + 2))
    with pytest.raises(Unreadable):
        read(PAYLOADS["openai"], endless)
    assert next(endless), "it is not read to its end"


@pytest.mark.feature("COST-1")
@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"prompt_tokens": 0, "completion_tokens": 0}, Usage(0, 0)),
        ({"prompt_tokens": None, "completion_tokens": None}, None),
        ({"prompt_tokens": 36, "completion_tokens": 5, "prompt_cache_hit_tokens": 32}, Usage(36, 5, 32)),
        (
            {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 22, "reasoning_tokens": 7},
            Usage(10, 12, reasoning_tokens=7),
        ),
        ({"prompt_tokens": 8, "total_tokens": 8}, Usage(8, 0)),
        ({"prompt_tokens": "8", "completion_tokens": 5}, None),
        ("many", None),
    ],
)
def test_usage_of_openais_family(told: object, expected: Usage | None) -> None:
    assert usage.read_openai(told) == expected


@pytest.mark.feature("COST-1")
def test_counts_stand_where_they_are_told_and_costs_are_exact() -> None:
    assert usage.read_ollama({"eval_count": 9}) is None, "a prompt that was not counted is unknown"
    assert usage.read_gemini({"promptTokenCount": 5, "totalTokenCount": 5}) == Usage(5, 0)
    assert usage.read_anthropic({}) is None
    assert usage.read_cost_nano(parse(b'{"cost": 0.1234567891}')) == 123_456_789
    assert usage.read_cost_nano({"cost": 0}) == 0
    assert usage.read_cost_nano({}) is None
    groq = {"choices": [], "x_groq": {"usage": {"prompt_tokens": 3, "completion_tokens": 4}}}
    reader = reader_of(PAYLOADS["openai"])
    assert list(reader.event(groq)) == [UsageReport(Usage(3, 4))]


@pytest.mark.feature("COST-1")
def test_images_of_the_prompt_are_counted() -> None:
    image = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": [{"type": "text", "text": "x"}, image, image]},
        {"content": "y"},
    ]
    assert usage.count_images(messages) == 2
    reader = find_reader("/api/chat", images=2)
    assert reader is not None
    assert UsageReport(Usage(1, 2, images=2)) in list(
        reader.event({"done": True, "prompt_eval_count": 1, "eval_count": 2})
    )


@pytest.mark.feature("CALL-4")
@pytest.mark.parametrize(
    ("document", "status"),
    [
        ({"error": {"message": "Overloaded", "type": "overloaded_error"}, "type": "error"}, 529),
        ({"error": {"message": "no", "code": 402}}, 402),
        ({"error": {"message": "no", "code": "429"}}, 429),
        ([{"error": {"message": "no", "status": "RESOURCE_EXHAUSTED", "code": 429}}], 429),
        ({"error": "no"}, None),
        ({"detail": [{"msg": "no"}]}, None),
        ({"object": "error", "message": "no", "code": 404}, 404),
    ],
)
def test_a_refusals_words_and_status_are_found(document: object, status: int | None) -> None:
    found = read_refusal(document)
    assert found.status == status
    assert found.text in ("no", "Overloaded")


@pytest.mark.feature("CALL-4")
@pytest.mark.parametrize("name", PAYLOADS)
def test_an_error_among_good_events_is_raised(name: str) -> None:
    error = {"type": "error", "error": {"type": "server_error", "message": "boom"}}
    data = json.dumps(error) + "\n" if name == "ollama" else f"data: {json.dumps(error)}\n\n"
    good = PAYLOADS[name].streamed
    end = good.index(b"\n" if name == "ollama" else b"\n\n", len(good) // 2)
    with pytest.raises(StatedFailure, match="boom"):
        read(PAYLOADS[name], [good[:end] + b"\n\n", data.encode()])


@pytest.mark.feature("GATE-1")
@given(
    st.lists(st.sampled_from(["word", "counts", "comment", "é"]), max_size=6),
    st.booleans(),
    st.lists(st.integers(1, 9)),
    st.sampled_from([b"", b"data: half an ev"]),
)
def test_counts_are_taken_out_of_a_stream_however_it_is_cut(
    events: list[str], has_crlf: bool, cuts: list[int], rest: bytes
) -> None:
    made = {
        "word": b'data: {"choices": [{"delta": {}}], "usage": null}\n\n',
        "counts": b'data: {"choices": [], "usage": {"prompt_tokens": 3}}\n\n',
        "comment": b": still here\n\n",
        "é": 'data: {"choices": [{"delta": {"content": "é"}}]}\n\n'.encode(),
    }
    sent = b"".join(made[event] for event in events) + rest
    raw, taken, came = sent.replace(b"\n", b"\r\n") if has_crlf else sent, _Events(), b""
    for size in [*cuts, len(raw)]:
        part, raw = raw[:size], raw[size:]
        came += taken.complete(part)
    assert came + taken.rest() == b"".join(made[event] for event in events if event != "counts") + rest
