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
from lib.files.text import find_marked_encoding
from lib.patterns import compile_pattern

_SEPARATOR_NAMED = compile_pattern(r"sep=([,;\t|])\s*", re.IGNORECASE)

Row = dict[str, Any]


class Odd(Row):
    """What stands in the place of a row that is none; empty."""

    def __init__(self, why: str) -> None:
        super().__init__()
        self.why = why


_PIECE = 1 << 16  # a line that is no JSON costs as much as is read at once
_LONGEST = 64 << 20  # characters of one value
_DEEPEST = 8  # pages within lists within pages
SEPARATORS = ",;\t|"
_CUT_OFF = object()
_LONGEST_NUMBER = 40  # digits: `int` refuses thousands of them, with an error that names no place
_DECODER = json.JSONDecoder(
    parse_float=Decimal, parse_int=lambda text: int(text) if len(text) <= _LONGEST_NUMBER else Decimal(text)
)
csv.field_size_limit(max(csv.field_size_limit(), _LONGEST))


@dataclass(frozen=True)
class UsageFile:
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
            return _read_first_line(text)[1]
        finally:
            text.detach()

    def rows(self) -> Iterator[Row]:
        """Every row; InvalidInput where the file is no CSV or JSON in UTF-8."""
        encoding, is_json = self._look()
        text = io.TextIOWrapper(self.file, encoding, newline="")
        try:
            yield from _iterate_json_rows(text) if is_json else _iterate_csv_rows(text)
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
        marked = find_marked_encoding(head)
        is_json = head.decode(marked or "utf-8", "ignore").lstrip()[:1] in ("[", "{")
        return ("utf-8-sig" if marked is None else marked), is_json


def _iterate_csv_rows(text: io.TextIOWrapper) -> Iterator[Row]:
    first, sign = _read_first_line(text)
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


def _read_first_line(text: io.TextIOWrapper) -> tuple[str, str]:
    """The line of column names and the sign between cells; Excel's `sep=;` before it says which."""
    first = text.readline()
    while first and not first.strip():
        first = text.readline()
    if (separator := _SEPARATOR_NAMED.fullmatch(first)) is not None:
        return text.readline(), separator[1]
    return first, max(SEPARATORS, key=first.count)


def _iterate_json_rows(text: io.TextIOWrapper) -> Iterator[Row]:
    is_empty = True
    odd = 0
    for value in _Values(text):
        for row in _iterate_rows(value, 0):
            if isinstance(row, Odd):
                odd += 1
            else:
                is_empty = False
            yield row
    if is_empty and odd:
        raise InvalidInput("The file holds no rows.", "Its JSON is not made of objects.", "Export it again.")


def _iterate_rows(value: Any, depth: int) -> Iterator[Row]:
    """A page's rows, those of a list of pages, or the value as a row."""
    if isinstance(value, Odd):
        yield value
    elif isinstance(value, list) and depth < _DEEPEST:
        for inner in value:
            yield from _iterate_rows(inner, depth + 1)
    elif not isinstance(value, dict):
        yield Odd("no object")
    elif isinstance(value.get("data"), list) and depth < _DEEPEST:
        for bucket in value["data"]:
            yield from _iterate_rows(bucket, depth + 1)
    else:
        yield from _iterate_bucket(value)


def _iterate_bucket(value: Row) -> Iterator[Row]:
    """A row, or those of a bucket's results with the bucket's times."""
    results = value.get("results", value.get("result"))
    if not isinstance(results, list):
        yield _flatten(value)
        return
    times = {name: item for name, item in value.items() if name not in ("results", "result", "object")}
    for result in results:
        yield times | _flatten(result) if isinstance(result, dict) else Odd("no object")


def _flatten(value: Row) -> Row:
    """Objects within objects as `outer.inner`, beside the whole."""
    inner = {
        f"{name}.{key}": item for name, part in value.items() if isinstance(part, dict) for key, item in part.items()
    }
    return value | inner if inner else value


class _Values:
    """The elements of an array, or the values that follow one another, read piece by piece.

    Iterating raises InvalidInput where the text is no JSON. A line that is none among lines that are is an `Odd`.
    """

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text = text
        self._buffer = ""
        self._at = 0
        self._is_array: bool | None = None  # None before the first sign of a page
        self._are_lines = False
        self._has_ended = False
        self._end = 0  # of what is in the buffer, without blanks

    def __iter__(self) -> Iterator[Any]:
        while True:
            self._skip()
            if self._at < len(self._buffer):
                value = self._take()
                if value is not _CUT_OFF:
                    yield value
                    continue
            elif self._has_ended:
                return
            self._read_on()

    def _skip(self) -> None:
        """Pass over blanks, commas and the brackets of a page; behind one page another may follow."""
        while self._at < len(self._buffer):
            sign = self._buffer[self._at]
            if sign in " \t\r\n,":
                self._at += 1
            elif self._is_array is None:
                self._is_array = sign == "["
                self._at += self._is_array
            elif self._is_array and sign == "]":
                self._at += 1
                self._is_array = None
            else:
                return

    def _take(self) -> Any:
        """The next value; `_CUT_OFF` when the buffer ends within it."""
        buffer = self._buffer
        start = self._at
        try:
            value, self._at = _DECODER.raw_decode(buffer, start)
        except RecursionError:
            raise InvalidInput("The file can't be read as JSON.", "It is nested too deeply.") from None
        except json.JSONDecodeError as error:
            if self._are_lines and (self._has_ended or not self._is_cut_off(error)):
                self._at = end if (end := buffer.find("\n", start)) >= 0 else len(buffer)
                return Odd("no JSON")
            if self._has_ended or len(buffer) - start > _LONGEST:
                raise InvalidInput("The file can't be read as JSON.", f"{error}.", "Export it again.") from None
            return _CUT_OFF
        self._are_lines = not self._is_array and "\n" not in buffer[start : self._at]
        return value

    def _read_on(self) -> None:
        """Read twice as much each time, so that a long value is not decoded anew often."""
        piece = self._text.read(max(_PIECE, len(self._buffer) - self._at))
        self._buffer = self._buffer[self._at :] + piece
        self._at = 0
        self._end = len(self._buffer.rstrip())
        self._has_ended = not piece

    def _is_cut_off(self, error: json.JSONDecodeError) -> bool:
        """Whether more text may end the value."""
        return error.msg.startswith("Unterminated string") or error.pos >= self._end
