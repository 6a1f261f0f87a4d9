"""Forecast to the month's end, unusual days, what changed since last week: on the chart, in words and numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any

import streamlit as st

from lib.access.permissions import Actor
from lib.money import USD, format_money, format_sum
from lib.services import Services
from lib.statistics.anomalies import Anomaly, Mover, find_unusual_days
from lib.statistics.charts.outlook_chart import format_multiple
from lib.statistics.filters import Dimension, Measure, StatisticsFilter
from lib.statistics.forecast import COVERAGE, LEAST_DAYS, Outlook, forecast_month_end
from lib.statistics.periods import Bucket, PeriodStep, compute_midnight, list_buckets
from lib.statistics.week import Week
from lib.ui import blocks, format
from lib.ui.statistics.report_context import Scene

_KINDS = {Dimension.MODEL: "model", Dimension.APP: "app", Dimension.USER: "person"}
_SHORTEST = timedelta(days=14)


@dataclass(frozen=True)
class View:
    """Forecast and unusual days of a scene: drawn on the chart of daily cost besides its bars, on no other chart."""

    month: Outlook
    unusual: tuple[Anomaly, ...]
    drawn: bool  # whether the days ahead are on the chart

    def buckets(self, scene: Scene) -> list[Bucket]:
        """The buckets of the chart's time axis: the scene's, and the days to the month's end where they are drawn."""
        if not self.drawn:
            return scene.buckets
        end = compute_midnight(self.month.last + timedelta(days=1), scene.zone)
        return list_buckets(scene.range.start, end, scene.step, scene.zone)

    def layers(self, scene: Scene) -> dict[str, Any]:
        """The chart's keyword arguments for forecast days and marked days; empty unless it shows cost by day."""
        if scene.step is not PeriodStep.DAY or scene.view.measure is not Measure.COST:
            return {}
        ahead = self.month.forecast.days if self.drawn and self.month.forecast else ()
        return {"ahead": ahead, "marks": self.unusual}


def compute_view(services: Services, actor: Actor, scene: Scene, criteria: StatisticsFilter, now: datetime) -> View:
    """Compute forecast and unusual days of a scene; the unusual days only where the chart shows cost by day."""
    ask = services.statistics
    view = scene.view
    month = forecast_month_end(ask, actor, criteria, now)
    daily = scene.step is PeriodStep.DAY and view.measure is Measure.COST
    first, last = (moment.astimezone(scene.zone).date() for moment in (scene.range.start, scene.range.end))
    unusual = find_unusual_days(ask, actor, criteria, first, last - timedelta(days=1), now) if daily else ()
    reaches_now = scene.range.start <= now < scene.range.end
    is_long = first == month.month or scene.range.end - scene.range.start >= _SHORTEST
    return View(month, unusual, daily and reaches_now and is_long and month.forecast is not None)


def describe_forecast(month: Outlook, currency: str = USD) -> list[str]:
    """The forecast and how good it has been, or why there is none."""
    end = f"{month.last.day} {month.last:%b}"
    if month.forecast is None:
        many = f"{month.history_days} whole {'day' if month.history_days == 1 else 'days'}"
        return [f"No forecast for {end} yet: it needs {LEAST_DAYS} days since the first call, and there are {many}."]
    forecast = month.forecast
    money = partial(_format_escaped_money, currency)
    lines = [
        f"By {end} this month will have cost about **{money(forecast.cost_nano)}**, "
        f"with a chance of {COVERAGE * 100:.0f} % between {money(forecast.low_nano)} and {money(forecast.high_nano)}. "
        f"So far: {_escape(format_sum(month.spent_nano, month.unpriced_calls, currency))}."
    ]
    if month.unpriced_calls:
        calls = "call is" if month.unpriced_calls == 1 else "calls are"
        lines.append(f"{month.unpriced_calls:,} {calls} not, or not wholly, priced: it will be more by what they cost.")
    if (test := month.backtest) is None:
        return [*lines, "How good that is can be said once there is a whole month to test it on."]
    months = "month" if test.months == 1 else f"{test.months} months"
    return [
        *lines,
        f"Tested on the last {months}, after one, two and three weeks of each: off by {test.mape * 100:.1f} % "
        f"on average; the interval held what came in {test.within} of {test.forecasts}.",
    ]


def describe_unusual_days(unusual: tuple[Anomaly, ...], names: Mapping[str, str], currency: str = USD) -> list[str]:
    """A line of Markdown for each unusual day: its cost beside the usual one, and which models or apps moved it."""
    money = partial(_format_escaped_money, currency)
    return [
        f"{'▲' if anomaly.cost_nano > anomaly.usual_nano else '▼'} "
        f"{_format_day(anomaly.day)}: {money(anomaly.cost_nano)}, {format_multiple(anomaly)} for a {anomaly.day:%A} "
        f"({money(anomaly.usual_nano)}). {_describe_movers(anomaly.movers, names, currency)}".rstrip()
        for anomaly in unusual
    ]


def describe_week(week: Week, names: Mapping[str, str], currency: str = USD) -> list[str]:
    """Two lines of Markdown that compare the last seven days with the seven before: cost with movers, and calls."""
    now = week.now
    previous = week.previous
    money = partial(_format_escaped_money, currency)
    if not now.calls and not previous.calls:
        return ["No calls in the last two weeks."]
    cost_text = _escape(format_sum(now.cost_nano_usd, now.unpriced_calls, currency))
    cost = f"Cost **{cost_text}**, {_compare_with_week_before(now.cost_nano_usd, previous.cost_nano_usd, money)}."
    moves = _describe_movers(week.movers, names, currency)
    failed = (
        f"{now.failed_calls:,} failed ({format.format_share(now.error_rate)}; the week before "
        f"{previous.failed_calls:,}, {format.format_share(previous.error_rate)})."
    )
    change = _compare_with_week_before(now.calls, previous.calls, lambda number: f"{number:,}")
    calls = f"**{now.calls:,}** calls, {change}; {failed}"
    return [f"{cost} {moves}".rstrip(), calls]


def show_cards(month: Outlook, week: Week, names: Mapping[str, str], currency: str) -> None:
    """Draw the week's changes and the month's forecast, side by side where there is room."""
    left_column, right_column = (st.container(), st.container()) if blocks.is_compact() else st.columns(2, gap="small")
    with left_column.container(border=True, height="stretch"):
        st.subheader("Since last week", anchor=False)
        _write_lines(describe_week(week, names, currency))
    with right_column.container(border=True, height="stretch"):
        st.subheader("At the month's end", anchor=False)
        _write_lines(describe_forecast(month, currency))


def show_captions(view: View, names: Mapping[str, str], currency: str) -> None:
    """Write below the chart its unusual days, and the forecast where the chart draws it."""
    lines = describe_unusual_days(view.unusual, names, currency)
    lines += describe_forecast(view.month, currency) if view.drawn else []
    if lines:
        st.caption("  \n".join(lines))


def _write_lines(lines: list[str]) -> None:
    for line in lines:
        st.markdown(line)


def _compare_with_week_before(now: int | None, previous: int | None, format_number: Any) -> str:
    """`12.4 % more than the week before ($368.00)`."""
    if now is None or previous is None:
        return f"the week before {format_number(previous) if previous is not None else 'unknown'}"
    if now == previous:
        return "as in the week before"
    word = "more" if now > previous else "less"
    part = (
        f"{abs(now - previous) / previous * 100:.1f} % {word} than"
        if previous
        else f"{format_number(abs(now - previous))} {word} than"
    )
    return f"{part} the week before ({format_number(previous)})"


def _describe_movers(movers: tuple[Mover, ...], names: Mapping[str, str], currency: str) -> str:
    """`Most moved: model gpt-5.1 +$250.00 (2.6×), app bot +$240.00 (2.4×).`"""
    phrases = [
        f"{_KINDS[mover.dimension]} {blocks.escape_markdown(names.get(mover.value, mover.value))} "
        f"{'+' if mover.moved_nano > 0 else '−'}{_format_escaped_money(currency, abs(mover.moved_nano))}"
        + (f" ({mover.times:.1f}×)" if mover.times is not None else " (new)")
        for mover in movers
    ]
    return f"Most moved: {', '.join(phrases)}." if phrases else ""


def _format_escaped_money(currency: str, nano: int | None) -> str:
    return _escape(format_money(nano, currency))


def _escape(amount: str) -> str:
    return amount.replace("$", "\\$")  # two dollars on a line would be a formula


def _format_day(day: date) -> str:
    return f"{day:%a} {day.day} {day:%b}"
