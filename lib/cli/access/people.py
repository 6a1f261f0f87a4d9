"""`users …`: accounts, links for new passwords, handing over, erasing.

A password never stands on the command line, where others on the machine see it.
"""

import argparse
import os
import sys
from typing import Any

from lib.access.permissions import Role
from lib.cli import output
from lib.cli.access.teams import act_in, find_user_id
from lib.cli.operator import OPERATOR, open_services
from lib.errors import InvalidInput

PASSWORD_VARIABLE = "LLM_MANAGER_NEW_PASSWORD"  # noqa: S105 (a name, not a password)


def add_commands(commands: Any) -> None:
    """Register the command `users` with its actions."""
    actions = commands.add_parser("users", help="people who may sign in").add_subparsers(
        metavar="ACTION", required=True
    )
    command = actions.add_parser(
        "add",
        help="make a user",
        description=f"The password comes from {PASSWORD_VARIABLE}, a prompt or standard input.",
    )
    command.add_argument("name")
    command.add_argument("--role", required=True, choices=[role.value for role in Role])
    command.add_argument("--team", help="a team's short name; default: the first team")
    command.set_defaults(run=add)
    command = actions.add_parser("reset", help="print a link with which a person sets a new password")
    command.add_argument("name")
    command.set_defaults(run=reset)
    command = actions.add_parser("hand-over", help="give everything of one person to another")
    command.add_argument("name")
    command.add_argument("to", metavar="TO")
    command.add_argument("--team", help="only what is of this team")
    command.set_defaults(run=hand_over)
    command = actions.add_parser("erase", help="erase a person's words for good; figures stay")
    command.add_argument("name")
    command.add_argument("--yes", action="store_true", help="it can't be undone")
    command.set_defaults(run=erase)
    command = actions.add_parser("list", help="list users")
    output.add_json_option(command)
    command.set_defaults(run=list_users)


def reset(arguments: argparse.Namespace) -> None:
    """Print a link with which a person sets a new password, as the last line."""
    with open_services() as services:
        token = services.access_links.reset_password(OPERATOR, find_user_id(services, arguments.name))
    print("A link to set a new password, for a day and for once; put your address before it:")
    print(f"/link?token={token}")


def hand_over(arguments: argparse.Namespace) -> None:
    """Give everything of one person to another."""
    with open_services() as services:
        from_id = find_user_id(services, arguments.name)
        to_id = find_user_id(services, arguments.to)
        team_id = services.teams.get(OPERATOR, arguments.team).id if arguments.team else None
        counts = services.hand_over.run(OPERATOR, from_id, to_id, team_id)
    moved = ", ".join(f"{count} {kind}" for kind, count in counts.items()) or "nothing"
    print(f"Handed over to {output.flatten_line(arguments.to)}: {moved}.")


def erase(arguments: argparse.Namespace) -> None:
    """Erase a person's words for good; figures of their calls stay."""
    if not arguments.yes:
        raise InvalidInput("Nothing was erased.", "It can't be undone.", "Add --yes to go on.")
    with open_services() as services:
        erased = services.erasure.erase(OPERATOR, find_user_id(services, arguments.name))
    gone = ", ".join(f"{count} of {kind.replace('_', ' ')}" for kind, count in erased.counts.items()) or "nothing"
    print(f"Erased, called {erased.name} now: {gone}. Figures stay.")
    print(erased.backup_note)


def add(arguments: argparse.Namespace) -> None:
    """Make a user."""
    password = read_new_password()
    with open_services() as services:
        team_id = act_in(services, arguments.team).team_id
        user = services.users.create(OPERATOR, arguments.name, password, Role(arguments.role), team_id)
    print(f"Added {output.flatten_line(user.name)} as {user.role}.")


def list_users(arguments: argparse.Namespace) -> None:
    """Print every user."""
    with open_services() as services:
        rows = [
            {
                "name": user.name,
                "role": str(user.role),
                "active": user.is_active,
                "created_at": user.created_at,
                "last_login_at": user.last_login_at,
            }
            for user in services.users.list(OPERATOR)
        ]
    output.show(
        rows, as_json=arguments.json, empty="No users yet. Add one: python -m lib users add NAME --role super-admin"
    )


def read_new_password() -> str:
    """Read a new user's password: from the environment, typed twice at a terminal, or a line of standard input."""
    if preset := os.environ.get(PASSWORD_VARIABLE):
        return preset
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    from getpass import getpass

    password = getpass("Password: ")
    if getpass("Again: ") != password:
        raise InvalidInput("The two passwords differ.", "", "Type the same one twice.", field="password")
    return password
