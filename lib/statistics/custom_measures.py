"""Custom metrics as measures: what callers noted about their calls, split by any axes like the ledger's own figures.

The numbers of a key come from the database and meet the copy's final rows: each counts once, whatever attempts its
call took, under the same filters, zone and permissions. What was noted about a call that still runs waits for its end.
"""

from collections.abc import Mapping
from datetime import timedelta

import pandas as pd
from sqlalchemy import select

from lib.access.permissions import Actor
from lib.db.engine import Store
from lib.db.tables import custom_metrics
from lib.statistics.copy.rollup import Span
from lib.statistics.cube import Query, build_row_condition, group_rows, join, split_rows
from lib.statistics.filters import StatisticsFilter
from lib.statistics.measures import Axis, Fold, MetricMeasure

TABLE = "noted"
_LONGEST_CALL = timedelta(days=1)  # from a call's first attempt, whose moment a metric has, to its last
_FOLDS = {
    Fold.MEAN: "avg(number)",
    Fold.SUM: "fsum(number)",
    Fold.P50: "quantile_disc(number, 0.5)",
    Fold.P95: "quantile_disc(number, 0.95)",
    Fold.VALUES: "count(number)",
}


def load_numbers(store: Store, filters: StatisticsFilter, key: str) -> pd.DataFrame:
    """Read the numbers recorded under a key for calls that may be in the range, as columns noted_call_id, number."""
    m = custom_metrics.c
    query = select(m.call_id, m.number).where(m.key == key, m.number.is_not(None))
    if filters.start is not None:
        query = query.where(m.started_at >= filters.start - _LONGEST_CALL)
    if filters.end is not None:
        query = query.where(m.started_at < filters.end)
    with store.read() as connection:
        rows = connection.execute(query).all()
    return pd.DataFrame(rows, columns=["noted_call_id", "number"]).astype({"number": "float64"})


def build_statement(
    actor: Actor, filters: StatisticsFilter, axes: Mapping[str, Axis], measure: MetricMeasure, span: Span
) -> Query:
    """A column for each axis and one for the measure; a row for each combination that has a number."""
    rows = join(build_row_condition(actor, filters), " AND is_final")
    source = f"calls JOIN {TABLE} ON call_id = noted_call_id"
    value = f"{_FOLDS[measure.fold]} AS value"
    return group_rows(split_rows(axes, filters, span), [value], rows, len(axes), source)
