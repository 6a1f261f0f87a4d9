"""Random ledgers against figures made in plain Python: any axes, zones and changes, with and without the roll-up."""

import math
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import count
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select, update

from lib.db.engine import Store
from lib.db.tables import ledger_clock, usage_logs
from lib.statistics.copy import rollup
from lib.statistics.filters import StatisticsFilter
from lib.statistics.measures import Axis, Dimension, Measure
from lib.statistics.periods import Cycle, PeriodStep, build_bucket_key, compute_midnight
from lib.statistics.queries import Statistics
from tests.counts import repeats
from tests.statistics.ledger_rows import AMIRA, call, change, raise_epoch, write

ZONES = [
    ZoneInfo(name) for name in ("UTC", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kathmandu", "America/Santiago")
]
CHANGES = [datetime(2026, *day, tzinfo=UTC) for day in ((3, 29, 1), (10, 25, 1), (4, 4, 15), (9, 6, 4))]
MOMENTS = st.builds(
    lambda base, seconds: base + timedelta(seconds=seconds), st.sampled_from(CHANGES), st.integers(-200_000, 200_000)
)
MAYBE = {"tokens": st.none() | st.integers(0, 5000), "ms": st.none() | st.integers(0, 70_000)}
ROWS = st.builds(
    call,
    MOMENTS,
    provider=st.sampled_from(["openai", "groq"]),
    model=st.sampled_from(["a", "b"]),
    app=st.sampled_from(["x", "y"]),
    user_id=st.none() | st.sampled_from(["u", "v"]),
    status=st.sampled_from(["ok", "error", "timeout", "cancelled"]),
    is_final=st.booleans(),
    attempt=st.integers(1, 2),
    call_id=st.sampled_from([f"00000000-0000-7000-8000-00000000000{n}" for n in range(6)]),
    cost_nano_usd=st.none() | st.sampled_from([0, 1, 10**15 + 1]) | st.integers(0, 10**6),
    saved_nano_usd=st.none() | st.integers(0, 9),
    total_tokens=MAYBE["tokens"],
    completion_tokens=MAYBE["tokens"],
    execution_time_ms=MAYBE["ms"],
    first_token_ms=MAYBE["ms"],
)
AXES: list[Axis] = [Dimension.PROVIDER, Dimension.MODEL, Dimension.APP, Dimension.USER, *PeriodStep, *Cycle]
NUMBERS = count()
TIGHT = settings(
    max_examples=repeats(10, 200),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(params=["rows", "roll-up"])
def tight(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Roll-ups from the first row on, two rows of tail, compact at once; or none."""
    least = 0 if request.param == "roll-up" else 10**9
    for name, value in {"LEAST_ROWS": least, "LONGEST_TAIL": 2, "_SLACK": 0}.items():
        monkeypatch.setattr(rollup, name, value)


def _value(row: dict[str, Any], axis: Axis, zone: ZoneInfo, start: datetime) -> Any:
    local = row["started_at"].astimezone(zone)
    match axis:
        case Cycle.HOUR_OF_DAY:
            return local.hour
        case Cycle.WEEKDAY:
            return local.isoweekday()
        case PeriodStep.HOUR:
            phase = int(start.astimezone(zone).utcoffset().total_seconds()) % 3600  # type: ignore[union-attr]
            begin = row["started_at"] - timedelta(seconds=(row["started_at"].timestamp() + phase) % 3600)
            return build_bucket_key(begin, PeriodStep.HOUR, zone)
        case PeriodStep():
            day = local.date()
            back = {PeriodStep.DAY: 0, PeriodStep.WEEK: day.weekday(), PeriodStep.MONTH: day.day - 1}[axis]
            return (day - timedelta(days=back)).isoformat()
        case _:
            return row[axis.column]  # type: ignore[union-attr]


def _sum(values: Any) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _percentile(values: list[int | None], share: float) -> float | None:
    known = sorted(value for value in values if value is not None)
    if not known:
        return None
    place = (len(known) - 1) * share
    low, high = known[math.floor(place)], known[math.ceil(place)]
    return low + (high - low) * (place - math.floor(place))


def _figures(rows: list[dict[str, Any]]) -> dict[Measure, Any]:
    final = [row for row in rows if row["is_final"]]
    failed = [row for row in final if row["status"] in ("error", "timeout")]
    cost, priced = _sum(row["cost_nano_usd"] for row in rows), [r for r in rows if r["cost_nano_usd"] is not None]
    calls = sum(row["is_final"] for row in priced)
    per_call = math.floor(Fraction(cost or 0, calls) + Fraction(1, 2)) if calls else None
    firsts, times = [row["first_token_ms"] for row in rows], [row["execution_time_ms"] for row in final]
    return {
        Measure.CALLS: len(final),
        Measure.RETRIES: len(rows) - len(final),
        Measure.TOKENS: _sum(row["total_tokens"] for row in rows),
        Measure.COST: None if cost == 0 and len(priced) < len(rows) else cost,
        Measure.SAVED: _sum(row["saved_nano_usd"] for row in rows),
        Measure.WASTED: _sum(r["cost_nano_usd"] for r in rows if r["status"] != "ok" or not r["is_final"]),
        Measure.ERROR_RATE: len(failed) / len(final) if final else None,
        Measure.USERS: len({row["user_id"] for row in rows} - {None}),
        Measure.COST_PER_CALL: per_call,
        Measure.FIRST_TOKEN_P50: _percentile(firsts, 0.5),
        Measure.FIRST_TOKEN_P99: _percentile(firsts, 0.99),
        Measure.LATENCY_P95: _percentile(times, 0.95),
    }


def _plain(value: Any) -> Any:
    return None if pd.isna(value) else value


@pytest.mark.feature("COST-3")
@TIGHT
@given(
    batches=st.lists(st.lists(ROWS, min_size=1, max_size=12), min_size=1, max_size=4),
    zone=st.sampled_from(ZONES),
    axes=st.lists(st.sampled_from(AXES), max_size=2, unique=True),
    days=st.tuples(st.integers(-3, 1), st.integers(2, 250)),
    shift=st.sampled_from([0, 0, 5400]),
)
@pytest.mark.usefixtures("tight")
def test_figures_are_those_of_plain_python(
    tmp_path: Path,
    sqlite_template: Path,
    batches: list[list[dict[str, Any]]],
    zone: ZoneInfo,
    axes: list[Axis],
    days: tuple[int, int],
    shift: int,
) -> None:
    store = _store(tmp_path, sqlite_template)
    statistics = Statistics(store)
    first, last = (CHANGES[0].date() + timedelta(days=n) for n in days)
    start, end = (
        compute_midnight(first, zone) + timedelta(seconds=shift),
        compute_midnight(last, zone) - timedelta(seconds=shift),
    )
    where, there = StatisticsFilter(start, end, zone), list[dict[str, Any]]()
    for batch in batches:  # a question after each: roll-ups are made early, and followed
        fresh = [row | {"id": call()["id"]} for row in batch]
        write(store, *fresh)
        there += [row for row in fresh if start <= row["started_at"] < end]
        groups = defaultdict[tuple[Any, ...], list[dict[str, Any]]](list)
        for row in there:
            groups[tuple(_value(row, axis, zone, start) for axis in axes)].append(row)
        if not axes:
            groups[()] = there
        expected = {key: _figures(rows) for key, rows in groups.items()}
        measures = list(_figures([]))
        frame = statistics.pivot(AMIRA, where, axes, measures)
        assert len(frame) == len(expected)
        for record in frame.to_dict("records"):
            figures = expected[tuple(_plain(record[axis.value]) for axis in axes)]
            for measure, value in figures.items():
                found = _plain(record[measure.value])
                exact = isinstance(value, int) or value is None
                assert found == (value if exact else pytest.approx(value)), (measure, record)
    statistics.close()
    store.dispose()


@pytest.mark.feature("COST-3")
@TIGHT
@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("write"), st.lists(ROWS, min_size=1, max_size=8)),
            st.tuples(st.just("price"), st.none() | st.integers(0, 99)),
            st.tuples(st.sampled_from(["delete", "reopen", "refresh"]), st.none()),
        ),
        min_size=3,
        max_size=8,
    )
)
@pytest.mark.usefixtures("tight")
def test_the_copy_is_the_ledger_after_anything(
    tmp_path: Path, sqlite_template: Path, steps: list[tuple[str, Any]]
) -> None:
    store, folder = _store(tmp_path, sqlite_template), tmp_path / f"copy{next(NUMBERS)}"
    statistics, where = Statistics(store, folder), StatisticsFilter(datetime(2026, 1, 1, tzinfo=UTC), None, ZONES[1])
    for what, given_with in steps:
        with store.read() as connection:
            ids = connection.scalars(select(usage_logs.c.id).order_by(usage_logs.c.started_at)).all()
        if what == "write":
            write(store, *(row | {"id": call()["id"]} for row in given_with))
        elif what == "price" and ids:
            change(store, ids[len(ids) // 2], cost_nano_usd=given_with)
        elif what == "delete" and ids:
            with store.write() as connection:
                connection.execute(delete(usage_logs).where(usage_logs.c.id.in_(ids[: len(ids) // 2 + 1])))
                connection.execute(update(ledger_clock).values(change_seq=ledger_clock.c.change_seq + 1))
            raise_epoch(store)
        elif what == "reopen":  # as after a crash: what was not asked for is not in the file
            statistics.close()
            statistics = Statistics(store, folder)
        elif what == "refresh":
            statistics.refresh()
        with store.read() as connection:
            rows = [dict(row) for row in connection.execute(select(usage_logs)).mappings()]
        if what != "refresh":  # else the next question finds two changes
            assert _list_differences(statistics, where, rows) == [], what
    statistics.close()
    store.dispose()


def _list_differences(statistics: Statistics, where: StatisticsFilter, rows: list[dict[str, Any]]) -> list[Any]:
    """The measures of which the copy says something else than the ledger's rows."""
    measures = list(_figures([]))
    different: list[Any] = []
    found = statistics.pivot(AMIRA, where, [], measures).iloc[0]
    for measure, value in _figures(rows).items():
        exact = isinstance(value, int) or value is None
        if _plain(found[measure.value]) != (value if exact else pytest.approx(value)):
            different.append((measure, found[measure.value], value))
    days = statistics.pivot(AMIRA, where, [PeriodStep.DAY, Dimension.MODEL], [Measure.SAVED, Measure.CALLS])
    if days.calls.sum() != sum(row["is_final"] for row in rows):
        different.append("calls by day and model")
    if days.saved.sum() != (_sum(row["saved_nano_usd"] for row in rows) or 0):
        different.append("saved by day and model")
    return different


def _store(tmp_path: Path, template: Path) -> Store:
    path = tmp_path / f"ledger{next(NUMBERS)}.db"
    path.write_bytes(template.read_bytes())
    return Store(f"sqlite:///{path}")
