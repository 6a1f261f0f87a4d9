"""What the activity log shows: a line, a page, one call in full, the choices of its filters."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping

from lib.access.permissions import Actor
from lib.db.tables import usage_logs
from lib.ledger.content_policy import hide_words, read_stored_messages, read_stored_policy


@dataclass(frozen=True)
class ActivityRow:
    """A line of the log. `status` is `running` while there is no result; unknown is None."""

    id: str
    call_id: str
    attempt: int
    started_at: datetime
    status: str
    provider: str
    model: str
    app: str
    user_id: str | None
    user_name: str | None
    origin: str
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    cost_nano_usd: int | None = None
    cost_status: str = "unpriced"
    usage_source: str = "none"
    execution_time_ms: int | None = None
    error_kind: str | None = None
    call_time_ms: float | None = None  # of a retried call in a page: from its first attempt's start, waits included


@dataclass(frozen=True)
class ActivityPage:
    """A page and what all pages sum to: calls that have ended, and over all their attempts the cost that is known."""

    rows: list[ActivityRow]
    running: int
    calls: int
    cost_nano_usd: int | None
    unpriced: int
    page: int
    pages: int
    size: int


@dataclass(frozen=True)
class CallDetail:
    """One attempt in full. `log` has every column of `usage_logs`. Words that the actor may not read are None.

    Those inside of `log` (stop words, descriptions of tools, schemas, tags, what a provider said) are "[not shown]".
    """

    log: Mapping[str, Any]
    user_name: str | None
    attempts: list[ActivityRow]
    is_own: bool
    reads_content: bool
    messages: list[dict[str, Any]] | None
    prompt_text: str | None
    response_text: str | None
    response: Mapping[str, Any]
    api_key_name: str | None = None
    content_policy: str | None = None  # under which the words were stored; None when nothing of them is there

    @property
    def id(self) -> str:
        """The id of the row."""
        return str(self.log["id"])

    @property
    def status(self) -> str:
        """One of the statuses, `running` included."""
        return str(self.log["status"])


@dataclass(frozen=True)
class ActivityOptions:
    """What there is to filter by: names, and users as id → name (None when the user is gone)."""

    providers: list[str]
    models: list[str]
    apps: list[str]
    origins: list[str]
    users: dict[str, str | None]
    service_tiers: list[str]
    caches: list[str]


LINE = tuple(field.name for field in fields(ActivityRow) if field.name not in ("user_name", "call_time_ms"))


def build_activity_row(row: RowMapping) -> ActivityRow:
    """The line of a row of `usage_logs`, or of one of `open_calls`, which has no status yet."""
    values = {name: row[name] for name in LINE if name in row}
    return ActivityRow(**({"status": "running"} | values), user_name=row["user_name"])


def may_read(actor: Actor, row: Mapping[Any, Any]) -> bool:
    """Whether the words of a row are for the actor: in prompt and answer, parameters, tags and errors alike."""
    is_in_reach = actor.key is None or row["app"] == actor.key.app
    return is_in_reach and actor.reads_content_of(row["user_id"])


def build_call_detail(actor: Actor, row: RowMapping, request: Any, attempts: list[ActivityRow]) -> CallDetail:
    """One attempt in full, without the words where the actor may not read them; `request` as it was stored."""
    reads = may_read(actor, row)
    log = {name: row.get(name) for name in (column.name for column in usage_logs.columns)}
    if not reads:
        log |= hide_words(row)
    return CallDetail(
        log=log | {"status": row.get("status", "running")},
        user_name=row["user_name"],
        api_key_name=row["api_key_name"],
        attempts=attempts,
        is_own=actor.user_id is not None and row["user_id"] == actor.user_id,
        reads_content=reads,
        messages=(read_stored_messages(request) or None) if reads else None,
        content_policy=read_stored_policy(request),
        prompt_text=row.get("prompt_text") if reads else None,
        response_text=row.get("response_text") if reads else None,
        response=(row.get("response") or {}) if reads else {},
    )
