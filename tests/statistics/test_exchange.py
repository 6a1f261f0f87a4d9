"""The report currency: each day at its rate, what has none is told apart, lists are taken whole or not at all."""

from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledger_rows import AMIRA, call, write

from lib.db.engine import Store
from lib.errors import InvalidInput, NotFound
from lib.statistics.exchange import Converted, ExchangeRates, Rate, RateBook, read
from lib.statistics.filters import StatisticsFilter
from lib.statistics.queries import Statistics
from lib.statistics.series import by_day

pytestmark = pytest.mark.feature("COST-4")
FIRST = date(2026, 10, 1)
DAYS = st.integers(0, 40).map(lambda n: FIRST + timedelta(days=n))
RATES = st.dictionaries(DAYS, st.decimals("0.0001", "20000", places=6), max_size=12)
COSTS = st.lists(st.tuples(DAYS, st.none() | st.integers(0, 10**16)), max_size=30)


@given(rates=RATES, costs=COSTS)
def test_each_day_is_converted_at_its_rate_exactly(
    rates: dict[date, Decimal], costs: list[tuple[date, int | None]]
) -> None:
    ordered = sorted(rates)
    whole, known, without = Fraction(0), False, set()
    for day, nano in costs:
        past = [one for one in ordered if one <= day]
        if nano is None:
            continue
        if past or nano == 0:
            known = True
            whole += Fraction(nano, 10**9) * Fraction(rates[past[-1]] if past else 0)
        else:
            without.add(day)
    found = RateBook("EUR", tuple(ordered), tuple(rates[day] for day in ordered)).convert(costs)
    assert found.days_without_rate == len(without)
    assert (found.amount is not None) == known
    if found.amount is not None:
        assert abs(Fraction(found.amount) - whole) <= Fraction(1, 2 * 10**9)
        assert found.amount == found.amount.quantize(Decimal("1e-9"), ROUND_HALF_EVEN)


def test_dollars_need_no_rate_and_unknown_stays_unknown() -> None:
    assert RateBook("USD", (), ()).convert([(FIRST, 1_500_000_000), (FIRST, None)]).amount == Decimal("1.5")
    assert RateBook("EUR", (FIRST,), (Decimal("0.9"),)).convert([(FIRST, None)]) == Converted("EUR", None, 0)


def test_rates_are_kept_replaced_removed_and_chosen(store: Store) -> None:
    rates = ExchangeRates(store)
    assert (rates.currency(AMIRA), rates.choices(AMIRA)) == ("USD", {})
    with pytest.raises(InvalidInput, match="no rate for EUR"):
        rates.choose(AMIRA, "EUR")
    rates.set(AMIRA, Rate(FIRST, "eur", Decimal("0.9")))
    rates.set(AMIRA, Rate(FIRST, "EUR", Decimal("0.91")))
    later = FIRST + timedelta(days=3)
    assert rates.import_csv(AMIRA, f"day,currency,per_usd\n{later},EUR,0.95\n{later},JPY,149.5\n") == 2
    rates.choose(AMIRA, "EUR")
    book = rates.book(AMIRA)
    assert (book.currency, book.days, book.rates) == ("EUR", (FIRST, later), (Decimal("0.91"), Decimal("0.95")))
    assert book.on(FIRST - timedelta(days=1)) is None
    assert (book.on(later - timedelta(days=1)), book.on(later + timedelta(days=90))) == book.rates
    rates.delete(AMIRA, "EUR", later)
    assert rates.choices(AMIRA) == {"EUR": (1, FIRST, FIRST), "JPY": (1, later, later)}
    with pytest.raises(NotFound):
        rates.delete(AMIRA, "EUR", later)


def test_the_central_banks_history_is_turned_to_dollars() -> None:
    found = read("Date,USD,JPY,CYP,\n2026-10-02,1.25,150,N/A,\n2026-10-01,N/A,149,N/A,\n")
    assert found == [
        Rate(date(2026, 10, 2), "EUR", Decimal("0.8")),
        Rate(date(2026, 10, 2), "JPY", Decimal("120")),
    ]


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("a,b\n1,2\n", "no exchange rates"),
        ("day,currency,per_usd\n", "empty"),
        ("day,currency,per_usd\n2026-10-01,EUR,0.9\n2026-10-02,EUR,nine\n", "Line 3"),
        ("day,currency,per_usd\n2026-10-01,EUR,0\n", "no usable rate"),
        ("day,currency,per_usd\n2026-10-01,EUR,NaN\n", "no usable rate"),
        ("day,currency,per_usd\n2026-10-01,USD,1\n", "names no currency"),
        ("day,currency,per_usd\n1 Oct,EUR,1\n", "can't be read"),
    ],
)
def test_a_list_with_a_wrong_line_changes_nothing(store: Store, document: str, said: str) -> None:
    rates = ExchangeRates(store)
    with pytest.raises(InvalidInput, match=said):
        rates.import_csv(AMIRA, document)
    assert rates.choices(AMIRA) == {}


def test_the_days_are_those_of_the_report_zone(store: Store, tmp_path: Path) -> None:
    write(
        store,
        call(datetime(2026, 10, 1, 23, tzinfo=UTC), cost_nano_usd=10**9),  # the 2nd in Berlin
        call(datetime(2026, 10, 2, 23, tzinfo=UTC), cost_nano_usd=None),
    )
    ask = Statistics(store, tmp_path)
    costs = by_day(ask, AMIRA, StatisticsFilter(zone=ZoneInfo("Europe/Berlin")))
    assert costs == [(date(2026, 10, 2), 10**9), (date(2026, 10, 3), None)]
    ask.close()
