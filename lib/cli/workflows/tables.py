"""`workflow rows`, `batches`, `results` and `compare`: many runs at once, and two beside each other."""

import argparse
import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.cli import output
from lib.cli.arguments import add_action, parse_count, read_text
from lib.cli.budgets import parse_dollars
from lib.cli.operator import OPERATOR, open_services

if TYPE_CHECKING:
    from lib.services import Services
    from lib.workflows.triggers.batches import WorkflowBatch


def add_table_commands(actions: Any) -> None:
    """Register the actions for tables of runs, and the comparison."""
    command = add_action(actions, "rows", "run a workflow here once for each row of a CSV", run_rows, "slug")
    command.add_argument("file", metavar="FILE", help="a column for each field of the form; - is standard input")
    command.add_argument("--out", type=Path, metavar="FILE", help="write the results there; default: print them")
    command.add_argument("--parallel", type=parse_count, default=4, metavar="N", help="runs at once; default: 4")
    command.add_argument("--cap", type=parse_dollars, metavar="USD", help="of each run")
    command.add_argument("--version", metavar="N|LABEL")
    command.add_argument("--quote", action="store_true", help="only say what all rows would cost")
    add_action(actions, "batches", "list tables of runs, the newest first", list_batches, "slug", json=True)
    add_action(actions, "results", "the results of a table of runs so far, as CSV", print_results, "id:BATCH")
    add_action(actions, "compare", "two runs, step by step", compare, "first:RUN", "second:RUN", json=True)


def run_rows(arguments: argparse.Namespace) -> None:
    """Run a workflow for every row, several at once, and write the results as CSV."""
    from lib.money import convert_usd_to_nano
    from lib.workflows.run import Trigger

    data = read_text(arguments.file).encode()
    with open_services() as services:
        batches = services.workflows.batches
        rows = batches.read_rows(OPERATOR, arguments.slug, data, arguments.version)
        if arguments.quote:
            _print_quote(services, arguments, rows)
            return
        batch = batches.start(
            OPERATOR,
            arguments.slug,
            rows,
            version=arguments.version,
            cap_nano_usd=None if arguments.cap is None else convert_usd_to_nano(arguments.cap),
            trigger=Trigger.COMMAND,
            launches=False,
        )
        ids = [run.id for run in batches.runs(OPERATOR, batch.id)]
        asyncio.run(_execute_all(services, ids, arguments.parallel))
        text = batches.export_csv(OPERATOR, batch.id)
    if arguments.out is None:
        print(text, end="")
    else:
        arguments.out.write_text(text, encoding="utf-8", newline="")
        print(f"{len(ids)} runs of batch {batch.id}: {arguments.out}")


async def _execute_all(services: "Services", run_ids: list[str], parallel: int) -> None:
    turns = asyncio.Semaphore(parallel)
    note = output.make_progress_line("runs")
    done = 0

    async def execute(run_id: str) -> None:
        nonlocal done
        async with turns:
            await services.workflows.interpreter.execute(run_id)
        done += 1
        if note is not None:
            note(done, len(run_ids))

    await asyncio.gather(*(execute(run_id) for run_id in run_ids))


def _print_quote(services: "Services", arguments: argparse.Namespace, rows: list[dict[str, Any]]) -> None:
    from lib.money import convert_nano_to_usd

    quote = services.workflows.batches.quote(OPERATOR, arguments.slug, rows, arguments.version)
    record = {
        "rows": len(rows),
        "low_usd": None if quote.low_nano is None else convert_nano_to_usd(quote.low_nano),
        "high_usd": None if quote.high_nano is None else convert_nano_to_usd(quote.high_nano),
        "basis": "past runs" if quote.basis == "past" else "ceilings of calls",
    }
    output.show_record(record, as_json=False)


def list_batches(arguments: argparse.Namespace) -> None:
    """Print the tables of runs of a workflow."""
    with open_services() as services:
        rows = [_describe_batch(batch) for batch in services.workflows.batches.list(OPERATOR, arguments.slug)]
    output.show(rows, as_json=arguments.json, empty="No tables of runs yet.")


def _describe_batch(batch: "WorkflowBatch") -> dict[str, Any]:
    from lib.money import convert_nano_to_usd

    return {
        "id": batch.id,
        "version": batch.version,
        "began": batch.created_at,
        "rows": batch.rows,
        "states": ", ".join(f"{count} {state}" for state, count in batch.states.items()),
        "known_cost_usd": convert_nano_to_usd(batch.cost_nano_usd),
        "unknown_costs": batch.unpriced,
    }


def print_results(arguments: argparse.Namespace) -> None:
    """Print the results of a table of runs as CSV."""
    with open_services() as services:
        print(services.workflows.batches.export_csv(OPERATOR, arguments.id), end="")


def compare(arguments: argparse.Namespace) -> None:
    """Print two runs beside each other."""
    from lib.money import convert_nano_to_usd
    from lib.workflows.comparison import compare_steps

    with open_services() as services:
        runs = services.workflows.runs
        pairs = compare_steps(runs.steps(OPERATOR, arguments.first), runs.steps(OPERATOR, arguments.second))
    rows = [
        {
            "step": pair.path,
            "first": None if pair.first is None else str(pair.first.state),
            "second": None if pair.second is None else str(pair.second.state),
            "differs_in": ", ".join(pair.differences),
            "first_ms": None if pair.first is None else pair.first.duration_ms,
            "second_ms": None if pair.second is None else pair.second.duration_ms,
            "added_cost_usd": None if (cost := pair.added_cost_nano_usd) is None else convert_nano_to_usd(cost),
        }
        for pair in pairs
    ]
    output.show(rows, as_json=arguments.json, empty="No step has begun.")
