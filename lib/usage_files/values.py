"""Moments, lengths of time and words of other programs' files as ours. ValueError: it is none.

A moment without a zone is taken to be in the zone that was chosen; of two that a clock shows twice, the first.
"""

from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal, InvalidOperation
from typing import Any

from lib.patterns import compile_pattern

LARGEST = 2**31 - 1  # what the ledger's columns of tokens and times hold
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PER_SECOND = ((10**17, 10**9), (10**14, 10**6), (10**11, 1000))  # from this number on: nano-, micro-, milliseconds
_LATEST = 10**20  # of any unit
_DAY_FIRST = compile_pattern(r"(?P<day>\d{1,2})\.(?P<month>\d{1,2})\.(?P<year>\d{4})(?:,?[ T]+(?P<time>.+))?")
_ZONE_NAMED = compile_pattern(r"(?<!\s)\s*+\b(?:UTC|GMT)$")
_BEFORE_ZONE = compile_pattern(r"(?<!\s)\s++(?=[+-]\d{2}:?\d{2}$)")
_YEAR_FIRST = compile_pattern(r"(?P<year>\d{4})/(?P<month>\d{1,2})/(?P<day>\d{1,2})(?:[ T]+(?P<time>.+))?")


def parse_moment(value: Any, zone: tzinfo) -> datetime | None:
    """A date or time (ISO, `20261103`, `2026/11/3`, `3.11.2026`), or a Unix time in seconds or parts; None for nothing.

    `11/03/2026` is none: half the world reads it as March.
    """
    if value is None or value == "":
        return None
    parsed = _read_iso(value) if type(value) is str and value[4:5] == "-" else _parse_other_form(str(value).strip())
    if parsed.tzinfo is None:
        parsed = parsed.replace(tzinfo=zone)
    if not 1999 <= parsed.year <= 2200:  # before it is moved: the first and the last year have no neighbours
        raise ValueError(f"{value} is no moment of our days")
    if parsed.tzinfo is not UTC:
        parsed = parsed.astimezone(UTC)
    if not 2000 <= parsed.year < 2200:
        raise ValueError(f"{value} is no moment of our days")
    return parsed


def convert_to_milliseconds(value: int | Decimal | None, factor: int = 1) -> int | None:
    """A length of time times `factor` (1000 for seconds); None for nothing."""
    if value is None:
        return None
    if not 0 <= value * factor <= LARGEST:
        raise ValueError(f"{str(value)[:40]} is no length of time")
    return round(value * factor)


def clean_text(value: Any, longest: int) -> str | None:
    """Words that any store holds; None for nothing."""
    if value is None or value == "":
        return None
    words = str(value).replace("\x00", "")[:longest]
    return words.encode("utf-8", "replace").decode().strip() or None


def count_milliseconds(start: datetime | None, end: datetime | None) -> int | None:
    """Whole milliseconds from one moment to another; None where one is not known or they run backwards."""
    if start is None or end is None or end < start:
        return None
    took = end - start
    return min(LARGEST, took.days * 86_400_000 + took.seconds * 1000 + took.microseconds // 1000)


def _parse_other_form(value: str) -> datetime:
    """A moment in another form than ISO's."""
    if len(value) == 8 and value.isdecimal():
        return datetime.strptime(value, "%Y%m%d")
    if len(value) == 14 and value.isdecimal():
        return datetime.strptime(value, "%Y%m%d%H%M%S")
    if parts := _DAY_FIRST.fullmatch(value) or _YEAR_FIRST.fullmatch(value):
        day = f"{parts['year']}-{int(parts['month']):02}-{int(parts['day']):02}"
        return _read_iso(f"{day} {parts['time']}" if parts["time"] else day)
    try:
        number = Decimal(value)
        if not 0 <= number < _LATEST:
            raise ValueError
        per_second = next((parts for least, parts in _PER_SECOND if number >= least), 1)
        return _EPOCH + timedelta(microseconds=int(number * 1_000_000 / per_second))
    except (OverflowError, InvalidOperation, ValueError):
        raise ValueError(f"{value[:40]} is no moment") from None


def _read_iso(text: str) -> datetime:
    """Also `2026-11-03 10:00:00 +0000 UTC`, as Go and SQL write it."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        pass
    plain, zone_count = _ZONE_NAMED.subn("", text.strip())
    plain = _BEFORE_ZONE.sub("", plain)
    parsed = datetime.fromisoformat(plain)
    return parsed.replace(tzinfo=UTC) if zone_count and parsed.tzinfo is None else parsed
