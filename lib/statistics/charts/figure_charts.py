"""Charts of the statistics: a DataFrame in, an Altair chart out, in the product's look.

A chart shares its name with its query. Each has a point selection named `mark`, whose fields say which rows of the
ledger stand behind a mark. Bars that show time have one place per bucket, also where nothing happened; their labels are
those of the report zone, whatever zone the browser is in.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

import altair as alt
import pandas as pd

from lib.money import NANO_PER_USD, USD, format_money, format_sum, mark_least, read_sign
from lib.statistics.anomalies import Anomaly
from lib.statistics.charts import outlook_chart
from lib.statistics.charts.chart_theme import (
    AXIS_COUNT,
    PROVIDER_COLOURS,
    TIP_COUNT,
    build_colour,
    build_heat_layers,
    build_money_axis,
    find_provider_colour,
    sort_providers,
    style,
)
from lib.statistics.filters import Dimension, Measure
from lib.statistics.forecast import DayAhead
from lib.statistics.measures import Unit
from lib.statistics.periods import Bucket, PeriodStep

MARK = "mark"
OTHER = "other models"
_HEAD_PX = 86  # of a column's heading at most
_SIGN_PX = 6.5  # of a heading, about
_ROOM_PX = 300  # for all headings, where the chart has half a page
_SERIES = 11  # models with a colour of their own; the rest is one
_AXIS_UNITS = {Unit.NANO_USD: NANO_PER_USD, Unit.MS: 1000}  # how many of a measure's unit one on the axis is
_SHADES = ("", "A8", "66", "3D")  # of a provider's colour, for its first, second, third… model


def build_time_chart(
    frame: pd.DataFrame,
    buckets: Sequence[Bucket],
    step: PeriodStep,
    measure: Measure,
    by: Dimension,
    *,
    height: int = 270,
    compact: bool = False,
    ahead: Sequence[DayAhead] = (),
    marks: Sequence[Anomaly] = (),
    currency: str = USD,
) -> Any:
    """Stacked bars of a measure per bucket, by provider or by model (columns bucket, provider, model, value); lines of
    a measure that is no sum, like a percentile.

    On daily cost, also the forecast of days and marks on unusual ones; `buckets` then reach over the days `ahead`.
    """
    data = frame.dropna(subset="value")
    data = data[data.value != 0]
    data, names, hexes = _build_series(data, by)
    data = data.assign(
        shown=_convert_for_axis(data.value, measure),
        label=_format_labels(data, measure, currency=currency),
        when=data.bucket.map({bucket.key: describe(bucket, step) for bucket in buckets}),
        place=data.series.map({name: n for n, name in enumerate(names)}),
    )
    keys = [bucket.key for bucket in buckets]
    x = alt.X("bucket:O", title=None, axis=_build_time_axis(keys, step, compact), scale=_build_band_scale(keys))
    axis = _build_measure_axis(data, measure, currency)
    base = alt.Chart(data)
    is_sum = measure.is_sum
    unstacked: dict[str, Any] = {} if is_sum else {"stack": None}
    marked = base.mark_bar(cornerRadiusEnd=0, cursor="pointer") if is_sum else base.mark_line(point={"size": 45})
    chart = marked.encode(
        x=x,
        y=alt.Y("shown:Q", title=None, axis=axis, **unstacked),
        color=build_colour(
            "series", names, hexes, legend_columns=3 if compact else 5 if by is Dimension.MODEL else None
        ),
        order=alt.Order("place:Q", sort="ascending"),
        tooltip=[
            alt.Tooltip("when:N", title=step.value.capitalize()),
            alt.Tooltip("series:N", title=by.value.capitalize()),
            alt.Tooltip("label:N", title=_name_measure(measure)),
        ],
    ).add_params(build_mark_selection("bucket", "provider", *(["model"] if by is Dimension.MODEL else [])))
    over = outlook_chart.build_layers(x, axis, ahead, marks, currency)
    return style(alt.layer(chart, *over) if over else chart, height)


def build_model_chart(frame: pd.DataFrame, measure: Measure, height: int = 300, *, currency: str = USD) -> Any:
    """Horizontal bars of a measure per model, largest first, each with its figure; unknown and free say so."""
    names = _name_models(frame)
    labels = _format_labels(frame, measure, "free", currency=currency)
    data = frame.assign(name=names, shown=_convert_for_axis(frame.value, measure), label=labels)
    providers = sort_providers(data.provider)
    largest = float(data.shown.max()) if data.shown.notna().any() else 0.0
    base = alt.Chart(data.assign(shown=data.shown.fillna(0))).encode(
        y=alt.Y("name:N", sort=None, title=None, axis=alt.Axis(labelLimit=170)),
        x=alt.X("shown:Q", title=None, axis=None, scale=alt.Scale(domain=[0, largest * 1.25 or 1])),
        tooltip=[
            alt.Tooltip("provider:N", title="Provider"),
            alt.Tooltip("model:N", title="Model"),
            alt.Tooltip("label:N", title=_name_measure(measure)),
            alt.Tooltip("calls:Q", title="Calls", format=TIP_COUNT),
        ],
    )
    bars = (
        base.mark_bar(height={"band": 0.66}, cursor="pointer")
        .encode(
            color=build_colour("provider", providers, [find_provider_colour(p) for p in providers], legend_columns=0)
        )
        .add_params(build_mark_selection("provider", "model"))
    )
    text = base.mark_text(align="left", dx=6, tooltip=None).encode(text="label:N")
    return style(bars + text, height)


def build_cross_tab(
    frame: pd.DataFrame,
    rows: Dimension,
    columns: Dimension,
    measure: Measure,
    *,
    height: int = 300,
    slanted: bool = False,
    currency: str = USD,
) -> Any:
    """Cells of a measure for pairs of values (columns row, column, value and their names); the largest of each side."""
    data = frame.dropna(subset=["value", "row", "column"])
    data = data[data.value != 0]
    tall = _select_largest(data, "row", 9 if rows is not Dimension.PROVIDER else len(PROVIDER_COLOURS) + 1)
    wide = _select_largest(data, "column", 4 if slanted else 6)
    if rows is Dimension.PROVIDER:
        tall = sort_providers(tall)
    data = data[data["row"].isin(tall) & data["column"].isin(wide)]
    labels = _format_labels(data, measure, short=True, currency=currency)
    data = data.assign(shown=_convert_for_axis(data.value, measure), label=labels)
    uncut: dict[str, Any] = {"labelOverlap": False, "labelFlush": False, "labelBound": False}
    longest = min(_HEAD_PX, _SIGN_PX * int(data["column_name"].str.len().max() or 0)) if len(data) else 0
    is_tight = len(wide) * longest > _ROOM_PX  # level headings would run into each other
    head = alt.Axis(orient="top", labelAngle=-40 if slanted or is_tight else 0, labelLimit=_HEAD_PX, **uncut)
    base = alt.Chart(data).encode(
        x=alt.X("column_name:N", sort=_find_names(data, "column", wide), title=None, axis=head),
        y=alt.Y("row_name:N", sort=_find_names(data, "row", tall), title=None),
        tooltip=[
            alt.Tooltip("row_name:N", title=rows.value.capitalize()),
            alt.Tooltip("column_name:N", title=columns.value.capitalize()),
            alt.Tooltip("label:N", title=_name_measure(measure)),
        ],
    )
    cells, text = build_heat_layers(base, "shown", "label")
    return style(cells.add_params(build_mark_selection("row", "column")) + text, min(height, 46 * len(tall) + 40))


def describe(bucket: Bucket, step: PeriodStep) -> str:
    """A bucket in words: `Thu 22 Oct 2026`, `22 Oct 2026, 02:00`, `Week from 19 Oct 2026`, `October 2026`."""
    if step is PeriodStep.HOUR:
        local = datetime.fromisoformat(bucket.key)
        return f"{local.day} {local:%b %Y, %H:%M} {bucket.key[16:]}"
    day = date.fromisoformat(bucket.key)
    if step is PeriodStep.MONTH:
        return f"{day:%B %Y}"
    return f"Week from {day.day} {day:%b %Y}" if step is PeriodStep.WEEK else f"{day:%a} {day.day} {day:%b %Y}"


def _build_series(data: pd.DataFrame, by: Dimension) -> tuple[pd.DataFrame, list[str], list[str]]:
    """The frame with a column `series`, the series in stack order, and their colours."""
    if by is not Dimension.MODEL:
        names = sort_providers(data.provider)
        return data.assign(series=data.provider), names, [find_provider_colour(name) for name in names]
    data = data.assign(series=_name_models(data))
    largest = data.groupby("series").value.sum().sort_values(ascending=False).index[:_SERIES]
    is_small = ~data.series.isin(largest)
    if is_small.any():
        added = ["value", *(["unpriced_calls"] if "unpriced_calls" in data else [])]
        summed = data[is_small].groupby("bucket", as_index=False)[added].sum()
        data = pd.concat(
            [data[~is_small], summed.assign(series=OTHER, provider="other", model=None)], ignore_index=True
        )
    owner: Mapping[str, str] = dict(zip(data.series, data.provider, strict=True))
    places = {name: n for n, name in enumerate(largest)}
    order = sort_providers(owner.values())
    names = sorted(owner, key=lambda name: (name == OTHER, order.index(owner[name]), places.get(name, 0)))
    ranks: dict[str, int] = {}
    hexes = []
    for name in names:
        rank = ranks[owner[name]] = ranks.get(owner[name], -1) + 1
        hexes.append(
            find_provider_colour(owner[name]) + ("" if name == OTHER else _SHADES[min(rank, len(_SHADES) - 1)])
        )
    return data, names, hexes


def _name_models(frame: pd.DataFrame) -> pd.Series:
    """Model names; with the provider where two providers have one of the same name."""
    providers = frame.groupby("model").provider.nunique()
    shared = frame.model.map(providers) > 1
    return frame.model.where(~shared, frame.model + " · " + frame.provider)


def _convert_for_axis(values: pd.Series, measure: Measure) -> pd.Series:
    """Values to draw: dollars, seconds or counts, as floats (the exact figure stands in the label and in the table)."""
    numbers = values.astype("Float64")
    return (numbers / _AXIS_UNITS.get(measure.unit, 1)).astype("float64")


def _name_measure(measure: Measure) -> str:
    return measure.value.replace("_", " ").capitalize()


def _format_labels(
    frame: pd.DataFrame, measure: Measure, zero: str = "", *, short: bool = False, currency: str = USD
) -> list[str]:
    """Exact figures as people read them; `short` leaves cents off from a hundred dollars on.

    A sum of costs that `unpriced_calls` belong to says that it is the least.
    """
    labels = []
    left_out = frame.unpriced_calls.fillna(0) if "unpriced_calls" in frame else pd.Series(0, index=frame.index)
    for value, unknown in zip(frame.value, left_out, strict=True):
        if pd.isna(value):
            labels.append("— no price" if measure is Measure.COST else "—")
        elif measure.unit is Unit.MS:
            labels.append(f"{value / 1000:,.2f} s" if value >= 1000 else f"{value:,.0f} ms")
        elif measure is not Measure.COST:
            labels.append(f"{int(value):,}" if not short or value < 100_000 else f"{int(value) / 1e6:,.2f}M")
        elif value == 0:
            labels.append(zero if zero and not unknown else format_sum(0, int(unknown), currency))
        else:
            is_large = short and value >= 100 * NANO_PER_USD
            short_form = f"{read_sign(currency)}{int(value) / NANO_PER_USD:,.0f}"
            amount = short_form if is_large else format_money(int(value), currency)
            labels.append(mark_least(amount, bool(unknown)))
    return labels


def _build_measure_axis(data: pd.DataFrame, measure: Measure, currency: str) -> alt.Axis:
    if measure.unit is Unit.MS:
        return alt.Axis(labelExpr="format(datum.value, '~g') + ' s'", tickCount=4)
    if measure is not Measure.COST:
        return alt.Axis(format=AXIS_COUNT, tickCount=4)
    largest = float(data.groupby("bucket").shown.sum().max()) if len(data) else 1.0
    return build_money_axis(largest, currency, tickCount=4)


def _build_time_axis(keys: Sequence[str], step: PeriodStep, compact: bool) -> alt.Axis:
    """About eight labels; hours show the time on short ranges, the day on longer ones."""
    every = max(1, -(-len(keys) // (4 if compact else 8)))
    if step is PeriodStep.DAY and every > 3:
        every = -(-every // 7) * 7
    labelled_keys = keys[::every]
    form = "%-d %b"
    if step is PeriodStep.MONTH:
        form = "%b %Y"
        labelled_keys = keys if len(keys) <= 12 and not compact else labelled_keys
    elif step is PeriodStep.HOUR and len(keys) <= 50:
        form = "%H:%M"
    elif step is PeriodStep.HOUR:
        labelled_keys = [key for key in keys if key[11:16] == "00:00"]
    length = 16 if step is PeriodStep.HOUR else 10
    parsed = "%Y-%m-%dT%H:%M" if step is PeriodStep.HOUR else "%Y-%m-%d"
    label = f"utcFormat(utcParse(slice(datum.value, 0, {length}), '{parsed}'), '{form}')"
    return alt.Axis(labelExpr=label, values=list(labelled_keys), labelAngle=0, labelOverlap=False, labelFlush=False)


def _build_band_scale(keys: Sequence[str]) -> alt.Scale:
    return alt.Scale(domain=list(keys), paddingInner=0.18, paddingOuter=0.1)


def _select_largest(data: pd.DataFrame, column: str, most: int) -> list[str]:
    return list(data.groupby(column).value.sum().sort_values(ascending=False).index[:most])


def _find_names(data: pd.DataFrame, side: str, values: Sequence[str]) -> list[str]:
    names_by_value = dict(zip(data[side], data[f"{side}_name"], strict=True))
    return [names_by_value[value] for value in values if value in names_by_value]


def build_mark_selection(*fields: str) -> Any:
    """A point selection: a click on a mark of the chart sends these fields to the page."""
    return alt.selection_point(name=MARK, fields=list(fields), toggle=False)
