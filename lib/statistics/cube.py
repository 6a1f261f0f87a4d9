"""Any measures split by any axes, as one statement over the copy of the ledger.

Parts that add up come from the rows, or from the days' roll-up and the few rows it does not cover; what has to see the
rows (percentiles, distinct counts) stands in a sub-query of its own for each condition: a percentile's values alone
are read. Names are those of the enums; every value is bound.
"""
# ruff: noqa: S608 - names in SQL are those of the enums; values are bound

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, assert_never

from lib.access.permissions import Actor
from lib.statistics.filters import StatisticsFilter, tag_path
from lib.statistics.measures import PARTS, Axis, Dimension, Direct, Measure, Tag, Unit
from lib.statistics.periods import Cycle, Step, hour_phase, local_time_sql


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
class Span:
    """The first and the last moment of which the copy has a row."""

    first: datetime
    last: datetime


def statement(
    actor: Actor, where: StatisticsFilter, axes: Mapping[str, Axis], measures: Mapping[str, Measure], span: Span
) -> Query:
    """The figures, a column for each axis and each measure, a row for each combination that has an attempt."""
    keys = list(axes)
    split = _split(axes, where, span)
    parts = sorted(
        {"attempts", *(part for measure in measures.values() for part in measure.parts)}, key=list(PARTS).index
    )
    base = _grouped(split, [f"{PARTS[part]} AS {part}" for part in parts], _rows(actor, where), len(keys))
    query = join("WITH p AS (", base, ")")
    columns = {name: f"CAST({m.sql} AS {_kind(m)})" for name, m in measures.items() if m.direct is None}
    joins = ""
    for number, (source, group) in enumerate(_directs(measures).items()):
        column, condition = source
        shares = sorted({direct.share for direct in group.values() if direct.share is not None})
        value = f"quantile_cont({column}, {shares})" if shares else f"count(DISTINCT {column})"
        rows = _grouped(split, [f"{value} AS v"], join(_rows(actor, where), f" AND {condition}"), len(keys))
        query = join(query, f", d{number} AS (", rows, ")")
        matches = " AND ".join(f'p."{key}" IS NOT DISTINCT FROM d{number}."{key}"' for key in keys)
        joins += f" LEFT JOIN d{number} ON {matches or 'true'}"
        for name, direct in group.items():
            known = f"d{number}.v"
            columns[name] = (
                f"coalesce({known}, 0)" if direct.share is None else f"{known}[{shares.index(direct.share) + 1}]"
            )
    shown = [f'p."{key}"' for key in keys] + [f'{columns[name]} AS "{name}"' for name in measures]
    return join(query, f" SELECT {', '.join(shown)} FROM p{joins}")


def _directs(measures: Mapping[str, Measure]) -> dict[tuple[str, str], dict[str, Direct]]:
    """Measures that see the rows, those of one column and condition together."""
    found: dict[tuple[str, str], dict[str, Direct]] = {}
    for name, measure in measures.items():
        if direct := measure.direct:
            found.setdefault((direct.column, direct.condition), {})[name] = direct
    return found


def _kind(measure: Measure) -> str:
    return "DOUBLE" if measure.unit in (Unit.SHARE, Unit.PER_SECOND) else "BIGINT"


def _grouped(split: Query, values: list[str], rows: Query, keys: int) -> Query:
    group = f" GROUP BY {', '.join(str(n + 1) for n in range(keys))}" if keys else ""
    return join("SELECT ", split, ", " if keys else "", ", ".join(values), " FROM calls", rows, group)


def _rows(actor: Actor, where: StatisticsFilter) -> Query:
    condition, values = where.condition(actor)
    return Query(f" WHERE {condition}", values)


def _split(axes: Mapping[str, Axis], where: StatisticsFilter, span: Span) -> Query:
    query = Query("")
    for name, axis in axes.items():
        query = join(query, ", " if query.sql else "", _axis(axis, where, span), f' AS "{name}"')
    return query


def _axis(axis: Axis, where: StatisticsFilter, span: Span) -> Query:
    match axis:
        case Dimension():
            return Query(axis.column)
        case Tag():
            return Query("json_extract_string(tags, ?)", [tag_path(axis.name)])
        case Step.HOUR:
            phase = hour_phase(where.zone, where.start or span.first)
            return Query(f"date_trunc('hour', started_at + to_seconds({phase})) - to_seconds({phase})")
        case Step():
            return Query(f"date_trunc('{axis.value}', {_local(where, span)})")
        case Cycle.HOUR_OF_DAY:
            return Query(f"hour({_local(where, span)})")
        case Cycle.WEEKDAY:
            return Query(f"isodow({_local(where, span)})")
        case _:
            assert_never(axis)


def _local(where: StatisticsFilter, span: Span) -> str:
    """A row's wall time; whole days no wider than the rows, so that few changes of the clock stand in it."""
    start = _midnight(max(where.start or span.first, span.first))
    end = _midnight(min(where.end or span.last, span.last)) + timedelta(days=1)
    return local_time_sql(where.zone, start, max(end, start + timedelta(days=1)))


def _midnight(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
