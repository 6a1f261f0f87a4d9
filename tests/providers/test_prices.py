"""Prices: exact, dated, unknown is not zero, free is."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.providers.chunks import Usage
from lib.providers.kinds import ProviderKind
from lib.providers.prices.price_book import PriceBook
from lib.providers.prices.rates import RATE_NAMES, Price, Rates, Tier, build_plain_price, compute_cost

NOW = datetime(2026, 11, 22, tzinfo=UTC)
RATES = Rates(2_000_000_000, 8_000_000_000, 500_000_000, 2_500_000_000, 4_000_000_000, 9_000_000_000, 70, 11)
DEARER = Rates(*(2 * getattr(RATES, name) for name in RATE_NAMES[:8]))
tokens = st.integers(0, 10**7)
parts = st.fixed_dictionaries(
    {name: tokens for name in ("fresh", "read", "five", "hour", "answer", "reasoning", "images")}
)


def usage_of(part: dict[str, int]) -> Usage:
    written = part["five"] + part["hour"]
    prompt, completion = part["fresh"] + part["read"] + written, part["answer"] + part["reasoning"]
    return Usage(prompt, completion, part["read"], written, part["reasoning"], part["hour"], part["images"])


@pytest.mark.feature("COST-1")
@given(parts)
def test_the_parts_of_a_cost_sum_to_it(part: dict[str, int]) -> None:
    per_token = {"fresh": 2000, "read": 500, "five": 2500, "hour": 4000, "answer": 8000, "reasoning": 9000}
    whole = sum(part[name] * nano for name, nano in per_token.items()) + part["images"] * 70 + 11
    assert RATES.cost_nano(usage_of(part)) == whole
    assert RATES.cost_nano(Usage(0, 0)) == 11


@pytest.mark.feature("COST-1")
@given(
    parts, st.sampled_from(["fresh", "read", "five", "hour", "answer", "reasoning", "images"]), st.integers(1, 10**6)
)
def test_a_cost_is_never_negative_and_more_never_costs_less(part: dict[str, int], name: str, more: int) -> None:
    price = Price("openai", "m", NOW, (Tier(0, RATES), Tier(200_000, DEARER)))
    less, greater = price.cost_nano(usage_of(part)), price.cost_nano(usage_of(part | {name: part[name] + more}))
    assert 0 < less < greater


@pytest.mark.feature("COST-1")
@given(st.integers(0, 10**12), st.integers(0, 10**7))
def test_a_sum_is_rounded_once_by_less_than_a_nano_dollar(rate: int, count: int) -> None:
    cost = Rates(rate, rate).cost_nano(Usage(count, count))
    assert abs(cost * 10**6 - 2 * rate * count) <= 500_000


@pytest.mark.feature("COST-1")
def test_a_teams_own_price_holds_before_what_the_provider_says_and_that_before_the_shipped_list() -> None:
    usage, listed = Usage(1000, 0), build_plain_price("openai", "m", NOW, Rates(10**9, 0))
    own = Price("openai", "m", NOW, listed.tiers, id="own")
    for price in (None, listed):
        said = compute_cost(price, usage, 77)
        assert (said.nano, said.status, said.price_id) == (77, "priced", "provider")
    assert compute_cost(own, usage, 77).nano == 1_000_000
    assert compute_cost(listed, usage, 0).nano == 1_000_000
    assert compute_cost(None, usage).nano is None


@pytest.mark.feature("COST-1")
@pytest.mark.parametrize(
    ("kind", "called", "listed"),
    [
        ("openai", "gpt-4.1-2025-04-14", "gpt-4.1"),
        ("anthropic", "claude-x-20250929", "claude-x"),
        ("mistral", "mistral-small-latest", "mistral-small"),
        ("gemini", "models/gemini-x", "gemini-x"),
        ("deepseek", "deepseek/deepseek-chat", "deepseek-chat"),
        ("litellm", "bedrock/eu.anthropic.claude-x-20250929", "bedrock/anthropic.claude-x"),
        ("openai", "gpt-4.1-mini", None),
        ("openai", "us.gpt-4", None),
        ("openrouter", "openai/gpt-4.1", None),
    ],
)
def test_a_model_is_found_under_its_plainer_name(kind: str, called: str, listed: str | None) -> None:
    names = ["gpt-4.1", "gpt-4", "claude-x", "mistral-small", "gemini-x", "deepseek-chat", "bedrock/anthropic.claude-x"]
    found = PriceBook([build_plain_price(kind, name, NOW, Rates(1, 1)) for name in names]).price(kind, called, NOW)
    assert (found.model if found else None) == listed


@pytest.mark.feature("COST-1")
def test_the_shipped_list_prices_the_parts_of_a_call_exactly() -> None:
    book = PriceBook()
    price = book.price("anthropic", "claude-sonnet-4-5", NOW)
    cost = book.cost(price, Usage(1000, 100, cache_read_tokens=200, cache_write_tokens=300))
    # 500 fresh at $3, 200 read at $0.30, 300 written at $3.75, 100 out at $15, each per million
    assert cost.nano == 500 * 3000 + 200 * 300 + 300 * 3750 + 100 * 15000
    assert (cost.status, cost.price_id) == ("priced", "2026-11-22:anthropic/claude-sonnet-4-5")
    assert len(book) > 2000


@pytest.mark.feature("COST-1")
def test_unknown_is_unpriced_and_own_machines_are_free() -> None:
    book, usage = PriceBook([]), Usage(10, 10)
    assert book.cost(book.price("openai", "gpt-unheard-of", NOW), usage).nano is None
    assert book.cost(book.price("custom", "anything", NOW), usage).status == "unpriced"
    for kind in (ProviderKind.OLLAMA, ProviderKind.LOCAL):
        cost = book.cost(book.price(kind, "anything", NOW), usage)
        assert (cost.nano, cost.status, cost.price_id) == (0, "free", f"free:{kind}/anything")
    assert book.cost(book.price("scripted", "lorem+priced", NOW), usage).nano == 125_000
    assert book.price("scripted", "lorem+unpriced", NOW) is None


@pytest.mark.feature("COST-1")
def test_the_price_of_the_day_holds_and_before_the_first_the_first() -> None:
    old = build_plain_price("openai", "m", NOW - timedelta(days=30), Rates(1_000_000_000, 0))
    new = build_plain_price("openai", "m", NOW, Rates(2_000_000_000, 0))
    book = PriceBook([new, old])
    found = [book.price("openai", "m", NOW + timedelta(days=days)) for days in (-90, -1, 0, 90)]
    assert found == [old, old, new, new]


@pytest.mark.feature("COST-1")
def test_long_prompts_have_their_own_rates_for_the_whole_call() -> None:
    book = PriceBook()
    price = book.price("gemini", "gemini-2.5-pro", NOW)
    assert book.cost(price, Usage(200_000, 1)).nano == 200_000 * 1250 + 10_000
    assert book.cost(price, Usage(200_001, 1)).nano == 200_001 * 2500 + 15_000


def test_the_list_loads_without_litellm_or_pandas() -> None:
    code = (
        "import sys; from lib.providers.prices.price_book import PriceBook; "
        "len(PriceBook()); print('litellm' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
