"""Charts say what the frame says: one place per bucket, one colour per provider, marks that lead to their rows."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pytest

from lib.statistics.anomalies import Anomaly, Mover
from lib.statistics.charts import figure_charts
from lib.statistics.charts.chart_theme import PROVIDER_COLOURS
from lib.statistics.filters import Dimension, Measure
from lib.statistics.forecast import DayAhead
from lib.statistics.periods import PeriodStep, list_buckets

START = datetime(2026, 10, 1, tzinfo=UTC)
DAYS = list_buckets(START, START + timedelta(days=31), PeriodStep.DAY, ZoneInfo("UTC"))


def frame(**columns: list[Any]) -> pd.DataFrame:
    made = pd.DataFrame(columns)
    return made.assign(value=made.value.astype("Int64"))


def rows_of(spec: dict[str, Any]) -> list[dict[str, Any]]:
    (rows,) = (values for values in spec["datasets"].values())
    return list(rows)


@pytest.mark.feature("COST-4")
def test_over_time_has_a_place_for_every_day_and_the_providers_colours() -> None:
    data = frame(
        bucket=["2026-10-02", "2026-10-02", "2026-10-09", "2026-10-09"],
        provider=["anthropic", "openai", "custom", "nobody-knows"],
        value=[2_000_000_000, 41_000_000, None, 500],
    )
    spec = figure_charts.build_time_chart(data, DAYS, PeriodStep.DAY, Measure.COST, Dimension.PROVIDER).to_dict()
    encoding = spec["encoding"]
    assert encoding["x"]["scale"]["domain"] == [day.key for day in DAYS]
    assert encoding["color"]["scale"]["domain"] == ["openai", "anthropic", "nobody-knows"]
    assert encoding["color"]["scale"]["range"] == [PROVIDER_COLOURS[n] for n in ("openai", "anthropic", "other")]
    assert {row["label"] for row in rows_of(spec)} == {"$2.00", "$0.041", "<$0.0001"}
    assert {row["when"] for row in rows_of(spec)} == {"Fri 2 Oct 2026", "Fri 9 Oct 2026"}
    assert spec["params"][0]["name"] == figure_charts.MARK
    assert spec["params"][0]["select"]["fields"] == ["bucket", "provider"]


@pytest.mark.feature("COST-4")
def test_models_beyond_the_largest_are_one_series_and_lose_nothing() -> None:
    models = [f"m{n:02}" for n in range(20)]
    data = frame(
        bucket=["2026-10-02"] * 20, provider=["openai"] * 20, model=models, value=[10**9 * (n + 1) for n in range(20)]
    )
    spec = figure_charts.build_time_chart(data, DAYS, PeriodStep.DAY, Measure.COST, Dimension.MODEL).to_dict()
    rows = rows_of(spec)
    assert len({row["series"] for row in rows}) == 12
    assert sum(row["shown"] for row in rows) == pytest.approx(210)
    assert [pd.isna(row["model"]) for row in rows if row["series"] == figure_charts.OTHER] == [True]


@pytest.mark.feature("COST-3")
def test_bars_by_model_tell_unknown_free_and_little_apart() -> None:
    data = frame(
        provider=["openai", "local", "custom", "groq"],
        model=["gpt", "small", "acme", "gpt"],
        value=[1_829_360_000_000, 0, None, 90],
        calls=[1, 2, 3, 4],
    )
    rows = rows_of(figure_charts.build_model_chart(data, Measure.COST).to_dict())
    assert [row["label"] for row in rows] == ["$1,829.36", "free", "— no price", "<$0.0001"]
    assert [row["name"] for row in rows] == ["gpt · openai", "small", "acme", "gpt · groq"]


@pytest.mark.feature("COST-3")
@pytest.mark.parametrize(
    ("names", "angle"), [(["bot", "rag", "ui"], 0), ([f"support-assistant-{n}" for n in "abcd"], -40)]
)
def test_headings_that_would_run_into_each_other_are_slanted(names: list[str], angle: int) -> None:
    data = pd.DataFrame([{"row": "openai", "column": name, "value": 1.0} for name in names])
    data = data.assign(row_name=data["row"], column_name=data["column"])
    chart = figure_charts.build_cross_tab(data, Dimension.PROVIDER, Dimension.APP, Measure.CALLS)
    assert f'"labelAngle": {angle},' in chart.to_json()


@pytest.mark.feature("COST-3")
def test_a_cross_tab_keeps_the_order_of_providers() -> None:
    data = frame(row=["groq", "openai"], column=["a", "b"], value=[5, 3]).assign(
        row_name=["groq", "openai"], column_name=["a", "b"]
    )
    spec = figure_charts.build_cross_tab(data, Dimension.PROVIDER, Dimension.APP, Measure.CALLS).to_dict()
    assert spec["layer"][0]["encoding"]["y"]["sort"] == ["openai", "groq"]
    assert {row["label"] for row in rows_of(spec)} == {"5", "3"}


def test_hours_carry_their_offset_where_the_clock_repeats_one() -> None:
    zone = ZoneInfo("Europe/Berlin")
    night = list_buckets(
        datetime(2026, 10, 24, 23, tzinfo=UTC), datetime(2026, 10, 25, 3, tzinfo=UTC), PeriodStep.HOUR, zone
    )
    assert [figure_charts.describe(hour, PeriodStep.HOUR)[-12:] for hour in night[1:3]] == [
        "02:00 +02:00",
        "02:00 +01:00",
    ]


@pytest.mark.feature("COST-7")
def test_daily_cost_carries_the_forecast_and_marks_with_their_reason() -> None:
    data = frame(bucket=["2026-10-02"], provider=["openai"], value=[26 * 10**9])
    movers = (
        Mover(Dimension.USER, "0195-id", 21 * 10**9, 0),
        Mover(Dimension.MODEL, "gpt-5.1", 20 * 10**9, 10**9),
    )
    marks = (Anomaly(date(2026, 10, 2), 26 * 10**9, 10**10, movers),)
    ahead = (DayAhead(date(2026, 10, 3), 2 * 10**9, 10**9, 3 * 10**9),)
    spec = figure_charts.build_time_chart(
        data, DAYS, PeriodStep.DAY, Measure.COST, Dimension.PROVIDER, ahead=ahead, marks=marks
    ).to_dict()
    bars, band, line, signs = spec["layer"]
    rows = {row["label"]: row for values in spec["datasets"].values() for row in values}
    assert set(rows) == {"$26.00", "$2.00, $1.00 to $3.00", "gpt-5.1, 2.6× usual"}
    assert rows["gpt-5.1, 2.6× usual"]["sign"] == "▲"
    assert (rows["$2.00, $1.00 to $3.00"]["low"], rows["$2.00, $1.00 to $3.00"]["high"]) == (1, 3)
    assert band["mark"]["opacity"] == 0.15
    assert line["mark"]["strokeDash"]
    assert signs["encoding"]["x"]["scale"]["domain"] == bars["encoding"]["x"]["scale"]["domain"]
    assert [param["name"] for param in spec["params"]] == [figure_charts.MARK]
