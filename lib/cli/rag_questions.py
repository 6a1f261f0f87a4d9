"""`rag questions`: question sets of a collection, and who wrote them."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.cli import output
from lib.cli.arguments import count, read_text
from lib.cli.door import OPERATOR, opened_services
from lib.errors import InvalidInput

if TYPE_CHECKING:
    from lib.knowledge.question_sets import QuestionSet
    from lib.services import Services


def add_actions(actions: Any) -> None:
    """Register `rag questions` and what can be done with them."""
    parser = actions.add_parser("questions", help="question sets of a collection")
    actions = parser.add_subparsers(metavar="ACTION", required=True)

    def action(name: str, run: Callable[[argparse.Namespace], None], told: str, *, json: bool = True) -> Any:
        command = actions.add_parser(name, help=told)
        command.add_argument("collection", metavar="COLLECTION", help="its id or name")
        command.set_defaults(run=run)
        if json:
            output.add_json_option(command)
        return command

    action("sets", list_sets, "list its question sets")
    command = action("list", list_questions, "list a set's questions")
    command.add_argument("--set", metavar="NAME")
    command = action("add", add_question, "write one down", json=False)
    command.add_argument("question", metavar="QUESTION")
    command.add_argument("documents", metavar="DOCUMENT", nargs="+", help="ids, titles or names of what answers it")
    command.add_argument("--set", metavar="NAME", help="it is made when it is new")
    command = action("import", import_questions, "take questions from a test collection's folder or a CSV")
    command.add_argument("source", metavar="FOLDER|CSV", type=Path)
    command.add_argument("--set", metavar="NAME", help="it is made when it is new; default: the source's name")
    command = action("propose", propose, "let a model write questions to passages, for approval")
    command.add_argument("--set", metavar="NAME", help="it is made when it is new")
    command.add_argument("--count", type=count, default=10, metavar="N")
    command.add_argument("--configuration", metavar="SLUG", help="whose model writes; default: the app's")
    command = action("approve", approve, "let proposed questions count", json=False)
    command.add_argument("ids", metavar="ID", nargs="+")
    command.add_argument("--set", metavar="NAME")
    command = action("remove", remove, "take questions out", json=False)
    command.add_argument("ids", metavar="ID", nargs="+")
    command.add_argument("--set", metavar="NAME")
    command = action("delete", delete, "remove a set with its evaluations", json=False)
    command.add_argument("--set", metavar="NAME", required=True)


def list_sets(arguments: argparse.Namespace) -> None:
    """Print them."""
    with opened_services() as services:
        collection = services.collections.get(OPERATOR, arguments.collection)
        found = services.question_sets.list(OPERATOR, collection.id)
    rows = [{"id": one.id, "name": one.name, "approved": one.approved, "proposed": one.proposed} for one in found]
    output.show(rows, as_json=arguments.json, empty="No question sets yet.")


def list_questions(arguments: argparse.Namespace) -> None:
    """Print them with what answers each."""
    with opened_services() as services:
        collection = services.collections.get(OPERATOR, arguments.collection)
        titles = {one.id: one.title for one in services.documents.list(OPERATOR, collection.id)}
        found = services.question_sets.questions(OPERATOR, chosen_set(services, collection.id, arguments.set).id)
    rows = [
        {"id": one.id, "question": one.text, "source": one.source, "approved": one.is_approved}
        | {"answered_by": [titles.get(j.document_id, j.document_id) for j in one.judgements if j.grade > 0]}
        for one in found
    ]
    output.show(rows, as_json=arguments.json, empty="No questions yet.")


def add_question(arguments: argparse.Namespace) -> None:
    """Write one down; its id is the last line."""
    from lib.knowledge.questions import Judgement

    with opened_services() as services:
        collection = services.collections.get(OPERATOR, arguments.collection)
        known: dict[str, str] = {}
        for one in services.documents.list(OPERATOR, collection.id):
            known |= {one.title: one.id, one.source_name: one.id, one.id: one.id}
        if missing := [name for name in arguments.documents if name not in known]:
            raise InvalidInput(f"There is no document {missing[0]}.", "", "See `rag documents`.", "documents")
        chosen = chosen_set(services, collection.id, arguments.set, make=True)
        judged = [Judgement(known[name]) for name in dict.fromkeys(arguments.documents)]
        print(services.question_sets.add(OPERATOR, chosen.id, arguments.question, judged).id)


def import_questions(arguments: argparse.Namespace) -> None:
    """Take them in; what is judged by documents that are not here is told."""
    from lib.knowledge import corpus

    source: Path = arguments.source
    if source.is_dir():
        asked = corpus.read_folder(source)
    elif source.is_file():
        asked = corpus.read_csv(read_text(source))
    else:
        raise InvalidInput(f"{source} can't be read.", "There is no such file or folder.")
    with opened_services() as services:
        collection = services.collections.get(OPERATOR, arguments.collection)
        chosen = chosen_set(services, collection.id, arguments.set or source.stem, make=True)
        done = services.question_sets.import_asked(OPERATOR, chosen.id, asked)
    told = {"set": chosen.name, "added": done.added, "left_out": done.left_out}
    output.show_one(told | {"unknown_documents": len(done.unknown_documents)}, as_json=arguments.json)


def propose(arguments: argparse.Namespace) -> None:
    """Print what a model proposes."""
    with opened_services() as services:
        collection = services.collections.get(OPERATOR, arguments.collection)
        chosen = chosen_set(services, collection.id, arguments.set, make=True)
        made = services.proposals.propose(
            OPERATOR,
            chosen.id,
            arguments.count,
            configuration=arguments.configuration,
            note=output.progress("passages read"),
        )
    rows = [{"id": one.id, "question": one.text} for one in made]
    output.show(rows, as_json=arguments.json, empty="The model proposed nothing that can be used.")


def approve(arguments: argparse.Namespace) -> None:
    """Say how many were approved."""
    with opened_services() as services:
        chosen = _chosen(arguments, services)
        print(f"{services.question_sets.approve(OPERATOR, chosen.id, arguments.ids)} questions were approved.")


def remove(arguments: argparse.Namespace) -> None:
    """Say how many were removed."""
    with opened_services() as services:
        chosen = _chosen(arguments, services)
        print(f"{services.question_sets.remove(OPERATOR, chosen.id, arguments.ids)} questions were removed.")


def delete(arguments: argparse.Namespace) -> None:
    """Remove a set."""
    with opened_services() as services:
        services.question_sets.delete(OPERATOR, _chosen(arguments, services).id)


def _chosen(arguments: argparse.Namespace, services: "Services") -> "QuestionSet":
    return chosen_set(services, services.collections.get(OPERATOR, arguments.collection).id, arguments.set)


def chosen_set(services: "Services", collection_id: str, wanted: str | None, *, make: bool = False) -> "QuestionSet":
    """The set of a name or id, or the only one; `make` makes it where there is none."""
    found = services.question_sets.list(OPERATOR, collection_id)
    named = [one for one in found if wanted is None or wanted in (one.name, one.id)]
    if len(named) == 1:
        return named[0]
    if make and not named:
        return services.question_sets.create(OPERATOR, collection_id, wanted or "Questions")
    why = "There are several: " + ", ".join(one.name for one in found) if found else "The collection has none."
    raise InvalidInput("Which question set?" if wanted is None else f"There is no set {wanted}.", why, "", "set")
