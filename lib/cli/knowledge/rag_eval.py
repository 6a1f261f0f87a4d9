"""`rag eval|evaluations`: how well a collection or a public test collection is searched."""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.cli import output
from lib.cli.arguments import parse_count, parse_names
from lib.cli.knowledge.rag_questions import find_set
from lib.cli.operator import OPERATOR, open_services
from lib.errors import InvalidInput

if TYPE_CHECKING:
    from lib.knowledge.evaluation.ranking_metrics import Estimate

MODES = ("hybrid", "vector", "keyword")
STRATEGIES = ("recursive", "fixed", "heading", "semantic")


def add_actions(actions: Any) -> None:
    """Register `eval` and `evaluations` under `rag`."""
    command = actions.add_parser("eval", help="how well questions find what answers them")
    command.add_argument("collection", metavar="COLLECTION", nargs="?", help="its id or name")
    command.add_argument("--set", metavar="NAME", help="its question set; default: the only one")
    command.add_argument("--corpus", metavar="FOLDER", help="a test collection, in memory: documents, queries, qrels")
    command.add_argument("--mode", choices=MODES)
    command.add_argument("--no-rerank", action="store_true")
    command.add_argument(
        "--metric", type=parse_names, action="extend", metavar="M[,M]", help="ndcg@10, recall@5, mrr@10 …"
    )
    command.add_argument("--strategy", choices=STRATEGIES, help="with --corpus: how it is cut")
    command.add_argument("--size", type=parse_count, metavar="N", help="with --corpus: characters of a passage")
    command.add_argument("--overlap", type=int, metavar="N", help="with --corpus: characters that passages share")
    command.add_argument("--embedding", metavar="PROVIDER/MODEL", help="with --corpus; default: the bundled model")
    command.add_argument("--compare", metavar="ID", help="an earlier evaluation of the same set, by a paired test")
    command.add_argument("--per-question", action="store_true", help="each question, with what it missed")
    output.add_json_option(command)
    command.set_defaults(run=evaluate)
    command = actions.add_parser("evaluations", help="list a collection's evaluations")
    command.add_argument("collection", metavar="COLLECTION")
    output.add_json_option(command)
    command.set_defaults(run=list_evaluations)


def evaluate(arguments: argparse.Namespace) -> None:
    """Ask every question and print the figures with their 95 % intervals."""
    if (arguments.collection is None) == (arguments.corpus is None):
        raise InvalidInput("Name what is evaluated.", "", "Give a collection, or a folder with --corpus.")
    report = _evaluate_corpus(arguments) if arguments.corpus is not None else _evaluate_collection(arguments)
    if arguments.json:
        output.show_record(report, as_json=True)
        return
    rows = [{"figure": name, **_round_figures(estimate)} for name, estimate in report["metrics"].items()]
    output.show(rows, as_json=False, empty="Nothing was asked.")
    for name, change in report.get("compared", {}).items():
        interval = f"{change['low']:+.4f} … {change['high']:+.4f}"
        print(f"{name}: {change['value']:+.4f} ({interval}), p = {change['p']:.4f}")
    for outcome in report.get("per_question", []):
        ranks = ", ".join(map(str, outcome.get("found_at", [])))
        question = output.flatten_line(outcome["question"])[:80]
        print(f"{outcome['figure']:.3f}  {question}" + (f"  at {ranks}" if ranks else ""))
        for missed in outcome.get("missed", []):
            print(f"         missed: {output.flatten_line(missed)[:80]}")


def _evaluate_corpus(arguments: argparse.Namespace) -> dict[str, Any]:
    from lib.knowledge.documents.chunking import Chunking
    from lib.knowledge.embedding import BUNDLED
    from lib.knowledge.evaluation import corpus, ranking_metrics
    from lib.knowledge.settings import Mode, SearchSettings

    folder = Path(arguments.corpus)
    file = corpus.find_corpus(folder)
    if file is None:
        names_known = " or ".join(corpus.DOCUMENT_FILES)
        raise InvalidInput(f"{folder} is no test collection.", f"It has no {names_known}.", "", "corpus")
    questions = corpus.read_folder(folder)
    entries = [*corpus.read_entries(file)]
    cut = {name: getattr(arguments, name) for name in ("strategy", "size", "overlap")}
    chunking = Chunking(**{name: value for name, value in cut.items() if value is not None})
    settings = SearchSettings(Mode(arguments.mode or Mode.HYBRID), rerank=not arguments.no_rerank)
    metric_names = arguments.metric or ranking_metrics.DEFAULT
    with open_services() as services:
        evaluation = services.knowledge.corpora.evaluate(
            OPERATOR,
            entries,
            questions,
            settings,
            metric_names,
            chunking=chunking,
            model=arguments.embedding or BUNDLED,
            note=output.make_progress_line("passages embedded"),
        )
    report = {
        "metrics": _build_records(evaluation.figures),
        "questions": len(evaluation.by_question),
        "passages": evaluation.passages,
    }
    report |= {"settings": {"mode": settings.mode, "rerank": settings.rerank, "chunking": asdict(chunking)}}
    if arguments.per_question:
        texts = {question.id or question.text: question.text for question in questions}
        report["per_question"] = [
            {"id": key, "question": texts[key], "figure": figures[metric_names[0]], "metrics": figures}
            for key, figures in evaluation.by_question.items()
        ]
    return report


def _evaluate_collection(arguments: argparse.Namespace) -> dict[str, Any]:
    from dataclasses import replace

    from lib.knowledge.evaluation import ranking_metrics

    metric_names = arguments.metric or ranking_metrics.DEFAULT
    with open_services() as services:
        collection = services.knowledge.collections.get(OPERATOR, arguments.collection)
        settings = replace(
            collection.search,
            mode=arguments.mode or collection.search.mode,
            rerank=collection.search.rerank and not arguments.no_rerank,
        )
        question_set = find_set(services, collection.id, arguments.set)
        done = services.knowledge.evaluations.run(
            OPERATOR, question_set.id, settings, metric_names, output.make_progress_line("questions asked")
        )
        outcomes = services.knowledge.evaluations.outcomes(OPERATOR, done.id)
        report = {"id": done.id, "metrics": _build_records(done.figures), "questions": len(outcomes)}
        report |= {"passages": done.passages, "settings": done.settings, "took_ms": done.took_ms}
        if arguments.compare:
            report["compared"] = {
                name: asdict(
                    services.knowledge.evaluations.compare(OPERATOR, arguments.compare, done.id, name).difference
                )
                for name in done.figures
            }
    if arguments.per_question:
        report["per_question"] = [
            {
                "id": outcome.question_id,
                "question": outcome.text,
                "figure": outcome.figures[metric_names[0]],
                "metrics": outcome.figures,
            }
            | {"found_at": [spot.rank for spot in outcome.returned if spot.grade > 0]}
            | {"missed": [spot.title for spot in outcome.missed]}
            for outcome in sorted(outcomes, key=lambda outcome: outcome.figures[metric_names[0]])
        ]
    return report


def list_evaluations(arguments: argparse.Namespace) -> None:
    """Print the evaluations of a collection, newest first."""
    with open_services() as services:
        collection = services.knowledge.collections.get(OPERATOR, arguments.collection)
        set_names = {
            question_set.id: question_set.name
            for question_set in services.knowledge.question_sets.list(OPERATOR, collection.id)
        }
        rows = [
            {"id": evaluation.id, "at": evaluation.created_at, "set": set_names.get(evaluation.set_id)}
            | {"mode": evaluation.settings["mode"], "rerank": evaluation.settings["rerank"]}
            | {"passages": evaluation.passages}
            | {name: round(figure.value, 4) for name, figure in evaluation.figures.items()}
            for evaluation in services.knowledge.evaluations.list(OPERATOR, collection.id)
        ]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    output.show([{name: row.get(name) for name in columns} for row in rows], as_json=arguments.json, empty="None yet.")


def _build_records(figures: Any) -> dict[str, Any]:
    return {name: asdict(estimate) for name, estimate in figures.items()}


def _round_figures(estimate: "dict[str, Any] | Estimate") -> dict[str, Any]:
    values = estimate if isinstance(estimate, dict) else asdict(estimate)
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in values.items()}
