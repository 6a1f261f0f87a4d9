"""Rows of attempts as the call path makes them, for tests of the ledger."""

from typing import Any

from sqlalchemy import func, select

from lib.budgets.budget import CallFacts
from lib.clock import make_id, utc_now
from lib.db.engine import Store
from lib.db.tables import open_calls, usage_logs, usage_payloads
from lib.ledger.admission import OpeningRequest
from lib.ledger.closing import Closing
from lib.ledger.usage_row import UsageRow


def ask(row: dict[str, Any]) -> OpeningRequest:
    """Of a free call."""
    return OpeningRequest(row["id"], CallFacts(row["provider"], row["app"]), 0)


def opening(owner: str, **changes: Any) -> dict[str, Any]:
    log_id = make_id()
    row = {
        "id": log_id,
        "call_id": make_id(),
        "attempt": 1,
        "started_at": utc_now(),
        "app": "tests",
        "user_id": None,
        "api_key_id": None,
        "configuration_id": None,
        "origin": "system",
        "conversation_id": None,
        "workflow_run_id": None,
        "workflow_step": None,
        "provider": "scripted",
        "model": "echo",
        "streamed": True,
        "parameters": {},
        "tags": {},
        "owner": owner,
        "holds": [],
        "request": [{"role": "user", "content": "OpeningRequest me"}],
    }
    return row | changes


def closing(opened: dict[str, Any], status: str = "ok") -> Closing:
    row = {k: v for k, v in opened.items() if k not in ("owner", "holds", "request")}
    row |= {"is_final": True, "finished_at": utc_now(), "status": status, "usage_source": "provider"}
    row |= {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7, "cost_nano_usd": 5, "cost_status": "priced"}
    payload = {
        "prompt_text": "OpeningRequest me",
        "response_text": "Told you",
        "request": opened["request"],
        "response": {},
    }
    return Closing(UsageRow(**row), payload)


def counts(store: Store) -> tuple[int, int, int]:
    with store.read() as connection:
        tables = (open_calls, usage_logs, usage_payloads)
        return tuple(connection.scalar(select(func.count()).select_from(t)) for t in tables)  # type: ignore[return-value]
