"""`providers list` and `providers add`. A key is named by the variable that holds it: it stays out of the history."""

import argparse
import os
from typing import Any

from lib.cli import output
from lib.cli.operator import OPERATOR, open_services
from lib.errors import InvalidInput
from lib.providers.kinds import ProviderKind


def add_commands(commands: Any) -> None:
    """Register the command `providers` with its actions."""
    actions = commands.add_parser("providers", help="accounts and servers that run models").add_subparsers(
        metavar="ACTION", required=True
    )
    command = actions.add_parser("list", help="list providers")
    output.add_json_option(command)
    command.set_defaults(run=list_providers)
    command = actions.add_parser("add", help="register a provider")
    command.add_argument("name")
    command.add_argument("--kind", required=True, choices=[kind.value for kind in ProviderKind])
    command.add_argument("--base-url", default="", help="default: the kind's own address")
    command.add_argument("--api-key-env", metavar="VAR", help="the variable that holds the API key")
    command.add_argument("--allow-private", action="store_true", help="the address may be in a private network")
    command.set_defaults(run=add)


def list_providers(arguments: argparse.Namespace) -> None:
    """Print every provider; a key is told by its last four characters."""
    with open_services() as services:
        rows = [
            {
                "name": provider.name,
                "kind": str(provider.kind),
                "base_url": provider.address,
                "key": f"…{provider.key_last4}" if provider.has_key else None,
                "state": provider.state,
            }
            for provider in services.providers.list(OPERATOR)
        ]
    output.show(rows, as_json=arguments.json, empty="No providers yet.")


def add(arguments: argparse.Namespace) -> None:
    """Register a provider."""
    api_key = read_key(arguments.api_key_env) if arguments.api_key_env else None
    with open_services() as services:
        provider = services.providers.create(
            OPERATOR,
            name=arguments.name,
            kind=arguments.kind,
            base_url=arguments.base_url,
            api_key=api_key,
            allow_private=arguments.allow_private,
        )
    print(f"Added the provider {provider.name}.")


def read_key(variable: str) -> str:
    """Read an API key from an environment variable; raises InvalidInput when it is empty."""
    if key := os.environ.get(variable, "").strip():
        return key
    raise InvalidInput(f"{variable} is empty.", "--api-key-env names the variable that holds the key.", "Set it first.")
