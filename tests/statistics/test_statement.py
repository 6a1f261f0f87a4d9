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
from lib.statistics.statement import encode_csv, make_statement, parse_month, split
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
    lines = make_statement(OPERATOR, statistics, teams, "2026-10", 100_000_000_003)
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


@given(st.integers(0, 10**15), st.lists(st.integers(0, 10**12), min_size=1, max_size=12).filter(any))
def test_parts_are_whole_and_add_up(amount: int, weights: list[int]) -> None:
    total = sum(weights)
    parts = split(amount, [Fraction(weight, total) for weight in weights])
    assert sum(parts) == amount
    assert all(abs(part - Fraction(amount * weight, total)) < 1 for part, weight in zip(parts, weights, strict=True))
