"""`stats` and `calls export`: figures and rows of the ledger, for spreadsheets and other programs."""

import argparse
import sys
from datetime import date
from typing import Any

from lib.access.permissions import OPERATOR
from lib.cli import output
from lib.cli.arguments import day, names
from lib.cli.door import opened_services


def add_commands(commands: Any) -> None:
    """Register `stats` and `calls`."""
    command = commands.add_parser("stats", help="usage and cost by provider, model, app, user …")
    command.add_argument("--by", type=names, required=True, metavar="D[,D]", help="dimensions, parted by commas")
    _add_range(command)
    command.add_argument("--format", choices=["csv", "json", "parquet"], default="csv")
    command.set_defaults(run=stats)
    actions = commands.add_parser("calls", help="the log of calls").add_subparsers(metavar="ACTION", required=True)
    command = actions.add_parser("export", help="write the log to standard output")
    command.add_argument("--format", choices=["csv", "json"], default="csv")
    _add_range(command)
    command.set_defaults(run=export)


def _add_range(command: argparse.ArgumentParser) -> None:
    command.add_argument("--from", dest="first", type=day, metavar="DAY", help="first day (UTC), as 2026-10-01")
    command.add_argument("--to", dest="last", type=day, metavar="DAY", help="last day (UTC), included")


def stats(arguments: argparse.Namespace) -> None:
    """Print usage by the given dimensions."""


def export(arguments: argparse.Namespace) -> None:
    """Stream the rows of the log."""
