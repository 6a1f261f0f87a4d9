"""The cache as people rule it: rules of a configuration, figures, purges, would-be hits and proofs.

Changing rules, and what belongs to others, needs `edit-llm-configs`; figures need `view-llm-stats`; everybody purges
what came from their own questions. The words of a question are shown to whom the call log would show them.
"""

from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Connection, case, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from lib.access import audit
from lib.access.permissions import Actor, Permission
from lib.access.team_scope import filter_changeable, filter_owned, filter_usable, make_shared_refusal
from lib.cache.entries import Entries
from lib.cache.judge import DIFFERENT, SAME, Judge
from lib.cache.policy import CacheRules, SemanticMode, SharingScope
from lib.cache.proof import Proof, compute_upper_bound, prove
from lib.cache.recall import Recall
from lib.cache.secret import CacheSecret
from lib.cache.semantic import Semantic, hash_pair
from lib.calls.calls import Calls
from lib.clock import utc_now
from lib.db.engine import Store
from lib.db.tables import (
    cache_blocked_pairs,
    cache_counts,
    cache_decisions,
    cache_entries,
    cache_hits,
    cache_policies,
    configurations,
    usage_logs,
)
from lib.db.vault import Vault
from lib.errors import Conflict, InvalidInput, NotFound
from lib.ledger.content_policy import NOT_SHOWN

if TYPE_CHECKING:
    import numpy as np

_R = cache_policies.c
_E = cache_entries.c
_D = cache_decisions.c
_H = cache_hits.c
PROOF_DAYS = 30
MOST_DECISIONS = 200


@dataclass(frozen=True)
class CacheFigures:
    """What a configuration's cache holds and did. Money in nano-dollars; `saved_nano_usd` leaves out unknown prices."""

    configuration_id: str
    slug: str
    rules: CacheRules
    entries: int
    bytes: int
    hits: dict[str, int]
    outcomes: dict[str, int]
    saved_nano_usd: int
    unpriced_hits: int
    saved_ms: int

    @property
    def hit_rate(self) -> float | None:
        """Hits among the requests that might have been one; None before the first."""
        lookups = sum(self.hits.values()) + self.outcomes.get("miss", 0)
        return sum(self.hits.values()) / lookups if lookups else None


@dataclass(frozen=True)
class CacheDecision:
    """A question that was, or would have been, answered with another one's answer."""

    id: str
    created_at: datetime
    configuration_id: str
    pool: str
    call_id: str
    similarity: float
    guard: str | None
    verdict: str | None
    label: str | None
    labelled_by: str | None
    was_served: bool
    saved_nano_usd: int | None
    question: str
    candidate: str


@dataclass(frozen=True)
class PoolProof:
    """What is proved of the questions of one pool: a configuration, model, prompt, parameters, whoever asks."""

    pool: str
    configuration_id: str
    bound_per_mille: int
    proof: Proof
    would_be_hits: int
    unlabelled: int
    saved_nano_usd: int


class Cache:
    """Everything a door may ask of the cache, and what the call path is given (`recall`)."""

    def __init__(self, store: Store, vault: Vault, calls: Calls, embed: Callable[[str], "np.ndarray"]) -> None:
        self._store = store
        self._secret = CacheSecret(store, vault)
        self._entries = Entries(store, self._secret)
        self.recall = Recall(self._entries, self._secret, self._load_rules)
        self._semantic = Semantic(store, self._secret, self._entries, Judge(calls), embed, self._is_proved)
        self.recall.find_reworded = self._semantic.find_reworded
        self.recall.compare_later = self._semantic.compare_later
        calls.recall = self.recall

    def start(self) -> None:
        """Begin to follow what other processes change."""
        self.recall.start()

    def close(self) -> None:
        """Write what waits; end."""
        self.recall.stop()

    def rules(self, actor: Actor, configuration_id: str) -> CacheRules:
        """The rules of a configuration; all off where none were set."""
        actor.require(Permission.VIEW_CONFIGS)
        with self._store.read() as connection:
            _find_configuration(connection, actor, configuration_id)
            row = connection.execute(select(cache_policies).where(_R.configuration_id == configuration_id)).first()
        return CacheRules() if row is None else _read_rules(row)

    def change_rules(self, actor: Actor, configuration_id: str, rules: CacheRules) -> None:
        """Set a configuration's rules; sharing beyond the person is an administrator's choice."""
        actor.require(Permission.EDIT_CONFIGS)
        rules.check()
        if rules.scope is not SharingScope.PERSON:
            actor.require_super_admin("share remembered answers among people")
        values = {**asdict(rules), "updated_at": utc_now()}
        dialect = sqlite if self._store.is_sqlite else postgresql
        with self._store.write() as connection:
            configuration = _find_configuration(connection, actor, configuration_id)
            if not actor.sees_every_team and configuration.team_id != actor.team_id:
                raise make_shared_refusal(configuration.slug)
            if configuration.content_policy != "full" and rules.is_on:
                raise Conflict(
                    "This configuration's answers can't be remembered.",
                    f"Its content policy {configuration.content_policy} keeps no words, or masked ones.",
                    "Choose the content policy full, or leave the cache off.",
                )
            if rules.judge_configuration_id is not None:
                _find_configuration(connection, actor, rules.judge_configuration_id)
            statement = dialect.insert(cache_policies).values(
                configuration_id=configuration_id, team_id=configuration.team_id, **values
            )
            connection.execute(statement.on_conflict_do_update(index_elements=["configuration_id"], set_=values))
            audit.record(
                connection, actor, "cache.change", configuration.slug, of_team=configuration.team_id, **_describe(rules)
            )
        self.recall.follow()

    def figures(self, actor: Actor, days: int = 30) -> list[CacheFigures]:
        """List what each configuration's cache holds and did in the last `days`; only those with any of it."""
        actor.require(Permission.VIEW_STATS)
        self.recall.flush()
        since = utc_now() - timedelta(days=days)
        with self._store.read() as connection:
            configuration_names = select(configurations.c.id, configurations.c.slug).where(
                filter_usable(actor, configurations.c.team_id)
            )
            slugs = {row.id: row.slug for row in connection.execute(configuration_names)}
            rules = {row.configuration_id: _read_rules(row) for row in connection.execute(select(cache_policies))}
            held = {
                row.configuration_id: (row.entries, row.size)
                for row in connection.execute(
                    select(
                        _E.configuration_id,
                        func.count().label("entries"),
                        func.coalesce(func.sum(_E.bytes), 0).label("size"),
                    )
                    .where(filter_usable(actor, _E.team_id))
                    .group_by(_E.configuration_id)
                )
            }
            hits = connection.execute(
                select(
                    _H.configuration_id,
                    _H.tier,
                    func.count().label("hits"),
                    func.coalesce(func.sum(_H.saved_nano_usd), 0).label("saved"),
                    func.sum(case((_H.saved_nano_usd.is_(None), 1), else_=0)).label("unpriced"),
                    func.coalesce(func.sum(_H.saved_ms), 0).label("saved_ms"),
                )
                .where(_H.created_at >= since, filter_usable(actor, _H.team_id))
                .group_by(_H.configuration_id, _H.tier)
            ).all()
            counts = connection.execute(
                select(cache_counts.c.configuration_id, cache_counts.c.outcome, func.sum(cache_counts.c.count))
                .where(cache_counts.c.day >= since.date(), filter_usable(actor, cache_counts.c.team_id))
                .group_by(cache_counts.c.configuration_id, cache_counts.c.outcome)
            ).all()
        listed = []
        tiers = ("exact", "loose", "semantic")
        for configuration_id in {*rules, *held, *(row.configuration_id for row in hits)} & {*slugs}:
            own_hits = [row for row in hits if row.configuration_id == configuration_id]
            outcomes = {outcome: int(count) for c, outcome, count in counts if c == configuration_id}
            entries, size = held.get(configuration_id, (0, 0))
            listed.append(
                CacheFigures(
                    configuration_id,
                    slugs[configuration_id],
                    rules.get(configuration_id, CacheRules()),
                    entries,
                    int(size),
                    {row.tier: row.hits for row in own_hits},
                    {name: count for name, count in outcomes.items() if name not in tiers},
                    sum(int(row.saved) for row in own_hits),
                    sum(int(row.unpriced) for row in own_hits),
                    sum(int(row.saved_ms) for row in own_hits),
                )
            )
        return sorted(listed, key=lambda figures: figures.slug)

    def daily(self, actor: Actor, days: int = 30) -> list[dict[str, Any]]:
        """One row a day and tier: `day`, `tier`, `hits`, `saved_nano_usd`."""
        actor.require(Permission.VIEW_STATS)
        self.recall.flush()
        day = func.date(_H.created_at).label("day")
        query = (
            select(day, _H.tier, func.count().label("hits"), func.sum(_H.saved_nano_usd).label("saved_nano_usd"))
            .where(_H.created_at >= utc_now() - timedelta(days=days), filter_usable(actor, _H.team_id))
            .group_by(day, _H.tier)
            .order_by(day)
        )
        with self._store.read() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def find_answer_ages(self, actor: Actor, call_ids: Collection[str]) -> dict[str, int]:
        """Find how old answers from memory were when they were served: whole seconds by the id of the call.

        Only calls of the actor's own or, for who may see figures, of the team's; without those that went upstream, and
        those whose original call the ledger keeps no more.
        """
        actor.require(Permission.TEST_CONFIGS)
        if not call_ids:
            return {}
        if len(ages := self._read_answer_ages(actor, call_ids)) < len(set(call_ids)):
            self.recall.flush()  # the newest hits wait in this process
            ages = self._read_answer_ages(actor, call_ids)
        return ages

    def _read_answer_ages(self, actor: Actor, call_ids: Collection[str]) -> dict[str, int]:
        served = usage_logs.alias("served")
        original = usage_logs.alias("original")
        query = (
            select(_H.call_id, served.c.started_at, original.c.finished_at)
            .join(served, (served.c.call_id == _H.call_id) & served.c.is_final)
            .join(original, (original.c.call_id == _H.original_call_id) & original.c.is_final)
            .where(_H.call_id.in_(call_ids), _filter_visible(actor))
        )
        with self._store.read() as connection:
            rows = connection.execute(query).all()
        return {row.call_id: max(0, int((row.started_at - row.finished_at).total_seconds())) for row in rows}

    def purge_own(self, actor: Actor) -> int:
        """Forget every answer to the actor's own questions; how many those were."""
        actor.require(Permission.TEST_CONFIGS)
        return self._purge(actor, "own", _E.user_id == actor.user_id)

    def purge(
        self,
        actor: Actor,
        *,
        configuration_id: str | None = None,
        older_than: timedelta | None = None,
        everything: bool = False,
    ) -> int:
        """Forget a configuration's answers, those older than so long, or all; how many those were."""
        actor.require(Permission.EDIT_CONFIGS)
        conditions: list[ColumnElement[bool]] = []
        team = filter_changeable(actor, _E.team_id)
        if configuration_id is not None:
            conditions.append(_E.configuration_id == configuration_id)
        if older_than is not None:
            conditions.append(_E.created_at < utc_now() - older_than)
        if not conditions and not everything:
            raise InvalidInput(
                "Say what is to be forgotten.", "", "Name a configuration or an age, or ask for everything."
            )
        return self._purge(actor, configuration_id or "all", team, *conditions)

    def forget_call(self, actor: Actor, call_id: str) -> int:
        """Forget the answer that a call of one's own was served, or gave; administrators: any."""
        actor.require(Permission.TEST_CONFIGS)
        self.recall.flush()
        served = select(_H.entry_id).where(_H.call_id == call_id)
        conditions = [(_E.call_id == call_id) | _E.id.in_(served), filter_changeable(actor, _E.team_id)]
        if not actor.can(Permission.EDIT_CONFIGS):
            conditions.append(_E.user_id == actor.user_id)
        return self._purge(actor, call_id, *conditions)

    def _purge(self, actor: Actor, subject: str, *conditions: ColumnElement[bool]) -> int:
        self.recall.flush()
        gone = self._entries.purge(*conditions)
        with self._store.write() as connection:
            audit.record(connection, actor, "cache.purge", subject, entries=gone)
        self.recall.forget()
        self._semantic.forget()
        return gone

    def decisions(
        self, actor: Actor, configuration_id: str, *, refused: bool = False, limit: int = 10
    ) -> list[CacheDecision]:
        """Would-be hits (or, `refused`, the nearest that a guard refused), nearest first for those refused."""
        actor.require(Permission.VIEW_STATS)
        query = select(cache_decisions).where(_D.configuration_id == configuration_id, filter_usable(actor, _D.team_id))
        query = query.where(_D.guard.is_not(None) if refused else _D.guard.is_(None))
        order = (_D.similarity.desc(),) if refused else (_D.similarity, _D.created_at.desc())
        with self._store.read() as connection:
            rows = connection.execute(query.order_by(*order).limit(min(limit, MOST_DECISIONS))).all()
        return [self._read_decision(actor, row) for row in rows]

    def label(self, actor: Actor, decision_id: str, label: str) -> None:
        """Say whether two questions ask for the same. `different` blocks the pair and bans the entry."""
        actor.require(Permission.EDIT_CONFIGS)
        if label not in (SAME, DIFFERENT):
            raise InvalidInput("There is no such label.", "", "Say same or different.")
        with self._store.write() as connection:
            decision_query = select(cache_decisions).where(_D.id == decision_id, filter_changeable(actor, _D.team_id))
            row = connection.execute(decision_query).first()
            if row is None or not actor.reads_content_of(row.user_id):
                raise NotFound("There is no such decision.", "It has gone, or its words are somebody else's.")
            connection.execute(
                update(cache_decisions).where(_D.id == decision_id).values(label=label, labelled_by="person")
            )
            if label == DIFFERENT:
                connection.execute(update(cache_entries).where(_E.id == row.entry_id).values(is_banned=True))
                self._block(connection, actor, row)
            audit.record(connection, actor, "cache.label", decision_id, label=label)
        self.recall.forget()

    def proofs(self, actor: Actor) -> list[PoolProof]:
        """List what the samples of each pool prove, for pools with would-be hits in the last 30 days."""
        actor.require(Permission.VIEW_STATS)
        with self._store.read() as connection:
            rules = {row.configuration_id: _read_rules(row) for row in connection.execute(select(cache_policies))}
            pools = connection.execute(
                select(
                    _D.pool,
                    _D.configuration_id,
                    func.count().label("would_be_hits"),
                    func.sum(case((_D.label.is_(None), 1), else_=0)).label("unlabelled"),
                    func.coalesce(func.sum(_D.saved_nano_usd), 0).label("saved"),
                )
                .where(_D.guard.is_(None), _D.created_at >= _compute_proof_start(), filter_usable(actor, _D.team_id))
                .group_by(_D.pool, _D.configuration_id)
            ).all()
            proofs = []
            for row in pools:
                rule = rules.get(row.configuration_id, CacheRules())
                proofs.append(
                    PoolProof(
                        row.pool,
                        row.configuration_id,
                        rule.bound_per_mille,
                        _prove(connection, row.pool, rule),
                        row.would_be_hits,
                        int(row.unlabelled),
                        int(row.saved),
                    )
                )
        return proofs

    def _is_proved(self, pool: str, rules: CacheRules) -> bool:
        with self._store.read() as connection:
            return _prove(connection, pool, rules).is_proved

    def _block(self, connection: Connection, actor: Actor, row: Any) -> None:
        question = self._secret.open(row.question)
        candidate = self._secret.open(row.candidate)
        pair = hash_pair(self._secret, str(question), str(candidate))
        same_pair = (cache_blocked_pairs.c.pool == row.pool, cache_blocked_pairs.c.pair == pair)
        connection.execute(delete(cache_blocked_pairs).where(*same_pair))
        connection.execute(
            insert(cache_blocked_pairs).values(pool=row.pool, pair=pair, created_at=utc_now(), user_id=actor.user_id)
        )

    def _read_decision(self, actor: Actor, row: Any) -> CacheDecision:
        may_read = actor.reads_content_of(row.user_id)
        words = [self._secret.open(sealed) if may_read else NOT_SHOWN for sealed in (row.question, row.candidate)]
        return CacheDecision(
            row.id,
            row.created_at,
            row.configuration_id,
            row.pool,
            row.call_id,
            row.similarity,
            row.guard,
            row.verdict,
            row.label,
            row.labelled_by,
            row.was_served,
            row.saved_nano_usd,
            str(words[0]),
            str(words[1]),
        )

    def _load_rules(self) -> dict[str, CacheRules]:
        query = (
            select(cache_policies)
            .join(configurations, configurations.c.id == _R.configuration_id)
            .where(configurations.c.content_policy == "full")
        )
        with self._store.read() as connection:
            return {row.configuration_id: _read_rules(row) for row in connection.execute(query)}


def _prove(connection: Connection, pool: str, rules: CacheRules) -> Proof:
    """The proof of one pool: its labelled would-be hits of the last 30 days, in the order they came."""
    query = (
        select(_D.label, _D.labelled_by, _D.verdict)
        .where(_D.pool == pool, _D.guard.is_(None), _D.label.is_not(None), _D.created_at >= _compute_proof_start())
        .order_by(_D.created_at, _D.id)
    )
    rows = connection.execute(query).all()
    checked = [row for row in rows if row.labelled_by == "person" and row.verdict in (SAME, DIFFERENT)]
    by_judge = any(row.labelled_by == "answers" and row.verdict is not None for row in rows)
    wrong = sum(row.verdict == SAME and row.label == DIFFERENT for row in checked)
    judge_error = compute_upper_bound(wrong, len(checked)) if by_judge and checked else 0.0
    return prove([row.label == DIFFERENT for row in rows], rules.bound_per_mille, judge_error)


def _compute_proof_start() -> datetime:
    return utc_now() - timedelta(days=PROOF_DAYS)


def _filter_visible(actor: Actor) -> ColumnElement[bool]:
    """Hits whose figures the actor may see, as Activity shows calls: one's own, or the team's."""
    return filter_changeable(actor, _H.team_id) if actor.sees_all_calls else filter_owned(actor, _H.user_id, _H.team_id)


def _read_rules(row: Any) -> CacheRules:
    columns = {name: getattr(row, name) for name in CacheRules.__dataclass_fields__}
    rules = CacheRules(**columns)
    return replace(rules, semantic=SemanticMode(row.semantic), scope=SharingScope(row.scope))


def _describe(rules: CacheRules) -> dict[str, Any]:
    return {name: str(value) if value is not None else None for name, value in asdict(rules).items()}


def _find_configuration(connection: Connection, actor: Actor, configuration_id: str) -> Any:
    conditions = (configurations.c.id == configuration_id, filter_usable(actor, configurations.c.team_id))
    row = connection.execute(select(configurations).where(*conditions)).first()
    if row is None:
        raise NotFound("There is no such configuration.", "", "")
    return row
