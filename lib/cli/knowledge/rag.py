"""`rag collections|create|ingest|documents|search|answer|reindex|delete`: the knowledge base from the command line.

`rag eval|evaluations` are in `lib.cli.knowledge.rag_eval`, `rag questions` in `lib.cli.knowledge.rag_questions`,
`rag optimise|studies|apply` in `lib.cli.knowledge.rag_optimise`.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.cli import output
from lib.cli.arguments import parse_count, parse_day, parse_names
from lib.cli.knowledge import rag_eval, rag_optimise, rag_questions
from lib.cli.knowledge.rag_eval import MODES, STRATEGIES
from lib.cli.operator import OPERATOR, open_services
from lib.errors import InvalidInput

if TYPE_CHECKING:
    from lib.services import Services

KINDS = ("manual", "faq", "api_doc", "code")


def add_commands(commands: Any) -> None:
    """Register the command `rag` with its actions."""
    actions = commands.add_parser("rag", help="the knowledge base").add_subparsers(metavar="ACTION", required=True)
    command = actions.add_parser("collections", help="list collections")
    output.add_json_option(command)
    command.set_defaults(run=list_collections)
    command = actions.add_parser("create", help="make a collection")
    command.add_argument("name", metavar="NAME")
    command.add_argument("--description", default="")
    command.add_argument("--shared", action="store_true", help="everybody who may use models reads it")
    command.add_argument("--embedding", metavar="PROVIDER/MODEL", help="default: the bundled model")
    _add_chunking(command)
    command.set_defaults(run=create)
    command = actions.add_parser("ingest", help="add files, folders and addresses, and take them in")
    command.add_argument("collection", metavar="COLLECTION", help="its id, or its name; it is made when it is new")
    command.add_argument("sources", metavar="FILE|FOLDER|URL", nargs="+")
    command.add_argument("--kind", choices=KINDS, default="manual")
    command.add_argument("--tags", type=parse_names, default=[], metavar="T[,T]")
    command.add_argument("--dated", type=parse_day, metavar="D", help="the day the documents are of")
    output.add_json_option(command)
    command.set_defaults(run=ingest)
    command = actions.add_parser("documents", help="list a collection's documents and how far they are")
    command.add_argument("collection", metavar="COLLECTION")
    output.add_json_option(command)
    command.set_defaults(run=list_documents)
    command = actions.add_parser("search", help="find passages")
    _add_question(command)
    output.add_json_option(command)
    command.set_defaults(run=search)
    command = actions.add_parser("answer", help="answer from passages, with citations")
    _add_question(command)
    command.add_argument("--configuration", metavar="SLUG", help="whose model answers; default: the app's")
    output.add_json_option(command)
    command.set_defaults(run=answer)
    command = actions.add_parser("reindex", help="cut or embed everything anew")
    command.add_argument("collection", metavar="COLLECTION")
    command.add_argument("--embedding", metavar="PROVIDER/MODEL")
    _add_chunking(command)
    command.set_defaults(run=reindex)
    command = actions.add_parser("delete", help="remove a collection with its documents, or one document")
    command.add_argument("collection", metavar="COLLECTION")
    command.add_argument("--document", metavar="ID", help="this document alone")
    command.set_defaults(run=delete)
    rag_eval.add_actions(actions)
    rag_questions.add_actions(actions)
    rag_optimise.add_actions(actions)


def _add_chunking(command: argparse.ArgumentParser) -> None:
    command.add_argument("--strategy", choices=STRATEGIES)
    command.add_argument("--size", type=parse_count, metavar="N", help="characters of a passage")
    command.add_argument("--overlap", type=int, metavar="N", help="characters that passages share")


def _add_question(command: argparse.ArgumentParser) -> None:
    command.add_argument("collection", metavar="COLLECTION")
    command.add_argument("question", metavar="QUESTION")
    command.add_argument("--mode", choices=MODES)
    command.add_argument("-k", type=parse_count, metavar="N", help="passages")
    command.add_argument("--no-rerank", action="store_true")
    command.add_argument("--kind", choices=KINDS, action="append", default=[])
    command.add_argument("--tags", type=parse_names, default=[], metavar="T[,T]")
    command.add_argument("--since", type=parse_day, metavar="D")
    command.add_argument("--until", type=parse_day, metavar="D")


def list_collections(arguments: argparse.Namespace) -> None:
    """Print the collections with their numbers of documents."""
    with open_services() as services:
        rows = [
            {
                "id": collection.id,
                "name": collection.name,
                "documents": collection.documents,
                "ready": collection.ready,
                "failed": collection.failed,
            }
            | {"shared": collection.is_shared, "embedding_model": collection.embedding_model}
            for collection in services.knowledge.collections.list(OPERATOR)
        ]
    output.show(rows, as_json=arguments.json, empty="No collections yet.")


def create(arguments: argparse.Namespace) -> None:
    """Make a collection; its id is the last line."""
    with open_services() as services:
        embedding: dict[str, Any] = {"embedding_model": arguments.embedding} if arguments.embedding else {}
        collection = services.knowledge.collections.create(
            OPERATOR,
            arguments.name,
            description=arguments.description,
            is_shared=arguments.shared,
            chunking=_read_chunking(arguments),
            **embedding,
        )
    print(collection.id)


def ingest(arguments: argparse.Namespace) -> None:
    """Add everything, take it in here, and say what became of each file; status 1 when one failed."""
    from lib.knowledge.documents.document_service import About

    about = About(kind=arguments.kind, tags=tuple(arguments.tags), dated=arguments.dated)
    rows: list[dict[str, Any]] = []
    with open_services() as services:
        collection_id = _ensure_collection(services, arguments.collection)
        added: list[tuple[str, str]] = []  # a file's name and its document
        for name, source in _name_sources(arguments.sources):
            try:
                if isinstance(source, Path) and (corpus := _find_corpus(source)) is not None:
                    rows.append(_take_in(services, collection_id, corpus, about))
                else:
                    added.append((name, _add(services, collection_id, name, source, about)))
            except InvalidInput as error:
                rows.append(_build_verdict(name, error=str(error)))
        documents = {
            document.id: document
            for document in _wait_for_documents(services, [*dict.fromkeys(key for _, key in added)])
        }
    rows += [_build_verdict(name, documents[key]) for name, key in added]
    output.show(rows, as_json=arguments.json, empty="Nothing was added.")
    failed = [row for row in rows if row["state"] == "failed"]
    if failed:
        print(f"{len(failed):,} of {len(rows):,} failed:", file=sys.stderr)
        for row in failed:
            print(f"  {row['title']}: {row['error']}", file=sys.stderr)
        raise SystemExit(1)


def _ensure_collection(services: "Services", name: str) -> str:
    from lib.errors import NotFound

    try:
        return str(services.knowledge.collections.get(OPERATOR, name).id)
    except NotFound:
        return str(services.knowledge.collections.create(OPERATOR, name).id)


def _name_sources(sources: Sequence[str]) -> list[tuple[str, "Path | str"]]:
    """Every file and address with the name that it is kept under: its path within the folder, or as it was written.

    Names that would be the same get the folders above them.
    """
    candidates: list[tuple[str, Path | str]] = []
    for source in sources:
        path = Path(source)
        if source.startswith(("http://", "https://")):
            candidates.append((source, source))
        elif path.is_dir() and _find_corpus(path) is None:
            candidates += [(file.relative_to(path).as_posix(), file) for file in _list_files(path)]
        else:
            is_plain = not path.is_absolute() and ".." not in path.parts
            candidates.append((path.as_posix() if is_plain else path.name, path))
    often = Counter(name for name, _ in candidates)
    return [(name if often[name] == 1 else _lengthen_name(name, source), source) for name, source in candidates]


def _lengthen_name(name: str, source: "Path | str") -> str:
    return source.resolve().as_posix().lstrip("/") if isinstance(source, Path) else name


def _add(services: "Services", collection_id: str, name: str, source: "Path | str", about: Any) -> str:
    """The id of the document that a file or an address becomes; InvalidInput says why it becomes none."""
    if isinstance(source, str):
        return str(services.knowledge.documents.add_url(OPERATOR, collection_id, source, about).id)
    try:
        data = source.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{name} can't be read.", f"{error.strerror}.") from None
    return str(services.knowledge.documents.add(OPERATOR, collection_id, name, data, about, "command")[0].id)


def _build_verdict(name: str, document: Any = None, error: str | None = None) -> dict[str, Any]:
    """Describe what became of one source that was added: its document's id, state and chunks, or the error."""
    if document is None:
        return {"id": None, "title": name, "state": "failed", "chunks": 0, "note": None, "error": error}
    note = document.note if document.source_name == name[-300:] else f"the same as {document.title}"
    return {
        "id": document.id,
        "title": name,
        "state": document.state_in_words,
        "chunks": document.chunks_total,
        "note": note,
        "error": document.error,
    }


def _find_corpus(path: Path) -> Path | None:
    """The file of a test collection's documents, named itself or by its folder."""
    from lib.knowledge.evaluation.corpus import DOCUMENT_FILES, find_corpus

    return path if path.name in DOCUMENT_FILES and path.is_file() else find_corpus(path) if path.is_dir() else None


def _take_in(services: "Services", collection_id: str, path: Path, about: Any) -> dict[str, Any]:
    """Index a test collection and return one row: its name and the number of passages that are new or changed."""
    from lib.knowledge.evaluation.corpus import read_entries

    entries = [*read_entries(path)]
    note = output.make_progress_line("documents")
    report = None if note is None else (lambda done: note(done, len(entries)))
    done = services.knowledge.corpora.take_in(OPERATOR, collection_id, entries, about, report)
    summary = f"{done.added:,} added, {done.unchanged:,} unchanged, {done.empty:,} without words"
    print(f"{path}: {len(entries):,} documents, {summary}", file=sys.stderr)
    return {"id": None, "title": path.name, "state": "ready", "chunks": done.passages, "note": None, "error": None}


def _wait_for_documents(services: "Services", ids: list[str]) -> list[Any]:
    """The documents when each is ready or failed; another process may be at some of them."""
    from lib.knowledge.documents.document_service import SETTLED

    while True:
        services.knowledge.ingest.run_due()
        documents = [services.knowledge.documents.get(OPERATOR, document_id) for document_id in ids]
        if all(document.state in SETTLED for document in documents):
            return documents
        time.sleep(0.5)


def list_documents(arguments: argparse.Namespace) -> None:
    """Print the documents of a collection."""
    with open_services() as services:
        collection = services.knowledge.collections.get(OPERATOR, arguments.collection)
        rows = [
            {"id": d.id, "title": d.title, "kind": d.kind, "state": d.state_in_words, "chunks": d.chunks_total}
            | {"language": d.language, "note": d.note, "error": d.error}
            for d in services.knowledge.documents.list(OPERATOR, collection.id)
        ]
    output.show(rows, as_json=arguments.json, empty="No documents yet.")


def search(arguments: argparse.Namespace) -> None:
    """Print the passages that match a question, best first."""
    with open_services() as services:
        collection = services.knowledge.collections.get(OPERATOR, arguments.collection)
        settings = _read_search_settings(arguments, services, collection.id)
        passages = services.knowledge.passages.search(
            OPERATOR, collection.id, arguments.question, settings, _read_restriction(arguments)
        )
    rows = [asdict(hit) for hit in passages.hits]
    if not arguments.json:
        columns = ("score", "title", "page_first", "heading", "text")
        rows = [{name: _shorten(row[name]) for name in columns} for row in rows]
    output.show(rows, as_json=arguments.json, empty="Nothing was found.")


def answer(arguments: argparse.Namespace) -> None:
    """Print the answer to a question, and the passages that it cites on standard error."""
    from lib.knowledge.answers import NOT_IN_SOURCES, check

    with open_services() as services:
        collection = services.knowledge.collections.get(OPERATOR, arguments.collection)
        pending_answer = services.knowledge.answers.ask(
            OPERATOR,
            [collection.id],
            arguments.question,
            configuration=arguments.configuration,
            settings=_read_search_settings(arguments, services, collection.id),
            only=_read_restriction(arguments),
        )
        text = NOT_IN_SOURCES
        if pending_answer.call_id is not None:
            view = services.calls.wait(OPERATOR, pending_answer.call_id)
            if view.status not in ("ok", "truncated"):
                raise InvalidInput("There is no answer.", view.error_message or "The call was stopped.")
            text = view.text
    checked = check(text, [hit.text for hit in pending_answer.sources])
    if arguments.json:
        sources = [{"n": n, **asdict(hit)} for n, hit in enumerate(pending_answer.sources, start=1)]
        record: dict[str, Any] = {"answer": checked.text, "cited": checked.cited, "removed_citations": checked.removed}
        record |= {"in_sources": checked.is_in_sources, "sources": sources, "call_id": pending_answer.call_id}
        output.show_record(record, as_json=True)
        return
    print(checked.text)
    if checked.is_unsupported:
        print("No passage is named: nothing here says whether that is true.", file=sys.stderr)
    for number in checked.cited:
        hit = pending_answer.sources[number - 1]
        print(f"[{number}] {hit.title}{f', page {hit.page_first}' if hit.page_first else ''}", file=sys.stderr)


def reindex(arguments: argparse.Namespace) -> None:
    """Queue every document of a collection and index them here."""
    with open_services() as services:
        collection = services.knowledge.collections.get(OPERATOR, arguments.collection)
        services.knowledge.collections.reindex(
            OPERATOR, collection.id, chunking=_read_chunking(arguments), embedding_model=arguments.embedding
        )
        print(f"{services.knowledge.ingest.run_due()} documents were taken in anew.")


def delete(arguments: argparse.Namespace) -> None:
    """Delete a collection, or one document of it."""
    with open_services() as services:
        if arguments.document:
            services.knowledge.documents.delete(OPERATOR, arguments.document)
            return
        services.knowledge.collections.delete(
            OPERATOR, services.knowledge.collections.get(OPERATOR, arguments.collection).id
        )


def _list_files(folder: Path) -> list[Path]:
    """The files in a folder and the folders in it; what begins with a dot is left alone."""
    every = (file for file in folder.rglob("*") if file.is_file())
    return sorted(file for file in every if not any(p.startswith(".") for p in file.relative_to(folder).parts))


def _read_chunking(arguments: argparse.Namespace) -> Any:
    from lib.knowledge.documents.chunking import Chunking

    options = {name: getattr(arguments, name) for name in ("strategy", "size", "overlap")}
    options = {name: value for name, value in options.items() if value is not None}
    return Chunking(**options) if options else None


def _read_search_settings(arguments: argparse.Namespace, services: "Services", collection_id: str) -> Any:
    from dataclasses import replace

    settings = services.knowledge.collections.get(OPERATOR, collection_id).search
    return replace(
        settings,
        mode=arguments.mode or settings.mode,
        k=arguments.k or settings.k,
        rerank=settings.rerank and not arguments.no_rerank,
    )


def _read_restriction(arguments: argparse.Namespace) -> Any:
    from lib.knowledge.search import DocumentFilter

    return DocumentFilter(
        kinds=tuple(arguments.kind), tags=tuple(arguments.tags), since=arguments.since, until=arguments.until
    )


def _shorten(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 2)
    return " ".join(value.split())[:100] if isinstance(value, str) else value
