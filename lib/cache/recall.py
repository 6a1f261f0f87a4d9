"""Asked before a call goes upstream, told when it has ended: the cache's place on a call's way.

On the calls' event loop nothing blocks: rules and the hashes of what is known stand in memory, so a configuration
without a cache costs a look into a dictionary, and a sure miss asks no database. A thread follows what other processes
change (rules, new entries), and writes what was remembered, served and counted.
"""

import asyncio
import logging
import queue
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import date, datetime, timedelta
from time import monotonic
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from lib.cache.eligibility import find_ending_exclusion, find_exclusion
from lib.cache.entries import CacheEntry, Entries, EntryOwner, Hit, make_entry
from lib.cache.flights import Flights
from lib.cache.namespace import Keys, find_scope_exclusion, make_keys
from lib.cache.policy import CacheRules, CacheTier, SemanticMode
from lib.cache.remembered import Remembered
from lib.cache.secret import CacheSecret
from lib.calls.live_call import LiveCall
from lib.calls.request import CachePolicy, Plan
from lib.calls.sources import AnswerSource
from lib.clock import utc_now

log = logging.getLogger(__name__)
FOLLOW_S = 1.0  # how far another process's entries and rules may be behind
_SHRINK_S = 60.0
_MOST_WAITING = 10_000  # answers and notes that wait to be written; more are not kept
MISS = "miss"
NO_STORE = "no-store"

Later = Callable[[LiveCall, CacheEntry, Keys, CacheRules], None]


class _Lead(Struct):
    """A call whose answer is to be kept; it holds the plan, so that nothing else gets the plan's identity."""

    plan: Plan
    keys: Keys
    rules: CacheRules
    leads: bool


class _Stored(Struct):
    entry: CacheEntry
    keys: Keys
    rules: CacheRules
    call: LiveCall
    owner: EntryOwner


class Recall:
    """One for a process. `judge` is asked for a reworded question that is not found by its words."""

    def __init__(self, entries: Entries, secret: CacheSecret, load_rules: Callable[[], dict[str, CacheRules]]) -> None:
        self._entries = entries
        self._secret = secret
        self._load_rules = load_rules
        self._rules: dict[str, CacheRules] = {}
        self._known: set[str] = set()
        self._fresh: dict[str, CacheEntry] = {}  # by exact and loose key, until they are in SQL
        self._followed_to: datetime | None = None
        self._flights = Flights()
        self._leads: dict[int, _Lead] = {}  # by the identity of the plan, which its call holds
        self._hits: dict[int, tuple[Plan, CacheEntry, str]] = {}
        self._counts: Counter[tuple[date, str, str]] = Counter()
        self._work: queue.Queue[tuple[str, Any]] = queue.Queue(_MOST_WAITING)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()
        self.find_reworded: Callable[[Plan, Keys, CacheRules, datetime], CacheEntry | None] | None = None
        self.compare_later: Later | None = None

    def start(self) -> None:
        """Read rules and known hashes, and follow them from now on; the first call of a process does so."""
        with self._lock:
            if self._thread is not None or self._stopped.is_set():
                return
            self._thread = threading.Thread(target=self._repeat, name="cache", daemon=True)
        self.follow()
        self._thread.start()

    def stop(self) -> None:
        """Write what waits and end; what was not compared by then is not."""
        self._stopped.set()
        self.compare_later = None
        if self._thread is not None and self._thread.is_alive():
            self._thread.join(5)
        self.flush()

    async def find(self, plan: Plan) -> AnswerSource | None:
        """The remembered answer to a plan, or None."""
        if self._thread is None:
            await asyncio.to_thread(self.start)
        rules = self._rules.get(plan.configuration.id)
        if rules is None:
            return None
        policy = plan.request.cache_policy or CachePolicy()
        reads = policy.reads is not False
        writes = policy.writes is not False
        outcome = NO_STORE if not (reads or writes) else find_exclusion(plan) or find_scope_exclusion(plan, rules)
        if outcome is not None:
            self._count(plan, outcome)
            return None
        keys = make_keys(plan, rules, self._secret)
        ttl_s = rules.ttl_s if policy.ttl_s is None else min(policy.ttl_s, rules.ttl_s)
        hit = await self._find(plan, keys, rules, utc_now() - timedelta(seconds=ttl_s)) if reads else None
        if hit is not None:
            self._hits[id(plan)] = (plan, *hit)
            return Remembered(hit[0], hit[1], keeps_pace=rules.keeps_pace)
        self._count(plan, MISS)
        return None if not writes else await self._lead(plan, keys, rules, reads=reads)

    async def _find(self, plan: Plan, keys: Keys, rules: CacheRules, oldest: datetime) -> tuple[CacheEntry, str] | None:
        if rules.exact and (fresh := self._find_fresh(keys.exact, oldest)) is not None:
            return fresh, CacheTier.EXACT
        if rules.exact and keys.exact in self._known:
            entry = await asyncio.to_thread(self._entries.find, "exact_key", keys.exact, oldest)
            if entry is not None:
                return entry, CacheTier.EXACT
        if rules.loose and keys.loose is not None and (fresh := self._find_fresh(keys.loose, oldest)) is not None:
            return fresh, CacheTier.LOOSE
        if rules.loose and keys.loose is not None and keys.loose in self._known:
            entry = await asyncio.to_thread(self._entries.find, "loose_key", keys.loose, oldest)
            if entry is not None:
                return entry, CacheTier.LOOSE
        serves = rules.semantic in (SemanticMode.JUDGED, SemanticMode.PROVED)
        if serves and keys.namespace is not None and self.find_reworded is not None:
            entry = await asyncio.to_thread(self.find_reworded, plan, keys, rules, oldest)
            if entry is not None:
                return entry, CacheTier.SEMANTIC
        return None

    def _find_fresh(self, key: str, oldest: datetime) -> CacheEntry | None:
        """The answer with a key that is not in SQL yet, where it is not too old for who asks."""
        fresh = self._fresh.get(key)
        return fresh if fresh is not None and fresh.created_at >= oldest else None

    async def _lead(self, plan: Plan, keys: Keys, rules: CacheRules, *, reads: bool) -> AnswerSource | None:
        """Note that the answer is to be kept; wait for an equal request that is on its way."""
        leads = rules.exact and reads and self._flights.lead(keys.exact)
        if rules.exact and reads and not leads:
            entry = await self._flights.wait(keys.exact)
            if entry is not None:
                self._hits[id(plan)] = (plan, entry, CacheTier.EXACT)
                return Remembered(entry, CacheTier.EXACT, keeps_pace=rules.keeps_pace)
            leads = True  # after a failure, or by itself
        self._leads[id(plan)] = _Lead(plan, keys, rules, leads)
        return None

    def take(self, call: LiveCall) -> None:
        """Keep the answer of a call that has ended, or note that it was served from memory."""
        hit = self._hits.pop(id(call.plan), None)
        lead = self._leads.pop(id(call.plan), None)
        if hit is not None:
            self._take_hit(call, *hit[1:])
        if lead is None:
            return
        entry = None
        if (exclusion := find_ending_exclusion(call)) is not None:
            self._count(call.plan, exclusion)
        else:
            entry = make_entry(call, lead.keys.question)
            fresh = {key: entry for key in (lead.keys.exact, lead.keys.loose) if key is not None}
            self._fresh.update(fresh)
            if not self._put("store", _Stored(entry, lead.keys, lead.rules, call, build_owner(call))):
                self._drop_fresh(entry, fresh)
        if lead.leads:
            self._flights.land(lead.keys.exact, entry)

    def _take_hit(self, call: LiveCall, entry: CacheEntry, tier: str) -> None:
        if call.row is None or call.row.status != "ok" or call.row.cache != tier:
            return  # it was not served after all
        self._count(call.plan, tier)
        self._put("hit", Hit(call.call_id, entry, str(tier), build_owner(call)))

    def _count(self, plan: Plan, outcome: str) -> None:
        with self._lock:
            self._counts[utc_now().date(), plan.configuration.id, str(outcome)[:24]] += 1

    def _drop_fresh(self, entry: CacheEntry, keys: Iterable[str | None]) -> None:
        for key in keys:
            if key is not None and self._fresh.get(key) is entry:
                del self._fresh[key]

    def _put(self, kind: str, job: Any) -> bool:
        """Hand on what is to be written; False where too much waits already."""
        try:
            self._work.put_nowait((kind, job))
        except queue.Full:
            log.warning("The cache can't keep up with what is to be remembered; an answer is left out.")
            return False
        return True

    def follow(self) -> None:
        """Read the rules in force, and what other processes have remembered."""
        self._rules = {key: rules for key, rules in self._load_rules().items() if rules.is_on}
        if not self._rules:
            return
        keys, self._followed_to = self._entries.keys_since(self._followed_to)
        for exact, loose in keys:
            self._known.add(exact)
            if loose is not None:
                self._known.add(loose)

    def forget(self) -> None:
        """Read all known hashes anew, after entries were deleted."""
        self._known = set()
        self._followed_to = None
        self.follow()

    def flush(self) -> None:
        """Write what waits."""
        stored: list[_Stored] = []
        hits: list[Hit] = []
        while True:
            try:
                kind, note = self._work.get_nowait()
            except queue.Empty:
                break
            (stored if kind == "store" else hits).append(note)
        if stored:
            try:
                self._store(stored)
            finally:  # what could not be written is not served either: nobody could purge it
                for note in stored:
                    self._drop_fresh(note.entry, (note.keys.exact, note.keys.loose))
        if hits:
            self._entries.note_hits(hits)
        with self._lock:
            counts = self._counts
            self._counts = Counter()
        if counts:
            self._entries.note_counts(counts.items())

    def _complete(self, note: _Stored) -> _Stored:
        """Complete what is stored by the keys and the question that rules may ask for later."""
        if note.rules.compares_words:
            return note
        keys = make_keys(note.call.plan, note.rules, self._secret, completely=True)
        return replace(note, keys=keys, entry=replace(note.entry, question=keys.question))

    def _store(self, stored: list[_Stored]) -> None:
        stored = [self._complete(note) for note in stored]
        rows = []
        for note in stored:
            row = self._entries.make_row(note.entry, note.keys, note.owner)
            if row is None:
                self._count(note.call.plan, "too long")
            else:
                rows.append(row)
        self._entries.store(rows)
        for row in rows:
            self._known.add(row["exact_key"])
            if row["loose_key"] is not None:
                self._known.add(row["loose_key"])
        for note in stored:
            if self.compare_later is not None and note.keys.namespace is not None:
                self.compare_later(note.call, note.entry, note.keys, note.rules)

    def _repeat(self) -> None:
        shrunk = monotonic()
        while not self._stopped.wait(FOLLOW_S):
            try:
                self.flush()
                self.follow()
                if monotonic() - shrunk > _SHRINK_S:
                    shrunk = monotonic()
                    self._entries.shrink(self._rules)
            except Exception:  # the thread's boundary: a lost database comes back
                log.exception("The cache could not write or follow.")


def build_owner(call: LiveCall) -> EntryOwner:
    """Whose a call's answer is."""
    plan = call.plan
    return EntryOwner(plan.configuration.id, plan.app, call.user_id, plan.request.actor.team_id)
