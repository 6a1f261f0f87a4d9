"""Two texts side by side, line by line, with what only one of them says marked; used wherever texts are compared.

The comparison runs in a child with a limit of time; where it takes longer, lines are compared as wholes, without their
order. All text is escaped: nothing of a model's Markdown is read.
"""

from collections.abc import Sequence
from typing import Any

import streamlit as st

from lib.limited.child import NotComputed
from lib.limited.difference import compute_rows_by_membership
from lib.limited.rules import differences
from lib.ui import blocks

LONGEST = 20_000  # signs of each text
_MOST_ROWS = 400
_HARD_SPACE = "\u00a0"


def show(first: str, second: str, names: tuple[str, str]) -> None:
    """The table of both, and what it leaves out."""
    rows, notes = compare(first, second)
    if any(_is_marked(row) for row in rows):
        st.markdown(table(rows, names))
    else:
        st.caption("They are the same." if first == second else "Only blanks and line ends differ.")
    for note in notes:
        st.caption(note)


def compare(first: str, second: str) -> tuple[list[list[Any]], list[str]]:
    """Rows as in `lib.limited.difference`, and sentences on what was not compared."""
    notes = []
    if max(len(first), len(second)) > LONGEST:
        first = first[:LONGEST]
        second = second[:LONGEST]
        notes.append(f"The first {LONGEST:,} signs of each are compared.")
    try:
        rows = differences(first, second)
    except NotComputed:
        rows = compute_rows_by_membership(first, second)
        notes.append("Comparing word by word takes too long: these are the lines that only one of them has.")
    if len(rows) > _MOST_ROWS:
        notes.append(f"{len(rows) - _MOST_ROWS:,} more lines are not shown.")
    return rows[:_MOST_ROWS], notes


def table(rows: Sequence[Sequence[Any]], names: tuple[str, str]) -> str:
    """Rows as a table in Markdown; `≠` stands before those that differ, so that colour is not the only sign."""
    first_name, second_name = map(blocks.plain, names)
    lines = [f"| | {first_name} | {second_name} |", "|---|---|---|"]
    for row in rows:
        if isinstance(row[0], int):
            lines.append(f"| | :gray[⋯ {row[0]:,} lines that both have] | |")
            continue
        sign = "≠" if _is_marked(row) else ""
        lines.append(f"| {sign} | {_cell(row[0], 'red')} | {_cell(row[1], 'green')} |")
    return "\n".join(lines)


def _is_marked(row: Sequence[Any]) -> bool:
    return not isinstance(row[0], int) and (None in row or any(is_marked for side in row for _, is_marked in side))


def _cell(side: Sequence[Sequence[Any]] | None, colour: str) -> str:
    if side is None:
        return ""
    parts = []
    is_start = True
    for text, is_marked in side:
        escaped = blocks.plain(text.lstrip()) if is_start else blocks.plain(text)
        indent = _HARD_SPACE * (len(text) - len(text.lstrip())) if is_start else ""
        is_start = is_start and not text.strip()
        parts.append(indent + (f":{colour}-background[{escaped}]" if is_marked and escaped.strip() else escaped))
    return "".join(parts)
