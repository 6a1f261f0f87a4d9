"""Remembered answers in SQL: the record that every process reads; whoever answers from memory asks here."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict
from sqlalchemy import ColumnElement, Connection, bindparam, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from lib.cache.namespace import Keys
from lib.cache.policy import CacheRules
from lib.cache.secret import CacheSecret
from lib.calls.live_call import LiveCall
from lib.clock import make_id, utc_now
from lib.db.engine import Store
from lib.db.tables import cache_counts, cache_entries, cache_hits
from lib.errors import InvalidInput

LARGEST_ANSWER = 1 << 20  # bytes of a sealed answer
_E = cache_entries.c
_BATCH = 500
_COLUMNS = (_E.id, _E.call_id, _E.answer, _E.question, _E.created_at, _E.cost_nano_usd, _E.execution_time_ms)
_NEWEST = {  # made once: to make a statement takes longer than to run it
    column.name: select(*_COLUMNS)
    .where(column == bindparam("key"), _E.created_at >= bindparam("oldest"), _E.is_banned.is_(False))
    .order_by(_E.created_at.desc())
    .limit(1)
    for column in (_E.exact_key, _E.loose_key)
}
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


class Entries:
    """Finds, stores and forgets. Blocking: not on the event loop."""

    def __init__(self, store: Store, secret: CacheSecret) -> None:
        self._store = store
        self._secret = secret

    def find(self, column: str, key: str, oldest: datetime) -> CacheEntry | None:
        """The newest entry with a key (`exact_key` or `loose_key`) that is not older than `oldest`."""
        with self._store.read() as connection:
            row = connection.execute(_NEWEST[column], {"key": key, "oldest": oldest}).mappings().first()
        return None if row is None else self.open_row(dict(row))

    def get_many(self, entry_ids: Collection[str], namespace: str, oldest: datetime) -> list[CacheEntry]:
        """The entries with these ids that are in the namespace still."""
        in_namespace = _E.namespace.concat("") == namespace  # by their ids: an index would read the whole namespace
        chosen = (_E.id.in_(entry_ids), in_namespace, _E.created_at >= oldest, _E.is_banned.is_(False))
        query = select(*_COLUMNS).where(*chosen)
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
            connection.execute(
                insert(cache_hits),
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
            for entry_id, uses in Counter(hit.entry.id for hit in hits).items():
                used = update(cache_entries).where(_E.id == entry_id)
                connection.execute(used.values(used_at=now, uses=_E.uses + uses))

    def note_counts(self, counts: Iterable[tuple[tuple[Any, str, str], int]]) -> None:
        """Add to the counts of (day, configuration, outcome)."""
        dialect = sqlite if self._store.is_sqlite else postgresql
        with self._store.write() as connection:
            for (day, configuration_id, outcome), count in counts:
                statement = dialect.insert(cache_counts).values(
                    day=day, configuration_id=configuration_id, outcome=outcome, count=count
                )
                raised = {"count": cache_counts.c.count + count}
                keys = ["day", "configuration_id", "outcome"]
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
