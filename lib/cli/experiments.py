"""`runs`: experiments over a table of inputs, quoted, started, watched, gone on with, exported and promoted."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.cli import output
from lib.cli.arguments import count, names
from lib.cli.budgets import dollars
from lib.cli.door import OPERATOR, opened_services
from lib.cli.prompts import which
from lib.errors import InvalidInput, UserError

if TYPE_CHECKING:
    from lib.experiments.experiment import Experiment
    from lib.experiments.plan import Draft
    from lib.services import Services


def add_commands(commands: Any) -> None:
    """Register `runs`."""
    actions = commands.add_parser("runs", help="put a table of inputs to several prompts and models").add_subparsers(
        metavar="ACTION", required=True
    )
    for name, about, run in (
        ("quote", "what a run would cost, at least and at most", quote),
        ("start", "run a table and print how each candidate did", start),
    ):
        command = actions.add_parser(name, help=about)
        _add_draft(command)
        output.add_json_option(command)
        command.set_defaults(run=run)
    command = actions.add_parser("resume", help="ask what has no answer yet")
    command.add_argument("id", metavar="ID")
    command.add_argument("--failed", action="store_true", help="also what failed")
    output.add_json_option(command)
    command.set_defaults(run=resume)
    command = actions.add_parser("list", help="list runs")
    output.add_json_option(command)
    command.set_defaults(run=list_runs)
    command = actions.add_parser("show", help="how each candidate did so far")
    command.add_argument("id", metavar="ID")
    output.add_json_option(command)
    command.set_defaults(run=show)
    command = actions.add_parser("stop", help="stop a run, wherever it is at work")
    command.add_argument("id", metavar="ID")
    command.set_defaults(run=stop)
    command = actions.add_parser("export", help="every answer with its inputs, scores and cost")
    command.add_argument("id", metavar="ID")
    command.add_argument("--format", choices=["csv", "json"], default="csv")
    command.set_defaults(run=export)
    command = actions.add_parser("promote", help="make a candidate the one in use")
    command.add_argument("id", metavar="ID")
    command.add_argument("candidate", type=count, metavar="N", help="its number in `runs show`")
    command.add_argument("--what", choices=["template", "configuration"], default="template")
    command.set_defaults(run=promote)
    command = actions.add_parser("delete", help="forget a run; its calls stay in the ledger")
    command.add_argument("id", metavar="ID")
    command.set_defaults(run=delete)


def _add_draft(command: argparse.ArgumentParser) -> None:
    command.add_argument("file", type=Path, metavar="FILE", help="CSV: a column for each variable, or one named prompt")
    command.add_argument("--config", type=names, required=True, metavar="SLUG[,SLUG]", help="configurations to ask")
    command.add_argument("--prompt", type=names, default=[], metavar="SLUG[@N|@LABEL],…", help="templates to fill")
    command.add_argument(
        "--score",
        action="append",
        default=[],
        metavar="KIND[=VALUE]",
        help="exact, contains, similarity (VALUE: a column instead of expected), regex=PATTERN, json",
    )
    command.add_argument("--judge", metavar="SLUG", help="a configuration that scores each answer")
    command.add_argument("--rubric", metavar="TEXT", help="what the judge goes by")
    command.add_argument("--cap", type=dollars, metavar="USD", help="stop before more than this is spent")
    command.add_argument("--parallel", type=count, default=4, metavar="N", help="calls at once (4)")
    command.add_argument("--name", default="")


def quote(arguments: argparse.Namespace) -> None:
    """Print the bounds."""
    from lib.money import usd_from_nano

    with opened_services() as services:
        found = services.experiments.quote(OPERATOR, _draft(services, arguments))
    told = {
        "calls": found.calls,
        "low_usd": None if found.low_nano is None else usd_from_nano(found.low_nano),
        "high_usd": None if found.high_nano is None else usd_from_nano(found.high_nano),
        "unpriced_models": list(found.unpriced),
    }
    output.show_one(told, as_json=arguments.json)


def start(arguments: argparse.Namespace) -> None:
    """Run it to its end here."""
    with opened_services() as services:
        made = services.experiments.create(OPERATOR, _draft(services, arguments))
        services.experiments.start(OPERATOR, made)
        _follow(services, made, as_json=arguments.json)


def resume(arguments: argparse.Namespace) -> None:
    """Go on, here."""
    with opened_services() as services:
        services.experiments.start(OPERATOR, arguments.id, failed_again=arguments.failed)
        _follow(services, arguments.id, as_json=arguments.json)


def list_runs(arguments: argparse.Namespace) -> None:
    """Print every run of the operator."""
    with opened_services() as services:
        rows = [_told(one) for one in services.experiments.list(OPERATOR)]
    output.show(rows, as_json=arguments.json, empty="No runs yet.")


def show(arguments: argparse.Namespace) -> None:
    """Print the standings."""
    with opened_services() as services:
        _print(services, arguments.id, as_json=arguments.json)


def stop(arguments: argparse.Namespace) -> None:
    """Ask for a stop."""
    with opened_services() as services:
        services.experiments.stop(OPERATOR, arguments.id)
    print("Asked to stop.")


def export(arguments: argparse.Namespace) -> None:
    """Print the file."""
    with opened_services() as services:
        output.write_bytes([services.experiments.export(OPERATOR, arguments.id, arguments.format)])


def promote(arguments: argparse.Namespace) -> None:
    """Move the label, or the default."""
    with opened_services() as services:
        chosen = services.experiments.promote(OPERATOR, arguments.id, arguments.candidate - 1, arguments.what)
    if arguments.what == "template":
        print(f"production of {chosen.prompt} is version {chosen.version} now.")
    else:
        print(f"{chosen.configuration} is the default of its app now.")


def delete(arguments: argparse.Namespace) -> None:
    """Forget it."""
    with opened_services() as services:
        services.experiments.delete(OPERATOR, arguments.id)
    print("Deleted.")


def _draft(services: "Services", arguments: argparse.Namespace) -> "Draft":
    from lib.experiments.plan import Draft, read_csv
    from lib.money import nano_from_usd

    try:
        rows = read_csv(arguments.file.read_bytes())
    except OSError as error:
        raise InvalidInput(f"{arguments.file} can't be read.", error.strerror or "", "Name a CSV file.") from None
    prompts = [one.partition("@") for one in arguments.prompt]
    asked = [(slug, which(version) if version else None) for slug, _, version in prompts] or [(None, None)]
    make = services.experiments.candidate
    return Draft(
        arguments.name or arguments.file.stem,
        [make(OPERATOR, one, slug, version) for slug, version in asked for one in arguments.config],
        rows,
        [_scorer(text) for text in arguments.score] + _judge(arguments),
        arguments.parallel,
        None if arguments.cap is None else nano_from_usd(arguments.cap),
    )


def _scorer(text: str) -> dict[str, Any]:
    kind, _, value = text.partition("=")
    return {"kind": kind} | ({"pattern" if kind == "regex" else "column": value} if value else {})


def _judge(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    if (arguments.judge is None) != (arguments.rubric is None):
        raise InvalidInput("A judge needs a rubric.", "", "Give --judge and --rubric together.")
    return [{"kind": "judge", "configuration": arguments.judge, "rubric": arguments.rubric}] if arguments.judge else []


def _follow(services: "Services", made: str, *, as_json: bool) -> None:
    """Wait with the count on the terminal; UserError when not all has come."""
    found = services.experiments.wait(OPERATOR, made, 0.5)
    while found.at_work:
        if sys.stderr.isatty():
            print(f"\r{found.ended} of {found.total}", end="", file=sys.stderr, flush=True)
        found = services.experiments.wait(OPERATOR, made, 0.5)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    _print(services, made, as_json=as_json)
    if found.state != "done":
        raise UserError(f"{found.ended} of {found.total} were asked.", found.reason, f"Go on with runs resume {made}.")


def _print(services: "Services", made: str, *, as_json: bool) -> None:
    found = services.experiments.get(OPERATOR, made)
    rows = []
    for one in services.experiments.standings(OPERATOR, made):
        row: dict[str, Any] = {"n": one.candidate + 1, "candidate": found.candidates[one.candidate].name}
        row |= {"answers": one.answers, "failed": one.failed}
        for kind, figure in one.scores.items():
            row |= {kind: _round(figure.value), f"{kind}_low": _round(figure.low), f"{kind}_high": _round(figure.high)}
        row |= {"cost_usd": _usd(one.answer_cost_nano_usd), "judge_cost_usd": _usd(one.judge_cost_nano_usd)}
        rows.append(row | {"median_ms": one.median_ms, "leads": one.is_leader})
    if as_json:
        output.show_one(_told(found) | {"candidates": rows}, as_json=True)
    else:
        print(f"{found.id}  {found.state}, {found.ended} of {found.total}")
        output.show(rows, as_json=False, empty="")


def _told(one: "Experiment") -> dict[str, Any]:
    return {
        "id": one.id,
        "name": one.name,
        "state": "interrupted" if one.is_lost else one.state.value,
        "ended": one.ended,
        "total": one.total,
        "spent_usd": _usd(one.spent_nano_usd),
        "created_at": one.created_at,
    }


def _usd(nano: int | None) -> Any:
    from lib.money import usd_from_nano

    return None if nano is None else usd_from_nano(nano)


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
