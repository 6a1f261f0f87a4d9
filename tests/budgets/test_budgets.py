"""Budgets as people manage them: what they begin with, what they tell and when, who changed them, what is forecast."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import insert, select

from lib.access.permissions import OPERATOR
from lib.budgets.budget import Window, compute_window, format_window
from lib.budgets.forecast import Forecast, Pace, forecast
from lib.budgets.holds import HOLD_LASTS
from lib.budgets.refusal import BudgetRefusal
from lib.db.engine import Store
from lib.db.tables import audit_log, budget_windows, open_calls, providers
from lib.errors import Conflict, InvalidInput, NotFound
from tests.budgets.budget_rig import DOLLAR, FACTS, NOW, Rig
from tests.statistics.ledger_rows import call, change, write

pytestmark = pytest.mark.feature("COST-2")
OCTOBER = datetime(2026, 10, 1, tzinfo=UTC)


@pytest.fixture
def rig(store: Store) -> Rig:
    return Rig(store)


@pytest.mark.parametrize(
    ("period", "moment", "start", "end", "name"),
    [
        ("day", "2026-10-25T00:30:00+02:00", "2026-10-24", "2026-10-25", "24 Oct 2026"),  # the day clocks are set back
        ("week", "2026-10-25T23:59:59+00:00", "2026-10-19", "2026-10-26", "week 43 of 2026"),
        ("week", "2027-01-01T00:00:00+00:00", "2026-12-28", "2027-01-04", "week 53 of 2026"),
        ("month", "2026-12-31T23:59:59+00:00", "2026-12-01", "2027-01-01", "December 2026"),
        ("month", "2028-02-29T12:00:00+00:00", "2028-02-01", "2028-03-01", "February 2028"),
    ],
)
def test_windows_are_cut_in_utc(period: str, moment: str, start: str, end: str, name: str) -> None:
    found = compute_window(period, datetime.fromisoformat(moment))
    assert found == Window(*(datetime.fromisoformat(day).replace(tzinfo=UTC) for day in (start, end)))
    assert format_window(period, found.start) == name


def test_a_budget_made_in_mid_window_begins_with_what_the_ledger_shows(rig: Rig) -> None:
    running = call(NOW)
    write(
        rig.store,
        call(OCTOBER, cost_nano_usd=2 * DOLLAR),
        call(NOW, cost_nano_usd=None, cost_status="unpriced"),
        call(OCTOBER - timedelta(seconds=1), cost_nano_usd=4 * DOLLAR),  # in September
        call(NOW, cost_nano_usd=8 * DOLLAR, app="other"),
        call(NOW, cost_nano_usd=16 * DOLLAR, batch_id="sample"),  # no call of ours
    )
    with rig.store.write() as connection:
        row = {name: value for name, value in running.items() if name in open_calls.c}
        connection.execute(insert(open_calls), row | {"owner": "process-1"})
    budget = rig.budget()
    assert (budget.now.spent_nano, budget.now.unpriced_calls) == (2 * DOLLAR, 1)
    rig.settle(running["id"], DOLLAR)  # it was under way when the budget was made
    assert rig.figures(budget) == (3 * DOLLAR, 0)


def test_counting_again_follows_new_prices_and_keeps_what_is_held(rig: Rig) -> None:
    budget = rig.budget()
    row = call(NOW, cost_nano_usd=DOLLAR)
    write(rig.store, row)
    rig.reserve(2 * DOLLAR)
    rig.budgets.recount(OPERATOR, budget.budget.id, NOW)
    assert rig.figures(budget) == (DOLLAR, 2 * DOLLAR)
    change(rig.store, row["id"], cost_nano_usd=3 * DOLLAR)
    rig.budgets.recount(OPERATOR, budget.budget.id, NOW)
    assert rig.figures(budget) == (3 * DOLLAR, 2 * DOLLAR)


def test_counting_again_repairs_what_a_clock_that_ran_ahead_did(rig: Rig) -> None:
    budget = rig.budget()
    log_id, _ = rig.reserve(DOLLAR, NOW + timedelta(days=400))
    assert rig.budgets.get(OPERATOR, budget.budget.id, NOW).now.window.start.year == 2027
    rig.budgets.recount(OPERATOR, budget.budget.id, NOW)
    assert rig.figures(budget) == (0, DOLLAR)
    rig.settle(log_id, DOLLAR)
    assert rig.figures(budget) == (DOLLAR, 0)
    assert len(rig.budgets.history(OPERATOR, budget.budget.id)) == 1


def test_each_threshold_is_told_once_a_window(rig: Rig) -> None:
    budget = rig.budget(is_hard=False)
    for cost, told in ((4, []), (2, [50]), (1, [50]), (4, [50, 80, 100]), (4, [50, 80, 100])):
        rig.settle(rig.reserve(cost * DOLLAR)[0], cost * DOLLAR)
        assert sorted(notice.threshold for notice in rig.budgets.notices(OPERATOR)) == told
    assert rig.budgets.notices(OPERATOR)[-1].spent_nano == 6 * DOLLAR
    november = NOW + timedelta(days=20)
    rig.settle(rig.reserve(6 * DOLLAR, november)[0], 6 * DOLLAR, november)
    assert len(rig.budgets.notices(OPERATOR)) == 4
    assert rig.budgets.get(OPERATOR, budget.budget.id, november).now.percent == 60


def test_thresholds_can_be_chosen_and_a_lowered_limit_tells_what_it_reaches(rig: Rig) -> None:
    budget = rig.budget(thresholds=[90, 25])
    rig.settle(rig.reserve(5 * DOLLAR)[0], 5 * DOLLAR)
    assert [notice.threshold for notice in rig.budgets.notices(OPERATOR)] == [25]
    changed = rig.budgets.update(OPERATOR, budget.budget.id, limit_nano=5 * DOLLAR, now=NOW)
    assert [notice.threshold for notice in rig.budgets.notices(OPERATOR)] == [90, 25]
    assert changed.budget.thresholds == (25, 90)
    assert changed.state == "used up"
    assert isinstance(rig.reserve(1)[1], BudgetRefusal)
    rig.budgets.update(OPERATOR, budget.budget.id, limit_nano=6 * DOLLAR, now=NOW)
    assert isinstance(rig.reserve(DOLLAR)[1], tuple)


def test_a_notice_says_that_what_was_spent_is_the_least(rig: Rig) -> None:
    rig.budget()
    rig.settle(rig.reserve(DOLLAR)[0], None)
    rig.settle(rig.reserve(6 * DOLLAR)[0], 6 * DOLLAR)
    rig.reserve(5 * DOLLAR)
    told = {(notice.threshold, notice.spent_of_limit) for notice in rig.budgets.notices(OPERATOR)}
    assert told == {(50, "≥ $6.00 of $10.00"), (0, "≥ $6.00 of $10.00")}
    (state,) = rig.budgets.list(OPERATOR, NOW)
    assert state.now.spent_of_limit == "≥ $6.00 of $10.00"


def test_the_first_refusal_of_a_window_is_told_too(rig: Rig) -> None:
    rig.budget(limit=DOLLAR)
    for _ in range(3):
        rig.reserve(2 * DOLLAR)
    assert [notice.threshold for notice in rig.budgets.notices(OPERATOR)] == [0]
    (state,) = rig.budgets.list(OPERATOR, NOW)
    assert (state.has_refused, state.state) == (True, "refusing")


NOVEMBER = datetime(2026, 11, 2, 9, tzinfo=UTC)


@pytest.mark.parametrize("change_", [{"limit_nano": 5 * DOLLAR}, {"thresholds": [10, 90]}, {"is_hard": False}])
@pytest.mark.parametrize(
    ("period", "later"),
    [("day", NOW + timedelta(days=1)), ("week", NOW + timedelta(days=6)), ("month", NOVEMBER)],
)
def test_a_change_before_the_first_call_of_a_window_leaves_the_window_before_as_it_was(
    rig: Rig, period: str, later: datetime, change_: dict[str, Any]
) -> None:
    budget = rig.budget(period=period, thresholds=[80])
    rig.settle(rig.reserve(9 * DOLLAR)[0], 9 * DOLLAR)
    (before,) = rig.budgets.history(OPERATOR, budget.budget.id)
    told = rig.budgets.notices(OPERATOR)
    changed = rig.budgets.update(OPERATOR, budget.budget.id, now=later, **change_)
    assert rig.budgets.history(OPERATOR, budget.budget.id)[1:] == [before]
    assert rig.budgets.notices(OPERATOR) == told
    assert changed.now.window == compute_window(period, later)
    assert (changed.now.spent_nano, changed.now.limit_nano) == (0, change_.get("limit_nano", 10 * DOLLAR))
    held, _ = rig.reserve(DOLLAR, later)
    rig.settle(held, DOLLAR, later)
    assert rig.figures(budget, later) == (DOLLAR, 0)


def test_a_raised_limit_ends_refusing_until_a_call_is_refused_at_it(rig: Rig) -> None:
    budget = rig.budget(limit=DOLLAR)
    rig.reserve(2 * DOLLAR)
    for limit in (3, 9):
        changed = rig.budgets.update(OPERATOR, budget.budget.id, limit_nano=limit * DOLLAR, now=NOW)
        assert (changed.has_refused, changed.state) == (False, "on track")
        rig.reserve(10 * DOLLAR)
        (state,) = rig.budgets.list(OPERATOR, NOW)
        assert (state.state, [one.limit_nano for one in rig.budgets.notices(OPERATOR)]) == (
            "refusing",
            [limit * DOLLAR],
        )
    softened = rig.budgets.update(OPERATOR, budget.budget.id, is_hard=False, now=NOW)
    assert softened.state == "on track"


def test_a_cost_below_zero_refills_no_budget(rig: Rig) -> None:
    budget = rig.budget()
    rig.settle(rig.reserve(4 * DOLLAR)[0], 4 * DOLLAR)
    rig.settle(rig.reserve(DOLLAR)[0], -3 * DOLLAR)
    assert rig.figures(budget) == (4 * DOLLAR, 0)
    write(rig.store, call(NOW, cost_nano_usd=4 * DOLLAR), call(NOW, cost_nano_usd=-3 * DOLLAR))
    rig.budgets.recount(OPERATOR, budget.budget.id, NOW)
    assert rig.figures(budget) == (4 * DOLLAR, 0)


def test_a_dry_run_says_what_every_budget_would_and_holds_nothing(rig: Rig) -> None:
    roomy = rig.budget(limit=100 * DOLLAR, scope="global", subject="")
    tight = rig.budget(limit=DOLLAR)
    rig.budget(limit=1, subject="other")
    verdicts = {v.state.budget.id: v.refusal for v in rig.budgets.check(OPERATOR, FACTS, 2 * DOLLAR, NOW)}
    assert verdicts.keys() == {roomy.budget.id, tight.budget.id}
    assert verdicts[roomy.budget.id] is None
    refusal = rig.reserve(2 * DOLLAR)[1]
    assert verdicts[tight.budget.id] == refusal  # word for word what the call itself is told
    assert all(v.refusal is None for v in rig.budgets.check(OPERATOR, FACTS, 0, NOW))
    assert rig.figures(roomy) == (0, 0)
    assert len(rig.budgets.check(OPERATOR, replace(FACTS, app="third"), 1, NOW)) == 1


def test_bad_limits_thresholds_scopes_and_names_are_refused_by_field(rig: Rig) -> None:
    for field, wrong in (
        ("limit", {"limit": 0}),
        ("thresholds", {"thresholds": [0]}),
        ("thresholds", {"thresholds": range(1, 9)}),
        ("scope", {"scope": "planet"}),
        ("period", {"period": "year"}),
        ("app", {"subject": "no such name!"}),
    ):
        with pytest.raises(InvalidInput) as caught:
            rig.budget(**wrong)
        assert caught.value.field == field
    for scope, word in (
        ("provider", "provider"),
        ("user", "user"),
        ("configuration", "configuration"),
        ("key", "API key"),
    ):
        with pytest.raises(NotFound, match=f"no {word} nobody"):
            rig.budget(scope=scope, subject="nobody")
    rig.budget()
    with pytest.raises(Conflict):
        rig.budget(limit=DOLLAR)


def test_a_key_is_named_as_people_know_it(rig: Rig) -> None:
    key = rig.key("key-1", "nightly", "llmm_abcdefg")
    rig.key("key-2", "nightly", "llmm_hijklmn")
    rig.key("key-3", "report", "llmm_abcdefg", revoked=True)
    for number, name in enumerate(("key-1", "llmm_abcdefg", "llmm_abcdefg…", " llmm_abcdefg... ")):
        budget = rig.budget(scope="key", subject=name, period=("day", "week", "month")[number % 3])
        assert (budget.budget.subject, budget.budget.label) == (key, "nightly (llmm_abcdefg…)")
        rig.budgets.delete(OPERATOR, budget.budget.id)
    assert rig.budget(scope="key", subject="report").budget.subject == "key-3"
    with pytest.raises(Conflict, match="Several API keys are called nightly"):
        rig.budget(scope="key", subject="nightly")
    assert rig.budgets.choices(OPERATOR, "key") == {
        "key-1": "nightly (llmm_abcdefg…)",
        "key-2": "nightly (llmm_hijklmn…)",
    }


def test_a_name_that_is_gone_is_told_apart(rig: Rig) -> None:
    row = {"id": "p", "name": "openai", "kind": "openai", "created_at": NOW, "updated_at": NOW}
    with rig.store.write() as connection:
        connection.execute(insert(providers), row)
    budget = rig.budget(scope="provider", subject="openai")
    assert budget.budget.exists
    with rig.store.write() as connection:
        connection.execute(providers.delete())
    assert not rig.budgets.get(OPERATOR, budget.budget.id, NOW).budget.exists


def test_deleting_takes_the_windows_and_every_change_is_audited(rig: Rig) -> None:
    budget = rig.budget()
    rig.reserve(DOLLAR)
    found = rig.budgets.find(OPERATOR, "app", "tests", "month")
    assert found.budget.id == budget.budget.id
    rig.budgets.update(OPERATOR, budget.budget.id, is_hard=False, now=NOW)
    rig.budgets.delete(OPERATOR, budget.budget.id)
    with pytest.raises(NotFound):
        rig.budgets.get(OPERATOR, budget.budget.id)
    with rig.store.read() as connection:
        assert connection.execute(select(budget_windows)).all() == []
        actions = connection.scalars(select(audit_log.c.action).order_by(audit_log.c.id)).all()
    assert actions == ["budget.create", "budget.update", "budget.delete"]
    assert rig.sweep(NOW + 2 * HOLD_LASTS) == 0


def test_the_forecast_lies_between_the_windows_share_and_the_last_days_pace() -> None:
    window = Window(OCTOBER, datetime(2026, 11, 1, tzinfo=UTC))
    tenth = OCTOBER + (window.end - window.start) / 10
    pace = Pace(7 * DOLLAR, timedelta(days=7))
    left = 31 * 9 * DOLLAR // 10
    assert forecast(window, 5 * DOLLAR, pace, tenth) == Forecast(5 * DOLLAR + left, 50 * DOLLAR)
    assert forecast(window, 5 * DOLLAR, None, tenth) == Forecast(50 * DOLLAR, 50 * DOLLAR)
    early = tenth - timedelta(seconds=1)
    assert forecast(window, 5 * DOLLAR, None, early) is None
    found = forecast(window, 0, pace, early)
    assert found is not None
    assert found.low == found.high


def test_the_forecast_uses_the_calls_of_the_last_days(rig: Rig) -> None:
    write(
        rig.store,
        *(call(NOW - timedelta(days=day, hours=1), cost_nano_usd=DOLLAR, api_key_id=None) for day in range(7)),
    )
    budget = rig.budget(limit=12 * DOLLAR)
    assert budget.forecast is not None
    assert budget.forecast.low == 7 * DOLLAR * 31 * 24 // (20 * 24 + 12)
    assert budget.forecast.high > budget.forecast.low
    assert budget.state == "on track"
    assert rig.budgets.update(OPERATOR, budget.budget.id, limit_nano=10 * DOLLAR, now=NOW).state == "forecast over"
    assert rig.budgets.attention(OPERATOR) == []
