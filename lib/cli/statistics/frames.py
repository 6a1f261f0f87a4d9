"""A statistics table as CSV, JSON or Parquet. Money keeps every digit: it is Decimal here and never becomes a float.

In JSON `cost_usd` is a number written with all its digits; in Parquet a decimal with nine places. Unknown is an empty
cell or null. Text that a spreadsheet would run as a formula is neutralised in CSV.
"""

import csv
import io
import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from lib.activity.call_export import format_csv_cell

if TYPE_CHECKING:
    import pandas as pd


def write_csv(frame: "pd.DataFrame") -> bytes:
    """A head line and a line for each row, in UTF-8."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([format_csv_cell(str(name)) for name in frame.columns])
    writer.writerows([format_csv_cell(value) for value in row] for row in _list_rows(frame))
    return buffer.getvalue().encode()


def write_json(frame: "pd.DataFrame") -> bytes:
    """A list of objects."""
    names = [json.dumps(str(name)) for name in frame.columns]
    lines = [
        "{" + ", ".join(f"{name}: {_encode_json(value)}" for name, value in zip(names, row, strict=True)) + "}"
        for row in _list_rows(frame)
    ]
    return ("[\n" + ",\n".join(lines) + "\n]\n" if lines else "[]\n").encode()


def write_parquet(frame: "pd.DataFrame") -> bytes:
    """A Parquet file."""
    from lib.statistics.export import encode_parquet

    return encode_parquet(frame)


def _list_rows(frame: "pd.DataFrame") -> list[tuple[Any, ...]]:
    """List the rows of a frame as tuples of plain Python values; None for what is missing."""
    return list(zip(*(_list_column(frame, str(name)) for name in frame.columns), strict=True))


def _list_column(frame: "pd.DataFrame", name: str) -> list[Any]:
    values = frame[name].astype(object)
    return values.where(values.notna(), None).tolist()


def _encode_json(value: Any) -> str:
    return format(value, "f") if isinstance(value, Decimal) else json.dumps(value, ensure_ascii=False)
