"""The semantic tier: a question that means the same, found by its vector, refused by guards, decided by a judge.

Vectors of one namespace stand in an index of their own (hnswlib), made of what SQL holds and followed from there. A
candidate that a guard or the judge refuses does not end the search: the next one is looked at. A judge that fails, or
says anything but `SAME`, is a miss. Nothing is served unproved: in the mode `shadow` each would-be hit becomes a row
of `cache_decisions` after the model has answered, with what refused it and whether the two answers agree.
"""

import random
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from time import monotonic
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select, update

from lib.cache import guards
from lib.cache.entries import CacheEntry, Entries
from lib.cache.judge import ANSWERS, DIFFERENT, LONGEST_JUDGING_S, QUESTIONS, SAME, Judge
from lib.cache.namespace import Keys
from lib.cache.policy import CacheRules, SemanticMode
from lib.cache.secret import CacheSecret
from lib.calls.live_call import LiveCall
from lib.calls.request import Plan
from lib.clock import make_id, make_id_at, utc_now
from lib.db.engine import Store
from lib.db.tables import cache_blocked_pairs, cache_decisions, cache_entries

if TYPE_CHECKING:
    import numpy as np

_E = cache_entries.c
NEAREST = 5  # candidates that are looked at
LEAST_SIMILARITY = 0.80  # cosine: below that nothing is a candidate
EXPLORED = 0.05  # of would-be hits in the mode `proved`: asked of the model all the same, for ever
_MOST_INDEXES = 64
_BATCH = 1_000  # vectors that are read at once
_SPARE = 4  # times as many neighbours are asked for: some of them may be gone from SQL


class _NamespaceIndex:
    """The vectors of one namespace."""

    def __init__(self, dimensions: int) -> None:
        import hnswlib

        self._index: hnswlib.Index = hnswlib.Index(space="cosine", dim=dimensions)
        self._index.init_index(max_elements=256, ef_construction=100, M=12)
        self._index.set_ef(50)
        self.ids: list[str] = []
        self._known: set[str] = set()
        self.followed_to: datetime | None = None

    def find_unknown(self, entry_ids: Iterable[str]) -> list[str]:
        return [entry_id for entry_id in entry_ids if entry_id not in self._known]

    def add(self, entry_ids: Sequence[str], vectors: "np.ndarray") -> None:
        count = len(self.ids) + len(entry_ids)
        if count > self._index.get_max_elements():
            self._index.resize_index(2 * count)
        self._index.add_items(vectors, range(len(self.ids), count))
        self._known.update(entry_ids)
        self.ids += entry_ids

    def nearest(self, vector: "np.ndarray") -> list[tuple[str, float]]:
        if not self.ids:
            return []
        labels, distances = self._index.knn_query(vector, k=min(NEAREST * _SPARE, len(self.ids)))
        return [(self.ids[label], 1.0 - float(far)) for label, far in zip(labels[0], distances[0], strict=True)]


class Semantic:
    """Finds reworded questions. Blocking: not on the event loop. `embed` turns one text into a vector."""

    def __init__(
        self,
        store: Store,
        secret: CacheSecret,
        entries: Entries,
        judge: Judge,
        embed: Callable[[str], "np.ndarray"],
        is_proved: Callable[[str, CacheRules], bool],
    ) -> None:
        self._store = store
        self._secret = secret
        self._entries = entries
        self._judge = judge
        self._embed = embed
        self._is_proved = is_proved
        self._indexes: OrderedDict[str, _NamespaceIndex] = OrderedDict()
        self._lock = threading.Lock()

    def find_reworded(self, plan: Plan, keys: Keys, rules: CacheRules, oldest: datetime) -> CacheEntry | None:
        """The entry that answers a question asked in other words, where a judge or a proof says so."""
        assert keys.namespace is not None  # noqa: S101 (who calls has looked)
        assert keys.pool is not None  # noqa: S101
        is_proved = rules.semantic is SemanticMode.PROVED and self._is_proved(keys.pool, rules)
        if rules.semantic is SemanticMode.PROVED and (not is_proved or random.random() < EXPLORED):  # noqa: S311
            return None
        ends_at = monotonic() + LONGEST_JUDGING_S
        has_judge = rules.semantic is SemanticMode.JUDGED
        for entry, similarity, refusal in self._candidates(keys, oldest, has_judge=has_judge):
            if refusal is not None:
                continue
            if (seconds := ends_at - monotonic()) <= 0:
                break
            words = (keys.question or "", entry.question or "")
            verdict = None if is_proved else self._judge.compare(rules, QUESTIONS, *words, seconds)
            if verdict in (None, SAME):
                self._note(plan, keys, entry, similarity, None, verdict, was_served=True)
                return entry
        return None

    def compare_later(self, call: LiveCall, stored: CacheEntry, keys: Keys, rules: CacheRules) -> None:
        """Give a new entry its vector; note what would have been served instead, and whether the answers agree."""
        if rules.semantic is SemanticMode.OFF or keys.namespace is None or keys.question is None:
            return
        oldest = utc_now() - timedelta(seconds=rules.ttl_s)
        vector = self._embed(keys.question)
        candidates = self._candidates(keys, oldest, vector, stored.id)
        self._add(stored.id, vector)
        for entry, similarity, refusal in candidates:
            verdict = label = None
            if refusal is None:
                verdict = self._judge.compare(rules, QUESTIONS, keys.question, entry.question or "")
                label = self._compare_answers(rules, stored, entry)
            self._note(call.plan, keys, entry, similarity, refusal, verdict, label=label, call_id=call.call_id)
            if refusal is None:
                break

    def forget(self) -> None:
        """Make every index anew, after entries were deleted."""
        with self._lock:
            self._indexes.clear()

    def _compare_answers(self, rules: CacheRules, first: CacheEntry, second: CacheEntry) -> str | None:
        if " ".join(first.answer.text.split()) == " ".join(second.answer.text.split()):
            return SAME
        verdict = self._judge.compare(rules, ANSWERS, first.answer.text[:8_000], second.answer.text[:8_000])
        return verdict if verdict in (SAME, DIFFERENT) else None

    def _candidates(
        self,
        keys: Keys,
        oldest: datetime,
        vector: "np.ndarray | None" = None,
        but: str = "",
        *,
        has_judge: bool = False,
    ) -> Sequence[tuple[CacheEntry, float, str | None]]:
        """The nearest entries of the namespace, nearest first, each with the guard that refuses it.

        `vector` is the question's, where it is known; the entry `but` is no candidate. `has_judge`: as guards have it.
        """
        assert keys.namespace is not None  # noqa: S101
        assert keys.pool is not None  # noqa: S101
        question = keys.question or ""
        if vector is None:
            vector = self._embed(question)
        with self._lock:
            index = self._open_index(keys.namespace, vector)
            nearest = index.nearest(vector)
        near = [(entry_id, cosine) for entry_id, cosine in nearest if cosine >= LEAST_SIMILARITY and entry_id != but]
        if not near:
            return []
        entries = {entry.id: entry for entry in self._entries.get_many([i for i, _ in near], keys.namespace, oldest)}
        candidates: list[tuple[CacheEntry, float, str | None]] = []
        for entry_id, similarity in near:
            entry = entries.get(entry_id)
            if entry is None or entry.question is None:
                continue
            if len(candidates) == NEAREST:
                break
            refusal = guards.find_refusal(question, entry.question, keys.language or "", has_judge=has_judge)
            if refusal is None and self._is_blocked(keys.pool, question, entry.question):
                refusal = "blocked pair"
            candidates.append((entry, similarity, refusal))
        return candidates

    def _open_index(self, namespace: str, vector: "np.ndarray") -> _NamespaceIndex:
        """The index of a namespace with what SQL has by now."""
        import numpy as np

        index = self._indexes.pop(namespace, None) or _NamespaceIndex(len(vector))
        self._indexes[namespace] = index
        while len(self._indexes) > _MOST_INDEXES:
            self._indexes.popitem(last=False)
        query = select(_E.id, _E.created_at).where(_E.vector.is_not(None))
        if index.followed_to is None:
            query = query.where(_E.namespace == namespace)
        else:  # by the ids' own time alone, for an index of namespaces would read the whole one each time
            since_ms = int((index.followed_to - timedelta(seconds=30)).timestamp() * 1_000)
            query = query.where(_E.id >= make_id_at(since_ms, 0, 0), _E.namespace.concat("") == namespace)
        with self._store.read() as connection:
            created = {row.id: row.created_at for row in connection.execute(query)}
            unknown = index.find_unknown(created)
            for start in range(0, len(unknown), _BATCH):
                query_of_vectors = select(_E.id, _E.vector).where(_E.id.in_(unknown[start : start + _BATCH]))
                rows = connection.execute(query_of_vectors).all()
                if rows:
                    index.add([row.id for row in rows], np.array([np.frombuffer(row.vector, "<f4") for row in rows]))
        index.followed_to = max(created.values(), default=index.followed_to)
        return index

    def _add(self, entry_id: str, vector: "np.ndarray") -> None:
        with self._store.write() as connection:
            connection.execute(update(cache_entries).where(_E.id == entry_id).values(vector=vector.tobytes()))

    def _is_blocked(self, pool: str, first: str, second: str) -> bool:
        pair = hash_pair(self._secret, first, second)
        blocked = cache_blocked_pairs.c
        query = select(blocked.pair).where(blocked.pool == pool, blocked.pair == pair)
        with self._store.read() as connection:
            return connection.scalar(query) is not None

    def _note(
        self,
        plan: Plan,
        keys: Keys,
        entry: CacheEntry,
        similarity: float,
        guard: str | None,
        verdict: str | None,
        *,
        label: str | None = None,
        call_id: str | None = None,
        was_served: bool = False,
    ) -> None:
        row: dict[str, Any] = {
            "id": make_id(),
            "created_at": utc_now(),
            "configuration_id": plan.configuration.id,
            "pool": keys.pool,
            "entry_id": entry.id,
            "call_id": call_id or plan.request.call_id or "",
            "user_id": plan.request.actor.user_id,
            "team_id": plan.request.actor.team_id,
            "similarity": similarity,
            "guard": guard,
            "verdict": verdict,
            "label": label,
            "labelled_by": None if label is None else "answers",
            "was_served": was_served,
            "saved_nano_usd": entry.cost_nano_usd,
            "question": self._secret.seal(keys.question),
            "candidate": self._secret.seal(entry.question),
        }
        with self._store.write() as connection:
            connection.execute(insert(cache_decisions).values(**row))


def hash_pair(secret: CacheSecret, first: str, second: str) -> str:
    """The keyed hash of two questions, whichever comes first."""
    return secret.hash(b"pair", *sorted((first.encode(), second.encode())))
