"""`/api/teams`: the teams of a key's owner: people, roles, limits, budgets, the stop switch, hand-over, statements.

What a key with the endpoint `api` may read of its own team is one list. Everything else takes a key with the endpoint
`teams`, which acts as the person who made it does on the page Access: `lib.access.teams` says who may do what.
"""

from dataclasses import replace
from functools import partial
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from lib.access.grants import GatewayEndpoint, Limits
from lib.access.team_choices import StopKind
from lib.access.teams import Member, Team
from lib.budgets.budget import BudgetScope
from lib.budgets.state import BudgetState
from lib.errors import NotFound
from lib.gateway.api.bodies import Body, Count, Moment, Name, Nothing, Usd, format_dollars, format_usd
from lib.gateway.api.operation import Asking, DirectOperation, Operation
from lib.money import convert_usd_to_nano
from lib.statistics.shared_costs import SharedBy, SharedCost

RoleName = Literal["team-administrator", "master-developer", "developer", "administrator"]
PeriodName = Literal["day", "week", "month"]
Ceiling = Annotated[int, Meta(ge=1, le=1_000_000_000)]
MonthName = Annotated[str, Meta(pattern=r"^\d{4}-\d{2}$", description="Like 2026-11, in UTC.")]
_ROLE = Meta(description="In this team; null leaves them that of their account.")
_Ruling = partial(DirectOperation, endpoint=GatewayEndpoint.TEAMS)


class TeamMemberBody(Struct, kw_only=True):
    """A person in a team: the role that holds there, and the one that the team gave, null where the account's holds."""

    id: str
    name: str
    role: str
    own_role: str | None
    is_active: bool


class TeamBody(Struct, kw_only=True):
    """A team with its people; null is no limit."""

    id: int
    slug: str
    name: str
    requests_per_minute: int | None
    tokens_per_minute: int | None
    stopped: bool
    members: list[TeamMemberBody]


class TeamsBody(Struct):
    """The teams that a key acts in."""

    teams: list[TeamBody]


class NewTeamBody(Body, forbid_unknown_fields=True):
    """A team to be made; without `slug` its name gives one."""

    name: Name
    slug: Name | None = None


class TeamNameBody(Body, forbid_unknown_fields=True):
    """Another name; the slug stays."""

    name: Name


class NewMemberBody(Body, forbid_unknown_fields=True):
    """A person who has an account, and their role in the team."""

    name: Name
    role: Annotated[RoleName | None, _ROLE] = None


class MemberRoleBody(Body, forbid_unknown_fields=True):
    """The role of a member."""

    role: Annotated[RoleName | None, _ROLE]


class TeamLimitsBody(Body, forbid_unknown_fields=True):
    """Limits of a team over all its keys and people; what is missing or null is no limit."""

    requests_per_minute: Ceiling | None = None
    tokens_per_minute: Ceiling | None = None


class StopBody(Body, forbid_unknown_fields=True):
    """Why a team is stopped, which callers are told."""

    reason: Annotated[str, Meta(max_length=200)] = ""


class InvitationBody(Body, forbid_unknown_fields=True):
    """The role in the team of whoever uses the link."""

    role: RoleName = "developer"


class LinkBody(Struct):
    """A link at this installation's address, good for seven days and one account; it is shown this once."""

    link: str


class HandOverBody(Body, forbid_unknown_fields=True):
    """Whose things of the team go to whom, by name or id; to the key's owner where `to` is missing."""

    person: Name
    to: Name | None = None


class HandedOverBody(Struct):
    """How much changed hands, by kind."""

    counts: dict[str, Count]


class MovedBody(Body, forbid_unknown_fields=True):
    """A thing, by its name or id, that is to belong to the team."""

    kind: Name
    name: Name


class TeamBudgetBody(Struct, kw_only=True):
    """A team's budget in its window; the cost of `unpriced_calls` is not, or not wholly, in what is spent."""

    id: str
    period: PeriodName
    limit_usd: Usd
    spent_usd: Usd
    held_usd: Usd
    unpriced_calls: Count
    is_hard: bool
    block_unpriced: bool
    thresholds: list[Count]
    starts_at: Moment
    ends_at: Moment


class TeamBudgetsBody(Struct):
    """Budgets of a team."""

    budgets: list[TeamBudgetBody]


class NewTeamBudgetBody(Body, forbid_unknown_fields=True):
    """What a team may spend in a period; a budget that is there already is changed, in what is given."""

    period: PeriodName
    limit_usd: Usd
    is_hard: Annotated[bool | None, Meta(description="Stops calls at the limit: true for a new one.")] = None
    block_unpriced: Annotated[bool | None, Meta(description="Stops calls without a price too.")] = None
    thresholds: Annotated[list[Annotated[int, Meta(ge=1, le=100)]] | None, Meta(description="Percents to tell.")] = None


class StatementQuery(Body):
    """The month."""

    month: MonthName


class StatementBody(Struct, kw_only=True):
    """A month of a team: its calls, its share of what all teams share, and the sum; null is unknown."""

    month: str
    team: str
    team_name: str
    calls: Count
    prompt_tokens: Count | None
    completion_tokens: Count | None
    total_tokens: Count | None
    cost_usd: Usd | None
    unpriced_calls: Count
    shared_cost_usd: Usd
    total_usd: Usd | None


class SharedCostBody(Body, forbid_unknown_fields=True, kw_only=True):
    """A cost that all teams share each month, from the first to the last; without a last one until further notice."""

    name: Name
    monthly_usd: Usd
    shared_by: Literal["cost", "tokens", "calls", "equally"] = "cost"
    first_month: MonthName
    last_month: MonthName | None = None


class SharedCostsBody(Struct):
    """Shared costs by name."""

    shared_costs: list[SharedCostBody]


def list_teams(asking: Asking[Nothing, Nothing]) -> TeamsBody:
    """The key's team: its limits, its people and their roles there, and whether it is stopped."""
    return TeamsBody([_describe(asking, team) for team in asking.services.teams.list(asking.actor)])


def create_team(asking: Asking[Nothing, NewTeamBody]) -> TeamBody:
    """Make an empty team."""
    return _describe(asking, asking.services.teams.create(asking.actor, asking.body.name, asking.body.slug or ""))


def read_team(asking: Asking[Nothing, Nothing]) -> TeamBody:
    """A team of the key's owner."""
    return _describe_named(asking)


def rename_team(asking: Asking[Nothing, TeamNameBody]) -> TeamBody:
    """Give a team another name."""
    asking.services.teams.rename(asking.actor, _find_team(asking).id, asking.body.name)
    return _describe_named(asking)


def delete_team(asking: Asking[Nothing, Nothing]) -> TeamBody:
    """Remove a team that nobody is in and nothing belongs to."""
    team = read_team(asking)
    asking.services.teams.delete(asking.actor, team.id)
    return team


def add_member(asking: Asking[Nothing, NewMemberBody]) -> TeamBody:
    """Add a person who has an account."""
    asking.services.teams.add(asking.actor, _find_team(asking).id, asking.body.name, asking.body.role)
    return _describe_named(asking)


def set_role(asking: Asking[Nothing, MemberRoleBody]) -> TeamBody:
    """Give a member another role in the team."""
    team = _find_team(asking)
    asking.services.teams.set_role(asking.actor, team.id, _find_member(asking, team).user_id, asking.body.role)
    return _describe_named(asking)


def remove_member(asking: Asking[Nothing, Nothing]) -> TeamBody:
    """Take a person out of a team."""
    team = _find_team(asking)
    asking.services.teams.remove(asking.actor, team.id, _find_member(asking, team).user_id)
    return _describe_named(asking)


def set_limits(asking: Asking[Nothing, TeamLimitsBody]) -> TeamBody:
    """Set or end the limits of a team."""
    limits = Limits(asking.body.requests_per_minute, asking.body.tokens_per_minute)
    asking.services.limits.set_team(asking.actor, _find_team(asking).id, limits)
    return _describe_named(asking)


def stop_team(asking: Asking[Nothing, StopBody]) -> TeamBody:
    """Stop all calls of a team."""
    asking.services.stops.stop(asking.actor, StopKind.TEAM, str(_find_team(asking).id), asking.body.reason)
    return _describe_named(asking)


def start_team(asking: Asking[Nothing, Nothing]) -> TeamBody:
    """Let a stopped team's calls run again."""
    asking.services.stops.start(asking.actor, StopKind.TEAM, str(_find_team(asking).id))
    return _describe_named(asking)


def invite(asking: Asking[Nothing, InvitationBody]) -> LinkBody:
    """Make a link with which somebody makes an account in the team."""
    token = asking.services.access_links.invite(asking.actor, _find_team(asking).id, asking.body.role)
    return LinkBody(f"/link?token={token}")


def hand_over(asking: Asking[Nothing, HandOverBody]) -> HandedOverBody:
    """Give what a person has in the team to somebody else, in one action."""
    team = _find_team(asking)
    giver = _find_user_id(asking, team, asking.body.person)
    receiver = asking.actor.user_id or ""
    if asking.body.to is not None:
        receiver = _find_user_id(asking, team, asking.body.to)
    counts = asking.services.hand_over.run(asking.actor, giver, receiver, team.id)
    return HandedOverBody(dict(counts))


def move_thing(asking: Asking[Nothing, MovedBody]) -> MovedBody:
    """Give a thing to the team."""
    body = asking.body
    asking.services.teams.move(asking.actor, body.kind, body.name, _find_team(asking).id)
    return body


def list_budgets(asking: Asking[Nothing, Nothing]) -> TeamBudgetsBody:
    """The budgets of a team."""
    subject = str(_find_team(asking).id)
    states = [state for state in asking.services.budgets.list(asking.actor) if _is_of_team(state, subject)]
    return TeamBudgetsBody([_describe_budget(state) for state in states])


def set_budget(asking: Asking[Nothing, NewTeamBudgetBody]) -> TeamBudgetBody:
    """Set what a team may spend in a period."""
    budgets = asking.services.budgets
    slug = _find_team(asking).slug
    body = asking.body
    rules: dict[str, Any] = {"is_hard": body.is_hard, "block_unpriced": body.block_unpriced}
    rules |= {"thresholds": body.thresholds, "limit_nano": convert_usd_to_nano(body.limit_usd)}
    rules = {name: rule for name, rule in rules.items() if rule is not None}
    try:
        budget_id = budgets.find(asking.actor, BudgetScope.TEAM, slug, body.period).budget.id
    except NotFound:
        state = budgets.create(asking.actor, scope=BudgetScope.TEAM, subject=slug, period=body.period, **rules)
    else:
        state = budgets.update(asking.actor, budget_id, **rules)
    return _describe_budget(state)


def read_statement(asking: Asking[StatementQuery, Nothing]) -> StatementBody:
    """State a month of the team."""
    from lib.statistics.statement import make_statement

    services = asking.services
    team = _find_team(asking)
    costs = services.shared_costs.find_of_month(asking.query.month)
    lines = make_statement(asking.actor, services.statistics, services.teams, asking.query.month, costs)
    line = next(line for line in lines if line.team == team.slug)
    services.audit.note_export(asking.actor, "statement.export", line.month, rows=1)
    return StatementBody(
        month=line.month,
        team=line.team,
        team_name=line.team_name,
        calls=line.calls,
        prompt_tokens=line.prompt_tokens,
        completion_tokens=line.completion_tokens,
        total_tokens=line.total_tokens,
        cost_usd=format_usd(line.cost_nano),
        unpriced_calls=line.unpriced_calls,
        shared_cost_usd=format_dollars(line.shared_nano),
        total_usd=format_usd(line.total_nano),
    )


def list_shared_costs(asking: Asking[Nothing, Nothing]) -> SharedCostsBody:
    """The costs that all teams share."""
    return SharedCostsBody([_describe_cost(cost) for cost in asking.services.shared_costs.list(asking.actor)])


def set_shared_cost(asking: Asking[Nothing, SharedCostBody]) -> SharedCostBody:
    """Keep a shared cost, in place of the one of its name."""
    body = asking.body
    nano = convert_usd_to_nano(body.monthly_usd)
    cost = SharedCost(body.name, nano, SharedBy(body.shared_by), body.first_month, body.last_month or "")
    asking.services.shared_costs.set(asking.actor, cost)
    return _describe_cost(cost)


def remove_shared_cost(asking: Asking[Nothing, Nothing]) -> SharedCostsBody:
    """Forget a shared cost; what is left."""
    asking.services.shared_costs.remove(asking.actor, asking.path["cost"])
    return list_shared_costs(asking)


def _find_team(asking: Asking[Any, Any]) -> Team:
    return asking.services.teams.get(asking.actor, asking.path["team"])


def _describe_named(asking: Asking[Any, Any]) -> TeamBody:
    return _describe(asking, _find_team(asking))


def _find_member(asking: Asking[Any, Any], team: Team) -> Member:
    name_or_id = asking.path["member"]
    for member in asking.services.teams.members(asking.actor, team.id):
        if name_or_id == member.user_id or name_or_id.casefold() == member.name.casefold():
            return member
    raise NotFound("There is no such member.", "They are not in this team.")


def _find_user_id(asking: Asking[Any, Any], team: Team, name_or_id: str) -> str:
    """The id of a member, or for a super-admin of anybody, by name; else what was named, which may be an id."""
    services = asking.services
    people = [(member.name, member.user_id) for member in services.teams.members(asking.actor, team.id)]
    if asking.actor.sees_every_team:
        people += [(user.name, user.id) for user in services.users.list(asking.actor)]
    return next((user_id for name, user_id in people if name.casefold() == name_or_id.casefold()), name_or_id)


def _describe(asking: Asking[Any, Any], team: Team) -> TeamBody:
    services = asking.services
    services.stops.refresh()
    refusal = services.stops.find_refusal(replace(asking.actor, team_id=team.id))
    return TeamBody(
        id=team.id,
        slug=team.slug,
        name=team.name,
        requests_per_minute=team.limits.requests_per_minute,
        tokens_per_minute=team.limits.tokens_per_minute,
        stopped=refusal is not None,
        members=[
            TeamMemberBody(
                id=member.user_id,
                name=member.name,
                role=member.role.value,
                own_role=member.own_role and member.own_role.value,
                is_active=member.is_active,
            )
            for member in services.teams.members(asking.actor, team.id)
        ],
    )


def _describe_cost(cost: SharedCost) -> SharedCostBody:
    return SharedCostBody(
        name=cost.name,
        monthly_usd=format_dollars(cost.monthly_nano),
        shared_by=cost.shared_by.value,
        first_month=cost.first_month,
        last_month=cost.last_month or None,
    )


def _is_of_team(state: BudgetState, subject: str) -> bool:
    return (state.budget.scope, state.budget.subject) == (BudgetScope.TEAM, subject)


def _describe_budget(state: BudgetState) -> TeamBudgetBody:
    budget = state.budget
    period: PeriodName = budget.period.value
    return TeamBudgetBody(
        id=budget.id,
        period=period,
        limit_usd=format_dollars(state.now.limit_nano),
        spent_usd=format_dollars(state.now.spent_nano),
        held_usd=format_dollars(state.now.held_nano),
        unpriced_calls=state.now.unpriced_calls,
        is_hard=budget.is_hard,
        block_unpriced=budget.block_unpriced,
        thresholds=list(budget.thresholds),
        starts_at=state.now.window.start,
        ends_at=state.now.window.end,
    )


_ONE = "/api/teams/{team}"
_MEMBER = f"{_ONE}/members/{{member}}"
OPERATIONS: dict[str, dict[str, Operation]] = {
    "/api/teams": {
        "GET": DirectOperation("teams", "The key's team: limits, people and their roles", list_teams),
        "POST": _Ruling("createTeam", "Make a team", create_team, status=201),
    },
    _ONE: {"GET": _Ruling("team", "A team with its people", read_team)},
    f"{_ONE}/rename": {"POST": _Ruling("renameTeam", "Give a team another name", rename_team)},
    f"{_ONE}/delete": {"POST": _Ruling("deleteTeam", "Remove an empty team", delete_team)},
    f"{_ONE}/members": {"POST": _Ruling("addMember", "Add a person to a team", add_member, status=201)},
    f"{_MEMBER}/role": {"POST": _Ruling("setMemberRole", "Change a member's role", set_role)},
    f"{_MEMBER}/remove": {"POST": _Ruling("removeMember", "Take a person out of a team", remove_member)},
    f"{_ONE}/invite": {"POST": _Ruling("invite", "A link that makes an account in the team", invite, status=201)},
    f"{_ONE}/limits": {"POST": _Ruling("setTeamLimits", "Set or end the limits of a team", set_limits)},
    f"{_ONE}/budgets": {
        "GET": _Ruling("teamBudgets", "The budgets of a team", list_budgets),
        "POST": _Ruling("setTeamBudget", "Set what a team may spend in a period", set_budget),
    },
    f"{_ONE}/stop": {"POST": _Ruling("stopTeam", "Stop all calls of a team", stop_team)},
    f"{_ONE}/start": {"POST": _Ruling("startTeam", "Let them run again", start_team)},
    f"{_ONE}/hand-over": {"POST": _Ruling("handOver", "Give what a person has in the team to somebody", hand_over)},
    f"{_ONE}/move": {"POST": _Ruling("moveToTeam", "Give a thing to a team", move_thing)},
    f"{_ONE}/statement": {"GET": _Ruling("teamStatement", "A month of the team", read_statement)},
    "/api/shared-costs": {
        "GET": _Ruling("sharedCosts", "Costs that all teams share each month", list_shared_costs),
        "POST": _Ruling("setSharedCost", "Keep one", set_shared_cost),
    },
    "/api/shared-costs/{cost}/delete": {"POST": _Ruling("removeSharedCost", "Forget one", remove_shared_cost)},
}
