"""`rag eval|evaluations`: how well a collection or a public test collection is searched."""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.cli import output
from lib.cli.arguments import count, names
from lib.cli.door import OPERATOR, opened_services
from lib.cli.rag_questions import chosen_set
from lib.errors import InvalidInput

if TYPE_CHECKING:
    from lib.knowledge.metrics import Estimate

MODES = ("hybrid", "vector", "keyword")
STRATEGIES = ("recursive", "fixed", "heading", "semantic")


def add_actions(actions: Any) -> None:
    """Register them under `rag`."""
    command = actions.add_parser("eval", help="how well questions find what answers them")
    command.add_argument("collection", metavar="COLLECTION", nargs="?", help="its id or name")
    command.add_argument("--set", metavar="NAME", help="its question set; default: the only one")
    command.add_argument("--corpus", metavar="FOLDER", help="a test collection, in memory: documents, queries, qrels")
    command.add_argument("--mode", choices=MODES)
    command.add_argument("--no-rerank", action="store_true")
    command.add_argument("--metric", type=names, action="extend", metavar="M[,M]", help="ndcg@10, recall@5, mrr@10 …")
    command.add_argument("--strategy", choices=STRATEGIES, help="with --corpus: how it is cut")
    command.add_argument("--size", type=count, metavar="N", help="with --corpus: characters of a passage")
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
    told = _on_corpus(arguments) if arguments.corpus is not None else _on_collection(arguments)
    if arguments.json:
        output.show_one(told, as_json=True)
        return
    rows = [{"figure": name, **_rounded(one)} for name, one in told["metrics"].items()]
    output.show(rows, as_json=False, empty="Nothing was asked.")
    for name, one in told.get("compared", {}).items():
        print(f"{name}: {one['value']:+.4f} ({one['low']:+.4f} … {one['high']:+.4f}), p = {one['p']:.4f}")
    for one in told.get("per_question", []):
        places = ", ".join(map(str, one.get("found_at", [])))
        print(f"{one['figure']:.3f}  {output.on_one_line(one['question'])[:80]}" + (f"  at {places}" if places else ""))
        for missed in one.get("missed", []):
            print(f"         missed: {output.on_one_line(missed)[:80]}")


def _on_corpus(arguments: argparse.Namespace) -> dict[str, Any]:
    from lib.knowledge import corpus, metrics
    from lib.knowledge.chunking import Chunking
    from lib.knowledge.embedding import BUNDLED
    from lib.knowledge.settings import Mode, SearchSettings

    folder = Path(arguments.corpus)
    file = corpus.corpus_in(folder)
    if file is None:
        names_known = " or ".join(corpus.DOCUMENT_FILES)
        raise InvalidInput(f"{folder} is no test collection.", f"It has no {names_known}.", "", "corpus")
    asked, entries = corpus.read_folder(folder), [*corpus.read_entries(file)]
    cut = {name: getattr(arguments, name) for name in ("strategy", "size", "overlap")}
    chunking = Chunking(**{name: value for name, value in cut.items() if value is not None})
    settings = SearchSettings(Mode(arguments.mode or Mode.HYBRID), rerank=not arguments.no_rerank)
    wanted = arguments.metric or metrics.DEFAULT
    with opened_services() as services:
        found = services.corpora.evaluate(
            OPERATOR,
            entries,
            asked,
            settings,
            wanted,
            chunking=chunking,
            model=arguments.embedding or BUNDLED,
            note=output.progress("passages embedded"),
        )
    told = {"metrics": _figures(found.figures), "questions": len(found.by_question), "passages": found.passages}
    told |= {"settings": {"mode": settings.mode, "rerank": settings.rerank, "chunking": asdict(chunking)}}
    if arguments.per_question:
        texts = {one.id or one.text: one.text for one in asked}
        told["per_question"] = [
            {"id": key, "question": texts[key], "figure": figures[wanted[0]], "metrics": figures}
            for key, figures in found.by_question.items()
        ]
    return told


def _on_collection(arguments: argparse.Namespace) -> dict[str, Any]:
    from dataclasses import replace

    from lib.knowledge import metrics

    wanted = arguments.metric or metrics.DEFAULT
    with opened_services() as services:
        collection = services.collections.get(OPERATOR, arguments.collection)
        settings = replace(
            collection.search,
            mode=arguments.mode or collection.search.mode,
            rerank=collection.search.rerank and not arguments.no_rerank,
        )
        chosen = chosen_set(services, collection.id, arguments.set)
        done = services.evaluations.run(OPERATOR, chosen.id, settings, wanted, output.progress("questions asked"))
        outcomes = services.evaluations.outcomes(OPERATOR, done.id)
        told = {"id": done.id, "metrics": _figures(done.figures), "questions": len(outcomes)}
        told |= {"passages": done.passages, "settings": done.settings, "took_ms": done.took_ms}
        if arguments.compare:
            told["compared"] = {
                name: asdict(services.evaluations.compare(OPERATOR, arguments.compare, done.id, name).difference)
                for name in done.figures
            }
    if arguments.per_question:
        told["per_question"] = [
            {"id": one.question_id, "question": one.text, "figure": one.figures[wanted[0]], "metrics": one.figures}
            | {"found_at": [spot.rank for spot in one.found if spot.grade > 0]}
            | {"missed": [spot.title for spot in one.missed]}
            for one in sorted(outcomes, key=lambda one: one.figures[wanted[0]])
        ]
    return told


def list_evaluations(arguments: argparse.Namespace) -> None:
    """Print them, the newest first."""
    with opened_services() as services:
        collection = services.collections.get(OPERATOR, arguments.collection)
        named = {one.id: one.name for one in services.question_sets.list(OPERATOR, collection.id)}
        rows = [
            {"id": one.id, "at": one.created_at, "set": named.get(one.set_id), "mode": one.settings["mode"]}
            | {"rerank": one.settings["rerank"], "passages": one.passages}
            | {name: round(figure.value, 4) for name, figure in one.figures.items()}
            for one in services.evaluations.list(OPERATOR, collection.id)
        ]
    shown = list(dict.fromkeys(name for row in rows for name in row))
    output.show([{name: row.get(name) for name in shown} for row in rows], as_json=arguments.json, empty="None yet.")


def _figures(figures: Any) -> dict[str, Any]:
    return {name: asdict(one) for name, one in figures.items()}


def _rounded(one: "dict[str, Any] | Estimate") -> dict[str, Any]:
    values = one if isinstance(one, dict) else asdict(one)
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in values.items()}
