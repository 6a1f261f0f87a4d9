"""Commands about exchange rates: `rates import`, `rates list`, `rates use`."""

import argparse
from pathlib import Path
from typing import Any

from lib.cli import output
from lib.cli.arguments import read_text
from lib.cli.operator import OPERATOR, open_services


def add_commands(commands: Any) -> None:
    """Register the command `rates` with its actions."""
    actions = commands.add_parser("rates", help="exchange rates and the report currency").add_subparsers(
        metavar="ACTION", required=True
    )
    command = actions.add_parser("import", help="take in a list: day, currency, per_usd; or the ECB's history")
    command.add_argument("file", type=Path, metavar="FILE", help="CSV")
    command.set_defaults(run=import_rates)
    command = actions.add_parser("list", help="currencies that have rates")
    output.add_json_option(command)
    command.set_defaults(run=list_currencies)
    command = actions.add_parser("use", help="report in a currency")
    command.add_argument("currency", metavar="CURRENCY", help="USD, or one that has rates")
    command.set_defaults(run=choose_currency)


def import_rates(arguments: argparse.Namespace) -> None:
    """Import a list of exchange rates from a CSV file."""
    document = read_text(arguments.file)
    with open_services() as services:
        print(f"Took in {services.exchange_rates.import_csv(OPERATOR, document):,} rates.")


def list_currencies(arguments: argparse.Namespace) -> None:
    """Print each currency with its number of rates, first and last day."""
    with open_services() as services:
        rates = services.exchange_rates
        currency = rates.currency(OPERATOR)
        currencies = rates.choices(OPERATOR)
    lines = [
        {"currency": name, "rates": many, "first": first, "last": last, "in_use": name == currency}
        for name, (many, first, last) in currencies.items()
    ]
    output.show(lines, as_json=arguments.json, empty="There are no exchange rates: figures are in USD.")


def choose_currency(arguments: argparse.Namespace) -> None:
    """Choose the report currency."""
    with open_services() as services:
        services.exchange_rates.choose(OPERATOR, arguments.currency.upper())
    print(f"Totals are reported in {arguments.currency.upper()}.")
