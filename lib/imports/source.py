"""A file as rows: CSV, a JSON array, JSON lines, or the pages that usage interfaces answer with.

Rows are dictionaries of what stands in the file, read a piece at a time: memory does not grow with the file. Objects
within objects are reached as `amount.value`. A page (`{"data": [{…, "results": […]}]}`) becomes a row for each result,
with its bucket's times. Fractions of JSON are Decimal, so no digit of a cost is lost.
"""

import codecs
import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, BinaryIO

from lib.errors import InvalidInput

Row = dict[str, Any]
_PIECE = 1 << 20
_LONGEST = 64 << 20  # characters of one value
_DECODER = json.JSONDecoder(parse_float=Decimal)
csv.field_size_limit(max(csv.field_size_limit(), _LONGEST))


@dataclass(frozen=True)
class Source:
    """A file that can be read again from its start, and the name it came under."""

    file: BinaryIO
    name: str

    @property
    def size(self) -> int:
        """Bytes."""
        return self.file.seek(0, io.SEEK_END)

    def rows(self) -> Iterator[Row]:
        """Every row; InvalidInput where the file is no CSV or JSON in UTF-8."""
        self.file.seek(0)
        head = self.file.read(4096)
        if not head.strip():
            raise InvalidInput("The file is empty.", "", "Choose another one.")
        encoding = "utf-16" if head[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"
        self.file.seek(0)
        is_json = head.decode(encoding, "ignore").lstrip()[:1] in ("[", "{")
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


def _csv_rows(text: io.TextIOWrapper) -> Iterator[Row]:
    first = text.readline()
    sign = max(",;\t|", key=first.count)
    header = [name.strip() for name in next(csv.reader([first], delimiter=sign), [])]
    if len(header) < 2 or len(set(header)) < len(header):
        raise InvalidInput(
            "The file can't be read as CSV.", "Its first line has to name each column, once.", "Export it again."
        )
    for cells in csv.reader(text, delimiter=sign):
        if cells:
            yield dict(zip(header, cells, strict=False))


def _json_rows(text: io.TextIOWrapper) -> Iterator[Row]:
    for value in _values(text):
        if not isinstance(value, dict):
            raise InvalidInput("The file holds no rows.", "Its JSON is not made of objects.", "Export it again.")
        if isinstance(value.get("data"), list):
            for bucket in value["data"]:
                yield from _bucket(bucket)
        else:
            yield from _bucket(value)


def _bucket(value: Any) -> Iterator[Row]:
    """A row, or those of a bucket's results with the bucket's times."""
    if not isinstance(value, dict):
        return
    results = value.get("results", value.get("result"))
    if not isinstance(results, list):
        yield _flat(value)
        return
    times = {name: item for name, item in value.items() if name not in ("results", "result", "object")}
    for result in results:
        if isinstance(result, dict):
            yield times | _flat(result)


def _flat(value: Row) -> Row:
    """Objects within objects as `outer.inner`, beside the whole."""
    inner = {
        f"{name}.{key}": item for name, part in value.items() if isinstance(part, dict) for key, item in part.items()
    }
    return value | inner if inner else value


def _values(text: io.TextIOWrapper) -> Iterator[Any]:
    """The elements of an array, or the values that follow one another."""
    buffer, at, is_array, ended = "", 0, None, False
    while True:
        while at < len(buffer) and buffer[at] in " \t\r\n,":
            at += 1
        if is_array is None and at < len(buffer):
            is_array = buffer[at] == "["
            at += is_array
            continue
        if is_array and buffer[at : at + 1] == "]":
            return
        if at < len(buffer):
            try:
                value, at = _DECODER.raw_decode(buffer, at)
                yield value
                continue
            except json.JSONDecodeError as error:
                if ended or len(buffer) - at > _LONGEST:
                    raise InvalidInput("The file can't be read as JSON.", f"{error}.", "Export it again.") from None
            except RecursionError:
                raise InvalidInput("The file can't be read as JSON.", "It is nested too deeply.") from None
        elif ended:
            return
        more = text.read(max(_PIECE, len(buffer) - at))  # twice as much each time: a long value is not read anew often
        buffer, at, ended = buffer[at:] + more, 0, not more
