"""A row of the ledger is one record: every column of the table, with one default."""

from datetime import UTC, datetime

import pytest
from msgspec import ValidationError

from lib.db.tables import open_calls, usage_logs
from lib.ledger.usage_row import AttemptRow, UsageRow, build_blank_columns, check_columns
from tests.ledger.ledger_rig import closing, opening

pytestmark = pytest.mark.feature("CALL-9")


def test_the_record_has_every_column_of_its_tables() -> None:
    assert set(UsageRow.__struct_fields__) == set(usage_logs.c.keys())
    assert set(AttemptRow.__struct_fields__) == set(open_calls.c.keys()) - {"owner", "holds", "request"}
    assert set(build_blank_columns()) == set(usage_logs.c.keys()) - {"change_seq"}
    assert {column.name for column in usage_logs.c if not column.nullable and not column.primary_key} <= {
        name for name, value in closing(opening("me")).row.to_columns().items() if value is not None
    }


def test_records_of_an_earlier_version_are_read_with_the_defaults_of_newer_columns() -> None:
    newer = {"session_id", "parent_call_id", "fees_nano_usd", "service_tier", "usage_details", "dropped_fields", "lane"}
    record = closing(opening("me")).row.to_columns()
    older = {name: value for name, value in record.items() if name not in newer}
    moments = {name: older[name].isoformat() for name in ("started_at", "finished_at")}
    assert UsageRow.from_record(older | moments | {"gone": 1}).to_columns() == record
    with pytest.raises(ValidationError):
        UsageRow.from_record({"id": "x"})


def test_rows_that_come_as_columns_are_whole_and_have_no_others() -> None:
    columns = UsageRow(
        id="1", call_id="1", attempt=1, started_at=datetime.now(UTC), app="a", origin="import", provider="p", model="m",
        streamed=False, is_final=True, finished_at=datetime.now(UTC), status="ok", usage_source="none",
        cost_status="free",
    ).to_columns()  # fmt: skip
    check_columns(columns)
    for wrong in (columns | {"colour": 1}, {name: value for name, value in columns.items() if name != "status"}):
        with pytest.raises(KeyError):
            check_columns(wrong)
