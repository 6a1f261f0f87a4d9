"""`prices list`, `set`, `import`, `export`, and `reprice`: what tokens cost, and past calls priced again."""

import argparse
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.cli import output
from lib.cli.arguments import parse_day
from lib.cli.operator import OPERATOR, open_services
from lib.cli.statistics.usage import convert_to_moments
from lib.errors import InvalidInput
from lib.files.text import decode_text

if TYPE_CHECKING:
    from lib.activity.repricing import RepricingPreview

_RATES = ("input", "output", "cache-read", "cache-write", "cache-write-1h", "reasoning", "image", "request")
_LARGEST = 50_000_000


def add_commands(commands: Any) -> None:
    """Register the commands `prices` and `reprice`."""
    actions = commands.add_parser("prices", help="what tokens cost").add_subparsers(metavar="ACTION", required=True)
    command = actions.add_parser("list", help="prices in force, dollars per million tokens")
    command.add_argument("--provider", metavar="KIND", help="of one kind of provider")
    command.add_argument("--search", default="", metavar="TEXT", help="models whose name holds these words")
    command.add_argument("--own", action="store_true", help="only the team's own entries")
    output.add_json_option(command)
    command.set_defaults(run=list_prices)
    command = actions.add_parser("set", help="set a model's price from a day on")
    command.add_argument("kind")
    command.add_argument("model", help="may end in * for every model that begins so")
    for name in _RATES:
        needed = name in ("input", "output")
        command.add_argument(f"--{name}", required=needed, metavar="USD", default="", help="dollars per million tokens")
    command.add_argument("--from", dest="first", type=parse_day, metavar="DAY", help="first day (UTC); default today")
    command.add_argument("--source", default="", help="where the price is from")
    command.set_defaults(run=set_price)
    command = actions.add_parser("import", help="take a price list in, all of it or nothing")
    command.add_argument("file", type=Path)
    command.add_argument("--dry-run", action="store_true", help="only say what would change")
    command.set_defaults(run=import_prices)
    command = actions.add_parser("export", help="write the price list to standard output")
    command.add_argument("--own", action="store_true", help="only the team's own entries")
    command.set_defaults(run=export)
    command = commands.add_parser("reprice", help="price past calls again; without --apply only say what would change")
    command.add_argument("--from", dest="first", type=parse_day, metavar="DAY", help="first day (UTC)")
    command.add_argument("--to", dest="last", type=parse_day, metavar="DAY", help="last day (UTC), included")
    command.add_argument("--provider", metavar="NAME")
    command.add_argument("--model")
    command.add_argument("--only-unpriced", action="store_true", help="leave calls that have a cost as they are")
    command.add_argument("--apply", action="store_true", help="write the new costs")
    output.add_json_option(command)
    command.set_defaults(run=reprice)


def list_prices(arguments: argparse.Namespace) -> None:
    """Print the prices in force."""
    from lib.providers.prices.price_list import format_exact_dollars

    def format_dollars(nano: int | None) -> str | None:
        return None if nano is None else format_exact_dollars(nano)

    with open_services() as services:
        prices = services.price_entries.search(
            OPERATOR, arguments.search, arguments.provider, own_only=arguments.own
        ).prices
    rows = [
        {
            "kind": price.kind,
            "model": price.model,
            **{
                name: format_dollars(getattr(price.rates, name))
                for name in ("input", "output", "cache_read", "cache_write")
            },
            "tiers": len(price.tiers),
            "valid_from": price.valid_from.date(),
            "own": bool(price.id),
            "source": price.source,
        }
        for price in prices
    ]
    output.show(rows, as_json=arguments.json, empty="No price matches.")


def set_price(arguments: argparse.Namespace) -> None:
    """Add a version of a model's price."""
    from lib.providers.prices.price_list import COLUMNS, read

    first: date = arguments.first or datetime.now(UTC).date()
    cells = {name.replace("-", "_"): getattr(arguments, name.replace("-", "_")) for name in _RATES}
    cells |= {"kind": arguments.kind, "model": arguments.model, "valid_from": first.isoformat()}
    cells["source"] = arguments.source
    line = ",".join('"' + cells.get(name, "").replace('"', '""') + '"' for name in COLUMNS)
    price = read(",".join(COLUMNS) + "\n" + line)[0]
    with open_services() as services:
        services.price_entries.set(OPERATOR, price)
    print(f"Set the price of {price.kind}/{price.model} from {first} on.")


def import_prices(arguments: argparse.Namespace) -> None:
    """Import a price list, or say what would change."""
    try:
        document = decode_text(arguments.file.read_bytes()[: _LARGEST + 1])
    except OSError as error:
        raise InvalidInput(f"{arguments.file} can't be read.", str(error), "Choose a CSV file in UTF-8.") from None
    with open_services() as services:
        act = services.price_entries.preview if arguments.dry_run else services.price_entries.import_csv
        changes = act(OPERATOR, document)
    word = "Would take in" if arguments.dry_run else "Took in"
    print(
        f"{word} {len(changes.new)} new and {len(changes.changed)} changed prices; {len(changes.unchanged)} were there."
    )


def export(arguments: argparse.Namespace) -> None:
    """Write the price list to standard output as CSV."""
    with open_services() as services:
        sys.stdout.write(services.price_entries.export_csv(OPERATOR, own_only=arguments.own))


def reprice(arguments: argparse.Namespace) -> None:
    """Price past calls again, or say what would change."""
    from lib.activity.repricing import RepricingScope

    start, end = convert_to_moments(arguments.first, arguments.last)
    selection = RepricingScope(start, end, arguments.provider, arguments.model, arguments.only_unpriced)
    with open_services() as services:
        act = services.repricing.apply if arguments.apply else services.repricing.preview
        preview = act(OPERATOR, selection)
    output.show(_list_rows(preview), as_json=arguments.json, empty="No call's cost changes.")
    if not arguments.json:
        done = "changed" if arguments.apply else "would change; add --apply to write them"
        print(f"{preview.total.changed:,} of {preview.looked_at:,} attempts {done}.")


def _list_rows(preview: "RepricingPreview") -> list[dict[str, Any]]:
    from lib.providers.prices.price_list import format_exact_dollars

    return [
        {
            "provider": provider,
            "model": model,
            "attempts": change.changed,
            "before_usd": format_exact_dollars(change.before_nano),
            "after_usd": format_exact_dollars(change.after_nano),
            "were_unpriced": change.was_unpriced,
            "stay_unpriced": change.stays_unpriced,
        }
        for (provider, model), change in sorted(preview.models.items())
        if change.changed or change.stays_unpriced
    ]
