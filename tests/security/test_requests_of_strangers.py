"""Requests and files of strangers are counted and bounded before anything walks them, computes with them or waits."""

import io
import json
from datetime import UTC
from typing import Any

import pytest

from lib.access.grants import KeyGrant, Limits
from lib.access.limits import Claim, RateLimits
from lib.db.engine import Store
from lib.errors import InvalidInput, Throttled
from lib.gateway.http.exchange import RefusedRequest
from lib.gateway.models import completions
from lib.gateway.models.program_request import MOST_PARTS, MOST_VALUES, read_json
from lib.ledger import content_policy as content
from lib.tokens.text_estimate import estimate_tokens
from lib.usage_files import numbers, values
from lib.usage_files.source import UsageFile

pytestmark = pytest.mark.feature("OPS-4")
PART = {"type": "text", "text": "a"}


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{"role": "user", "content": [PART] * MOST_PARTS}]},
        {"messages": [{"role": "user", "content": "a"}] * MOST_PARTS},
        {"messages": [{"role": "user", "content": "a"}], "tools": [{"type": "function"}] * MOST_PARTS},
        {"input": [[]] * MOST_PARTS},
        {"input": [1] * MOST_VALUES},
        {"metadata": {str(n): 1 for n in range(MOST_VALUES)}},
        {"messages": [PART] * 200_000},
    ],
    ids=["parts", "messages", "tools", "lists", "numbers", "names", "far too many"],
)
def test_a_body_of_too_many_parts_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="too many parts"):
        read_json(json.dumps(body).encode())


def test_long_words_with_signs_of_code_are_no_parts() -> None:
    body = {"messages": [{"role": "user", "content": '{"a": [1, 2]}, ' * 150_000}]}
    assert read_json(json.dumps(body).encode()) == body


def test_a_count_of_tokens_has_a_longest_body() -> None:
    unused: Any = None
    with pytest.raises(RefusedRequest) as refused:
        completions.count_prompt(unused, unused, b" " * (8 * 1024 * 1024 + 1), unused)
    assert refused.value.refusal.status == 413


def test_a_count_of_tokens_takes_of_the_limits_of_its_key(store: Store) -> None:
    limits = RateLimits(store)
    key = KeyGrant("k", "app", limits=Limits(requests_per_minute=2))
    limits.take(Claim("app", 0, key))
    limits.take(Claim("app", 0, key))
    with pytest.raises(Throttled, match="2 requests a minute"):
        limits.take(Claim("app", 0, key))


def test_a_long_text_is_counted_piece_by_piece() -> None:
    for sample in ("word ", "größe ", "漢字"):
        text = sample * 40_000
        assert abs(estimate_tokens(text) - 40_000 * estimate_tokens(sample)) <= 5


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        (b'[{"a": ' + b"9" * 100_000 + b"}]", 1),
        (b'{"a": 1}\n' + b'{"a"\n' * 20_000, 20_001),
        (b"[{}" + b"," * 200_000 + b"]", 1),
        (b'a,b\n"' + b"x" * 200_000, 1),
    ],
    ids=["a number without end", "lines that are no JSON", "commas", "a quote that is left open"],
)
def test_a_file_of_usage_is_read_whatever_it_holds(text: bytes, rows: int) -> None:
    assert sum(1 for _ in UsageFile(io.BytesIO(text), "x").rows()) == rows


@pytest.mark.parametrize(
    "cell",
    ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "1e999999999", "sNaN", "9" * 100_000, "²", 10**400, [1]],
    ids=lambda cell: str(cell)[:20],
)
def test_a_cell_that_is_no_moment_or_number_is_said_to_be_none(cell: Any) -> None:
    for read in (lambda value: values.parse_moment(value, UTC), numbers.parse_count, numbers.parse_dollars):
        with pytest.raises(ValueError, match=r"."):
            read(cell)


def test_long_words_are_masked_in_a_thread() -> None:
    assert content.is_masking_slow(content.REDACTED, 100_000)
    assert not content.is_masking_slow(content.REDACTED, 10_000)
    assert not content.is_masking_slow(content.FULL, 100_000)
