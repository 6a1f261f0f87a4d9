"""How long things are kept, in days for each class, and the job that deletes what is older. The default keeps all.

Words are the prompts and answers in `usage_payloads`; calls are the rows of `usage_logs`, with their words and custom
metrics; metrics may go before them; then the audit log; then sessions and failed sign-ins. A day is a day in UTC, so
rows leave once a day. Rows are deleted some at a time, each batch its own short transaction, so calls are written in
between. When calls leave, the ledger's epoch is raised once, at the end: copies start over; a mark in the first batch
sees to it that a killed run is made up for. On SQLite what is deleted is overwritten.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, delete, func, select, text, update

from lib.access import audit
from lib.access.permissions import OPERATOR, Actor
from lib.clock import utc_now
from lib.db import installation
from lib.db.engine import Store
from lib.db.tables import (
    audit_log,
    cache_decisions,
    cache_entries,
    custom_metrics,
    ledger_clock,
    login_failures,
    sessions,
    usage_logs,
    usage_payloads,
)
from lib.errors import Conflict, InvalidInput
from lib.ledger.closing import take_sequence
from lib.ledger.kept_messages import drop_unused

_POLICY = "retention.days"
_LAST = "retention.last_run"
_UNFINISHED = "retention.unfinished"
_PAUSE_S = 0.02
LONGEST_DAYS = 36_500
SHORTEST_AUDIT_DAYS = 30
_WHAT = "change what is kept"


@dataclass(frozen=True)
class Days:
    """Days for which each class is kept; None keeps it for good."""

    words: int | None = None
    calls: int | None = None
    metrics: int | None = None
    audit: int | None = None
    sign_ins: int | None = None


@dataclass(frozen=True)
class Deleted:
    """Rows of each class that went, or would go."""

    words: int = 0
    calls: int = 0
    metrics: int = 0
    audit: int = 0
    sign_ins: int = 0

    @property
    def any(self) -> bool:
        """Whether any row went."""
        return any(asdict(self).values())


@dataclass(frozen=True)
class LastRun:
    """When a run was, who made it, and the rows that went."""

    at: datetime
    by: str
    deleted: Deleted


class Retention:
    """Reads and changes how long things are kept, and deletes what is older; for super-admins and the job."""

    def __init__(self, store: Store, batch: int = 1_000) -> None:
        """`batch`: rows that are deleted at a time."""
        self._store = store
        self._batch = batch

    def days(self, actor: Actor) -> Days:
        """Read for how many days each class is kept."""
        actor.require_super_admin(_WHAT)
        with self._store.read() as connection:
            return _read_days(connection)

    def change(self, actor: Actor, days: Days, *, confirmed_calls: int = 0) -> None:
        """Change the days; raises Conflict when more than `confirmed_calls` ledger rows would be deleted by it."""
        actor.require_super_admin(_WHAT)
        _check(days)
        with self._store.write() as connection:
            current = _read_days(connection)
            going = self._count_rows(connection, Days(calls=days.calls)).calls if days.calls != current.calls else 0
            if going > confirmed_calls:
                raise Conflict(
                    f"This deletes {going:,} rows of the ledger.",
                    f"They are older than {days.calls} days. They leave every figure, and can't be brought back.",
                    "Confirm their number.",
                )
            installation.write(connection, _POLICY, asdict(days))
            audit.record(connection, actor, "retention.change", "retention", **asdict(days))

    def preview(self, actor: Actor, days: Days | None = None) -> Deleted:
        """Count what a run would delete now, by the days in force or by others."""
        actor.require_super_admin(_WHAT)
        if days is not None:
            _check(days)
        with self._store.read() as connection:
            return self._count_rows(connection, days or _read_days(connection))

    def last_run(self, actor: Actor) -> LastRun | None:
        """Read the newest run; None before the first."""
        actor.require_super_admin(_WHAT)
        with self._store.read() as connection:
            record = installation.read(connection, _LAST)
        if record is None:
            return None
        return LastRun(datetime.fromisoformat(record["at"]), record["by"], Deleted(**record["deleted"]))

    def run(self, actor: Actor, go_on: Callable[[], bool] = lambda: True) -> Deleted:
        """Delete what is older than its days and return the counts. Stops after a batch when `go_on` says False."""
        actor.require_super_admin(_WHAT)
        with self._store.read() as connection:
            days = _read_days(connection)
        gone: dict[str, int] = {}
        for name, ids, tables in _list_classes(days):
            gone[name] = gone.get(name, 0) + self._delete(ids, tables, go_on)
        deleted = Deleted(**gone)
        is_complete = go_on()
        with self._store.write() as connection:
            if installation.read(connection, _UNFINISHED):
                take_sequence(connection, 1)
                raised = update(ledger_clock).where(ledger_clock.c.id == 1).values(epoch=ledger_clock.c.epoch + 1)
                connection.execute(raised)
                installation.forget(connection, _UNFINISHED)
            if deleted.any:
                audit.record(connection, actor, "retention.run", "retention", **asdict(deleted))
            last = {
                "at": utc_now().isoformat(),
                "by": actor.name,
                "deleted": asdict(deleted),
                "for": _make_mark(days) if is_complete else "",
            }
            installation.write(connection, _LAST, last)
        if deleted.any:
            self._empty_log()
        return deleted

    def run_if_due(self, go_on: Callable[[], bool]) -> Deleted | None:
        """Run once a day, at once after a change or a killed run; None when nothing was to do. This is the job."""
        with self._store.read() as connection:
            last = installation.read(connection, _LAST) or {}
            days = _read_days(connection)
            unfinished = installation.read(connection, _UNFINISHED)
        if not unfinished and (days == Days() or last.get("for") == _make_mark(days)):
            return None
        return self.run(OPERATOR.with_origin("job"), go_on)

    def _count_rows(self, connection: Connection, days: Days) -> Deleted:
        counts: dict[str, int] = {}
        for name, ids, _ in _list_classes(days):
            number = connection.scalar(select(func.count()).select_from(ids.subquery())) or 0
            counts[name] = counts.get(name, 0) + number
        return Deleted(**counts)

    def _delete(self, ids: Select[Any], keys: Sequence[ColumnElement[Any]], go_on: Callable[[], bool]) -> int:
        """Delete, batch by batch, the rows of every key's table that a query names; return how many it named."""
        count = 0
        while go_on():
            with self._store.write() as connection:
                if self._store.is_sqlite:
                    connection.execute(text("PRAGMA secure_delete=ON"))
                row_ids = connection.scalars(ids.limit(self._batch)).all()
                if usage_logs.c.id in set(keys) and row_ids:
                    installation.write(connection, _UNFINISHED, True)
                words = select(usage_payloads.c.messages_id).where(usage_payloads.c.id.in_(row_ids))
                is_of_words = usage_payloads.c.id in set(keys)
                chains = set(connection.scalars(words)) - {None} if is_of_words else set[str]()
                for key in keys:
                    connection.execute(delete(key.table).where(key.in_(row_ids)))
                drop_unused(connection, chains)
            count += len(row_ids)
            if len(row_ids) < self._batch:
                break
            time.sleep(_PAUSE_S)  # others write in between
        return count

    def _empty_log(self) -> None:
        """Fold SQLite's write-ahead log, which holds pages as they were, into the file."""
        if self._store.is_sqlite:
            with self._store.engine.connect() as connection:
                autocommit = connection.execution_options(isolation_level="AUTOCOMMIT")
                autocommit.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))


def _list_classes(days: Days) -> list[tuple[str, Select[Any], Sequence[ColumnElement[Any]]]]:
    """List each class with the query for ids of its rows that are too old, and the columns they are deleted by."""
    logs = usage_logs.c
    words = usage_payloads.c
    classes: list[tuple[str, Select[Any], Sequence[ColumnElement[Any]]]] = []
    if days.words is not None:
        old = select(words.id).join(usage_logs, logs.id == words.id).where(logs.started_at < _compute_limit(days.words))
        classes.append(("words", old, (words.id,)))
        for table in (cache_entries, cache_decisions):
            limit = _compute_limit(days.words)
            classes.append(("words", select(table.c.id).where(table.c.created_at < limit), (table.c.id,)))
    if days.calls is not None:
        classes.append(
            ("calls", select(logs.id).where(logs.started_at < _compute_limit(days.calls)), (words.id, logs.id))
        )
    if (metric_days := min((n for n in (days.metrics, days.calls) if n is not None), default=None)) is not None:
        noted = custom_metrics.c
        classes.append(("metrics", select(noted.id).where(noted.started_at < _compute_limit(metric_days)), (noted.id,)))
    if days.audit is not None:
        classes.append(
            ("audit", select(audit_log.c.id).where(audit_log.c.at < _compute_limit(days.audit)), (audit_log.c.id,))
        )
    if days.sign_ins is not None:
        limit = _compute_limit(days.sign_ins)
        hashes = select(sessions.c.token_hash).where(sessions.c.last_seen_at < limit)
        subjects = select(login_failures.c.subject).where(login_failures.c.last_failed_at < limit)
        classes.append(("sign_ins", hashes, (sessions.c.token_hash,)))
        classes.append(("sign_ins", subjects, (login_failures.c.subject,)))
    return classes


def _compute_limit(days: int) -> datetime:
    """Compute the first moment that is kept: midnight in UTC, so many days ago."""
    return utc_now().replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=days)


def _read_days(connection: Connection) -> Days:
    return Days(**(installation.read(connection, _POLICY) or {}))


def _make_mark(days: Days) -> str:
    return f"{days} on {utc_now():%Y-%m-%d}"


def _check(days: Days) -> None:
    for name, number in asdict(days).items():
        least = SHORTEST_AUDIT_DAYS if name == "audit" else 1
        if number is not None and not least <= number <= LONGEST_DAYS:
            why = "The audit log tells who changed what." if name == "audit" else ""
            fix = f"Choose {least} to {LONGEST_DAYS:,} days, or leave it empty to keep all."
            raise InvalidInput(f"{number:,} days can't be used.", why, fix, field=name)
