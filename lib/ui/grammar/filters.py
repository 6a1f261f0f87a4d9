"""The filter row: a search and a few choices in one line, all in the address; on a phone behind one button."""

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from lib.ui import blocks

SEARCH = "q"


def filter_row(
    choices: Mapping[str, tuple[str, Sequence[str]]] | None = None,
    *,
    search: str = "",
    labels: Mapping[str, str] | None = None,
    prefix: str = "",
) -> dict[str, str]:
    """Draw a search (where `search` is its hint) and a choice for each parameter, `name: (label, values)`.

    Returns what is chosen by parameter, without those left alone; the first value of a choice stands for no filter.
    `labels` spells values. `prefix` keeps two rows of a page apart, in keys and in the address.
    """
    selection: dict[str, str] = {}
    offered = choices or {}
    names = [f"{prefix}{name}" for name in ([SEARCH] if search else []) + list(offered)]
    with blocks.start_row():
        if search:
            text = st.text_input(
                "Search",
                placeholder=search,
                icon=":material/search:",
                label_visibility="collapsed",
                width="stretch" if blocks.is_compact() else 230,
                key=f"{prefix}{SEARCH}",
                bind="query-params",
            )
            if text and text.strip():
                selection[SEARCH] = text.strip()
        if offered and blocks.is_compact():
            with st.popover("Filters", icon=":material/filter_list:"):
                selection |= _draw_choices(offered, labels or {}, prefix)
        else:
            selection |= _draw_choices(offered, labels or {}, prefix)
        if selection:
            st.button(
                "Clear",
                type="tertiary",
                icon=":material/close:",
                on_click=clear_filters,
                args=(names,),
                key=f"{prefix}clear",
            )
    return selection


def _draw_choices(
    choices: Mapping[str, tuple[str, Sequence[str]]], labels: Mapping[str, str], prefix: str
) -> dict[str, str]:
    selection: dict[str, str] = {}
    for name, (label, values) in choices.items():
        options: dict[str, Any] = {"key": f"{prefix}{name}", "bind": "query-params", "label_visibility": "collapsed"}
        value = st.segmented_control(
            label,
            values,
            default=values[0],
            required=True,
            format_func=lambda value: labels.get(value, value),
            **options,
        )
        if value is not None and value != values[0]:
            selection[name] = str(value)
    return selection


def clear_filters(names: Sequence[str]) -> None:
    """Leave every choice of these names alone again, in the widgets and in the address."""
    for name in names:
        st.session_state.pop(name, None)
        st.query_params.pop(name, None)
