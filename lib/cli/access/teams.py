"""`teams …`: who is in which team, what is whose, limits and statements; `stop` and `start`: the stop switch."""

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lib.access.grants import NO_LIMITS, Limits
from lib.access.permissions import Actor
from lib.access.team_choices import TEAM_ROLES, THING_KINDS, StopKind
from lib.cli import output
from lib.cli.arguments import add_action, parse_count
from lib.cli.budgets import parse_dollars
from lib.cli.operator import OPERATOR, open_services
from lib.errors import NotFound

if TYPE_CHECKING:
    from lib.services import Services

ALL = "all"
_BASES = ("cost", "tokens", "calls", "equally")


def add_commands(commands: Any) -> None:
    """Register the commands `teams`, `stop`, `start` and `stopped`."""
    actions = commands.add_parser("teams", help="teams, their people and what is theirs").add_subparsers(
        metavar="ACTION", required=True
    )
    _add_team_actions(actions)
    _add_member_actions(actions)
    _add_cost_actions(actions)
    _add_stop_commands(commands)


def _add_team_actions(actions: Any) -> None:
    add_action(actions, "list", "list teams", list_teams, json=True)
    command = add_action(actions, "add", "make a team", add)
    command.add_argument("name")
    command.add_argument("--slug", default="", help="its short name; default: made of the name")
    command = add_action(actions, "rename", "give a team another name", rename, "team")
    command.add_argument("name")
    add_action(actions, "remove", "remove an empty team", remove, "team")
    command = add_action(actions, "move", "give a thing to another team, or to all", move)
    command.add_argument("kind", choices=THING_KINDS)
    command.add_argument("thing", metavar="NAME")
    command.add_argument("team", help=f"a team's short name, or {ALL}")
    command = add_action(actions, "limit", "limit a team; without numbers its limits end", limit, "team")
    command.add_argument("--requests-per-minute", type=parse_count, metavar="N")
    command.add_argument("--tokens-per-minute", type=parse_count, metavar="N")


def _add_member_actions(actions: Any) -> None:
    roles = [role.value for role in TEAM_ROLES]
    add_action(actions, "members", "list who is in a team", list_members, "team", json=True)
    command = add_action(actions, "join", "add a person to a team", join, "team", "person")
    command.add_argument("--role", choices=roles, help="in this team; default: that of the account")
    command = add_action(actions, "role", "give a member another role in a team", set_role, "team", "person")
    command.add_argument("--role", choices=roles, help="without one they have that of their account")
    add_action(actions, "leave", "take a person out of a team", leave, "team", "person")
    command = add_action(
        actions, "invite", "print a link with which somebody makes an account in a team", invite, "team"
    )
    command.add_argument("--role", choices=roles, default="developer", help="in this team")


def _add_cost_actions(actions: Any) -> None:
    command = add_action(
        actions, "statement", "a month of every team as CSV, with shares of shared costs", print_statement
    )
    command.add_argument("--month", required=True, metavar="YYYY-MM")
    command.add_argument(
        "--shared", type=parse_dollars, metavar="USD", help="a cost that all teams share; default: those that are kept"
    )
    command.add_argument("--shared-by", choices=_BASES, default="cost")
    add_action(actions, "shared", "list the costs that all teams share each month", list_shared_costs, json=True)
    command = add_action(actions, "share", "keep a cost that all teams share each month", share)
    command.add_argument("name")
    command.add_argument("--monthly", type=parse_dollars, required=True, metavar="USD")
    command.add_argument("--by", choices=_BASES, default="cost", help="in proportion to what it is split")
    command.add_argument("--from", dest="first_month", required=True, metavar="YYYY-MM", help="its first month")
    command.add_argument("--until", dest="last_month", default="", metavar="YYYY-MM", help="its last month")
    command = add_action(actions, "unshare", "forget a shared cost, for months that are over too", unshare)
    command.add_argument("name")


def _add_stop_commands(commands: Any) -> None:
    for name, words, run in (
        (
            "stop",
            "stop a team, a key, a tool, a server of tools, or everything; running servers know within five seconds",
            stop,
        ),
        ("start", "let what was stopped run again", start),
    ):
        command = commands.add_parser(name, help=words)
        command.add_argument("kind", choices=[kind.value for kind in StopKind])
        command.add_argument(
            "subject", nargs="?", default="", help="a team's short name, how a key begins, a tool's name …"
        )
        if name == "stop":
            command.add_argument("--reason", default="", help="what callers are told")
        command.set_defaults(run=run)
    command = commands.add_parser("stopped", help="list what is stopped")
    output.add_json_option(command)
    command.set_defaults(run=list_stopped)


def list_teams(arguments: argparse.Namespace) -> None:
    """Print every team."""
    with open_services() as services:
        rows = [
            {"team": team.slug, "name": team.name, "members": team.members, "keys": team.keys}
            | {"requests_per_minute": team.limits.requests_per_minute}
            | {"tokens_per_minute": team.limits.tokens_per_minute, "created_at": team.created_at}
            for team in services.teams.list(OPERATOR)
        ]
    output.show(rows, as_json=arguments.json, empty="No teams.")


def add(arguments: argparse.Namespace) -> None:
    """Make a team."""
    with open_services() as services:
        team = services.teams.create(OPERATOR, arguments.name, arguments.slug)
    print(f"Made the team {team.slug}.")


def rename(arguments: argparse.Namespace) -> None:
    """Give a team another name."""
    with open_services() as services:
        services.teams.rename(OPERATOR, services.teams.get(OPERATOR, arguments.team).id, arguments.name)
    print(f"The team {arguments.team} is called {output.flatten_line(arguments.name)} now.")


def remove(arguments: argparse.Namespace) -> None:
    """Remove an empty team."""
    with open_services() as services:
        services.teams.delete(OPERATOR, services.teams.get(OPERATOR, arguments.team).id)
    print(f"Removed the team {arguments.team}.")


def list_members(arguments: argparse.Namespace) -> None:
    """Print who is in a team."""
    with open_services() as services:
        team = services.teams.get(OPERATOR, arguments.team)
        rows = [
            {"name": member.name, "role": member.role.value, "from": "account" if member.own_role is None else "team"}
            | {"active": member.is_active}
            for member in services.teams.members(OPERATOR, team.id)
        ]
    output.show(rows, as_json=arguments.json, empty="Nobody is in this team.")


def join(arguments: argparse.Namespace) -> None:
    """Add a person to a team."""
    with open_services() as services:
        team = services.teams.get(OPERATOR, arguments.team)
        services.teams.add(OPERATOR, team.id, arguments.person, arguments.role)
    print(f"{output.flatten_line(arguments.person)} is in the team {team.slug} now.")


def set_role(arguments: argparse.Namespace) -> None:
    """Give a member another role in a team."""
    with open_services() as services:
        team = services.teams.get(OPERATOR, arguments.team)
        services.teams.set_role(OPERATOR, team.id, find_user_id(services, arguments.person), arguments.role)
    role = arguments.role or "the role of their account"
    print(f"{output.flatten_line(arguments.person)} has {role} in the team {team.slug} now.")


def leave(arguments: argparse.Namespace) -> None:
    """Take a person out of a team."""
    with open_services() as services:
        team = services.teams.get(OPERATOR, arguments.team)
        services.teams.remove(OPERATOR, team.id, find_user_id(services, arguments.person))
    print(f"{output.flatten_line(arguments.person)} is no more in the team {team.slug}.")


def invite(arguments: argparse.Namespace) -> None:
    """Print an invitation's link, as the last line."""
    with open_services() as services:
        team = services.teams.get(OPERATOR, arguments.team)
        token = services.access_links.invite(OPERATOR, team.id, arguments.role)
    print(f"An invitation into the team {team.slug}, for seven days and one account; put your address before it:")
    print(f"/link?token={token}")


def move(arguments: argparse.Namespace) -> None:
    """Give a thing to another team, or to all."""
    with open_services() as services:
        team_id = 0 if arguments.team == ALL else services.teams.get(OPERATOR, arguments.team).id
        services.teams.move(OPERATOR, arguments.kind, arguments.thing, team_id)
    whose = "all teams" if arguments.team == ALL else f"the team {arguments.team}"
    print(f"The {arguments.kind} {output.flatten_line(arguments.thing)} belongs to {whose} now.")


def limit(arguments: argparse.Namespace) -> None:
    """Set or end the limits of a team."""
    limits = Limits(arguments.requests_per_minute, arguments.tokens_per_minute)
    with open_services() as services:
        team = services.teams.get(OPERATOR, arguments.team)
        services.limits.set_team(OPERATOR, team.id, limits)
    print(f"The team {team.slug} has {'no limits now' if limits == NO_LIMITS else 'new limits'}.")


def print_statement(arguments: argparse.Namespace) -> None:
    """Print a month's statement as CSV."""
    from lib.money import convert_usd_to_nano
    from lib.statistics import statement
    from lib.statistics.shared_costs import SharedBy, SharedCost

    month = arguments.month
    with open_services() as services:
        costs = services.shared_costs.find_of_month(month)
        if arguments.shared is not None:
            nano = convert_usd_to_nano(arguments.shared)
            costs = [SharedCost("shared", nano, SharedBy(arguments.shared_by), month)]
        lines = statement.make_statement(OPERATOR, services.statistics, services.teams, month, costs)
        services.audit.note_export(OPERATOR, "statement.export", month, rows=len(lines))
    output.write_bytes([statement.encode_csv(lines)])


def list_shared_costs(arguments: argparse.Namespace) -> None:
    """Print the costs that all teams share."""
    from lib.money import convert_nano_to_usd

    with open_services() as services:
        rows = [
            {"name": cost.name, "monthly_usd": format(convert_nano_to_usd(cost.monthly_nano), "f")}
            | {"shared_by": cost.shared_by.value, "first_month": cost.first_month, "last_month": cost.last_month}
            for cost in services.shared_costs.list(OPERATOR)
        ]
    output.show(rows, as_json=arguments.json, empty="Nothing is shared.")


def share(arguments: argparse.Namespace) -> None:
    """Keep a cost that all teams share."""
    from lib.money import convert_usd_to_nano
    from lib.statistics.shared_costs import SharedBy, SharedCost

    nano = convert_usd_to_nano(arguments.monthly)
    cost = SharedCost(arguments.name, nano, SharedBy(arguments.by), arguments.first_month, arguments.last_month)
    with open_services() as services:
        services.shared_costs.set(OPERATOR, cost)
    print(f"{output.flatten_line(cost.name)} is shared by {cost.shared_by.value} now.")


def unshare(arguments: argparse.Namespace) -> None:
    """Forget a shared cost."""
    with open_services() as services:
        services.shared_costs.remove(OPERATOR, arguments.name)
    print(f"{output.flatten_line(arguments.name)} is shared no more.")


def stop(arguments: argparse.Namespace) -> None:
    """Throw the stop switch."""
    with open_services() as services:
        subject = _find_subject(services, arguments)
        services.stops.stop(OPERATOR, arguments.kind, subject, arguments.reason)
    print(f"Stopped: {arguments.kind} {arguments.subject}".rstrip() + ".")


def start(arguments: argparse.Namespace) -> None:
    """Let what was stopped run again."""
    with open_services() as services:
        services.stops.start(OPERATOR, arguments.kind, _find_subject(services, arguments))
    print(f"Started: {arguments.kind} {arguments.subject}".rstrip() + ".")


def list_stopped(arguments: argparse.Namespace) -> None:
    """Print what is stopped."""
    with open_services() as services:
        rows = [
            {"kind": stopped.kind.value, "what": stopped.label, "reason": stopped.reason, "by": stopped.user_name}
            | {"at": stopped.at}
            for stopped in services.stops.list(OPERATOR)
        ]
    output.show(rows, as_json=arguments.json, empty="Nothing is stopped.")


def act_in(services: "Services", slug: str | None) -> Actor:
    """The operator, in a team by its short name; without one in the first."""
    return OPERATOR if not slug else replace(OPERATOR, team_id=services.teams.get(OPERATOR, slug).id)


def find_user_id(services: "Services", name: str) -> str:
    """The id of a person by name; raises NotFound."""
    user_ids = [user.id for user in services.users.list(OPERATOR) if user.name.casefold() == name.casefold()]
    if not user_ids:
        raise NotFound(f"There is no user {output.flatten_line(name)}.", "", "See python -m lib users list.")
    return user_ids[0]


def _find_subject(services: "Services", arguments: argparse.Namespace) -> str:
    if arguments.kind == StopKind.KEY:
        return services.api_keys.find(OPERATOR, arguments.subject).id
    return str(arguments.subject)
