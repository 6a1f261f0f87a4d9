"""Custom metrics: who may record and read them, what a value may be, and figures that are right on both stores."""

import math
import random
import statistics
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import delete, func, select

from lib.access.grants import GatewayEndpoint
from lib.access.permissions import OPERATOR, Actor
from lib.activity.custom_metric import MOST_PER_CALL, NewMetric, parse
from lib.activity.custom_metrics import MOST_AT_ONCE, MetricRange, Metrics
from lib.clock import utc_now
from lib.db.engine import Store
from lib.db.tables import custom_metrics, open_calls, usage_logs
from lib.errors import InvalidInput, NotFound, PermissionDenied
from lib.jobs.retention import Days, Deleted, Retention
from tests.access.key_rig import KeyRig
from tests.activity.activity_rig import AMIRA, JONAS, LI, log, log_all, opened

pytestmark = pytest.mark.feature("CALL-7")


def call_of(store: Store, log_id: str) -> str:
    with store.read() as connection:
        return str(connection.scalar(select(usage_logs.c.call_id).where(usage_logs.c.id == log_id)))


def stored(store: Store) -> int:
    with store.read() as connection:
        return connection.scalar(select(func.count()).select_from(custom_metrics)) or 0


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        ("gut", None, ("string", "gut")),
        ("a\x00b\ud800", None, ("string", "ab?")),
        (4, None, ("integer", 4)),
        (2**63 - 1, None, ("integer", 2**63 - 1)),
        (0.25, None, ("float", 0.25)),
        (3, "float", ("float", 3.0)),
        (True, None, ("boolean", True)),
        ({"a": [1, None]}, None, ("json", {"a": [1, None]})),
        ("text", "json", ("json", "text")),
    ],
)
def test_a_value_comes_back_as_it_was(store: Store, value: Any, kind: str | None, expected: tuple[str, Any]) -> None:
    metrics, log_id = Metrics(store), log(store, JONAS)
    made = metrics.record(JONAS, log_id, "answer.rating", value, kind, {"by": "judge"})
    (found,) = metrics.list(JONAS, call_of(store, log_id))
    assert found == made
    assert (found.type.value, found.value) == expected
    assert (found.call_id, found.user_id, found.metadata) == (call_of(store, log_id), JONAS.user_id, {"by": "judge"})


@pytest.mark.parametrize(
    ("metric", "field"),
    [
        (NewMetric("", 1), "key"),
        (NewMetric("two words", 1), "key"),
        (NewMetric("x" * 81, 1), "key"),
        (NewMetric("k", math.nan), "value"),
        (NewMetric("k", math.inf, "json"), "value"),
        (NewMetric("k", 1e101), "value"),
        (NewMetric("k", 2**63), "value"),
        (NewMetric("k", True, "integer"), "value"),
        (NewMetric("k", 1, "boolean"), "value"),
        (NewMetric("k", ""), "value"),
        (NewMetric("k", "x" * 2_001), "value"),
        (NewMetric("k", ["x" * 10_000]), "value"),
        (NewMetric("k", object()), "value"),
        (NewMetric("k", 1, "money"), "type"),
        (NewMetric("k", 1, metadata={"x": "y" * 4_000}), "metadata"),
        (NewMetric("k", 1, metadata=[1]), "metadata"),  # type: ignore[arg-type]
    ],
)
def test_what_can_not_be_used_is_named_and_nothing_is_stored(store: Store, metric: NewMetric, field: str) -> None:
    log_id = log(store, JONAS)
    with pytest.raises(InvalidInput) as caught:
        Metrics(store).record_many(JONAS, log_id, [NewMetric("good", 1), metric])
    assert caught.value.field == field
    assert stored(store) == 0


def test_a_call_can_not_be_filled_without_end(store: Store) -> None:
    metrics, log_id = Metrics(store), log(store, JONAS)
    for count in (0, MOST_AT_ONCE + 1):
        with pytest.raises(InvalidInput):
            metrics.record_many(JONAS, log_id, [NewMetric("k", 1)] * count)
    for _ in range(MOST_PER_CALL // MOST_AT_ONCE):
        metrics.record_many(JONAS, log_id, [NewMetric("k", 1)] * MOST_AT_ONCE)
    with pytest.raises(InvalidInput, match="limit is 100"):
        metrics.record(JONAS, log_id, "k", 1)


def test_only_who_made_the_call_adds_and_only_who_may_see_it_reads(store: Store) -> None:
    metrics, mine = Metrics(store), log(store, JONAS)
    without_stats = replace(AMIRA, permissions=AMIRA.permissions - {"view-llm-stats"})
    metrics.record(JONAS, mine, "rating", 5)
    with pytest.raises(NotFound):
        metrics.record(AMIRA, mine, "rating", 1)
    assert len(metrics.list(AMIRA, mine)) == 1
    with pytest.raises(NotFound):
        metrics.list(without_stats, mine)
    assert metrics.statistics(without_stats) == []
    with pytest.raises(PermissionDenied):
        metrics.record(LI, mine, "rating", 1)
    for nobodys in ("0190a000-0000-7000-8000-000000000000", "", "x\x00"):
        with pytest.raises(NotFound):
            metrics.record(OPERATOR, nobodys, "rating", 1)
    metrics.record(OPERATOR, mine, "judged", True)
    assert [one.key for one in metrics.list(JONAS, mine)] == ["rating", "judged"]


def test_a_key_adds_to_calls_of_its_app_alone(store: Store) -> None:
    rig, metrics = KeyRig(store), Metrics(store)
    actor = rig.key(rig.jonas, endpoints=[GatewayEndpoint.API.value])[1].actor
    unowned = rig.key(OPERATOR)[1].actor
    assert isinstance(actor, Actor)
    assert isinstance(unowned, Actor)
    of_app, elsewhere = log(store, rig.jonas, app="bot"), log(store, rig.jonas, app="other")
    made = metrics.record(actor, of_app, "rating", 4)
    assert (made.user_id, made.api_key_id) == (rig.jonas.user_id, actor.key.key_id if actor.key else "")
    with pytest.raises(NotFound):
        metrics.record(actor, elsewhere, "rating", 4)
    with pytest.raises(NotFound):
        metrics.record(unowned, of_app, "rating", 4)
    metrics.record(unowned, log(store, unowned, app="bot"), "rating", 2)
    assert [one.count for one in metrics.statistics(unowned)] == [1]
    assert [one.count for one in metrics.statistics(rig.jonas)] == [2]


def test_a_running_call_takes_metrics_and_keeps_them(store: Store) -> None:
    metrics, going = Metrics(store), opened(store, JONAS, call_id="c")
    metrics.record(JONAS, "c", "step", "started")
    with store.write() as connection:
        connection.execute(delete(open_calls))
    log_all(store, [{"id": going, "call_id": "c", "user_id": JONAS.user_id}])
    assert [one.value for one in metrics.list(JONAS, "c")] == ["started"]


def test_figures_are_those_of_plain_python(store: Store) -> None:
    metrics, draw = Metrics(store), random.Random(7)
    for size in (1, 2, 19, 20, 41):
        numbers = [draw.choice((draw.randint(-5, 5), draw.uniform(0, 100))) for _ in range(size)]
        for log_id, number in zip(log_all(store, [{"user_id": JONAS.user_id}] * size), numbers, strict=True):
            metrics.record(JONAS, log_id, f"n{size}", number)
        (found,) = metrics.statistics(AMIRA, f"n{size}")
        ordered = sorted(numbers)
        assert (found.count, found.calls, found.numbers) == (size, size, size)
        assert (found.min, found.max) == (ordered[0], ordered[-1])
        assert found.p50 == ordered[math.ceil(size * 0.5) - 1]
        assert found.p95 == ordered[math.ceil(size * 0.95) - 1]
        assert found.mean == pytest.approx(statistics.fmean(numbers))
        assert found.sum == pytest.approx(math.fsum(numbers))
        assert (found.true_share, found.values) == (None, ())


def test_each_type_under_a_key_has_its_own_figures(store: Store) -> None:
    metrics, log_id = Metrics(store), log(store, JONAS)
    values = [True, False, True, True, "b", "a", "b", "c", 10, 20.0, {"x": 1}, *[f"rare {n}" for n in range(9)]]
    metrics.record_many(JONAS, log_id, [NewMetric("mixed", value) for value in values])
    (found,) = metrics.statistics(JONAS)
    assert (found.count, found.calls, found.numbers, found.booleans, found.texts) == (20, 1, 2, 4, 13)
    assert (found.mean, found.true_share) == (15.0, 0.75)
    assert found.values == (("b", 2), ("a", 1), ("c", 1), ("rare 0", 1), ("rare 1", 1))


def test_figures_cover_a_range_and_apps(store: Store) -> None:
    metrics, now = Metrics(store), utc_now()
    for number, (days, app) in enumerate([(0, "a"), (3, "a"), (3, "b"), (9, "a")]):
        log_id = log(store, JONAS, app=app, at=now - timedelta(days=days))
        metrics.record(JONAS, log_id, "k", number)
    week = MetricRange(now - timedelta(days=7), now - timedelta(hours=1))
    assert [one.sum for one in metrics.statistics(AMIRA, "k", week)] == [3]
    assert [one.sum for one in metrics.statistics(AMIRA, "k", replace(week, apps=("b",)))] == [2]
    assert metrics.statistics(AMIRA, "other", week) == []


def test_days_are_those_of_the_zone(store: Store) -> None:
    metrics = Metrics(store)
    moments = [
        datetime(2026, 10, 24, 21, 59, 59, 999_000, tzinfo=UTC),  # 24 Oct in Berlin, 25 Oct in Kathmandu
        datetime(2026, 10, 24, 22, 0, tzinfo=UTC),
        datetime(2026, 10, 25, 22, 30, tzinfo=UTC),  # the clock has been set back: 23:30 on 25 Oct
    ]
    for number, at in enumerate(moments):
        metrics.record(JONAS, log(store, JONAS, at=at), "k", number)
    metrics.record(JONAS, log(store, JONAS, at=moments[0]), "k", "no number")
    berlin = metrics.daily(AMIRA, "k", ZoneInfo("Europe/Berlin"))
    assert [(one.day, one.count, one.mean) for one in berlin] == [
        (date(2026, 10, 24), 1, 0.0),
        (date(2026, 10, 25), 2, 1.5),
    ]
    kathmandu = metrics.daily(AMIRA, "k", ZoneInfo("Asia/Kathmandu"))
    assert [(one.day, one.count) for one in kathmandu] == [(date(2026, 10, 25), 2), (date(2026, 10, 26), 1)]
    assert metrics.daily(replace(LI, permissions=JONAS.permissions - {"view-llm-stats"}), "k", ZoneInfo("UTC")) == []


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("4", None, 4),
        ("4.5", None, 4.5),
        ("true", None, True),
        ('{"a": 1}', None, {"a": 1}),
        ("fine", None, "fine"),
        ("NaN", None, "NaN"),
        ("4", "string", "4"),
    ],
)
def test_what_is_typed_is_read_for_what_it_is(text: str, kind: str | None, value: Any) -> None:
    assert parse(text, kind).value == value


def test_what_is_typed_must_fit_its_type() -> None:
    for kind, field in (("integer", "value"), ("boolean", "value"), ("json", "value"), ("money", "type")):
        with pytest.raises(InvalidInput) as caught:
            parse("four", kind)
        assert caught.value.field == field


def test_metrics_leave_at_their_time_and_with_their_calls(store: Store) -> None:
    metrics, retention = Metrics(store), Retention(store)
    for days in (1, 20, 40):
        metrics.record(JONAS, log(store, JONAS, ago=days * 86_400), "k", days)
    retention.change(OPERATOR, Days(metrics=30))
    assert retention.run(OPERATOR) == Deleted(metrics=1)
    retention.change(OPERATOR, Days(metrics=30, calls=10), confirmed_calls=2)
    assert retention.preview(OPERATOR) == Deleted(calls=2, metrics=1)
    assert retention.run(OPERATOR) == Deleted(calls=2, metrics=1)
    assert [one.sum for one in metrics.statistics(AMIRA)] == [1]
