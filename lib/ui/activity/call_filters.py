"""The filter bar of the activity log. The address is the only state: controls show it, a change rewrites it."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import streamlit as st

from lib.activity.call_filter import CUSTOM, PERIODS, STATUSES, ActivityFilter
from lib.activity.call_rows import ActivityOptions
from lib.errors import ErrorKind
from lib.ui import blocks, format

_DAY = timedelta(days=1)
_CUSTOM_DAYS = 7
_PERIOD_NAMES = {"1h": "1 h", "24h": "24 h", "7d": "7 d", "30d": "30 d", CUSTOM: "Custom"}
_LISTS = {"providers": "Provider", "models": "Model", "apps": "App", "users": "User", "origins": "Origin"}
_LISTS |= {"error_kinds": "Reason of a failure", "service_tiers": "Service tier", "caches": "Cache"}
_NO_CONTROL = {
    "batches": "only",
    "configurations": "configurations",
    "api_keys": "API keys",
    "served_models": "answered by",
    "conversations": "conversations",
    "sessions": "sessions",
    "parent_calls": "made for calls",
    "workflow_runs": "workflow runs",
    "workflow_steps": "workflow steps",
    "teams": "teams",
    "tags": "tags",
}  # the scope line says them, Clear forgets them
_PREFIX = "activity-"


def read_criteria(zone: ZoneInfo) -> ActivityFilter:
    """The filter that the address names."""
    return ActivityFilter.from_query({name: st.query_params.get_all(name) for name in st.query_params}, zone)


def write_criteria(criteria: ActivityFilter, **parameters: str | None) -> None:
    """Put a filter into the address; an open call stays, the page number goes back to the first."""
    other_parameters = {"id": st.query_params.get("id"), **parameters}
    st.query_params.from_dict(
        criteria.to_query() | {name: value for name, value in other_parameters.items() if value is not None}
    )


def clear() -> None:
    """Forget every filter."""
    write_criteria(ActivityFilter())


def show_filter_bar(
    criteria: ActivityFilter, options: ActivityOptions, names: Mapping[str, str], zone: ZoneInfo
) -> None:
    """Draw the filter bar: search, period, status, the other lists, and Clear."""
    _set_controls(criteria, zone)
    compact = blocks.is_compact()
    changed: dict[str, Any] = {"on_change": _apply_controls, "args": (criteria, zone)}
    with blocks.start_row():
        st.text_input(
            "Search",
            placeholder="Text, call id or error",
            icon=":material/search:",
            label_visibility="collapsed",
            width="stretch" if compact else 230,
            key=_PREFIX + "text",
            **changed,
        )
        st.segmented_control(
            "Period",
            [*PERIODS, CUSTOM],
            format_func=_PERIOD_NAMES.__getitem__,
            label_visibility="collapsed",
            required=True,
            key=_PREFIX + "period",
            **changed,
        )
        if criteria.period == CUSTOM:
            st.date_input(
                "Days", label_visibility="collapsed", format="YYYY-MM-DD", width=224, key=_PREFIX + "days", **changed
            )
        _show_popovers(criteria, options, names, changed, compact)
        if criteria.narrows or criteria != ActivityFilter():
            st.button("Clear", type="tertiary", icon=":material/close:", on_click=clear)


def _show_popovers(
    criteria: ActivityFilter, options: ActivityOptions, names: Mapping[str, str], changed: dict[str, Any], compact: bool
) -> None:
    chosen_count = sum(len(getattr(criteria, field)) for field in _LISTS)
    status = f"Status · {len(criteria.statuses) or 'any'}"
    lists_label = f"Filters · {chosen_count}" if chosen_count else "Provider, app, user"
    if compact:
        total = chosen_count + len(criteria.statuses)
        with st.popover(f"Filters · {total}" if total else "Filters", icon=":material/filter_list:", key="filters"):
            _show_status(changed)
            _show_lists(criteria, options, names, changed)
        return
    with st.popover(status, icon=":material/flag:", key="status-filter"):
        _show_status(changed)
    with st.popover(lists_label, icon=":material/filter_list:", key="filters"):
        _show_lists(criteria, options, names, changed)


def _show_status(changed: dict[str, Any]) -> None:
    st.pills(
        "Status",
        STATUSES,
        selection_mode="multi",
        format_func=format.STATUS_GLYPHS.__getitem__,
        key=_PREFIX + "statuses",
        **changed,
    )


def _show_lists(
    criteria: ActivityFilter, options: ActivityOptions, names: Mapping[str, str], changed: dict[str, Any]
) -> None:
    def name_user(user_id: str) -> str:
        return names.get(user_id, user_id)

    spell = {"users": name_user, "error_kinds": spell_reason}
    for field, label in _LISTS.items():
        offered = list(ErrorKind) if field == "error_kinds" else list(getattr(options, field))
        offered += [value for value in getattr(criteria, field) if value not in offered]
        st.multiselect(
            label,
            offered,
            placeholder="Any",
            format_func=spell.get(field, str),
            key=_PREFIX + field,
            **changed,
        )


def spell_reason(kind: str) -> str:
    """A kind of error as people read it."""
    return kind.replace("_", " ")


def _set_controls(criteria: ActivityFilter, zone: ZoneInfo) -> None:
    """Give the controls the address's values before they are drawn."""
    values: dict[str, Any] = {"text": criteria.text, "period": criteria.period, "days": compute_days(criteria, zone)}
    values |= {field: list(getattr(criteria, field)) for field in (*_LISTS, "statuses")}
    for name, value in values.items():
        if st.session_state.get(_PREFIX + name) != value:
            st.session_state[_PREFIX + name] = value


def _apply_controls(criteria: ActivityFilter, zone: ZoneInfo) -> None:
    """A control was changed: write the address that the controls now say."""

    def value(name: str) -> Any:
        return st.session_state.get(_PREFIX + name)

    period = value("period") or criteria.period
    start = criteria.start
    end = criteria.end
    days = value("days")
    if period != CUSTOM:
        start = end = None
    elif criteria.period != CUSTOM:
        today = datetime.now(zone).date()
        start = compute_midnight(today - _DAY * (_CUSTOM_DAYS - 1), zone)
        end = compute_midnight(today + _DAY, zone)
    elif isinstance(days, tuple) and len(days) == 2 and days != compute_days(criteria, zone):
        start = compute_midnight(days[0], zone)
        end = compute_midnight(days[1] + _DAY, zone)
    lists = {field: tuple(value(field) or ()) for field in (*_LISTS, "statuses")}
    text = value("text") or ""
    lists |= {field: getattr(criteria, field) for field in _NO_CONTROL}
    write_criteria(ActivityFilter(period=period, start=start, end=end, text=text, **lists))


def compute_midnight(day: date, zone: ZoneInfo) -> datetime:
    """The first moment of a day in a zone."""
    return datetime.combine(day, time(), zone).astimezone(UTC)


def compute_days(criteria: ActivityFilter, zone: ZoneInfo) -> tuple[date, ...]:
    """First and last day of a custom period, for the calendar; nothing when it is open."""
    if criteria.start is None or criteria.end is None:
        return ()
    first = criteria.start.astimezone(zone).date()
    return first, max(first, (criteria.end - timedelta(microseconds=1)).astimezone(zone).date())


def show_scope_line(criteria: ActivityFilter, zone: ZoneInfo, names: Mapping[str, str], own_only: bool) -> None:
    """The period in words, the zone, whose calls these are, and the filters that have no control."""
    if criteria.period != CUSTOM:
        words = f"Last {_PERIOD_NAMES[criteria.period]}"
    elif criteria.start is None and criteria.end is None:
        words = "Any time"
    elif criteria.start is None:
        words = f"Before {format.format_moment(criteria.end, zone)}"
    elif criteria.end is None:
        words = f"Since {format.format_moment(criteria.start, zone)}"
    else:
        words = _format_range(criteria.start.astimezone(zone), criteria.end.astimezone(zone), zone)
    parts = [words, zone.key, *(["your own calls"] if own_only else [])]
    for field, label in _NO_CONTROL.items():
        if values := getattr(criteria, field):
            parts.append(f"{label}: {', '.join(names.get(value, value) for value in values)}".replace("_", " "))
    st.caption(blocks.escape_markdown(" · ".join(parts)))


def _format_range(start: datetime, end: datetime, zone: ZoneInfo) -> str:
    if start.time() != time() or end.time() != time():
        return f"{format.format_moment(start, zone)} – {format.format_moment(end, zone)}"
    last = (end - _DAY).date()
    if start.date() >= last:
        return f"{start.day} {start:%b %Y}"
    first = f"{start.day}" if (start.year, start.month) == (last.year, last.month) else f"{start.day} {start:%b %Y}"
    return f"{first} – {last.day} {last:%b %Y}"
