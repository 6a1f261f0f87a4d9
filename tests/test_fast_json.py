"""What is written is JSON that every store takes, whatever was read."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.fast_json import decode, encode, encode_text

pytestmark = pytest.mark.feature("GATE-1")
TEXT = st.text(st.characters(codec=None, categories=None))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


def refuse(word: str) -> Any:
    raise AssertionError(word)


@given(VALUES)
def test_no_number_is_written_that_json_has_no_word_for(value: Any) -> None:
    for text in (encode(value).decode(), encode_text(value)):
        json.loads(text, parse_constant=refuse)


def test_what_the_fast_road_refuses_is_read_and_written_like_the_rest() -> None:
    for text in ('{"\\ud800": NaN, "b": [Infinity, {"c": -1e999}]}', '{"a": NaN, "\\ud800": 1e999}'):
        assert "NaN" not in encode_text(decode(text))
        assert "nfinity" not in encode_text(decode(text))
    assert encode_text({"a": float("nan")}) == '{"a":null}'
    assert encode_text({"\ud800": float("nan"), "b": (1, float("inf"))}) == '{"\\ud800":null,"b":[1,null]}'
