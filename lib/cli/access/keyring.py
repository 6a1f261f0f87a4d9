"""Commands about the master key: `vault status` and `vault rotate`."""

import argparse
from typing import Any

from lib.cli import output
from lib.cli.operator import OPERATOR, open_services


def add_commands(commands: Any) -> None:
    """Register the command `vault` with its actions."""
    actions = commands.add_parser("vault", help="the master key that encrypts provider keys").add_subparsers(
        metavar="ACTION", required=True
    )
    command = actions.add_parser("status", help="where the key stands and since when it is in use")
    output.add_json_option(command)
    command.set_defaults(run=print_status)
    command = actions.add_parser("rotate", help="encrypt every stored secret under a new key")
    command.set_defaults(run=rotate)


def print_status(arguments: argparse.Namespace) -> None:
    """Print what there is to know of the key without telling it."""
    with open_services() as services:
        state = services.master_key.state(OPERATOR)
    record = {
        "source": state.source,
        "key_id": state.key_id,
        "since": state.since,
        "keys": state.keys,
        "in_use": state.in_use,
    }
    output.show_record(record, as_json=arguments.json)


def rotate(arguments: argparse.Namespace) -> None:
    """Rotate, and say how many secrets there were and what is left to do."""
    with open_services() as services:
        count = services.master_key.rotate(OPERATOR)
        state = services.master_key.state(OPERATOR)
    print(f"Encrypted {count} secrets under the key {state.key_id}.")
    if state.source == "environment":
        print("LLM_MANAGER_MASTER_KEY may now hold the new key alone.")
    else:
        print("Back up master.key: the old key opens only older backups.")
