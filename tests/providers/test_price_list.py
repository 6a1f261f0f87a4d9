"""The CSV form of prices: exact both ways, and every line that can't be used is named."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.errors import InvalidInput
from lib.providers.prices.price_list import COLUMNS, format_exact_dollars, parse_nano, read, read_shipped, write
from lib.providers.prices.rates import RATE_NAMES, Price, Rates, Tier

HEAD = ",".join(COLUMNS)
rate = st.integers(0, 10**12)
rates = st.builds(Rates, rate, rate, *[st.none() | rate] * (len(RATE_NAMES) - 2))


@pytest.mark.feature("COST-1")
@given(base=rates, long=rates, above=st.integers(1, 10**9))
def test_what_is_written_is_read_again(base: Rates, long: Rates, above: int) -> None:
    stated = {name: value for name in RATE_NAMES if (value := getattr(long, name)) is not None}
    dearer = replace(base, **stated)
    tiers = (Tier(0, base), Tier(above, dearer), Tier(0, dearer, "fast+us"), Tier(above, base, "flex"))
    price = Price("openai", 'm,"o" \'d', datetime(2026, 1, 2, 3, 4, tzinfo=UTC), tiers, "=HYPERLINK(1)")
    assert read(write([price])) == [price]


@pytest.mark.feature("COST-1")
@given(st.integers(0, 10**15))
def test_money_survives_as_text(amount: int) -> None:
    assert parse_nano(format_exact_dollars(amount)) == amount


@pytest.mark.feature("COST-1")
def test_every_line_that_cannot_be_used_is_named_and_none_is_taken() -> None:
    document = "\n".join(
        [
            "# a remark",
            HEAD,
            "openai,fine,2026-01-01,,,1,2,,,,,,,",
            "nobody,m,2026-01-01,,,1,2,,,,,,,",
            "openai,,2026-01-01,,,1,2,,,,,,,",
            "openai,m,someday,,,1,2,,,,,,,",
            "openai,m,2026-01-01,,,1e3x,2,,,,,,,",
            "openai,m,2026-01-01,,,-1,2,,,,,,,",
            "openai,m,2026-01-01,,,,2,,,,,,,",
            "openai,n,2026-01-01,200000,,1,2,,,,,,,",
            "openai,fine,2026-01-01,,,1,2,,,,,,,",
        ]
    )
    with pytest.raises(InvalidInput) as raised:
        read(document)
    for number in (4, 5, 6, 7, 8, 9, 10, 11):
        assert f"line {number}:" in raised.value.why
    assert "line 3:" not in raised.value.why


@pytest.mark.feature("COST-1")
@pytest.mark.parametrize("document", ["", "# only remarks", "kind,model\nopenai,m", HEAD.replace("input", "in")])
def test_a_list_without_its_header_is_refused(document: str) -> None:
    with pytest.raises(InvalidInput):
        read(document)


@pytest.mark.feature("COST-1")
def test_the_shipped_list_is_dated_has_sources_and_holds_every_kind_of_rate() -> None:
    prices = read_shipped()
    assert len(prices) > 3000
    models = [price for price in prices if not price.model.startswith("tool:")]
    assert all(price.source.startswith("litellm-") for price in models)
    assert all(price.source and price.valid_from.year >= 2026 for price in prices)
    assert {tier.service_tier for price in prices for tier in price.tiers} >= {
        "",
        "flex",
        "priority",
        "batch",
        "fast+us",
    }
    for name in ("cache_read", "cache_write", "reasoning", "image", "request", "audio_output", "image_output"):
        assert any(getattr(price.rates, name) for price in prices), name
