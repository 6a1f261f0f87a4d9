"""How well a collection is searched: the questions of a set asked of the production search, and held to their answers.

Five times as many passages are asked for as the deepest figure looks at, for several may be of one document. Where a
question is judged by documents, a document stands where its best passage does; where it is judged by passages, a hit
finds a passage when they share half of the shorter of the two. Every run is kept with what each question found.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, delete, insert, select

from lib.access import audit
from lib.access.permissions import Actor
from lib.clock import new_id, utc_now
from lib.db.engine import Store
from lib.db.tables import collections, documents, evaluation_results, evaluations, questions
from lib.errors import Conflict, InvalidInput, NotFound
from lib.knowledge.access import find, readable, writable
from lib.knowledge.evaluation import ranking_metrics
from lib.knowledge.evaluation.pool import Place
from lib.knowledge.evaluation.question_sets import of_set
from lib.knowledge.evaluation.questions import Judgement, Question, questions_of
from lib.knowledge.evaluation.ranking_metrics import Difference, Estimate, Metric
from lib.knowledge.search import Passages
from lib.knowledge.settings import MOST_HITS, SearchSettings

PASSAGES_PER_PLACE = 5
_SHOWN = 20
_INSERTED = 500
_E = evaluations.c
_R = evaluation_results.c
_Q = questions.c
Look = Callable[[str], Sequence[Place]]


@dataclass(frozen=True)
class Evaluation:
    """A run: its settings (of the search, the chunking and the model at that moment) and its figures by name."""

    id: str
    collection_id: str
    set_id: str
    settings: Mapping[str, Any]
    figures: Mapping[str, Estimate]
    passages: int
    took_ms: int
    created_at: datetime


@dataclass(frozen=True)
class Spot:
    """Something found, or missed, with its title as it is now; `rank` counts from 1 and is None where it is missed."""

    document_id: str
    title: str
    grade: int
    rank: int | None
    start: int | None = None
    end: int | None = None


@dataclass(frozen=True)
class Outcome:
    """What one question found, and which of its answers it missed."""

    question_id: str
    text: str
    figures: Mapping[str, float]
    found: Sequence[Spot]
    missed: Sequence[Spot]


@dataclass(frozen=True)
class Comparison:
    """Two runs by one figure over the questions that both asked."""

    metric: str
    before: Estimate
    after: Estimate
    difference: Difference


class Evaluations:
    """Runs, keeps, compares."""

    def __init__(self, store: Store, search: Passages) -> None:
        self._store = store
        self._search = search

    def run(
        self,
        actor: Actor,
        set_id: str,
        settings: SearchSettings | None = None,
        names: Sequence[str] = ranking_metrics.DEFAULT,
        note: Callable[[int, int], None] | None = None,
    ) -> Evaluation:
        """Ask every approved question; `settings` None: those of the collection. `note` hears how many are done."""
        wanted = [ranking_metrics.metric(name) for name in names]
        with self._store.read() as connection:
            of = of_set(connection, actor, set_id)
            asked = countable(questions_of(connection, set_id))
            row = find(connection, of["collection_id"], readable(actor))
        base = settings or SearchSettings(**row["search"])
        deep = replace(base, k=passages_for(wanted))
        began = time.monotonic()
        passages = 0
        rows = []
        for number, question in enumerate(asked, start=1):
            found = self._search.search(actor, row["id"], question.text, deep)
            passages = found.passages
            places = [Place(hit.document_id, hit.start, hit.end) for hit in found.hits]
            rows.append(_result(question, places, wanted))
            if note is not None:
                note(number, len(asked))
        return self._keep(actor, row, set_id, base, rows, passages, round((time.monotonic() - began) * 1000))

    def _keep(
        self,
        actor: Actor,
        row: RowMapping,
        set_id: str,
        used: SearchSettings,
        rows: list[dict[str, Any]],
        passages: int,
        took_ms: int,
    ) -> Evaluation:
        figures = {
            name: ranking_metrics.estimate([one["figures"][name] for one in rows]) for name in rows[0]["figures"]
        }
        settings = {"chunking": row["chunking"], "embedding_model": row["embedding_model"], **asdict(used)}
        made = new_id()
        values = {"id": made, "collection_id": row["id"], "set_id": set_id, "settings": settings}
        values |= {"figures": {name: asdict(one) for name, one in figures.items()}, "passages": passages}
        with self._store.write() as connection:
            of_set(connection, actor, set_id)
            kept = insert(evaluations).values(**values, took_ms=took_ms, created_by=actor.user_id, created_at=utc_now())
            connection.execute(kept)
            rows = [{"evaluation_id": made, **one} for one in rows]
            for start in range(0, len(rows), _INSERTED):
                connection.execute(insert(evaluation_results), rows[start : start + _INSERTED])
        return self.get(actor, made)

    def list(self, actor: Actor, collection_id: str) -> Sequence[Evaluation]:
        """A collection's runs, the newest first."""
        with self._store.read() as connection:
            find(connection, collection_id, readable(actor))
            query = select(evaluations).where(_E.collection_id == collection_id)
            rows = connection.execute(query.order_by(_E.created_at.desc(), _E.id.desc())).mappings()
            return [_evaluation(row) for row in rows]

    def get(self, actor: Actor, evaluation_id: str) -> Evaluation:
        """One by its id."""
        with self._store.read() as connection:
            joined = evaluations.join(collections, collections.c.id == _E.collection_id)
            query = select(evaluations).select_from(joined).where(_E.id == evaluation_id, readable(actor))
            row = connection.execute(query).mappings().first()
        if row is None:
            raise NotFound("There is no such evaluation.", "It was deleted, or it belongs to somebody else.")
        return _evaluation(row)

    def outcomes(self, actor: Actor, evaluation_id: str) -> Sequence[Outcome]:
        """Each question of a run, as it was asked; what was missed is held against the judgements of today."""
        run = self.get(actor, evaluation_id)
        with self._store.read() as connection:
            judged = {one.id: one for one in questions_of(connection, run.set_id)}
            query = select(evaluation_results).where(_R.evaluation_id == evaluation_id).order_by(_R.question_id)
            rows = connection.execute(query).mappings().all()
            of = documents.c.collection_id == run.collection_id
            titled = connection.execute(select(documents.c.id, documents.c.title).where(of))
            titles = {found.id: found.title for found in titled}
        return [_outcome(row, judged[row["question_id"]], titles) for row in rows if row["question_id"] in judged]

    def compare(self, actor: Actor, before: str, after: str, name: str = "ndcg@10") -> Comparison:
        """Two runs of one set, question by question, with the paired test."""
        one = self.get(actor, before)
        two = self.get(actor, after)
        if one.set_id != two.set_id:
            raise Conflict("They can't be compared.", "They asked different question sets.")
        by_run = []
        with self._store.read() as connection:
            for run in (one, two):
                query = select(_R.question_id, _R.figures).where(_R.evaluation_id == run.id)
                by_run.append({row[0]: row[1][name] for row in connection.execute(query) if name in row[1]})
        both = [key for key in by_run[0] if key in by_run[1]]
        if not both:
            raise InvalidInput(f"They can't be compared by {name}.", "They share no question with that figure.")
        first, second = ([figures[key] for key in both] for figures in by_run)
        difference = ranking_metrics.compare(first, second)
        return Comparison(name, ranking_metrics.estimate(first), ranking_metrics.estimate(second), difference)

    def delete(self, actor: Actor, evaluation_id: str) -> None:
        """Remove a run."""
        writable(actor)
        run = self.get(actor, evaluation_id)
        with self._store.write() as connection:
            row = find(connection, run.collection_id, writable(actor))
            connection.execute(delete(evaluation_results).where(_R.evaluation_id == evaluation_id))
            connection.execute(delete(evaluations).where(_E.id == evaluation_id))
            audit.record(connection, actor, "evaluation.delete", row["name"], evaluation=evaluation_id)


def countable(asked: Sequence[Question]) -> list[Question]:
    """The approved questions that something answers; InvalidInput when there are none."""
    found = [one for one in asked if one.is_approved and any(judged.grade > 0 for judged in one.judgements)]
    if not found:
        raise InvalidInput("There is nothing to ask.", "The set has no approved question with an answer.", "Add some.")
    return found


def passages_for(wanted: Sequence[Metric]) -> int:
    """How many passages the search is asked for."""
    if not wanted:
        raise InvalidInput("Name a figure.", "", f"For example {ranking_metrics.DEFAULT[0]}.", "metric")
    return min(MOST_HITS, PASSAGES_PER_PLACE * max(one.k for one in wanted))


def fold(found: Sequence[Place], judged: Sequence[Judgement]) -> dict[str, Place]:
    """What was found, each thing once, in order: judged passages, else documents (or passages beside judged ones)."""
    by_document: dict[str, list[Judgement]] = {}
    for one in judged:
        by_document.setdefault(one.document_id, []).append(one)
    by_passages = any(one.start is not None for one in judged)
    folded: dict[str, Place] = {}
    for place in found:
        mine = by_document.get(place.document_id, ())
        keys = [key_of(one) for one in mine if one.start is not None and _shares(place, one)]
        if not keys:
            whole = not by_passages or any(one.start is None for one in mine)
            keys = [place.document_id if whole else f"{place.document_id}/{place.start}-{place.end}"]
        for key in keys:
            folded.setdefault(key, place)
    return folded


def grades_of(judged: Sequence[Judgement]) -> dict[str, int]:
    """The grade of each judged thing by its key."""
    found: dict[str, int] = {}
    for one in judged:
        found[key_of(one)] = max(one.grade, found.get(key_of(one), one.grade))
    return found


def key_of(judged: Judgement) -> str:
    """Names a judged document or passage."""
    return judged.document_id if judged.start is None else f"{judged.document_id}:{judged.start}-{judged.end}"


def _shares(place: Place, judged: Judgement) -> bool:
    start = judged.start or 0
    end = judged.end or 0
    shared = min(place.end, end) - max(place.start, start)
    return shared > 0 and 2 * shared >= min(place.end - place.start, end - start)


def _result(question: Question, places: Sequence[Place], wanted: Sequence[Metric]) -> dict[str, Any]:
    folded = fold(places, question.judgements)
    grades = grades_of(question.judgements)
    ranked = [*folded]
    shown = [
        {"key": key, "document_id": place.document_id, "start": place.start, "end": place.end, "rank": rank}
        for rank, (key, place) in enumerate(folded.items(), start=1)
        if rank <= _SHOWN or grades.get(key, 0) > 0
    ]
    figures = {str(one): one.of(ranked, grades) for one in wanted}
    return {"question_id": question.id, "figures": figures, "found": shown}


def _outcome(row: RowMapping, question: Question, titles: Mapping[str, str]) -> Outcome:
    grades = grades_of(question.judgements)
    gone = "(deleted)"
    found = [
        Spot(
            one["document_id"],
            titles.get(one["document_id"], gone),
            grades.get(one["key"], 0),
            one["rank"],
            one["start"],
            one["end"],
        )
        for one in row["found"]
    ]
    there = {one["key"] for one in row["found"]}
    missed = [
        Spot(one.document_id, titles.get(one.document_id, gone), one.grade, None, one.start, one.end)
        for one in question.judgements
        if one.grade > 0 and key_of(one) not in there
    ]
    return Outcome(question.id, question.text, row["figures"], found, missed)


def _evaluation(row: RowMapping) -> Evaluation:
    kept = {name: row[name] for name in Evaluation.__dataclass_fields__}
    return Evaluation(**kept | {"figures": {name: Estimate(**one) for name, one in row["figures"].items()}})
