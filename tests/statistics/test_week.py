"""What changed since last week: seven days against seven, and who moved most."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lib.db.engine import Store
from lib.statistics.filters import StatisticsFilter
from lib.statistics.measures import Dimension
from lib.statistics.queries import Statistics
from lib.statistics.week import compare_weeks
from tests.statistics.ledger_rows import AMIRA, call, write

NOW = datetime(2026, 10, 22, 12, 2, tzinfo=UTC)


@pytest.mark.feature("COST-7")
def test_both_weeks_and_who_moved_most(store: Store, tmp_path: Path) -> None:
    day = timedelta(days=1)
    write(
        store,
        call(NOW - day, model="a", app="x", cost_nano_usd=50),
        call(NOW - 2 * day, model="b", app="x", cost_nano_usd=7, status="error"),
        call(NOW - 3 * day, model="new", app="y", cost_nano_usd=None),
        call(NOW - 8 * day, model="a", app="x", cost_nano_usd=20),
        call(NOW - 9 * day, model="b", app="y", cost_nano_usd=90),
        call(NOW - 15 * day, model="a", app="x", cost_nano_usd=10_000),
    )
    ask = Statistics(store, tmp_path)
    week = compare_weeks(ask, AMIRA, StatisticsFilter(), NOW)
    assert (week.now.cost_nano_usd, week.previous.cost_nano_usd) == (57, 110)
    assert (week.now.calls, week.previous.calls, week.now.failed_calls) == (3, 2, 1)
    assert [(m.dimension, m.value, m.cost_nano, m.usual_nano) for m in week.movers] == [
        (Dimension.APP, "y", 0, 90),
        (Dimension.MODEL, "b", 7, 90),
        (Dimension.USER, AMIRA.user_id, 57, 110),
    ]
    ask.close()
