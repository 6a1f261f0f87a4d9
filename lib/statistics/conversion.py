"""Money of another currency: what local days add up to, each at its rate.

Rates stand in a table `rates` of whole numbers, so every product and sum is exact, and a figure is rounded once. A day
without a rate has no known money, and what it cost is in no sum.
"""

from datetime import timedelta
from decimal import ROUND_HALF_EVEN
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]

from lib.statistics.copy.rollup import Span
from lib.statistics.exchange import RateBook
from lib.statistics.measures import MONEY, PRICED

TABLE = "rates"
_SCALE = 10**12
_DAY = timedelta(days=1)


def build_rate_table(book: RateBook, span: Span) -> Any:
    """The table: every day of a span, and what a dollar was worth on it, in units of 1e-12 (an Arrow table)."""
    first = span.first.date() - _DAY
    last = span.last.date() + 2 * _DAY
    days = [first + n * _DAY for n in range((last - first).days)]
    daily_rates = [book.on(day) for day in days]
    scaled = [None if rate is None else (rate * _SCALE).to_integral_value(ROUND_HALF_EVEN) for rate in daily_rates]
    return pa.table({"rate_day": pa.array(days, pa.date32()), "scaled": pa.array(scaled, pa.decimal128(38, 0))})


def convert_part(part: str) -> str:
    """A part of a local day, in a statement that has joined the table."""
    rate = f"CAST({TABLE}.scaled AS HUGEINT)"
    if part in MONEY:
        return f"CAST({part} AS HUGEINT) * {rate} AS {part}"
    return f"CASE WHEN {rate} IS NULL THEN 0 ELSE {part} END AS {part}" if part in PRICED else part


def round_figure(sql: str) -> str:
    """A figure as whole billionths, halves away from zero."""
    whole = f"({sql})"
    up = f"(2 * {whole} + {_SCALE}) // {2 * _SCALE}"
    down = f"-((2 * -{whole} + {_SCALE}) // {2 * _SCALE})"
    return f"CASE WHEN {whole} >= 0 THEN {up} ELSE {down} END"
