"""Asked before a call goes upstream, told when it has ended: the cache's place on a call's way.

On the calls' event loop nothing blocks: rules and the hashes of what is known stand in memory, so a configuration
without a cache costs a look into a dictionary, and a sure miss asks no database. A thread follows what other processes
change (rules, new entries), and writes what was remembered, served and counted. Whatever may have to wait for a judge
has threads of its own, and a bound on how much may wait: storing goes on beside a judge that hangs.
"""

import asyncio
import logging
import queue
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from time import monotonic
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from lib.cache.comparisons import Comparisons
from lib.cache.eligibility import find_ending_exclusion, find_exclusion
from lib.cache.entries import CacheEntry, Entries, EntryOwner, Hit, make_entry
from lib.cache.flights import Flights
from lib.cache.namespace import Keys, complete_keys, find_scope_exclusion, make_keys, read_sketch
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
_LEAST_KNOWN = 20_000  # hashes, before it is asked which of them still stand for something
_SEARCHERS = 4
_MOST_SEARCHES = 16
_SERVES_REWORDED = (SemanticMode.JUDGED, SemanticMode.PROVED)
_BY_RULES = CachePolicy()
_MOST_WAITING = 10_000  # answers and notes that wait to be written; more are not kept
MISS = "miss"
NO_STORE = "no-store"

FindReworded = Callable[[Plan, Keys, CacheRules, datetime], CacheEntry | None]
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
    """One for a process. `find_reworded` is asked for a question that is not found by its words."""

    def __init__(self, entries: Entries, secret: CacheSecret, load_rules: Callable[[], dict[str, CacheRules]]) -> None:
        self._entries = entries
        self._secret = secret
        self._load_rules = load_rules
        self._rules: dict[str, CacheRules] = {}
        self._known: set[str] = set()  # exact keys, and sketches of loose ones
        self._most_known = _LEAST_KNOWN
        self._fresh: dict[str, _Stored] = {}  # by exact key and sketch, until they are in SQL
        self._followed_to: datetime | None = None
        self._flights = Flights()
        self._leads: dict[int, _Lead] = {}  # by the identity of the plan, which its call holds
        self._hits: dict[int, tuple[Plan, CacheEntry, str]] = {}
        self._counts: Counter[tuple[int, str, str]] = Counter()
        self._work: queue.Queue[tuple[str, Any]] = queue.Queue(_MOST_WAITING)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()
        self._searchers = ThreadPoolExecutor(_SEARCHERS, "cache-search")  # its own: a slow judge holds up nobody else
        self._searching = 0
        self._comparisons = Comparisons()
        self.find_reworded: FindReworded | None = None
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
        self._comparisons.stop()
        self._searchers.shutdown(wait=False, cancel_futures=True)
        if self._thread is not None and self._thread.is_alive():
            self._thread.join(5)
        self.flush()
        self._entries.close()

    async def find(self, plan: Plan) -> AnswerSource | None:
        """The remembered answer to a plan, or None."""
        if self._thread is None:
            await asyncio.to_thread(self.start)
        rules = self._rules.get(plan.configuration.id)
        if rules is None:
            return None
        policy = plan.request.cache_policy or _BY_RULES
        reads = policy.reads is not False
        writes = policy.writes is not False
        outcome = NO_STORE if not (reads or writes) else find_exclusion(plan) or find_scope_exclusion(plan, rules)
        if outcome is not None:
            self._count(plan, outcome)
            return None
        keys = make_keys(plan, rules, self._secret)
        if reads and self._may_find(keys, rules):
            ttl_s = rules.ttl_s if policy.ttl_s is None else min(policy.ttl_s, rules.ttl_s)
            hit = await self._find(plan, keys, rules, utc_now() - timedelta(seconds=ttl_s))
            if hit is not None:
                return self._serve(plan, *hit, rules)
        self._count(plan, MISS)
        if not writes:
            return None
        leads = rules.exact and reads
        if leads and not self._flights.lead(keys.exact):
            entry = await self._flights.wait(keys.exact)  # an equal request is on its way
            if entry is not None:
                return self._serve(plan, entry, CacheTier.EXACT, rules)
        self._leads[id(plan)] = _Lead(plan, keys, rules, leads)
        return None

    def _serve(self, plan: Plan, entry: CacheEntry, tier: CacheTier, rules: CacheRules) -> AnswerSource:
        self._hits[id(plan)] = (plan, entry, tier)
        return Remembered(entry, tier, keeps_pace=rules.keeps_pace)

    def _may_find(self, keys: Keys, rules: CacheRules) -> bool:
        """Whether there may be an answer; most requests have none for sure, and nothing more is computed for these."""
        if rules.semantic in _SERVES_REWORDED and keys.question is not None and self.find_reworded is not None:
            return True
        return (rules.exact and self._is_known(keys.exact)) or (rules.loose and self._is_known(keys.sketch))

    def _is_known(self, key: str | None) -> bool:
        return key in self._known or key in self._fresh

    async def _find(
        self, plan: Plan, keys: Keys, rules: CacheRules, oldest: datetime
    ) -> tuple[CacheEntry, CacheTier] | None:
        if rules.exact and self._is_known(keys.exact):
            fresh = self._fresh.get(keys.exact)
            entry = fresh.entry if fresh is not None and fresh.entry.created_at >= oldest else None
            entry = entry or await self._entries.find_at_once("exact_key", keys.exact, oldest)
            if entry is not None:
                return entry, CacheTier.EXACT
        if rules.loose and self._is_known(keys.sketch):
            entry = await self._find_loose(complete_keys(keys, plan, rules, self._secret), oldest)
            if entry is not None:
                return entry, CacheTier.LOOSE
        if rules.semantic in _SERVES_REWORDED and keys.question is not None and self.find_reworded is not None:
            entry = await self._search(self.find_reworded, plan, keys, rules, oldest)
            if entry is not None:
                return entry, CacheTier.SEMANTIC
        return None

    async def _find_loose(self, keys: Keys, oldest: datetime) -> CacheEntry | None:
        if keys.loose is None or keys.sketch is None:
            return None
        fresh = self._fresh.get(keys.sketch)
        if fresh is not None and fresh.entry.created_at >= oldest and self._complete(fresh).keys.loose == keys.loose:
            return fresh.entry
        return await self._entries.find_at_once("loose_key", keys.loose, oldest)

    async def _search(
        self, find: FindReworded, plan: Plan, keys: Keys, rules: CacheRules, oldest: datetime
    ) -> CacheEntry | None:
        """Look for a question in other words; where too many are looked for already, there is none."""
        if self._searching >= _MOST_SEARCHES:
            self._count(plan, "search was full")
            return None

        def search() -> CacheEntry | None:
            complete = complete_keys(keys, plan, rules, self._secret)
            return None if complete.namespace is None else find(plan, complete, rules, oldest)

        self._searching += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._searchers, search)
        finally:
            self._searching -= 1

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
            stored = _Stored(entry, lead.keys, lead.rules, call, build_owner(call))
            for key in _list_fresh_keys(stored):
                self._fresh[key] = stored
            if not self._put("store", stored):
                self._drop_fresh(stored)
        if lead.leads:
            self._flights.land(lead.keys.exact, entry)

    def _take_hit(self, call: LiveCall, entry: CacheEntry, tier: str) -> None:
        if call.row is None or call.row.status != "ok" or call.row.cache != tier:
            return  # it was not served after all
        self._count(call.plan, tier)
        self._put("hit", Hit(call.call_id, entry, str(tier), build_owner(call)))

    def _count(self, plan: Plan, outcome: str) -> None:
        key = (plan.request.actor.team_id, plan.configuration.id, outcome)
        with self._lock:
            self._counts[key] += 1

    def _drop_fresh(self, stored: _Stored) -> None:
        for key in _list_fresh_keys(stored):
            if self._fresh.get(key) is stored:
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
        self._rules = self._load_active_rules()
        if not self._rules:
            return
        if len(self._known) > self._most_known:  # many of them have gone from SQL since
            self.forget()
        else:
            self._learn()
        self._entries.forget_opened()

    def _load_active_rules(self) -> dict[str, CacheRules]:
        return {key: rules for key, rules in self._load_rules().items() if rules.is_on}

    def _learn(self) -> None:
        keys, self._followed_to = self._entries.keys_since(self._followed_to)
        for exact, loose in keys:
            self._know(exact, loose)

    def _know(self, exact: str, loose: str | None) -> None:
        self._known.add(exact)
        if loose is not None:
            self._known.add(read_sketch(loose))

    def forget(self) -> None:
        """Read all known hashes anew, after entries were deleted."""
        self._entries.forget_opened(everything=True)
        self._known = set()
        self._followed_to = None
        self._rules = self._load_active_rules()
        if self._rules:
            self._learn()
        self._most_known = max(_LEAST_KNOWN, 2 * len(self._known))

    def settle(self) -> None:
        """Write what waits, and compare what is new with what was known; as long as a judge takes."""
        self.flush()
        self._comparisons.wait()

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
                    self._drop_fresh(note)
        if hits:
            self._entries.note_hits(hits)
        with self._lock:
            counts = self._counts
            self._counts = Counter()
        if counts:
            self._entries.note_counts(utc_now().date(), counts)

    def _complete(self, note: _Stored) -> _Stored:
        """Complete what is stored by the keys and the question that rules may ask for later."""
        keys = complete_keys(note.keys, note.call.plan, note.rules, self._secret)
        question = keys.question if keys.namespace is not None else None
        return replace(note, keys=keys, entry=replace(note.entry, question=question))

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
            self._know(row["exact_key"], row["loose_key"])
        stored_ids = {row["id"] for row in rows}
        for note in stored:
            if note.entry.id in stored_ids and note.keys.namespace is not None:
                self._compare(note)

    def _compare(self, note: _Stored) -> None:
        if note.rules.semantic is SemanticMode.OFF or (compare := self.compare_later) is None:
            return
        if not self._comparisons.put(partial(compare, note.call, note.entry, note.keys, note.rules)):
            self._count(note.call.plan, "not compared")

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


def _list_fresh_keys(stored: _Stored) -> list[str]:
    keys = stored.keys
    return [keys.exact] if keys.sketch is None else [keys.exact, keys.sketch]
