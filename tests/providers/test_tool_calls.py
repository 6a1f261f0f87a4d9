"""Tool calls in every shape in which backends send them: the same calls come out."""

import itertools
import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.providers.chunks import Chunk, Finish, ToolCallDelta
from lib.providers.protocols import find_reader
from lib.providers.protocols.tool_calls import JsonEnd

Called = tuple[str, Any]  # a function's name and its arguments
_VALUES = st.recursive(
    st.none() | st.integers(-9, 9) | st.text(alphabet='a"\\{}[]é,: \n', max_size=6),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
_ARGUMENTS = st.dictionaries(st.text(max_size=4), _VALUES, max_size=3)


def calls_in(chunks: Iterable[Chunk]) -> list[Called]:
    """The calls; each has an id of its own and a name in its first piece, and JSON for arguments."""
    calls = dict[int, list[ToolCallDelta]]()
    for chunk in chunks:
        if isinstance(chunk, ToolCallDelta):
            calls.setdefault(chunk.index, []).append(chunk)
    assert list(calls) == list(range(len(calls)))
    assert all(bool(piece.id and piece.name) is (piece is pieces[0]) for pieces in calls.values() for piece in pieces)
    assert len({pieces[0].id for pieces in calls.values()}) == len(calls)
    return [(p[0].name, json.loads("".join(piece.arguments for piece in p))) for p in calls.values()]


def read(path: str, events: Iterable[dict[str, Any]]) -> list[Chunk]:
    reader = find_reader(path)
    assert reader is not None
    return [*(chunk for event in events for chunk in reader.event(event)), *reader.end()]


def chat(*deltas: dict[str, Any], finish: str = "tool_calls") -> list[Chunk]:
    """What a stream of these pieces says."""
    events: list[dict[str, Any]] = [{"choices": [{"index": 0, "delta": {"tool_calls": [one]}}]} for one in deltas]
    return read("/chat/completions", [*events, {"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]}])


def piece(index: int | None, id: str | None = None, name: str | None = None, arguments: Any = None) -> dict[str, Any]:
    told = {"index": index, "id": id, "function": {"name": name, "arguments": arguments}}
    return {key: value for key, value in told.items() if value is not None}


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[Called], list[dict[str, Any]]]:
    """Calls, and the pieces of a stream that says them in one of the ways that backends have."""
    names = draw(st.lists(st.sampled_from("abc"), min_size=1, max_size=4))
    calls = [(name, draw(_ARGUMENTS) | {"n": n}) for n, name in enumerate(names)]
    numbering = draw(st.sampled_from(["own", "one", "none", "drifting"]))
    ids = draw(st.sampled_from(["first", "every", "none", "empty", "same"]))
    repeats_name, tells_again, is_cumulative = draw(st.booleans()), draw(st.booleans()), draw(st.booleans())
    if numbering == "drifting":  # a name at a new number without an id is another call
        repeats_name, tells_again = False, tells_again and ids in ("first", "every")
    queues = []
    for number, (name, arguments) in enumerate(calls):
        text = json.dumps(arguments, ensure_ascii=draw(st.booleans()))
        places = sorted(draw(st.lists(st.integers(0, len(text)), max_size=4)))
        parts = [text[start:end] for start, end in zip([0, *places], [*places, len(text)], strict=True)]
        parts = [part for part in parts if part] if draw(st.booleans()) else ["", *[part for part in parts if part]]
        if is_cumulative:
            parts = [text[:place] for place in [*places, len(text)]]
        identity = {"none": None, "empty": "", "same": "call"}.get(ids, f"id{number}")
        queue = list[tuple[str | None, str | None, str]]()
        for position, part in enumerate(parts):
            told_id = identity if position == 0 or ids == "every" else None
            queue.append((told_id, name if position == 0 or repeats_name else None, part))
        if tells_again:
            queue.append((identity, name, text))
        queues.append(queue)
    can_alternate = numbering == "own" or (ids == "every" and numbering != "drifting")
    order = [number for number, queue in enumerate(queues) for _ in queue]
    if can_alternate:
        order = draw(st.permutations(order))
        order = [*range(len(queues)), *_without_first(order, len(queues))]  # they begin in their order
    pieces = []
    for position, number in enumerate(order):
        told_id, told_name, part = queues[number].pop(0)
        index = {"own": number, "one": 0, "none": None, "drifting": position}[numbering]
        pieces.append(piece(index, told_id, told_name, part))
    return calls, pieces


def _without_first(order: list[int], count: int) -> list[int]:
    left = set(range(count))
    return [n for n in order if n not in left or left.discard(n)]  # type: ignore[func-returns-value]


@pytest.mark.feature("CALL-5")
@pytest.mark.feature("GATE-1")
@given(streams())
def test_any_cut_order_and_numbering_of_the_same_calls_gives_the_same_calls(
    stream: tuple[list[Called], list[dict[str, Any]]],
) -> None:
    calls, pieces = stream
    came = chat(*pieces)
    assert calls_in(came) == calls
    assert came[-1] == Finish("tool_calls")


X, Y = '{"x": 1}', '{"y": 2}'
BOTH: list[Called] = [("f", {"x": 1}), ("g", {"y": 2})]


@pytest.mark.feature("CALL-5")
@pytest.mark.parametrize(
    ("pieces", "calls"),
    [
        ([piece(0, "", "f", X), piece(0, "", "g", Y)], BOTH),
        ([piece(0, "a", "f", "{}"), piece(0, None, None, X)], BOTH[:1]),  # an empty object, then the true ones
        ([piece(0, "a", "f", {"x": 1}), piece(0, "b", "g", {"y": 2})], BOTH),  # as objects
        ([piece(0, "a", "f", "{}"), piece(1, "b", "f", "")], [("f", {}), ("f", {})]),
        ([piece(0, None, "f", ""), piece(1, None, "f", "")], [("f", {}), ("f", {})]),
        ([piece(0, None, "f", X), piece(0, None, "f", X.replace("1", "3"))], [BOTH[0], ("f", {"x": 3})]),
        ([piece(0, None, "f", X), piece(0, None, "g", Y), piece(0, None, "f", X)], BOTH),  # told again at the end
        ([piece(0, None, None, X[:4]), piece(0, "a", "f", X[4:])], BOTH[:1]),  # the name comes late
        ([piece(0, "r1", "f", X[:3]), piece(0, "r2", None, X[3:5]), piece(0, "r3", None, X[5:])], BOTH[:1]),
        ([piece(0, "a", "f", X), piece(5, None, None, "  ")], BOTH[:1]),  # scraps are no call
        ([{"index": "1", "id": "a", "function": {"name": "f", "arguments": X}}], BOTH[:1]),
        ([piece(0, "a", "f"), piece(1, "a", "g"), piece(0, "a", None, X), piece(1, "a", None, Y)], BOTH),  # one id
    ],
)
def test_shapes_that_were_seen(pieces: list[dict[str, Any]], calls: list[Called]) -> None:
    assert calls_in(chat(*pieces)) == calls


@pytest.mark.feature("CALL-5")
def test_older_and_doubled_forms_of_a_call() -> None:
    older = [{"function_call": {"name": "f", "arguments": X[:3]}}, {"function_call": {"arguments": X[3:]}}]
    both = {"tool_calls": [piece(0, "a", "f", X)], "function_call": {"name": "f", "arguments": X}}
    for deltas in (older, [both]):
        events: list[dict[str, Any]] = [{"choices": [{"delta": delta}]} for delta in deltas]
        events.append({"choices": [{"delta": {}, "finish_reason": "function_call"}]})
        came = read("/chat/completions", events)
        assert (calls_in(came), came[-1]) == (BOTH[:1], Finish("tool_calls"))
    said = {"content": "Hi", "tool_calls": [piece(0, "a", "f", X)]}
    again = [{"delta": said}, {"message": said, "finish_reason": "stop"}]
    came = read("/chat/completions", [{"choices": [choice]} for choice in again])
    assert (calls_in(came), sum(getattr(chunk, "text", "") == "Hi" for chunk in came)) == (BOTH[:1], 1)


@pytest.mark.feature("CALL-5")
@pytest.mark.parametrize("says", ["stop", "tool_calls", "eos"])
@pytest.mark.parametrize("calls", [0, 1])
def test_an_answer_with_a_call_ends_with_it_whatever_its_reason_says(says: str, calls: int) -> None:
    came = chat(*[piece(0, "a", "f", X)] * calls, finish=says)
    assert came[-1] == Finish("tool_calls" if calls else "stop")
    assert chat(piece(0, "a", "f", X[:4]), finish="length")[-1] == Finish("length")


def anthropic(*events: tuple[str, int | None, dict[str, Any]]) -> list[Chunk]:
    kinds = {"start": ("content_block_start", "content_block"), "delta": ("content_block_delta", "delta")}
    told = [
        {"type": kinds[kind][0], kinds[kind][1]: body, **({} if index is None else {"index": index})}
        for kind, index, body in events
    ]
    return read("/v1/messages", [*told, {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}])


@pytest.mark.feature("CALL-5")
@pytest.mark.parametrize("indexes", [(0, 1), (0, 0), (None, None)])
def test_blocks_of_messages_begin_their_calls(indexes: tuple[int | None, int | None]) -> None:
    tools = [{"type": "tool_use", "id": "same", "name": name, "input": {}} for name in "fg"]
    json_of = [{"type": "input_json_delta", "partial_json": text} for text in (X, Y)]
    in_turn = anthropic(
        ("start", indexes[0], tools[0]),
        ("delta", indexes[0], json_of[0]),
        ("start", indexes[1], tools[1]),
        ("delta", indexes[1], json_of[1]),
    )
    assert (calls_in(in_turn), in_turn[-1]) == (BOTH, Finish("tool_calls"))
    alternating = anthropic(
        ("start", 0, tools[0]),
        ("start", 1, tools[1]),
        ("start", 2, {"type": "server_tool_use", "id": "s", "name": "search"}),
        ("delta", 2, {"type": "input_json_delta", "partial_json": '{"q": 1}'}),
        ("delta", 0, json_of[0]),
        ("delta", 1, json_of[1]),
    )
    assert calls_in(alternating) == BOTH


@pytest.mark.feature("CALL-5")
@pytest.mark.parametrize("has_places", [True, False])
@pytest.mark.parametrize("has_beginnings", [True, False])
@pytest.mark.parametrize("has_pieces", [True, False])
def test_items_of_responses_are_known_by_their_ids_or_places(
    has_places: bool, has_beginnings: bool, has_pieces: bool
) -> None:
    items = [
        {"type": "function_call", "id": f"fc{n}", "call_id": f"c{n}", "name": name, "arguments": text}
        for n, (name, text) in enumerate((("f", X), ("g", Y)))
    ]
    places: list[dict[str, Any]] = [{"output_index": n} if has_places else {} for n in range(2)]
    events = list[dict[str, Any]]()
    if has_beginnings:
        begun = [{**item, "arguments": ""} for item in items]
        events += [
            {"type": "response.output_item.added", "item": item, **place}
            for item, place in zip(begun, places, strict=True)
        ]
    if has_pieces:
        name = "response.function_call_arguments.delta"
        for part in (slice(None, 4), slice(4, None)):
            events += [{"type": name, "item_id": f"fc{n}", "delta": (X, Y)[n][part], **places[n]} for n in range(2)]
    events += [{"type": "response.output_item.done", "item": item, **places[n]} for n, item in enumerate(items)]
    events.append({"type": "response.completed", "response": {"output": items}})
    came = read("/responses", events)
    assert (calls_in(came), came[-1]) == (BOTH, Finish("tool_calls"))


@pytest.mark.feature("CALL-5")
def test_calls_of_gemini_ollama_and_cohere_are_told_apart() -> None:
    parts = [{"functionCall": {"name": "f", "args": {"x": 1}}}, {"functionCall": {"name": "g", "args": {"y": 2}}}]
    events: list[dict[str, Any]] = [{"candidates": [{"content": {"parts": [part]}}]} for part in parts]
    events.append({"candidates": [{"finishReason": "STOP"}]})
    assert calls_in(read("/models/m:generateContent", events)) == BOTH
    tools = [{"id": "one", "function": {"name": name, "arguments": json.loads(a)}} for name, a in (("f", X), ("g", Y))]
    assert calls_in(read("/api/chat", [{"message": {"tool_calls": tools}}, {"done": True}])) == BOTH
    cohere = list[dict[str, Any]]()
    for name, text in (("f", X), ("g", Y)):
        said = {"message": {"tool_calls": {"id": "", "function": {"name": name, "arguments": ""}}}}
        cohere.append({"type": "tool-call-start", "delta": said})
        for part in (text[:4], text[4:]):
            said = {"message": {"tool_calls": {"function": {"arguments": part}}}}
            cohere.append({"type": "tool-call-delta", "delta": said})
        cohere.append({"type": "tool-call-end"})
    came = read("/v2/chat", [*cohere, {"type": "message-end", "delta": {}}])
    assert (calls_in(came), came[-1]) == (BOTH, Finish("tool_calls"))


@given(_ARGUMENTS, st.lists(st.integers(0, 99)), st.sampled_from(["", "{", " x"]))
def test_the_end_of_an_object_is_found_however_it_is_cut(value: dict[str, Any], cuts: list[int], rest: str) -> None:
    text, end = json.dumps(value), JsonEnd()
    edges = [0, *sorted({cut % len(text) for cut in cuts}), len(text)]
    for start, stop in itertools.pairwise(edges):
        assert not end.is_closed
        end.feed(text[start:stop])
    end.feed(rest)
    assert end.is_closed
