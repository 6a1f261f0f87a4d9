"""A file holds exactly the shown frame: exact money, empty unknowns, no formulas, numbers unharmed."""

import io
import json
from decimal import Decimal

import pandas as pd
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest

from lib.statistics import export
from lib.statistics.explore import Cross, build_table
from lib.statistics.measures import Dimension, Fold, Measure, MetricMeasure, Unit

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
    back = pd.read_csv(io.BytesIO(export.encode_csv(FRAME)), dtype=str, keep_default_na=False)
    assert back.model.tolist() == ["'=cmd()", "'@x", "'-1+1", "'  =1", 'plain, "quoted"\nline', ""]
    assert back.cost_usd.tolist()[:3] == ["9007199.254740993", "-0.000000001", ""]
    assert back.change.tolist()[0] == "-1.5"
    assert back.calls.tolist()[:3] == ["1", "-2", ""]


@pytest.mark.feature("COST-6")
def test_parquet_keeps_exact_decimals_and_integers() -> None:
    frame = FRAME.assign(cost_usd=pd.Series([Decimal("9007199.254740993"), None, *[Decimal(1)] * 4], dtype=object))
    table = pq.read_table(io.BytesIO(export.encode_parquet(frame)))
    assert table["cost_usd"].to_pylist()[:2] == [Decimal("9007199.254740993"), None]
    assert table["calls"].to_pylist()[:3] == [1, -2, None]
    assert table["model"].to_pylist()[0] == "=cmd()"


@pytest.mark.feature("COST-6")
def test_json_rounds_nothing() -> None:
    records = json.loads(export.encode_json(FRAME))
    assert records[0]["cost_usd"] == "9007199.254740993"
    assert records[1]["cost_usd"] == "-0.000000001"
    assert records[2] == {"model": "-1+1", "cost_usd": None, "change": None, "calls": None}


NAMES = ["=a", "+a", "a", "a", "Total", "Provider", "＝a", "\ta", " -1"]


@pytest.mark.feature("COST-6")
def test_names_from_data_as_headings_are_neutralised_and_told_apart() -> None:
    frame = pd.DataFrame([list(range(len(NAMES)))], columns=NAMES)
    head, line = export.encode_csv(frame).decode().splitlines()
    assert head == "'=a,'+a,a,a (2),Total,Provider,'＝a,'\ta,' -1"
    assert line == "0,1,2,3,4,5,6,7,8"
    assert len(json.loads(export.encode_json(frame))[0]) == len(NAMES)
    assert pq.read_table(io.BytesIO(export.encode_parquet(frame))).column_names == [*NAMES[:3], "a (2)", *NAMES[4:]]


@pytest.mark.feature("COST-6")
@pytest.mark.parametrize("currency", ["USD", "EUR"])
@pytest.mark.parametrize("unit", list(Unit))
def test_a_table_has_the_same_types_whatever_its_figures_are(unit: Unit, currency: str) -> None:
    figures = [None, 0, 1, 1_000_123_456_789, 10**17]
    measure = (
        next(one for one in Measure if one.unit is unit) if unit is not Unit.NUMBER else MetricMeasure("m", Fold.MEAN)
    )
    schemas = set()
    for value in figures:
        cells = pd.DataFrame({"row": ["x"], "column": ["Total"], "value": [value]}, dtype=object)
        sums = {"x": value}
        found = Cross(
            Dimension.APP,
            Dimension.MODEL,
            measure,
            cells,
            ["x"],
            ["Total"],
            sums,
            {"Total": value},
            value,
            (0, 0),
            currency,
        )
        written = pq.read_table(io.BytesIO(export.encode_parquet(build_table(found, lambda _, name: str(name)))))
        assert written.num_columns == 3
        schemas.add(tuple(zip(written.schema.names, map(str, written.schema.types), strict=True)))
    assert len(schemas) == 1
    if unit is Unit.NANO_USD:
        assert {kind for _, kind in next(iter(schemas))} == {"string", "decimal128(38, 9)"}


@pytest.mark.feature("COST-6")
def test_an_empty_frame_still_has_its_header() -> None:
    assert export.encode_csv(FRAME[:0]).decode() == "model,cost_usd,change,calls\n"
    assert json.loads(export.encode_json(FRAME[:0])) == []
    assert pq.read_table(io.BytesIO(export.encode_parquet(FRAME[:0]))).column_names == list(FRAME)
