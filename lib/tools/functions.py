"""Native tools that ship with the product: they read, and change nothing."""

from datetime import UTC
from typing import Annotated
from zoneinfo import ZoneInfo

from msgspec import Meta, Struct

from lib.clock import utc_now
from lib.errors import InvalidInput
from lib.tools import expression as arithmetic
from lib.tools.native import READS_ONLY, NativeTools


class CurrentTime(Struct, frozen=True):
    """The moment in a time zone."""

    iso: str
    timezone: str
    weekday: str


class Calculation(Struct, frozen=True):
    """The value of an expression; whole numbers of more than 15 digits are exact in `text` alone."""

    text: str
    value: float | int | None


def current_time(
    timezone: Annotated[str, Meta(description="An IANA time zone such as Europe/Berlin", max_length=60)] = "UTC",
) -> CurrentTime:
    """Get the current date, time and weekday in a time zone."""
    try:
        zone = UTC if timezone == "UTC" else ZoneInfo(timezone)
    except (ValueError, OSError, KeyError):
        raise InvalidInput(f"There is no time zone {timezone[:60]}.", "", "Name one like Europe/Berlin.") from None
    now = utc_now().astimezone(zone)
    return CurrentTime(now.isoformat(timespec="seconds"), timezone, now.strftime("%A"))


def calculate(
    expression: Annotated[
        str, Meta(description="An arithmetic expression, such as 2 * (3 + sqrt(16)) ** 2", max_length=1000)
    ],
) -> Calculation:
    """Compute an arithmetic expression exactly where it has whole numbers only.

    Operators are + - * / // % **; functions are those of a pocket calculator.
    """
    number = arithmetic.compute(expression)
    is_exact = isinstance(number, float) or abs(number) < 2**53
    return Calculation(str(number), number if is_exact else None)


def register(tools: NativeTools) -> None:
    """Offer the functions of this module."""
    tools.register(current_time, READS_ONLY, title="Current time")
    tools.register(calculate, READS_ONLY, title="Calculator")
