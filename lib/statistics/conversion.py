"""Money of another currency: rows and days of the copy, each at its local day's rate.

Rates stand in a table `rates` of whole numbers, so every product and sum is exact, and a figure is rounded once. A day
without a rate has no known money, and what it cost is in no sum.
"""

from datetime import timedelta
from decimal import ROUND_HALF_EVEN
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]

from lib.statistics.exchange import RateBook
from lib.statistics.measures import CONVERTED, MONEY
from lib.statistics.rollup import Span

TABLE = "rates"
_SCALE = 10**12
_DAY = timedelta(days=1)


def rates(book: RateBook, span: Span) -> Any:
    """The table: every day of a span, and what a dollar was worth on it, in units of 1e-12 (an Arrow table)."""
    first, last = span.first.date() - _DAY, span.last.date() + 2 * _DAY
    days = [first + n * _DAY for n in range((last - first).days)]
    found = [book.on(day) for day in days]
    scaled = [None if rate is None else (rate * _SCALE).to_integral_value(ROUND_HALF_EVEN) for rate in found]
    return pa.table({"day": pa.array(days, pa.date32()), "scaled": pa.array(scaled, pa.decimal128(38, 0))})


def rows(local_sql: str) -> str:
    """The rows of the ledger with `cost_shown` and `saved_shown`; `local_sql` is a row's wall time."""
    shown = ", ".join(f"CAST({name}_nano_usd AS HUGEINT) * {_RATE} AS {name}_shown" for name in ("cost", "saved"))
    return f"(SELECT calls.*, {shown} FROM calls LEFT JOIN {TABLE} ON {TABLE}.day = CAST({local_sql} AS DATE))"  # noqa: S608 - our names


def days() -> str:
    """The days' roll-up with its money converted."""
    changed = [f"CAST(daily.{name} AS HUGEINT) * {_RATE} AS {name}" for name in MONEY]
    priced = [name for name in CONVERTED if name not in MONEY]
    changed += [f"CASE WHEN {_RATE} IS NULL THEN 0 ELSE daily.{name} END AS {name}" for name in priced]
    return f"(SELECT daily.* REPLACE ({', '.join(changed)}) FROM daily LEFT JOIN {TABLE} USING (day))"  # noqa: S608 - our names


def rounded(sql: str) -> str:
    """A figure as whole billionths, halves away from zero."""
    whole = f"({sql})"
    up = f"(2 * {whole} + {_SCALE}) // {2 * _SCALE}"
    down = f"-((2 * -{whole} + {_SCALE}) // {2 * _SCALE})"
    return f"CASE WHEN {whole} >= 0 THEN {up} ELSE {down} END"


_RATE = f"CAST({TABLE}.scaled AS HUGEINT)"
