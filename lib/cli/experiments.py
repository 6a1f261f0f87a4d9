"""`runs`: experiments over a table of inputs, quoted, started, watched, gone on with, exported and promoted."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.cli import output
from lib.cli.arguments import add_action, parse_count, parse_names
from lib.cli.budgets import parse_dollars
from lib.cli.operator import OPERATOR, open_services
from lib.cli.prompts import parse_version_or_label
from lib.errors import InvalidInput, UserError

if TYPE_CHECKING:
    from lib.experiments.experiment import Experiment
    from lib.experiments.plan import ExperimentDraft
    from lib.services import Services


def add_commands(commands: Any) -> None:
    """Register the command `runs` with its actions."""
    actions = commands.add_parser("runs", help="put a table of inputs to several prompts and models").add_subparsers(
        metavar="ACTION", required=True
    )
    for name, words, run in (
        ("quote", "what a run would cost, at least and at most", quote),
        ("start", "run a table and print how each candidate did", start),
    ):
        _add_draft(add_action(actions, name, words, run, json=True))
    command = add_action(actions, "resume", "ask what has no answer yet", resume, "id", json=True)
    command.add_argument("--failed", action="store_true", help="also what failed")
    add_action(actions, "list", "list runs", list_runs, json=True)
    add_action(actions, "show", "how each candidate did so far", show, "id", json=True)
    add_action(actions, "stop", "stop a run, wherever it is at work", stop, "id")
    command = add_action(actions, "export", "every answer with its inputs, scores and cost", export, "id")
    command.add_argument("--format", choices=["csv", "json"], default="csv")
    command = add_action(actions, "promote", "make a candidate the one in use", promote, "id")
    command.add_argument("candidate", type=parse_count, metavar="N", help="its number in `runs show`")
    command.add_argument("--what", choices=["template", "configuration"], default="template")
    add_action(actions, "delete", "forget a run; its calls stay in the ledger", delete, "id")


def _add_draft(command: argparse.ArgumentParser) -> None:
    command.add_argument("file", type=Path, metavar="FILE", help="CSV: a column for each variable, or one named prompt")
    command.add_argument(
        "--config", type=parse_names, required=True, metavar="SLUG[,SLUG]", help="configurations to ask"
    )
    command.add_argument(
        "--prompt", type=parse_names, default=[], metavar="SLUG[@N|@LABEL],…", help="templates to fill"
    )
    command.add_argument(
        "--score",
        action="append",
        default=[],
        metavar="KIND[=VALUE]",
        help="exact, contains, similarity (VALUE: a column instead of expected), regex=PATTERN, json",
    )
    command.add_argument("--judge", metavar="SLUG", help="a configuration that scores each answer")
    command.add_argument("--rubric", metavar="TEXT", help="what the judge goes by")
    command.add_argument("--cap", type=parse_dollars, metavar="USD", help="stop before more than this is spent")
    command.add_argument("--parallel", type=parse_count, default=4, metavar="N", help="calls at once (4)")
    command.add_argument("--name", default="")


def quote(arguments: argparse.Namespace) -> None:
    """Print the number of calls and the lowest and highest cost of a run in US dollars."""
    from lib.money import convert_nano_to_usd

    with open_services() as services:
        bounds = services.experiments.quote(OPERATOR, _read_draft(services, arguments))
    record = {
        "calls": bounds.calls,
        "low_usd": None if bounds.low_nano is None else convert_nano_to_usd(bounds.low_nano),
        "high_usd": None if bounds.high_nano is None else convert_nano_to_usd(bounds.high_nano),
        "unpriced_models": list(bounds.unpriced),
    }
    output.show_record(record, as_json=arguments.json)


def start(arguments: argparse.Namespace) -> None:
    """Create a run and wait here until it ends, then print how each candidate did."""
    with open_services() as services:
        experiment_id = services.experiments.create(OPERATOR, _read_draft(services, arguments))
        services.experiments.start(OPERATOR, experiment_id)
        _follow(services, experiment_id, as_json=arguments.json)


def resume(arguments: argparse.Namespace) -> None:
    """Go on with a run that was stopped, and wait here until it ends."""
    with open_services() as services:
        services.experiments.start(OPERATOR, arguments.id, failed_again=arguments.failed)
        _follow(services, arguments.id, as_json=arguments.json)


def list_runs(arguments: argparse.Namespace) -> None:
    """Print every run of the operator."""
    with open_services() as services:
        rows = [_build_record(experiment) for experiment in services.experiments.list(OPERATOR)]
    output.show(rows, as_json=arguments.json, empty="No runs yet.")


def show(arguments: argparse.Namespace) -> None:
    """Print how each candidate of a run did so far."""
    with open_services() as services:
        _print(services, arguments.id, as_json=arguments.json)


def stop(arguments: argparse.Namespace) -> None:
    """Ask the process that works on a run to stop it."""
    with open_services() as services:
        services.experiments.stop(OPERATOR, arguments.id)
    print("Asked to stop.")


def export(arguments: argparse.Namespace) -> None:
    """Write every answer of a run to standard output as CSV or JSON."""
    with open_services() as services:
        output.write_bytes([services.experiments.export(OPERATOR, arguments.id, arguments.format)])


def promote(arguments: argparse.Namespace) -> None:
    """Point the label `production` to a candidate's prompt version, or make its configuration the app's default."""
    with open_services() as services:
        candidate = services.experiments.promote(OPERATOR, arguments.id, arguments.candidate - 1, arguments.what)
    if arguments.what == "template":
        print(f"production of {candidate.prompt} is version {candidate.version} now.")
    else:
        print(f"{candidate.configuration} is the default of its app now.")


def delete(arguments: argparse.Namespace) -> None:
    """Delete a run with its answers; its calls stay in the ledger."""
    with open_services() as services:
        services.experiments.delete(OPERATOR, arguments.id)
    print("Deleted.")


def _read_draft(services: "Services", arguments: argparse.Namespace) -> "ExperimentDraft":
    from lib.experiments.plan import ExperimentDraft, read_csv
    from lib.money import convert_usd_to_nano

    try:
        rows = read_csv(arguments.file.read_bytes())
    except OSError as error:
        raise InvalidInput(f"{arguments.file} can't be read.", error.strerror or "", "Name a CSV file.") from None
    prompts = [text.partition("@") for text in arguments.prompt]
    templates = [(slug, parse_version_or_label(version) if version else None) for slug, _, version in prompts] or [
        (None, None)
    ]
    make = services.experiments.candidate
    return ExperimentDraft(
        arguments.name or arguments.file.stem,
        [
            make(OPERATOR, configuration, slug, version)
            for slug, version in templates
            for configuration in arguments.config
        ],
        rows,
        [_read_scorer(text) for text in arguments.score] + _read_judge(arguments),
        arguments.parallel,
        None if arguments.cap is None else convert_usd_to_nano(arguments.cap),
    )


def _read_scorer(text: str) -> dict[str, Any]:
    kind, _, value = text.partition("=")
    return {"kind": kind} | ({"pattern" if kind == "regex" else "column": value} if value else {})


def _read_judge(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    if (arguments.judge is None) != (arguments.rubric is None):
        raise InvalidInput("A judge needs a rubric.", "", "Give --judge and --rubric together.")
    return [{"kind": "judge", "configuration": arguments.judge, "rubric": arguments.rubric}] if arguments.judge else []


def _follow(services: "Services", experiment_id: str, *, as_json: bool) -> None:
    """Wait for a run's end, the count of answers on the terminal; raises UserError when some are missing."""
    experiment = services.experiments.wait(OPERATOR, experiment_id, 0.5)
    while experiment.at_work:
        if sys.stderr.isatty():
            print(f"\r{experiment.ended} of {experiment.total}", end="", file=sys.stderr, flush=True)
        experiment = services.experiments.wait(OPERATOR, experiment_id, 0.5)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    _print(services, experiment_id, as_json=as_json)
    if experiment.state != "done":
        raise UserError(
            f"{experiment.ended} of {experiment.total} were asked.",
            experiment.reason,
            f"Go on with runs resume {experiment_id}.",
        )


def _print(services: "Services", experiment_id: str, *, as_json: bool) -> None:
    from lib.money import choose_least_sign

    experiment = services.experiments.get(OPERATOR, experiment_id)
    rows = []
    for standing in services.experiments.standings(OPERATOR, experiment_id):
        row: dict[str, Any] = {"n": standing.candidate + 1, "candidate": experiment.candidates[standing.candidate].name}
        row |= {"answers": standing.answers, "failed": standing.failed}
        for kind, figure in standing.scores.items():
            row |= {kind: _round(figure.value), f"{kind}_low": _round(figure.low), f"{kind}_high": _round(figure.high)}
        row |= {
            "cost_least": choose_least_sign(standing.answer_cost_is_partial),
            "cost_usd": _convert_to_usd(standing.answer_cost_nano_usd),
            "judge_cost_least": choose_least_sign(standing.judge_cost_is_partial),
            "judge_cost_usd": _convert_to_usd(standing.judge_cost_nano_usd),
        }
        rows.append(row | {"median_ms": standing.median_ms, "leads": standing.is_leader})
    if as_json:
        output.show_record(_build_record(experiment) | {"candidates": rows}, as_json=True)
    else:
        print(f"{experiment.id}  {experiment.state}, {experiment.ended} of {experiment.total}")
        output.show(rows, as_json=False, empty="")


def _build_record(experiment: "Experiment") -> dict[str, Any]:
    return {
        "id": experiment.id,
        "name": experiment.name,
        "state": experiment.state.value,
        "ended": experiment.ended,
        "total": experiment.total,
        "spent_usd": _convert_to_usd(experiment.spent_nano_usd),
        "partly_priced": experiment.partly_priced_cells,
        "created_at": experiment.created_at,
    }


def _convert_to_usd(nano: int | None) -> Any:
    from lib.money import convert_nano_to_usd

    return None if nano is None else convert_nano_to_usd(nano)


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
