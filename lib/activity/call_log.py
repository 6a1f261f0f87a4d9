"""The activity log: calls newest first, one call in full, and everything that was asked for as a file.

A line is a call (its final attempt); money is summed over all attempts. What runs stands on top of the first page.
Statements walk the index by time and fetch only the page's rows, so the log opens as fast at ten million rows. A
foreign call and one that does not exist are the same NotFound.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Table, and_, func, literal, or_, select

from lib.access import audit
from lib.access.permissions import Actor
from lib.activity import call_export, visible_calls
from lib.activity.call_filter import ActivityFilter
from lib.activity.call_rows import (
    LINE,
    ActivityOptions,
    ActivityPage,
    ActivityRow,
    CallDetail,
    build_activity_row,
    build_call_detail,
    may_read,
)
from lib.clock import utc_now
from lib.db.engine import Store
from lib.db.tables import api_keys, open_calls, outside_people, usage_logs, usage_payloads, users
from lib.errors import NotFound
from lib.ledger.content_policy import hide_words
from lib.ledger.kept_messages import restore_request
from lib.ledger.recent_calls import find_recent

PAGE_SIZE = 18
_RUNNING_SHOWN = 50
_MILLISECOND = timedelta(milliseconds=1)
_OPTIONS_FROM = 20_000
_logs = usage_logs.c
_NAME = func.coalesce(users.c.name, outside_people.c.name).label("user_name")
_NEWEST_FIRST = (_logs.started_at.desc(), _logs.id.desc())


class Activity:
    """Reads the ledger for its readers; writes only, into the audit log, who has exported what."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def page(self, actor: Actor, wanted_filter: ActivityFilter, page: int = 1, size: int = PAGE_SIZE) -> ActivityPage:
        """A page of what the actor may see; a number past the end gives the last page."""
        wanted_filter = wanted_filter.at(utc_now())
        conditions = visible_calls.list_ended_conditions(actor, wanted_filter)
        with self._store.read() as connection:
            totals = connection.execute(_select_totals(conditions)).one()
            pages = max(1, -(-totals.calls // size))
            page = min(max(page, 1), pages)
            rows = [
                build_activity_row(row)
                for row in connection.execute(_select_page(conditions, totals.calls, page, size)).mappings()
            ]
            rows = _add_call_times(connection, actor, rows)
            going = self._read_running(connection, actor, wanted_filter)
        cost = None if totals.cost is None else int(totals.cost)
        page_rows = (going if page == 1 else []) + rows
        return ActivityPage(page_rows, len(going), totals.calls, cost, totals.unpriced, page, pages, size)

    def is_empty(self, actor: Actor) -> bool:
        """Whether there is no call that the actor may see."""
        with self._store.read() as connection:
            for table in (usage_logs, open_calls):
                query = select(literal(1)).select_from(table).where(visible_calls.is_visible(actor, table)).limit(1)
                if connection.execute(query).first() is not None:
                    return False
        return True

    def detail(self, actor: Actor, log_id: str) -> CallDetail:
        """One attempt by its id (or the last attempt of a call by the call's id), with its sisters."""
        return find_recent(log_id, partial(self._read_detail, actor, log_id))

    def _read_detail(self, actor: Actor, log_id: str) -> CallDetail:
        if log_id.isprintable():
            with self._store.read() as connection:
                for query in _select_call(actor, log_id):
                    if (row := connection.execute(query).mappings().first()) is not None:
                        attempts = self._read_attempts(connection, actor, row["call_id"])
                        request = row["request"] if row.get("messages_id") is None else restore_request(connection, row)
                        return build_call_detail(actor, row, request, attempts)
        raise NotFound("There is no such call.", "It does not exist, or it belongs to somebody else.")

    def options(self, actor: Actor) -> ActivityOptions:
        """Values to filter by, from the newest calls that the actor may see; older ones can be typed."""
        columns = (_logs.provider, _logs.model, _logs.app, _logs.origin, _logs.service_tier, _logs.cache, _logs.user_id)
        newest = select(*columns).where(visible_calls.is_visible(actor, usage_logs)).order_by(*_NEWEST_FIRST)
        part = newest.limit(_OPTIONS_FROM).subquery()
        names = func.coalesce(users.c.name, outside_people.c.name).label("name")
        query = select(part, names).outerjoin(users, users.c.id == part.c.user_id).distinct()
        query = query.outerjoin(outside_people, outside_people.c.id == part.c.user_id)
        with self._store.read() as connection:
            rows = connection.execute(query).all()
        names_of = [sorted({row[number] for row in rows} - {""}) for number in range(len(columns) - 1)]
        providers, models, apps, origins, tiers, caches = names_of
        people = {row.user_id: row.name for row in rows if row.user_id is not None}
        return ActivityOptions(providers, models, apps, origins, people, tiers, caches)

    def export_csv(
        self, actor: Actor, call_filter: ActivityFilter, names: Mapping[str, str] | None = None, bom: bool = False
    ) -> Iterator[bytes]:
        """Every attempt as CSV, in pieces; `names` are of users without an account, `bom` is for Excel."""
        batches = self._audit_export(
            actor, call_filter, "csv", self._read_batches(actor, call_filter, names, call_export.EXCERPT)
        )
        return call_export.yield_csv(batches, bom)

    def export_json(
        self, actor: Actor, call_filter: ActivityFilter, names: Mapping[str, str] | None = None
    ) -> Iterator[bytes]:
        """Every attempt as an array of JSON objects, in pieces, prompt and answer in full."""
        return call_export.yield_json(
            self._audit_export(actor, call_filter, "json", self._read_batches(actor, call_filter, names))
        )

    def export_sql(
        self, actor: Actor, call_filter: ActivityFilter, names: Mapping[str, str] | None = None
    ) -> Iterator[bytes]:
        """Every attempt as an INSERT, in pieces, after the statement that makes the table."""
        return call_export.yield_sql(
            self._audit_export(actor, call_filter, "sql", self._read_batches(actor, call_filter, names))
        )

    def _audit_export(
        self, actor: Actor, call_filter: ActivityFilter, form: str, batches: Iterator[list[dict[str, Any]]]
    ) -> Iterator[list[dict[str, Any]]]:
        """The batches, and at their end (or where the reader stopped) a note of how many rows were handed out."""
        rows = 0
        try:
            for batch in batches:
                rows += len(batch)
                yield batch
        finally:
            with self._store.write() as connection:
                audit.record(connection, actor, "activity.export", form, rows=rows, filter=call_filter.to_query())

    def _read_running(self, connection: Connection, actor: Actor, call_filter: ActivityFilter) -> list[ActivityRow]:
        query = (
            select(open_calls, users.c.name.label("user_name"))
            .outerjoin(users, users.c.id == open_calls.c.user_id)
            .where(*visible_calls.list_running_conditions(actor, call_filter))
            .order_by(open_calls.c.started_at.desc(), open_calls.c.id.desc())
            .limit(_RUNNING_SHOWN)
        )
        return [build_activity_row(row) for row in connection.execute(query).mappings()]

    def _read_attempts(self, connection: Connection, actor: Actor, call_id: str) -> list[ActivityRow]:
        attempts: list[ActivityRow] = []
        for table in (usage_logs, open_calls):
            conditions = (table.c.call_id == call_id, visible_calls.is_visible(actor, table))
            query = select(table, literal(None).label("user_name")).where(*conditions).order_by(table.c.attempt)
            attempts += [build_activity_row(row) for row in connection.execute(query).mappings()]
        return attempts

    def _read_batches(
        self, actor: Actor, call_filter: ActivityFilter, names: Mapping[str, str] | None, excerpt: int | None = None
    ) -> Iterator[list[dict[str, Any]]]:
        """Batches, newest first, each by a short statement of its own that goes on where the last one ended."""
        call_filter = call_filter.at(utc_now())
        size = call_export.BATCH if excerpt else call_export.BATCH_IN_FULL
        conditions = visible_calls.list_ended_conditions(actor, call_filter)
        after: list[Any] = []
        while True:
            query = _select_words(actor, excerpt).where(*conditions, *after).order_by(*_NEWEST_FIRST).limit(size)
            with self._store.read() as connection:
                batch = [dict(row) for row in connection.execute(query).mappings()]
            for row in batch:
                if not may_read(actor, row):
                    row |= hide_words(row)
                row["user_name"] = row["user_name"] or (names or {}).get(row["user_id"] or "", row["user_id"])
            if batch:
                yield batch
            if len(batch) < size:
                return
            at = batch[-1]["started_at"]
            last = batch[-1]["id"]
            after = [_logs.started_at <= at, or_(_logs.started_at < at, _logs.id < last)]


def _add_call_times(connection: Connection, actor: Actor, rows: list[ActivityRow]) -> list[ActivityRow]:
    """Give each retried call of a page the time of all its attempts, with the waits between."""
    retried = [row.call_id for row in rows if row.attempt > 1]
    if not retried:
        return rows
    conditions = (_logs.call_id.in_(retried), visible_calls.is_visible(actor, usage_logs))
    query = select(_logs.call_id, func.min(_logs.started_at)).where(*conditions).group_by(_logs.call_id)
    began = {call_id: started_at for call_id, started_at in connection.execute(query)}
    return [
        replace(row, call_time_ms=(row.started_at - began[row.call_id]) / _MILLISECOND + row.execution_time_ms)
        if row.call_id in began and row.execution_time_ms is not None
        else row
        for row in rows
    ]


def _select_totals(conditions: list[Any]) -> Select[Any]:
    columns: list[ColumnElement[Any]] = [
        func.count().filter(_logs.is_final).label("calls"),
        func.sum(_logs.cost_nano_usd).label("cost"),
        func.count().filter(_logs.cost_status.in_(("unpriced", "partial"))).label("unpriced"),
    ]
    return select(*columns).where(*conditions)


def _select_page(conditions: list[Any], calls: int, page: int, size: int) -> Select[Any]:
    """The rows of a page: ids first, from whichever end of the index is nearer, then only these rows."""
    offset = (page - 1) * size
    count = min(size, max(calls - offset, 0))
    ids = select(_logs.id).where(*conditions, _logs.is_final)
    if offset * 2 > calls:
        ids = ids.order_by(_logs.started_at, _logs.id).offset(calls - offset - count)
    else:
        ids = ids.order_by(*_NEWEST_FIRST).offset(offset)
    return (
        select(*(_logs[name] for name in LINE), _NAME)
        .outerjoin(users, users.c.id == _logs.user_id)
        .outerjoin(outside_people, outside_people.c.id == _logs.user_id)
        .where(_logs.id.in_(ids.limit(count)))
        .order_by(*_NEWEST_FIRST)
    )


def _select_words(actor: Actor, excerpt: int | None = None) -> Select[Any]:
    """Rows with their user's name and, where the actor may read them, their texts (whole, or their beginning)."""
    texts = [usage_payloads.c.prompt_text, usage_payloads.c.response_text]
    if excerpt is not None:
        texts = [func.substr(text, 1, excerpt).label(text.name) for text in texts]  # type: ignore[misc]
    may_read = and_(usage_payloads.c.id == _logs.id, visible_calls.is_readable(actor, usage_logs))
    return (
        select(usage_logs, _NAME, *texts)
        .outerjoin(users, users.c.id == _logs.user_id)
        .outerjoin(outside_people, outside_people.c.id == _logs.user_id)
        .outerjoin(usage_payloads, may_read)
    )


def _select_call(actor: Actor, log_id: str) -> Iterator[Select[Any]]:
    """Where a call with this id may be: among the ended, among the running, and as the id of a whole call."""
    words = usage_payloads.c
    detail_columns = (words.request, words.messages_id, words.response, _select_key_name(usage_logs))
    ended = _select_words(actor).add_columns(*detail_columns).where(visible_calls.is_visible(actor, usage_logs))
    running = (
        select(open_calls, users.c.name.label("user_name"), _select_key_name(open_calls))
        .outerjoin(users, users.c.id == open_calls.c.user_id)
        .where(visible_calls.is_visible(actor, open_calls))
    )
    yield ended.where(_logs.id == log_id)
    yield running.where(open_calls.c.id == log_id)
    yield running.where(open_calls.c.call_id == log_id)
    yield ended.where(_logs.call_id == log_id).order_by(_logs.attempt.desc()).limit(1)


def _select_key_name(table: Table) -> ColumnElement[Any]:
    """The name of the API key that made a call."""
    key_name = select(api_keys.c.name).where(api_keys.c.id == table.c.api_key_id)
    return key_name.scalar_subquery().label("api_key_name")
