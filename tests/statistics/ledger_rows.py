"""Rows of a ledger for tests: whatever is not named is an ordinary priced call."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import insert, update

from lib.access.permissions import Role, make_actor
from lib.clock import make_id
from lib.db.engine import Store
from lib.db.tables import ledger_clock, usage_logs
from lib.ledger.closing import take_sequence

AMIRA = make_actor("00000000-0000-7000-8000-00000000000a", "amira", Role.SUPER_ADMIN)
NOON = datetime(2026, 10, 22, 12, tzinfo=UTC)


def call(started_at: datetime = NOON, **more: Any) -> dict[str, Any]:
    """One row of `usage_logs` without its change number."""
    row = {
        "id": make_id(), "call_id": make_id(), "attempt": 1, "is_final": True,
        "started_at": started_at, "finished_at": started_at, "app": "tests", "user_id": AMIRA.user_id,
        "configuration_id": None, "origin": "playground", "provider": "openai", "model": "gpt-5.1", "streamed": True,
        "parameters": {}, "tags": {}, "status": "ok", "error_kind": None,
        "usage_source": "provider", "cost_status": "priced",
        "prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120, "cost_nano_usd": 1_000_000,
        "execution_time_ms": 1000, "first_token_ms": 200, "cache": "none", "saved_nano_usd": None, "batch_id": None,
    }  # fmt: skip
    return row | more


def write(store: Store, *rows: dict[str, Any]) -> None:
    """Append rows, as every writer does: with change numbers taken in the same transaction."""
    with store.write() as connection:
        first = take_sequence(connection, len(rows))
        connection.execute(insert(usage_logs), [row | {"change_seq": first + n} for n, row in enumerate(rows)])


def change(store: Store, log_id: str, **values: Any) -> None:
    """Change a row, raising its change number."""
    with store.write() as connection:
        values["change_seq"] = take_sequence(connection, 1)
        connection.execute(update(usage_logs).where(usage_logs.c.id == log_id).values(**values))


def raise_epoch(store: Store) -> None:
    """Say that rows have left."""
    with store.write() as connection:
        connection.execute(update(ledger_clock).values(epoch=ledger_clock.c.epoch + 1))
