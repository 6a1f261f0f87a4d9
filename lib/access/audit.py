"""The audit log: who changed what, when, from where. Written in the transaction of the change itself, so neither stands
alone; afterwards the database refuses to change an entry, and to delete one that is younger than 29 days.

Reading it is for super-admins, and of what concerns a team for its administrators. The export is what the filter finds,
newest first; text that a spreadsheet would run as a formula gets a leading apostrophe.
"""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, insert, or_, select, true

from lib.access.permissions import Actor
from lib.clock import make_id, utc_now
from lib.db.engine import Store
from lib.db.tables import ALL_TEAMS, audit_log
from lib.files.cells import neutralise

PAGE_SIZE = 25
_LONGEST_PLACE = 80
_A = audit_log.c
_COLUMNS = ("at", "user_name", "came_from", "action", "subject", "detail", "user_id", "id", "team_id")


def record(
    connection: Connection, actor: Actor, action: str, subject: str, *, of_team: int | None = None, **detail: Any
) -> None:
    """Note a change; `detail` is JSON and never holds a secret.

    `of_team` is the team of what was changed. Else it is the actor's own, and of a super-admin's deeds nobody's:
    a team's administrators read what concerns their team.
    """
    if of_team is None:
        of_team = ALL_TEAMS if actor.sees_every_team else max(actor.team_id, ALL_TEAMS)
    connection.execute(
        insert(audit_log).values(
            id=make_id(),
            at=utc_now(),
            user_id=actor.user_id,
            user_name=actor.name,
            came_from=_normalise_origin(actor.came_from),
            action=action,
            subject=subject[:200],
            detail=detail,
            team_id=of_team,
        )
    )


@dataclass(frozen=True)
class AuditEntry:
    """One line of the audit log."""

    id: str
    at: datetime
    user_id: str | None
    user_name: str
    came_from: str | None
    action: str
    subject: str
    detail: dict[str, Any]
    team_id: int  # that it concerns; 0: the installation


@dataclass(frozen=True)
class AuditCriteria:
    """What to search the log for; an empty field leaves nothing out. `text` is any part of the subject; `since` is
    included, `until` is not.
    """

    users: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()
    teams: tuple[int, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    text: str = ""


@dataclass(frozen=True)
class AuditPage:
    """One page of entries, newest first; `count` is the number of entries on all `pages`."""

    entries: list[AuditEntry]
    count: int
    page: int
    pages: int


@dataclass(frozen=True)
class AuditOptions:
    """User names and actions that stand in the log, each once, sorted."""

    users: list[str] = field(default_factory=list)
    actions: list[str] = field(default_factory=list)


class Audit:
    """Reads the log."""

    def __init__(self, store: Store, batch: int = 1_000) -> None:
        """`batch`: entries that an export reads at a time."""
        self._store = store
        self._batch = batch

    def page(self, actor: Actor, criteria: AuditCriteria, page: int = 1, size: int = PAGE_SIZE) -> AuditPage:
        """Read a page of the entries that meet the criteria; a number past the end gives the last page."""
        conditions = [_filter_readable(actor), *_build_conditions(criteria)]
        with self._store.read() as connection:
            count = connection.scalar(select(func.count()).select_from(audit_log).where(*conditions)) or 0
            pages = max(1, -(-count // size))
            page = min(max(page, 1), pages)
            query = select(audit_log).where(*conditions).order_by(_A.at.desc(), _A.id.desc())
            rows = connection.execute(query.limit(size).offset((page - 1) * size)).mappings().all()
        return AuditPage([AuditEntry(**row) for row in rows], count, page, pages)

    def options(self, actor: Actor) -> AuditOptions:
        """List the user names and actions that the log can be filtered by."""
        readable = _filter_readable(actor)
        with self._store.read() as connection:
            users, actions = (
                list(connection.scalars(select(column).where(readable).distinct().order_by(column)))
                for column in (_A.user_name, _A.action)
            )
        return AuditOptions(users, actions)

    def note_export(self, actor: Actor, action: str, form: str, **detail: Any) -> None:
        """Note that the actor takes figures away as a file: an export that has no transaction of its own."""
        with self._store.write() as connection:
            record(connection, actor, action, form, **detail)

    def export_csv(self, actor: Actor, criteria: AuditCriteria) -> Iterator[bytes]:
        """Yield the entries that meet the criteria as CSV, in pieces; the export is itself noted in the log first."""
        conditions = [_filter_readable(actor), *_build_conditions(criteria)]
        with self._store.write() as connection:
            rows = connection.scalar(select(func.count()).select_from(audit_log).where(*conditions)) or 0
            record(connection, actor, "audit.export", "audit log", rows=rows)
        return self._write_lines(conditions)

    def _write_lines(self, conditions: list[ColumnElement[bool]]) -> Iterator[bytes]:
        yield _write_csv([_COLUMNS])
        after: list[ColumnElement[bool]] = []
        while True:
            query = select(audit_log).where(*conditions, *after).order_by(_A.at.desc(), _A.id.desc())
            with self._store.read() as connection:
                rows = connection.execute(query.limit(self._batch)).mappings().all()
            yield _write_csv([[_format_cell(row[name]) for name in _COLUMNS] for row in rows])
            if len(rows) < self._batch:
                return
            oldest = rows[-1]
            after = [_A.at <= oldest["at"], or_(_A.at < oldest["at"], _A.id < oldest["id"])]


def _normalise_origin(came_from: str | None) -> str | None:
    """Shorten an origin for storing; an IPv4 address that a dual-stack socket wrote as IPv6 becomes IPv4 again."""
    return came_from and came_from.replace(" ::ffff:", " ")[:_LONGEST_PLACE]


def _filter_readable(actor: Actor) -> ColumnElement[bool]:
    """Entries that the actor may read: all, or those of the team that they administer; raises PermissionDenied."""
    actor.require_team_administrator(actor.team_id, "read the audit log")
    return true() if actor.sees_every_team else _A.team_id == actor.team_id


def _build_conditions(criteria: AuditCriteria) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if criteria.users:
        conditions.append(_A.user_name.in_(criteria.users))
    if criteria.actions:
        conditions.append(_A.action.in_(criteria.actions))
    if criteria.teams:
        conditions.append(_A.team_id.in_(criteria.teams))
    if criteria.text.strip():
        conditions.append(_A.subject.icontains(criteria.text.strip(), autoescape=True))
    if criteria.since is not None:
        conditions.append(_A.at >= criteria.since)
    if criteria.until is not None:
        conditions.append(_A.at < criteria.until)
    return conditions


def _format_cell(value: Any) -> str:
    text = value.isoformat() if isinstance(value, datetime) else value
    text = "" if text is None else text if isinstance(text, str) else json.dumps(text, ensure_ascii=False)
    return neutralise(text)


def _write_csv(rows: list[Any]) -> bytes:
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerows(rows)
    return buffer.getvalue().encode("utf-8", "replace")
