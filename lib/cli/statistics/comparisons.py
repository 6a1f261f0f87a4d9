"""`stats whatif` and `stats reconcile`: the traffic on other models, and a provider's invoice beside the ledger."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from lib.cli import output
from lib.cli.arguments import parse_names, parse_pair
from lib.cli.operator import OPERATOR, open_services
from lib.errors import InvalidInput, UserError

if TYPE_CHECKING:
    import pandas as pd

    from lib.services import Services
    from lib.statistics.invoices.invoice_lines import Invoice


def add_commands(actions: Any) -> None:
    """Register `whatif` and `reconcile` below `stats`."""
    from lib.cli.statistics.usage import add_range

    command = actions.add_parser("whatif", help="what past calls would have cost on other models")
    command.add_argument(
        "--model", type=parse_names, default=[], metavar="M[,M]", help="provider/model, for all traffic"
    )
    command.add_argument(
        "--move", type=parse_pair, action="append", default=[], metavar="VALUE=M", help="one value's model"
    )
    command.add_argument("--by", default="app", metavar="D", help="app, model, configuration, provider or user")
    add_range(command)
    command.add_argument("--format", choices=["csv", "json"], default="csv")
    command.set_defaults(run=print_what_if)
    command = actions.add_parser("reconcile", help="compare a provider's usage or cost export with the ledger")
    command.add_argument(
        "file", nargs="+", type=Path, metavar="FILE", help="CSV or JSON of OpenAI or Anthropic; or any"
    )
    command.add_argument(
        "--map", type=parse_pair, action="append", default=[], metavar="FIELD=COLUMN", help="of other tables"
    )
    command.add_argument("--provider", type=parse_names, default=[], metavar="P[,P]", help="providers to compare with")
    command.add_argument("--zone", type=_parse_zone, default=ZoneInfo("UTC"), metavar="ZONE", help="of the file's days")
    command.add_argument("--by", choices=["day-model", "model", "day"], default="day-model")
    command.add_argument("--format", choices=["csv", "json"], default="csv")
    command.set_defaults(run=reconcile)


def print_what_if(arguments: argparse.Namespace) -> None:
    """Print what traffic has cost and would have, for each value and model."""
    from lib.cli.statistics.usage import convert_to_moments
    from lib.statistics import traffic_moves
    from lib.statistics.filters import StatisticsFilter
    from lib.statistics.whatif import BY

    by = next((dimension for dimension in BY if dimension.value == arguments.by), None)
    if by is None:
        raise InvalidInput(f"There is no dimension {arguments.by} here.", "", f"Choose of {', '.join(BY)}.", field="by")
    if bool(arguments.model) == bool(arguments.move):
        raise InvalidInput("Which model?", "", "Give --model, or --move for each value, and not both.")
    start, end = convert_to_moments(arguments.first, arguments.last)
    with open_services() as services:
        traffic = StatisticsFilter(start, end)
        if arguments.model:
            comparison = services.what_if.compare(OPERATOR, traffic, arguments.model, by)
        else:
            comparison = services.what_if.plan(OPERATOR, traffic, dict(arguments.move), by)
        _print(services, traffic_moves.build_table(comparison, by), arguments.format, "statistics.whatif")


def reconcile(arguments: argparse.Namespace) -> None:
    """Print the gaps between files of one provider and the ledger; what they come to on standard error.

    UserError, after that, when rows of the files could not be read: the sums are not those of the files.
    """
    from lib.statistics.filters import StatisticsFilter
    from lib.statistics.invoices import gap_words, invoice_lines, reconcile

    mapping = dict(arguments.map) or None
    invoice = invoice_lines.join_invoices(invoice_lines.read(_read_bytes(path), mapping) for path in arguments.file)
    with open_services() as services:
        ledger_filter = StatisticsFilter(providers=tuple(arguments.provider))
        reconciliation = services.reconcile.compare(OPERATOR, invoice, ledger_filter, arguments.zone)
        gaps = {"day-model": reconciliation.gaps, "model": reconciliation.by_model, "day": reconciliation.by_day}[
            arguments.by
        ]
        _print(services, reconcile.build_table(gaps), arguments.format, "statistics.reconcile")
    print("\n".join(gap_words.write_sentences(reconciliation)), file=sys.stderr)
    _refuse_unread(invoice)


def _refuse_unread(invoice: "Invoice") -> None:
    """Say what was left out, with its count; UserError when figures are missing for it."""
    from lib.usage_files.table import tell

    if unread := invoice.unread:
        count = sum(unread.values())
        rows = "1 row was" if count == 1 else f"{count:,} rows were"
        raise UserError(f"{rows} left out.", f"Left out: {tell(unread)}", "The sums above are without them.")
    if invoice.left_out:
        print(f"Left out: {tell(invoice.left_out)}", file=sys.stderr)


def _print(services: "Services", table: "pd.DataFrame", form: str, action: str) -> None:
    from lib.cli.statistics import frames

    services.audit.note_export(OPERATOR, action, form, rows=len(table))
    output.write_bytes([{"csv": frames.write_csv, "json": frames.write_json}[form](table)])


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{path} can't be read.", error.strerror or "", "Name a file.") from None


def _parse_zone(text: str) -> ZoneInfo:
    try:
        return ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise argparse.ArgumentTypeError(f"{text!r} is not a time zone, like Europe/Berlin") from None
