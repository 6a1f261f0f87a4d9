"""How long a provider asks to be left alone: a number of seconds, or a moment (RFC 9110, 10.2.3)."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from lib.clock import utc_now
from lib.patterns import compile_pattern

_NUMBER = compile_pattern(r"\d{1,9}(\.\d+)?")


def wait_of(headers: Mapping[str, str]) -> float | None:
    """Seconds until another try makes sense, as the headers of an answer say (RFC 9110, 10.2.3); None: they don't.

    Azure and OpenAI tell milliseconds, too. A moment counts from the answer's own date, whatever our clock says.
    """
    header = headers.get("retry-after-ms")
    if header is not None and _NUMBER.fullmatch(str(header)):
        return float(str(header)) / 1000
    header = str(headers.get("retry-after") or "").strip()
    if _NUMBER.fullmatch(header):
        return float(header)
    moment = _parse_http_date(header)
    if moment is None:
        return None
    return max(0.0, (moment - (_parse_http_date(str(headers.get("date") or "")) or utc_now())).total_seconds())


def _parse_http_date(text: str) -> datetime | None:
    """An HTTP date; None for what is none."""
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
