"""Two texts side by side, line by line, with what only one of them says marked; used wherever texts are compared.

The comparison runs in a child with a limit of time; where it takes longer, lines are compared as wholes, without their
order. All text is escaped: nothing of a model's Markdown is read.
"""

from collections.abc import Sequence
from typing import Any

import streamlit as st

from lib.limited.child import NotComputed
from lib.limited.difference import compute_rows_by_membership
from lib.limited.rules import compute_differences
from lib.patterns import compile_pattern
from lib.ui import blocks

LONGEST = 20_000  # signs of each text
_TICKS = compile_pattern("`+")
_MOST_ROWS = 400
_HARD_SPACE = "\u00a0"


def show(first: str, second: str, names: tuple[str, str]) -> None:
    """The table of both, and what it leaves out."""
    rows, notes = compare(first, second)
    if any(_is_marked(row) for row in rows):
        st.markdown(format_table(rows, names, (find_code(first), find_code(second))))
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
        rows = compute_differences(first, second)
    except NotComputed:
        rows = compute_rows_by_membership(first, second)
        notes.append("Comparing word by word takes too long: these are the lines that only one of them has.")
    if len(rows) > _MOST_ROWS:
        notes.append(f"{len(rows) - _MOST_ROWS:,} more lines are not shown.")
    return rows[:_MOST_ROWS], notes


def find_code(text: str) -> frozenset[str]:
    """Find the lines that are read in letters of one width: fenced or indented code, and tables."""
    lines = set[str]()
    is_fenced = False
    for line in text.splitlines():
        bare = line.strip()
        is_fence = bare.startswith(("```", "~~~"))
        if is_fenced or is_fence or bare.startswith("|") or line.startswith(("    ", "\t")):
            lines.add(line.rstrip())
        is_fenced = is_fenced is not is_fence
    return frozenset(lines)


def format_table(
    rows: Sequence[Sequence[Any]],
    names: tuple[str, str],
    code: tuple[frozenset[str], frozenset[str]] = (frozenset(), frozenset()),
) -> str:
    """Rows as a table in Markdown; `≠` stands before those that differ, so that colour is not the only sign.

    `code` are the lines of each text that are written in letters of one width.
    """
    first_name, second_name = map(blocks.escape_markdown, names)
    lines = [f"| | {first_name} | {second_name} |", "|---|---|---|"]
    for row in rows:
        if isinstance(row[0], int):
            lines.append(f"| | :gray[⋯ {row[0]:,} lines that both have] | |")
            continue
        sign = "≠" if _is_marked(row) else ""
        lines.append(f"| {sign} | {_format_cell(row[0], 'red', code[0])} | {_format_cell(row[1], 'green', code[1])} |")
    return "\n".join(lines)


def _is_marked(row: Sequence[Any]) -> bool:
    return not isinstance(row[0], int) and (None in row or any(is_marked for side in row for _, is_marked in side))


def _format_cell(side: Sequence[Sequence[Any]] | None, colour: str, code: frozenset[str]) -> str:
    if side is None:
        return ""
    if "".join(text for text, _ in side) in code:
        return "".join(_write_code(text, colour if is_marked else "") for text, is_marked in side)
    parts = []
    is_start = True
    for text, is_marked in side:
        escaped = blocks.escape_markdown(text.lstrip()) if is_start else blocks.escape_markdown(text)
        indent = _HARD_SPACE * (len(text) - len(text.lstrip())) if is_start else ""
        is_start = is_start and not text.strip()
        parts.append(indent + (f":{colour}-background[{escaped}]" if is_marked and escaped.strip() else escaped))
    return "".join(parts)


def _write_code(text: str, colour: str) -> str:
    """A piece of a line as code, marked where it has a colour; as text where its brackets would end the mark."""
    if colour and (not text.strip() or any(sign in text for sign in "[]\\")):
        escaped = blocks.escape_markdown(text)
        return f":{colour}-background[{escaped}]" if escaped.strip() else escaped
    longest = max((len(run) for run in _TICKS.findall(text)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    spaced = text.replace("|", "\\|").expandtabs(4).replace("  ", f"{_HARD_SPACE} ")
    spaced = _HARD_SPACE + spaced[1:] if spaced.startswith(" ") else spaced
    spaced = spaced[:-1] + _HARD_SPACE if spaced.endswith(" ") else spaced
    span = f"{fence}{pad}{spaced}{pad}{fence}"
    return f":{colour}-background[{span}]" if colour else span
