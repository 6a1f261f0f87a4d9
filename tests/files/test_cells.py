"""Text in cells: nothing a spreadsheet runs stands at a cell's start, and what was neutralised comes back."""

import random

import pytest

from lib.files.cells import neutralise, restore, tell_apart

SIGNS = "=+-@＝＋－＠\t\r\n \u00a0\u3000\u200b\ufeff'aZ0é日"


@pytest.mark.feature("COST-6")
@pytest.mark.parametrize(
    "text", ["=1", "+1", "-1", "@x", "＝1", "＋1", "－1", "＠x", "\t=1", " =1", "\u3000＝1", "\ufeff=1", "\r1"]
)
def test_what_a_spreadsheet_would_run_is_text(text: str) -> None:
    assert neutralise(text) == "'" + text


@pytest.mark.feature("COST-6")
@pytest.mark.parametrize("text", ["", "a=1", "1-2", " plain", "'quoted'", "日本", "a\n=b"])
def test_other_text_is_left_as_it_is(text: str) -> None:
    assert neutralise(text) == text


@pytest.mark.feature("COST-6")
def test_any_text_comes_back_whole() -> None:
    draw = random.Random(1)
    for _ in range(5_000):
        text = "".join(draw.choices(SIGNS, k=draw.randint(0, 6)))
        shown = neutralise(text)
        assert restore(shown) == text
        assert not shown.lstrip(" \t\r\n\u00a0\u3000\u200b\ufeff").startswith(tuple("=+-@＝＋－＠"))


@pytest.mark.feature("COST-6")
def test_names_alike_are_told_apart() -> None:
    names = ["a", "a (2)", "a", "b", "a"]
    assert tell_apart(names) == ["a", "a (2)", "a (3)", "b", "a (4)"]
