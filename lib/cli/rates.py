"""Commands about exchange rates: `rates import`, `rates list`, `rates use`."""

import argparse
from pathlib import Path
from typing import Any

from lib.cli import output
from lib.cli.arguments import read_text
from lib.cli.door import OPERATOR, opened_services


def add_commands(commands: Any) -> None:
    """Register `rates`."""
    actions = commands.add_parser("rates", help="exchange rates and the report currency").add_subparsers(
        metavar="ACTION", required=True
    )
    command = actions.add_parser("import", help="take in a list: day, currency, per_usd; or the ECB's history")
    command.add_argument("file", type=Path, metavar="FILE", help="CSV")
    command.set_defaults(run=take)
    command = actions.add_parser("list", help="currencies that have rates")
    output.add_json_option(command)
    command.set_defaults(run=show)
    command = actions.add_parser("use", help="report in a currency")
    command.add_argument("currency", metavar="CURRENCY", help="USD, or one that has rates")
    command.set_defaults(run=use)


def take(arguments: argparse.Namespace) -> None:
    """Import a list."""
    document = read_text(arguments.file)
    with opened_services() as services:
        print(f"Took in {services.exchange_rates.import_csv(OPERATOR, document):,} rates.")


def show(arguments: argparse.Namespace) -> None:
    """Print each currency with its number of rates, first and last day."""
    with opened_services() as services:
        rates = services.exchange_rates
        chosen, known = rates.currency(OPERATOR), rates.choices(OPERATOR)
    lines = [
        {"currency": name, "rates": many, "first": first, "last": last, "in_use": name == chosen}
        for name, (many, first, last) in known.items()
    ]
    output.show(lines, as_json=arguments.json, empty="There are no exchange rates: figures are in USD.")


def use(arguments: argparse.Namespace) -> None:
    """Choose the report currency."""
    with opened_services() as services:
        services.exchange_rates.choose(OPERATOR, arguments.currency.upper())
    print(f"Totals are reported in {arguments.currency.upper()}.")
