"""The audit log: who changed what, when. Written in the transaction of the change itself, so neither stands alone."""

from typing import Any

from sqlalchemy import Connection, insert

from lib.access.permissions import Actor
from lib.clock import new_id, utc_now
from lib.db.tables import audit_log


def record(connection: Connection, actor: Actor, action: str, subject: str, **detail: Any) -> None:
    """Note a change; `detail` is JSON and never holds a secret."""
    connection.execute(
        insert(audit_log).values(
            id=new_id(),
            at=utc_now(),
            user_id=actor.user_id,
            user_name=actor.name,
            action=action,
            subject=subject[:200],
            detail=detail,
        )
    )
