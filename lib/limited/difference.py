"""Two texts beside each other, line by line; runs in the child of `rules`, for difflib may take very long.

A row is [left, right]: each side a list of [text, is_marked], or None where that text has no such line. Marked is what
only that side says. Lines that both have stand beside each other unmarked; long stretches of them are left out, and
[n, None] with the number of lines stands for each. Blank lines are left out: they say nothing.
"""

import difflib
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from lib.patterns import compile_pattern

_PIECES = compile_pattern(r"\s+|\w+|[^\w\s]")
_AROUND = 3
_FEWEST_LEFT_OUT = 4
_NEAR = 8  # lines ahead that are looked at for a line's like
_ALIKE = 0.4  # of a line's words: below, marking words makes confetti, so whole lines are marked

Side = list[tuple[str, bool]]


def compute_rows(first: str, second: str) -> list[list[Any]]:
    """Compute the rows of two texts, in order."""
    a = _split_lines(first)
    b = _split_lines(second)
    compared: list[list[Any]] = []
    blocks = difflib.SequenceMatcher(None, a, b, autojunk=False).get_opcodes()
    for number, (kind, a0, a1, b0, b1) in enumerate(blocks):
        if kind == "equal":
            compared += _build_equal(a[a0:a1], is_first=number == 0, is_last=number == len(blocks) - 1)
        else:
            compared += _build_changed(a[a0:a1], b[b0:b1])
    return compared


def compute_rows_by_membership(first: str, second: str) -> list[list[Any]]:
    """Compute rows in time linear in the texts: a line is marked when the other text has none like it."""
    a = _split_lines(first)
    b = _split_lines(second)
    in_a = set(a)
    in_b = set(b)
    first_only: list[list[Any]] = [[[(line, True)], None] for line in a if line not in in_b]
    return first_only + [[None, [(line, True)]] for line in b if line not in in_a]


def compute_unified(first: Sequence[str], second: Sequence[str], names: tuple[str, str]) -> list[str]:
    """Compute the lines of a unified diff of two lists of lines; empty when they are equal."""
    return list(difflib.unified_diff(first, second, *names, lineterm=""))


def compute_unified_at_once(first: Sequence[str], second: Sequence[str], names: tuple[str, str]) -> list[str]:
    """Compute a unified diff in time linear in the lines: all between what both begin and end with is one change."""
    if first == second:
        return []
    shorter = min(len(first), len(second))
    common_start = next((n for n in range(shorter) if first[n] != second[n]), shorter)
    most = shorter - common_start
    tail = next((n for n in range(most) if first[-1 - n] != second[-1 - n]), most)
    removed = first[common_start : len(first) - tail]
    added = second[common_start : len(second) - tail]
    ranges = (f"{common_start + bool(lines)},{len(lines)}" for lines in (removed, added))
    head = [f"--- {names[0]}", f"+++ {names[1]}", "@@ -{} +{} @@".format(*ranges)]
    return [*head, *(f"-{line}" for line in removed), *(f"+{line}" for line in added)]


def _split_lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines() if line.strip()]


def _build_equal(lines: Sequence[str], *, is_first: bool, is_last: bool) -> list[list[Any]]:
    head_count = 0 if is_first else _AROUND
    tail_count = 0 if is_last else _AROUND
    skipped = len(lines) - head_count - tail_count
    if skipped < _FEWEST_LEFT_OUT or (is_first and is_last):
        return [_build_same(line) for line in lines]
    return [*map(_build_same, lines[:head_count]), [skipped, None], *map(_build_same, lines[len(lines) - tail_count :])]


def _build_same(line: str) -> list[Any]:
    return [[(line, False)], [(line, False)]]


def _build_changed(a: Sequence[str], b: Sequence[str]) -> list[list[Any]]:
    """Lines that are alike stand beside each other with their words marked, the others are marked whole."""
    compared: list[list[Any]] = []
    start = 0
    next_a = 0
    for number, line in enumerate(a):
        near = range(start, min(start + _NEAR, len(b)))
        match = next((n for n in near if _compute_likeness(line, b[n]) >= _ALIKE), None)
        if match is not None:
            compared += [*_mark_whole(a[next_a:number], b[start:match]), list(_mark_words(line, b[match]))]
            start = match + 1
            next_a = number + 1
    return compared + _mark_whole(a[next_a:], b[start:])


def _mark_whole(a: Sequence[str], b: Sequence[str]) -> list[list[Any]]:
    pairs = zip_longest(a, b)
    return [[None if line is None else [(line, True)] for line in pair] for pair in pairs]


def _compute_likeness(first: str, second: str) -> float:
    return difflib.SequenceMatcher(None, _PIECES.findall(first), _PIECES.findall(second), autojunk=False).ratio()


def _mark_words(first: str, second: str) -> tuple[Side, Side]:
    a = _PIECES.findall(first)
    b = _PIECES.findall(second)
    first_side = Side()
    second_side = Side()
    for kind, a0, a1, b0, b1 in difflib.SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        for side, text in ((first_side, "".join(a[a0:a1])), (second_side, "".join(b[b0:b1]))):
            if text:
                side.append((text, kind != "equal"))
    return first_side, second_side
