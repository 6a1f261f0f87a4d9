"""Custom metrics as a table and a chart: missing stays missing, and the specification is valid."""

from datetime import date
from typing import Any

import pytest

from lib.statistics.metrics import build_daily_chart, build_day_table, build_key_table

pytestmark = pytest.mark.feature("CALL-7")
_NONE: dict[str, Any] = dict.fromkeys(("mean", "p50", "p95", "min", "max", "sum", "true_share"))


def test_a_key_without_numbers_has_no_mean() -> None:
    rows = [
        {"key": "verdict", "count": 3, "calls": 2, **_NONE, "values": (("good", 2), ("bad", 1))},
        {"key": "helped", "count": 4, "calls": 4, **_NONE, "true_share": 0.75, "values": ()},
    ]
    table = build_key_table(rows)
    assert table["mean"].isna().all()
    assert table.most_frequent[0] == "good (2), bad (1)"
    assert table.most_frequent.isna().tolist() == [False, True]
    assert table.true_share.tolist()[1] == 75.0


def test_the_course_is_a_valid_chart() -> None:
    frame = build_day_table([(date(2026, 10, 1), 2, 3.5), (date(2026, 10, 3), 1, 4.0)])
    drawn = build_daily_chart(frame, "2026-10-01", "2026-10-31").to_dict()
    assert drawn["encoding"]["x"]["scale"]["domain"] == ["2026-10-01T00:00:00Z", "2026-10-31T00:00:00Z"]
    assert frame.values.tolist() == [["2026-10-01", 2, 3.5], ["2026-10-03", 1, 4.0]]
