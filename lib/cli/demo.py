"""`demo load` and `demo remove`: a year of sample usage, marked as such."""

import argparse
from typing import Any

from lib.cli import output
from lib.cli.arguments import parse_count
from lib.cli.operator import OPERATOR, open_services


def add_commands(commands: Any) -> None:
    """Register the command `demo` with its actions."""
    actions = commands.add_parser("demo", help="sample data, to look around").add_subparsers(
        metavar="ACTION", required=True
    )
    command = actions.add_parser("load", help="add a year of sample calls")
    command.add_argument("--calls", type=parse_count, default=20_000, metavar="N", help="how many (default: 20000)")
    command.add_argument(
        "--seed", type=int, default=7, metavar="S", help="the same seed makes the same calls (default: 7)"
    )
    command.set_defaults(run=load)
    command = actions.add_parser("remove", help="take all sample calls away")
    command.set_defaults(run=remove)


def load(arguments: argparse.Namespace) -> None:
    """Add sample calls."""
    progress = output.make_progress_line("calls")
    with open_services() as services:
        written = services.demo.load(OPERATOR, arguments.calls, arguments.seed, progress=progress)
    print(f"Added {written:,} sample calls. Remove them with: python -m lib demo remove")


def remove(arguments: argparse.Namespace) -> None:
    """Take the sample calls away; live calls stay."""
    with open_services() as services:
        removed = services.demo.remove(OPERATOR)
    print(f"Removed {removed:,} sample calls. Live calls are untouched.")
