"""The opened row as a half page beside its table, on a phone as a dialog at the right; its address is its own."""

from collections.abc import Callable
from dataclasses import dataclass

import streamlit as st

from lib.ui import blocks
from lib.ui.grammar.opened import close, get_opened


@dataclass(frozen=True)
class Detail:
    """How the opened row is drawn: its title, Markdown escaped, and the function that draws the rest."""

    title: str
    draw: Callable[[], None]


def show_beside(
    draw_rows: Callable[[], None], detail: Detail | None, *, parameter: str = "id", is_wide: bool = False
) -> None:
    """Draw the rows, and beside them the detail of the open one; where there is none, that it is gone.

    A wide detail, of tables or with questions of its own, takes two thirds, and on a phone it stands below the rows.
    """
    if get_opened(parameter) is None:
        draw_rows()
        return
    panel = detail or Detail("It is not here", lambda: _show_missing(parameter))
    if blocks.is_compact() and is_wide:
        draw_rows()
        show_detail_head(panel.title, parameter=parameter)
        panel.draw()
        return
    if blocks.is_compact():
        draw_rows()
        st.dialog(panel.title, position="right", on_dismiss=lambda: close(parameter))(panel.draw)()
        return
    left_column, right_column = st.columns([1, 2] if is_wide else [1.9, 1], gap="small")
    with left_column:
        draw_rows()
    with right_column.container(border=True):
        show_detail_head(panel.title, parameter=parameter)
        panel.draw()


def show_detail_head(title: str, *, parameter: str = "id") -> None:
    """Draw the title of a half page with the button that closes it."""
    with blocks.start_row(gap="xsmall"):
        st.subheader(title, anchor=False, width="stretch")
        st.button(
            "",
            icon=":material/close:",
            type="tertiary",
            help="Close",
            key=f"close-{parameter}",
            on_click=close,
            args=(parameter,),
        )


def _show_missing(parameter: str) -> None:
    st.markdown("It was deleted, or it is for others to see.")
    if blocks.is_compact():
        st.button("Close", on_click=close, args=(parameter,))
