"""`users add` and `users list`. A password never stands on the command line, where others on the machine see it."""

import argparse
import os
import sys
from typing import Any

from lib.access.permissions import Role
from lib.cli import output
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
    command.set_defaults(run=add)
    command = actions.add_parser("list", help="list users")
    output.add_json_option(command)
    command.set_defaults(run=list_users)


def add(arguments: argparse.Namespace) -> None:
    """Make a user."""
    password = read_new_password()
    with open_services() as services:
        user = services.users.create(OPERATOR, arguments.name, password, Role(arguments.role))
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
