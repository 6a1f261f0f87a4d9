"""A table and the thing that its open row stands for, beside it: what most lists of things on a page are."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import streamlit as st

from lib.ui import blocks
from lib.ui.grammar.detail import Detail, show_beside
from lib.ui.grammar.opened import get_opened
from lib.ui.grammar.table import open_table

T = TypeVar("T")


@dataclass(frozen=True)
class ThingRow(Generic[T]):
    """A thing with its row: the id in the address, the name above its detail, and what the cells say."""

    subject: T
    id: str
    name: str
    cells: Mapping[str, Any]


def show_rows_beside(
    name: str,
    rows: Sequence[ThingRow[T]],
    columns: Mapping[str, Any],
    draw: Callable[[T], None],
    *,
    narrow: Sequence[str],
    alt: str,
    parameter: str = "id",
    caption: str = "",
) -> None:
    """Draw a table, a caption under it, and the detail of the open row; `narrow` columns are shown beside that."""
    opened = get_opened(parameter)
    row = next((row for row in rows if row.id == opened), None)

    def draw_rows() -> None:
        order = narrow if blocks.is_compact() or opened is not None else None
        cells = [row.cells for row in rows]
        open_table(name, cells, [row.id for row in rows], columns, order=order, parameter=parameter, alt=alt)
        if caption:
            st.caption(caption)

    detail = None if row is None else Detail(blocks.escape_markdown(row.name), lambda: draw(row.subject))
    show_beside(draw_rows, detail, parameter=parameter)
