"""The filter bar and the scope line of the statistics. The address is the only state: controls show and rewrite it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import streamlit as st

from lib.access.permissions import Actor
from lib.errors import ErrorKind
from lib.providers.prices.service_tiers import KNOWN_TIERS
from lib.statistics.filters import Dimension
from lib.statistics.periods import Baseline, ReportPeriod, ReportRange, shift_period
from lib.statistics.queries import Statistics
from lib.ui import blocks, session
from lib.ui.statistics.statistics_view import LISTS, StatisticsView

_PREFIX = "statistics-"
_MAIN = ("provider", "model", "app", "user")
_MORE = ("team", "origin", "status", "error_kind", "configuration", "api_key", "served_model", "service_tier", "cache")
_TYPED = ("session", "parent_call", "workflow_run", "workflow_step")  # too many to offer: any can be typed
_CACHES = ("none", "exact", "loose", "semantic")
_OCCURRING = (*_MAIN, "team", "origin", "status")  # asked of the ledger: the roll-up knows them
_LABELS = {"error_kind": "Error", "api_key": "API key", "served_model": "Answered by"}
_LABELS |= {"service_tier": "Service tier"}


def read_view(zone: ZoneInfo) -> StatisticsView:
    """The view that the address names."""
    return StatisticsView.from_query({name: st.query_params.get_all(name) for name in st.query_params}, zone)


def write_view(view: StatisticsView) -> None:
    """Put a view into the address."""
    st.query_params.from_dict(view.to_query())


def list_options(
    ask: Statistics, actor: Actor, configurations: Iterable[str], api_keys: Iterable[str]
) -> dict[str, Sequence[str]]:
    """The values that each filter offers, by filter name; `_list` adds those that only the address names."""
    values_by_filter: dict[str, Sequence[str]] = {name: ask.choices(actor, Dimension(name)) for name in _OCCURRING}
    values_by_filter |= {
        "error_kind": list(ErrorKind),
        "configuration": list(configurations),
        "api_key": list(api_keys),
    }
    return values_by_filter | {"served_model": values_by_filter["model"], "service_tier": KNOWN_TIERS, "cache": _CACHES}


def bind_control(view: StatisticsView, name: str) -> dict[str, Any]:
    """Key and callback of a control that shows and changes one part of the view."""
    key = _PREFIX + name
    value = getattr(view, name)
    value = list(value) if isinstance(value, tuple) else value
    if st.session_state.get(key) != value:
        st.session_state[key] = value
    return {"key": key, "on_change": _apply_control, "args": (view, name)}


def _apply_control(view: StatisticsView, name: str) -> None:
    write_view(view.changed(name, st.session_state[_PREFIX + name]))


def show_filter_bar(
    view: StatisticsView,
    options: Mapping[str, Sequence[str]],
    names: Mapping[str, str],
    date_range: ReportRange,
    zone: ZoneInfo,
) -> None:
    """Draw the filter bar: the period, a popover per filter whose label says its state, and Clear."""
    compact = blocks.is_compact()
    with blocks.start_row(gap="xsmall"):  # with it and without icons the bar is one row at 1280 px
        _show_period(view, date_range, zone)
        if compact:
            filter_count = sum(len(getattr(view, field)) for field in LISTS.values())
            with st.popover(
                f"Filters · {filter_count}" if filter_count else "Filters", icon=":material/filter_list:", key="filters"
            ):
                for name in (*_MAIN, *_MORE, *_TYPED):
                    _show_list(view, name, options.get(name, ()), names)
                _show_tags(view)
                _show_comparison(view)
        else:
            for name in _MAIN:
                filter_count = len(getattr(view, LISTS[name]))
                label = f"{name.capitalize()} · {filter_count or 'all'}"
                with st.popover(label, key=f"filter-{name}"):
                    _show_list(view, name, options[name], names)
            more_count = sum(len(getattr(view, LISTS[name])) for name in (*_MORE, *_TYPED, "tag"))
            more_count += view.compare is not Baseline.PREVIOUS
            with st.popover(
                f"More · {more_count}" if more_count else "More", icon=":material/tune:", key="filter-more"
            ):
                for name in (*_MORE, *_TYPED):
                    _show_list(view, name, options.get(name, ()), names)
                _show_tags(view)
                _show_comparison(view)
        if view.narrows:
            st.button(
                "Clear",
                type="tertiary",
                on_click=write_view,
                args=(view.cleared(),),
            )


def _show_tags(view: StatisticsView) -> None:
    """Labels that programs gave their calls; any can be typed."""
    widget_options = bind_control(view, "tags")
    widget_options["on_change"] = _apply_tags
    st.multiselect(
        "Tag",
        view.tags,
        placeholder="name=value",
        accept_new_options=True,
        help="Calls that carry every one",
        **widget_options,
    )


def _apply_tags(view: StatisticsView, name: str) -> None:
    write_view(view.changed(name, [tag for tag in st.session_state[_PREFIX + name] if "=" in tag.strip("=")]))


def _show_comparison(view: StatisticsView) -> None:
    labels = {Baseline.PREVIOUS: "The time before", Baseline.LAST_YEAR: "The same days last year"}
    widget_options = bind_control(view, "compare")
    st.segmented_control("Compare with", list(labels), format_func=labels.__getitem__, required=True, **widget_options)


def _show_period(view: StatisticsView, date_range: ReportRange, zone: ZoneInfo) -> None:
    today = datetime.now(zone).date()
    labels = {
        ReportPeriod.DAYS_7: "7 d",
        ReportPeriod.DAYS_30: "30 d",
        ReportPeriod.LAST_MONTH: f"{today.replace(day=1) - timedelta(days=1):%b}",
        ReportPeriod.MONTH: f"{today:%b}",
        ReportPeriod.QUARTER: f"Q{(today.month + 2) // 3}",
        ReportPeriod.YEAR: "12 m",
        ReportPeriod.CUSTOM: "Custom",
    }
    if blocks.is_compact() and view.period is not ReportPeriod.QUARTER:  # six fit a phone, seven do not
        del labels[ReportPeriod.QUARTER]
    widget_options = bind_control(view, "period")
    st.segmented_control(
        "Period",
        list(labels),
        format_func=labels.__getitem__,
        required=True,
        label_visibility="collapsed",
        key=widget_options["key"],
        on_change=_apply_period,
        args=(view, date_range, zone),
    )
    if view.period is ReportPeriod.CUSTOM:
        days = (view.first, view.last)
        if st.session_state.get(_PREFIX + "days") != days:
            st.session_state[_PREFIX + "days"] = days
        st.date_input(
            "Days", label_visibility="collapsed", width=230, key=_PREFIX + "days", on_change=_apply_days, args=(view,)
        )


def _apply_period(view: StatisticsView, date_range: ReportRange, zone: ZoneInfo) -> None:
    period = st.session_state[_PREFIX + "period"]
    first = last = None
    if period is ReportPeriod.CUSTOM:  # begins as the range that was on the screen
        first, last = compute_days(date_range.start, date_range.end, zone)
    write_view(replace(view, period=period, first=first, last=last, step=None))


def _apply_days(view: StatisticsView) -> None:
    days = st.session_state[_PREFIX + "days"]
    if isinstance(days, tuple) and len(days) == 2:
        write_view(replace(view, first=days[0], last=days[1], step=None))


def _show_list(view: StatisticsView, name: str, offered: Sequence[str], names: Mapping[str, str]) -> None:
    field = LISTS[name]
    gone = [value for value in getattr(view, field) if value not in offered]
    st.multiselect(
        _LABELS.get(name, name.replace("_", " ").capitalize()),
        [*offered, *gone],
        placeholder="All",
        accept_new_options=name in _TYPED,
        format_func=lambda value: names.get(value, value),
        **bind_control(view, field),
    )


def compute_days(start: datetime, end: datetime, zone: ZoneInfo) -> tuple[date, date]:
    """The first and last local day of a range."""
    return start.astimezone(zone).date(), (end - timedelta(microseconds=1)).astimezone(zone).date()


def format_range(start: datetime, end: datetime, zone: ZoneInfo) -> str:
    """`1 – 31 Oct 2026`, `24 Dec 2025 – 22 Jan 2026`, `22 Oct 2026`."""
    first, last = compute_days(start, end, zone)
    if first == last:
        return f"{last.day} {last:%b %Y}"
    if (first.year, first.month) == (last.year, last.month):
        return f"{first.day} – {last.day} {last:%b %Y}"
    if first.year == last.year:
        return f"{first.day} {first:%b} – {last.day} {last:%b %Y}"
    return f"{first.day} {first:%b %Y} – {last.day} {last:%b %Y}"


def format_freshness(newest: datetime | None, now: datetime) -> str:
    """How fresh the figures are, by the newest call."""
    if newest is None:
        return "no call yet"
    seconds = max(0, int((now - newest).total_seconds()))
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"newest call {seconds // size} {unit} ago"
    return f"newest call {seconds} s ago"


def _show_steps(view: StatisticsView, today: date) -> None:
    """Arrows to the period before and after, as long as this one."""
    for step, icon, text in ((-1, "chevron_left", "The period before"), (1, "chevron_right", "The period after")):
        shifted = shift_period(view.period, today, view.first, view.last, step)
        target = view if shifted is None else replace(view, period=shifted[0], first=shifted[1], last=shifted[2])
        st.button(
            "",
            icon=f":material/{icon}:",
            type="tertiary",
            help=text,
            key=f"period-{icon}",
            disabled=shifted is None,
            on_click=write_view,
            args=(replace(target, step=None),),
        )


def show_scope_line(
    date_range: ReportRange,
    zone: ZoneInfo,
    newest: datetime | None,
    now: datetime,
    unpriced: int,
    *,
    own_only: bool,
    stepping: StatisticsView | None = None,
) -> Any:
    """Write range, zone, comparison, freshness and unpriced calls in a row; returns the row, for more elements.

    With the view as `stepping`, arrows before it lead to the period before and after.
    """
    compared = f"compared with {format_range(date_range.previous_start, date_range.previous_end, zone)}"
    parts = [format_range(date_range.start, date_range.end, zone), zone.key, compared, format_freshness(newest, now)]
    line = blocks.start_row(gap="xsmall")
    with line:
        if stepping is not None:
            _show_steps(stepping, now.astimezone(zone).date())
        st.caption(
            blocks.escape_markdown(" · ".join([*parts, *(["your own calls"] if own_only else [])])), width="content"
        )
        if unpriced:
            st.page_link(
                session.page("prices"),
                label=f":yellow-background[{unpriced:,} {'call' if unpriced == 1 else 'calls'} unpriced]",
                icon=":material/price_change:",
                help="No price is known for their models: they are in no total, and not free. Set their prices.",
            )
    return line
