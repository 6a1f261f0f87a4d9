"""The monthly statement of each team: what its calls came to, and its share of costs that all teams share.

A month is one in UTC. Shared costs (`lib.statistics.shared_costs`) are split in proportion to each team's cost, tokens
or calls of the month, or in equal parts; where a proportion has nothing to go by, the parts are equal. Parts are whole
nano-dollars and add up exactly: what is left of rounding goes to the largest remainders. A cost that is only partly
known is stated as far as it is known, with the number of calls that it leaves out.
"""

import csv
import io
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from lib.access.grants import NO_LIMITS
from lib.access.permissions import OPERATOR, Actor
from lib.access.teams import Team, Teams
from lib.files.cells import neutralise
from lib.money import convert_nano_to_usd
from lib.statistics.filters import StatisticsFilter
from lib.statistics.measures import Dimension, Measure
from lib.statistics.shared_costs import SharedBy, SharedCost, check_amount, parse_month

if TYPE_CHECKING:
    from lib.statistics.queries import Statistics

COLUMNS = (
    *("month", "team", "team_name", "calls", "prompt_tokens", "completion_tokens", "total_tokens", "cost_usd"),
    *("unpriced_calls", "share_percent", "shared_cost_usd", "total_usd"),
)
_MEASURES = (
    *(Measure.CALLS, Measure.PROMPT_TOKENS, Measure.COMPLETION_TOKENS, Measure.TOKENS, Measure.COST),
    Measure.UNPRICED,
)


@dataclass(frozen=True)
class StatementLine:
    """A team's month. Money in nano-dollars; `cost_nano` None: nothing of it is known."""

    month: str
    team: str
    team_name: str
    calls: int
    prompt_tokens: int | None
    completion_tokens: int | None
    total_tokens: int | None
    cost_nano: int | None
    unpriced_calls: int
    share: Fraction
    shared_nano: int

    @property
    def total_nano(self) -> int | None:
        """The team's cost with its share; None where nothing of its cost is known."""
        return None if self.cost_nano is None else self.cost_nano + self.shared_nano


def make_statement(
    actor: Actor, statistics: "Statistics", teams: Teams, month: str, costs: Sequence[SharedCost] = ()
) -> Sequence[StatementLine]:
    """State a month (`2026-11`) for every team, or for the one that the actor administers.

    `costs` are those that all teams share in it, each split for itself.
    """
    actor.require_team_administrator(actor.team_id, "read statements")
    start, end = parse_month(month)
    sums = _sum_by_team(statistics, StatisticsFilter(start, end))
    all_teams = list(teams.list(OPERATOR))
    removed = set(sums) - {str(team.id) for team in all_teams}
    all_teams += [_make_removed_team(int(team_id), start) for team_id in sorted(removed, key=int)]
    of_teams = [sums.get(str(team.id), {}) for team in all_teams]
    parts = [0] * len(all_teams)
    for cost in costs:
        check_amount(cost.monthly_nano)
        split_parts = split(cost.monthly_nano, _weigh(of_teams, cost.shared_by))
        parts = [part + addition for part, addition in zip(parts, split_parts, strict=True)]
    shares = _compute_shares(of_teams, parts, {cost.shared_by for cost in costs})
    lines = [
        _make_line(month, team, of_team, share, part)
        for team, of_team, share, part in zip(all_teams, of_teams, shares, parts, strict=True)
    ]
    return [
        line for team, line in zip(all_teams, lines, strict=True) if actor.sees_every_team or team.id == actor.team_id
    ]


def _make_removed_team(team_id: int, moment: datetime) -> Team:
    """A team that is no more, and whose calls of the month are."""
    return Team(team_id, f"removed-{team_id}", "a team that was removed", NO_LIMITS, moment, 0, 0)


def _compute_shares(
    of_teams: Sequence[Mapping[str, int | None]], parts: Sequence[int], bases: Set[SharedBy]
) -> Sequence[Fraction]:
    """Each team's share of all that is shared: by the one basis, or where there are several by the parts."""
    total = sum(parts)
    if len(bases) > 1 and total:
        return [Fraction(part, total) for part in parts]
    return _weigh(of_teams, next(iter(bases), SharedBy.COST))


def split(amount: int, weights: Sequence[Fraction]) -> Sequence[int]:
    """Split a whole amount by weights that add up to one, into whole parts that add up to the amount."""
    exact = [amount * weight for weight in weights]
    parts = [int(part) for part in exact]
    by_remainder = sorted(range(len(parts)), key=lambda n: (parts[n] - exact[n], n))
    for n in by_remainder[: amount - sum(parts)]:
        parts[n] += 1
    return parts


def encode_csv(lines: Sequence[StatementLine]) -> bytes:
    """Write a statement as UTF-8 CSV with a header; what is unknown is an empty cell."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    for line in lines:
        money = [_format_usd(nano) for nano in (line.cost_nano, line.shared_nano, line.total_nano)]
        tokens = (line.prompt_tokens, line.completion_tokens, line.total_tokens)
        percent = f"{float(100 * line.share):.4f}"
        cells = [line.month, neutralise(line.team), neutralise(line.team_name), line.calls, *tokens, money[0]]
        writer.writerow([*cells, line.unpriced_calls, percent, *money[1:]])
    return buffer.getvalue().encode()


def _sum_by_team(statistics: "Statistics", filters: StatisticsFilter) -> Mapping[str, Mapping[str, int | None]]:
    frame = statistics.pivot(OPERATOR, filters, [Dimension.TEAM], _MEASURES).astype(object)
    records: list[dict[Any, Any]] = frame.where(frame.notna(), None).to_dict("records")
    names = [measure.value for measure in _MEASURES]
    return {
        str(record["team"]): {name: None if record[name] is None else int(record[name]) for name in names}
        for record in records
    }


def _weigh(sums: Sequence[Mapping[str, int | None]], basis: SharedBy) -> Sequence[Fraction]:
    amounts = [0 if basis is SharedBy.EQUALLY else max(0, of_team.get(basis.value) or 0) for of_team in sums]
    total = sum(amounts)
    if total == 0:
        return [Fraction(1, len(amounts))] * len(amounts)
    return [Fraction(amount, total) for amount in amounts]


def _make_line(
    month: str, team: Team, sums: Mapping[str, int | None], share: Fraction, shared_nano: int
) -> StatementLine:
    had_calls = bool(sums)
    return StatementLine(
        month=month,
        team=team.slug,
        team_name=team.name,
        calls=sums.get("calls") or 0,
        prompt_tokens=sums.get("prompt_tokens") if had_calls else 0,
        completion_tokens=sums.get("completion_tokens") if had_calls else 0,
        total_tokens=sums.get("tokens") if had_calls else 0,
        cost_nano=sums.get("cost") if had_calls else 0,
        unpriced_calls=sums.get("unpriced") or 0,
        share=share,
        shared_nano=shared_nano,
    )


def _format_usd(nano: int | None) -> str:
    return "" if nano is None else f"{convert_nano_to_usd(nano):f}"
