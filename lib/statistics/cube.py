"""Any measures split by any axes, as one statement over the copy of the ledger.

Parts that add up come from the rows, or from the days' roll-up and the few rows it does not cover; what has to see the
rows (percentiles, distinct counts) stands in a sub-query of its own for each condition: a percentile's values alone
are read. Names are those of the enums; every value is bound.
"""
# ruff: noqa: S608 - names in SQL are those of the enums; values are bound

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, assert_never

from lib.access.permissions import Actor
from lib.statistics import rollup
from lib.statistics.filters import StatisticsFilter, tag_path
from lib.statistics.measures import PARTS, Axis, Dimension, Direct, Measure, Tag, Unit
from lib.statistics.periods import Cycle, Step, hour_phase, midnight
from lib.statistics.rollup import Covered, Span


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


def statement(
    actor: Actor, where: StatisticsFilter, axes: Mapping[str, Axis], measures: Mapping[str, Measure], copy: Copy
) -> Query:
    """The figures, a column for each axis and each measure, a row for each combination that has an attempt."""
    keys = list(axes)
    split = _split(axes, where, copy.span)
    parts = sorted(
        {"attempts", *(part for measure in measures.values() for part in measure.parts)}, key=list(PARTS).index
    )
    base = _from_days(actor, where, axes, parts, split, copy.covered) if copy.covered else None
    if base is None:
        base = _parts(split, parts, _rows(actor, where), len(keys))
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


def _from_days(
    actor: Actor, where: StatisticsFilter, axes: Mapping[str, Axis], parts: list[str], split: Query, covered: Covered
) -> Query | None:
    """The parts from the roll-up, with the newer rows and the edges of the range; None where it can't answer."""
    first, last = rollup.whole_days(where)
    if not actor.sees_all_calls or not rollup.answers(where, axes.values()) or (first and last and first >= last):
        return None
    keys, rows = len(axes), _rows(actor, replace(where, start=None, end=None))
    days = join(rows, Query(" AND zone = ?", [covered.zone.key]))
    for sign, day in ((">=", first), ("<", last)):
        days = join(days, Query(f" AND day {sign} ?", [day])) if day else days
    over_days = Query(", ".join(f'{_day_axis(axis)} AS "{name}"' for name, axis in axes.items()))
    sums = [f"sum({part}) AS {part}" for part in parts]
    pieces = [_grouped(over_days, sums, days, keys, "daily")]
    newer = join(_rows(actor, where), Query(" AND change_seq > ?", [covered.change_seq]))
    pieces.append(_parts(split, parts, newer, keys))
    older = Query(" AND change_seq <= ?", [covered.change_seq])
    if first and where.start != (border := midnight(first, covered.zone)):
        pieces.append(_parts(split, parts, join(_rows(actor, replace(where, end=border)), older), keys))
    if last and where.end != (border := midnight(last, covered.zone)):
        pieces.append(_parts(split, parts, join(_rows(actor, replace(where, start=border)), older), keys))
    union = join(pieces[0], *(join(" UNION ALL ", piece) for piece in pieces[1:]))
    names = Query(", ".join(f'"{name}"' for name in axes))
    return join("SELECT ", names, ", " if keys else "", ", ".join(sums), " FROM (", union, ")", _group_by(keys))


def _day_axis(axis: Axis) -> str:
    if isinstance(axis, Step):
        return f"date_trunc('{axis.value}', CAST(day AS TIMESTAMP))"
    return axis.column if isinstance(axis, Dimension) else "isodow(day)"


def _parts(split: Query, parts: list[str], rows: Query, keys: int) -> Query:
    return _grouped(split, [f"{PARTS[part]} AS {part}" for part in parts], rows, keys)


def _grouped(split: Query, values: list[str], rows: Query, keys: int, table: str = "calls") -> Query:
    return join("SELECT ", split, ", " if keys else "", ", ".join(values), f" FROM {table}", rows, _group_by(keys))


def _group_by(keys: int) -> str:
    return f" GROUP BY {', '.join(str(n + 1) for n in range(keys))}" if keys else ""


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
            return Query(f"date_trunc('{axis.value}', {span.local_sql(where.zone, where.start, where.end)})")
        case Cycle.HOUR_OF_DAY:
            return Query(f"hour({span.local_sql(where.zone, where.start, where.end)})")
        case Cycle.WEEKDAY:
            return Query(f"isodow({span.local_sql(where.zone, where.start, where.end)})")
        case _:
            assert_never(axis)
