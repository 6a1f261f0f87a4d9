"""Every regular expression of the library: compiled once, registered, and a constant of its module.

Texts of models, users and providers run through them, and a search holds the whole process meanwhile: so each has to
be linear, which `tests/security/test_own_patterns.py` measures for all that are registered. Python's engine tries again
from every position and takes back every repetition, so a pattern that begins with an open repetition, or has two in a
row that can share a character, is quadratic or worse. Possessive repetitions (`++`, `*+`) take nothing back.
"""

import re
from typing import AnyStr

REGISTRY: set["re.Pattern[str] | re.Pattern[bytes]"] = set()


def compile_pattern(expression: AnyStr, flags: int = 0) -> "re.Pattern[AnyStr]":
    """The compiled expression, which is registered."""
    pattern = re.compile(expression, flags)
    REGISTRY.add(pattern)
    return pattern


_WHOLE_NUMBER = compile_pattern(r"[0-9]{1,18}")


def read_whole_number(text: str) -> int | None:
    """Read up to eighteen of the digits 0 to 9; None for anything else, such as the digit ², which `int` refuses."""
    return int(text) if _WHOLE_NUMBER.fullmatch(text) else None
