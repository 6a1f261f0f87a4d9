"""A file as rows: CSV, a JSON array, JSON lines, or the pages that usage interfaces answer with.

Rows are dictionaries of what stands in the file, read a piece at a time: memory does not grow with the file. Objects
within objects are reached as `amount.value`. A page (`{"data": [{…, "results": […]}]}`) becomes a row for each result,
with its bucket's times; pages may follow one another. Fractions of JSON are Decimal, so no digit of a cost is lost. A
row that can't be one (no object, a line that is no JSON, more cells than the head has names) is an `Odd` one: it spoils
none of the others.
"""

import csv
import io
import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, BinaryIO

from lib.errors import InvalidInput
from lib.files.text import marked_encoding
from lib.patterns import compile_pattern

_SEPARATOR_NAMED = compile_pattern(r"sep=([,;\t|])\s*", re.IGNORECASE)

Row = dict[str, Any]


class Odd(Row):
    """What stands in the place of a row that is none; empty."""

    def __init__(self, why: str) -> None:
        super().__init__()
        self.why = why


_PIECE = 1 << 20
_LONGEST = 64 << 20  # characters of one value
_DEEPEST = 8  # pages within lists within pages
SEPARATORS = ",;\t|"
_DECODER = json.JSONDecoder(parse_float=Decimal)
csv.field_size_limit(max(csv.field_size_limit(), _LONGEST))


@dataclass(frozen=True)
class Source:
    """A file that can be read again from its start, and the name it came under."""

    file: BinaryIO
    name: str

    @property
    def size(self) -> int:
        """Return the size of the file in bytes."""
        return self.file.seek(0, io.SEEK_END)

    @property
    def separator(self) -> str:
        """The sign between a CSV's cells; a comma for JSON."""
        encoding, is_json = self._look()
        if is_json:
            return ","
        text = io.TextIOWrapper(self.file, encoding, newline="")
        try:
            return _first_line(text)[1]
        finally:
            text.detach()

    def rows(self) -> Iterator[Row]:
        """Every row; InvalidInput where the file is no CSV or JSON in UTF-8."""
        encoding, is_json = self._look()
        text = io.TextIOWrapper(self.file, encoding, newline="")
        try:
            yield from _json_rows(text) if is_json else _csv_rows(text)
        except UnicodeDecodeError as error:
            raise InvalidInput(
                "The file is not text in UTF-8.", f"Byte {error.start} is none.", "Save it so."
            ) from None
        except csv.Error as error:
            raise InvalidInput("The file can't be read as CSV.", f"{error}.", "Export it again.") from None
        finally:
            text.detach()

    def _look(self) -> tuple[str, bool]:
        """The encoding, and whether it is JSON; at the file's start."""
        self.file.seek(0)
        head = self.file.read(4096)
        if not head.strip():
            raise InvalidInput("The file is empty.", "", "Choose another one.")
        self.file.seek(0)
        marked = marked_encoding(head)
        is_json = head.decode(marked or "utf-8", "ignore").lstrip()[:1] in ("[", "{")
        return ("utf-8-sig" if marked is None else marked), is_json


def _csv_rows(text: io.TextIOWrapper) -> Iterator[Row]:
    first, sign = _first_line(text)
    lines = csv.reader(itertools.chain([first], text), delimiter=sign)
    header = [name.strip() for name in next(lines, [])]
    while header and not header[-1]:
        header.pop()
    if len(header) < 2 or len(set(header)) < len(header):
        raise InvalidInput(
            "The file can't be read as CSV.", "Its first line has to name each column, once.", "Export it again."
        )
    for cells in lines:
        if any(cells[len(header) :]):
            yield Odd("more cells than the head has names")
        elif cells:
            yield dict(zip(header, cells, strict=False))


def _first_line(text: io.TextIOWrapper) -> tuple[str, str]:
    """The line of column names and the sign between cells; Excel's `sep=;` before it says which."""
    first = text.readline()
    while first and not first.strip():
        first = text.readline()
    if (separator := _SEPARATOR_NAMED.fullmatch(first)) is not None:
        return text.readline(), separator[1]
    return first, max(SEPARATORS, key=first.count)


def _json_rows(text: io.TextIOWrapper) -> Iterator[Row]:
    is_empty = True
    odd = 0
    for value in _values(text):
        for row in _rows_of(value, 0):
            if isinstance(row, Odd):
                odd += 1
            else:
                is_empty = False
            yield row
    if is_empty and odd:
        raise InvalidInput("The file holds no rows.", "Its JSON is not made of objects.", "Export it again.")


def _rows_of(value: Any, depth: int) -> Iterator[Row]:
    """A page's rows, those of a list of pages, or the value as a row."""
    if isinstance(value, Odd):
        yield value
    elif isinstance(value, list) and depth < _DEEPEST:
        for inner in value:
            yield from _rows_of(inner, depth + 1)
    elif not isinstance(value, dict):
        yield Odd("no object")
    elif isinstance(value.get("data"), list) and depth < _DEEPEST:
        for bucket in value["data"]:
            yield from _rows_of(bucket, depth + 1)
    else:
        yield from _bucket(value)


def _bucket(value: Row) -> Iterator[Row]:
    """A row, or those of a bucket's results with the bucket's times."""
    results = value.get("results", value.get("result"))
    if not isinstance(results, list):
        yield _flat(value)
        return
    times = {name: item for name, item in value.items() if name not in ("results", "result", "object")}
    for result in results:
        yield times | _flat(result) if isinstance(result, dict) else Odd("no object")


def _flat(value: Row) -> Row:
    """Objects within objects as `outer.inner`, beside the whole."""
    inner = {
        f"{name}.{key}": item for name, part in value.items() if isinstance(part, dict) for key, item in part.items()
    }
    return value | inner if inner else value


def _values(text: io.TextIOWrapper) -> Iterator[Any]:
    """The elements of an array, or the values that follow one another."""
    buffer = ""
    at = 0
    is_array = None
    ended = False
    are_lines = False
    while True:
        while at < len(buffer) and buffer[at] in " \t\r\n,":
            at += 1
        if is_array is None and at < len(buffer):
            is_array = buffer[at] == "["
            at += is_array
            continue
        if is_array and buffer[at : at + 1] == "]":
            at = at + 1  # perhaps another page follows
            is_array = None
            continue
        if at < len(buffer):
            try:
                value, end = _DECODER.raw_decode(buffer, at)
                are_lines = not is_array and "\n" not in buffer[at:end]
                at = end
                yield value
                continue
            except json.JSONDecodeError as error:
                if are_lines and (ended or not _is_cut_off(error, buffer)):
                    at = buffer.find("\n", at) if "\n" in buffer[at:] else len(buffer)
                    yield Odd("no JSON")
                    continue
                if ended or len(buffer) - at > _LONGEST:
                    raise InvalidInput("The file can't be read as JSON.", f"{error}.", "Export it again.") from None
            except RecursionError:
                raise InvalidInput("The file can't be read as JSON.", "It is nested too deeply.") from None
        elif ended:
            return
        piece = text.read(max(_PIECE, len(buffer) - at))  # twice as much each time: a long value is not read anew often
        buffer = buffer[at:] + piece
        at = 0
        ended = not piece


def _is_cut_off(error: json.JSONDecodeError, buffer: str) -> bool:
    """Whether more text may end the value."""
    return error.msg.startswith("Unterminated string") or error.pos >= len(buffer.rstrip())
