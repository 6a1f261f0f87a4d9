"""Two texts beside each other: every line is there, what only one says is marked, nothing of Markdown is read."""

import random
import re

import pytest

from lib.limited.difference import compute_rows, compute_rows_by_membership
from lib.ui.text_difference import LONGEST, compare, find_code, format_table

NAMES = ("a", "b")


def sides(found: list[list[object]]) -> tuple[list[str], list[str]]:
    """The lines of either side, put together again."""
    whole = [row for row in found if not isinstance(row[0], int)]
    return tuple(  # type: ignore[return-value]
        ["".join(text for text, _ in row[n]) for row in whole if row[n] is not None]  # type: ignore[attr-defined]
        for n in (0, 1)
    )


def test_every_line_of_both_texts_stands_in_its_column_and_the_rest_is_counted() -> None:
    chance = random.Random(7)
    for _ in range(200):
        first, second = (
            "\n".join(chance.choice(["one two", "one  three", "| a |", "", "  if x:", "# Head"]) for _ in range(n))
            for n in (chance.randrange(12), chance.randrange(12))
        )
        found = compute_rows(first, second)
        left_out = sum(row[0] for row in found if isinstance(row[0], int))
        for side, text in zip(sides(found), (first, second), strict=True):
            lines = [line for line in text.splitlines() if line.strip()]
            assert len(side) + left_out == len(lines)
            assert set(side) <= set(lines)


def test_paragraphs_that_only_one_text_has_are_marked_whole() -> None:
    shown = format_table(compute_rows("bank.\n\n## What happened\n\nwhy", "bank.\n\nwhy"), NAMES).splitlines()
    assert shown[3:] == ["| ≠ | :red-background[\\#\\# What happened] |  |", "|  | why | why |"]


def test_within_alike_lines_the_words_are_marked() -> None:
    assert compute_rows("the ledger is exact", "the ledger was exact") == [
        [
            [("the ledger ", False), ("is", True), (" exact", False)],
            [("the ledger ", False), ("was", True), (" exact", False)],
        ]
    ]


@pytest.mark.parametrize("text", ["![x](http://a)", "a | b", "[x] :red[y] $1$ `z` <b>", "*bold* ~~gone~~ :smile:"])
def test_marks_of_a_text_are_shown_and_not_read(text: str) -> None:
    shown = format_table(compute_rows(text, "words that are something else"), NAMES).splitlines()[-1]
    bare = re.sub(r"\\(.)", "", shown).replace("://\u2060", "")
    assert bare.count("|") == 4
    assert not set(bare.replace(":red-background[", "").replace(":green-background[", "")) & set("![`*$~<")


def test_a_line_stands_beside_the_one_it_became() -> None:
    found = compute_rows("## What\nIt is 36 in 82 calls", "It was 31 in 82 calls\nMore")
    assert [[side and "".join(text for text, _ in side) for side in row] for row in found] == [
        ["## What", None],
        ["It is 36 in 82 calls", "It was 31 in 82 calls"],
        [None, "More"],
    ]


def test_long_stretches_that_both_have_are_counted() -> None:
    same = "\n".join(f"line {n}" for n in range(50))
    found = compute_rows(f"first\n{same}\nlast", f"other\n{same}\nlast")
    assert found[0][0] == [("first", True)]
    assert [row[0] for row in found if isinstance(row[0], int)] == [48]
    assert len(found) == 1 + 3 + 1


@pytest.mark.parametrize("word", ["a ", "a\n", "a b\n", "( ) "])
def test_comparing_ends_soon_whatever_the_texts_are(word: str) -> None:
    found, _ = compare(word * (LONGEST // len(word)), ("b " + word) * LONGEST)
    assert len(found) <= 400


def test_lines_are_compared_as_wholes_where_words_would_take_too_long() -> None:
    assert compute_rows_by_membership("x\ny", "y\nz") == [[[("x", True)], None], [None, [("z", True)]]]


def test_code_and_tables_keep_their_width_and_their_marks_stay_theirs() -> None:
    first, second = "```\nif x:\n    go(a)\n```\n| a | b |", "```\nif x:\n    go(b)\n```\n| a | c |"
    shown = format_table(compute_rows(first, second), NAMES, (find_code(first), find_code(second))).splitlines()
    assert shown[3] == "|  | `if x:` | `if x:` |"
    spaces = "\u00a0 \u00a0 "
    assert shown[4] == f"| ≠ | `{spaces}go(`:red-background[`a`]`)` | `{spaces}go(`:green-background[`b`]`)` |"
    assert shown[-1].replace("\\|", "").count("|") == 4
    fenced = "```\n`` ` [x] <b> :red[y]\n```"
    marked = format_table(compute_rows(fenced, ""), NAMES, (find_code(fenced), frozenset()))
    assert ":red-background[\\`\\` \\` \\[x\\]" in marked  # brackets would end the mark
    assert "``` `` ` [x] <b> :red[y] ```" in format_table(compute_rows(fenced, fenced), NAMES, (find_code(fenced),) * 2)
