"""A file holds exactly the shown frame: exact money, empty unknowns, no formulas, numbers unharmed."""

import io
import json
from decimal import Decimal

import pandas as pd
import pyarrow.parquet as pq
import pytest

from lib.statistics import export

FRAME = pd.DataFrame(
    {
        "model": ["=cmd()", "@x", "-1+1", "  =1", 'plain, "quoted"\nline', None],
        "cost_usd": pd.Series([Decimal("9007199.254740993"), Decimal("-0.000000001"), None, 0, 1, 2], dtype=object),
        "change": [-1.5, 2.0, None, 0.0, 1.0, 3.0],
        "calls": pd.Series([1, -2, None, 4, 5, 6], dtype="Int64"),
    }
)


@pytest.mark.feature("COST-6")
def test_csv_disarms_text_and_leaves_numbers_alone() -> None:
    back = pd.read_csv(io.BytesIO(export.to_csv(FRAME)), dtype=str, keep_default_na=False)
    assert back.model.tolist() == ["'=cmd()", "'@x", "'-1+1", "'  =1", 'plain, "quoted"\nline', ""]
    assert back.cost_usd.tolist()[:3] == ["9007199.254740993", "-0.000000001", ""]
    assert back.change.tolist()[0] == "-1.5"
    assert back.calls.tolist()[:3] == ["1", "-2", ""]


@pytest.mark.feature("COST-6")
def test_parquet_keeps_exact_decimals_and_integers() -> None:
    frame = FRAME.assign(cost_usd=[Decimal("9007199.254740993"), None, *[Decimal(1)] * 4])
    table = pq.read_table(io.BytesIO(export.to_parquet(frame)))
    assert table["cost_usd"].to_pylist()[:2] == [Decimal("9007199.254740993"), None]
    assert table["calls"].to_pylist()[:3] == [1, -2, None]
    assert table["model"].to_pylist()[0] == "=cmd()"


@pytest.mark.feature("COST-6")
def test_json_rounds_nothing() -> None:
    records = json.loads(export.to_json(FRAME))
    assert records[0]["cost_usd"] == "9007199.254740993"
    assert records[1]["cost_usd"] == "-0.000000001"
    assert records[2] == {"model": "-1+1", "cost_usd": None, "change": None, "calls": None}


@pytest.mark.feature("COST-6")
def test_an_empty_frame_still_has_its_header() -> None:
    assert export.to_csv(FRAME[:0]).decode() == "model,cost_usd,change,calls\n"
    assert json.loads(export.to_json(FRAME[:0])) == []
    assert pq.read_table(io.BytesIO(export.to_parquet(FRAME[:0]))).column_names == list(FRAME)
