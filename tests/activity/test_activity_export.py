"""Exports: the predecessor's columns first, exact money, no formula, flat memory, and readable by the usual tools."""

import csv
import io
import json
import sqlite3
import tracemalloc
from decimal import Decimal
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.activity.call_export import format_csv_cell, format_sql_literal
from lib.activity.call_filter import CUSTOM, ActivityFilter
from lib.activity.call_log import Activity
from lib.db.engine import Store
from tests.activity.activity_rig import AMIRA, JONAS, account, log, log_all, many

ALL = ActivityFilter(period=CUSTOM)
FOURTEEN = [
    *("ID", "Date/Time", "Provider", "Model", "User", "Prompt", "Response", "Prompt Tokens", "Completion Tokens"),
    *("Total Tokens", "Cost USD", "Duration (ms)", "Status", "Error Message"),
]
SQLITE_ONLY = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)


def csv_of(store: Store, **options: Any) -> str:
    return b"".join(Activity(store).export_csv(AMIRA, ALL, **options)).decode()


@pytest.mark.feature("CALL-6", "COST-6")
def test_csv_begins_with_the_fourteen_columns_and_says_what_is_unknown(store: Store) -> None:
    account(store, AMIRA)
    log(store, ago=20, cost_nano_usd=1, prompt_text="p" * 300, response_text='Line\nbreak, "quote"', call_id="c")
    log(store, JONAS, ago=10, cost_nano_usd=None, cost_status="unpriced", total_tokens=None, status="error")
    newest, oldest = list(csv.DictReader(io.StringIO(csv_of(store, names={JONAS.user_id: "Jonas (sample)"}))))
    assert list(newest)[:14] == FOURTEEN
    assert (newest["Cost USD"], newest["Total Tokens"], newest["User"]) == ("", "", "Jonas (sample)")
    assert (oldest["Cost USD"], oldest["cost_nano_usd"], oldest["User"]) == ("0.000000001", "1", "amira")
    assert (oldest["Prompt"], oldest["Response"]) == ("p" * 200, 'Line\nbreak, "quote"')
    assert (oldest["call_id"], oldest["attempt"], oldest["is_final"]) == ("c", "1", "true")
    assert json.loads(oldest["parameters"]) == {"temperature": 0.2}
    assert oldest["started_at"].endswith("+00:00")


@pytest.mark.feature("COST-6")
@SQLITE_ONLY
def test_text_can_not_run_as_a_formula_and_figures_stay_figures(store: Store) -> None:
    evil = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", "=cmd|'/c calc'!A1", "-2.5"]
    log_all(store, [{"user_id": AMIRA.user_id, "prompt_text": words, "model": words, "app": words} for words in evil])
    rows = list(csv.DictReader(io.StringIO(csv_of(store), newline="")))
    for row in rows:
        for name in ("Prompt", "Model", "app"):
            assert row[name].startswith("'")
            assert row[name][1:] in evil
    assert format_csv_cell(-5) == "-5"
    assert format_csv_cell(Decimal("-0.5")) == "-0.5"
    assert format_csv_cell({"a": "=1"}) == '{"a": "=1"}'


@pytest.mark.feature("COST-6")
@SQLITE_ONLY
def test_pandas_reads_the_right_types(store: Store) -> None:
    log(store, ago=20, cost_nano_usd=7_800_000)
    log(store, ago=10, cost_nano_usd=None, prompt_tokens=None)
    for bom in (False, True):
        frame = pd.read_csv(io.StringIO(csv_of(store, bom=bom).removeprefix("\ufeff")), parse_dates=["started_at"])
        kinds = {name: frame[name].dtype.kind for name in ("Total Tokens", "Cost USD", "is_final", "started_at")}
        assert kinds == {"Total Tokens": "i", "Cost USD": "f", "is_final": "b", "started_at": "M"}
        assert frame["Cost USD"].sum() == pytest.approx(0.0078)
        assert frame["Prompt Tokens"].isna().tolist() == [True, False]
    assert next(Activity(store).export_csv(AMIRA, ALL, bom=True)).startswith(b"\xef\xbb\xbfID,")


@pytest.mark.feature("CALL-6")
def test_json_has_every_row_once_in_order_with_whole_texts(store: Store) -> None:
    ids = log_all(store, [{"user_id": AMIRA.user_id, "ago": 1000 - n, "prompt_text": "x" * 999} for n in range(250)])
    rows = json.loads(b"".join(Activity(store).export_json(AMIRA, ALL)))
    assert [row["id"] for row in rows] == ids[::-1]
    assert (rows[0]["cost_usd"], rows[0]["cost_nano_usd"], len(rows[0]["prompt_text"])) == ("0.0015", 1_500_000, 999)
    assert json.loads(b"".join(Activity(store).export_json(AMIRA, ActivityFilter(apps=("none",))))) == []


@pytest.mark.feature("CALL-6")
def test_sql_runs_and_brings_the_texts_back_unharmed(store: Store) -> None:
    nasty = "Robert'); DROP TABLE usage_logs_export;--\n\\' ÿ 🙂 %s :name"
    log(store, ago=20, prompt_text=nasty, app="o'brien", cost_nano_usd=None, tags={"it's": ["a"]})
    log(store, ago=10)
    script = b"".join(Activity(store).export_sql(AMIRA, ALL)).decode()
    query = "SELECT prompt_text, app, cost_nano_usd, tags, is_final, started_at FROM usage_logs_export ORDER BY id"
    if store.is_sqlite:
        connection = sqlite3.connect(":memory:")
        connection.executescript(script)
        row, _ = connection.execute(query).fetchall()
        connection.close()
    else:
        raw = store.engine.raw_connection()
        cursor = raw.cursor()
        cursor.execute(script)
        cursor.execute(query)
        row, _ = cursor.fetchall()
        raw.close()
    assert row[:3] == (nasty, "o'brien", None)
    assert json.loads(row[3]) == {"it's": ["a"]}
    assert row[4] in (1, True)
    assert row[5]


@pytest.mark.feature("CALL-6")
@given(st.text())
def test_any_text_is_one_sql_literal(words: str) -> None:
    words = words.replace("\x00", "").encode("utf-8", "replace").decode()
    connection = sqlite3.connect(":memory:")
    assert connection.execute(f"SELECT {format_sql_literal(words)}").fetchone() == (words,)
    connection.close()


@pytest.mark.feature("CALL-6")
@SQLITE_ONLY
@pytest.mark.parametrize("kind", ["csv", "json", "sql"])
def test_an_export_is_made_in_flat_memory(store: Store, kind: str) -> None:
    many(store, 10_000)
    lines = 0
    tracemalloc.start()
    for piece in getattr(Activity(store), f"export_{kind}")(AMIRA, ALL):
        lines += piece.count(b"\n")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert lines >= 10_000
    assert peak < 20_000_000
