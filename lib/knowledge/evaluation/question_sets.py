"""A collection's questions and what answers them: written down by people, imported, or proposed by a model.

A question is judged by documents, or by passages: a stretch of a document's text, so that a judgement holds however
the document is cut. Only what a person wrote, imported or approved is counted.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, case, delete, func, insert, select, update

from lib.access import audit
from lib.access.permissions import Actor
from lib.clock import make_id, utc_now
from lib.db.engine import Store
from lib.db.tables import collections, documents, judgements, question_sets, questions
from lib.errors import InvalidInput, NotFound
from lib.knowledge.access import filter_readable, filter_writable, find
from lib.knowledge.collections import make_storable
from lib.knowledge.evaluation.corpus import CorpusQuestion
from lib.knowledge.evaluation.questions import (
    JudgedQuestion,
    Judgement,
    QuestionSource,
    delete_sets,
    read_questions,
    read_text,
)

LONGEST = 4_000
HIGHEST_GRADE = 100
_IN_ONE = 400
_INSERTED = 500
_S = question_sets.c
_Q = questions.c
_J = judgements.c
_D = documents.c


@dataclass(frozen=True)
class QuestionSet:
    """Questions that are asked together."""

    id: str
    collection_id: str
    name: str
    created_at: datetime
    approved: int
    proposed: int


@dataclass(frozen=True)
class Imported:
    """What became of a file: questions added, and those left out for want of a document that is here."""

    added: int
    left_out: int
    unknown_documents: tuple[str, ...]


class QuestionSets:
    """Reads what the actor may read, changes what the actor may change."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def list(self, actor: Actor, collection_id: str) -> list[QuestionSet]:
        """A collection's sets by name."""
        with self._store.read() as connection:
            find(connection, collection_id, filter_readable(actor))
            query = _select_with_counts().where(_S.collection_id == collection_id).order_by(func.lower(_S.name), _S.id)
            return [_build_set(row) for row in connection.execute(query).mappings()]

    def get(self, actor: Actor, set_id: str) -> QuestionSet:
        """One by its id."""
        with self._store.read() as connection:
            find_set(connection, actor, set_id)
            return _build_set(connection.execute(_select_with_counts().where(_S.id == set_id)).mappings().one())

    def create(self, actor: Actor, collection_id: str, name: str) -> QuestionSet:
        """Begin an empty one."""
        filter_writable(actor)
        name = " ".join(make_storable(name).split())
        if not name or len(name) > 120:
            raise InvalidInput("A question set needs a name.", "It takes up to 120 characters.", "", "name")
        values = {"id": make_id(), "collection_id": collection_id, "name": name, "created_by": actor.user_id}
        with self._store.write() as connection:
            find(connection, collection_id, filter_writable(actor))
            connection.execute(insert(question_sets).values(**values, created_at=utc_now()))
            audit.record(connection, actor, "question_set.create", name, collection=collection_id)
        return self.get(actor, values["id"] or "")

    def delete(self, actor: Actor, set_id: str) -> None:
        """Remove it with its questions, its evaluations and its trials."""
        with self._store.write() as connection:
            row = find_set(connection, actor, set_id, writing=True)
            delete_sets(connection, _S.id == set_id)
            audit.record(connection, actor, "question_set.delete", row["name"])

    def questions(self, actor: Actor, set_id: str) -> Sequence[JudgedQuestion]:
        """All of a set in the order they came, judged passages where they are now."""
        with self._store.read() as connection:
            find_set(connection, actor, set_id)
            return read_questions(connection, set_id)

    def add(self, actor: Actor, set_id: str, text: str, judged: Sequence[Judgement]) -> JudgedQuestion:
        """Write down a question and what answers it."""
        with self._store.write() as connection:
            row = find_set(connection, actor, set_id, writing=True)
            question_id = write_question(connection, actor, row, text, judged, QuestionSource.TYPED, is_approved=True)
            audit.record(connection, actor, "question.add", row["name"], question=question_id)
            return read_questions(connection, set_id, question_id)[0]

    def update(self, actor: Actor, question_id: str, text: str, judged: Sequence[Judgement]) -> JudgedQuestion:
        """Change a question or what answers it; whoever does that has approved it."""
        with self._store.write() as connection:
            row = self._of_question(connection, actor, question_id)
            connection.execute(
                update(questions).where(_Q.id == question_id).values(text=_check_text(text), is_approved=True)
            )
            connection.execute(delete(judgements).where(_J.question_id == question_id))
            _write_judgements(connection, row["collection_id"], question_id, judged)
            audit.record(connection, actor, "question.change", row["name"], question=question_id)
            return read_questions(connection, row["id"], question_id)[0]

    def approve(self, actor: Actor, set_id: str, question_ids: Iterable[str]) -> int:
        """Let proposed questions count; how many there were."""
        with self._store.write() as connection:
            row = find_set(connection, actor, set_id, writing=True)
            proposed = (_Q.set_id == set_id) & _Q.id.in_([*question_ids]) & ~_Q.is_approved
            done = connection.execute(update(questions).where(proposed).values(is_approved=True)).rowcount
            audit.record(connection, actor, "question.approve", row["name"], questions=done)
            return done

    def remove(self, actor: Actor, set_id: str, question_ids: Iterable[str]) -> int:
        """Take questions out; how many there were."""
        with self._store.write() as connection:
            row = find_set(connection, actor, set_id, writing=True)
            removed_ids = select(_Q.id).where(_Q.set_id == set_id, _Q.id.in_([*question_ids]))
            connection.execute(delete(judgements).where(_J.question_id.in_(removed_ids)))
            done = connection.execute(delete(questions).where(_Q.id.in_(removed_ids))).rowcount
            audit.record(connection, actor, "question.delete", row["name"], questions=done)
            return done

    def import_asked(self, actor: Actor, set_id: str, corpus_questions: Sequence[CorpusQuestion]) -> Imported:
        """Add questions that name their documents by source name, id or title; those that are there are replaced."""
        with self._store.write(bulk=True) as connection:
            row = find_set(connection, actor, set_id, writing=True)
            ids_by_name = _find_documents_by_name(connection, row["collection_id"])
            unknown = {name for question in corpus_questions for name in question.grades if name not in ids_by_name}
            answerable = [
                (question, {ids_by_name[name]: g for name, g in question.grades.items() if name in ids_by_name})
                for question in corpus_questions
            ]
            answerable = [
                (question, grades) for question, grades in answerable if any(grade > 0 for grade in grades.values())
            ]
            _remove_replaced(
                connection, set_id, _Q.external_id, [question.id for question, _ in answerable if question.id]
            )
            _remove_replaced(
                connection,
                set_id,
                _Q.text,
                [_check_text(question.text) for question, _ in answerable if not question.id],
            )
            self._insert(connection, actor, set_id, answerable)
            audit.record(connection, actor, "question.import", row["name"], questions=len(answerable))
        return Imported(len(answerable), len(corpus_questions) - len(answerable), tuple(sorted(unknown)))

    @staticmethod
    def _insert(
        connection: Connection,
        actor: Actor,
        set_id: str,
        answerable: Sequence[tuple[CorpusQuestion, Mapping[str, int]]],
    ) -> None:
        fixed = {"set_id": set_id, "source": QuestionSource.IMPORTED, "is_approved": True, "created_by": actor.user_id}
        rows = []
        judged = []
        for question, grades in answerable:
            row = {
                "id": make_id(),
                "external_id": question.id,
                "text": _check_text(question.text),
                "created_at": utc_now(),
                **fixed,
            }
            rows.append(row)
            judged += [
                {"question_id": row["id"], "ordinal": n, "document_id": document, "grade": _check_grade(grade)}
                for n, (document, grade) in enumerate(grades.items())
            ]
        for table, values in ((questions, rows), (judgements, judged)):
            for start in range(0, len(values), _INSERTED):
                connection.execute(insert(table), values[start : start + _INSERTED])

    def _of_question(self, connection: Connection, actor: Actor, question_id: str) -> RowMapping:
        filter_writable(actor)
        set_id = connection.scalar(select(_Q.set_id).where(_Q.id == question_id))
        if set_id is None:
            raise NotFound("There is no such question.", "It was deleted, or it belongs to somebody else.")
        return find_set(connection, actor, set_id, writing=True)


def find_set(connection: Connection, actor: Actor, set_id: str, *, writing: bool = False) -> RowMapping:
    """A set's row, where the actor may read (or change) its collection."""
    condition = filter_writable(actor) if writing else filter_readable(actor)
    joined = question_sets.join(collections, collections.c.id == _S.collection_id)
    matches = connection.execute(select(question_sets).select_from(joined).where(_S.id == set_id, condition)).mappings()
    if (set_row := matches.first()) is None:
        raise NotFound("There is no such question set.", "It was deleted, or it belongs to somebody else.")
    return set_row


def write_question(
    connection: Connection,
    actor: Actor,
    set_row: RowMapping,
    text: str,
    judged: Sequence[Judgement],
    source: QuestionSource,
    *,
    is_approved: bool,
) -> str:
    """Insert a question into a set (its row); its id."""
    question_id = make_id()
    values = {
        "id": question_id,
        "set_id": set_row["id"],
        "external_id": "",
        "text": _check_text(text),
        "source": source,
    }
    values |= {"is_approved": is_approved, "created_by": actor.user_id, "created_at": utc_now()}
    connection.execute(insert(questions).values(**values))
    _write_judgements(connection, set_row["collection_id"], question_id, judged)
    return question_id


def _write_judgements(
    connection: Connection, collection_id: str, question_id: str, judged: Sequence[Judgement]
) -> None:
    """Write judgements down; each document must be of the collection, each passage within its text."""
    rows: list[dict[str, Any]] = []
    for number, judgement in enumerate(judged):
        in_collection = (_D.id == judgement.document_id) & (_D.collection_id == collection_id)
        document = connection.execute(select(_D.id, _D.serving_version, _D.title).where(in_collection)).first()
        if document is None:
            raise NotFound("There is no such document.", "It was deleted, or it is of another collection.")
        row = {"question_id": question_id, "ordinal": number, "document_id": judgement.document_id}
        row |= {"grade": _check_grade(judgement.grade), "start": None, "end": None, "quote": None}
        if judgement.start is not None and judgement.end is not None:
            text = read_text(connection, judgement.document_id, document.serving_version)
            if not 0 <= judgement.start < judgement.end <= len(text):
                raise InvalidInput(f"The passage is not in {document.title}.", "", "Choose it again.", "passage")
            row |= {"start": judgement.start, "end": judgement.end, "quote": text[judgement.start : judgement.end]}
        rows.append(row)
    if not any(row["grade"] > 0 for row in rows):
        raise InvalidInput("Nothing answers the question.", "", "Name a document or a passage.", "documents")
    connection.execute(insert(judgements), rows)


def _remove_replaced(connection: Connection, set_id: str, column: Any, values: Sequence[str]) -> None:
    """Take imported questions out that come anew: by their id, or where the file has none by their text."""
    unnamed = () if column is _Q.external_id else (_Q.external_id == "",)
    for start in range(0, len(values), _IN_ONE):
        conditions = (_Q.source == QuestionSource.IMPORTED, column.in_(values[start : start + _IN_ONE]), *unnamed)
        replaced_ids = select(_Q.id).where(_Q.set_id == set_id, *conditions)
        connection.execute(delete(judgements).where(_J.question_id.in_(replaced_ids)))
        connection.execute(delete(questions).where(_Q.id.in_(replaced_ids)))


def _find_documents_by_name(connection: Connection, collection_id: str) -> dict[str, str]:
    rows = connection.execute(
        select(_D.id, _D.title, _D.source_name).where(_D.collection_id == collection_id).order_by(_D.created_at)
    ).all()
    by_title = {row.title: row.id for row in rows}
    return by_title | {row.id: row.id for row in rows} | {row.source_name: row.id for row in rows if row.source_name}


def _check_text(text: str) -> str:
    text = make_storable(text).strip()
    if not text or len(text) > LONGEST:
        raise InvalidInput("A question needs words.", f"It takes up to {LONGEST:,} characters.", "", "question")
    return text


def _check_grade(grade: int) -> int:
    if not -HIGHEST_GRADE <= grade <= HIGHEST_GRADE:
        raise InvalidInput(f"The grade {grade} won't do.", "", f"Choose one up to {HIGHEST_GRADE}.", "grade")
    return grade


def _select_with_counts() -> Any:
    counts = [
        func.sum(case((_Q.is_approved, 1), else_=0)).label("approved"),
        func.sum(case((_Q.is_approved, 0), (_Q.id.is_not(None), 1), else_=0)).label("proposed"),
    ]
    joined = question_sets.outerjoin(questions, _Q.set_id == _S.id)
    return select(question_sets, *counts).select_from(joined).group_by(_S.id)


def _build_set(row: RowMapping) -> QuestionSet:
    columns = {name: row[name] for name in ("id", "collection_id", "name", "created_at")}
    return QuestionSet(**columns, approved=int(row["approved"] or 0), proposed=int(row["proposed"] or 0))
