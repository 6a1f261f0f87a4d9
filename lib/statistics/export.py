"""A frame as a file: exactly its rows and columns, in CSV, Parquet or JSON.

Money stays an exact decimal. What is unknown is an empty cell or null, never 0. Text that a spreadsheet would run as a
formula gets a leading apostrophe in CSV, in headings and in text columns: numbers, also negative ones, are left as they
are. Columns of one name are told apart.

In Parquet a column's type follows from what it holds by its nature, not from the rows of the day: files of several
months are read together. `typed` says it of a frame's columns; else dollars are those named `…_usd` or `cost_…`.
"""

import io
import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import pandas as pd
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from lib.files.cells import neutralise, tell_apart
from lib.patterns import compile_pattern
from lib.statistics.measures import Unit

_MONEY = pa.decimal128(38, 9)  # nano-dollars are nine decimals
_IS_MONEY = compile_pattern(r"(.+_)?usd|cost_[a-z]{3}")
_TYPES = {"text": pa.string(), Unit.NANO_USD: _MONEY, Unit.COUNT: pa.int64()}  # of other units: numbers
_KINDS = "column_kinds"


def set_types(frame: pd.DataFrame, kinds: Mapping[str, "Unit | str"]) -> pd.DataFrame:
    """The frame, which says of its columns what they hold: a unit, or `text`."""
    frame.attrs[_KINDS] = dict(kinds)
    return frame


def encode_csv(frame: pd.DataFrame) -> bytes:
    """UTF-8 CSV with a header."""
    safe = _tell_columns_apart(frame)
    for name in safe.columns:
        if not pd.api.types.is_numeric_dtype(safe[name]):
            safe[name] = safe[name].map(_format_cell)
    safe.columns = pd.Index([neutralise(name) for name in safe.columns])
    text: str = safe.to_csv(index=False, lineterminator="\n")
    return text.encode()


def encode_json(frame: pd.DataFrame) -> bytes:
    """A JSON list of records; decimals as strings, so that no reader rounds them."""
    return json.dumps(
        [
            {str(name): _convert_for_json(value) for name, value in row.items()}
            for row in _tell_columns_apart(frame).to_dict("records")
        ],
        ensure_ascii=False,
        indent=1,
    ).encode()


def encode_parquet(frame: pd.DataFrame) -> bytes:
    """Parquet; money as decimal(38, 9), also where none is known."""
    kinds = frame.attrs.get(_KINDS, {})
    distinct = _tell_columns_apart(frame)
    columns = {name: _convert_to_arrow(distinct[name], kinds.get(name)) for name in distinct.columns}
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out)
    return out.getvalue()


WRITERS: dict[str, tuple[Callable[[pd.DataFrame], bytes], str]] = {
    "csv": (encode_csv, "text/csv"),
    "json": (encode_json, "application/json"),
    "parquet": (encode_parquet, "application/vnd.apache.parquet"),
}


def _format_cell(value: Any) -> Any:
    if isinstance(value, Decimal):
        return f"{value:f}"  # never an exponent
    return neutralise(value) if isinstance(value, str) else value


def _convert_for_json(value: Any) -> Any:
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and value != value):
        return None
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, pd.Timestamp):
        return value.isoformat()
    return value.item() if hasattr(value, "item") else value


def _tell_columns_apart(frame: pd.DataFrame) -> pd.DataFrame:
    distinct = frame.copy()
    distinct.columns = pd.Index(tell_apart(frame.columns))
    return distinct


def _convert_to_arrow(column: pd.Series, kind: Any = None) -> Any:
    if kind is None and column.dtype == object and _IS_MONEY.fullmatch(str(column.name)):
        kind = Unit.NANO_USD
    if kind is not None:
        type_ = _TYPES.get(kind, pa.float64())
        return pa.array([None if pd.isna(value) else value for value in column], type_)
    array = pa.Array.from_pandas(column)
    return array.cast(pa.string()) if array.type == pa.null() else array
