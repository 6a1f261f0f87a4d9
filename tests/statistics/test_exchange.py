"""The report currency: each day at its rate, what has none is told apart, lists are taken whole or not at all."""

import math
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import count
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lib.db import schema
from lib.db.engine import Store
from lib.errors import InvalidInput, NotFound
from lib.statistics.copy import rollup
from lib.statistics.exchange import ExchangeRates, Rate, RateBook, read
from lib.statistics.filters import StatisticsFilter
from lib.statistics.measures import Axis, Dimension, Measure
from lib.statistics.periods import PeriodStep
from lib.statistics.queries import Statistics
from tests.statistics.ledger_rows import AMIRA, call, write

pytestmark = pytest.mark.feature("COST-4")
FIRST = date(2026, 10, 1)
DAYS = st.integers(0, 40).map(lambda n: FIRST + timedelta(days=n))
RATES = st.dictionaries(DAYS, st.decimals("0.0001", "20000", places=6), max_size=12)
NUMBERS = count()


ROWS = st.builds(
    call,
    st.integers(0, 40 * 24).map(lambda hours: datetime(2026, 10, 1, tzinfo=UTC) + timedelta(hours=hours)),
    provider=st.sampled_from(["openai", "groq"]),
    status=st.sampled_from(["ok", "error"]),
    is_final=st.booleans(),
    cost_nano_usd=st.none() | st.sampled_from([0, 1]) | st.integers(0, 10**13),
    saved_nano_usd=st.none() | st.integers(-5, 10**9),
    total_tokens=st.none() | st.integers(0, 5000),
)
ZONE = ZoneInfo("Europe/Berlin")


def book(rates: dict[date, Decimal]) -> RateBook:
    return RateBook("EUR", tuple(sorted(rates)), tuple(rates[day] for day in sorted(rates)))


def expected(rows: list[dict[str, Any]], rates: RateBook) -> dict[str, int | None]:
    """Each row at its local day's rate, exactly; rounded once."""

    def shown(row: dict[str, Any], name: str) -> Fraction | None:
        rate, nano = rates.on(row["started_at"].astimezone(ZONE).date()), row[name]
        return None if nano is None or rate is None else nano * Fraction(rate)

    def total(values: list[Fraction | None]) -> Fraction | None:
        known = [value for value in values if value is not None]
        return sum(known, Fraction()) if known else None

    costs = [shown(row, "cost_nano_usd") for row in rows]
    priced = [row for row, cost in zip(rows, costs, strict=True) if cost is not None]
    cost, final = total(costs), sum(row["is_final"] for row in priced)
    tokens = sum(row["total_tokens"] or 0 for row in priced)
    wasted = [one for row, one in zip(rows, costs, strict=True) if row["status"] != "ok" or not row["is_final"]]
    figures = {
        "cost": None if cost == 0 and len(priced) < len(rows) else cost,
        "saved": total([shown(row, "saved_nano_usd") for row in rows]),
        "wasted": total(wasted),
        "cost_per_call": cost / final if cost is not None and final else None,
        "cost_per_1k_tokens": cost * 1000 / tokens if cost is not None and tokens else None,
    }
    return {name: None if value is None else _rounded(value) for name, value in figures.items()}


def _rounded(value: Fraction) -> int:
    return math.floor(value + Fraction(1, 2)) if value >= 0 else -math.floor(-value + Fraction(1, 2))


@pytest.mark.parametrize("least", [0, 10**9], ids=["roll-up", "rows"])
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(ROWS, min_size=1, max_size=25), rates=RATES)
def test_every_figure_of_money_is_converted_at_each_days_rate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, least: int, rows: list[dict[str, Any]], rates: dict[date, Decimal]
) -> None:
    for name, value in {"LEAST_ROWS": least, "LONGEST_TAIL": 2, "_SLACK": 0}.items():
        monkeypatch.setattr(rollup, name, value)
    folder = tmp_path / str(next(NUMBERS))
    folder.mkdir()
    store = Store(f"sqlite:///{folder / 'a.db'}")
    schema.upgrade(store)
    write(store, *rows)
    ask, money = Statistics(store, folder), book(rates)
    measures = [Measure.COST, Measure.SAVED, Measure.WASTED, Measure.COST_PER_CALL, Measure.COST_PER_1K_TOKENS]
    measures += [Measure.CALLS, Measure.UNPRICED]
    where = StatisticsFilter(zone=ZONE, money=money)
    tables: list[list[Axis]] = [[], [PeriodStep.DAY], [Dimension.PROVIDER], [Dimension.PROVIDER, PeriodStep.HOUR]]
    for axes in tables:
        dollars = ask.pivot(AMIRA, where.in_dollars, axes, measures)
        found = ask.pivot(AMIRA, where, axes, measures)
        assert found[["calls", "unpriced"]].equals(dollars[["calls", "unpriced"]]), "counts know no currency"
    for values in ask.pivot(AMIRA, where, [Dimension.PROVIDER], measures).to_dict("records"):
        mine = [row for row in rows if row["provider"] == values["provider"]]
        got = {name: None if pd.isna(values[name]) else int(values[name]) for name in expected(mine, money)}
        wanted = expected(mine, money)
        ratios = {"cost_per_call", "cost_per_1k_tokens"}  # divided first, to a thousandth of a billionth, then rounded
        assert {n: v for n, v in got.items() if n not in ratios} == {n: v for n, v in wanted.items() if n not in ratios}
        for name in ratios:
            assert (got[name] is None) == (wanted[name] is None)
            assert abs((got[name] or 0) - (wanted[name] or 0)) <= 1
    ask.close()
    store.dispose()


def test_the_table_for_others_has_both_currencies(store: Store, tmp_path: Path) -> None:
    write(
        store,
        call(datetime(2026, 10, 2, 12, tzinfo=UTC), cost_nano_usd=10**9),
        call(datetime(2026, 10, 3, 12, tzinfo=UTC), cost_nano_usd=10**9),
        call(datetime(2026, 9, 3, 12, tzinfo=UTC), cost_nano_usd=10**9, provider="groq"),  # before the first rate
    )
    ask = Statistics(store, tmp_path)
    money = book({FIRST: Decimal("0.9"), FIRST + timedelta(days=2): Decimal("0.123456789012")})
    table = ask.stats_table(AMIRA, ["provider"], statistics_filter=StatisticsFilter(money=money))
    assert list(table.columns)[-3:] == ["cost_usd", "cost_eur", "unpriced_calls"]
    assert table.cost_usd.tolist() == [Decimal(1), Decimal(2)]
    assert table.cost_eur.tolist() == [None, Decimal("1.023456789")]
    ask.close()


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
    assert book is not None
    assert (book.currency, book.days, book.rates) == ("EUR", (FIRST, later), (Decimal("0.91"), Decimal("0.95")))
    assert book.on(FIRST - timedelta(days=1)) is None
    assert (book.on(later - timedelta(days=1)), book.on(later + timedelta(days=90))) == book.rates
    rates.delete(AMIRA, "EUR", later)
    assert rates.choices(AMIRA) == {"EUR": (1, FIRST, FIRST), "JPY": (1, later, later)}
    with pytest.raises(NotFound):
        rates.delete(AMIRA, "EUR", later)
    rates.delete(AMIRA, "EUR", FIRST)
    assert rates.book(AMIRA) is None, "without a rate figures are dollars"
    with pytest.raises(InvalidInput, match="no rate for EUR"):
        rates.book(AMIRA, "EUR")


def test_the_central_banks_history_is_turned_to_dollars() -> None:
    found = read("Date,USD,JPY,CYP,\n2026-10-02,1.25,150,N/A,\n2026-10-01,N/A,149,N/A,\n")
    assert found == [
        Rate(date(2026, 10, 2), "EUR", Decimal("0.8")),
        Rate(date(2026, 10, 2), "JPY", Decimal("120")),
    ]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_list_of_a_spreadsheet_with_decimal_commas(end: str) -> None:
    lines = ["\ufeffday;currency;per_usd", "01.10.2026;EUR;0,92", "2026-10-01;KRW;1.412,5", "2026-10-02;JPY;150,25"]
    assert read(end.join(lines)) == [
        Rate(date(2026, 10, 1), "EUR", Decimal("0.92")),
        Rate(date(2026, 10, 1), "KRW", Decimal("1412.5")),
        Rate(date(2026, 10, 2), "JPY", Decimal("150.25")),
    ]


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("a,b\n1,2\n", "no exchange rates"),
        ("day,currency,per_usd\n", "empty"),
        ("day,currency,per_usd\n2026-10-01,EUR,0.9\n2026-10-02,EUR,nine\n", "Line 3"),
        ("day,currency,per_usd\n2026-10-01,EUR,0\n", "no usable rate"),
        ("day,currency,per_usd\n2026-10-01,EUR,NaN\n", "Line 2 can't be read"),
        ("day;currency;per_usd\n2026-10-01;KRW;1.412\n", "Line 2 can't be read"),  # 1412 or 1.412
        ("day,currency,per_usd\n2026-10-01,USD,1\n", "names no currency"),
        ("day,currency,per_usd\n1 Oct,EUR,1\n", "can't be read"),
    ],
)
def test_a_list_with_a_wrong_line_changes_nothing(store: Store, document: str, said: str) -> None:
    rates = ExchangeRates(store)
    with pytest.raises(InvalidInput, match=said):
        rates.import_csv(AMIRA, document)
    assert rates.choices(AMIRA) == {}
