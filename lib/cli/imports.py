"""`usage import`, `usage imports` and `usage undo`: past usage from other programs' files; also `import KIND FILE`.

A file is looked at with `--preview`; nothing is written then.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.cli import output
from lib.cli.operator import OPERATOR, open_services
from lib.errors import InvalidInput

if TYPE_CHECKING:
    from lib.imports import ImportPreview

_KINDS = (
    *("auto", "llm-manager", "litellm", "openai-usage", "openai-costs", "anthropic-usage", "anthropic-costs"),
    *("langfuse", "csv"),
)
_SHOWN = ("started_at", "provider", "model", "app", "user_name", "calls", "total_tokens", "cost_usd", "status")


def add_commands(commands: Any) -> None:
    """Register the commands `usage` and `import`."""
    actions = commands.add_parser("usage", help="past usage from other programs").add_subparsers(
        metavar="ACTION", required=True
    )
    command = actions.add_parser("import", help="bring the calls of a file into the ledger")
    _add_file(command)
    command.add_argument("--format", choices=_KINDS, default="auto", dest="kind", help="default: as the file says")
    command = actions.add_parser("imports", help="list what was imported")
    output.add_json_option(command)
    command.set_defaults(run=list_imports)
    command = actions.add_parser("undo", help="take an import's rows out again")
    command.add_argument("batch", metavar="BATCH", help="its id, or the beginning of it")
    command.set_defaults(run=undo)
    command = commands.add_parser("import", help="the same as usage import, the kind said first")
    command.add_argument("kind", choices=_KINDS, metavar="KIND", help=", ".join(_KINDS))
    _add_file(command)


def _add_file(command: argparse.ArgumentParser) -> None:
    command.add_argument("file", type=Path, metavar="FILE")
    command.add_argument("--map", action="append", default=[], metavar="FIELD=COLUMN", help="may be given many times")
    command.add_argument("--zone", default="UTC", metavar="ZONE", help="of times that name none (default: UTC)")
    command.add_argument("--app", default="", metavar="A", help="for rows that name none")
    command.add_argument("--provider", default="", metavar="P", help="for rows that name none")
    command.add_argument("--price", action="store_true", help="work out costs that the file does not say")
    command.add_argument("--preview", action="store_true", help="show what would come; write nothing")
    command.set_defaults(run=import_file)


def import_file(arguments: argparse.Namespace) -> None:
    """Show what a file would bring, or write it."""
    from lib.imports import UsageFile, Wishes

    mapping = {}
    for pair in arguments.map:
        field, sign, column = pair.partition("=")
        if not sign:
            raise InvalidInput(f"{pair} is no mapping.", "", "Write it as --map started_at=Date", field="map")
        mapping[field.strip()] = column.strip()
    kind = None if arguments.kind == "auto" else arguments.kind
    wishes = Wishes(kind, mapping, arguments.zone, arguments.app, arguments.provider, arguments.price)
    try:
        file = arguments.file.open("rb")
    except OSError as error:
        raise InvalidInput(f"{arguments.file} can't be read.", f"{error.strerror}.", "Choose another file.") from None
    with file, open_services() as services:
        source = UsageFile(file, arguments.file.name)
        if arguments.preview:
            preview = services.imports.preview(OPERATOR, source, wishes)
            _show(preview)
            _end_with_left_out(preview.left_out)
            return
        batch = services.imports.run(OPERATOR, source, wishes, _make_progress())
    print(f"Imported {batch.rows:,} rows of {batch.calls:,} calls. Undo: python -m lib usage undo {batch.id}")
    _end_with_left_out(batch.left_out)


def list_imports(arguments: argparse.Namespace) -> None:
    """Print every import."""
    with open_services() as services:
        batches = services.imports.list(OPERATOR)
    names = ("id", "at", "user_name", "file_name", "format", "state", "rows", "calls")
    rows = [{name: getattr(batch, name) for name in names} | _describe_sums(batch) for batch in batches]
    output.show(rows, as_json=arguments.json, empty="Nothing was imported.")


def undo(arguments: argparse.Namespace) -> None:
    """Remove the rows that one import brought."""
    with open_services() as services:
        matching_ids = [batch.id for batch in services.imports.list(OPERATOR) if batch.id.startswith(arguments.batch)]
        removed = services.imports.undo(OPERATOR, matching_ids[0] if len(matching_ids) == 1 else arguments.batch)
    print(f"Removed {removed:,} imported rows. All other calls are untouched.")


def _show(preview: "ImportPreview") -> None:
    print(f"{preview.label}: {preview.rows:,} new rows of {preview.calls:,} calls.")
    output.show([_describe_sums(preview)], as_json=False, empty="")
    rows = [row | _describe_cost(row) for row in preview.sample[:10]]
    output.show([{name: row[name] for name in _SHOWN} for row in rows], as_json=False, empty="No row is new.")
    print("Columns: " + ", ".join(f"{field}={column}" for field, column in preview.mapping.items()))
    for name in preview.overlaps:
        print(f"{name} was imported before and covers some of these days. Rows told apart otherwise count twice.")


def _describe_sums(usage: Any) -> dict[str, Any]:
    from lib.money import convert_nano_to_usd

    cost = None if usage.cost_nano_usd is None else convert_nano_to_usd(usage.cost_nano_usd)
    names = ("first_at", "last_at", "total_tokens")
    return {name: getattr(usage, name) for name in names} | {"cost_usd": cost, "unpriced_rows": usage.unpriced}


def _describe_cost(row: dict[str, Any]) -> dict[str, Any]:
    from lib.money import convert_nano_to_usd

    return {"cost_usd": None if row["cost_nano_usd"] is None else convert_nano_to_usd(row["cost_nano_usd"])}


def _end_with_left_out(left_out: Mapping[str, int]) -> None:
    """Say what is not taken and why; status 1 where rows are lacking that could not be read."""
    from lib.usage_files.table import HARMLESS, tell

    for why, count in left_out.items():
        print(f"Left out: {count:,} {'row' if count == 1 else 'rows'}, {why}.")
    if lacking := {why: count for why, count in left_out.items() if why not in HARMLESS}:
        print(f"Not all of the file is taken: {tell(lacking)}", file=sys.stderr)
        raise SystemExit(1)


def _make_progress() -> Any:
    """Make a function that writes how much was read on one line of the terminal, or one that does nothing."""
    if not sys.stderr.isatty():
        return lambda rows, share: None

    def show(rows: int, share: float) -> None:
        end = "\n" if share >= 1 else ""
        print(f"\r{rows:,} rows read, {share:.0%}", end=end, file=sys.stderr, flush=True)

    return show
