"""The audit log: who changed what, when, from where. Written in the transaction of the change itself, so neither stands
alone; afterwards the database refuses to change an entry, and to delete one that is younger than 29 days.

Reading it is for super-admins. The export is what the filter finds, newest first; text that a spreadsheet would run as
a formula gets a leading apostrophe.
"""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, insert, or_, select

from lib.access.permissions import Actor
from lib.clock import new_id, utc_now
from lib.db.engine import Store
from lib.db.tables import audit_log
from lib.files.cells import neutralise

PAGE_SIZE = 25
_LONGEST_PLACE = 80
_BATCH = 1_000
_A = audit_log.c
_COLUMNS = ("at", "user_name", "came_from", "action", "subject", "detail", "user_id", "id")


def record(connection: Connection, actor: Actor, action: str, subject: str, **detail: Any) -> None:
    """Note a change; `detail` is JSON and never holds a secret."""
    connection.execute(
        insert(audit_log).values(
            id=new_id(),
            at=utc_now(),
            user_id=actor.user_id,
            user_name=actor.name,
            came_from=_place(actor.came_from),
            action=action,
            subject=subject[:200],
            detail=detail,
        )
    )


@dataclass(frozen=True)
class Entry:
    """A line of the log."""

    id: str
    at: datetime
    user_id: str | None
    user_name: str
    came_from: str | None
    action: str
    subject: str
    detail: dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """What to look for; empty is everything. `text` is any part of the subject; `since` is included, `until` is not."""

    users: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    text: str = ""


@dataclass(frozen=True)
class Page:
    """Some entries, newest first, and how many there are."""

    entries: list[Entry]
    count: int
    page: int
    pages: int


@dataclass(frozen=True)
class Options:
    """Names and actions that stand in the log."""

    users: list[str] = field(default_factory=list)
    actions: list[str] = field(default_factory=list)


class Audit:
    """Reads the log."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def page(self, actor: Actor, asked: Asked, page: int = 1, size: int = PAGE_SIZE) -> Page:
        """A page of what was asked for; a number past the end gives the last one."""
        _require(actor)
        where = _where(asked)
        with self._store.read() as connection:
            count = connection.scalar(select(func.count()).select_from(audit_log).where(*where)) or 0
            pages = max(1, -(-count // size))
            page = min(max(page, 1), pages)
            query = select(audit_log).where(*where).order_by(_A.at.desc(), _A.id.desc())
            rows = connection.execute(query.limit(size).offset((page - 1) * size)).mappings().all()
        return Page([Entry(**row) for row in rows], count, page, pages)

    def options(self, actor: Actor) -> Options:
        """What there is to filter by."""
        _require(actor)
        with self._store.read() as connection:
            users, actions = (
                list(connection.scalars(select(column).distinct().order_by(column)))
                for column in (_A.user_name, _A.action)
            )
        return Options(users, actions)

    def note_export(self, actor: Actor, action: str, form: str, **detail: Any) -> None:
        """Note that the actor takes figures away as a file: an export that has no transaction of its own."""
        with self._store.write() as connection:
            record(connection, actor, action, form, **detail)

    def export_csv(self, actor: Actor, asked: Asked) -> Iterator[bytes]:
        """Everything that was asked for, in pieces; the export is itself noted first."""
        _require(actor)
        with self._store.write() as connection:
            rows = connection.scalar(select(func.count()).select_from(audit_log).where(*_where(asked))) or 0
            record(connection, actor, "audit.export", "audit log", rows=rows)
        return self._lines(asked)

    def _lines(self, asked: Asked) -> Iterator[bytes]:
        yield _csv([_COLUMNS])
        after: list[ColumnElement[bool]] = []
        while True:
            query = select(audit_log).where(*_where(asked), *after).order_by(_A.at.desc(), _A.id.desc())
            with self._store.read() as connection:
                rows = connection.execute(query.limit(_BATCH)).mappings().all()
            yield _csv([[_cell(row[name]) for name in _COLUMNS] for row in rows])
            if len(rows) < _BATCH:
                return
            at, last = rows[-1]["at"], rows[-1]["id"]
            after = [_A.at <= at, or_(_A.at < at, _A.id < last)]


def _place(came_from: str | None) -> str | None:
    """As it is stored: an IPv4 address is written as one, also where a socket of both kinds gave it."""
    return came_from and came_from.replace(" ::ffff:", " ")[:_LONGEST_PLACE]


def _require(actor: Actor) -> None:
    actor.require_super_admin("read the audit log")


def _where(asked: Asked) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if asked.users:
        found.append(_A.user_name.in_(asked.users))
    if asked.actions:
        found.append(_A.action.in_(asked.actions))
    if asked.text.strip():
        found.append(_A.subject.icontains(asked.text.strip(), autoescape=True))
    if asked.since is not None:
        found.append(_A.at >= asked.since)
    if asked.until is not None:
        found.append(_A.at < asked.until)
    return found


def _cell(value: Any) -> str:
    text = value.isoformat() if isinstance(value, datetime) else value
    text = "" if text is None else text if isinstance(text, str) else json.dumps(text, ensure_ascii=False)
    return neutralise(text)


def _csv(rows: list[Any]) -> bytes:
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerows(rows)
    return buffer.getvalue().encode("utf-8", "replace")
