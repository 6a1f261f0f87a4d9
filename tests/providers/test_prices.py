"""Prices: exact, dated, unknown is not zero, free is."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from lib.providers.chunks import Usage
from lib.providers.kinds import ProviderKind
from lib.providers.price_book import PriceBook
from lib.providers.prices import Rates, plain

NOW = datetime(2026, 11, 22, tzinfo=UTC)


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
    old = plain("openai", "m", NOW - timedelta(days=30), Rates(1_000_000_000, 0))
    new = plain("openai", "m", NOW, Rates(2_000_000_000, 0))
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
        "import sys; from lib.providers.price_book import PriceBook; len(PriceBook()); print('litellm' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
