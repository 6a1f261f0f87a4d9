"""A team's own prices: versions, precedence over the shipped list, import in one piece, permissions, audit."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from lib.access.permissions import OPERATOR, Role, actor_for
from lib.db.engine import Store
from lib.db.tables import audit_log
from lib.errors import InvalidInput, NotFound, PermissionDenied
from lib.providers.price_book import PriceBook
from lib.providers.price_entries import Prices
from lib.providers.price_list import COLUMNS
from lib.providers.prices import Price, Rates, plain

NOW = datetime.now(UTC).replace(microsecond=0)
SHIPPED = plain("openai", "gpt-4.1", NOW - timedelta(days=100), Rates(2_000_000_000, 8_000_000_000), "shipped")


def own(model: str, dollars: int, days: float = 0) -> Price:
    return plain("openai", model, NOW + timedelta(days=days), Rates(dollars * 10**9, 0))


@pytest.fixture
def book(store: Store) -> PriceBook:
    return PriceBook([SHIPPED], store)


@pytest.fixture
def prices(store: Store, book: PriceBook) -> Prices:
    return Prices(store, book)


def rate(book: PriceBook, model: str, days: float = 0.0) -> int | None:
    price = book.price("openai", model, NOW + timedelta(days=days))
    return None if price is None else price.rates.input // 10**9


@pytest.mark.feature("COST-1")
def test_versions_hold_from_their_moment_and_own_beats_shipped(book: PriceBook, prices: Prices) -> None:
    assert rate(book, "gpt-4.1") == 2
    prices.set(OPERATOR, own("gpt-4.1", 5, days=-10))
    prices.set(OPERATOR, own("gpt-4.1", 7, days=3))
    assert [rate(book, "gpt-4.1", days) for days in (-200, -11, -10, 0, 2.9, 3, 400)] == [2, 2, 5, 5, 5, 7, 7]
    assert [price.rates.input // 10**9 for price in prices.versions(OPERATOR, "openai", "gpt-4.1")] == [2, 5, 7]


@pytest.mark.feature("COST-1")
def test_the_most_specific_name_wins(book: PriceBook, prices: Prices) -> None:
    for price in (own("gpt-*", 1, -9), own("gpt-5*", 2, -9), own("gpt-4.1-2025-04-14", 3, -9)):
        prices.set(OPERATOR, price)
    names = ["gpt-4.1-2025-04-14", "gpt-4.1-2025-04-15", "gpt-4.1-latest", "gpt-4.1", "gpt-5-mini", "gpt-3", "o3"]
    assert [rate(book, name) for name in names] == [3, 2, 2, 2, 2, 1, None]


@pytest.mark.feature("COST-1")
def test_an_own_entry_never_holds_before_it_begins(book: PriceBook, prices: Prices) -> None:
    prices.set(OPERATOR, own("new-model", 4, days=0))
    assert rate(book, "new-model", -1) is None
    assert rate(book, "new-model", 0) == 4


@pytest.mark.feature("COST-1")
def test_another_process_sees_a_change(store: Store, prices: Prices) -> None:
    other = PriceBook([SHIPPED], store)
    assert rate(other, "new-model") is None
    prices.set(OPERATOR, own("new-model", 4, -1))
    other._next_check = 0.0
    assert rate(other, "new-model") == 4
    prices.delete(OPERATOR, prices.versions(OPERATOR, "openai", "new-model")[0].id)
    other._next_check = 0.0
    assert rate(other, "new-model") is None


@pytest.mark.feature("COST-1")
def test_an_import_is_previewed_and_taken_whole(store: Store, prices: Prices) -> None:
    head = ",".join(COLUMNS)
    first = f"{head}\nopenai,a,2026-01-01,,1,2,,,,,,,here\nopenai,b,2026-01-01,,1,2,,,,,,,here\n"
    assert len(prices.preview(OPERATOR, first).new) == 2
    assert prices.search(OPERATOR, own_only=True) == []
    prices.import_csv(OPERATOR, first)
    second = first.replace("openai,b,2026-01-01,,1,", "openai,b,2026-01-01,,9,")
    found = prices.preview(OPERATOR, second)
    assert ([p.model for p in found.same], [p.model for p in found.changed], found.new) == (["a"], ["b"], [])
    with pytest.raises(InvalidInput):
        prices.import_csv(OPERATOR, second + "openai,c,never,,1,2,,,,,,,\n")
    assert prices.search(OPERATOR, "b")[0].rates.input == 10**9
    prices.import_csv(OPERATOR, second)
    assert prices.search(OPERATOR, "b")[0].rates.input == 9 * 10**9
    assert prices.export_csv(OPERATOR, own_only=True) == second
    with store.read() as connection:
        actions = list(connection.scalars(select(audit_log.c.action)))
    assert actions == ["prices.import", "prices.import"]


@pytest.mark.feature("COST-1")
def test_a_price_is_found_by_its_words(prices: Prices) -> None:
    prices.set(OPERATOR, own("my-mini", 1, -1))
    assert [p.model for p in prices.search(OPERATOR)] == ["my-mini", "gpt-4.1"]
    assert [p.model for p in prices.search(OPERATOR, "openai 4.1")] == ["gpt-4.1"]
    assert prices.search(OPERATOR, kind="anthropic") == []


@pytest.mark.feature("COST-1")
def test_only_who_manages_providers_changes_prices(prices: Prices) -> None:
    developer = actor_for("u1", "dev", Role.DEVELOPER)
    assert prices.search(developer)
    for act in (
        lambda: prices.set(developer, own("m", 1)),
        lambda: prices.delete(developer, "x"),
        lambda: prices.import_csv(developer, ""),
        lambda: prices.preview(developer, ""),
    ):
        with pytest.raises(PermissionDenied):
            act()
    with pytest.raises(NotFound):
        prices.delete(OPERATOR, "x")
