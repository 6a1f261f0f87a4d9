"""Any measure crossed by any two axes as a table that people read and take away, and as charts.

The table's sums are exact: of measures that add up they are sums of its cells; of the others (percentiles, rates,
distinct counts) they are asked for by themselves, for they can't be made of their parts. Unknown stays unknown.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import altair as alt
import pandas as pd

from lib.access.permissions import Actor
from lib.files.cells import tell_apart
from lib.money import NANO_PER_USD, USD, convert_nano_to_usd, format_sum
from lib.statistics.charts.chart_theme import (
    ACCENT,
    build_colour,
    build_heat_layers,
    build_money_axis,
    find_provider_colour,
    style,
)
from lib.statistics.charts.figure_charts import build_mark_selection
from lib.statistics.export import set_types
from lib.statistics.filters import StatisticsFilter
from lib.statistics.measures import Axis, Measure, MetricMeasure, Shape, Unit
from lib.statistics.periods import Cycle, PeriodStep
from lib.statistics.queries import Statistics

MOST_COLUMNS = 36
MOST_ROWS = 500
TOTAL = "Total"
UNKNOWN = "—"
UNPRICED = "Unpriced calls"
_UNPRICED = Measure.UNPRICED.value
_WEEKDAYS = ("", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_HEXES = ("#33A582", "#DE7912", "#5C75BC", "#7A6507", "#9383F9", "#AA7144", "#AD425A", "#6F53C5", "#2E7175", "#927493")
_SERIES = len(_HEXES)
_MARKED = ("row_name", "column_name")


@dataclass(frozen=True)
class Cross:
    """A question and its answer: `cells` has row, column, value; `rows` and `columns` are the values in order.

    Cells of costs also have `unpriced`, the calls whose cost is not, or not wholly, in them, as `row_unpriced` (by row)
    and `unpriced` (in all) have; both are empty or 0 for other measures.

    `row_totals`, `column_totals` and `total` are None where nothing is known. `left_out` tells how many values of
    each axis the table does not show; they are in the totals.
    """

    by: Axis
    across: Axis | None
    measure: Measure | MetricMeasure
    cells: pd.DataFrame
    rows: list[Any]
    columns: list[Any]
    row_totals: Mapping[Any, Any]
    column_totals: Mapping[Any, Any]
    total: Any
    left_out: tuple[int, int]
    currency: str = USD  # of money
    row_unpriced: Mapping[Any, int] = field(default_factory=dict)
    unpriced: int = 0


def cross(
    ask: Statistics,
    actor: Actor,
    filters: StatisticsFilter,
    by: Axis,
    across: Axis | None,
    measure: Measure | MetricMeasure,
) -> Cross:
    """Cross a measure by two axes; rows by their totals, the largest first, moments and cycles in their order."""
    splits: list[list[Axis]] = [[by], [], *([[across], [by, across]] if across else [])]
    if isinstance(measure, MetricMeasure):
        frames = ask.noted(actor, filters, splits, measure)
    else:
        measures = [measure, *([Measure.UNPRICED] if measure is Measure.COST else [])]
        frames = [ask.pivot(actor, filters, split, measures) for split in splits]
    of_rows = _build_totals(frames[0], by, measure)
    whole = frames[1]
    total = _unwrap_scalar(whole[measure.value].iloc[0]) if len(whole) else None
    of_columns = dict[Any, Any]()
    if across is None:
        cells = pd.DataFrame({"row": list(of_rows), "column": None, "value": list(of_rows.values())})
    else:
        of_columns = _build_totals(frames[2], across, measure)
        pairs = frames[3]
        names = {"row": map(_normalise_key, pairs[by.value]), "column": map(_normalise_key, pairs[across.value])}
        cells = pd.DataFrame({name: list(keys) for name, keys in names.items()}, dtype=object)
        cells = cells.assign(value=list(pairs[measure.value]))
        if measure is Measure.COST:
            cells = cells.assign(unpriced=list(pairs[_UNPRICED]))
    rows = _sort_values(of_rows, by)
    columns = _sort_values(of_columns, across)
    cut = (max(0, len(rows) - MOST_ROWS), max(0, len(columns) - MOST_COLUMNS))
    visible_columns = columns[-MOST_COLUMNS:] if isinstance(across, PeriodStep) else columns[:MOST_COLUMNS]
    answer = Cross(
        by, across, measure, cells, rows[:MOST_ROWS], visible_columns, of_rows, of_columns, total, cut, filters.currency
    )
    if measure is not Measure.COST:
        return answer
    in_all = int(whole[_UNPRICED].iloc[0]) if len(whole) else 0
    return replace(answer, row_unpriced=_build_totals(frames[0], by, Measure.UNPRICED), unpriced=in_all)


def build_table(answer: Cross, name_of: Callable[[Axis, Any], str], *, totals: bool = True) -> pd.DataFrame:
    """A row a value: its name, each column's figure, the total; the last row holds the columns' totals.

    Money is exact (Decimal, the columns' names end in `USD` or another currency); other figures are numbers. Costs that
    are not whole have the number of calls that are left out, wholly or in part, in a last column.
    """
    values = {(row, column): value for row, column, value in answer.cells[["row", "column", "value"]].to_numpy()}
    unit = answer.measure.unit
    suffix = f" {answer.currency}" if unit is Unit.NANO_USD else ""
    column_heads = [name_of(answer.across, column) + suffix for column in answer.columns] if answer.across else []
    name, total, unpriced, *heads = tell_apart([format_title(answer.by), TOTAL + suffix, UNPRICED, *column_heads])
    is_least = bool(answer.unpriced)
    has_total = totals or not heads
    records: list[list[Any]] = []
    for row in answer.rows:
        cells = [convert_exactly(values.get((row, column)), unit) for column in answer.columns]
        ending = [convert_exactly(answer.row_totals.get(row), unit)] if has_total else []
        left_out = [int(answer.row_unpriced.get(row) or 0)] if is_least else []
        records.append([name_of(answer.by, row), *cells, *ending, *left_out])
    if totals:
        sums = [convert_exactly(answer.column_totals.get(column), unit) for column in answer.columns]
        records.append([TOTAL, *sums, convert_exactly(answer.total, unit), *([answer.unpriced] if is_least else [])])
    columns = [name, *heads, *([total] if has_total else []), *([unpriced] if is_least else [])]
    frame = pd.DataFrame(records, columns=columns, dtype=object)  # else None would make floats of whole numbers
    return set_types(frame, {name: "text"} | dict.fromkeys(columns[1:], unit) | {unpriced: Unit.COUNT})


def draw(
    frame: pd.DataFrame,
    by: str,
    across: str,
    unit: Unit,
    shape: Shape,
    *,
    stacks: bool,
    is_time: bool,
    currency: str = USD,
    beside: int = 4,
) -> Any:
    """A chart of cells with the columns row_name, column_name, value: what a page gives to `chart_card.draw`.

    Small multiples stand so many `beside` each other; with a column url they lead there.
    """
    order = list(dict.fromkeys(frame.row_name))
    heads = list(dict.fromkeys(frame.column_name))
    if len(order) > _SERIES and shape in (Shape.AREA, Shape.BARS):
        order = order[:_SERIES]
        frame = frame[frame.row_name.isin(order)]
    cells = _measure_cells(frame, unit, currency)
    labels = alt.Axis(labelAngle=0 if len(heads) < 9 else -40, labelLimit=86)
    x = alt.X("column_name:N", sort=heads, title=None, axis=labels)
    tip = [
        alt.Tooltip("row_name:N", title=by),
        alt.Tooltip("column_name:N", title=across),
        alt.Tooltip("label:N", title="Figure"),
    ]
    if shape is Shape.HEAT:
        return _draw_heat_map(cells, order, x, tip, is_labelled=len(heads) <= 8)
    largest = float(cells.shown.max()) if cells.shown.notna().any() else 0.0
    scale = build_money_axis(largest, currency) if unit is Unit.NANO_USD else alt.Axis()
    if shape is Shape.MULTIPLES:
        return _draw_small_multiples(cells, order, heads, scale, tip, beside)
    hexes = [find_provider_colour(name) if by == "Provider" else _HEXES[n % _SERIES] for n, name in enumerate(order)]
    base = alt.Chart(cells).encode(
        x=x,
        y=alt.Y("shown:Q", title=None, axis=scale, stack="zero" if stacks else None),
        color=build_colour("row_name", order, hexes, legend_columns=5),
        order=alt.Order("place:Q", sort="ascending"),
        tooltip=tip,
    )
    base = base.transform_calculate(place=f"indexof({order!r}, datum.row_name)")
    if shape is Shape.AREA and is_time:
        drawn_as = base.mark_area(opacity=0.85) if stacks else base.mark_line(point=True)
        return style(drawn_as.add_params(build_mark_selection(*_MARKED)), 300)
    offset = {} if stacks else {"xOffset": alt.XOffset("row_name:N", sort=order)}  # rates and times are not added up
    return style(base.mark_bar().encode(**offset).add_params(build_mark_selection(*_MARKED)), 300)


def _measure_cells(frame: pd.DataFrame, unit: Unit, currency: str) -> pd.DataFrame:
    """Add to each cell its height in a chart (`shown`) and its figure in words (`label`)."""
    heights = pd.Series([convert_for_axis(value, unit) for value in frame.value], index=frame.index, dtype="float64")
    left_out = frame["unpriced"] if "unpriced" in frame else [0] * len(frame)
    labels = [
        format_figure(value, unit, currency, int(unpriced or 0))
        for value, unpriced in zip(frame.value, left_out, strict=True)
    ]
    return frame.assign(shown=heights, label=labels)


def _draw_heat_map(
    cells: pd.DataFrame, order: list[str], x: alt.X, tip: list[alt.Tooltip], *, is_labelled: bool
) -> Any:
    y = alt.Y("row_name:N", sort=order, title=None)
    base = alt.Chart(cells[cells.shown.notna()]).encode(x=x, y=y, tooltip=tip)
    squares, text = build_heat_layers(base, "shown", "label")
    squares = squares.add_params(build_mark_selection(*_MARKED))
    return style(squares + text if is_labelled else squares, min(30 * len(order) + 60, 700))


def _draw_small_multiples(
    cells: pd.DataFrame, order: list[str], heads: list[str], scale: alt.Axis, tip: list[alt.Tooltip], beside: int
) -> Any:
    """Draw one small chart for each row, `beside` of them in a line; with a column url they lead there."""
    links = {"href": "url:N"} if "url" in cells else {}
    bars = alt.Chart(cells).mark_bar(color=ACCENT, cursor="pointer" if links else "default")
    few = bars.encode(
        **links,
        x=alt.X("column_name:N", sort=heads, title=None, axis=alt.Axis(labels=False, ticks=False)),
        y=alt.Y("shown:Q", title=None, axis=scale),
        facet=alt.Facet("row_name:N", sort=order, title=None, columns=beside),
        tooltip=tip,
    )
    return style(few.properties(width=150), 80)


def format_title(axis: Axis) -> str:
    """An axis in words."""
    return axis.value.removeprefix("tag.").replace("_", " ").capitalize()


def format_measure(measure: Measure | MetricMeasure) -> str:
    """A measure in words."""
    if isinstance(measure, MetricMeasure):
        return f"{measure.key} · {measure.fold}"
    return measure.value.replace("_", " ").capitalize()


def format_axis_label(axis: Axis, value: Any) -> str:
    """A value of an axis in words, where nobody knows a better name."""
    if value is None:
        return UNKNOWN
    if axis is Cycle.WEEKDAY:
        return _WEEKDAYS[int(value)]
    if axis is Cycle.HOUR_OF_DAY:
        return f"{int(value):02d}:00"
    if axis is PeriodStep.MONTH:
        return f"{pd.Timestamp(str(value)):%b %Y}"
    return str(value)[:16].replace("T", " ") if axis is PeriodStep.HOUR else str(value)


def convert_exactly(value: Any, unit: Unit) -> Any:
    """For tables and files: dollars as Decimal, counts as int, the rest as a float; None where nothing is known."""
    value = _unwrap_scalar(value)
    if value is None:
        return None
    if unit is Unit.NANO_USD:
        return convert_nano_to_usd(int(value))
    return int(value) if unit is Unit.COUNT else round(float(value), 6)


def convert_for_axis(value: Any, unit: Unit) -> float | None:
    """For an axis: dollars, percent, or the number."""
    value = _unwrap_scalar(value)
    if value is None:
        return None
    return float(value) / NANO_PER_USD if unit is Unit.NANO_USD else float(value) * (100 if unit is Unit.SHARE else 1)


def format_figure(value: Any, unit: Unit, currency: str = USD, unpriced: int = 0) -> str:
    """For a tooltip; `unpriced` calls make a sum of costs the least."""
    value = _unwrap_scalar(value)
    if value is None:
        return UNKNOWN
    match unit:
        case Unit.NANO_USD:
            return format_sum(int(value), unpriced, currency)
        case Unit.SHARE:
            return f"{float(value) * 100:.1f} %"
        case Unit.MS:
            return f"{float(value):,.0f} ms"
        case Unit.PER_SECOND:
            return f"{float(value):,.1f} /s"
        case Unit.NUMBER:
            return f"{float(value):,.4f}".rstrip("0").rstrip(".")
        case _:
            return f"{int(value):,}"


def _build_totals(frame: pd.DataFrame, axis: Axis, measure: Measure | MetricMeasure) -> dict[Any, Any]:
    return {_normalise_key(k): _unwrap_scalar(v) for k, v in zip(frame[axis.value], frame[measure.value], strict=True)}


def _sort_values(totals: Mapping[Any, Any], axis: Axis | None) -> list[Any]:
    if isinstance(axis, PeriodStep | Cycle):
        return sorted(totals, key=lambda key: (key is None, key))
    return sorted(totals, key=lambda key: (totals[key] is None, -(totals[key] or 0), str(key)))


def _normalise_key(value: Any) -> Any:
    value = _unwrap_scalar(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _unwrap_scalar(value: Any) -> Any:
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and value != value):
        return None
    return value.item() if hasattr(value, "item") else value
