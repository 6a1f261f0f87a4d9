"""Questions and what answers them, as values and as rows.

A judged passage is a stretch of its document's text and keeps its words: in a later version of the document it is
where they are, and where they are gone the document counts as a whole.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, RowMapping, delete, select

from lib.db.tables import (
    document_versions,
    documents,
    evaluation_results,
    evaluations,
    judgements,
    question_sets,
    questions,
    studies,
    trials,
)

_S = question_sets.c
_Q = questions.c
_J = judgements.c
_D = documents.c


class QuestionSource(StrEnum):
    """Where a question came from."""

    TYPED = "typed"
    IMPORTED = "imported"
    PROPOSED = "proposed"


@dataclass(frozen=True)
class Judgement:
    """A document, or the stretch of its text from `start` to `end`, that answers a question; the grade tells how well.

    A grade of zero or less says that it does not.
    """

    document_id: str
    grade: int = 1
    start: int | None = None
    end: int | None = None
    quote: str = ""


@dataclass(frozen=True)
class JudgedQuestion:
    """One with its judgements; without any it is not counted."""

    id: str
    set_id: str
    text: str
    source: QuestionSource
    is_approved: bool
    external_id: str
    judgements: tuple[Judgement, ...]


def read_questions(connection: Connection, set_id: str, question_id: str | None = None) -> list[JudgedQuestion]:
    """A set's questions, or the one; judgements of documents that are gone are left out."""
    conditions = [_Q.set_id == set_id] + ([] if question_id is None else [_Q.id == question_id])
    joined = judgements.join(questions, _Q.id == _J.question_id).join(documents, _D.id == _J.document_id)
    query = select(judgements, _D.serving_version).select_from(joined).where(*conditions)
    judged: dict[str, list[Judgement]] = {}
    texts: dict[tuple[str, int], str] = {}
    for row in connection.execute(query.order_by(_J.question_id, _J.ordinal)).mappings():
        judgement = Judgement(row["document_id"], row["grade"], row["start"], row["end"], row["quote"] or "")
        if judgement.start is not None:
            key = (row["document_id"], row["serving_version"])
            if key not in texts:
                texts[key] = read_text(connection, *key)
            judgement = relocate(judgement, texts[key])
        judged.setdefault(row["question_id"], []).append(judgement)
    rows = connection.execute(select(questions).where(*conditions).order_by(_Q.created_at, _Q.id)).mappings()
    return [_build_question(row, tuple(judged.get(row["id"], ()))) for row in rows]


def relocate(judgement: Judgement, text: str) -> Judgement:
    """The judgement where its words stand in a text: at its place, at the nearest other, or the whole document."""
    start = judgement.start or 0
    quote = judgement.quote
    if text[start : start + len(quote)] == quote:
        return judgement
    offsets = [text.rfind(quote, 0, start + len(quote)), text.find(quote, start)]
    offsets = [offset for offset in offsets if offset >= 0]
    if not offsets:
        return replace(judgement, start=None, end=None)
    nearest = min(offsets, key=lambda offset: abs(offset - start))
    return replace(judgement, start=nearest, end=nearest + len(quote))


def delete_sets(connection: Connection, condition: Any) -> None:
    """Remove the sets that a condition names, with all that hangs on them."""
    sets = select(_S.id).where(condition)
    question_ids = select(_Q.id).where(_Q.set_id.in_(sets))
    evaluation_ids = select(evaluations.c.id).where(evaluations.c.set_id.in_(sets))
    study_ids = select(studies.c.id).where(studies.c.set_id.in_(sets))
    connection.execute(delete(evaluation_results).where(evaluation_results.c.evaluation_id.in_(evaluation_ids)))
    connection.execute(delete(evaluations).where(evaluations.c.set_id.in_(sets)))
    connection.execute(delete(trials).where(trials.c.study_id.in_(study_ids)))
    connection.execute(delete(studies).where(studies.c.set_id.in_(sets)))
    connection.execute(delete(judgements).where(_J.question_id.in_(question_ids)))
    connection.execute(delete(questions).where(_Q.set_id.in_(sets)))
    connection.execute(delete(question_sets).where(condition))


def read_text(connection: Connection, document_id: str, version: int | None) -> str:
    """The text of a version of a document."""
    versions = document_versions.c
    query = select(versions.text).where(versions.document_id == document_id, versions.version == version)
    return connection.scalar(query) or ""


def _build_question(row: RowMapping, judged: tuple[Judgement, ...]) -> JudgedQuestion:
    columns = {name: row[name] for name in ("id", "set_id", "text", "is_approved", "external_id")}
    return JudgedQuestion(**columns, source=QuestionSource(row["source"]), judgements=judged)
