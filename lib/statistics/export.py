"""A frame as a file: exactly its rows and columns, in CSV, Parquet or JSON.

Money stays an exact decimal. What is unknown is an empty cell or null, never 0. Text that a spreadsheet would run as a
formula gets a leading apostrophe in CSV, in text columns only: numbers, also negative ones, are left as they are.
"""

import io
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pandas as pd
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

_FORMULA = ("=", "+", "-", "@")
_MONEY = pa.decimal128(38, 9)  # nano-dollars are nine decimals


def to_csv(frame: pd.DataFrame) -> bytes:
    """UTF-8 CSV with a header."""
    safe = frame.copy()
    for name in safe.columns:
        if not pd.api.types.is_numeric_dtype(safe[name]):
            safe[name] = safe[name].map(_cell)
    text: str = safe.to_csv(index=False, lineterminator="\n")
    return text.encode()


def to_json(frame: pd.DataFrame) -> bytes:
    """A JSON list of records; decimals as strings, so that no reader rounds them."""
    return json.dumps(
        [{str(name): _json(value) for name, value in row.items()} for row in frame.to_dict("records")],
        ensure_ascii=False,
        indent=1,
    ).encode()


def to_parquet(frame: pd.DataFrame) -> bytes:
    """Parquet; dollars (`…_usd`) as decimal(38, 9), also where none is known."""
    columns = {str(name): _arrow(frame[name]) for name in frame.columns}
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out)
    return out.getvalue()


WRITERS: dict[str, tuple[Callable[[pd.DataFrame], bytes], str]] = {
    "csv": (to_csv, "text/csv"),
    "json": (to_json, "application/json"),
    "parquet": (to_parquet, "application/vnd.apache.parquet"),
}


def _cell(value: Any) -> Any:
    if isinstance(value, Decimal):
        return f"{value:f}"  # never an exponent
    if isinstance(value, str) and value.lstrip().startswith(_FORMULA):
        return "'" + value
    return value


def _json(value: Any) -> Any:
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and value != value):
        return None
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, pd.Timestamp):
        return value.isoformat()
    return value.item() if hasattr(value, "item") else value


def _arrow(column: pd.Series) -> Any:
    if str(column.name).endswith("_usd") and column.dtype == object:
        return pa.array([None if pd.isna(value) else value for value in column], _MONEY)
    return pa.Array.from_pandas(column)
