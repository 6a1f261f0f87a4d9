"""Custom metrics crossed like any figure: once a call, in the filter's range, zone and scope; unknown stays unknown."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from statistics import fmean
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import insert

from lib.access.permissions import Permission, Role, make_actor
from lib.clock import make_id, utc_now
from lib.db.engine import Store
from lib.db.tables import custom_metrics
from lib.errors import InvalidInput
from lib.statistics import explore
from lib.statistics.filters import StatisticsFilter
from lib.statistics.measures import Dimension, Fold, MetricMeasure, parse_measure
from lib.statistics.periods import PeriodStep
from lib.statistics.queries import Statistics
from tests.statistics.ledger_rows import AMIRA, NOON, call, write

pytestmark = [pytest.mark.feature("COST-5"), pytest.mark.feature("CALL-7")]
BERLIN = ZoneInfo("Europe/Berlin")
WHERE = StatisticsFilter(NOON - timedelta(days=9), NOON + timedelta(days=9), BERLIN)
OWN_ONLY = frozenset({Permission.TEST_CONFIGS})
MEMBER = replace(make_actor("00000000-0000-7000-8000-00000000000c", "bo", Role.DEVELOPER), permissions=OWN_ONLY)
ROWS = [
    call(NOON + timedelta(hours=11 * n), app=f"app {n % 3}", user_id=MEMBER.user_id if n % 4 else AMIRA.user_id)
    for n in range(30)
]


def note(row: dict[str, Any], key: str, number: float | None) -> dict[str, Any]:
    """A row of custom metrics about a call."""
    same = {name: row[name] for name in ("call_id", "started_at", "app", "user_id")}
    kind = "string" if number is None else "float"
    kept: dict[str, Any] = {
        "id": make_id(),
        "key": key,
        "type": kind,
        "value": str(number),
        "number": number,
        "metadata": {},
    }
    return {**same, **kept, "api_key_id": None, "created_at": utc_now()}


@pytest.fixture
def ask(store: Store, tmp_path: Path) -> Iterator[Statistics]:
    first = dict(ROWS[0], id=make_id(), is_final=False, status="error")  # of a call that was tried twice
    write(store, first, *ROWS)
    noted = [note(row, "answer.rating", n * 7 % 5 + 0.1) for n, row in enumerate(ROWS)]
    noted += [note(ROWS[4], "answer.rating", 2.5), note(ROWS[5], "answer.rating", None), note(ROWS[6], "other", 9.0)]
    with store.write() as connection:
        connection.execute(insert(custom_metrics), noted)
    made = Statistics(store, tmp_path / "statistics")
    yield made
    made.close()


def values(rows: list[dict[str, Any]]) -> dict[tuple[str, str], list[float]]:
    """What the oracle finds: the numbers of each app and local day."""
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for n, row in enumerate(ROWS):
        if row in rows:
            place = (row["app"], row["started_at"].astimezone(BERLIN).date().isoformat())
            found[place] += [n * 7 % 5 + 0.1] + [2.5] * (n == 4)
    return found


FOLDS: dict[Fold, Callable[[list[float]], float]] = {
    Fold.MEAN: fmean,
    Fold.SUM: math.fsum,
    Fold.P50: lambda v: sorted(v)[math.ceil(len(v) * 0.5) - 1],
    Fold.P95: lambda v: sorted(v)[math.ceil(len(v) * 0.95) - 1],
    Fold.VALUES: len,
}


@pytest.mark.parametrize("fold", list(Fold))
def test_a_metric_is_crossed_as_plain_python_does(ask: Statistics, fold: Fold) -> None:
    scopes = ((AMIRA, ROWS), (MEMBER, [row for row in ROWS if row["user_id"] == MEMBER.user_id]))
    for actor, scope in scopes:
        seen = [row for row in scope if WHERE.start <= row["started_at"] < WHERE.end]
        expected, make = values(seen), FOLDS[fold]
        assert expected
        found = explore.cross(ask, actor, WHERE, Dimension.APP, PeriodStep.DAY, MetricMeasure("answer.rating", fold))
        cells = {(row, day): value for row, day, value in found.cells.to_numpy()}
        assert cells == pytest.approx({place: make(numbers) for place, numbers in expected.items()})
        assert found.total == pytest.approx(make([one for numbers in expected.values() for one in numbers]))
        by_app = {app: [n for (other, _), v in expected.items() if other == app for n in v] for app, _ in expected}
        assert found.row_totals == pytest.approx({app: make(numbers) for app, numbers in by_app.items()})


def test_what_nobody_noted_has_no_figure_and_filters_hold(ask: Statistics) -> None:
    rating = MetricMeasure("answer.rating", Fold.MEAN)
    narrowed = StatisticsFilter(zone=BERLIN, apps=("app 1",))
    found = explore.cross(ask, AMIRA, narrowed, Dimension.APP, None, rating)
    assert (found.rows, found.row_totals["app 1"]) == (["app 1"], pytest.approx(found.total))
    nothing = explore.cross(ask, AMIRA, WHERE, Dimension.APP, PeriodStep.DAY, MetricMeasure("never", Fold.SUM))
    assert (nothing.rows, nothing.total) == ([], None)
    other = explore.cross(ask, AMIRA, StatisticsFilter(), Dimension.APP, None, MetricMeasure("other", Fold.VALUES))
    assert (other.rows, other.total) == (["app 0"], 1)


def test_a_metric_has_a_name_that_leads_back_to_it() -> None:
    for fold in Fold:
        measure = MetricMeasure("answer.rating", fold)
        assert parse_measure(measure.value) == measure
    assert explore.format_measure(MetricMeasure("answer.rating", Fold.P95)) == "answer.rating · p95"
    for wrong in ("metric.mean", "metric.mean.", "metric.best.answer", "luck"):
        with pytest.raises(InvalidInput, match="no measure"):
            parse_measure(wrong)
