"""What a model reads beside the words of messages is counted, too: a hard budget holds money for it."""

import pytest

from lib.calls.request import tokens_beside_text

pytestmark = pytest.mark.feature("COST-2")
ASK = {"role": "user", "content": "Hi"}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}


def test_words_alone_weigh_nothing_more() -> None:
    picture = {
        "role": "user",
        "content": [{"type": "text", "text": "x"}, {"type": "image_url", "image_url": {"url": "x"}}],
    }
    assert tokens_beside_text([ASK, picture], {"temperature": 1, "tools": None}) == 0


def test_tools_forms_calls_and_files_are_counted() -> None:
    one, many = tokens_beside_text([ASK], {"tools": [TOOL]}), tokens_beside_text([ASK], {"tools": [TOOL] * 100})
    assert 0 < one * 90 < many
    assert tokens_beside_text([ASK], {"response_format": {"type": "json_schema", "json_schema": {"schema": {}}}}) > 0
    called = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"function": {"name": "a", "arguments": "x y " * 99}}],
    }
    assert tokens_beside_text([called], {}) > 190
    file = {"type": "file", "file": {"file_data": "A" * 30_000}}
    assert 10_000 <= tokens_beside_text([{"role": "user", "content": [file]}], {}) < 10_100
    file["file"] = {"file_data": "A" * 30_000_000}
    assert tokens_beside_text([{"role": "user", "content": [file]}], {}) == 1_000_000


def test_a_part_of_no_known_type_is_a_file() -> None:
    types: list[object] = [["text"], {}, None, 3]
    for odd in types:
        assert tokens_beside_text([{"role": "user", "content": [{"type": odd, "x": "y" * 30}, "no part"]}], {}) > 10
