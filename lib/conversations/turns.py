"""Answers that several calls write: rounds of tools, a second try, a judge. Who makes such calls tells it here.

A message names the call that answers it, and when that call has ended the answer has (`lib.conversations.answers`).
Where another call may follow, `hold` says so before the first one ends: from then on the message stays under way, with
the process that holds it, until `release`, or until that process is gone. `follow` puts the next call in the place of
the last one, so that whoever watches or stops the answer watches and stops that; figures of the message are those of
all its calls. What the answer says is what its last call said, after the parts that were added on the way
(`add_parts`). A call that follows names the first one of the turn as its parent (`Within.parent_call_id`), so that
statistics can count questions beside calls.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, select, update

from lib.clock import utc_now
from lib.conversations.conversation import RUNNING
from lib.conversations.rows import M
from lib.db.engine import Store
from lib.db.tables import messages, processes
from lib.ledger.recovery import UNSEEN


def is_over() -> ColumnElement[bool]:
    """The condition for messages that wait for no further call: held by nobody, or by a process that is gone."""
    alive = select(processes.c.id).where(processes.c.seen_at > utc_now() - UNSEEN)
    return M.turn_process_id.is_(None) | M.turn_process_id.not_in(alive)


def hold(store: Store, message_id: str, process_id: str) -> bool:
    """Keep an answer under way beyond the end of its call; whether it still was."""
    return _change(store, message_id, turn_process_id=process_id)


def follow(store: Store, message_id: str, call_id: str) -> bool:
    """Put the next call in the place of the last one, before it starts; False when the answer is over."""
    with store.write() as connection:
        row = _lock(connection, message_id)
        if row is None or row.call_id == call_id:
            return row is not None
        earlier = [*row.earlier_call_ids, *([row.call_id] if row.call_id else [])]
        changes = {"call_id": call_id, "earlier_call_ids": earlier}
        connection.execute(update(messages).where(M.id == message_id).values(**changes))
    return True


def add_parts(store: Store, message_id: str, parts: Sequence[Mapping[str, Any]]) -> bool:
    """Add parts that come before what the next call says, such as calls of tools and their results."""
    with store.write() as connection:
        row = _lock(connection, message_id)
        if row is not None:
            changes = {"parts": [*row.parts, *map(dict, parts)]}
            connection.execute(update(messages).where(M.id == message_id).values(**changes))
    return row is not None


def release(store: Store, message_id: str) -> bool:
    """No further call follows: the answer ends as its last call does; whether it was under way."""
    return _change(store, message_id, turn_process_id=None)


def _change(store: Store, message_id: str, **changes: Any) -> bool:
    with store.write() as connection:
        query = update(messages).where(M.id == message_id, M.status == RUNNING).values(**changes)
        return connection.execute(query).rowcount > 0


def _lock(connection: Connection, message_id: str) -> Any:
    """The row of a message that is under way, for this transaction alone; None when it is not."""
    columns = (M.call_id, M.earlier_call_ids, M.parts)
    return connection.execute(select(*columns).where(M.id == message_id, M.status == RUNNING).with_for_update()).first()
