"""Cells that no spreadsheet runs: text that would be read as a formula gets an apostrophe before it.

OWASP, CSV Injection: a cell may not begin with `= + - @`, a tab or a line end; Excel reads the full-width signs of
Japanese keyboards as the plain ones, and some programs pass over blanks and invisible signs before them. Names that
come from data become headings, too: a heading is treated as any other cell, and two alike are told apart.
"""

import unicodedata
from collections.abc import Iterable

_SIGNS = ("=", "+", "-", "@", "＝", "＋", "－", "＠", "﹢", "﹣", "﹦", "﹫")
_STARTS = ("\t", "\r", "\n", *_SIGNS)
_FIRST = frozenset(sign[0] for sign in _STARTS)


def neutralise(text: str) -> str:
    """Put an apostrophe before a text that a spreadsheet might run; others stay as they are."""
    return "'" + text if _is_formula(text) else text


def restore(text: str) -> str:
    """Take off the apostrophe that `neutralise` put before a text."""
    return text[1:] if text[:1] == "'" and _is_formula(text[1:]) else text


def tell_apart(names: Iterable[object]) -> list[str]:
    """Turn names that come from data into headings, each once: the second `a` is `a (2)`."""
    used: set[str] = set()
    headings: list[str] = []
    for name in names:
        heading = str(name)
        number = 1
        while heading in used:
            number += 1
            heading = f"{name} ({number})"
        used.add(heading)
        headings.append(heading)
    return headings


def _is_formula(text: str) -> bool:
    """Say whether a spreadsheet might run a text; also true after `neutralise`, so that each `restore` undoes one."""
    text = text.lstrip("'")
    first = text[:1]
    if not first or (first > " " and first.isascii() and first not in _FIRST):
        return False  # as nearly every text
    if first in _FIRST:
        return True
    start = next((n for n, sign in enumerate(text) if not _is_blank(sign)), len(text))
    return text.startswith(_SIGNS, start)


def _is_blank(sign: str) -> bool:
    return sign.isspace() or unicodedata.category(sign) in ("Cc", "Cf")
