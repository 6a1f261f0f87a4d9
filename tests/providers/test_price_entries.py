"""A team's own prices: versions, precedence over the shipped list, import in one piece, permissions, audit."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import NoReturn

import pytest
from sqlalchemy import select

from lib.access.permissions import OPERATOR, Role, make_actor
from lib.db.engine import Store
from lib.db.tables import audit_log
from lib.errors import InstallationError, InvalidInput, NotFound, PermissionDenied
from lib.providers.prices.price_book import PriceBook
from lib.providers.prices.price_entries import Prices
from lib.providers.prices.price_list import COLUMNS
from lib.providers.prices.rates import Price, Rates, build_plain_price
from tests.waiting import until

NOW = datetime.now(UTC).replace(microsecond=0)
SHIPPED = build_plain_price(
    "openai", "gpt-4.1", NOW - timedelta(days=100), Rates(2_000_000_000, 8_000_000_000), "shipped"
)


def own(model: str, dollars: int, days: float = 0) -> Price:
    return build_plain_price("openai", model, NOW + timedelta(days=days), Rates(dollars * 10**9, 0))


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


def _is_rated(book: PriceBook, expected: int | None) -> bool:
    return rate(book, "new-model") == expected


@pytest.mark.feature("COST-1")
def test_another_process_sees_a_change_within_five_seconds(store: Store, prices: Prices) -> None:
    other = PriceBook([SHIPPED], store)
    assert rate(other, "new-model") is None
    changes: list[tuple[Callable[[], object], int | None]] = [
        (lambda: prices.set(OPERATOR, own("new-model", 4, -1)), 4)
    ]
    changes += [(lambda: prices.set(OPERATOR, own("new-model", 5, -1)), 5)]
    changes += [(lambda: prices.delete(OPERATOR, prices.versions(OPERATOR, "openai", "new-model")[0].id), None)]
    for change, expected in changes:
        change()
        until(partial(_is_rated, other, expected))


@pytest.mark.feature("COST-1")
def test_calls_are_priced_while_the_database_is_away(
    store: Store, prices: Prices, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = PriceBook([SHIPPED], store, check_s=0.0)

    def away() -> NoReturn:
        raise InstallationError("The database does not answer.")

    prices.set(OPERATOR, own("new-model", 4, -1))
    assert rate(book, "new-model") == 4
    monkeypatch.setattr(store, "read", away)
    assert [rate(book, "new-model") for _ in range(3)] == [4, 4, 4]
    fresh = PriceBook([SHIPPED], store)
    assert [rate(fresh, name) for name in ("gpt-4.1", "new-model")] == [2, None]
    with pytest.raises(InstallationError):
        prices.search(OPERATOR)


@pytest.mark.feature("COST-1")
def test_a_version_that_is_replaced_leaves_its_id_to_the_rows_made_with_it(book: PriceBook, prices: Prices) -> None:
    ids = set()
    for dollars in (4, 5):
        prices.set(OPERATOR, own("new-model", dollars, -1))
        found = book.price("openai", "new-model", NOW)
        assert found is not None
        ids.add(found.price_id)
    assert len(ids) == 2
    assert len(prices.versions(OPERATOR, "openai", "new-model")) == 1


@pytest.mark.feature("COST-1")
def test_the_list_shows_the_price_that_holds(book: PriceBook, prices: Prices) -> None:
    newer = PriceBook([build_plain_price("openai", "gpt-4.1", NOW, Rates(1, 1), "shipped")], prices._store)
    service = Prices(prices._store, newer)
    service.set(OPERATOR, own("gpt-4.1", 5, days=-10))
    service.set(OPERATOR, own("gpt-4*", 6, days=-10))
    service.set(OPERATOR, own("later", 7, days=10))
    shown = {price.model: price.rates.input for price in service.search(OPERATOR).prices}
    assert shown == {"gpt-4.1": 5 * 10**9, "gpt-4*": 6 * 10**9, "later": 7 * 10**9}
    assert rate(newer, "gpt-4.1") == 5  # the team's own, though the shipped one is younger


@pytest.mark.feature("COST-1")
def test_a_list_is_read_in_pages(prices: Prices) -> None:
    for number in range(5):
        prices.set(OPERATOR, own(f"m{number}", number))
    pages = [prices.search(OPERATOR, skip=skip, most=4) for skip in (0, 4, 8)]
    assert [[price.model for price in page.prices] for page in pages] == [
        ["m0", "m1", "m2", "m3"],
        ["m4", "gpt-4.1"],
        [],
    ]
    assert {page.total for page in pages} == {6}


@pytest.mark.feature("COST-1")
def test_an_exported_list_brings_nothing_new(prices: Prices) -> None:
    prices.set(OPERATOR, own("new-model", 4, -1))
    found = prices.preview(OPERATOR, prices.export_csv(OPERATOR))
    assert (len(found.new), len(found.changed), len(found.unchanged)) == (0, 0, 2)


@pytest.mark.feature("COST-1")
def test_an_import_is_previewed_and_taken_whole(store: Store, prices: Prices) -> None:
    head, gap = ",".join(COLUMNS), "," * (len(COLUMNS) - COLUMNS.index("output") - 1)
    first = f"{head}\nopenai,a,2026-01-01,,,1,2{gap}here\nopenai,b,2026-01-01,,,1,2{gap}here\n"
    assert len(prices.preview(OPERATOR, first).new) == 2
    assert prices.search(OPERATOR, own_only=True).total == 0
    prices.import_csv(OPERATOR, first)
    second = first.replace("openai,b,2026-01-01,,,1,", "openai,b,2026-01-01,,,9,")
    found = prices.preview(OPERATOR, second)
    assert ([p.model for p in found.unchanged], [p.model for p in found.changed], found.new) == (["a"], ["b"], [])
    with pytest.raises(InvalidInput):
        prices.import_csv(OPERATOR, second + "openai,c,never,,,1,2\n")
    assert prices.search(OPERATOR, "b").prices[0].rates.input == 10**9
    prices.import_csv(OPERATOR, second)
    assert prices.search(OPERATOR, "b").prices[0].rates.input == 9 * 10**9
    assert prices.export_csv(OPERATOR, own_only=True) == second
    with store.read() as connection:
        actions = list(connection.scalars(select(audit_log.c.action)))
    assert sorted(actions) == ["prices.export", "prices.import", "prices.import"]


@pytest.mark.feature("COST-1")
def test_a_price_is_found_by_its_words(prices: Prices) -> None:
    prices.set(OPERATOR, own("my-mini", 1, -1))
    assert [p.model for p in prices.search(OPERATOR).prices] == ["my-mini", "gpt-4.1"]
    assert [p.model for p in prices.search(OPERATOR, "openai 4.1").prices] == ["gpt-4.1"]
    assert prices.search(OPERATOR, kind="anthropic").total == 0


@pytest.mark.feature("COST-1")
def test_only_who_manages_providers_changes_prices(prices: Prices) -> None:
    developer = make_actor("u1", "dev", Role.DEVELOPER)
    assert prices.search(developer).total == 1
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
