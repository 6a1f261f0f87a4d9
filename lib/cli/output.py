"""How commands print: a table with aligned columns for people, or JSON for programs."""

import argparse
import json
import sys
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

UNKNOWN = "—"


def add_json_option(parser: argparse.ArgumentParser) -> None:
    """Give a command the option `--json`."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def show(rows: Iterable[Mapping[str, Any]], *, as_json: bool, empty: str) -> None:
    """Print rows as JSON (a list of objects), or as a table; `empty` is the sentence for no rows."""
    listed = list(rows)
    if as_json:
        print(json.dumps(listed, indent=2, ensure_ascii=False, default=_convert_to_json))
    elif not listed:
        print(empty)
    else:
        print_table(list(listed[0]), [[_format_cell(value) for value in row.values()] for row in listed])


def show_record(record: Mapping[str, Any], *, as_json: bool) -> None:
    """Print one record as a JSON object, or as a line for each of its fields."""
    if as_json:
        print(json.dumps(record, indent=2, ensure_ascii=False, default=_convert_to_json))
        return
    width = max(len(name) for name in record)
    for name, value in record.items():
        print(f"{name.replace('_', ' '):<{width}}  {_format_cell(value)}")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print columns as wide as their widest cell, two spaces apart."""
    lines = [[name.replace("_", " ") for name in columns], *rows]
    widths = [max(len(line[index]) for line in lines) for index in range(len(columns))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def write_bytes(parts: Iterable[bytes]) -> None:
    """Stream bytes to standard output as they come."""
    for part in parts:
        sys.stdout.buffer.write(part)
    sys.stdout.buffer.flush()


def flatten_line(text: str) -> str:
    """Replace control characters by spaces, so that stored text can't steer the terminal."""
    return "".join(" " if unicodedata.category(sign).startswith("C") else sign for sign in text)


def _format_cell(value: Any) -> str:
    match value:
        case None | "":
            return UNKNOWN
        case bool():
            return "yes" if value else "no"
        case datetime():
            return value.strftime("%Y-%m-%d %H:%M")
        case list() | tuple():
            return flatten_line(", ".join(map(str, value))) or UNKNOWN
        case _:
            return flatten_line(str(value))


def _convert_to_json(value: Any) -> Any:
    match value:
        case datetime() | date():
            return value.isoformat()
        case Decimal():
            return format(value, "f")
        case set() | frozenset() | tuple():
            return list(value)
        case _:
            return str(value)


def make_progress_line(unit: str) -> Callable[[int, int], None] | None:
    """Make a function (done, total) that rewrites one line on standard error; None where that is no terminal."""
    if not sys.stderr.isatty():
        return None

    def note(done: int, of: int) -> None:
        end = "\n" if done >= of else ""
        print(f"\r{done:,} of {of:,} {unit}", end=end, file=sys.stderr, flush=True)

    return note
