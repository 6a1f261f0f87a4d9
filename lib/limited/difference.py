"""Two texts beside each other, line by line; runs in the child of `rules`, for difflib may take very long.

A row is [left, right]: each side a list of [text, is_marked], or None where that text has no such line. Marked is what
only that side says. Lines that both have stand beside each other unmarked; long stretches of them are left out, and
[n, None] with the number of lines stands for each. Blank lines are left out: they say nothing.
"""

import difflib
import re
from collections.abc import Sequence
from typing import Any

_PIECES = re.compile(r"\s+|\w+|[^\w\s]")
_AROUND, _FEWEST_LEFT_OUT = 3, 4
_ALIKE = 0.4  # of a line's words: below, marking words makes confetti, so whole lines are marked

Side = list[tuple[str, bool]]


def rows(first: str, second: str) -> list[list[Any]]:
    """The rows of two texts, in order."""
    a, b = _lines(first), _lines(second)
    found: list[list[Any]] = []
    blocks = difflib.SequenceMatcher(None, a, b, autojunk=False).get_opcodes()
    for number, (kind, a0, a1, b0, b1) in enumerate(blocks):
        if kind == "equal":
            found += _equal(a[a0:a1], is_first=number == 0, is_last=number == len(blocks) - 1)
        else:
            found += _changed(a[a0:a1], b[b0:b1])
    return found


def rows_by_membership(first: str, second: str) -> list[list[Any]]:
    """The same in a time that grows with the texts alone: a line is marked when the other text has none like it."""
    a, b = _lines(first), _lines(second)
    in_a, in_b = set(a), set(b)
    left: list[list[Any]] = [[[(line, True)], None] for line in a if line not in in_b]
    return left + [[None, [(line, True)]] for line in b if line not in in_a]


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines() if line.strip()]


def _equal(lines: Sequence[str], *, is_first: bool, is_last: bool) -> list[list[Any]]:
    before, after = 0 if is_first else _AROUND, 0 if is_last else _AROUND
    left_out = len(lines) - before - after
    if left_out < _FEWEST_LEFT_OUT or (is_first and is_last):
        return [_same(line) for line in lines]
    return [*map(_same, lines[:before]), [left_out, None], *map(_same, lines[len(lines) - after :])]


def _same(line: str) -> list[Any]:
    return [[(line, False)], [(line, False)]]


def _changed(a: Sequence[str], b: Sequence[str]) -> list[list[Any]]:
    both = min(len(a), len(b))
    pairs: list[list[Any]] = [list(_words(x, y)) for x, y in zip(a, b, strict=False)]
    return [*pairs, *([[(line, True)], None] for line in a[both:]), *([None, [(line, True)]] for line in b[both:])]


def _words(first: str, second: str) -> tuple[Side, Side]:
    a, b = _PIECES.findall(first), _PIECES.findall(second)
    matcher = difflib.SequenceMatcher(None, a, b, autojunk=False)
    if matcher.ratio() < _ALIKE:
        return [(first, True)], [(second, True)]
    left, right = Side(), Side()
    for kind, a0, a1, b0, b1 in matcher.get_opcodes():
        for side, text in ((left, "".join(a[a0:a1])), (right, "".join(b[b0:b1]))):
            if text:
                side.append((text, kind != "equal"))
    return left, right
