"""Commands about what is kept: `retention run`."""

import argparse
from dataclasses import asdict
from typing import Any

from lib.cli import output
from lib.cli.operator import OPERATOR, open_services


def add_commands(commands: Any) -> None:
    """Register the command `retention`."""
    actions = commands.add_parser("retention", help="delete what is older than its time").add_subparsers(
        metavar="ACTION", required=True
    )
    command = actions.add_parser("run", help="delete now; the times are set on the page Settings, under Data")
    command.add_argument("--dry-run", action="store_true", help="only say what would go")
    output.add_json_option(command)
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Delete rows past their time, or count them, and print for each class the days it is kept."""
    with open_services() as services:
        days = services.retention.days(OPERATOR)
        service = services.retention
        rows = service.preview(OPERATOR) if arguments.dry_run else service.run(OPERATOR)
    days_by_class = asdict(days)
    column = "would_delete" if arguments.dry_run else "deleted"
    lines = [{"class": name, "days": days_by_class[name], column: count} for name, count in asdict(rows).items()]
    output.show(lines, as_json=arguments.json, empty="")
