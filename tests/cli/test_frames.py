"""A statistics table written out: every digit kept, unknown left empty, formulas made harmless."""

import io
import json
from decimal import Decimal

import pandas as pd
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest

from lib.cli.statistics import frames

pytestmark = pytest.mark.feature("COST-6")
EXACT = Decimal("12345678901.123456789")


@pytest.fixture
def frame() -> pd.DataFrame:
    """A priced row and an unpriced one whose app's name is a formula."""
    return pd.DataFrame(
        {
            "app": ["notes", "=1+1"],
            "calls": pd.array([2, 1], dtype="Int64"),
            "total_tokens": pd.array([40, None], dtype="Int64"),
            "cost_usd": pd.Series([EXACT, None], dtype=object),
        }
    )


def test_csv_keeps_digits_and_leaves_the_unknown_empty(frame: pd.DataFrame) -> None:
    assert frames.write_csv(frame).decode().splitlines() == [
        "app,calls,total_tokens,cost_usd",
        "notes,2,40,12345678901.123456789",
        "'=1+1,1,,",
    ]


def test_json_writes_money_as_a_number_with_every_digit(frame: pd.DataFrame) -> None:
    rows = json.loads(frames.write_json(frame), parse_float=Decimal)
    assert rows[0] == {"app": "notes", "calls": 2, "total_tokens": 40, "cost_usd": EXACT}
    assert rows[1]["cost_usd"] is None
    assert rows[1]["total_tokens"] is None


def test_parquet_keeps_money_decimal(frame: pd.DataFrame) -> None:
    table = pq.read_table(io.BytesIO(frames.write_parquet(frame)))
    assert table.column_names == ["app", "calls", "total_tokens", "cost_usd"]
    assert table.column("cost_usd").to_pylist() == [EXACT, None]


def test_an_empty_table_is_an_empty_list(frame: pd.DataFrame) -> None:
    assert json.loads(frames.write_json(frame.head(0))) == []
    assert frames.write_csv(frame.head(0)).decode() == "app,calls,total_tokens,cost_usd\n"
