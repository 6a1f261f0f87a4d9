"""Numbers are read as they were written, in whichever notation, or not at all: never as others."""

import random
from decimal import Decimal

import pytest

from lib.usage_files.numbers import (
    MOST_NANO,
    Notation,
    detect_notation,
    parse_count,
    parse_dollars,
    parse_nano,
    parse_number,
)

pytestmark = pytest.mark.feature("COST-10")
POINT, COMMA, UNKNOWN = Notation.POINT, Notation.COMMA, Notation.UNKNOWN


@pytest.mark.parametrize(
    ("text", "notation", "value"),
    [
        ("1234.5", POINT, "1234.5"),
        ("1,234.50", POINT, "1234.50"),
        ("12,34,567.5", POINT, "1234567.5"),
        ("$1.75", POINT, "1.75"),
        ("US$ 1.75", POINT, "1.75"),
        ("1.25 USD", POINT, "1.25"),
        ("-$0.50", POINT, "-0.50"),
        ("$-0.50", POINT, "-0.50"),
        ("\u2212$0.50", POINT, "-0.50"),
        ("0.50-", POINT, "-0.50"),
        ("(0.25)", POINT, "-0.25"),
        ("($0.25)", POINT, "-0.25"),
        ("1e-7", POINT, "1E-7"),
        (".5", POINT, "0.5"),
        ("+3", POINT, "3"),
        ("1'234.50", POINT, "1234.50"),
        ("0,0123", COMMA, "0.0123"),
        ("1.234,56", COMMA, "1234.56"),
        ("1.200", COMMA, "1200"),
        ("1 234,56", COMMA, "1234.56"),
        ("1\u202f234,56", COMMA, "1234.56"),
        ("-0,5", COMMA, "-0.5"),
        ("1,50", UNKNOWN, "1.50"),
        ("1.50", UNKNOWN, "1.50"),
    ],
)
def test_what_is_written(text: str, notation: Notation, value: str) -> None:
    assert parse_number(text, notation) == Decimal(value)


@pytest.mark.parametrize(
    ("text", "notation"),
    [
        ("1,50", POINT),  # not 150
        ("1,2345", POINT),
        ("1,234,56", POINT),
        ("1.50", COMMA),
        ("1.234", UNKNOWN),
        ("1,234", UNKNOWN),
        *(
            (text, POINT)
            for text in ("NaN", "Infinity", "many", "1 EUR", "€1", "1/2", "1%", "0x10", "1e9999", "--1", "$")
        ),
    ],
)
def test_what_is_none_or_has_two_readings_is_refused(text: str, notation: Notation) -> None:
    with pytest.raises(ValueError, match=r"is no number|two ways"):
        parse_number(text, notation)


@pytest.mark.parametrize("nothing", [None, "", " ", "-", "—", "N/A", "null", "None"])
def test_nothing_is_unknown(nothing: str | None) -> None:
    assert (parse_number(nothing), parse_count(nothing), parse_nano(nothing)) == (None, None, None)


@pytest.mark.parametrize(
    ("cells", "separator", "notation"),
    [
        (["1.200", "0,0123", "1,50"], ";", COMMA),
        (["1,000", "$1.50"], ";", POINT),
        (["1,200"], ";", COMMA),
        (["1.200"], ";", UNKNOWN),
        (["1,50", "1.50"], ";", UNKNOWN),
        (["1,234.50"], ",", POINT),
        (["1,50"], ",", COMMA),
        (["1.200", 5, None, "gpt-4"], ",", POINT),
        ([], ";", POINT),
    ],
)
def test_a_files_own_numbers_tell_its_notation(cells: list[object], separator: str, notation: Notation) -> None:
    assert detect_notation(cells, separator=separator) is notation


def test_any_amount_comes_back_from_either_notation() -> None:
    draw = random.Random(5)
    for _ in range(2_000):
        exact = Decimal(draw.randint(-(10**9), 10**9)).scaleb(-draw.randint(0, 7))
        plain = f"{exact:,f}"
        german = plain.translate(str.maketrans(",.", ".,"))
        assert parse_number(plain, POINT) == parse_number(german, COMMA) == exact
        for text, notation in ((plain, COMMA), (german, POINT), (plain, UNKNOWN), (german, UNKNOWN)):
            try:
                found = parse_number(text, notation)
            except ValueError:
                continue
            assert notation is not UNKNOWN or found == exact


def test_counts_are_whole_and_bounded() -> None:
    assert (parse_count("3000000000"), parse_count("1,200"), parse_count("3.0"), parse_count(Decimal("2E+3"))) == (
        3 * 10**9,
        1200,
        3,
        2000,
    )
    assert parse_count("1.200", UNKNOWN) == 1200  # of a count both ways are the same
    for wrong in ("-1", "1.5", str(10**13), "9" * 5000, Decimal("1E+999999999"), True, [1]):
        with pytest.raises(ValueError, match=r"is no|not whole|not between"):
            parse_count(wrong)


def test_an_amount_that_only_a_mistake_can_be_is_refused() -> None:
    assert parse_nano("1,000,000,000") == MOST_NANO
    for text in ("1000000000.000000001", "-5000000000", "1e300"):
        with pytest.raises(ValueError, match="more than"):
            parse_dollars(text)
