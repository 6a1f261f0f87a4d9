"""The cards of the statistics page: six figures, the measure over time, models, cross-tab, table.

Each takes frames and draws; a click on a mark opens the activity log at the rows behind it. Figures compare with the
previous stretch: money and volume in grey, for more is not bad; speed, failures and savings by their meaning.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import streamlit as st

from lib.money import USD, format_large_money, format_sum
from lib.statistics.charts import figure_charts
from lib.statistics.filters import Dimension, Measure
from lib.statistics.periods import PeriodStep, list_steps
from lib.statistics.queries import Figures
from lib.ui import blocks, format, session
from lib.ui.statistics import chart_card, outlook, statistics_filters
from lib.ui.statistics.report_context import Scene
from lib.ui.statistics.statistics_view import TAB_DIMENSIONS

if TYPE_CHECKING:
    import pandas as pd

MEASURES = {Measure.COST: "Cost", Measure.TOKENS: "Tokens", Measure.CALLS: "Calls", Measure.FAILED: "Errors"}
MEASURES |= {Measure.LATENCY_P95: "Latency"}
_TITLES = MEASURES | {Measure.LATENCY_P95: "Latency, p95,"}
_SIDES = {Dimension.ERROR_KIND: "reason"}
_MINUS = "−"


def show_figures(now: Figures, previous: Figures, trend: "pd.DataFrame", currency: str = USD) -> None:
    """Draw six metrics, each with its course over the range and its change since the previous range."""
    money = format_sum(now.cost_nano_usd, now.unpriced_calls, currency, is_short=True)
    by_money = _format_change(now.cost_nano_usd, previous.cost_nano_usd)
    saved, by_saved = _format_money_change(now.saved_nano_usd, previous.saved_nano_usd, currency)
    with st.grid(6, min_column_width=134, gap="small"):
        _show_metric(
            "Cost",
            money,
            by_money,
            trend.cost_nano_usd,
            help="Money over every attempt, retries included; ≥ where a cost is not, or not wholly, known.",
        )
        _show_metric("Calls", format.format_count(now.calls), _format_change(now.calls, previous.calls), trend.calls)
        tokens = _format_change(now.total_tokens, previous.total_tokens)
        _show_metric("Tokens", format.format_count(now.total_tokens), tokens, trend.total_tokens)
        _show_metric(
            "First token, p95",
            format.format_duration(now.first_token_p95_ms),
            _format_difference(now.first_token_p95_ms, previous.first_token_p95_ms, format.format_duration, 1),
            trend.first_token_p95_ms,
            less_is_better=True,
            help="Nineteen of twenty calls had their first token sooner.",
        )
        _show_metric(
            "Error rate",
            format.format_share(now.error_rate),
            _format_difference(now.error_rate, previous.error_rate, lambda part: f"{part * 100:.1f} pp", 0.0005),
            trend.error_rate,
            less_is_better=True,
            help="Calls that ended in an error, a timeout or a cut stream. Stopped by a person does not count.",
        )
        _show_metric(
            "Saved by cache",
            saved,
            by_saved,
            trend.saved_nano_usd,
            less_is_better=False,
            help="What answers from the cache would have cost. — means that none came from it.",
        )


def _show_metric(
    label: str,
    value: str,
    change: str | None,
    course: "pd.Series",
    *,
    less_is_better: bool | None = None,
    help: str | None = None,
) -> None:
    colour: Any = "gray"
    if change and less_is_better is not None:
        colour = "green" if change.startswith(_MINUS) == less_is_better else "red"
    points = course.dropna() if less_is_better else course.fillna(0)  # no call: no latency, but no cost either
    st.metric(
        label,
        value,
        change,
        delta_color=colour,
        delta_arrow="down" if change and change.startswith(_MINUS) else "up",
        chart_data=points.astype(float).tolist() if len(points) > 1 and points.any() else None,
        chart_type="area",
        border=True,
        height="stretch",
        help=help,
    )


def _format_change(now: float | None, previous: float | None) -> str | None:
    """`+12.4 %`, or None when there is nothing to compare with."""
    if not now or not previous:
        return None
    part = (now - previous) / previous
    return _format_signed(part, f"{abs(part) * 100:,.1f} %") if abs(part) >= 0.0005 else None


def _format_difference(now: float | None, previous: float | None, format_number: Any, least: float) -> str | None:
    if now is None or previous is None or abs(now - previous) < least:
        return None
    return _format_signed(now - previous, format_number(abs(now - previous)))


def _format_money_change(now: int | None, previous: int | None, currency: str) -> tuple[str, str | None]:
    if now is None or previous is None or now == previous:
        return format_large_money(now, currency), None
    return format_large_money(now, currency), _format_signed(
        now - previous, format_large_money(abs(now - previous), currency)
    )


def _format_signed(number: float, text: str) -> str:
    return ("+" if number > 0 else _MINUS) + text


def show_over_time(scene: Scene, frame: "pd.DataFrame", outlook_view: outlook.View) -> None:
    """The card of a measure over time, with its controls; on daily cost the forecast and marks, in words too."""
    view = scene.view
    with st.container(border=True):
        with blocks.start_row():
            title = f"{_TITLES[view.measure]} per {scene.step.value} by {view.by.value}"
            st.subheader(title, anchor=False, width="content" if scene.compact else "stretch")
            _show_choice("Measure", list(MEASURES), MEASURES, statistics_filters.bind_control(view, "measure"))
            kinds = {Dimension.PROVIDER: "Provider", Dimension.MODEL: "Model"}
            _show_choice("By", list(kinds), kinds, statistics_filters.bind_control(view, "by"))
            steps = list_steps(scene.range.start, scene.range.end)
            if len(steps) > 1:
                labels = {step: step.value.capitalize() for step in PeriodStep}
                step_options = statistics_filters.bind_control(view.changed("step", scene.step), "step")
                _show_choice("Step", steps, labels, step_options)
        if frame.value.fillna(0).sum() == 0:
            _say_nothing_to_draw(view.measure)
            return
        words = statistics_filters.format_range(scene.range.start, scene.range.end, scene.zone)
        mark = chart_card.draw(
            figure_charts.build_time_chart,
            frame,
            outlook_view.buckets(scene),
            scene.step,
            view.measure,
            view.by,
            compact=scene.compact,
            currency=scene.currency,
            **outlook_view.layers(scene),
            key="statistics-over-time",
            alt=f"{'Stacked bars' if view.measure.is_sum else 'Lines'}: {title}, {words}",
        )
        outlook.show_captions(outlook_view, scene.names, scene.currency)
    if mark is not None and (bucket := next((b for b in scene.buckets if b.key == mark.get("bucket")), None)):
        provider = mark.get("provider") if mark.get("model") or view.by is Dimension.PROVIDER else None
        start = max(bucket.start, scene.range.start)
        end = min(bucket.end, scene.range.end)
        _open_activity(view.rows_behind(start, end, provider=provider, model=mark.get("model")))


def show_by_model(scene: Scene, frame: "pd.DataFrame", height: int) -> None:
    """The card of the models with the largest sums."""
    view = scene.view
    title = f"{_TITLES[view.measure]} by model"
    st.subheader(title, anchor=False)
    alt = f"Bars: {title}"
    money: Any = {"currency": scene.currency}
    mark = chart_card.draw(
        figure_charts.build_model_chart, frame, view.measure, height, key="statistics-by-model-bars", alt=alt, **money
    )
    if mark is not None:
        _open_activity(view.rows_behind(scene.range.start, scene.range.end, **_pick_fields(mark, "provider", "model")))


def show_cross_tab(scene: Scene, frame: "pd.DataFrame", height: int) -> None:
    """The card of the cross-tab, with the choice of its two sides."""
    view = scene.view
    with blocks.start_row():
        title = f"{_TITLES[view.measure]} by {_name_side(view.rows)} and {_name_side(view.columns)}"
        st.subheader(title, anchor=False, width="stretch")
        with st.popover("Cross-tab", icon=":material/pivot_table_chart:", type="tertiary"):
            for label, name in (("Rows", "rows"), ("Columns", "columns")):
                widget_options = statistics_filters.bind_control(view, name)
                st.selectbox(label, TAB_DIMENSIONS, format_func=lambda d: _name_side(d).capitalize(), **widget_options)
    frame = frame.dropna(subset=["row", "column", "value"])
    if view.rows is view.columns or frame.value.sum() == 0:
        _say_nothing_to_draw(view.measure)
        return
    frame = frame.assign(
        row_name=[scene.named(view.rows, value) for value in frame["row"]],
        column_name=[scene.named(view.columns, value) for value in frame["column"]],
    )
    mark = chart_card.draw(
        figure_charts.build_cross_tab,
        frame,
        view.rows,
        view.columns,
        view.measure,
        height=height,
        slanted=scene.compact,
        currency=scene.currency,
        key="statistics-cross-tab",
        alt=f"Heat map: {title}",
    )
    if mark is not None:
        picked = {view.rows.value: mark.get("row"), view.columns.value: mark.get("column")}
        _open_activity(view.rows_behind(scene.range.start, scene.range.end, **picked))


def _name_side(dimension: Dimension) -> str:
    return _SIDES.get(dimension, dimension.value)


def _show_choice(label: str, options: list[Any], labels: Mapping[Any, str], control: dict[str, Any]) -> None:
    st.segmented_control(
        label, options, format_func=labels.__getitem__, required=True, label_visibility="collapsed", **control
    )


def _say_nothing_to_draw(measure: Measure) -> None:
    reason = "Free and unpriced calls cost nothing that could be drawn." if measure is Measure.COST else ""
    st.caption(f"Nothing to draw in this range. {reason}")


def _pick_fields(mark: Mapping[str, Any], *names: str) -> dict[str, str | None]:
    return {name: mark.get(name) for name in names}


def _open_activity(query: dict[str, list[str]]) -> None:
    st.switch_page(session.page("activity"), query_params=query)
