"""A row of `usage_logs`: every column, and what it holds where nobody says otherwise.

Whoever writes a row makes one of these (`OpenAttempt.ended`, recovery) or begins with `build_blank_columns` (files and
sample data, which come as columns or as many rows at once). So a column has its meaning and its default in one place;
a test compares the fields with the table. `build_final_condition` is the one condition by which the last row of a call
is found.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from msgspec import NODEFAULT, Struct, convert
from msgspec.structs import asdict, fields
from sqlalchemy import ColumnElement

from lib.db.tables import FIRST_TEAM, usage_logs


class AttemptRow(Struct, kw_only=True):
    """What is known of an attempt before it is sent: the columns that `open_calls` and `usage_logs` share."""

    id: str
    call_id: str
    attempt: int
    started_at: datetime
    app: str
    user_id: str | None = None
    api_key_id: str | None = None
    configuration_id: str | None = None
    origin: str
    conversation_id: str | None = None
    session_id: str | None = None
    parent_call_id: str | None = None
    workflow_run_id: str | None = None
    workflow_step: str | None = None
    provider: str
    model: str
    streamed: bool
    parameters: dict[str, Any] = {}
    tags: dict[str, Any] = {}
    lane: str | None = None
    team_id: int = FIRST_TEAM


class UsageRow(AttemptRow, kw_only=True):
    """An attempt that has ended. Tokens None are not known; what nobody can be charged for costs an explicit zero."""

    is_final: bool
    calls: int | None = 1
    finished_at: datetime
    served_model: str | None = None
    status: str
    error_kind: str | None = None
    error_message: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    cache_write_1h_tokens: int | None = None
    reasoning_tokens: int | None = None
    images: int | None = None
    reported_nano_usd: int | None = None
    usage_source: str
    cost_nano_usd: int | None = None
    cost_status: str
    fees_nano_usd: int = 0
    service_tier: str = ""
    usage_details: dict[str, Any] | None = None
    dropped_fields: str = ""
    price_id: str | None = None
    saved_nano_usd: int | None = None
    cache: str = "none"
    execution_time_ms: int | None = None
    first_token_ms: int | None = None
    chunks: int | None = None
    finish_reason: str | None = None
    batch_id: str | None = None
    change_seq: int = 0  # given when the row is written

    def to_columns(self) -> dict[str, Any]:
        """The row as the database takes it."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "UsageRow":
        """A row of the spool, of this version or an earlier one: columns that it does not have hold their defaults."""
        return convert(record, cls)


REQUIRED = frozenset(field.name for field in fields(UsageRow) if field.default is NODEFAULT)


def build_blank_columns() -> dict[str, Any]:
    """Every column but the change number, with its default; None where a row has to say something."""
    defaults = {field.name: None if field.default is NODEFAULT else field.default for field in fields(UsageRow)}
    del defaults["change_seq"]
    return defaults | {"parameters": {}, "tags": {}}


def check_columns(names: Collection[str]) -> None:
    """KeyError unless rows of these columns, the change number aside, are whole and have no others."""
    if wrong := (REQUIRED - set(names)) | (set(names) - set(UsageRow.__struct_fields__)):
        raise KeyError(f"columns of usage_logs: {', '.join(sorted(wrong))}")


def build_final_condition(call_id: Any) -> ColumnElement[bool]:
    """The condition for the row that ends a call, by its id or a column that holds it: the one its figures are."""
    condition: ColumnElement[bool] = (usage_logs.c.call_id == call_id) & usage_logs.c.is_final
    return condition


def build_any_final_condition(call_ids: Collection[str]) -> ColumnElement[bool]:
    """The condition for the rows that end the calls with these ids."""
    return usage_logs.c.call_id.in_(call_ids) & usage_logs.c.is_final
