"""A team's monthly statement is what SQL over the ledger says, and shares of shared costs add up exactly."""

import csv
import io
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from lib.access.permissions import OPERATOR, Role, make_actor
from lib.access.teams import Teams
from lib.db.engine import Store
from lib.errors import InvalidInput, PermissionDenied
from lib.statistics.queries import Statistics
from lib.statistics.shared_costs import SharedBy, SharedCost, SharedCosts, parse_month
from lib.statistics.statement import encode_csv, make_statement, split
from tests.activity.activity_rig import log_all

pytestmark = [pytest.mark.feature("COST-3"), pytest.mark.feature("ACC-5")]
_INDEPENDENT = text(
    "SELECT t.slug, sum(CASE WHEN u.is_final THEN 1 ELSE 0 END), sum(u.total_tokens), sum(u.cost_nano_usd), "
    "count(DISTINCT CASE WHEN u.cost_nano_usd IS NULL THEN u.call_id END) "
    "FROM teams t JOIN usage_logs u ON u.team_id = t.id WHERE u.started_at >= :start AND u.started_at < :end "
    "GROUP BY t.slug"
)


def test_the_statement_is_what_the_ledger_says(store: Store) -> None:
    teams = Teams(store)
    research, empty = teams.create(OPERATOR, "Research"), teams.create(OPERATOR, "Idle")
    start, end = parse_month("2026-10")
    moments = [start, start.replace(day=31, hour=23), end, start.replace(month=9, day=30)]
    costs = (1_000_000_001, 2_000_000_000, None, 0)
    log_all(
        store,
        [
            {"at": at, "team_id": team_id, "cost_nano_usd": cost, "is_final": is_final, "user_id": None}
            for team_id in (1, research.id)
            for at in moments
            for cost in costs
            for is_final in (True, False)
        ],
    )
    statistics = Statistics(store)
    shared = [SharedCost("server", 100_000_000_003, SharedBy.COST, "2026-10")]
    lines = make_statement(OPERATOR, statistics, teams, "2026-10", shared)
    with store.read() as connection:
        borders = {"start": start, "end": end}
        if store.is_sqlite:
            borders = {name: f"{moment:%Y-%m-%d %H:%M:%S.%f}" for name, moment in borders.items()}  # type: ignore[misc]
        expected = {row[0]: tuple(map(int, row[1:])) for row in connection.execute(_INDEPENDENT, borders)}
    stated = {
        line.team: (line.calls, line.total_tokens, line.cost_nano, line.unpriced_calls) for line in lines if line.calls
    }
    assert stated == expected
    assert sum(line.shared_nano for line in lines) == 100_000_000_003
    assert {line.team: line.calls for line in lines}[empty.slug] == 0
    rows = list(csv.DictReader(io.StringIO(encode_csv(lines).decode())))
    assert sum(Decimal(row["shared_cost_usd"]) for row in rows) == Decimal("100.000000003")
    own = make_actor("u", "lead", Role.TEAM_ADMINISTRATOR, {research.id: None}, research.id)
    assert [line.team for line in make_statement(own, statistics, teams, "2026-10")] == ["research"]
    with pytest.raises(PermissionDenied):
        make_statement(make_actor("u", "dev", Role.DEVELOPER), statistics, teams, "2026-10")
    for wrong in ("2026-13", "x", "2026-10-01"):
        with pytest.raises(InvalidInput):
            make_statement(OPERATOR, statistics, teams, wrong)
    statistics.close()


_SHARES = text(
    "SELECT t.slug, coalesce(sum(u.cost_nano_usd), 0) * 1.0 / nullif((SELECT sum(cost_nano_usd) FROM usage_logs), 0), "
    "coalesce(sum(u.total_tokens), 0) * 1.0 / nullif((SELECT sum(total_tokens) FROM usage_logs), 0) "
    "FROM teams t LEFT JOIN usage_logs u ON u.team_id = t.id GROUP BY t.slug"
)


def test_what_ten_teams_share_is_kept_and_split_as_the_ledger_says(store: Store) -> None:
    teams = Teams(store)
    ids = [1, *(teams.create(OPERATOR, f"Team {number}").id for number in range(9))]
    start, _ = parse_month("2026-10")
    log_all(
        store,
        [
            {"at": start, "team_id": team_id, "cost_nano_usd": 10**9 * n * n, "total_tokens": 7 * n, "user_id": None}
            for n, team_id in enumerate(ids)
        ],
    )
    kept = SharedCosts(store)
    month = "2026-10"
    for cost in (
        SharedCost("server", 1, SharedBy.CALLS, month),  # set anew below
        SharedCost("server", 1_000_000_000_001, SharedBy.COST, "2026-01"),
        SharedCost("seats", 333_000_000_000, SharedBy.TOKENS, month, month),
        SharedCost("office", 100, SharedBy.EQUALLY, month, "2026-12"),
        SharedCost("over", 5, SharedBy.EQUALLY, "2026-01", "2026-09"),
        SharedCost("to come", 5, SharedBy.EQUALLY, "2026-11"),
    ):
        kept.set(OPERATOR, cost)
    costs = kept.find_of_month(month)
    assert [cost.name for cost in costs] == ["office", "seats", "server"]
    statistics = Statistics(store)
    lines = make_statement(OPERATOR, statistics, teams, month, costs)
    assert (len(lines), sum(line.shared_nano for line in lines)) == (10, 1_333_000_000_101)
    assert sum(line.share for line in lines) == 1
    with store.read() as connection:
        shares = {slug: (float(by_cost), float(by_tokens)) for slug, by_cost, by_tokens in connection.execute(_SHARES)}
    for line in lines:
        by_cost, by_tokens = shares[line.team]
        assert abs(line.shared_nano - (by_cost * 1_000_000_000_001 + by_tokens * 333_000_000_000 + 10)) < 3, line
        assert line.total_nano == (line.cost_nano or 0) + line.shared_nano
    lead = make_actor("u", "lead", Role.TEAM_ADMINISTRATOR, {ids[3]: None}, ids[3])
    assert make_statement(lead, statistics, teams, month, costs) == [line for line in lines if line.team == "team-2"]
    kept.remove(OPERATOR, "server")
    assert [cost.name for cost in kept.list(OPERATOR)] == ["office", "over", "seats", "to come"]
    for wrong in (
        SharedCost("", 1, SharedBy.COST, month),
        SharedCost("x", -1, SharedBy.COST, month),
        SharedCost("x", 1, SharedBy.COST, "October"),
        SharedCost("x", 1, SharedBy.COST, month, "2026-09"),
    ):
        with pytest.raises(InvalidInput):
            kept.set(OPERATOR, wrong)
    statistics.close()


def test_a_removed_teams_calls_are_stated(store: Store) -> None:
    start, _ = parse_month("2026-10")
    log_all(store, [{"at": start, "team_id": team, "cost_nano_usd": 4, "user_id": None} for team in (1, 7)])
    statistics = Statistics(store)
    costs = [SharedCost("server", 10, SharedBy.COST, "2026-10")]
    lines = make_statement(OPERATOR, statistics, Teams(store), "2026-10", costs)
    assert [(line.team, line.cost_nano, line.shared_nano) for line in lines] == [
        ("first-team", 4, 5),
        ("removed-7", 4, 5),
    ]
    statistics.close()


@given(st.integers(0, 10**15), st.lists(st.integers(0, 10**12), min_size=1, max_size=12).filter(any))
def test_parts_are_whole_and_add_up(amount: int, weights: list[int]) -> None:
    total = sum(weights)
    parts = split(amount, [Fraction(weight, total) for weight in weights])
    assert sum(parts) == amount
    assert all(abs(part - Fraction(amount * weight, total)) < 1 for part, weight in zip(parts, weights, strict=True))
