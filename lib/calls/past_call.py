"""A user's own call, read back from the ledger."""

from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, Table, and_, select

from lib.access.permissions import Actor
from lib.calls.live_call import CallView
from lib.db.engine import Store
from lib.db.tables import open_calls, usage_logs, usage_payloads
from lib.errors import NotFound
from lib.ledger.content_policy import read_stored_messages
from lib.ledger.kept_messages import restore_request
from lib.ledger.recent_calls import find_recent
from lib.ledger.usage_row import build_final_condition


class PastCalls:
    """Reads calls back for their owners: the owner stands in every statement."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def view(self, actor: Actor, call_id: str) -> CallView:
        """The final attempt of a call of the actor's; NotFound otherwise."""
        return find_recent(call_id, partial(self._view, actor, call_id))

    def _view(self, actor: Actor, call_id: str) -> CallView:
        ended = (
            select(usage_logs, usage_payloads.c.response_text, usage_payloads.c.request, usage_payloads.c.response)
            .add_columns(usage_payloads.c.messages_id)
            .outerjoin(usage_payloads, usage_payloads.c.id == usage_logs.c.id)
            .where(build_final_condition(call_id), _is_own(actor, usage_logs))
        )
        running = select(open_calls).where(open_calls.c.call_id == call_id, _is_own(actor, open_calls))
        with self._store.read() as connection:
            row = connection.execute(ended).mappings().first() or connection.execute(running).mappings().first()
            stored = row and row.get("request")
            if row is not None and row.get("messages_id") is not None:
                stored = restore_request(connection, row)
        if row is None:
            raise NotFound("There is no such call.", "It does not exist, or it belongs to somebody else.")
        return _view(row, read_stored_messages(stored))


def _is_own(actor: Actor, table: Table) -> ColumnElement[bool]:
    """Calls that the actor made; with a key, in the key's team."""
    is_own = table.c.user_id == actor.user_id
    return is_own if actor.key is None else and_(is_own, table.c.team_id == actor.team_id)


def _view(row: RowMapping, messages: list[dict[str, Any]]) -> CallView:
    def get(name: str, default: Any = None) -> Any:
        return row.get(name, default)

    return CallView(
        call_id=row["call_id"],
        log_id=row["id"],
        status=get("status", "running"),
        started_at=row["started_at"],
        provider=row["provider"],
        model=row["model"],
        configuration_id=row["configuration_id"],
        text=get("response_text") or "",
        reasoning=(get("response") or {}).get("reasoning", ""),
        messages=messages,
        parameters=row["parameters"] or {},
        prompt_tokens=get("prompt_tokens"),
        completion_tokens=get("completion_tokens"),
        usage_source=get("usage_source", "none"),
        cost_nano_usd=get("cost_nano_usd"),
        cost_status=get("cost_status", "unpriced"),
        execution_time_ms=get("execution_time_ms"),
        first_token_ms=get("first_token_ms"),
        chunks=get("chunks") or 0,
        finish_reason=get("finish_reason"),
        served_model=get("served_model"),
        error_kind=get("error_kind"),
        error_message=get("error_message"),
        attempt=row["attempt"],
        tool_calls=tuple((get("response") or {}).get("tool_calls", ())),
        tags=row["tags"] or {},
        cache_read_tokens=get("cache_read_tokens") or 0,
        reasoning_tokens=get("reasoning_tokens") or 0,
        cache=get("cache", "none"),
        saved_nano_usd=get("saved_nano_usd"),
    )
