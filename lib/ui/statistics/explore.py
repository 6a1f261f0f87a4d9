"""The tab Explore: any two axes crossed with any measure, in five shapes, saved as a view, taken away as a file."""

from collections.abc import Mapping
from datetime import date, datetime
from functools import partial
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import streamlit as st

from lib.access.permissions import Actor
from lib.services import Services
from lib.statistics import explore
from lib.statistics.exchange import RateBook
from lib.statistics.filters import StatisticsFilter
from lib.statistics.measures import (
    TOOL,
    Axis,
    Dimension,
    Fold,
    Measure,
    MetricMeasure,
    Shape,
    Tag,
    parse_axis,
    parse_measure,
)
from lib.statistics.periods import Cycle, PeriodStep, list_buckets
from lib.ui import blocks, format, session
from lib.ui import names as ids
from lib.ui.statistics import chart_card, saved_views, statistics_filters
from lib.ui.statistics.models_table import write_file
from lib.ui.statistics.statistics_view import LISTS, StatisticsView

AXES = [*Dimension, TOOL, *PeriodStep, *Cycle]
_SHAPES = {
    Shape.TABLE: "Table",
    Shape.HEAT: "Heat map",
    Shape.AREA: "Area",
    Shape.BARS: "Bars",
    Shape.MULTIPLES: "Small multiples",
}
_MIMES = {"csv": "text/csv", "json": "application/json", "parquet": "application/vnd.apache.parquet"}


def show_tab(
    services: Services, actor: Actor, view: StatisticsView, criteria: StatisticsFilter, days: tuple[date, date]
) -> None:
    """Draw the tab Explore: controls, figures, downloads and saved views."""
    with blocks.start_row():
        names = [axis.value for axis in AXES]
        titles = {axis.value: explore.format_title(axis) for axis in AXES} | {"": "nothing"}
        split = list(dict.fromkeys([*names, view.split]))
        across = list(dict.fromkeys(["", *names, view.across]))
        metrics = [MetricMeasure(key, fold).value for key in services.metrics.numeric_keys(actor) for fold in Fold]
        figures = list(dict.fromkeys([*(measure.value for measure in Measure), *metrics, view.figure]))
        figure: Any = {"format_func": lambda name: explore.format_measure(parse_measure(name))}
        axis: Any = {"format_func": lambda name: titles.get(name, name)}
        st.selectbox("Split by", split, width=180, **axis, **statistics_filters.bind_control(view, "split"))
        st.selectbox("Across", across, width=180, **axis, **statistics_filters.bind_control(view, "across"))
        st.selectbox("Figure", figures, width=200, **figure, **statistics_filters.bind_control(view, "figure"))
        shape: Any = {"format_func": _SHAPES.__getitem__, "required": True}
        st.segmented_control("Shape", list(_SHAPES), **shape, **statistics_filters.bind_control(view, "shape"))
    cross_table, label_of = show_card(services, actor, view, criteria, key="explore")
    _show_downloads(services, actor, view, criteria, cross_table, label_of, days)
    saved_views.show_saved_views(services, actor, view)


def show_card(
    services: Services, actor: Actor, view: StatisticsView, criteria: StatisticsFilter, *, key: str
) -> tuple[explore.Cross, Any]:
    """Draw the figures in the view's shape; returns the cross table, and the function that names a value of an axis."""
    import pandas as pd

    cross_table, label_of = _compute_cross_table(services, actor, view, criteria)
    if not cross_table.rows:
        st.caption("No call in this range has these values.")
        return cross_table, label_of
    if view.shape is Shape.TABLE or cross_table.across is None:
        table = explore.build_table(cross_table, label_of)
        table = pd.concat([table.iloc[-1:], table.iloc[:-1]])  # the total first: it stays in sight
        floats = table.map(lambda v: float(v) if v is not None and not isinstance(v, str) else v)
        money: Any = st.column_config.NumberColumn(format=format.choose_money_format(cross_table.currency))
        number: Any = st.column_config.NumberColumn(format="localized")
        columns = {name: money if name.endswith(f" {cross_table.currency}") else number for name in table.columns[1:]}
        state = st.dataframe(
            floats,
            hide_index=True,
            row_height=30,
            placeholder="—",
            column_config=columns,
            key=f"{key}-table",
            on_select="rerun",
            selection_mode="single-cell",
        )
        for line, column in state.selection.cells:
            position = list(table.columns).index(column) - 1
            picked = {cross_table.by: cross_table.rows[line - 1]} if line else {}
            if cross_table.across is not None and 0 <= position < len(cross_table.columns):
                picked[cross_table.across] = cross_table.columns[position]
            _link_calls(cross_table, label_of, picked, view, criteria)
    else:
        mark = _draw_chart(cross_table, label_of, view, criteria, key)
        if mark is not None and (query := find_rows_behind(view, criteria, mark)) is not None:
            st.switch_page(session.page("activity"), query_params=query)
    if any(cross_table.left_out):
        rows, columns_left = cross_table.left_out
        parts = [f"{rows:,} more rows"] * bool(rows) + [f"{columns_left:,} more columns"] * bool(columns_left)
        st.caption(f"Not shown, but in the totals: {' and '.join(parts)}.")
    return cross_table, label_of


def show_pinned_views(services: Services, actor: Actor, zone: ZoneInfo, now: datetime, money: RateBook | None) -> None:
    """The saved views that stand on the dashboard: the actor's own, and shared ones; each leads to its tab."""
    for saved_view in services.saved_views.list(actor):
        if not saved_view.is_pinned:
            continue
        view = StatisticsView.from_query(saved_view.query, zone)
        date_range = view.range(zone, now)
        with st.container(border=True):
            with blocks.start_row():
                st.subheader(blocks.escape_markdown(saved_view.name), anchor=False, width="stretch")
                st.caption(statistics_filters.format_range(date_range.start, date_range.end, zone), width="content")
                query: Any = {"query_params": dict(saved_view.query), "icon": ":material/open_in_new:"}
                st.page_link(session.page("statistics"), label="Open", **query)
            criteria = view.filter(date_range.start, date_range.end, zone, money)
            show_card(services, actor, view, criteria, key=f"pinned-{saved_view.id}")


def find_rows_behind(
    view: StatisticsView, criteria: StatisticsFilter, picked: Mapping[Axis, Any]
) -> dict[str, list[str]] | None:
    """The address of the calls of these values; None where the log has no filter for one of them."""
    start = criteria.start
    end = criteria.end
    narrowed = dict[str, str | None]()
    if start is None or end is None:
        return None
    for axis, value in picked.items():
        if isinstance(axis, PeriodStep):
            bucket = next(
                (candidate for candidate in list_buckets(start, end, axis, criteria.zone) if candidate.key == value),
                None,
            )
            if bucket is None:
                return None
            start = max(start, bucket.start)
            end = min(end, bucket.end)
        elif value is None or not (isinstance(axis, Tag) or axis.value in LISTS):
            return None
        else:
            name, value = ("tag", f"{axis.name}={value}") if isinstance(axis, Tag) else (axis.value, value)
            narrowed[name] = str(value)
    return view.rows_behind(start, end, **narrowed)


def _link_calls(
    cross_table: explore.Cross,
    label_of: Any,
    picked: Mapping[Axis, Any],
    view: StatisticsView,
    criteria: StatisticsFilter,
) -> None:
    """Link to the calls behind the chosen cell of the table, or say that the log can't be narrowed to them."""
    words = " · ".join(label_of(axis, value) for axis, value in picked.items()) or "the whole table"
    if (query := find_rows_behind(view, criteria, picked)) is None:
        st.caption(f"The log can't be narrowed to {blocks.escape_markdown(words)}.")
        return
    page: Any = {"icon": ":material/receipt_long:", "query_params": query}
    st.page_link(session.page("activity"), label=blocks.escape_markdown(f"The calls behind {words}"), **page)


def _draw_chart(
    cross_table: explore.Cross, label_of: Any, view: StatisticsView, criteria: StatisticsFilter, key: str
) -> dict[Axis, Any] | None:
    """Draw the cross table as a chart; returns the clicked mark's value on each axis, or None."""
    by = cross_table.by
    across = cross_table.across
    assert across is not None  # noqa: S101 (a cross without columns is a table)
    cells = cross_table.cells[
        cross_table.cells["row"].isin(cross_table.rows[:24]) & cross_table.cells["column"].isin(cross_table.columns)
    ]
    row_order = {value: n for n, value in enumerate(cross_table.rows)}
    column_order = {value: n for n, value in enumerate(cross_table.columns)}
    cells = cells.assign(_r=cells["row"].map(row_order), _c=cells["column"].map(column_order)).sort_values(["_r", "_c"])
    frame = cells.assign(
        row_name=[label_of(by, value) for value in cells["row"]],
        column_name=[label_of(across, value) for value in cells["column"]],
    )[["row_name", "column_name", "value", *(["unpriced"] if "unpriced" in cells else [])]].reset_index(drop=True)
    titles = explore.format_title(by), explore.format_title(across)
    options: Any = {
        "stacks": cross_table.measure.is_sum,
        "is_time": isinstance(across, PeriodStep),
        "currency": cross_table.currency,
        "key": f"{key}-{view.shape}",
    }
    alt = f"{_SHAPES[view.shape]}: {cross_table.measure.value} by {titles[0]} across {titles[1]}"
    if view.shape is Shape.MULTIPLES:  # Streamlit tells no clicks of charts with several views: marks are links
        pairs = zip(cells["row"], cells["column"], strict=True)
        frame["url"] = [
            _build_address(find_rows_behind(view, criteria, {by: row, across: column})) for row, column in pairs
        ]
        options["beside"] = 2 if blocks.is_compact() else 4
        chart_card.show(explore.draw, frame, *titles, cross_table.measure.unit, view.shape, alt=alt, **options)
        return None
    mark = chart_card.draw(explore.draw, frame, *titles, cross_table.measure.unit, view.shape, alt=alt, **options)
    if mark is None:
        return None
    of_rows = dict(zip(frame.row_name, cells["row"], strict=True))
    of_columns = dict(zip(frame.column_name, cells["column"], strict=True))
    return {by: of_rows.get(mark.get("row_name")), across: of_columns.get(mark.get("column_name"))}


def _build_address(query: dict[str, list[str]] | None) -> str | None:
    return None if query is None else f"{session.page('activity').url_path}?{urlencode(query, doseq=True)}"


def _compute_cross_table(
    services: Services, actor: Actor, view: StatisticsView, criteria: StatisticsFilter
) -> tuple[explore.Cross, Any]:
    by = parse_axis(view.split)
    across = parse_axis(view.across) if view.across and view.across != view.split else None
    cross_table = explore.cross(services.statistics, actor, criteria, by, across, parse_measure(view.figure))
    return cross_table, _make_label_function(services, actor, cross_table)


def _make_label_function(services: Services, actor: Actor, cross_table: explore.Cross) -> Any:
    """A function `(axis, value)` that returns the value's name: of people, keys and configurations by their id."""
    names_by_axis: dict[Axis, Mapping[str, str]] = {}
    for axis, values in ((cross_table.by, cross_table.rows), (cross_table.across, cross_table.columns)):
        if axis is Dimension.USER:
            names_by_axis[axis] = services.users.names([str(value) for value in values if value])
        elif axis is Dimension.TEAM:
            names_by_axis[axis] = services.teams.names()
        elif axis is Dimension.API_KEY:
            names_by_axis[axis] = ids.name_api_keys(services, actor)
        elif axis is Dimension.CONFIGURATION:
            names_by_axis[axis] = ids.name_configurations(services, actor)
    return lambda axis, value: names_by_axis.get(axis, {}).get(value) or explore.format_axis_label(axis, value)


def _show_downloads(
    services: Services,
    actor: Actor,
    view: StatisticsView,
    criteria: StatisticsFilter,
    cross_table: explore.Cross,
    label_of: Any,
    days: tuple[date, date],
) -> None:
    with blocks.start_row():
        st.caption(f"{len(cross_table.rows):,} {'row' if len(cross_table.rows) == 1 else 'rows'}", width="stretch")
        totals = st.checkbox("Totals", value=True, key="explore-totals", help="A row and a column with the sums")
        bom = st.checkbox("For Excel", key="explore-bom", help="CSV with a mark that tells Excel it is UTF-8")
        table = explore.build_table(cross_table, label_of, totals=totals)
        note = partial(services.audit.note_export, actor, "statistics.export", filter=view.to_query())
        for kind, label in (("csv", "CSV"), ("parquet", "Parquet"), ("json", "JSON")):
            st.download_button(
                label,
                data=partial(_encode_file, table, kind, note, bom=bom and kind == "csv"),
                file_name=f"{view.figure}-by-{view.split}-{days[0]}-to-{days[1]}.{kind}",
                mime=_MIMES[kind],
                type="tertiary",
                icon=":material/download:",
                on_click="ignore",
                key=f"explore-{kind}",
            )
        st.download_button(
            "FOCUS",
            data=partial(_write_focus, services, actor, criteria, note),
            file_name=f"focus-{days[0]}-to-{days[1]}.csv",
            mime="text/csv",
            type="tertiary",
            icon=":material/download:",
            on_click="ignore",
            key="explore-focus",
            help="The whole range by day, provider, model and app, with the columns of the FinOps FOCUS specification. "
            + _describe_unpriced(services, actor, criteria),
        )


def _describe_unpriced(services: Services, actor: Actor, criteria: StatisticsFilter) -> str:
    from lib.statistics import focus

    count = focus.count_unpriced_calls(services.statistics, actor, criteria)
    return (
        f"{count:,} {'call has' if count == 1 else 'calls have'} no known cost and no part in its costs."
        if count
        else ""
    )


def _write_focus(services: Services, actor: Actor, criteria: StatisticsFilter, note: Any) -> bytes:
    from lib.statistics import export, focus

    frame = focus.build_frame(services.statistics, actor, criteria.in_dollars)
    note("focus", rows=len(frame))
    return export.encode_csv(frame)


def _encode_file(table: Any, kind: str, note: Any, *, bom: bool) -> bytes:
    return (b"\xef\xbb\xbf" if bom else b"") + write_file(table, kind, note)
