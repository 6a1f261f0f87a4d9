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
from lib.clock import make_id, utc_now
from lib.db.engine import Store
from lib.db.tables import collections, documents, evaluation_results, evaluations, questions
from lib.errors import Conflict, InvalidInput, NotFound
from lib.knowledge.access import filter_readable, filter_writable, find
from lib.knowledge.evaluation import ranking_metrics
from lib.knowledge.evaluation.pool import PassageSpan
from lib.knowledge.evaluation.question_sets import find_set
from lib.knowledge.evaluation.questions import JudgedQuestion, Judgement, read_questions
from lib.knowledge.evaluation.ranking_metrics import Estimate, PairedDifference, RankingMetric
from lib.knowledge.search import Passages
from lib.knowledge.settings import MOST_HITS, SearchSettings

PASSAGES_PER_PLACE = 5
_SHOWN = 20
_INSERTED = 500
_E = evaluations.c
_R = evaluation_results.c
_Q = questions.c
Look = Callable[[str], Sequence[PassageSpan]]


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
    """A document or passage that a search returned, or missed, with its title as it is now.

    `rank` counts from 1 and is None where it is missed.
    """

    document_id: str
    title: str
    grade: int
    rank: int | None
    start: int | None = None
    end: int | None = None


@dataclass(frozen=True)
class QuestionOutcome:
    """What one question found, and which of its answers it missed."""

    question_id: str
    text: str
    figures: Mapping[str, float]
    returned: Sequence[Spot]
    missed: Sequence[Spot]


@dataclass(frozen=True)
class RunComparison:
    """Two runs by one figure over the questions that both asked."""

    metric: str
    earlier: Estimate
    later: Estimate
    difference: PairedDifference


class Evaluations:
    """Runs question sets against a collection's search, stores the figures, and compares two runs."""

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
        metrics = [ranking_metrics.parse_metric(name) for name in names]
        with self._store.read() as connection:
            set_row = find_set(connection, actor, set_id)
            counted = select_countable(read_questions(connection, set_id))
            row = find(connection, set_row["collection_id"], filter_readable(actor))
        base = settings or SearchSettings(**row["search"])
        deep = replace(base, k=choose_passage_count(metrics))
        began = time.monotonic()
        passages = 0
        rows = []
        for number, question in enumerate(counted, start=1):
            search_hits = self._search.search(actor, row["id"], question.text, deep)
            passages = search_hits.passages
            spans = [PassageSpan(hit.document_id, hit.start, hit.end) for hit in search_hits.hits]
            rows.append(_score_question(question, spans, metrics))
            if note is not None:
                note(number, len(counted))
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
            name: ranking_metrics.estimate([question_row["figures"][name] for question_row in rows])
            for name in rows[0]["figures"]
        }
        settings = {"chunking": row["chunking"], "embedding_model": row["embedding_model"], **asdict(used)}
        evaluation_id = make_id()
        values = {"id": evaluation_id, "collection_id": row["id"], "set_id": set_id, "settings": settings}
        values |= {"figures": {name: asdict(figure) for name, figure in figures.items()}, "passages": passages}
        with self._store.write() as connection:
            find_set(connection, actor, set_id)
            insertion = insert(evaluations).values(
                **values, took_ms=took_ms, created_by=actor.user_id, created_at=utc_now()
            )
            connection.execute(insertion)
            rows = [{"evaluation_id": evaluation_id, **question_row} for question_row in rows]
            for start in range(0, len(rows), _INSERTED):
                connection.execute(insert(evaluation_results), rows[start : start + _INSERTED])
        return self.get(actor, evaluation_id)

    def list(self, actor: Actor, collection_id: str) -> Sequence[Evaluation]:
        """A collection's runs, the newest first."""
        with self._store.read() as connection:
            find(connection, collection_id, filter_readable(actor))
            query = select(evaluations).where(_E.collection_id == collection_id)
            rows = connection.execute(query.order_by(_E.created_at.desc(), _E.id.desc())).mappings()
            return [_build_evaluation(row) for row in rows]

    def get(self, actor: Actor, evaluation_id: str) -> Evaluation:
        """One by its id."""
        with self._store.read() as connection:
            joined = evaluations.join(collections, collections.c.id == _E.collection_id)
            query = select(evaluations).select_from(joined).where(_E.id == evaluation_id, filter_readable(actor))
            row = connection.execute(query).mappings().first()
        if row is None:
            raise NotFound("There is no such evaluation.", "It was deleted, or it belongs to somebody else.")
        return _build_evaluation(row)

    def outcomes(self, actor: Actor, evaluation_id: str) -> Sequence[QuestionOutcome]:
        """Each question of a run, as it was asked; what was missed is held against the judgements of today."""
        run = self.get(actor, evaluation_id)
        with self._store.read() as connection:
            judged = {question.id: question for question in read_questions(connection, run.set_id)}
            query = select(evaluation_results).where(_R.evaluation_id == evaluation_id).order_by(_R.question_id)
            rows = connection.execute(query).mappings().all()
            in_collection = documents.c.collection_id == run.collection_id
            titled = connection.execute(select(documents.c.id, documents.c.title).where(in_collection))
            titles = {document.id: document.title for document in titled}
        return [_build_outcome(row, judged[row["question_id"]], titles) for row in rows if row["question_id"] in judged]

    def compare(self, actor: Actor, earlier_id: str, later_id: str, name: str = "ndcg@10") -> RunComparison:
        """Two runs of one set, question by question, with the paired test."""
        earlier_run = self.get(actor, earlier_id)
        later_run = self.get(actor, later_id)
        if earlier_run.set_id != later_run.set_id:
            raise Conflict("They can't be compared.", "They asked different question sets.")
        by_run = []
        with self._store.read() as connection:
            for run in (earlier_run, later_run):
                query = select(_R.question_id, _R.figures).where(_R.evaluation_id == run.id)
                by_run.append({row[0]: row[1][name] for row in connection.execute(query) if name in row[1]})
        shared_ids = [key for key in by_run[0] if key in by_run[1]]
        if not shared_ids:
            raise InvalidInput(f"They can't be compared by {name}.", "They share no question with that figure.")
        first, second = ([figures[key] for key in shared_ids] for figures in by_run)
        difference = ranking_metrics.compare(first, second)
        return RunComparison(name, ranking_metrics.estimate(first), ranking_metrics.estimate(second), difference)

    def delete(self, actor: Actor, evaluation_id: str) -> None:
        """Remove a run."""
        filter_writable(actor)
        run = self.get(actor, evaluation_id)
        with self._store.write() as connection:
            row = find(connection, run.collection_id, filter_writable(actor))
            connection.execute(delete(evaluation_results).where(_R.evaluation_id == evaluation_id))
            connection.execute(delete(evaluations).where(_E.id == evaluation_id))
            audit.record(connection, actor, "evaluation.delete", row["name"], evaluation=evaluation_id)


def select_countable(candidates: Sequence[JudgedQuestion]) -> list[JudgedQuestion]:
    """The approved questions that something answers; InvalidInput when there are none."""
    counted = [
        question
        for question in candidates
        if question.is_approved and any(judged.grade > 0 for judged in question.judgements)
    ]
    if not counted:
        raise InvalidInput("There is nothing to ask.", "The set has no approved question with an answer.", "Add some.")
    return counted


def choose_passage_count(metrics: Sequence[RankingMetric]) -> int:
    """How many passages the search is asked for."""
    if not metrics:
        raise InvalidInput("Name a figure.", "", f"For example {ranking_metrics.DEFAULT[0]}.", "metric")
    return min(MOST_HITS, PASSAGES_PER_PLACE * max(metric.k for metric in metrics))


def fold(spans: Sequence[PassageSpan], judged: Sequence[Judgement]) -> dict[str, PassageSpan]:
    """The ranking as keys, each once, the best first, with the span that stands for it.

    A key names a judged passage that a span overlaps, else the document (or, among judged passages, the span itself).
    """
    by_document: dict[str, list[Judgement]] = {}
    for judgement in judged:
        by_document.setdefault(judgement.document_id, []).append(judgement)
    by_passages = any(judgement.start is not None for judgement in judged)
    folded: dict[str, PassageSpan] = {}
    for span in spans:
        in_document = by_document.get(span.document_id, ())
        keys = [
            build_judgement_key(judgement)
            for judgement in in_document
            if judgement.start is not None and _has_overlap(span, judgement)
        ]
        if not keys:
            whole = not by_passages or any(judgement.start is None for judgement in in_document)
            keys = [span.document_id if whole else f"{span.document_id}/{span.start}-{span.end}"]
        for key in keys:
            folded.setdefault(key, span)
    return folded


def collect_grades(judged: Sequence[Judgement]) -> dict[str, int]:
    """The grade of each judged thing by its key."""
    grades: dict[str, int] = {}
    for judgement in judged:
        grades[build_judgement_key(judgement)] = max(
            judgement.grade, grades.get(build_judgement_key(judgement), judgement.grade)
        )
    return grades


def build_judgement_key(judged: Judgement) -> str:
    """Names a judged document or passage."""
    return judged.document_id if judged.start is None else f"{judged.document_id}:{judged.start}-{judged.end}"


def _has_overlap(span: PassageSpan, judged: Judgement) -> bool:
    start = judged.start or 0
    end = judged.end or 0
    shared = min(span.end, end) - max(span.start, start)
    return shared > 0 and 2 * shared >= min(span.end - span.start, end - start)


def _score_question(
    question: JudgedQuestion, spans: Sequence[PassageSpan], metrics: Sequence[RankingMetric]
) -> dict[str, Any]:
    folded = fold(spans, question.judgements)
    grades = collect_grades(question.judgements)
    ranked = [*folded]
    found_rows = [
        {"key": key, "document_id": span.document_id, "start": span.start, "end": span.end, "rank": rank}
        for rank, (key, span) in enumerate(folded.items(), start=1)
        if rank <= _SHOWN or grades.get(key, 0) > 0
    ]
    figures = {str(metric): metric.compute(ranked, grades) for metric in metrics}
    return {"question_id": question.id, "figures": figures, "found": found_rows}


def _build_outcome(row: RowMapping, question: JudgedQuestion, titles: Mapping[str, str]) -> QuestionOutcome:
    grades = collect_grades(question.judgements)
    gone = "(deleted)"
    returned = [
        Spot(
            spot["document_id"],
            titles.get(spot["document_id"], gone),
            grades.get(spot["key"], 0),
            spot["rank"],
            spot["start"],
            spot["end"],
        )
        for spot in row["found"]
    ]
    returned_keys = {spot["key"] for spot in row["found"]}
    missed = [
        Spot(
            judgement.document_id,
            titles.get(judgement.document_id, gone),
            judgement.grade,
            None,
            judgement.start,
            judgement.end,
        )
        for judgement in question.judgements
        if judgement.grade > 0 and build_judgement_key(judgement) not in returned_keys
    ]
    return QuestionOutcome(question.id, question.text, row["figures"], returned, missed)


def _build_evaluation(row: RowMapping) -> Evaluation:
    columns = {name: row[name] for name in Evaluation.__dataclass_fields__}
    return Evaluation(**columns | {"figures": {name: Estimate(**figure) for name, figure in row["figures"].items()}})
