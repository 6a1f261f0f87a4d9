"""Ledger rows made by hand, for what reads them."""

import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import insert

from lib.access.permissions import Actor, Role, make_actor
from lib.clock import make_id, make_id_at, utc_now
from lib.db.engine import Store
from lib.db.tables import open_calls, usage_logs, usage_payloads, users
from lib.ledger.closing import take_sequence

AMIRA = make_actor("00000000-0000-7000-8000-00000000000a", "amira", Role.SUPER_ADMIN)
JONAS = make_actor("00000000-0000-7000-8000-00000000000b", "jonas", Role.DEVELOPER)
LI = Actor("00000000-0000-7000-8000-00000000000c", "li-wei", Role.ADMINISTRATOR)  # without any permission
NOBODY = Actor(None, "nobody", Role.ADMINISTRATOR)

_ATTEMPT = {
    **{"attempt": 1, "app": "playground", "origin": "playground", "provider": "openai", "model": "gpt-5.1"},
    **{"streamed": True, "parameters": {"temperature": 0.2}, "tags": {}},
}
_ENDED = {
    **{"is_final": True, "status": "ok", "usage_source": "provider", "cost_nano_usd": 1_500_000},
    **{"cost_status": "priced", "price_id": "p1", "prompt_tokens": 120, "completion_tokens": 30, "total_tokens": 150},
    **{"execution_time_ms": 840, "first_token_ms": 210, "chunks": 12, "finish_reason": "stop", "cache": "none"},
}
_WORDS = ("prompt_text", "response_text", "request", "response")
_OPTIONAL = {name: None for name in ("served_model", "error_kind", "error_message", "batch_id")}


def log(store: Store, user: Actor = AMIRA, ago: float = 60, **values: Any) -> str:
    """An ended attempt that began `ago` seconds ago; the id of its row."""
    (log_id,) = log_all(store, [{"user_id": user.user_id, "ago": ago, **values}])
    return log_id


def log_all(store: Store, rows: Iterable[dict[str, Any]]) -> list[str]:
    """Many ended attempts in one transaction."""
    logs, payloads, now = [], [], utc_now()
    for given in rows:
        values = dict(given)
        words = {name: values.pop(name) for name in _WORDS if name in values}
        at = values.pop("at", None) or now - timedelta(seconds=values.pop("ago", 60))
        row = {"id": make_id(), "call_id": make_id(), "started_at": at, "finished_at": at, **_ATTEMPT, **_ENDED}
        logs.append({**row, **_OPTIONAL, **values})
        if words:
            payloads.append({**dict.fromkeys(_WORDS), "id": logs[-1]["id"], **words})
    with store.write() as connection:
        first = take_sequence(connection, len(logs))
        connection.execute(insert(usage_logs), [{**row, "change_seq": first + n} for n, row in enumerate(logs)])
        if payloads:
            connection.execute(insert(usage_payloads), payloads)
    return [row["id"] for row in logs]


def opened(store: Store, user: Actor = AMIRA, **values: Any) -> str:
    """A call that runs; the id of its row."""
    row = {"id": make_id(), "call_id": make_id(), "started_at": utc_now(), "user_id": user.user_id, "owner": make_id()}
    with store.write() as connection:
        connection.execute(insert(open_calls), {**row, **_ATTEMPT, "holds": [], **values})
    return str({**row, **values}["id"])


def account(store: Store, actor: Actor) -> None:
    """A user row for an actor."""
    row = {"id": actor.user_id, "name": actor.name, "name_key": actor.name, "password_hash": "", "is_active": True}
    with store.write() as connection:
        connection.execute(insert(users), {**row, "role": actor.role.value, "created_at": utc_now()})


def many(store: Store, count: int, seed: int = 1, days: int = 30) -> None:
    """A busy team's ledger: `count` attempts over `days` until now."""
    draw, now = random.Random(seed), datetime.now(UTC)
    for start in range(0, count, 5000):
        rows = []
        for _ in range(start, min(start + 5000, count)):
            at = now - timedelta(seconds=draw.random() * days * 86_400)
            rows.append(
                {
                    "id": make_id_at(int(at.timestamp() * 1000), draw.getrandbits(12), draw.getrandbits(62)),
                    "at": at,
                    "user_id": draw.choice((AMIRA, JONAS, LI)).user_id,
                    "provider": draw.choice(("openai", "anthropic", "groq")),
                    "status": draw.choice(("ok",) * 18 + ("error", "timeout")),
                    "is_final": draw.random() > 0.05,
                    "cost_nano_usd": draw.choice((None, 0, 41_000, 7_800_000)),
                    "prompt_text": f"Question {draw.random()}",
                }
            )
        log_all(store, rows)
