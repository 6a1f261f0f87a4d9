"""Limits by key and by app: exact over several processes, counted in the transaction that opens the calls."""

import multiprocessing
import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import delete, event, func, insert, select

from lib.access.api_keys import ApiKeys
from lib.access.grants import NO_LIMITS, KeyGrant, Limits
from lib.access.limits import Claim, LimitDecision, LimitKind, RateLimits
from lib.access.permissions import OPERATOR, Role, make_actor
from lib.clock import make_id, utc_now
from lib.db.compiled_statements import CompiledStatement
from lib.db.engine import Store
from lib.db.tables import audit_log, open_calls, rate_counters
from lib.errors import InvalidInput, PermissionDenied
from tests.waiting import CEILING_S

pytestmark = pytest.mark.feature("GATE-3")


def claim(tokens: int = 0, key: str | None = "k1", app: str = "bot", **limits: int) -> Claim:
    """A call of a key with limits."""
    return Claim(app, tokens, KeyGrant(key, app, limits=Limits(**limits)) if key else None)


def ask(store: Store, limits: RateLimits, *claims: Claim, now: datetime | None = None) -> list[LimitDecision]:
    """Decide in one transaction, and open what is allowed."""
    now = now or utc_now()
    with store.write() as connection:
        verdicts = limits.check_many(connection, claims, now)
        rows = [
            open_row(c.key.key_id if c.key else None, now)
            for c, v in zip(claims, verdicts, strict=True)
            if v.refused is None
        ]
        if rows:
            connection.execute(insert(open_calls), rows)
    return verdicts


def open_row(key_id: str | None, now: datetime) -> dict[str, Any]:
    """A row of `open_calls`."""
    return {
        "id": make_id(),
        "call_id": make_id(),
        "attempt": 1,
        "started_at": now,
        "app": "bot",
        "api_key_id": key_id,
        "origin": "gateway",
        "provider": "p",
        "model": "m",
        "streamed": False,
        "parameters": {},
        "tags": {},
        "owner": "o",
        "holds": [],
    }


@contextmanager
def statements(store: Store) -> Iterator[list[str]]:
    """What is sent to the database meanwhile."""
    seen = list[str]()

    def note(_c: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        seen.append(statement)

    event.listen(store.engine, "before_cursor_execute", note)
    yield seen
    event.remove(store.engine, "before_cursor_execute", note)


def test_without_limits_nothing_is_asked(store: Store) -> None:
    limits = RateLimits(store)
    now = utc_now()
    with store.write() as connection:
        limits.check_many(connection, [claim()], now)
    with store.write() as connection, statements(store) as seen:
        verdicts = limits.check_many(connection, [claim(10), claim(key=None)] * 50, now)
    assert verdicts == [LimitDecision()] * 100
    assert seen == []


def test_a_batch_with_limits_costs_two_statements(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    limits, now = RateLimits(store), utc_now()
    claims = [claim(5, key=f"k{n % 5}", requests_per_minute=100, tokens_per_minute=1000) for n in range(60)]
    ask(store, limits, *claims, now=now)
    seen: list[str] = []
    for name in ("all", "run"):
        real = getattr(CompiledStatement, name)

        def counted(*given: Any, name: str = name, real: Any = real) -> Any:
            seen.append(name)
            return real(*given)

        monkeypatch.setattr(CompiledStatement, name, counted)
    with store.write() as connection, statements(store) as others:
        limits.check_many(connection, claims, now)
    assert seen == ["all", "run"]
    assert not others


def test_requests_of_a_key_and_the_headers_of_each_answer(store: Store) -> None:
    limits, now = RateLimits(store), utc_now().replace(microsecond=0)
    verdicts = ask(store, limits, *[claim(requests_per_minute=3)] * 5, now=now)
    assert [v.refused is None for v in verdicts] == [True, True, True, False, False]
    assert [v.requests.remaining for v in verdicts if v.requests] == [2, 1, 0, 0, 0]
    assert verdicts[0].requests is not None
    assert (verdicts[0].requests.limit, verdicts[0].requests.reset_s) == (3, 61)
    assert verdicts[0].tokens is None
    refused = verdicts[4].refused
    assert refused is not None
    assert (refused.kind, refused.subject, refused.retry_after_s) == (LimitKind.REQUESTS, "key", 61)
    assert refused.error().retry_after == 61
    assert ask(store, limits, claim(requests_per_minute=3), now=now + timedelta(seconds=60))[0].refused
    assert ask(store, limits, claim(requests_per_minute=3), now=now + timedelta(seconds=61))[0].refused is None
    assert ask(store, limits, claim(key="k2", requests_per_minute=3), now=now)[0].refused is None


def test_a_call_meets_the_limits_of_its_key_and_of_its_app(store: Store) -> None:
    limits = RateLimits(store)
    limits.set_app(OPERATOR, "bot", Limits(4, 100))
    verdicts = ask(store, limits, *[claim(10, key=f"k{n % 2}", requests_per_minute=3) for n in range(8)])
    assert [v.refused.subject if v.refused else "" for v in verdicts] == [""] * 4 + ["app"] * 4
    assert verdicts[0].requests is not None
    assert verdicts[0].requests.remaining == 2  # the tighter of the two
    assert verdicts[3].tokens is not None
    assert (verdicts[3].tokens.limit, verdicts[3].tokens.remaining) == (100, 60)
    assert ask(store, limits, claim(key=None, app="other"))[0] == LimitDecision()
    assert ask(store, limits, claim(10, key=None))[0].refused  # the app's limit is for pages too


def test_what_one_limit_refuses_does_not_spend_the_other(store: Store) -> None:
    limits = RateLimits(store)
    limits.set_app(OPERATOR, "bot", Limits(tokens_per_minute=10))
    ask(store, limits, *[claim(11, requests_per_minute=2)] * 9)
    assert ask(store, limits, claim(5, requests_per_minute=2))[0].refused is None


def test_tokens_are_reserved_and_then_counted_as_used(store: Store) -> None:
    limits, now = RateLimits(store), utc_now()
    big = claim(600, tokens_per_minute=1000)
    first, second = ask(store, limits, big, big, now=now)
    assert first.refused is None
    assert second.refused is not None
    assert second.refused.kind is LimitKind.TOKENS
    with store.write() as connection:
        limits.record_tokens(connection, [(big, 250, now)], now)
    again = ask(store, limits, big, now=now)[0]
    assert again.refused is None
    assert again.tokens is not None
    assert again.tokens.remaining == 150
    with store.write() as connection:
        limits.record_tokens(connection, [(big, None, now)], now)  # unknown: the estimate stands
        limits.record_tokens(connection, [(big, 5000, now)], now)
    after = ask(store, limits, claim(1, tokens_per_minute=1000), now=now)[0]
    assert after.refused is not None
    assert after.tokens is not None
    assert after.tokens.remaining == 0


def test_a_call_larger_than_the_limit_is_told_so(store: Store) -> None:
    refused = ask(store, RateLimits(store), claim(1001, tokens_per_minute=1000))[0].refused
    assert refused is not None
    assert refused.retry_after_s is None
    assert "larger" in str(refused.error())


def test_calls_at_once_are_the_open_ones(store: Store) -> None:
    limits = RateLimits(store)
    verdicts = ask(store, limits, *[claim(concurrency=2)] * 4)
    assert [v.refused.kind if v.refused else None for v in verdicts] == [None, None, *[LimitKind.CONCURRENCY] * 2]
    assert ask(store, limits, claim(concurrency=2))[0].refused
    with store.write() as connection:
        one = select(func.min(open_calls.c.id)).scalar_subquery()
        connection.execute(delete(open_calls).where(open_calls.c.id == one))
    verdicts = ask(store, limits, *[claim(concurrency=2)] * 2)
    assert [v.refused is None for v in verdicts] == [True, False]


def _work(url: str, seed: int, rounds: int, now: datetime, answers: Any) -> None:
    store = Store(url)
    limits, chance = RateLimits(store), random.Random(seed)
    admitted = list[tuple[str, int]]()
    for _ in range(rounds):
        batch = [
            Claim(
                chance.choice(("bot", "mail")),
                chance.randint(1, 40),
                KeyGrant(chance.choice(("a", "b", "c")), "bot", limits=Limits(60, 1500, 50)),
            )
            for _ in range(chance.randint(1, 8))
        ]
        verdicts = ask(store, limits, *batch, now=now)
        admitted += [
            (subject, c.tokens)
            for c, v in zip(batch, verdicts, strict=True)
            if v.refused is None and c.key is not None
            for subject in (f"key:{c.key.key_id}", f"app:{c.app}")
        ]
    store.dispose()
    answers.put(admitted)


def test_four_processes_together_never_exceed_a_limit(store: Store, database_url: str) -> None:
    RateLimits(store).set_app(OPERATOR, "bot", Limits(70, 1000))
    RateLimits(store).set_app(OPERATOR, "mail", Limits(80, 2000))
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    now = utc_now()  # of all of them, so that all of it lies in one window
    workers = [context.Process(target=_work, args=(database_url, seed, 40, now, answers)) for seed in range(4)]
    for worker in workers:
        worker.start()
    admitted = [item for _ in workers for item in answers.get(timeout=CEILING_S)]
    for worker in workers:
        worker.join(CEILING_S)
        assert worker.exitcode == 0
    ceilings = {"app:bot": (70, 1000), "app:mail": (80, 2000)} | {f"key:{k}": (60, 1500) for k in "abc"}
    for subject, (requests, tokens) in ceilings.items():
        used = [t for s, t in admitted if s == subject]
        assert len(used) <= requests
        assert sum(used) <= tokens
        assert len(used) == requests or sum(used) > tokens - 40 or subject.startswith("key:")
    with store.read() as connection:
        by_key = select(open_calls.c.api_key_id, func.count()).group_by(open_calls.c.api_key_id)
        running = {key: calls for key, calls in connection.execute(by_key)}
        by_subject = select(rate_counters.c.subject, rate_counters.c.seconds)
        counted = {subject: seconds for subject, seconds in connection.execute(by_subject)}
    assert max(running.values()) <= 50
    for subject in ceilings:
        mine = [t for s, t in admitted if s == subject]
        assert sum(counted[subject][1]) == len(mine)
        assert sum(counted[subject][2]) == sum(mine)


def test_limits_of_apps_are_set_by_super_admins_and_audited(store: Store) -> None:
    limits, jonas = RateLimits(store), make_actor("u", "jonas", Role.DEVELOPER)
    with pytest.raises(PermissionDenied):
        limits.set_app(jonas, "bot", Limits(1))
    for wrong in (Limits(0), Limits(concurrency=3)):
        with pytest.raises(InvalidInput):
            limits.set_app(OPERATOR, "bot", wrong)
    limits.set_app(OPERATOR, "bot", Limits(10))
    limits.set_app(OPERATOR, "mail", Limits(None, 500))
    assert limits.list_apps(OPERATOR) == {"bot": Limits(10), "mail": Limits(None, 500)}
    assert limits.list_apps(jonas) == {}  # his team knows of no such app
    ApiKeys(store).create(OPERATOR, app="mail")
    limits.set_app(OPERATOR, "bot", NO_LIMITS)
    assert limits.list_apps(jonas) == {"mail": Limits(None, 500)}
    with store.read() as connection:
        of_limits = select(audit_log.c.action).where(audit_log.c.action == "limits.change")
        assert len(list(connection.scalars(of_limits))) == 3


def test_a_new_limit_of_an_app_counts_within_five_seconds_elsewhere(store: Store) -> None:
    elsewhere, now = RateLimits(store), utc_now()
    assert ask(store, elsewhere, claim(key=None), now=now)[0] == LimitDecision()
    RateLimits(store).set_app(OPERATOR, "bot", Limits(1))
    later = now + timedelta(seconds=4.5)
    verdicts = ask(store, elsewhere, claim(key=None), claim(key=None), now=later)
    assert [v.refused is None for v in verdicts] == [True, False]
