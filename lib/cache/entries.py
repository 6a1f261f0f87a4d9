"""Remembered answers in SQL: the record that every process reads; whoever answers from memory asks here."""

import asyncio
import logging
import math
import threading
from collections import Counter, OrderedDict
from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime, timedelta
from time import monotonic
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict
from sqlalchemy import ColumnElement, Connection, bindparam, delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DatabaseError

from lib.cache.namespace import Keys
from lib.cache.policy import CacheRules
from lib.cache.secret import CacheSecret
from lib.calls.live_call import LiveCall
from lib.clock import make_id, utc_now
from lib.db.bulk import insert_rows
from lib.db.compiled_statements import CompiledStatement
from lib.db.engine import NonBlockingConnection, Store
from lib.db.tables import cache_counts, cache_entries, cache_hits
from lib.errors import InvalidInput

log = logging.getLogger(__name__)
LARGEST_ANSWER = 1 << 20  # bytes of a sealed answer
_E = cache_entries.c
_BATCH = 500
_COLUMNS = (_E.id, _E.call_id, _E.answer, _E.question, _E.created_at, _E.cost_nano_usd, _E.execution_time_ms)
_NEWEST = {  # made once: to make a statement takes longer than to run it
    column.name: CompiledStatement(
        select(_E.id, _E.bytes)
        .where(column == bindparam("key"), _E.created_at >= bindparam("oldest"), _E.is_banned.is_(False))
        .order_by(_E.created_at.desc())
        .limit(1)
    )
    for column in (_E.exact_key, _E.loose_key)
}
_ANSWER = CompiledStatement(
    select(*(column for column in _COLUMNS if column is not _E.question)).where(_E.id == bindparam("entry_id"))
)
_NOTE_USES = CompiledStatement(
    update(cache_entries)
    .where(_E.id == bindparam("entry_id"))
    .values(used_at=bindparam("now"), uses=_E.uses + bindparam("more"))
)
_OPENED_S = 60.0  # for so long an answer that was served stays decrypted in a process
_OPENED_BYTES = 16 << 20  # as they are stored
_LARGE_BYTES = 32 << 10  # a larger answer is decrypted in a thread
_OVERLAP = timedelta(seconds=30)  # between processes' clocks, and for transactions that last


class CachedAnswer(Struct, frozen=True):
    """What is told again: the words of an answer, and what it was served by."""

    text: str
    reasoning: str
    served_model: str
    prompt_tokens: int | None
    completion_tokens: int | None


class CacheEntry(Struct, frozen=True):
    """A remembered answer with the call it came from."""

    id: str
    call_id: str
    answer: CachedAnswer
    created_at: datetime
    cost_nano_usd: int | None
    execution_time_ms: int | None
    question: str | None = None


class EntryOwner(Struct, frozen=True):
    """Whose an entry is."""

    configuration_id: str
    app: str
    user_id: str | None
    team_id: int


class Hit(Struct, frozen=True):
    """An answer that was served from memory."""

    call_id: str
    entry: CacheEntry
    tier: str
    owner: EntryOwner


def make_entry(call: LiveCall, question: str | None) -> CacheEntry:
    """The answer of a call that has ended well."""
    attempt = call.attempt
    row = call.row
    assert row is not None  # noqa: S101 (an ended call has its row)
    reasoning = "".join(attempt.reasoning)
    answer = CachedAnswer(
        attempt.answer, reasoning, attempt.served_model or "", row.prompt_tokens, row.completion_tokens
    )
    figures = (row.cost_nano_usd, row.execution_time_ms)
    return CacheEntry(make_id(), call.call_id, answer, utc_now(), *figures, question)


class _Opened(Struct):
    entry: CacheEntry
    size: int
    opened_at: float


class _OpenedEntries:
    """Answers that were served a moment ago, decrypted; whether one may still be served, SQL says each time."""

    def __init__(self) -> None:
        self._opened: OrderedDict[str, _Opened] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def get(self, entry_id: str) -> CacheEntry | None:
        opened = self._opened.get(entry_id)
        return None if opened is None or monotonic() - opened.opened_at > _OPENED_S else opened.entry

    def put(self, entry: CacheEntry, size: int) -> None:
        with self._lock:
            self._drop(entry.id)
            self._opened[entry.id] = _Opened(entry, size, monotonic())
            self._size += size
            while self._size > _OPENED_BYTES:
                self._drop(next(iter(self._opened)))

    def forget(self, opened_before: float) -> None:
        """Forget what was opened before a moment of the monotonic clock."""
        with self._lock:
            while self._opened and (first := next(iter(self._opened.values()))).opened_at < opened_before:
                self._drop(first.entry.id)

    def _drop(self, entry_id: str) -> None:
        opened = self._opened.pop(entry_id, None)
        self._size -= 0 if opened is None else opened.size


class Entries:
    """Finds, stores and forgets. Blocking, and so not for the event loop, but for `find_at_once`."""

    def __init__(self, store: Store, secret: CacheSecret) -> None:
        self._store = store
        self._secret = secret
        self._opened = _OpenedEntries()
        self._direct: NonBlockingConnection | None = None

    def find(self, column: str, key: str, oldest: datetime) -> CacheEntry | None:
        """The newest entry with a key (`exact_key` or `loose_key`) that is not older than `oldest`."""
        with self._store.read() as connection:
            rows = _NEWEST[column].all(connection, {"key": key, "oldest": oldest})
            if not rows:
                return None
            return self._opened.get(rows[0].id) or self._open(connection, rows[0])

    async def find_at_once(self, column: str, key: str, oldest: datetime) -> CacheEntry | None:
        """Find as `find` does, on the calls' loop: on SQLite without a thread, which costs ten times the look-up."""
        if self._store.is_sqlite:
            self._direct = self._direct or self._store.open_nonblocking()
            connection = self._direct.reader
            try:
                rows = _NEWEST[column].all(connection, {"key": key, "oldest": oldest})
                if not rows:
                    return None
                if (entry := self._opened.get(rows[0].id)) is not None:
                    return entry
                if rows[0].bytes <= _LARGE_BYTES:
                    return self._open(connection, rows[0])
            except DatabaseError:
                log.info("An answer is looked up in a thread, for the file is locked.")
        return await asyncio.to_thread(self.find, column, key, oldest)

    def _open(self, connection: Connection, row: Any) -> CacheEntry | None:
        """Read and decrypt the answer of a row of `_NEWEST`; its question stays shut."""
        rows = _ANSWER.all(connection, {"entry_id": row.id})
        entry = self.open_row({**rows[0]._asdict(), "question": None}) if rows else None
        if entry is not None:
            self._opened.put(entry, row.bytes)
        return entry

    def forget_opened(self, *, everything: bool = False) -> None:
        """Forget decrypted answers: those of a minute ago, or all."""
        self._opened.forget(math.inf if everything else monotonic() - _OPENED_S)

    def close(self) -> None:
        """Give the loop's connection back."""
        if self._direct is not None:
            self._direct.close()
            self._direct = None

    def get_many(self, entry_ids: Collection[str], namespace: str, oldest: datetime) -> list[CacheEntry]:
        """The entries with these ids that are in the namespace still."""
        in_namespace = _E.namespace.concat("") == namespace  # by their ids: an index would read the whole namespace
        conditions = (_E.id.in_(entry_ids), in_namespace, _E.created_at >= oldest, _E.is_banned.is_(False))
        query = select(*_COLUMNS).where(*conditions)
        with self._store.read() as connection:
            rows = connection.execute(query).mappings().all()
        return [entry for row in rows if (entry := self.open_row(dict(row))) is not None]

    def make_row(self, entry: CacheEntry, keys: Keys, owner: EntryOwner) -> dict[str, Any] | None:
        """The row of an entry; None where the answer is too long to be kept."""
        sealed = self._secret.seal(asdict(entry.answer))
        if len(sealed) > LARGEST_ANSWER:
            return None
        question = None if entry.question is None else self._secret.seal(entry.question)
        return {
            "id": entry.id,
            "exact_key": keys.exact,
            "loose_key": keys.loose,
            "namespace": keys.namespace,
            "pool": keys.pool,
            **asdict(owner),
            "created_at": entry.created_at,
            "used_at": entry.created_at,
            "uses": 0,
            "bytes": len(sealed) + len(question or ""),
            "answer": sealed,
            "question": question,
            "vector": None,
            "call_id": entry.call_id,
            "cost_nano_usd": entry.cost_nano_usd,
            "execution_time_ms": entry.execution_time_ms,
            "is_banned": False,
        }

    def store(self, rows: Sequence[dict[str, Any]]) -> None:
        """Store answers; one for the same request takes the place of an older one, banned or not."""
        dialect = sqlite if self._store.is_sqlite else postgresql
        with self._store.write() as connection:
            for row in rows:
                changed = {name: value for name, value in row.items() if name != "exact_key"}
                statement = dialect.insert(cache_entries).values(**row)
                connection.execute(statement.on_conflict_do_update(index_elements=["exact_key"], set_=changed))

    def note_hits(self, hits: Sequence[Hit]) -> None:
        """Write down what was served, and that its entries are in use."""
        now = utc_now()
        with self._store.write() as connection:
            insert_rows(
                connection,
                cache_hits,
                [
                    {
                        "call_id": hit.call_id,
                        "entry_id": hit.entry.id,
                        "original_call_id": hit.entry.call_id,
                        "configuration_id": hit.owner.configuration_id,
                        "user_id": hit.owner.user_id,
                        "team_id": hit.owner.team_id,
                        "tier": hit.tier,
                        "saved_nano_usd": hit.entry.cost_nano_usd,
                        "saved_ms": hit.entry.execution_time_ms,
                        "created_at": now,
                    }
                    for hit in hits
                ],
            )
            uses = Counter(hit.entry.id for hit in hits)
            _NOTE_USES.run(connection, [{"entry_id": i, "now": now, "more": count} for i, count in uses.items()])

    def note_counts(self, day: date, counts: Mapping[tuple[int, str, str], int]) -> None:
        """Add to a day's counts of (team, configuration, outcome)."""
        dialect = sqlite if self._store.is_sqlite else postgresql
        keys = ["day", "team_id", "configuration_id", "outcome"]
        with self._store.write() as connection:
            for (team_id, configuration_id, outcome), count in counts.items():
                labels = {"team_id": team_id, "configuration_id": configuration_id, "outcome": str(outcome)[:24]}
                statement = dialect.insert(cache_counts).values(day=day, **labels, count=count)
                raised = {"count": cache_counts.c.count + count}
                connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=raised))

    def keys_since(self, moment: datetime | None) -> tuple[list[tuple[str, str | None]], datetime | None]:
        """Exact and loose keys stored since a moment (None: all), and the moment to go on from."""
        query = select(_E.exact_key, _E.loose_key, _E.created_at).where(_E.is_banned.is_(False))
        if moment is not None:
            query = query.where(_E.created_at >= moment - _OVERLAP)
        with self._store.read() as connection:
            rows = connection.execute(query).all()
        newest = max((row.created_at for row in rows), default=moment)
        return [(row.exact_key, row.loose_key) for row in rows], newest

    def shrink(self, rules: dict[str, CacheRules]) -> int:
        """Delete what is too old, and the least recently used of what is too much; how many those were."""
        gone = 0
        now = utc_now()
        for configuration_id, rule in rules.items():
            of_configuration = _E.configuration_id == configuration_id
            with self._store.write() as connection:
                limit = now - timedelta(seconds=rule.ttl_s)
                gone += connection.execute(
                    delete(cache_entries).where(of_configuration, _E.created_at < limit)
                ).rowcount
                gone += _drop_least_used(connection, of_configuration, rule.most_bytes)
        return gone

    def purge(self, *conditions: ColumnElement[bool]) -> int:
        """Delete what the conditions name; how many entries that were."""
        if not conditions:
            raise InvalidInput("Say what is to be forgotten.", "", "")
        with self._store.write() as connection:
            return connection.execute(delete(cache_entries).where(*conditions)).rowcount

    def open_row(self, row: Mapping[str, Any]) -> CacheEntry | None:
        """The entry of a row as it is stored; None where its key is another one's."""
        document = self._secret.open(row["answer"])
        if document is None:
            return None
        question = None if row["question"] is None else self._secret.open(row["question"])
        places = (row["created_at"], row["cost_nano_usd"], row["execution_time_ms"])
        return CacheEntry(row["id"], row["call_id"], CachedAnswer(**document), *places, question)


def _drop_least_used(connection: Connection, of_configuration: ColumnElement[bool], most_bytes: int) -> int:
    total = int(connection.scalar(select(func.coalesce(func.sum(_E.bytes), 0)).where(of_configuration)) or 0)
    gone = 0
    while total > most_bytes:
        oldest = connection.execute(
            select(_E.id, _E.bytes).where(of_configuration).order_by(_E.used_at).limit(_BATCH)
        ).all()
        dropped_ids = []
        for row in oldest:
            if total <= most_bytes:
                break
            dropped_ids.append(row.id)
            total -= row.bytes
        gone += connection.execute(delete(cache_entries).where(_E.id.in_(dropped_ids))).rowcount
    return gone
