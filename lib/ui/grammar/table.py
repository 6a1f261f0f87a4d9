"""A table whose rows open by a click in any cell, or by the keyboard: arrows to a cell, Enter or Space."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import streamlit as st

from lib.ui import blocks
from lib.ui.grammar.opened import count_closings, get_opened, open_row

ROW_HEIGHT = 30
TABLE_HEIGHT = 575


def open_table(
    name: str,
    rows: Any,
    ids: Sequence[str],
    columns: Mapping[str, Any],
    *,
    alt: str,
    order: Sequence[str] | None = None,
    height: int | str = "content",
    parameter: str = "id",
) -> str | None:
    """Draw rows (mappings, or a frame) and return the id of the open one; a click writes it into the address.

    `ids` names each row, `columns` is Streamlit's `column_config`. A missing value is an em dash. `alt` says what the
    table holds to who can't see it.
    """
    opened = get_opened(parameter)
    digest = hashlib.sha1("".join(ids).encode(), usedforsecurity=False).hexdigest()[:12]
    key = f"{name}-{digest}-{count_closings(parameter)}"
    before_key = f"{key}-before"

    def select() -> None:
        selection = st.session_state[key].selection
        position = find_chosen(st.session_state.get(before_key), selection)
        st.session_state[before_key] = (list(selection.rows), [tuple(cell) for cell in selection.cells])
        if position is not None and position < len(ids):
            open_row(ids[position], parameter)
        else:
            st.query_params.pop(parameter, None)

    blocks.leave_room_for_toolbar()
    sized: Any = height
    marked: Any = {"selection": {"rows": [ids.index(opened)] if opened in ids else [], "columns": [], "cells": []}}
    st.dataframe(
        rows,
        height=sized,
        hide_index=True,
        row_height=ROW_HEIGHT,
        placeholder="—",
        on_select=select,
        selection_mode=["single-row", "single-cell"],
        selection_default=marked,
        key=key,
        column_order=order,
        column_config=columns,
        alt=alt,
    )
    return opened


def make_state_column(title: str, states: Iterable[tuple[str, Any]], width: int) -> Any:
    """Make the column of a state in words and colours; `states` are those there are, each with its colour."""
    labels, colours = zip(*states, strict=True)
    return st.column_config.MultiselectColumn(title, width=width, options=list(labels), color=list(colours))


def choose_row(rows: Any, *, key: str, default: int | None = None, **options: Any) -> int | None:
    """Draw rows and return the number of the chosen one; a click in any cell chooses it, for as long as the page stays.

    `default` is chosen and marked, as a row: a marked cell would tell of itself again at the next click elsewhere, and
    what was pressed be done twice. It holds until somebody chooses. `options` go to `st.dataframe`.
    """
    chosen_key = f"{key}-chosen"
    before_key = f"{key}-before"
    if key not in st.session_state:  # the page is new, and what was chosen on it before is forgotten
        st.session_state.pop(chosen_key, None)
        st.session_state.pop(before_key, None)

    def select() -> None:
        selection = st.session_state[key].selection
        st.session_state[chosen_key] = find_chosen(st.session_state.get(before_key), selection)
        st.session_state[before_key] = (list(selection.rows), [tuple(cell) for cell in selection.cells])

    blocks.leave_room_for_toolbar()
    st.dataframe(
        rows,
        hide_index=True,
        row_height=ROW_HEIGHT,
        on_select=select,
        selection_mode=["single-row", "single-cell"],
        selection_default={"selection": {"rows": [] if default is None else [default], "columns": [], "cells": []}},
        key=key,
        **options,
    )
    row_id: int | None = st.session_state.get(chosen_key, default)
    return row_id


def find_chosen(earlier: tuple[list[int], list[tuple[int, str]]] | None, selection: Any) -> int | None:
    """Find the row that a click chose: of the cell or the box that has changed; None when it was given up."""
    old_rows, old_cells = earlier or ([], [])
    cells = [tuple(cell) for cell in selection.cells]
    if cells and cells != old_cells:
        return int(cells[0][0])
    if selection.rows and list(selection.rows) != old_rows:
        return int(selection.rows[0])
    return None
