"""Money is exact and reads as the look asks."""

import ast
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lib
from lib.money import (
    LEAST,
    NANO_PER_USD,
    compute_token_cost_nano,
    convert_nano_to_usd,
    convert_usd_to_nano,
    format_large_money,
    format_money,
    format_price,
)


@given(st.integers(-(10**18), 10**18))
def test_nano_dollars_survive_the_way_to_dollars_and_back(nano: int) -> None:
    assert convert_usd_to_nano(convert_nano_to_usd(nano)) == nano


@given(st.lists(st.tuples(st.integers(0, 10**7), st.integers(0, 10**12)), max_size=5))
def test_a_cost_is_the_exact_sum_rounded_once(parts: list[tuple[int, int]]) -> None:
    exact = sum((Decimal(tokens) * price for tokens, price in parts), Decimal(0)) / 1_000_000
    assert abs(compute_token_cost_nano(parts) - exact) <= Decimal("0.5")


@pytest.mark.parametrize(
    ("nano", "text"),
    [
        (None, "—"),
        (0, "$0"),
        (1_829_360_000_000, "$1,829.36"),
        (412_000_000, "$0.412"),
        (4_100_000, "$0.0041"),
        (99_000, "<$0.0001"),
        (-2_500_000_000, "−$2.50"),
    ],
)
def test_money_reads_as_people_write_it(nano: int | None, text: str) -> None:
    assert format_money(nano) == text


@pytest.mark.parametrize(
    ("nano", "text"),
    [
        (None, "—"),
        (0, "$0"),
        (100_000_000, "$0.10"),
        (12_500_000_000, "$12.50"),
        (37_500_000, "$0.0375"),
        (1, "$0.000000001"),
        (1_500_000_000_000, "$1,500.00"),
    ],
)
def test_a_price_is_written_exactly(nano: int | None, text: str) -> None:
    assert format_price(nano) == text


def test_an_estimate_is_marked() -> None:
    assert format_money(4_100_000, estimated=True) == "≈ $0.0041"


@pytest.mark.parametrize(
    ("dollars", "text"),
    [
        (None, "—"),
        (0, "$0"),
        (99_999, "$99,999.00"),
        (100_000, "$100.0k"),
        (-176_320, "−$176.3k"),
        (10_000_000, "$10.00M"),
        (1_200_000_000, "$1.20B"),
    ],
)
def test_large_amounts_are_short_where_there_is_little_room(dollars: int | None, text: str) -> None:
    assert format_large_money(None if dollars is None else dollars * NANO_PER_USD) == text


_SUMS = {"spent_nano", "spent_nano_usd", "cost_nano_usd", "saved_nano_usd"}  # where an unknown cost may be left out
_WHOLE = {
    ("budgets/refusal.py", "self.spent_nano"),  # marked when it is spelled out
    ("ui/cache/detail.py", "proof.saved_nano_usd"),  # hits whose cost is known
    ("ui/cache/overview.py", "row['saved_nano_usd']"),
    ("ui/knowledge/optimiser_view.py", "quote.cost_nano_usd"),  # before anything is spent
    ("ui/cache/remembered_answers.py", "saved_nano_usd"),
}


def test_a_bound_is_written_in_one_place_and_no_sum_is_told_without_it() -> None:
    root = Path(next(iter(lib.__path__)))
    marks, bare = set[str](), set[tuple[str, str]]()
    for path in root.rglob("*.py"):
        name = path.relative_to(root).as_posix()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and str(node.value).strip() == LEAST:
                marks.add(name)
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "format_money" and node.args:
                last = ast.unparse(node.args[0]).strip("'])").replace("['", ".").rpartition(".")[2]
                if last in _SUMS:
                    bare.add((name, ast.unparse(node.args[0])))
    assert marks == {"money.py"}
    assert bare == _WHOLE
