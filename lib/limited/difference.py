"""Two texts beside each other, line by line; runs in the child of `rules`, for difflib may take very long.

A row is [left, right]: each side a list of [text, is_marked], or None where that text has no such line. Marked is what
only that side says. Lines that both have stand beside each other unmarked; long stretches of them are left out, and
[n, None] with the number of lines stands for each. Blank lines are left out: they say nothing.
"""

import difflib
import re
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

_PIECES = re.compile(r"\s+|\w+|[^\w\s]")
_AROUND, _FEWEST_LEFT_OUT = 3, 4
_NEAR = 8  # lines ahead that are looked at for a line's like
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
    """Lines that are alike stand beside each other with their words marked, the others are marked whole."""
    found: list[list[Any]] = []
    start, next_a = 0, 0
    for number, line in enumerate(a):
        near = range(start, min(start + _NEAR, len(b)))
        match = next((n for n in near if _likeness(line, b[n]) >= _ALIKE), None)
        if match is not None:
            found += [*_whole(a[next_a:number], b[start:match]), list(_words(line, b[match]))]
            start, next_a = match + 1, number + 1
    return found + _whole(a[next_a:], b[start:])


def _whole(a: Sequence[str], b: Sequence[str]) -> list[list[Any]]:
    pairs = zip_longest(a, b)
    return [[None if line is None else [(line, True)] for line in pair] for pair in pairs]


def _likeness(first: str, second: str) -> float:
    return difflib.SequenceMatcher(None, _PIECES.findall(first), _PIECES.findall(second), autojunk=False).ratio()


def _words(first: str, second: str) -> tuple[Side, Side]:
    a, b = _PIECES.findall(first), _PIECES.findall(second)
    left, right = Side(), Side()
    for kind, a0, a1, b0, b1 in difflib.SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        for side, text in ((left, "".join(a[a0:a1])), (right, "".join(b[b0:b1]))):
            if text:
                side.append((text, kind != "equal"))
    return left, right
