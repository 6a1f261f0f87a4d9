"""`rag optimise|studies|apply`: the best way to cut and search a collection, by its own questions."""

import argparse
import sys
import time
from dataclasses import asdict
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from lib.cli import output
from lib.cli.arguments import parse_count, parse_names
from lib.cli.knowledge.rag_questions import find_set
from lib.cli.operator import OPERATOR, open_services
from lib.errors import Conflict, InvalidInput
from lib.money import NANO_PER_USD

if TYPE_CHECKING:
    from lib.knowledge.evaluation.studies import Grid, Study, StudyQuote
    from lib.services import Services


def add_actions(actions: Any) -> None:
    """Register `optimise`, `studies` and `apply` under `rag`."""
    command = actions.add_parser("optimise", help="try ways to cut and search, after telling what it takes")
    command.add_argument("collection", metavar="COLLECTION", help="its id or name")
    command.add_argument("--set", metavar="NAME", help="the question set; default: the only one")
    command.add_argument("--strategies", type=parse_names, metavar="S[,S]", help="recursive, fixed, heading, semantic")
    command.add_argument("--sizes", type=_parse_counts, metavar="N[,N]", help="characters of a passage")
    command.add_argument("--overlaps", type=_parse_counts, metavar="N[,N]", help="characters that passages share")
    command.add_argument("--modes", type=parse_names, metavar="M[,M]", help="hybrid, vector, keyword")
    command.add_argument("-k", type=_parse_counts, metavar="N[,N]", help="passages that an answer is given")
    command.add_argument("--rerank", choices=("on", "off", "both"), default="both")
    command.add_argument("--metric", default="ndcg@10", metavar="M")
    command.add_argument("--quote", action="store_true", help="tell what it would take, and end")
    command.add_argument("--yes", action="store_true", help="begin without asking")
    command.add_argument("--resume", metavar="ID", help="go on with a study that was stopped")
    output.add_json_option(command)
    command.set_defaults(run=optimise)
    command = actions.add_parser("studies", help="list a collection's studies, or one's trials")
    command.add_argument("collection", metavar="COLLECTION")
    command.add_argument("--study", metavar="ID", help="the trials of this one")
    output.add_json_option(command)
    command.set_defaults(run=list_studies)
    command = actions.add_parser(
        "apply", help="search as a trial did; documents are indexed anew where it cut otherwise"
    )
    command.add_argument("study", metavar="STUDY")
    command.add_argument("trial", metavar="TRIAL", type=int, help="its number")
    command.set_defaults(run=apply)


def optimise(arguments: argparse.Namespace) -> None:
    """Print the quote, ask, try every combination and print the trials, best first."""
    with open_services() as services:
        collection = services.knowledge.collections.get(OPERATOR, arguments.collection)
        study_id = arguments.resume
        if study_id is None:
            question_set = find_set(services, collection.id, arguments.set)
            grid = _read_grid(arguments)
            quote = services.knowledge.optimiser.quote(OPERATOR, question_set.id, grid)
            if arguments.quote:
                output.show_record(_build_quote_record(quote), as_json=arguments.json)
                return
            print(_describe_quote(quote), file=sys.stderr)
            if not arguments.yes and not _ask_to_begin():
                raise InvalidInput("Nothing was begun.", "", "Add --yes to begin without being asked.")
            study_id = services.knowledge.optimiser.begin(OPERATOR, question_set.id, grid, arguments.metric)
        study = _follow_study(services, study_id)
    _show(study, as_json=arguments.json)


def list_studies(arguments: argparse.Namespace) -> None:
    """Print the studies of a collection, newest first."""
    with open_services() as services:
        if arguments.study:
            _show(services.knowledge.optimiser.get(OPERATOR, arguments.study), as_json=arguments.json)
            return
        collection = services.knowledge.collections.get(OPERATOR, arguments.collection)
        rows = [
            {"id": study.id, "at": study.created_at, "state": study.state, "metric": study.metric}
            | {"done": study.done, "trials": len(study.trials), "error": study.error}
            for study in services.knowledge.optimiser.list(OPERATOR, collection.id)
        ]
    output.show(rows, as_json=arguments.json, empty="No studies yet.")


def apply(arguments: argparse.Namespace) -> None:
    """Give a collection the settings of a trial; documents are indexed anew here where they are cut otherwise."""
    with open_services() as services:
        collection = services.knowledge.optimiser.apply(OPERATOR, arguments.study, arguments.trial)
        done = services.knowledge.ingest.run_due()
    chunking = collection.chunking
    search = collection.search
    print(
        f"{collection.name}: {chunking.strategy}, {chunking.size} characters, overlap {chunking.overlap}; "
        f"{search.mode}, k {search.k}, "
        f"{'re-ranked' if search.rerank else 'not re-ranked'}. {done} documents were taken in anew."
    )


def _follow_study(services: "Services", study_id: str) -> "Study":
    """Run a study, or watch the process that does, and return it when it has ended."""
    note = output.make_progress_line("trials")
    while True:
        try:
            return services.knowledge.optimiser.run(OPERATOR, study_id, note)
        except Conflict:
            time.sleep(1)
            study = services.knowledge.optimiser.get(OPERATOR, study_id)
            if note is not None:
                note(study.done, len(study.trials))
            if study.state not in ("waiting", "running"):
                return study


def _show(study: "Study", *, as_json: bool) -> None:
    trials = [_build_row(study.metric, trial, as_json=as_json) for trial in study.trials]
    if as_json:
        record = {"id": study.id, "state": study.state, "error": study.error, "metric": study.metric}
        output.show_record(record | {"trials": trials}, as_json=True)
        return
    output.show(trials, as_json=False, empty="No trials.")
    print(f"Study {study.id}: {study.state}. Use `rag apply {study.id} TRIAL` to search like one of them.")


def _build_row(metric: str, trial: Any, *, as_json: bool) -> dict[str, Any]:
    cell = trial.cell
    result = trial.result
    against = trial.against_current
    row = {"trial": trial.ordinal, "strategy": cell.chunking.strategy, "size": cell.chunking.size}
    row |= {"overlap": cell.chunking.overlap, "mode": cell.search.mode, "k": cell.search.k}
    row |= {"rerank": cell.search.rerank, "current": trial.is_current, "best_for_its_cost": trial.is_best_for_its_cost}
    figure = result.figure if result is not None else None
    row |= {metric: figure and figure.value, "low": figure and figure.low, "high": figure and figure.high}
    row |= {"against_current": against and against.value, "p": against and against.p}
    row |= {"context_tokens": result and result.context_tokens, "passages": result and result.passages}
    row |= {"search_ms": result and result.search_ms}
    return row if as_json else {name: _round(value) for name, value in row.items()}


def _round(value: Any) -> Any:
    return round(value, 4 if abs(value) < 2 else 1) if isinstance(value, float) else value


def _read_grid(arguments: argparse.Namespace) -> "Grid":
    from lib.knowledge.documents.chunking import ChunkingStrategy
    from lib.knowledge.evaluation.studies import Grid
    from lib.knowledge.settings import Mode

    options: dict[str, Any] = {}
    for name, word, values, kind in (
        ("strategies", "strategy", arguments.strategies, ChunkingStrategy),
        ("modes", "mode", arguments.modes, Mode),
    ):
        if values:
            if unknown := [choice for choice in values if choice not in [*kind]]:
                message = f"There is no {word} {unknown[0]}."
                raise InvalidInput(message, "", f"Choose of {', '.join(kind)}.", name)
            options[name] = tuple(kind(choice) for choice in values)
    for name, values in (("sizes", arguments.sizes), ("overlaps", arguments.overlaps), ("ks", arguments.k)):
        if values:
            options[name] = tuple(values)
    options["reranks"] = {"on": (True,), "off": (False,), "both": (True, False)}[arguments.rerank]
    return Grid(**options)


def _parse_counts(text: str) -> list[int]:
    return [0 if number == "0" else parse_count(number) for number in parse_names(text)]


def _build_quote_record(quote: "StudyQuote") -> dict[str, Any]:
    record = asdict(quote)
    cost = record.pop("cost_nano_usd")
    return record | {"cost_usd": None if cost is None else Decimal(cost) / NANO_PER_USD}


def _describe_quote(quote: "StudyQuote") -> str:
    lasts = "in a time nobody knows" if quote.seconds is None else f"in about {max(1, round(quote.seconds)):,} s"
    cost = (
        "at an unknown price" if quote.cost_nano_usd is None else f"for ${Decimal(quote.cost_nano_usd) / NANO_PER_USD}"
    )
    return (
        f"{quote.trials:,} trials, {quote.ways_to_cut:,} ways to cut, {quote.questions:,} questions; "
        f"{quote.texts_to_embed:,} texts ({quote.tokens_to_embed:,} tokens) to embed {lasts}, {cost}."
    )


def _ask_to_begin() -> bool:
    return sys.stdin.isatty() and input("Begin? [y/N] ").strip().lower() in ("y", "yes")
