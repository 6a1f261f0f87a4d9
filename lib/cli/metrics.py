"""Commands about custom metrics of calls: `metrics list`, `metrics record`, `metrics stats`."""

import argparse
import json
from dataclasses import asdict
from typing import Any

from lib.access.permissions import OPERATOR
from lib.cli import output
from lib.cli.arguments import parse_names
from lib.cli.operator import open_services
from lib.cli.statistics.usage import add_range, convert_to_moments
from lib.errors import InvalidInput

_TYPES = ["string", "integer", "float", "boolean", "json"]


def add_commands(commands: Any) -> None:
    """Register the command `metrics` with its actions."""
    actions = commands.add_parser("metrics", help="what was noted about calls").add_subparsers(
        metavar="ACTION", required=True
    )
    command = actions.add_parser("list", help="the metrics of a call")
    command.add_argument("call", metavar="CALL", help="the id of a call, or of its row in the log")
    output.add_json_option(command)
    command.set_defaults(run=show)
    command = actions.add_parser("record", help="add a metric to a call")
    command.add_argument("call", metavar="CALL", help="the id of a call, or of its row in the log")
    command.add_argument("key", metavar="KEY", help="letters, digits, underscores, dots and dashes")
    command.add_argument("value", metavar="VALUE", help="read as true or false, number or JSON where it is one")
    command.add_argument("--type", choices=_TYPES, help="take the value as this")
    command.add_argument("--metadata", metavar="JSON", help="an object that says more")
    command.set_defaults(run=record)
    command = actions.add_parser("stats", help="figures of each key")
    command.add_argument("--key", help="only this one")
    command.add_argument("--app", type=parse_names, default=[], metavar="A[,A]", help="only calls of these apps")
    add_range(command)
    output.add_json_option(command)
    command.set_defaults(run=print_statistics)


def show(arguments: argparse.Namespace) -> None:
    """Print the metrics of a call, oldest first."""
    with open_services() as services:
        metrics = services.metrics.list(OPERATOR, arguments.call)
    columns = ("key", "type", "value", "metadata", "created_at")
    rows = [{name: getattr(metric, name) for name in columns} for metric in metrics]
    if not arguments.json:
        rows = [row | {"value": json.dumps(row["value"]), "metadata": json.dumps(row["metadata"])} for row in rows]
    output.show(rows, as_json=arguments.json, empty="The call has no metrics.")


def record(arguments: argparse.Namespace) -> None:
    """Add a metric and print its type."""
    from lib.activity.custom_metric import parse

    typed = parse(arguments.value, arguments.type)
    try:
        metadata = None if arguments.metadata is None else json.loads(arguments.metadata)
    except ValueError:
        raise InvalidInput(
            "The metadata is not JSON.", "", 'Write it like {"by": "judge"}.', field="metadata"
        ) from None
    with open_services() as services:
        metric = services.metrics.record(OPERATOR, arguments.call, arguments.key, typed.value, typed.type, metadata)
    print(f"Recorded {metric.key} as {metric.type.value}.")


def print_statistics(arguments: argparse.Namespace) -> None:
    """Print the figures of each key."""
    from lib.activity.custom_metrics import MetricRange

    calls_range = MetricRange(*convert_to_moments(arguments.first, arguments.last), tuple(arguments.app))
    with open_services() as services:
        key_figures = services.metrics.statistics(OPERATOR, arguments.key, calls_range)
    rows = [asdict(figures) for figures in key_figures]
    if not arguments.json:
        rows = [row | {"values": [f"{text} ({count})" for text, count in row["values"]]} for row in rows]
    output.show(rows, as_json=arguments.json, empty="No metric was recorded.")
