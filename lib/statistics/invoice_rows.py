"""A provider's export as rows of a file, and the values that stand in them: days, numbers, texts."""

import csv
import io
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from lib.errors import InvalidInput

LARGEST = 50_000_000  # bytes
Row = dict[str, Any]


class Unfit(Exception):
    """Why a row is left out."""


def rows(content: bytes) -> list[Row]:
    """The rows of CSV, of a JSON list, or of the pages that the interfaces answer with; objects within as `a.b`."""
    if len(content) > LARGEST:
        raise InvalidInput("The file is too large.", f"It has more than {LARGEST // 10**6} MB.", "Compare fewer days.")
    try:
        content_text = content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
        if content_text.lstrip()[:1] not in ("{", "["):
            sign = max(",;\t|", key=content_text.partition("\n")[0].count)
            return [
                {key.strip(): item for key, item in row.items() if key}
                for row in csv.DictReader(io.StringIO(content_text), delimiter=sign)
            ]
        return list(_results(json.loads(content_text, parse_float=Decimal)))
    except (ValueError, csv.Error, RecursionError) as error:
        raise InvalidInput("The file can't be read.", f"{error}.", "It should be CSV or JSON in UTF-8.") from None


def _results(value: Any) -> Iterator[Row]:
    """A row for each result of each bucket of each page, with the bucket's times."""
    if isinstance(value, list):
        for one in value:
            yield from _results(one)
    elif isinstance(value, dict):
        inner = next((value[name] for name in ("data", "results", "result") if isinstance(value.get(name), list)), None)
        outer = {name: item for name, item in value.items() if not isinstance(item, list)}
        if inner is None:
            parts = {
                f"{a}.{b}": item for a, part in value.items() if isinstance(part, dict) for b, item in part.items()
            }
            yield value | parts
        else:
            yield from (outer | row for row in _results(inner))


def day(row: Row, *names: str) -> date:
    """The day (UTC's, where it is a moment) in the first of the columns that has one; Unfit when none has."""
    value = next((row[name] for name in names if row.get(name) not in (None, "")), None)
    try:
        if isinstance(value, int | Decimal) or str(value).isdigit():
            return datetime.fromtimestamp(int(str(value)), UTC).date()
        moment = datetime.fromisoformat(str(value).strip().replace("Z", "+00:00"))
    except (ValueError, OverflowError, OSError):
        raise Unfit("no day") from None
    return (moment.astimezone(UTC) if moment.tzinfo else moment).date()


def number(row: Row, *names: str, needed: bool = False) -> Decimal | None:
    """The number in the first of the columns that has one; Unfit when it is none, or needed and missing."""
    value = next((row[name] for name in names if row.get(name) not in (None, "")), None)
    if value is None:
        if needed:
            raise Unfit("no amount")
        return None
    try:
        found = Decimal(str(value).strip().lstrip("$").replace(",", ""))
    except InvalidOperation:
        raise Unfit("a number can't be read") from None
    if not found.is_finite():
        raise Unfit("a number can't be read")
    return found


def text(row: Row, *names: str) -> str | None:
    """The text in the first of the columns that has one."""
    return next((str(row[name]).strip() for name in names if row.get(name) not in (None, "")), None)
