"""Blocks do not interleave, whatever order the pieces of an answer come in, and nothing of it is lost."""

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.gateway.anthropic import messages_answer
from lib.gateway.models.ordered_pieces import OrderedPieces
from lib.gateway.openai import responses_answer
from lib.providers.chunks import Chunk, Finish, ReasoningDelta, TextDelta, ToolCallDelta

ARGUMENTS = ('{"x": "a}"}', '{"y": {}}', "{}")


@st.composite
def answers(draw: st.DrawFn) -> list[Chunk]:
    """Words and the pieces of three calls in any order, each call beginning after the one before."""
    pieces = list[tuple[int, str]]()
    for index, text in enumerate(ARGUMENTS):
        edges = [0, *sorted(draw(st.lists(st.integers(0, len(text)), max_size=3))), len(text)]
        pieces += [(index, text[start:end]) for start, end in itertools.pairwise(edges)]
    order = draw(st.permutations([index for index, _ in pieces] + [-1] * draw(st.integers(0, 3))))
    queues = {index: [text for at, text in pieces if at == index] for index in range(3)}
    begun, chunks = 0, list[Chunk]()
    for index in order:
        while index > begun - 1 and index >= 0:
            chunks.append(ToolCallDelta(begun, f"id{begun}", f"f{begun}"))
            begun += 1
        chunks.append(TextDelta("word ") if index < 0 else ToolCallDelta(index, arguments=queues[index].pop(0)))
    return [*chunks, Finish("tool_calls")]


def blocks(data: bytes) -> list[dict[str, Any]]:
    """The blocks of a stream of messages; each is begun, filled and ended before the next."""
    done, block = list[dict[str, Any]](), dict[str, Any]()
    for line in data.decode().split("\n"):
        told = json.loads(line[6:]) if line.startswith("data: ") else {}
        match told.get("type"):
            case "content_block_start":
                assert not block
                block = {**told["content_block"], "index": told["index"], "json": ""}
            case "content_block_delta":
                assert told["index"] == block["index"]
                block["json"] += told["delta"].get("partial_json", "")
                block["text"] = block.get("text", "") + told["delta"].get("text", "")
            case "content_block_stop":
                done.append(block)
                block = {}
    assert not block
    assert [one["index"] for one in done] == list(range(len(done)))
    return done


@pytest.mark.feature("GATE-1")
@given(answers())
def test_blocks_of_messages_and_items_of_responses_are_written_one_after_another(chunks: list[Chunk]) -> None:
    words = sum(isinstance(chunk, TextDelta) for chunk in chunks)
    writer = messages_answer.MessagesWriter("log", "m")
    data = b"".join([writer.begin(), *map(writer.chunk, chunks), writer.end(None)])
    tools = [(b["id"], b["name"], b["json"]) for b in blocks(data) if b["type"] == "tool_use"]
    assert tools == [(f"id{n}", f"f{n}", text) for n, text in enumerate(ARGUMENTS)]
    assert data.count(b"word ") == words
    items = responses_answer.ResponsesWriter("log", "m")
    data = b"".join([items.begin(), *map(items.chunk, chunks), items.end(None)])
    output = json.loads(data.decode().strip().rpartition("data: ")[2])["response"]["output"]
    called = [(item["call_id"], item["arguments"]) for item in output if item["type"] == "function_call"]
    assert called == [(f"id{n}", text) for n, text in enumerate(ARGUMENTS)]
    assert "".join(item["content"][0]["text"] for item in output if item["type"] == "message") == "word " * words


@pytest.mark.feature("GATE-1")
def test_calls_in_turn_and_words_pass_at_once_and_a_broken_answer_keeps_all() -> None:
    order = OrderedPieces()
    for chunk in (
        ReasoningDelta("hm"),
        TextDelta("a"),
        ToolCallDelta(0, "i", "f", '{"x":'),
        ToolCallDelta(0, arguments="1}"),
        TextDelta("b"),
        ToolCallDelta(1, "j", "g", "{"),
    ):
        assert order.take(chunk) == [chunk]
    assert order.take(TextDelta("c")) == []
    assert order.take(ToolCallDelta(1, arguments="}")) == [ToolCallDelta(1, arguments="}"), TextDelta("c")]
    writer = messages_answer.MessagesWriter("log", "m")
    data = writer.chunk(ToolCallDelta(0, "i", "f", "{")) + writer.chunk(TextDelta("words"))
    assert b"words" not in data
    assert b"words" in writer.error(502, "stream_cut", "It broke off.")
