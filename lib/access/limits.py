"""Requests and tokens a minute by key, by app and by team, calls at once by key: exact over all processes.

`check_many` runs inside the write transaction that opens the calls it is asked about, so a batch of calls costs one
statement to read the counters and one to write them, and only where there are limits. The counters' rows stay locked
until that transaction ends (on SQLite the whole database is), so two processes decide one after the other. Calls at
once are the rows of `open_calls`: a killed process gives its places back when its calls are closed as orphaned. Why it
is built so: docs/decisions/limits.md.
"""

import math
from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, bindparam, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from lib.access import audit
from lib.access.api_key import check_app
from lib.access.grants import NO_LIMITS, KeyGrant, Limits
from lib.access.permissions import Actor, Permission
from lib.access.rate_counter import RateCounter
from lib.access.team_scope import filter_usable
from lib.clock import utc_now
from lib.db.compiled_statements import CompiledStatement
from lib.db.engine import Store
from lib.db.tables import FIRST_TEAM, api_keys, configurations, installation_settings, open_calls, rate_counters, teams
from lib.errors import InvalidInput, NotFound, Throttled

_SETTING = "app_limits"
_FRESH_S = 4.0
_LARGEST = 2**31 - 1
_C = rate_counters.c
_COUNTERS = CompiledStatement(
    select(_C.subject, _C.seconds)
    .where(_C.subject.in_(bindparam("subjects", expanding=True)))
    .order_by(_C.subject)
    .with_for_update()
)
_IN_FLIGHT = CompiledStatement(
    select(open_calls.c.api_key_id, func.count(open_calls.c.call_id.distinct()).label("calls"))
    .where(open_calls.c.api_key_id.in_(bindparam("keys", expanding=True)))
    .group_by(open_calls.c.api_key_id)
)
_CHANGE = CompiledStatement(
    update(rate_counters).where(_C.subject == bindparam("of")).values(seconds=bindparam("seconds"))
)


class LimitKind(StrEnum):
    """What ran out."""

    REQUESTS = "requests a minute"
    TOKENS = "tokens a minute"
    CONCURRENCY = "calls at once"


class Claim(Struct, frozen=True):
    """A call that wants to open: `tokens` is what it may use at most, as far as that can be told."""

    app: str
    tokens: int
    key: KeyGrant | None = None
    team_id: int = FIRST_TEAM


class LimitState(Struct, frozen=True):
    """A limit after the decision, for protocol headers; `reset_s` is when all of it is free again."""

    limit: int
    remaining: int
    reset_s: float


class ExceededLimit(Struct, frozen=True):
    """Which limit stood in the way; `retry_after_s` None: the call is larger than the limit itself."""

    kind: LimitKind
    subject: str  # key, app or team
    limit: int
    retry_after_s: float | None

    def error(self) -> Throttled:
        """Build the error that tells the caller which limit was reached and when to try again."""
        title = f"The limit of this {self.subject} is reached: {self.limit:,} {self.kind}."
        if self.retry_after_s is None:
            return Throttled(title, "The call alone is larger.", "Make it smaller, or raise the limit.", None)
        wait = max(1, math.ceil(self.retry_after_s))
        return Throttled(title, "", f"Try again in {wait} s.", retry_after=wait)


class LimitDecision(Struct, frozen=True):
    """Whether a call may open, and how its limits stand; None where there is no limit of the kind."""

    refused: ExceededLimit | None = None
    requests: LimitState | None = None
    tokens: LimitState | None = None


class RateLimits:
    """The limits of apps and teams, and the counting for them and for keys. Thread-safe."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._by_subject: tuple[float, dict[str, Limits]] | None = None

    def list_apps(self, actor: Actor) -> dict[str, Limits]:
        """Return the limits by app, of apps that have some; those that the team has configurations or keys for."""
        actor.require(Permission.VIEW_CONFIGS)
        with self._store.read() as connection:
            limits_by_app = _read_apps(connection)
            if actor.sees_every_team:
                return limits_by_app
            queries = [
                select(table.c.app).where(filter_usable(actor, table.c.team_id)).distinct()
                for table in (configurations, api_keys)
            ]
            apps = {app for query in queries for app in connection.scalars(query)}
        return {app: limits for app, limits in limits_by_app.items() if app in apps}

    def set_app(self, actor: Actor, app: str, limits: Limits) -> None:
        """Give an app limits, or take them away (all None); takes effect everywhere within five seconds."""
        actor.require_super_admin()
        if limits.concurrency is not None:
            raise InvalidInput("An app has no limit of calls at once.", "", "Set it on its keys.", field="concurrency")
        app = check_app(app)
        check_limits(limits)
        with self._store.write() as connection:
            empty = {"name": _SETTING, "value": {}, "updated_at": utc_now()}
            connection.execute(_get_insert(connection)(installation_settings).values(empty).on_conflict_do_nothing())
            is_setting = installation_settings.c.name == _SETTING
            value = dict(
                connection.execute(
                    select(installation_settings.c.value).where(is_setting).with_for_update()
                ).scalar_one()
            )
            value.pop(app, None)
            if limits != NO_LIMITS:
                value[app] = [limits.requests_per_minute, limits.tokens_per_minute]
                prepare_counters(connection, [f"app:{app}"])
            connection.execute(
                update(installation_settings).where(is_setting).values(value=value, updated_at=utc_now())
            )
            detail = {"requests_per_minute": limits.requests_per_minute, "tokens_per_minute": limits.tokens_per_minute}
            audit.record(connection, actor, "limits.change", f"app {app}", **detail)
        self._by_subject = None

    def set_team(self, actor: Actor, team_id: int, limits: Limits) -> None:
        """Give a team limits, or take them away (all None); takes effect everywhere within five seconds."""
        actor.require_team_administrator(team_id, "set this team's limits")
        if limits.concurrency is not None:
            raise InvalidInput("A team has no limit of calls at once.", "", "Set it on its keys.", field="concurrency")
        check_limits(limits)
        values = {"requests_per_minute": limits.requests_per_minute, "tokens_per_minute": limits.tokens_per_minute}
        with self._store.write() as connection:
            changed = update(teams).where(teams.c.id == team_id).values(**values).returning(teams.c.slug)
            slug = connection.scalar(changed)
            if slug is None:
                raise NotFound("There is no such team.")
            prepare_counters(connection, [f"team:{team_id}"])
            audit.record(connection, actor, "limits.change", f"team {slug}", of_team=team_id, **values)
        self._by_subject = None

    def meets_none(self, claim: Claim) -> bool:
        """Whether no limit applies to a call, as far as that is known without asking."""
        moment = utc_now().timestamp()
        cached = self._by_subject
        return cached is not None and 0 <= moment - cached[0] < _FRESH_S and not _list_subjects(claim, cached[1])

    def check_many(self, connection: Connection, claims: Sequence[Claim], now: datetime) -> list[LimitDecision]:
        """Decide and count, one claim after the other, inside a write transaction. What is refused is not counted."""
        moment = now.timestamp()
        by_subject = self._get_limits(connection, moment)
        counters = _read_counters(
            connection, (s for claim in claims for s, _ in _list_subjects(claim, by_subject)), moment
        )
        if not counters:
            return [LimitDecision()] * len(claims)
        in_flight = _count_in_flight(connection, claims)
        verdicts = [_decide(claim, _list_subjects(claim, by_subject), counters, in_flight) for claim in claims]
        _write_counters(connection, counters)
        return verdicts

    def take(self, claim: Claim) -> None:
        """Count a request that is no call; Throttled where a limit is reached. In a transaction of its own."""
        now = utc_now()
        with self._store.write() as connection:
            (verdict,) = self.check_many(connection, [claim], now)
        if verdict.refused is not None:
            raise verdict.refused.error()

    def record_tokens(
        self, connection: Connection, spent: Iterable[tuple[Claim, int | None, datetime]], now: datetime
    ) -> None:
        """Put what calls really used in place of their estimates: (claim, tokens or None for unknown, opened at)."""
        moment = now.timestamp()
        by_subject = self._get_limits(connection, moment)
        corrections = [(claim, used - claim.tokens, at.timestamp()) for claim, used, at in spent if used is not None]
        changes = [
            (s, diff, at) for claim, diff, at in corrections if diff for s, _ in _list_subjects(claim, by_subject)
        ]
        counters = _read_counters(connection, (subject for subject, _, _ in changes), moment)
        for subject, difference, opened in changes:
            counters[subject].correct(opened, difference)
        _write_counters(connection, counters)

    def _get_limits(self, connection: Connection, moment: float) -> dict[str, Limits]:
        cached = self._by_subject
        if cached is None or not 0 <= moment - cached[0] < _FRESH_S:
            cached = self._by_subject = (moment, _read_by_subject(connection))
        return cached[1]


def check_limits(limits: Limits) -> None:
    """InvalidInput names a limit that is not a whole number above zero."""
    for name, value in vars(limits).items():
        if value is not None and not 0 < value <= _LARGEST:
            raise InvalidInput(
                "The limit can't be used.", "It is a whole number above zero, or empty for none.", field=name
            )


def prepare_counters(connection: Connection, subjects: Iterable[str]) -> None:
    """Insert missing rows of counters, so that they can be locked; rows that exist stay as they are."""
    if rows := [{"subject": subject, "seconds": []} for subject in sorted(set(subjects))]:
        connection.execute(_get_insert(connection)(rate_counters).on_conflict_do_nothing(), rows)


def _decide(
    claim: Claim, subjects: list[tuple[str, Limits]], counters: dict[str, RateCounter], in_flight: dict[str, int]
) -> LimitDecision:
    refusals = [
        refusal
        for subject, limits in subjects
        if (refusal := _find_exceeded_limit(claim, subject, limits, counters[subject], in_flight)) is not None
    ]
    if not refusals:
        for subject, _ in subjects:
            counters[subject].take(claim.tokens)
        if claim.key is not None:
            in_flight[claim.key.key_id] = in_flight.get(claim.key.key_id, 0) + 1
    never = math.inf  # the longest wait is the honest one
    refused = max(refusals, key=lambda r: never if r.retry_after_s is None else r.retry_after_s, default=None)
    requests = list[LimitState]()
    tokens = list[LimitState]()
    for subject, limits in subjects:
        counter = counters[subject]
        if (limit := limits.requests_per_minute) is not None:
            requests.append(LimitState(limit, max(0, limit - counter.requests), counter.reset_s))
        if (limit := limits.tokens_per_minute) is not None:
            tokens.append(LimitState(limit, max(0, limit - counter.tokens), counter.reset_s))
    return LimitDecision(refused, _pick_tightest(requests), _pick_tightest(tokens))


def _find_exceeded_limit(
    claim: Claim, subject: str, limits: Limits, counter: RateCounter, in_flight: dict[str, int]
) -> ExceededLimit | None:
    exceeded = list[ExceededLimit]()
    whose = subject.partition(":")[0]
    if (limit := limits.requests_per_minute) is not None and (wait := counter.wait_for_requests(limit)) != 0:
        exceeded.append(ExceededLimit(LimitKind.REQUESTS, whose, limit, wait))
    if (limit := limits.tokens_per_minute) is not None and (wait := counter.wait_for_tokens(limit, claim.tokens)) != 0:
        exceeded.append(ExceededLimit(LimitKind.TOKENS, whose, limit, wait))
    running = in_flight.get(claim.key.key_id, 0) if claim.key is not None else 0
    if (limit := limits.concurrency) is not None and running >= limit:
        exceeded.append(ExceededLimit(LimitKind.CONCURRENCY, whose, limit, 1.0))
    return max(exceeded, key=lambda r: math.inf if r.retry_after_s is None else r.retry_after_s, default=None)


def _pick_tightest(standings: list[LimitState]) -> LimitState | None:
    return min(standings, key=lambda standing: standing.remaining, default=None)


def _list_subjects(claim: Claim, by_subject: dict[str, Limits]) -> list[tuple[str, Limits]]:
    """List the counters that a claim meets, with their limits; none for most calls."""
    met = list[tuple[str, Limits]]()
    if claim.key is not None and claim.key.limits != NO_LIMITS:
        met.append((f"key:{claim.key.key_id}", claim.key.limits))
    for subject in (f"app:{claim.app}", f"team:{claim.team_id}"):
        if (limits := by_subject.get(subject)) is not None:
            met.append((subject, limits))
    return met


def _read_counters(connection: Connection, subjects: Iterable[str], moment: float) -> dict[str, RateCounter]:
    """Read and lock the counters in the order of their names, so that two transactions never wait for each other."""
    names = set(subjects)
    if not names:
        return {}
    parameters = {"subjects": sorted(names)}
    rows = _COUNTERS.all(connection, parameters)
    if len(rows) < len(names):
        prepare_counters(connection, names - {row.subject for row in rows})
        rows = _COUNTERS.all(connection, parameters)
    return {row.subject: RateCounter(row.seconds, moment) for row in rows}


def _write_counters(connection: Connection, counters: dict[str, RateCounter]) -> None:
    if counters:
        _CHANGE.run(connection, [{"of": name, "seconds": counter.as_row()} for name, counter in counters.items()])


def _count_in_flight(connection: Connection, claims: Iterable[Claim]) -> dict[str, int]:
    """Count the calls that run now, by key, for keys with a limit of them. Runs after the counters are locked, so that
    it sees the calls let through before.
    """
    keys = {claim.key.key_id for claim in claims if claim.key is not None and claim.key.limits.concurrency is not None}
    if not keys:
        return {}
    return {row.api_key_id: row.calls for row in _IN_FLIGHT.all(connection, {"keys": sorted(keys)})}


def _read_apps(connection: Connection) -> dict[str, Limits]:
    value = connection.scalar(select(installation_settings.c.value).where(installation_settings.c.name == _SETTING))
    return {app: Limits(requests, tokens) for app, (requests, tokens) in (value or {}).items()}


def _read_by_subject(connection: Connection) -> dict[str, Limits]:
    """Read the limits of apps and teams by the names of their counters."""
    by_subject = {f"app:{app}": limits for app, limits in _read_apps(connection).items()}
    for row in connection.execute(select(teams.c.id, teams.c.requests_per_minute, teams.c.tokens_per_minute)):
        if (limits := Limits(row.requests_per_minute, row.tokens_per_minute)) != NO_LIMITS:
            by_subject[f"team:{row.id}"] = limits
    return by_subject


def _get_insert(connection: Connection) -> Any:
    return sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
