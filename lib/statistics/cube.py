"""Any measures split by any axes, as one statement over the copy of the ledger.

Parts that add up come from the rows, or from the days' roll-up and the few rows it does not cover; what has to see the
rows (percentiles, distinct counts) stands in a sub-query of its own for each condition: a percentile's values alone
are read. Names are those of the enums; every value is bound.
"""
# ruff: noqa: S608 - names in SQL are those of the enums; values are bound

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, assert_never

from lib.access.permissions import Actor
from lib.statistics import conversion
from lib.statistics.copy import rollup
from lib.statistics.copy.rollup import Covered, Span
from lib.statistics.filters import StatisticsFilter, build_tag_path
from lib.statistics.measures import (
    COUNTED,
    MONEY,
    PARTS,
    PRICED,
    UNPRICED_SEVERAL,
    Axis,
    Dimension,
    Measure,
    RowAggregate,
    Tag,
    Unit,
)
from lib.statistics.periods import Cycle, PeriodStep, compute_hour_phase, compute_midnight


@dataclass(frozen=True)
class Query:
    """A statement and its values, in order."""

    sql: str
    values: list[Any] = field(default_factory=list)


def join(*pieces: Query | str) -> Query:
    """Pieces of a statement, one after the other."""
    texts = [piece if isinstance(piece, str) else piece.sql for piece in pieces]
    return Query("".join(texts), [value for piece in pieces if isinstance(piece, Query) for value in piece.values])


@dataclass(frozen=True)
class Copy:
    """What the copy holds: from when to when, and the roll-up of the asked zone when there is one."""

    span: Span
    covered: Covered | None = None


def build_statement(
    actor: Actor,
    filters: StatisticsFilter,
    axes: Mapping[str, Axis],
    measures: Mapping[str, Measure],
    copy: Copy,
    exact_times: Collection[str] = (),
) -> Query:
    """The figures, a column for each axis and each measure, a row for each combination that has an attempt.

    Percentiles of a time in `found` stand in a table `found_…`: the axes, and a list `v` in order of the shares.
    """
    keys = list(axes)
    split = split_rows(axes, filters, copy.span)
    parts = sorted(
        {"attempts", *(part for measure in measures.values() for part in measure.parts)}, key=list(PARTS).index
    )
    base = _select_from_rollup(actor, filters, axes, parts, copy)
    if base is None:
        rows = build_row_condition(actor, filters)
        base = _select_by_day(axes, filters, parts, [rows], copy.span) or _select_parts(split, parts, rows, len(keys))
    query = join("WITH p AS (", base, ")")
    columns = {
        name: f"CAST({_build_figure(m, filters)} AS {_choose_sql_type(m)})"
        for name, m in measures.items()
        if m.direct is None
    }
    joins = ""
    for number, ((column, condition), group) in enumerate(group_direct_measures(measures).items()):
        shares = list_shares(group)
        value = f"quantile_cont({column}, {shares})" if shares else f"count(DISTINCT {column})"
        several = _select_unpriced_calls(actor, filters, axes, copy) if condition == UNPRICED_SEVERAL else None
        matching_rows = join(build_row_condition(actor, filters), f" AND {condition}")
        rows = group_rows(
            quote_names(axes) if several else split,
            [f"{value} AS v"],
            several or matching_rows,
            len(keys),
            "" if several else "calls",
        )
        query = join(query, f", d{number} AS (", f"FROM found_{column}" if column in exact_times else rows, ")")
        matches = " AND ".join(f'p."{key}" IS NOT DISTINCT FROM d{number}."{key}"' for key in keys)
        joins += f" LEFT JOIN d{number} ON {matches or 'true'}"
        for name, direct in group.items():
            counted = f"CAST({measures[name].sql} + coalesce(d{number}.v, 0) AS BIGINT)"
            columns[name] = counted if direct.share is None else f"d{number}.v[{shares.index(direct.share) + 1}]"
    selected = [f'p."{key}"' for key in keys] + [f'{columns[name]} AS "{name}"' for name in measures]
    return join(query, f" SELECT {', '.join(selected)} FROM p{joins}")


def group_direct_measures(measures: Mapping[str, Measure]) -> dict[tuple[str, str], dict[str, RowAggregate]]:
    """Measures that see the rows, those of one column and condition together."""
    aggregates: dict[tuple[str, str], dict[str, RowAggregate]] = {}
    for name, measure in measures.items():
        if direct := measure.direct:
            aggregates.setdefault((direct.column, direct.condition), {})[name] = direct
    return aggregates


def list_shares(group: Mapping[str, RowAggregate]) -> list[float]:
    """The percentiles of a group as shares, in order."""
    return sorted({direct.share for direct in group.values() if direct.share is not None})


def _choose_sql_type(measure: Measure) -> str:
    return "DOUBLE" if measure.unit in (Unit.SHARE, Unit.PER_SECOND) else "BIGINT"


def _select_from_rollup(
    actor: Actor, filters: StatisticsFilter, axes: Mapping[str, Axis], parts: list[str], copy: Copy
) -> Query | None:
    """The parts from the roll-up, with the newer rows and the edges of the range; None where it can't answer."""
    if (days_and_edges := select_days_and_rows(actor, filters, axes, rollup.COVERED, copy)) is None:
        return None
    days, edges = days_and_edges
    if (by_day := _select_by_day(axes, filters, parts, edges, copy.span, days)) is not None:
        return by_day
    keys = len(axes)
    split = split_rows(axes, filters, copy.span)
    pieces = [group_rows(split_days(axes), _build_sums(parts), days, keys, "daily")]
    pieces += [_select_parts(split, parts, rows, keys) for rows in edges]
    return group_rows(quote_names(axes), _build_sums(parts), Query(""), keys, union(pieces))


def _select_by_day(
    axes: Mapping[str, Axis],
    filters: StatisticsFilter,
    parts: list[str],
    rows: list[Query],
    span: Span,
    days: Query | None = None,
) -> Query | None:
    """The parts with each local day's money in another currency; None where none is asked for."""
    if filters.money is None or set(parts).isdisjoint((*MONEY, *PRICED)):
        return None
    comma = ", " if axes else ""
    keys = len(axes) + 1
    local = f"CAST({span.local_sql(filters.zone, filters.start, filters.end)} AS DATE) AS _day"
    pieces = [
        _select_parts(join(split_rows(axes, filters, span), comma, local), parts, row_query, keys) for row_query in rows
    ]
    if days is not None:
        pieces.append(group_rows(join(split_days(axes), comma, "day AS _day"), _build_sums(parts), days, keys, "daily"))
    converted_parts = ", ".join(conversion.convert_part(part) for part in parts)
    joined = f" LEFT JOIN {conversion.TABLE} ON {conversion.TABLE}.rate_day = _day)"
    table = join("(SELECT ", quote_names(axes), comma, converted_parts, " FROM ", union(pieces), joined)
    return group_rows(quote_names(axes), _build_sums(parts), Query(""), len(axes), table)


def _build_sums(parts: list[str]) -> list[str]:
    return [f"coalesce(sum({p}), 0) AS {p}" if p in COUNTED else f"sum({p}) AS {p}" for p in parts]


def _select_unpriced_calls(
    actor: Actor, filters: StatisticsFilter, axes: Mapping[str, Axis], copy: Copy
) -> Query | None:
    """The unpriced rows of calls that have several, from the roll-up and the rows it leaves."""
    if (days_and_edges := select_days_and_rows(actor, filters, axes, rollup.COVERED, copy)) is None:
        return None
    days, edges = days_and_edges
    comma = ", " if axes else ""
    pieces = [join("SELECT ", split_days(axes), comma, "call_id FROM several", days)]
    split = split_rows(axes, filters, copy.span)
    pieces += [join("SELECT ", split, comma, "call_id FROM calls", rows, f" AND {UNPRICED_SEVERAL}") for rows in edges]
    return union(pieces)


def select_days_and_rows(
    actor: Actor,
    filters: StatisticsFilter,
    axes: Mapping[str, Axis],
    dimensions: Collection[Dimension],
    copy: Copy,
) -> tuple[Query, list[Query]] | None:
    """Which whole days a roll-up of dimensions tells, and which rows it leaves to be added; None: all."""
    first, last = rollup.find_whole_days(filters)
    covered = copy.covered
    if covered is None or not actor.sees_all_calls or not rollup.can_answer(filters, axes.values(), dimensions):
        return None
    if first and last and first >= last:
        return None
    days = join(
        build_row_condition(actor, replace(filters, start=None, end=None)), Query(" AND zone = ?", [covered.zone.key])
    )
    for sign, day in ((">=", first), ("<", last)):
        days = join(days, Query(f" AND day {sign} ?", [day])) if day else days
    rows = [join(build_row_condition(actor, filters), Query(" AND change_seq > ?", [covered.change_seq]))]
    older = Query(" AND change_seq <= ?", [covered.change_seq])
    if first and filters.start != (border := compute_midnight(first, covered.zone)):
        rows.append(join(build_row_condition(actor, replace(filters, end=border)), older))
    if last and filters.end != (border := compute_midnight(last, covered.zone)):
        rows.append(join(build_row_condition(actor, replace(filters, start=border)), older))
    return days, rows


def union(pieces: list[Query]) -> Query:
    """The rows of several statements, one after the other (UNION ALL)."""
    return join("(", pieces[0], *(join(" UNION ALL ", piece) for piece in pieces[1:]), ")")


def quote_names(axes: Iterable[str]) -> Query:
    """The columns of axes in a statement that has made them."""
    return Query(", ".join(f'"{name}"' for name in axes))


def split_days(axes: Mapping[str, Axis]) -> Query:
    """The columns of axes over days."""
    return Query(", ".join(f'{_build_day_axis(axis)} AS "{name}"' for name, axis in axes.items()))


def _build_day_axis(axis: Axis) -> str:
    if isinstance(axis, PeriodStep):
        return f"date_trunc('{axis.value}', CAST(day AS TIMESTAMP))"
    return axis.column if isinstance(axis, Dimension) else "isodow(day)"


def _select_parts(split: Query, parts: list[str], rows: Query, keys: int) -> Query:
    return group_rows(split, [f"{PARTS[part]} AS {part}" for part in parts], rows, keys)


def _build_figure(measure: Measure, filters: StatisticsFilter) -> str:
    is_converted = filters.money is not None and measure.unit is Unit.NANO_USD
    return conversion.round_figure(measure.sql) if is_converted else measure.sql


def group_rows(split: Query, values: list[str], rows: Query, keys: int, source: Query | str = "calls") -> Query:
    """Values of rows for each combination of the split."""
    return join("SELECT ", split, ", " if keys else "", ", ".join(values), " FROM ", source, rows, _group_by(keys))


def _group_by(keys: int) -> str:
    return f" GROUP BY {', '.join(str(n + 1) for n in range(keys))}" if keys else ""


def build_row_condition(actor: Actor, filters: StatisticsFilter) -> Query:
    """The condition of the rows that an actor may see and a filter names."""
    condition, values = filters.condition(actor)
    return Query(f" WHERE {condition}", values)


def split_rows(axes: Mapping[str, Axis], filters: StatisticsFilter, span: Span) -> Query:
    """The columns of axes over rows."""
    query = Query("")
    for name, axis in axes.items():
        query = join(query, ", " if query.sql else "", _build_axis(axis, filters, span), f' AS "{name}"')
    return query


def _build_axis(axis: Axis, filters: StatisticsFilter, span: Span) -> Query:
    match axis:
        case Dimension():
            return Query(axis.column)
        case Tag():
            return Query("json_extract_string(tags, ?)", [build_tag_path(axis.name)])
        case PeriodStep.HOUR:
            phase = compute_hour_phase(filters.zone, filters.start or span.first)
            if not phase:
                return Query("date_trunc('hour', started_at)")
            return Query(f"date_trunc('hour', started_at + to_seconds({phase})) - to_seconds({phase})")
        case PeriodStep.DAY:  # a third of what date_trunc takes
            return Query(f"CAST(CAST({span.local_sql(filters.zone, filters.start, filters.end)} AS DATE) AS TIMESTAMP)")
        case PeriodStep():
            return Query(f"date_trunc('{axis.value}', {span.local_sql(filters.zone, filters.start, filters.end)})")
        case Cycle.HOUR_OF_DAY:
            return Query(f"hour({span.local_sql(filters.zone, filters.start, filters.end)})")
        case Cycle.WEEKDAY:
            return Query(f"isodow({span.local_sql(filters.zone, filters.start, filters.end)})")
        case _:
            assert_never(axis)
