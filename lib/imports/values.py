"""Values of other programs' files as ours: moments in UTC, whole tokens, exact nano-dollars. ValueError: it is none.

A moment without a zone is taken to be in the zone that was chosen; of two that a clock shows twice, the first.
"""

from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal, InvalidOperation
from typing import Any

from lib.money import nano_from_usd

LARGEST = 2**31 - 1  # what the ledger's columns of tokens hold
_MOST_NANO = 2**63 - 1
_YEAR_2001_MS = 10**12


def moment(value: Any, zone: tzinfo) -> datetime | None:
    """An ISO date or time, or Unix seconds or milliseconds; None for nothing."""
    if value is None or value == "":
        return None
    if type(value) is str and value[4:5] == "-":
        found = datetime.fromisoformat(value.strip().removesuffix(" UTC"))
        if found.tzinfo is None:
            found = found.replace(tzinfo=zone)
        if found.tzinfo is not UTC:
            found = found.astimezone(UTC)
    else:
        try:
            number = Decimal(str(value))
            seconds = number / 1000 if number >= _YEAR_2001_MS else number
            found = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(seconds * 1_000_000))
        except (OverflowError, InvalidOperation):
            raise ValueError(f"{value} is no moment") from None
    if not 2000 <= found.year < 2200:
        raise ValueError(f"{value} is no moment of our days")
    return found


def whole(value: Any) -> int | None:
    """A count; None for nothing."""
    if type(value) is int:
        number = value
    elif type(value) is str and value.isdecimal():
        number = int(value)
    elif value is None or value == "":
        return None
    else:
        try:
            exact = Decimal(str(value).replace(",", ""))
            number = int(exact)
        except (InvalidOperation, OverflowError):
            raise ValueError(f"{value} is no count") from None
        if exact != number:
            raise ValueError(f"{value} is not whole")
    if not 0 <= number <= LARGEST:
        raise ValueError(f"{number:,} is not between 0 and {LARGEST:,}")
    return number


def nano(value: Any) -> int | None:
    """Dollars as nano-dollars; None for nothing."""
    if value is None or value == "":
        return None
    try:
        found = nano_from_usd(str(value).strip().removeprefix("$").replace(",", ""))
    except (InvalidOperation, OverflowError, ValueError):
        raise ValueError(f"{value} is no amount") from None
    if abs(found) > _MOST_NANO:
        raise ValueError(f"{value} is more than the ledger holds")
    return found


def milliseconds(value: Any, factor: int = 1) -> int | None:
    """A length of time times `factor` (1000 for seconds); None for nothing."""
    if value is None or value == "":
        return None
    try:
        found = round(Decimal(str(value)) * factor)
    except (InvalidOperation, OverflowError, ValueError):
        raise ValueError(f"{value} is no length of time") from None
    if not 0 <= found <= LARGEST:
        raise ValueError(f"{value} is no length of time")
    return found


def text(value: Any, longest: int) -> str | None:
    """Words that any store holds; None for nothing."""
    if value is None or value == "":
        return None
    return str(value).replace("\x00", "")[:longest].strip() or None


def between(start: datetime | None, end: datetime | None) -> int | None:
    """Whole milliseconds from one moment to another; None where one is not known or they run backwards."""
    if start is None or end is None or end < start:
        return None
    took = end - start
    return min(LARGEST, took.days * 86_400_000 + took.seconds * 1000 + took.microseconds // 1000)
