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
from lib.clock import new_id, utc_now
from lib.db.engine import Store
from lib.db.tables import collections, documents, judgements, question_sets, questions
from lib.errors import InvalidInput, NotFound
from lib.knowledge.access import find, readable, writable
from lib.knowledge.collections import storable
from lib.knowledge.evaluation.corpus import Asked
from lib.knowledge.evaluation.questions import Judgement, Question, Source, forget, questions_of, text_of

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
            find(connection, collection_id, readable(actor))
            query = _counted().where(_S.collection_id == collection_id).order_by(func.lower(_S.name), _S.id)
            return [_set(row) for row in connection.execute(query).mappings()]

    def get(self, actor: Actor, set_id: str) -> QuestionSet:
        """One by its id."""
        with self._store.read() as connection:
            of_set(connection, actor, set_id)
            return _set(connection.execute(_counted().where(_S.id == set_id)).mappings().one())

    def create(self, actor: Actor, collection_id: str, name: str) -> QuestionSet:
        """Begin an empty one."""
        writable(actor)
        name = " ".join(storable(name).split())
        if not name or len(name) > 120:
            raise InvalidInput("A question set needs a name.", "It takes up to 120 characters.", "", "name")
        values = {"id": new_id(), "collection_id": collection_id, "name": name, "created_by": actor.user_id}
        with self._store.write() as connection:
            find(connection, collection_id, writable(actor))
            connection.execute(insert(question_sets).values(**values, created_at=utc_now()))
            audit.record(connection, actor, "question_set.create", name, collection=collection_id)
        return self.get(actor, values["id"] or "")

    def delete(self, actor: Actor, set_id: str) -> None:
        """Remove it with its questions, its evaluations and its trials."""
        with self._store.write() as connection:
            row = of_set(connection, actor, set_id, writing=True)
            forget(connection, _S.id == set_id)
            audit.record(connection, actor, "question_set.delete", row["name"])

    def questions(self, actor: Actor, set_id: str) -> Sequence[Question]:
        """All of a set in the order they came, judged passages where they are now."""
        with self._store.read() as connection:
            of_set(connection, actor, set_id)
            return questions_of(connection, set_id)

    def add(self, actor: Actor, set_id: str, text: str, judged: Sequence[Judgement]) -> Question:
        """Write down a question and what answers it."""
        with self._store.write() as connection:
            row = of_set(connection, actor, set_id, writing=True)
            made = write(connection, actor, row, text, judged, Source.TYPED, is_approved=True)
            audit.record(connection, actor, "question.add", row["name"], question=made)
            return questions_of(connection, set_id, made)[0]

    def update(self, actor: Actor, question_id: str, text: str, judged: Sequence[Judgement]) -> Question:
        """Change a question or what answers it; whoever does that has approved it."""
        with self._store.write() as connection:
            row = self._of_question(connection, actor, question_id)
            connection.execute(update(questions).where(_Q.id == question_id).values(text=_text(text), is_approved=True))
            connection.execute(delete(judgements).where(_J.question_id == question_id))
            _judge(connection, row["collection_id"], question_id, judged)
            audit.record(connection, actor, "question.change", row["name"], question=question_id)
            return questions_of(connection, row["id"], question_id)[0]

    def approve(self, actor: Actor, set_id: str, question_ids: Iterable[str]) -> int:
        """Let proposed questions count; how many there were."""
        with self._store.write() as connection:
            row = of_set(connection, actor, set_id, writing=True)
            mine = (_Q.set_id == set_id) & _Q.id.in_([*question_ids]) & ~_Q.is_approved
            done = connection.execute(update(questions).where(mine).values(is_approved=True)).rowcount
            audit.record(connection, actor, "question.approve", row["name"], questions=done)
            return done

    def remove(self, actor: Actor, set_id: str, question_ids: Iterable[str]) -> int:
        """Take questions out; how many there were."""
        with self._store.write() as connection:
            row = of_set(connection, actor, set_id, writing=True)
            mine = select(_Q.id).where(_Q.set_id == set_id, _Q.id.in_([*question_ids]))
            connection.execute(delete(judgements).where(_J.question_id.in_(mine)))
            done = connection.execute(delete(questions).where(_Q.id.in_(mine))).rowcount
            audit.record(connection, actor, "question.delete", row["name"], questions=done)
            return done

    def import_asked(self, actor: Actor, set_id: str, asked: Sequence[Asked]) -> Imported:
        """Add questions that name their documents by source name, id or title; those that are there are replaced."""
        with self._store.write(bulk=True) as connection:
            row = of_set(connection, actor, set_id, writing=True)
            named = _documents_by_name(connection, row["collection_id"])
            unknown = {name for one in asked for name in one.grades if name not in named}
            kept = [(one, {named[name]: g for name, g in one.grades.items() if name in named}) for one in asked]
            kept = [(one, grades) for one, grades in kept if any(grade > 0 for grade in grades.values())]
            _replace(connection, set_id, _Q.external_id, [one.id for one, _ in kept if one.id])
            _replace(connection, set_id, _Q.text, [_text(one.text) for one, _ in kept if not one.id])
            self._insert(connection, actor, set_id, kept)
            audit.record(connection, actor, "question.import", row["name"], questions=len(kept))
        return Imported(len(kept), len(asked) - len(kept), tuple(sorted(unknown)))

    @staticmethod
    def _insert(
        connection: Connection, actor: Actor, set_id: str, kept: Sequence[tuple[Asked, Mapping[str, int]]]
    ) -> None:
        fixed = {"set_id": set_id, "source": Source.IMPORTED, "is_approved": True, "created_by": actor.user_id}
        rows = []
        judged = []
        for one, grades in kept:
            row = {"id": new_id(), "external_id": one.id, "text": _text(one.text), "created_at": utc_now(), **fixed}
            rows.append(row)
            judged += [
                {"question_id": row["id"], "ordinal": n, "document_id": document, "grade": _grade(grade)}
                for n, (document, grade) in enumerate(grades.items())
            ]
        for table, values in ((questions, rows), (judgements, judged)):
            for start in range(0, len(values), _INSERTED):
                connection.execute(insert(table), values[start : start + _INSERTED])

    def _of_question(self, connection: Connection, actor: Actor, question_id: str) -> RowMapping:
        writable(actor)
        set_id = connection.scalar(select(_Q.set_id).where(_Q.id == question_id))
        if set_id is None:
            raise NotFound("There is no such question.", "It was deleted, or it belongs to somebody else.")
        return of_set(connection, actor, set_id, writing=True)


def of_set(connection: Connection, actor: Actor, set_id: str, *, writing: bool = False) -> RowMapping:
    """A set's row, where the actor may read (or change) its collection."""
    condition = writable(actor) if writing else readable(actor)
    joined = question_sets.join(collections, collections.c.id == _S.collection_id)
    row = connection.execute(select(question_sets).select_from(joined).where(_S.id == set_id, condition)).mappings()
    if (found := row.first()) is None:
        raise NotFound("There is no such question set.", "It was deleted, or it belongs to somebody else.")
    return found


def write(
    connection: Connection,
    actor: Actor,
    of: RowMapping,
    text: str,
    judged: Sequence[Judgement],
    source: Source,
    *,
    is_approved: bool,
) -> str:
    """Insert a question into a set (its row); its id."""
    made = new_id()
    values = {"id": made, "set_id": of["id"], "external_id": "", "text": _text(text), "source": source}
    values |= {"is_approved": is_approved, "created_by": actor.user_id, "created_at": utc_now()}
    connection.execute(insert(questions).values(**values))
    _judge(connection, of["collection_id"], made, judged)
    return made


def _judge(connection: Connection, collection_id: str, question_id: str, judged: Sequence[Judgement]) -> None:
    """Write judgements down; each document must be of the collection, each passage within its text."""
    rows: list[dict[str, Any]] = []
    for number, one in enumerate(judged):
        here = (_D.id == one.document_id) & (_D.collection_id == collection_id)
        document = connection.execute(select(_D.id, _D.serving_version, _D.title).where(here)).first()
        if document is None:
            raise NotFound("There is no such document.", "It was deleted, or it is of another collection.")
        row = {"question_id": question_id, "ordinal": number, "document_id": one.document_id}
        row |= {"grade": _grade(one.grade), "start": None, "end": None, "quote": None}
        if one.start is not None and one.end is not None:
            text = text_of(connection, one.document_id, document.serving_version)
            if not 0 <= one.start < one.end <= len(text):
                raise InvalidInput(f"The passage is not in {document.title}.", "", "Choose it again.", "passage")
            row |= {"start": one.start, "end": one.end, "quote": text[one.start : one.end]}
        rows.append(row)
    if not any(row["grade"] > 0 for row in rows):
        raise InvalidInput("Nothing answers the question.", "", "Name a document or a passage.", "documents")
    connection.execute(insert(judgements), rows)


def _replace(connection: Connection, set_id: str, column: Any, values: Sequence[str]) -> None:
    """Take imported questions out that come anew: by their id, or where the file has none by their text."""
    unnamed = () if column is _Q.external_id else (_Q.external_id == "",)
    for start in range(0, len(values), _IN_ONE):
        same = (_Q.source == Source.IMPORTED, column.in_(values[start : start + _IN_ONE]), *unnamed)
        there = select(_Q.id).where(_Q.set_id == set_id, *same)
        connection.execute(delete(judgements).where(_J.question_id.in_(there)))
        connection.execute(delete(questions).where(_Q.id.in_(there)))


def _documents_by_name(connection: Connection, collection_id: str) -> dict[str, str]:
    rows = connection.execute(
        select(_D.id, _D.title, _D.source_name).where(_D.collection_id == collection_id).order_by(_D.created_at)
    ).all()
    found = {row.title: row.id for row in rows}
    return found | {row.id: row.id for row in rows} | {row.source_name: row.id for row in rows if row.source_name}


def _text(text: str) -> str:
    text = storable(text).strip()
    if not text or len(text) > LONGEST:
        raise InvalidInput("A question needs words.", f"It takes up to {LONGEST:,} characters.", "", "question")
    return text


def _grade(grade: int) -> int:
    if not -HIGHEST_GRADE <= grade <= HIGHEST_GRADE:
        raise InvalidInput(f"The grade {grade} won't do.", "", f"Choose one up to {HIGHEST_GRADE}.", "grade")
    return grade


def _counted() -> Any:
    counts = [
        func.sum(case((_Q.is_approved, 1), else_=0)).label("approved"),
        func.sum(case((_Q.is_approved, 0), (_Q.id.is_not(None), 1), else_=0)).label("proposed"),
    ]
    joined = question_sets.outerjoin(questions, _Q.set_id == _S.id)
    return select(question_sets, *counts).select_from(joined).group_by(_S.id)


def _set(row: RowMapping) -> QuestionSet:
    kept = {name: row[name] for name in ("id", "collection_id", "name", "created_at")}
    return QuestionSet(**kept, approved=int(row["approved"] or 0), proposed=int(row["proposed"] or 0))
