"""Messages that wait to be told to the webhook: written with what they tell, sent later, tried again with backoff.

`webhook.deliver_due` sends them. A message that failed `TRIES` times, over about fifteen hours, is given up and
kept with its last error.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, insert, select, update

from lib.clock import make_id
from lib.db.tables import installation_settings, webhook_outbox

SETTING = "webhook"
TRIES = 12
_LEASE = timedelta(minutes=2)  # while a process sends it, no other does
_FIRST_WAIT = timedelta(seconds=30)
_LONGEST_WAIT = timedelta(hours=6)
_O = webhook_outbox.c


def enqueue(connection: Connection, event: str, body: Mapping[str, Any], now: datetime) -> str | None:
    """Write a message, if there is a webhook; its id."""
    if connection.scalar(select(installation_settings.c.name).where(installation_settings.c.name == SETTING)) is None:
        return None
    row = {"id": make_id(), "event": event, "body": dict(body), "created_at": now, "attempts": 0, "due_at": now}
    connection.execute(insert(webhook_outbox), row)
    return str(row["id"])


def has_due(connection: Connection, now: datetime) -> bool:
    """Whether a message waits to be sent."""
    return connection.scalar(select(_O.id).where(_O.due_at <= now).limit(1)) is not None


def claim(connection: Connection, now: datetime, most: int, message_id: str | None = None) -> list[Any]:
    """Take messages that are due (or this one of them), so that no other process takes them while these are sent."""
    due = select(webhook_outbox).where(_O.due_at <= now).order_by(_O.due_at).limit(most)
    if message_id is not None:
        due = due.where(_O.id == message_id)
    rows = connection.execute(due.with_for_update(skip_locked=True)).all()
    if rows:
        postpone = update(webhook_outbox).where(_O.id.in_([row.id for row in rows]))
        connection.execute(postpone.values(due_at=now + _LEASE))
    return list(rows)


def note_delivery(connection: Connection, message_id: str, now: datetime) -> None:
    """The receiver took it."""
    done = {"delivered_at": now, "due_at": None, "error": None, "attempts": _O.attempts + 1}
    connection.execute(update(webhook_outbox).where(_O.id == message_id).values(**done))


def note_failure(connection: Connection, message_id: str, attempts: int, error: str, now: datetime) -> None:
    """Note that the receiver did not take a message at the `attempts`-th try, and when the next try is due.

    The wait doubles with each try, up to a limit; after the last try the message is given up.
    """
    wait = min(_FIRST_WAIT * 2 ** (attempts - 1), _LONGEST_WAIT)
    due = None if attempts >= TRIES else now + wait
    values = {"attempts": attempts, "due_at": due, "error": error[:500]}
    connection.execute(update(webhook_outbox).where(_O.id == message_id).values(**values))
