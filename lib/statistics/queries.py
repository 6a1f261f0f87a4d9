"""Questions about the ledger, by name: each takes who asks and a filter, and answers with a DataFrame.

Money is exact: integer nano-dollars in frames (`cost_nano_usd`), Decimal dollars in the table for outside readers.
Where the filter names another currency, the same columns hold billionths of that.
What is not known is missing, never zero, and `unpriced_calls` says how many calls a sum leaves out. Answers are kept
as long as the ledger does not change, apart for each scope: a redraw costs no query.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from lib.access.permissions import Actor
from lib.db.engine import Store
from lib.money import convert_nano_to_usd
from lib.statistics import conversion, cube, custom_measures
from lib.statistics.copy import percentiles, rollup
from lib.statistics.copy.mirror import Mirror, Version, load_frame
from lib.statistics.filters import StatisticsFilter
from lib.statistics.measures import Axis, Dimension, Measure, MetricMeasure, Tag, parse_axis
from lib.statistics.periods import Cycle, PeriodStep, build_bucket_key

_MOST_ANSWERS = 400  # answers
_FIGURES = {
    "calls": Measure.CALLS,
    "prompt_tokens": Measure.PROMPT_TOKENS,
    "completion_tokens": Measure.COMPLETION_TOKENS,
    "total_tokens": Measure.TOKENS,
    "cost_nano_usd": Measure.COST,
    "unpriced_calls": Measure.UNPRICED,
    "failed_calls": Measure.FAILED,
    "retries": Measure.RETRIES,
    "first_token_p50_ms": Measure.FIRST_TOKEN_P50,
    "first_token_p95_ms": Measure.FIRST_TOKEN_P95,
    "latency_p50_ms": Measure.LATENCY_P50,
    "latency_p95_ms": Measure.LATENCY_P95,
    "saved_nano_usd": Measure.SAVED,
    "cache_read_tokens": Measure.CACHE_READ_TOKENS,
    "wasted_nano_usd": Measure.WASTED,
}
_NOT_SPLIT = ("first_token_p50_ms", "latency_p50_ms", "latency_p95_ms")  # of a split: dear, and nobody draws them
_SPLIT = {name: measure for name, measure in _FIGURES.items() if name not in _NOT_SPLIT}
_TABLE = ("calls", "prompt_tokens", "completion_tokens", "total_tokens", "cost_nano_usd", "unpriced_calls")


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
        self._store = store
        self._mirror = Mirror(store, folder)
        self._answers: OrderedDict[tuple[Any, ...], pd.DataFrame] = OrderedDict()

    def refresh(self) -> Version:
        """Bring the copy up to date; cheap when nothing has changed."""
        return self._mirror.refresh()

    def close(self) -> None:
        """Free the copy."""
        self._mirror.close()

    def pivot(
        self, actor: Actor, filters: StatisticsFilter, axes: Sequence[Axis], measures: Sequence[Measure]
    ) -> pd.DataFrame:
        """Any measures split by any axes: a column for each, by its value; in order of the axes, unknown first.

        Moments are the keys of `periods.list_buckets`; cycles are numbers. What has no attempt has no row.
        """
        names = {axis.value: axis for axis in axes}
        order = ", ".join(f'"{name}" NULLS FIRST' for name in names)
        return self._frame(actor, filters, names, {measure.value: measure for measure in measures}, order)

    def noted(
        self, actor: Actor, filters: StatisticsFilter, splits: Sequence[Sequence[Axis]], measure: MetricMeasure
    ) -> list[pd.DataFrame]:
        """A custom metric split by the axes of each split: frames as of `pivot`."""
        numbers = custom_measures.load_numbers(self._store, filters, measure.key)
        frames = []
        with self._mirror.asking() as (_, cursor):
            cursor.register(custom_measures.TABLE, numbers)
            for split in splits:
                axes = {axis.value: axis for axis in split}
                query = custom_measures.build_statement(actor, filters, axes, measure, self._mirror.copy(None).span)
                frame = _add_bucket_keys(load_frame(cursor, query.sql, query.values), axes, filters)
                frames.append(frame.rename(columns={"value": measure.value}))
        return frames

    def compared(
        self,
        actor: Actor,
        filters: StatisticsFilter,
        earlier_filters: StatisticsFilter,
        axes: Sequence[Dimension | Cycle | Tag],
        measures: Sequence[Measure],
    ) -> pd.DataFrame:
        """`pivot` of a range, and each measure again as `…_before` of another; what is in either has a row."""
        keys = [axis.value for axis in axes]
        now, then = (self.pivot(actor, range_filters, axes, measures) for range_filters in (filters, earlier_filters))
        return now.merge(then, how="outer" if keys else "cross", on=keys or None, suffixes=("", "_before"))

    def totals(self, actor: Actor, filters: StatisticsFilter) -> Figures:
        """Every figure over the whole range."""
        row = self._frame(actor, filters, {}, _FIGURES).astype(object).iloc[0]
        figures: dict[str, Any] = {str(name): None if value is pd.NA else value for name, value in row.items()}
        return Figures(**figures)

    def by(self, actor: Actor, filters: StatisticsFilter, *dimensions: Dimension) -> pd.DataFrame:
        """Figures per value of the dimensions, the most expensive first; of the times, the first token's p95."""
        names = {dimension.value: dimension for dimension in dimensions}
        order = ", ".join(["cost_nano_usd DESC NULLS LAST", "calls DESC", *(f'"{name}"' for name in names)])
        return _add_error_rate(self._frame(actor, filters, names, _SPLIT, order))

    def by_provider(self, actor: Actor, filters: StatisticsFilter) -> pd.DataFrame:
        """Figures per provider."""
        return self.by(actor, filters, Dimension.PROVIDER)

    def by_model(self, actor: Actor, filters: StatisticsFilter) -> pd.DataFrame:
        """Figures per provider and model."""
        return self.by(actor, filters, Dimension.PROVIDER, Dimension.MODEL)

    def top_models(self, actor: Actor, filters: StatisticsFilter, measure: Measure, most: int = 14) -> pd.DataFrame:
        """The models with the largest sums of a measure: provider, model, value (missing: unknown), calls.

        Costs have `unpriced_calls` beside them here and in the next, for their charts.
        """
        names = {"provider": Dimension.PROVIDER, "model": Dimension.MODEL}
        order = f"value DESC NULLS LAST, calls DESC, model LIMIT {int(most)}"
        return self._frame(actor, filters, names, {**_build_chart_columns(measure), "calls": Measure.CALLS}, order)

    def over_time(
        self, actor: Actor, filters: StatisticsFilter, step: PeriodStep, measure: Measure, by: Sequence[Axis]
    ) -> pd.DataFrame:
        """Sums of a measure per bucket and value of the axes: bucket, …, value. Empty buckets are left out."""
        names = {"bucket": step, **{axis.value: axis for axis in by}}
        return self._frame(
            actor, filters, names, _build_chart_columns(measure), ", ".join(f'"{name}"' for name in names)
        )

    def trend(self, actor: Actor, filters: StatisticsFilter, step: PeriodStep) -> pd.DataFrame:
        """Figures per bucket, in order of time, as in `by`. Empty buckets are left out."""
        return _add_error_rate(self._frame(actor, filters, {"bucket": step}, _SPLIT, "bucket"))

    def cross_tab(
        self, actor: Actor, filters: StatisticsFilter, rows: Axis, columns: Axis, measure: Measure
    ) -> pd.DataFrame:
        """A measure for each pair of values of any two axes: row, column, value."""
        names = {"row": rows, "column": columns}
        return self._frame(
            actor, filters, names, _build_chart_columns(measure), 'value DESC NULLS LAST, "row", "column"'
        )

    def choices(self, actor: Actor, dimension: Dimension) -> list[str]:
        """The values of a dimension that occur anywhere in the actor's scope, by name."""
        frame = self._frame(actor, StatisticsFilter(), {"name": dimension}, {}, "name")
        return [name for name in frame["name"] if isinstance(name, str)]

    def newest(self, actor: Actor) -> datetime | None:
        """When the newest call of the actor's scope started, or None when there is none."""
        newest = self._ask(actor, StatisticsFilter(), "SELECT max(started_at) AS newest FROM calls").newest.dropna()
        return newest.iloc[0].to_pydatetime().replace(tzinfo=UTC) if len(newest) else None

    def answer(self, actor: Actor, filters: StatisticsFilter, ask: Callable[[cube.Query], cube.Query]) -> pd.DataFrame:
        """The answer to a statement that another module makes around the condition of the rows."""
        query = ask(cube.build_row_condition(actor, filters))
        return self._cached_frame(
            (query.sql, *query.values), lambda cursor: load_frame(cursor, query.sql, query.values)
        )

    def stats_table(
        self,
        actor: Actor,
        by: Sequence[str],
        start: datetime | None = None,
        end: datetime | None = None,
        statistics_filter: StatisticsFilter | None = None,
    ) -> pd.DataFrame:
        """The dimensions (hour, day, week and month too), calls, tokens, exact cost_usd, unpriced_calls; a contract.

        A filter of another currency adds `cost_…`, named after it.
        """
        base = statistics_filter or StatisticsFilter()
        by = list(dict.fromkeys(by))
        base = replace(base, start=start or base.start, end=end or base.end)
        names = {name: parse_axis(name) for name in by}
        order = ", ".join(f'"{name}"' for name in by)
        frame = self._frame(actor, base.in_dollars, names, {n: _FIGURES[n] for n in _TABLE}, order, keyed=False)
        for name in by:
            if name in set(PeriodStep):
                form = "%Y-%m-%dT%H:%MZ" if name == PeriodStep.HOUR else "%Y-%m-%d"
                frame[name] = frame[name].dt.strftime(form)
        frame["cost_usd"] = _convert_to_dollars(frame.cost_nano_usd)
        columns = ["calls", "prompt_tokens", "completion_tokens", "total_tokens", "cost_usd", "unpriced_calls"]
        if base.money is not None:
            columns.insert(5, column := f"cost_{base.currency.lower()}")
            in_currency = self._frame(actor, base, names, {"cost": Measure.COST}, order, keyed=False)  # the same rows
            frame[column] = _convert_to_dollars(in_currency.cost)
        return frame[[*by, *columns]]

    def _frame(
        self,
        actor: Actor,
        filters: StatisticsFilter,
        axes: Mapping[str, Axis],
        measures: Mapping[str, Measure],
        order: str = "",
        *,
        keyed: bool = True,
    ) -> pd.DataFrame:
        """The answer of the cube; buckets of time as their keys."""

        def ask(cursor: duckdb.DuckDBPyConnection) -> pd.DataFrame:
            copy = self._copy(actor, filters, axes)
            exact_times = set[str]()
            for (column, _), group in cube.group_direct_measures(measures).items():
                if shares := cube.list_shares(group):
                    table = percentiles.compute_exact(cursor, actor, filters, axes, column, shares, copy)
                    if table is not None:
                        cursor.register(f"found_{column}", table)
                        exact_times.add(column)
            if filters.money is not None:
                cursor.register(conversion.TABLE, conversion.build_rate_table(filters.money, copy.span))
            query = cube.build_statement(actor, filters, axes, measures, copy, exact_times)
            frame = load_frame(cursor, query.sql + (f" ORDER BY {order}" if order else ""), query.values)
            return _add_bucket_keys(frame, axes, filters) if keyed else frame

        return self._cached_frame(
            (filters, _build_scope(actor), tuple(axes.items()), tuple(measures.items()), order, keyed), ask
        )

    def _copy(self, actor: Actor, filters: StatisticsFilter, axes: Mapping[str, Axis]) -> cube.Copy:
        """Choose what answers: a roll-up only for a question that it can answer and that needs a zone."""
        answers = actor.sees_all_calls and rollup.can_answer(filters, axes.values())
        in_time = filters.start or filters.end or any(isinstance(axis, PeriodStep | Cycle) for axis in axes.values())
        return self._mirror.copy(filters.zone if answers and in_time else None)

    def _ask(self, actor: Actor, filters: StatisticsFilter, sql: str, ending: str = "") -> pd.DataFrame:
        """The answer to a statement about the rows that the actor may see."""
        condition, values = filters.condition(actor)
        sql = f"{sql} WHERE {condition} {ending}"
        return self._cached_frame((sql, *values), lambda cursor: load_frame(cursor, sql, values))

    def _cached_frame(
        self, question: tuple[Any, ...], ask: Callable[[duckdb.DuckDBPyConnection], pd.DataFrame]
    ) -> pd.DataFrame:
        """The answer, from memory when the ledger has not changed; a copy that the caller may change."""
        with self._mirror.asking() as (version, cursor):
            key = (version, *question)
            if key not in self._answers:
                self._answers[key] = ask(cursor)
            self._answers.move_to_end(key)
            while len(self._answers) > _MOST_ANSWERS:
                self._answers.popitem(last=False)
            return self._answers[key].copy(deep=False)


def _build_scope(actor: Actor) -> tuple[Any, ...]:
    """The part of a cache key that says which rows the actor may see."""
    if not actor.sees_all_calls:
        return (actor.user_id, actor.key and (actor.key.app, actor.team_id))
    return ("all",) if actor.sees_every_team else ("team", actor.team_id)


def _build_chart_columns(measure: Measure) -> dict[str, Measure]:
    """The columns of a chart's figures: how many calls a sum of costs leaves out tells whether it is the whole."""
    return {"value": measure} | ({"unpriced_calls": Measure.UNPRICED} if measure is Measure.COST else {})


def _convert_to_dollars(nano: pd.Series) -> pd.Series:
    amounts = [None if pd.isna(value) else convert_nano_to_usd(int(value)) for value in nano]
    return pd.Series(amounts, index=nano.index, dtype=object)


def _add_error_rate(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(error_rate=frame.failed_calls / frame.calls.where(frame.calls > 0))


def _add_bucket_keys(frame: pd.DataFrame, axes: Mapping[str, Axis], filters: StatisticsFilter) -> pd.DataFrame:
    for name, axis in axes.items():
        if isinstance(axis, PeriodStep):
            keys = {bucket: _build_key(bucket, axis, filters) for bucket in frame[name].unique()}
            frame[name] = frame[name].map(keys)
    return frame


def _build_key(bucket: pd.Timestamp, step: PeriodStep, filters: StatisticsFilter) -> str:
    if step is PeriodStep.HOUR:
        return build_bucket_key(bucket.to_pydatetime().replace(tzinfo=UTC), step, filters.zone)
    return bucket.date().isoformat()
