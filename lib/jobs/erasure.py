"""Erasing a person: their words go for good, the figures of their calls stay, and it is told what may still hold words.

One command, noted in the audit log before it begins and when it is done; one that was killed is run again. First the
account closes, so that nothing new comes. Then rows go some at a time, each batch its own short transaction. What has
words of theirs is deleted (`DELETED`), or emptied where a figure hangs on it; everything else that names the person is
in `KEPT`, with a reason, and a test holds both against the tables there are. Names of tags stay: statistics are split
by them. On SQLite what is deleted is overwritten.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Table, and_, delete, func, or_, select, tuple_, update

from lib.access import audit
from lib.access.permissions import Actor, Role
from lib.clock import utc_now
from lib.db.engine import Store
from lib.db.tables import (
    access_links,
    api_keys,
    approval_grants,
    audit_log,
    cache_decisions,
    cache_entries,
    chunks,
    collections,
    conversation_files,
    conversation_summaries,
    conversations,
    custom_metrics,
    document_versions,
    documents,
    experiment_cells,
    experiment_rows,
    experiments,
    mcp_sign_ins,
    message_links,
    messages,
    metadata,
    open_calls,
    playground_panes,
    playground_runs,
    prompt_labels,
    prompt_versions,
    question_sets,
    saved_views,
    sessions,
    stored_messages,
    team_members,
    usage_logs,
    usage_payloads,
    user_preferences,
    users,
    workflow_actions,
    workflow_runs,
    workflow_steps,
    workflow_versions,
)
from lib.errors import Conflict, NotFound
from lib.knowledge.evaluation.questions import delete_sets
from lib.ledger.content_policy import sanitise_parameters

_PAUSE_S = 0.01
_BEGINNINGS = ("created_at", "started_at", "asked_at", "granted_at", "at")  # columns that say when a row was made
# Tables whose rows go: by the column that says whose they are, children first, each by its parent's.
DELETED: Sequence[tuple[Column[Any], Column[Any] | None, Column[Any] | None]] = (
    (message_links.c.owner_id, None, None),
    (stored_messages.c.owner_id, None, None),
    (messages.c.owner_id, None, None),
    (conversation_files.c.owner_id, None, None),
    (conversation_summaries.c.owner_id, None, None),
    (conversations.c.owner_id, None, None),
    (playground_panes.c.run_id, playground_runs.c.id, playground_runs.c.user_id),
    (playground_runs.c.user_id, None, None),
    (experiment_cells.c.experiment_id, experiments.c.id, experiments.c.user_id),
    (experiment_rows.c.experiment_id, experiments.c.id, experiments.c.user_id),
    (experiments.c.user_id, None, None),
    (cache_entries.c.user_id, None, None),
    (cache_decisions.c.user_id, None, None),
    (saved_views.c.user_id, None, None),
    (user_preferences.c.user_id, None, None),
    (sessions.c.user_id, None, None),
    (access_links.c.user_id, None, None),
    (mcp_sign_ins.c.user_id, None, None),
    (approval_grants.c.user_id, None, None),
    (workflow_steps.c.run_id, workflow_runs.c.id, workflow_runs.c.user_id),
    (workflow_actions.c.run_id, workflow_runs.c.id, workflow_runs.c.user_id),
)
# Tables whose rows stay without their words.
EMPTIED: Mapping[str, Mapping[str, Any]] = {
    "approvals": {"title": "", "reason": "", "comment": "", "sealed": None, "form_schema": None},
    "workflow_runs": {"inputs": {}, "output": None, "pinned": {}, "reason": ""},
    "tool_executions": {"arguments": None, "result": None, "error_message": None, "reason": ""},
    "tool_turns": {"request": None, "reason": ""},
}
# What names a person and stays, and why.
KEPT: Mapping[str, str] = {
    "api_keys": "revoked; figures name them",
    "audit_log": "who did what is not changed afterwards",
    "budgets": "money",
    "cache_blocked_pairs": "keyed hashes",
    "cache_hits": "figures",
    "collections": "one's own go; shared ones are the team's, without one's own documents",
    "custom_metrics": "numbers; texts of one's calls go",
    "documents": "one's own go",
    "evaluations": "figures",
    "mcp_servers": "the team's",
    "open_calls": "end within minutes and are emptied when they have",
    "prices": "facts",
    "prompt_versions": "the team's; the name goes",
    "question_sets": "the team's",
    "questions": "the team's",
    "studies": "figures",
    "team_members": "goes with the account",
    "tools": "the team's",
    "usage_logs": "figures; words among their parameters and errors go",
    "workflow_schedules": "the team's; they pause",
    "workflow_versions": "the team's; the name goes",
    "workflow_webhooks": "the team's; they pause",
    "workflows": "the team's",
}


@dataclass(frozen=True)
class Erased:
    """What went, by kind, and what may still hold it: copies of the database made between the two moments."""

    name: str
    counts: Mapping[str, int]
    words_since: datetime | None
    words_until: datetime
    backups: tuple[str, ...]  # those that the audit log knows of

    @property
    def backup_note(self) -> str:
        """Say in a sentence which copies may still hold the words."""
        if self.words_since is None:
            return "No copy holds words of theirs: there were none."
        span = f"between {self.words_since:%Y-%m-%d %H:%M} and {self.words_until:%Y-%m-%d %H:%M} UTC"
        known_backups = f" Known: {', '.join(self.backups)}." if self.backups else ""
        return f"Backups and copies of the database made {span} may still hold their words.{known_backups}"


class Erasure:
    """Erases people. For super-admins."""

    def __init__(self, store: Store, batch: int = 500) -> None:
        """`batch`: rows that go in one transaction."""
        self._store = store
        self._batch = batch

    def erase(self, actor: Actor, user_id: str) -> Erased:
        """Erase a person for good; Conflict for oneself and for the last super-admin."""
        actor.require_super_admin("erase people")
        if user_id == actor.user_id:
            raise Conflict("You can't erase yourself.", "", "Ask another super-admin.")
        name, since = self._close_account(actor, user_id)
        counts = {
            "calls": self._empty_calls(user_id),
            "documents": self._delete_documents(user_id),
            **{entry[0].table.name: self._delete_rows(*entry, user_id) for entry in DELETED},
            **{table: self._empty_rows(table, user_id) for table in EMPTIED},
            "texts of metrics": self._delete_metrics(user_id),
        }
        counts = {kind: count for kind, count in counts.items() if count}
        now = utc_now()
        with self._store.write() as connection:
            pseudonym = _make_pseudonym(user_id)
            connection.execute(
                update(users).where(users.c.id == user_id).values(name=pseudonym, name_key=pseudonym, password_hash="")
            )
            for table in (prompt_versions, prompt_labels, workflow_versions):
                connection.execute(update(table).where(table.c.user_name == name).values(user_name=pseudonym))
            audit.record(connection, actor, "person.erase", pseudonym, counts=counts)
            backups = self._list_backups(connection, since)
        return Erased(pseudonym, counts, since, now, backups)

    def _close_account(self, actor: Actor, user_id: str) -> tuple[str, datetime | None]:
        """Switch the account off, end its keys and memberships; its name, and since when there are words of it."""
        with self._store.write() as connection:
            person = connection.execute(
                select(users.c.name, users.c.role, users.c.created_at).where(users.c.id == user_id).with_for_update()
            ).one_or_none()
            if person is None:
                raise NotFound("There is no such user.")
            other_super_admins = (users.c.role == Role.SUPER_ADMIN, users.c.is_active, users.c.id != user_id)
            if (
                person.role == Role.SUPER_ADMIN
                and connection.scalar(select(func.count()).where(*other_super_admins)) == 0
            ):
                raise Conflict("One active super-admin has to remain.", "", "Give somebody else that role first.")
            connection.execute(update(users).where(users.c.id == user_id).values(is_active=False))
            connection.execute(delete(team_members).where(team_members.c.user_id == user_id))
            own_keys = and_(api_keys.c.user_id == user_id, api_keys.c.revoked_at.is_(None))
            connection.execute(update(api_keys).where(own_keys).values(revoked_at=utc_now()))
            since = _find_first_words(connection, user_id)
            subject = _make_pseudonym(user_id)
            began = (audit_log.c.action == "person.erase_begin", audit_log.c.subject == subject)
            details = connection.scalars(select(audit_log.c.detail).where(*began))  # of erasings that were killed
            earlier = [datetime.fromisoformat(moment) for detail in details if (moment := detail.get("words_since"))]
            since = min([*([since] if since else []), *earlier], default=None)
            audit.record(connection, actor, "person.erase_begin", subject, words_since=since and since.isoformat())
        return str(person.name), since

    def _empty_calls(self, user_id: str) -> int:
        """Take the words out of the person's calls; how many had some."""
        emptied = 0
        last = ""
        log = usage_logs.c
        while True:
            query = select(log.id, log.parameters, log.error_message).where(log.user_id == user_id, log.id > last)
            with self._store.write() as connection:
                rows = connection.execute(query.order_by(log.id).limit(self._batch)).all()
                ids = [row.id for row in rows]
                payloads = delete(usage_payloads).where(usage_payloads.c.id.in_(ids))
                emptied += connection.execute(payloads).rowcount if ids else 0
                for row in rows:
                    parameters = sanitise_parameters("metadata", row.parameters or {})
                    if parameters != row.parameters or row.error_message is not None:
                        values = {"parameters": parameters, "error_message": None}
                        connection.execute(update(usage_logs).where(log.id == row.id).values(**values))
                connection.execute(update(open_calls).where(open_calls.c.user_id == user_id).values(request=None))
            if len(rows) < self._batch:
                return emptied
            last = ids[-1]
            time.sleep(_PAUSE_S)

    def _delete_documents(self, user_id: str) -> int:
        """Delete the person's own collections, and what they put into those of the team."""
        own = select(collections.c.id).where(collections.c.owner_id == user_id, collections.c.is_shared.is_(False))
        theirs = or_(documents.c.created_by == user_id, documents.c.collection_id.in_(own))
        deleted = 0
        while True:
            with self._store.write() as connection:
                rows = connection.execute(
                    select(documents.c.id, documents.c.collection_id).where(theirs).limit(self._batch)
                ).all()
                ids = [row.id for row in rows]
                for table, column in (
                    (document_versions, document_versions.c.document_id),
                    (chunks, chunks.c.document_id),
                    (documents, documents.c.id),
                ):
                    connection.execute(delete(table).where(column.in_(ids)))
                touched = {row.collection_id for row in rows}
                grown = update(collections).where(collections.c.id.in_(touched))
                connection.execute(grown.values(change_seq=collections.c.change_seq + 1))
                deleted += len(rows)
                if len(rows) < self._batch:
                    own_ids = list(connection.scalars(own))
                    delete_sets(connection, question_sets.c.collection_id.in_(own_ids))
                    connection.execute(delete(collections).where(collections.c.id.in_(own_ids)))
                    return deleted

    def _delete_rows(
        self, column: Column[Any], parent_id: Column[Any] | None, parent_owner: Column[Any] | None, user_id: str
    ) -> int:
        condition: ColumnElement[bool] = column == user_id
        if parent_id is not None and parent_owner is not None:
            condition = column.in_(select(parent_id).where(parent_owner == user_id))
        return self._delete_in_batches(column.table, condition)

    def _delete_in_batches(self, table: Any, condition: ColumnElement[bool]) -> int:
        """Delete rows, each batch in a transaction of its own, so that others write in between; how many those were."""
        columns = list(table.primary_key.columns)
        deleted = 0
        while True:
            with self._store.write() as connection:
                keys = [tuple(row) for row in connection.execute(select(*columns).where(condition).limit(self._batch))]
                if keys:
                    connection.execute(delete(table).where(tuple_(*columns).in_(keys)))
            deleted += len(keys)
            if len(keys) < self._batch:
                return deleted
            time.sleep(_PAUSE_S)

    def _empty_rows(self, name: str, user_id: str) -> int:
        table: Table = metadata.tables[name]
        emptied = 0
        last = ""
        while True:
            theirs = select(table.c.id).where(table.c.user_id == user_id, table.c.id > last).order_by(table.c.id)
            with self._store.write() as connection:
                ids = list(connection.scalars(theirs.limit(self._batch)))
                connection.execute(update(table).where(table.c.id.in_(ids)).values(**EMPTIED[name]))
            emptied += len(ids)
            if len(ids) < self._batch:
                return emptied
            last = ids[-1]
            time.sleep(_PAUSE_S)

    def _delete_metrics(self, user_id: str) -> int:
        texts = and_(custom_metrics.c.user_id == user_id, custom_metrics.c.type.in_(("string", "json")))
        return self._delete_in_batches(custom_metrics, texts)

    def _list_backups(self, connection: Connection, since: datetime | None) -> tuple[str, ...]:
        if since is None:
            return ()
        recent_backups = and_(audit_log.c.action.startswith("backup"), audit_log.c.at >= since)
        rows = connection.execute(
            select(audit_log.c.at, audit_log.c.subject).where(recent_backups).order_by(audit_log.c.at)
        )
        return tuple(f"{row.subject} ({row.at:%Y-%m-%d %H:%M} UTC)" for row in rows)


def _make_pseudonym(user_id: str) -> str:
    return f"erased-{user_id[-8:]}"


def _find_first_words(connection: Connection, user_id: str) -> datetime | None:
    """Since when there may be words of a person: the first moment of any row that is emptied or goes."""
    owned = [(column.table, column) for column, parent, _ in DELETED if parent is None and column.table is not sessions]
    owned += [(metadata.tables[name], metadata.tables[name].c.user_id) for name in EMPTIED]
    owned += [(usage_logs, usage_logs.c.user_id), (documents, documents.c.created_by)]
    moments = list[datetime]()
    for table, owner in owned:
        began = next((table.c[name] for name in _BEGINNINGS if name in table.c), None)
        if began is not None and (moment := connection.scalar(select(func.min(began)).where(owner == user_id))):
            moments.append(moment)
    return min(moments, default=None)
