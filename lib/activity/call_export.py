"""Activity as CSV, JSON or SQL, in pieces of a batch: memory stays flat however many rows there are.

The CSV begins with the fourteen columns of the product's predecessor, in their order; ours follow under their ledger
names; prompt and answer are cut to 200 characters. Text that a spreadsheet would run as a formula gets a leading
apostrophe; figures and moments are left as they are. Unknown is an empty cell, null or NULL, never 0. Moments are UTC.
Every attempt is a row: `is_final` marks those that count as calls, cost is summed over all.
"""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from lib.db.tables import usage_logs
from lib.files.cells import neutralise
from lib.money import convert_nano_to_usd

BATCH = 1000
BATCH_IN_FULL = 100  # whole prompts and answers may be megabytes each
EXCERPT = 200

Row = Mapping[str, Any]

FIRST: dict[str, Callable[[Row], Any]] = {
    "ID": lambda row: row["id"],
    "Date/Time": lambda row: row["started_at"].astimezone(UTC).replace(microsecond=0, tzinfo=None),
    "Provider": lambda row: row["provider"],
    "Model": lambda row: row["model"],
    "User": lambda row: row["user_name"],
    "Prompt": lambda row: row["prompt_text"],
    "Response": lambda row: row["response_text"],
    "Prompt Tokens": lambda row: row["prompt_tokens"],
    "Completion Tokens": lambda row: row["completion_tokens"],
    "Total Tokens": lambda row: row["total_tokens"],
    "Cost USD": lambda row: read_cost_usd(row),
    "Duration (ms)": lambda row: row["execution_time_ms"],
    "Status": lambda row: row["status"],
    "Error Message": lambda row: row["error_message"],
}
THEN = (
    *("call_id", "attempt", "is_final", "calls", "app", "origin", "served_model", "error_kind"),
    *("cache_read_tokens", "cache_write_tokens", "reasoning_tokens", "usage_source"),
    *(
        "cost_nano_usd",
        "cost_status",
        "fees_nano_usd",
        "service_tier",
        "price_id",
        "first_token_ms",
        "chunks",
        "finish_reason",
    ),
    *("lane", "started_at", "finished_at", "tags", "parameters"),
    *("conversation_id", "session_id", "parent_call_id", "workflow_run_id", "workflow_step"),
    *("cache", "saved_nano_usd", "team_id"),
)
CSV_COLUMNS = (*FIRST, *THEN)
FULL_COLUMNS = (
    *(column.name for column in usage_logs.columns if column.name not in ("change_seq", "batch_id")),
    *("user_name", "prompt_text", "response_text"),
)


def read_cost_usd(row: Row) -> Decimal | None:
    """Exact dollars; None when no price is known."""
    return None if row["cost_nano_usd"] is None else convert_nano_to_usd(row["cost_nano_usd"])


def yield_csv(batches: Iterable[list[dict[str, Any]]], bom: bool = False) -> Iterator[bytes]:
    """CSV with a head line; `bom` makes Excel read it as UTF-8."""
    yield ("\ufeff" if bom else "").encode() + _encode_lines([CSV_COLUMNS])
    for batch in batches:
        yield _encode_lines([_list_csv_cells(row) for row in batch])


def _list_csv_cells(row: Row) -> list[str]:
    return [*(format_csv_cell(read(row)) for read in FIRST.values()), *(format_csv_cell(row[name]) for name in THEN)]


def format_csv_cell(value: Any) -> str:
    """A value as CSV shows it; only text can be a formula, so only text is neutralised."""
    match value:
        case None:
            return ""
        case str():
            return neutralise(value)
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case datetime():
            return value.isoformat(sep=" " if value.tzinfo is None else "T")
        case Decimal():
            return f"{value:f}"
        case _:
            return format_csv_cell(json.dumps(value, ensure_ascii=False))


def _encode_lines(rows: Iterable[Iterable[str]]) -> bytes:
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerows(rows)
    return buffer.getvalue().encode("utf-8", "replace")


def yield_json(batches: Iterable[list[dict[str, Any]]]) -> Iterator[bytes]:
    """One array; `cost_usd` is a string, because a JSON number would lose digits in most readers."""
    yield b"["
    separator = "\n"
    for batch in batches:
        texts = [json.dumps(_build_json_row(row), ensure_ascii=False) for row in batch]
        yield (separator + ",\n".join(texts)).encode("utf-8", "replace")
        separator = ",\n"
    yield b"\n]\n"


def _build_json_row(row: Row) -> dict[str, Any]:
    values = {name: row[name] for name in FULL_COLUMNS}
    for name, value in values.items():
        if isinstance(value, datetime):
            values[name] = value.isoformat()
    dollars = read_cost_usd(row)
    return values | {"cost_usd": None if dollars is None else f"{dollars:f}"}


def yield_sql(batches: Iterable[list[dict[str, Any]]]) -> Iterator[bytes]:
    """Statements for SQLite and PostgreSQL: the table, then a row each, in one transaction."""
    columns = ",\n".join(f"    {name} {_choose_sql_type(name)}" for name in FULL_COLUMNS)
    yield f"BEGIN;\nCREATE TABLE IF NOT EXISTS usage_logs_export (\n{columns}\n);\n".encode()
    head = f"INSERT INTO usage_logs_export ({', '.join(FULL_COLUMNS)}) VALUES ("  # noqa: S608 (a file, not a query)
    for batch in batches:
        rows = (", ".join(format_sql_literal(row[name]) for name in FULL_COLUMNS) for row in batch)
        yield "".join(f"{head}{values});\n" for values in rows).encode("utf-8", "replace")
    yield b"COMMIT;\n"


def _choose_sql_type(name: str) -> str:
    if name == "id":
        return "VARCHAR(36) PRIMARY KEY"
    column = usage_logs.columns.get(name)
    kind = column.type.python_type if column is not None and name not in ("parameters", "tags") else str
    return {bool: "BOOLEAN", int: "BIGINT", datetime: "TIMESTAMP WITH TIME ZONE"}.get(kind, "TEXT")


def format_sql_literal(value: Any) -> str:
    """A value as standard SQL writes it: quotes doubled, no other escapes, JSON as text."""
    match value:
        case None:
            return "NULL"
        case bool():
            return "TRUE" if value else "FALSE"
        case int():
            return str(value)
        case datetime():
            return f"'{value.astimezone(UTC).isoformat(sep=' ')}'"
        case str():
            return "'" + value.replace("\x00", "").replace("'", "''") + "'"
        case _:
            return format_sql_literal(json.dumps(value, ensure_ascii=False))
