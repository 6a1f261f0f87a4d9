"""Numbers as people and programs write them: counts, amounts in dollars, either sign for the decimals.

A file is written in one notation, and its own numbers tell which: in `0,0123` and `1.234,56` the comma is decimal (DIN,
ISO 31-0; Excel in most of Europe), in `1,234.50` the point. `1.234` alone can be read in two ways. Nothing is guessed:
what has two readings in a file that does not tell is no number. Amounts may carry a dollar sign or `USD`, either minus,
or the accountants' brackets.
"""

import re
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any, NoReturn

from lib.money import convert_usd_to_nano
from lib.patterns import compile_pattern

MOST_NANO = 10**18  # $1,000,000,000, as of limits and prices: sums of such still fit into 63 bits
MOST_COUNT = 10**12
_NOTHING = frozenset({"", "-", "–", "—", "n/a", "none", "null"})
_GROUPED = r"[1-9]\d{0,2}"
_POINT_ONLY = compile_pattern(
    rf"{_GROUPED}(?:,\d{{2,3}})*,\d{{3}}\.\d+|\d+\.(?:\d{{1,2}}|\d{{4,}})|0\d*\.\d+|\d{{4,}}\.\d+|\.\d+",
)
_COMMA_ONLY = compile_pattern(
    rf"{_GROUPED}(?:\.\d{{3}})+,\d+|\d+,(?:\d{{1,2}}|\d{{4,}})|0\d*,\d+|\d{{4,}},\d+|,\d+",
)
_TWO_WAYS = compile_pattern(rf"{_GROUPED}[.,]\d{{3}}")
_IN_POINT = compile_pattern(rf"(?:\d+|{_GROUPED}(?:,\d{{2,3}})*,\d{{3}})?(?:\.\d*)?(?:[eE][+-]?\d{{1,3}})?")
_IN_COMMA = compile_pattern(rf"(?:\d+|{_GROUPED}(?:\.\d{{3}})+)?(?:,\d*)?(?:[eE][+-]?\d{{1,3}})?")
_DOLLARS = compile_pattern(r"^(?:US\$|\$|USD)|(?:\$|USD)$", re.IGNORECASE)
_SPACES = compile_pattern(r"[\s\u00a0\u202f'’]")


class Notation(StrEnum):
    """The sign of decimals in a file; UNKNOWN: its numbers do not tell, or contradict each other."""

    POINT = "point"
    COMMA = "comma"
    UNKNOWN = "unknown"


def detect_notation(cells: Iterable[Any], *, separator: str = ",") -> Notation:
    """The notation of a file whose cells are separated by `separator`, by the numbers in some of its cells."""
    has_point = has_comma = has_comma_at_all = has_two_ways = False
    for cell in cells:
        if not isinstance(cell, str) or cell.isdecimal():
            continue
        _, digits = _split_sign(cell)
        has_point |= _POINT_ONLY.fullmatch(digits) is not None
        has_comma |= _COMMA_ONLY.fullmatch(digits) is not None
        two_ways = _TWO_WAYS.fullmatch(digits) is not None
        has_two_ways |= two_ways
        has_comma_at_all |= two_ways and "," in digits
    if has_point or has_comma:
        return Notation.UNKNOWN if has_point and has_comma else Notation.POINT if has_point else Notation.COMMA
    if separator == ",":
        return Notation.POINT
    if has_comma_at_all:
        return Notation.COMMA  # the separator is another because the comma was taken
    return Notation.UNKNOWN if has_two_ways else Notation.POINT


def parse_number(value: Any, notation: Notation = Notation.POINT) -> int | Decimal | None:
    """A number; None for nothing; ValueError for anything else."""
    if value is None:
        return None
    if type(value) is int:
        return value
    if type(value) is str and value.isdecimal() and value.isascii():
        return int(value) if len(value) <= 40 else _refuse(value)
    if isinstance(value, float):
        value = Decimal(repr(value))
    if isinstance(value, Decimal):
        return value if value.is_finite() else _refuse(value)
    return _read(value, notation) if isinstance(value, str) else _refuse(value)


def parse_count(value: Any, notation: Notation = Notation.POINT) -> int | None:
    """A count, also one as `3.0`; None for nothing."""
    if notation is Notation.UNKNOWN and isinstance(value, str) and _TWO_WAYS.fullmatch(_split_sign(value)[1]):
        value = value.replace(".", "").replace(",", "")  # of a count both ways are the same
    count = parse_number(value, notation)
    if count is None:
        return None
    if not 0 <= count <= MOST_COUNT:  # first: a whole number of a billion digits may stand there as 1e999999999
        raise ValueError(f"{str(value)[:40]} is not between 0 and {MOST_COUNT:,}")
    if count != int(count):
        raise ValueError(f"{str(value)[:40]} is not whole")
    return int(count)


def parse_dollars(value: Any, notation: Notation = Notation.POINT) -> Decimal | None:
    """An amount; None for nothing."""
    parsed = parse_number(value, notation)
    if parsed is None:
        return None
    amount = Decimal(parsed)
    if abs(amount) > MOST_NANO // 10**9:
        raise ValueError(f"{str(value)[:40]} is more than $1,000,000,000")
    return amount


def parse_nano(value: Any, notation: Notation = Notation.POINT) -> int | None:
    """Dollars as nano-dollars; None for nothing."""
    usd = parse_dollars(value, notation)
    return None if usd is None else convert_usd_to_nano(usd)


def _read(text: str, notation: Notation) -> Decimal | None:
    if text.strip().lower() in _NOTHING:
        return None
    sign, digits = _split_sign(text)
    if notation is Notation.UNKNOWN:
        if _TWO_WAYS.fullmatch(digits):
            raise ValueError(f"{text[:40]} can be read in two ways")
        notation = Notation.COMMA if _COMMA_ONLY.fullmatch(digits) else Notation.POINT
    is_comma = notation is Notation.COMMA
    if not (_IN_COMMA if is_comma else _IN_POINT).fullmatch(digits):
        _refuse(text)
    plain = digits.replace(".", "").replace(",", ".") if is_comma else digits.replace(",", "")
    try:
        return sign * Decimal(plain)
    except InvalidOperation:
        _refuse(text)


def _split_sign(text: str) -> tuple[int, str]:
    """A number's sign (1 or -1) and its digits without what stands around them."""
    digits = _SPACES.sub("", text[:100])
    sign = 1
    if digits.startswith("(") and digits.endswith(")"):
        digits = digits[1:-1]
        sign = -1
    for _ in range(2):  # -$1, $-1, 1-, -1 USD
        if sign > 0 and digits[:1] in ("-", "−"):
            digits = digits[1:]
            sign = -1
        elif sign > 0 and digits[-1:] in ("-", "−"):
            digits = digits[:-1]
            sign = -1
        digits = _DOLLARS.sub("", digits)
    return sign, digits.removeprefix("+")


def _refuse(value: Any) -> NoReturn:
    raise ValueError(f"{str(value)[:40]} is no number")
