"""`rag questions`: question sets of a collection, and who wrote them."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.cli import output
from lib.cli.arguments import parse_count, read_text
from lib.cli.operator import OPERATOR, open_services
from lib.errors import InvalidInput

if TYPE_CHECKING:
    from lib.knowledge.evaluation.question_sets import QuestionSet
    from lib.services import Services


def add_actions(actions: Any) -> None:
    """Register `questions` with its actions under `rag`."""
    parser = actions.add_parser("questions", help="question sets of a collection")
    actions = parser.add_subparsers(metavar="ACTION", required=True)

    def add_action(name: str, run: Callable[[argparse.Namespace], None], help_text: str, *, json: bool = True) -> Any:
        command = actions.add_parser(name, help=help_text)
        command.add_argument("collection", metavar="COLLECTION", help="its id or name")
        command.set_defaults(run=run)
        if json:
            output.add_json_option(command)
        return command

    add_action("sets", list_sets, "list its question sets")
    command = add_action("list", list_questions, "list a set's questions")
    command.add_argument("--set", metavar="NAME")
    command = add_action("add", add_question, "write one down", json=False)
    command.add_argument("question", metavar="QUESTION")
    command.add_argument("documents", metavar="DOCUMENT", nargs="+", help="ids, titles or names of what answers it")
    command.add_argument("--set", metavar="NAME", help="it is made when it is new")
    command = add_action("import", import_questions, "take questions from a test collection's folder or a CSV")
    command.add_argument("source", metavar="FOLDER|CSV", type=Path)
    command.add_argument("--set", metavar="NAME", help="it is made when it is new; default: the source's name")
    command = add_action("propose", propose, "let a model write questions to passages, for approval")
    command.add_argument("--set", metavar="NAME", help="it is made when it is new")
    command.add_argument("--count", type=parse_count, default=10, metavar="N")
    command.add_argument("--configuration", metavar="SLUG", help="whose model writes; default: the app's")
    command = add_action("approve", approve, "let proposed questions count", json=False)
    command.add_argument("ids", metavar="ID", nargs="+")
    command.add_argument("--set", metavar="NAME")
    command = add_action("remove", remove, "take questions out", json=False)
    command.add_argument("ids", metavar="ID", nargs="+")
    command.add_argument("--set", metavar="NAME")
    command = add_action("delete", delete, "remove a set with its evaluations", json=False)
    command.add_argument("--set", metavar="NAME", required=True)


def list_sets(arguments: argparse.Namespace) -> None:
    """Print the question sets of a collection."""
    with open_services() as services:
        collection = services.knowledge.collections.get(OPERATOR, arguments.collection)
        question_sets = services.knowledge.question_sets.list(OPERATOR, collection.id)
    rows = [
        {
            "id": question_set.id,
            "name": question_set.name,
            "approved": question_set.approved,
            "proposed": question_set.proposed,
        }
        for question_set in question_sets
    ]
    output.show(rows, as_json=arguments.json, empty="No question sets yet.")


def list_questions(arguments: argparse.Namespace) -> None:
    """Print the questions of a set with the documents that answer each."""
    with open_services() as services:
        collection = services.knowledge.collections.get(OPERATOR, arguments.collection)
        titles = {
            document.id: document.title for document in services.knowledge.documents.list(OPERATOR, collection.id)
        }
        questions = services.knowledge.question_sets.questions(
            OPERATOR, find_set(services, collection.id, arguments.set).id
        )
    rows = [
        {"id": question.id, "question": question.text, "source": question.source, "approved": question.is_approved}
        | {"answered_by": [titles.get(j.document_id, j.document_id) for j in question.judgements if j.grade > 0]}
        for question in questions
    ]
    output.show(rows, as_json=arguments.json, empty="No questions yet.")


def add_question(arguments: argparse.Namespace) -> None:
    """Add a question to a set; its id is the last line."""
    from lib.knowledge.evaluation.questions import Judgement

    with open_services() as services:
        collection = services.knowledge.collections.get(OPERATOR, arguments.collection)
        document_ids: dict[str, str] = {}
        for document in services.knowledge.documents.list(OPERATOR, collection.id):
            document_ids |= {document.title: document.id, document.source_name: document.id, document.id: document.id}
        if missing := [name for name in arguments.documents if name not in document_ids]:
            raise InvalidInput(f"There is no document {missing[0]}.", "", "See `rag documents`.", "documents")
        question_set = find_set(services, collection.id, arguments.set, make=True)
        judged = [Judgement(document_ids[name]) for name in dict.fromkeys(arguments.documents)]
        print(services.knowledge.question_sets.add(OPERATOR, question_set.id, arguments.question, judged).id)


def import_questions(arguments: argparse.Namespace) -> None:
    """Import questions of a test collection or CSV; counts those that are judged by documents not here."""
    from lib.knowledge.evaluation import corpus

    source: Path = arguments.source
    if source.is_dir():
        questions = corpus.read_folder(source)
    elif source.is_file():
        questions = corpus.read_csv(read_text(source))
    else:
        raise InvalidInput(f"{source} can't be read.", "There is no such file or folder.")
    with open_services() as services:
        collection = services.knowledge.collections.get(OPERATOR, arguments.collection)
        question_set = find_set(services, collection.id, arguments.set or source.stem, make=True)
        done = services.knowledge.question_sets.import_asked(OPERATOR, question_set.id, questions)
    record = {"set": question_set.name, "added": done.added, "left_out": done.left_out}
    output.show_record(record | {"unknown_documents": len(done.unknown_documents)}, as_json=arguments.json)


def propose(arguments: argparse.Namespace) -> None:
    """Let a model propose questions and print them."""
    with open_services() as services:
        collection = services.knowledge.collections.get(OPERATOR, arguments.collection)
        question_set = find_set(services, collection.id, arguments.set, make=True)
        proposals = services.knowledge.proposals.propose(
            OPERATOR,
            question_set.id,
            arguments.count,
            configuration=arguments.configuration,
            note=output.make_progress_line("passages read"),
        )
    rows = [{"id": question.id, "question": question.text} for question in proposals]
    output.show(rows, as_json=arguments.json, empty="The model proposed nothing that can be used.")


def approve(arguments: argparse.Namespace) -> None:
    """Approve proposed questions and print how many."""
    with open_services() as services:
        question_set = _find_set(arguments, services)
        count = services.knowledge.question_sets.approve(OPERATOR, question_set.id, arguments.ids)
        print(f"{count} questions were approved.")


def remove(arguments: argparse.Namespace) -> None:
    """Remove questions from a set and print how many."""
    with open_services() as services:
        question_set = _find_set(arguments, services)
        count = services.knowledge.question_sets.remove(OPERATOR, question_set.id, arguments.ids)
        print(f"{count} questions were removed.")


def delete(arguments: argparse.Namespace) -> None:
    """Delete a question set with its evaluations."""
    with open_services() as services:
        services.knowledge.question_sets.delete(OPERATOR, _find_set(arguments, services).id)


def _find_set(arguments: argparse.Namespace, services: "Services") -> "QuestionSet":
    return find_set(services, services.knowledge.collections.get(OPERATOR, arguments.collection).id, arguments.set)


def find_set(services: "Services", collection_id: str, name: str | None, *, make: bool = False) -> "QuestionSet":
    """Find a question set by name or id, or the only one of the collection; `make` creates a missing one.
    Raises InvalidInput where none or several fit.
    """
    question_sets = services.knowledge.question_sets.list(OPERATOR, collection_id)
    matching = [
        question_set for question_set in question_sets if name is None or name in (question_set.name, question_set.id)
    ]
    if len(matching) == 1:
        return matching[0]
    if make and not matching:
        return services.knowledge.question_sets.create(OPERATOR, collection_id, name or "Questions")
    why = (
        "There are several: " + ", ".join(question_set.name for question_set in question_sets)
        if question_sets
        else "The collection has none."
    )
    raise InvalidInput("Which question set?" if name is None else f"There is no set {name}.", why, "", "set")
