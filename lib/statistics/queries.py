"""Questions about the ledger, by name: each takes who asks and a filter, and answers with a DataFrame.

Money is exact: integer nano-dollars in frames (`cost_nano_usd`), Decimal dollars in the table for outside readers.
What is not known is missing, never zero, and `unpriced_calls` says how many calls a sum leaves out. Answers are kept
as long as the ledger does not change, apart for each scope: a redraw costs no query.
"""
# ruff: noqa: S608 - names in SQL are those of the enums; values are bound

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd

from lib.access.permissions import Actor
from lib.clock import utc_now
from lib.db.engine import Store
from lib.errors import InvalidInput
from lib.money import usd_from_nano
from lib.statistics.filters import CALLS_SQL, COST_SQL, Dimension, Measure, StatisticsFilter
from lib.statistics.mirror import Mirror, Version
from lib.statistics.periods import Step, bucket_key, hour_phase, local_time_sql

_KEPT = 400  # answers
_FAILED = "status IN ('error', 'timeout', 'truncated', 'orphaned')"
_FIGURES = f"""
    {CALLS_SQL} AS calls,
    CAST(sum(prompt_tokens) AS BIGINT) AS prompt_tokens,
    CAST(sum(completion_tokens) AS BIGINT) AS completion_tokens,
    CAST(sum(total_tokens) AS BIGINT) AS total_tokens,
    {COST_SQL} AS cost_nano_usd,
    count(DISTINCT call_id) FILTER (cost_nano_usd IS NULL)
        + CAST(coalesce(sum(calls - 1) FILTER (cost_nano_usd IS NULL), 0) AS BIGINT) AS unpriced_calls,
    CAST(coalesce(sum(calls) FILTER (is_final AND {_FAILED}), 0) AS BIGINT) AS failed_calls,
    count(*) FILTER (NOT is_final) AS retries,
    quantile_cont(first_token_ms, 0.5) AS first_token_p50_ms,
    quantile_cont(first_token_ms, 0.95) AS first_token_p95_ms,
    quantile_cont(execution_time_ms, 0.5) FILTER (is_final) AS latency_p50_ms,
    quantile_cont(execution_time_ms, 0.95) FILTER (is_final) AS latency_p95_ms,
    CAST(sum(saved_nano_usd) AS BIGINT) AS saved_nano_usd,
    CAST(sum(cache_read_tokens) AS BIGINT) AS cache_read_tokens,
    CAST(sum(cost_nano_usd) FILTER (status <> 'ok' OR NOT is_final) AS BIGINT) AS wasted_nano_usd
"""
_FIRST = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Figures:
    """What a set of attempts adds up to; None where nothing is known."""

    calls: int
    prompt_tokens: int | None
    completion_tokens: int | None
    total_tokens: int | None
    cost_nano_usd: int | None
    unpriced_calls: int
    failed_calls: int
    retries: int
    first_token_p50_ms: float | None
    first_token_p95_ms: float | None
    latency_p50_ms: float | None
    latency_p95_ms: float | None
    saved_nano_usd: int | None
    cache_read_tokens: int | None
    wasted_nano_usd: int | None

    @property
    def error_rate(self) -> float | None:
        """The share of calls that failed: errors, timeouts, cut streams; not what people stopped."""
        return self.failed_calls / self.calls if self.calls else None


class Statistics:
    """Answers from the ledger's columnar copy, which each question first brings up to date."""

    def __init__(self, store: Store, folder: Path | None = None) -> None:
        self._mirror = Mirror(store, folder)
        self._lock = threading.Lock()
        self._answers: OrderedDict[tuple[Any, ...], pd.DataFrame] = OrderedDict()

    def refresh(self) -> Version:
        """Bring the copy up to date; cheap when nothing has changed."""
        return self._mirror.refresh()

    def close(self) -> None:
        """Free the copy."""
        self._mirror.close()

    def totals(self, actor: Actor, where: StatisticsFilter) -> Figures:
        """Every figure over the whole range."""
        row = self._ask(actor, where, f"SELECT {_FIGURES} FROM calls").astype(object).iloc[0]
        figures: dict[str, Any] = {str(name): None if value is pd.NA else value for name, value in row.items()}
        return Figures(**figures)

    def by(self, actor: Actor, where: StatisticsFilter, *dimensions: Dimension) -> pd.DataFrame:
        """Every figure per value of the dimensions, the most expensive first."""
        names = ", ".join(f"{d.column} AS {d.value}" for d in dimensions)
        order = f"cost_nano_usd DESC NULLS LAST, calls DESC, {', '.join(d.value for d in dimensions)}"
        frame = self._ask(actor, where, f"SELECT {names}, {_FIGURES} FROM calls", "GROUP BY ALL ORDER BY " + order)
        return frame.assign(error_rate=frame.failed_calls / frame.calls.where(frame.calls > 0))

    def by_provider(self, actor: Actor, where: StatisticsFilter) -> pd.DataFrame:
        """Every figure per provider."""
        return self.by(actor, where, Dimension.PROVIDER)

    def by_model(self, actor: Actor, where: StatisticsFilter) -> pd.DataFrame:
        """Every figure per provider and model."""
        return self.by(actor, where, Dimension.PROVIDER, Dimension.MODEL)

    def top_models(self, actor: Actor, where: StatisticsFilter, measure: Measure, most: int = 14) -> pd.DataFrame:
        """The models with the largest sums of a measure: provider, model, value (missing: unknown), calls."""
        sql = f"SELECT provider, model, {measure.sql} AS value, {CALLS_SQL} AS calls FROM calls"
        order = f"GROUP BY ALL ORDER BY value DESC NULLS LAST, calls DESC, model LIMIT {int(most)}"
        return self._ask(actor, where, sql, order)

    def over_time(
        self, actor: Actor, where: StatisticsFilter, step: Step, measure: Measure, by: Sequence[Dimension]
    ) -> pd.DataFrame:
        """Sums of a measure per bucket and value of the dimensions: bucket, …, value. Empty buckets are left out."""
        names = ", ".join(f"{d.column} AS {d.value}" for d in by)
        sql = f"SELECT {_bucket_sql(where, step)} AS bucket, {names}, {measure.sql} AS value FROM calls"
        return self._keyed(actor, where, step, sql, f"GROUP BY ALL ORDER BY bucket, {', '.join(d.value for d in by)}")

    def trend(self, actor: Actor, where: StatisticsFilter, step: Step) -> pd.DataFrame:
        """Every figure per bucket, in order of time. Empty buckets are left out."""
        sql = f"SELECT {_bucket_sql(where, step)} AS bucket, {_FIGURES} FROM calls"
        frame = self._keyed(actor, where, step, sql, "GROUP BY ALL ORDER BY bucket")
        return frame.assign(error_rate=frame.failed_calls / frame.calls.where(frame.calls > 0))

    def cross_tab(
        self, actor: Actor, where: StatisticsFilter, rows: Dimension, columns: Dimension, measure: Measure
    ) -> pd.DataFrame:
        """Sums of a measure for each pair of values: row, column, value."""
        sql = f"SELECT {rows.column} AS row, {columns.column} AS column, {measure.sql} AS value FROM calls"
        return self._ask(actor, where, sql, 'GROUP BY ALL ORDER BY value DESC NULLS LAST, "row", "column"')

    def choices(self, actor: Actor, dimension: Dimension) -> list[str]:
        """The values of a dimension that occur anywhere in the actor's scope, by name."""
        sql = f"SELECT DISTINCT {dimension.column} AS name FROM calls"
        frame = self._ask(actor, StatisticsFilter(), sql, "ORDER BY name")
        return [name for name in frame["name"] if isinstance(name, str)]

    def newest(self, actor: Actor) -> datetime | None:
        """When the newest call of the actor's scope started, or None when there is none."""
        newest = self._ask(actor, StatisticsFilter(), "SELECT max(started_at) AS newest FROM calls").newest.dropna()
        return newest.iloc[0].to_pydatetime().replace(tzinfo=UTC) if len(newest) else None

    def stats_table(
        self,
        actor: Actor,
        by: Sequence[str],
        start: datetime | None = None,
        end: datetime | None = None,
        where: StatisticsFilter | None = None,
    ) -> pd.DataFrame:
        """The dimensions (hour, day, week and month too), calls, tokens, exact cost_usd, unpriced_calls; a contract."""
        base, by = where or StatisticsFilter(), list(dict.fromkeys(by))
        base = replace(base, start=start or base.start, end=end or base.end)
        names, quoted = [_dimension_sql(name, base) for name in by], [f'"{name}"' for name in by]
        sql = f"SELECT {', '.join([*names, _FIGURES])} FROM calls"
        order = f"GROUP BY ALL ORDER BY {', '.join(quoted)}" if by else ""
        frame = self._ask(actor, base, sql, order)
        for name in by:
            if name in set(Step):
                form = "%Y-%m-%dT%H:%MZ" if name == Step.HOUR else "%Y-%m-%d"
                frame[name] = frame[name].dt.strftime(form)
        cost = [None if pd.isna(nano) else usd_from_nano(int(nano)) for nano in frame.cost_nano_usd]
        frame["cost_usd"] = pd.Series(cost, index=frame.index, dtype=object)
        columns = ["calls", "prompt_tokens", "completion_tokens", "total_tokens", "cost_usd", "unpriced_calls"]
        return frame[[*by, *columns]]

    def _keyed(self, actor: Actor, where: StatisticsFilter, step: Step, sql: str, rest: str) -> pd.DataFrame:
        """A query whose first column is a bucket, with the bucket as its key."""
        frame = self._ask(actor, where, sql, rest)
        keys = {bucket: _key(bucket, step, where) for bucket in frame.bucket.unique()}
        return frame.assign(bucket=frame.bucket.map(keys))

    def _ask(self, actor: Actor, where: StatisticsFilter, sql: str, rest: str = "") -> pd.DataFrame:
        """The answer, from memory when the ledger has not changed; a copy that the caller may change."""
        version = self._mirror.refresh()
        condition, values = where.condition(actor)
        key = (version, sql, rest, condition, tuple(values))
        with self._lock:
            if (known := self._answers.get(key)) is not None:
                self._answers.move_to_end(key)
                return known.copy(deep=False)
        frame = self._mirror.frame(f"{sql} WHERE {condition} {rest}", values)
        with self._lock:
            self._answers[key] = frame
            while len(self._answers) > _KEPT:
                self._answers.popitem(last=False)
        return frame.copy(deep=False)


def _bucket_sql(where: StatisticsFilter, step: Step) -> str:
    """The start of a row's bucket: the moment of the hour, or the local day on which day, week or month begin."""
    start, end = where.start or _FIRST, where.end or utc_now().replace(minute=0, second=0, microsecond=0)
    if step is Step.HOUR:
        phase = hour_phase(where.zone, start)
        return f"date_trunc('hour', started_at + to_seconds({phase})) - to_seconds({phase})"
    local = local_time_sql(where.zone, start, max(end, start + timedelta(seconds=1)))
    return f"date_trunc('{step.value}', {local})"


def _key(bucket: pd.Timestamp, step: Step, where: StatisticsFilter) -> str:
    if step is Step.HOUR:
        return bucket_key(bucket.to_pydatetime().replace(tzinfo=UTC), step, where.zone)
    return bucket.date().isoformat()


def _dimension_sql(name: str, where: StatisticsFilter) -> str:
    if name in set(Step):
        return f'{_bucket_sql(where, Step(name))} AS "{name}"'
    try:
        return f'{Dimension(name).column} AS "{name}"'
    except ValueError:
        known = ", ".join([*Dimension, *Step])
        raise InvalidInput(f"There is no dimension {name}.", "", f"Choose of {known}.", field="by") from None
