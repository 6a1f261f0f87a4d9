"""Finds the best way to cut and search a collection by its own questions, beside what serves.

A study is quoted first: what has to be embedded, in time and money. Its trials are rows, each done once: whatever
stops a study, a budget or a kill, it goes on where it was, and no text is embedded twice. One process holds a study
for a minute and renews that as long as it lives. Applying a trial sets the search and, where it cuts otherwise, indexes
anew.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace

from sqlalchemy import Connection, RowMapping, insert, or_, select, update

from lib.access import audit
from lib.access.permissions import Actor
from lib.clock import make_id, utc_now
from lib.db.engine import Store
from lib.db.tables import collections, document_versions, documents, studies, trials
from lib.errors import Conflict, InvalidInput, LLMManagerError, NotFound
from lib.knowledge.access import filter_readable, filter_writable, find, load_actor
from lib.knowledge.collections import Collection, Collections
from lib.knowledge.documents.chunking import Chunking, ChunkingStrategy
from lib.knowledge.documents.row_lease import HELD, keep_renewed
from lib.knowledge.embedding import Embedder, compute_sha256
from lib.knowledge.evaluation import ranking_metrics
from lib.knowledge.evaluation.evaluations import collect_grades, fold, select_countable
from lib.knowledge.evaluation.pool import PassagePool, PassagePools, Text, needs_vectors
from lib.knowledge.evaluation.question_sets import find_set
from lib.knowledge.evaluation.questions import JudgedQuestion, read_questions
from lib.knowledge.evaluation.studies import Cell, Grid, State, Study, StudyQuote, StudyTrial, TrialResult, rank_trials
from lib.knowledge.quotes import estimate_cost, estimate_seconds
from lib.knowledge.settings import Mode, SearchSettings
from lib.providers.prices.price_book import PriceBook
from lib.tokens.text_estimate import estimate_tokens

_S = studies.c
_T = trials.c
_D = documents.c
_V = document_versions.c
Note = Callable[[int, int], None]


class StudyGone(Exception):
    """The study was stopped or deleted, or another process has it."""


class Optimiser:
    """Quotes, runs, shows and applies studies."""

    def __init__(
        self, store: Store, embedder: Embedder, pools: PassagePools, collections: Collections, prices: PriceBook
    ) -> None:
        self._store = store
        self._embedder = embedder
        self._pools = pools
        self._collections = collections
        self._prices = prices
        self._closed = threading.Event()
        self.try_search = try_search  # how a search is tried; it may be watched

    def quote(self, actor: Actor, set_id: str, grid: Grid | None = None) -> StudyQuote:
        """The time and money that a study would take; nothing is embedded or stored for it."""
        row, questions, texts = self._read_materials(actor, set_id)
        cells = (grid or Grid()).cells(_build_cell(row))
        model = row["embedding_model"]
        by_sha: dict[str, str] = {}
        if needs_vectors([cell.search.mode for cell in cells]):
            by_sha = {compute_sha256(question.text): question.text for question in questions}
        passages = 0
        more_texts = 0
        more_tokens = 0
        for chunking in dict.fromkeys(cell.chunking for cell in cells):
            semantic = (
                chunking.strategy is ChunkingStrategy.SEMANTIC
            )  # needs vectors to be cut, so its passages are a guess
            guessed = Chunking(ChunkingStrategy.RECURSIVE, chunking.size, 0) if semantic else chunking
            pieces = self._pools.cut(actor, model, texts, guessed)
            passages += sum(map(len, pieces))
            if semantic:  # every sentence, then every passage
                more_texts += 2 * sum(map(len, pieces))
                more_tokens += 2 * sum(estimate_tokens(text.text) for text in texts)
            elif needs_vectors([cell.search.mode for cell in cells if cell.chunking == chunking]):
                for text, text_pieces in zip(texts, pieces, strict=True):
                    whole = [text.text[piece.start : piece.end] for piece in text_pieces]
                    by_sha |= {compute_sha256(passage): passage for passage in whole}
        missing = by_sha.keys() - self._embedder.find_embedded(model, [*by_sha])
        tokens = more_tokens + sum(estimate_tokens(by_sha[sha]) for sha in missing)
        return StudyQuote(
            trials=len(cells),
            ways_to_cut=len({cell.chunking for cell in cells}),
            questions=len(questions),
            passages=passages,
            texts_to_embed=len(missing) + more_texts,
            tokens_to_embed=tokens,
            seconds=estimate_seconds(self._store, model, tokens),
            cost_nano_usd=estimate_cost(self._store, self._prices, model, tokens),
        )

    def begin(self, actor: Actor, set_id: str, grid: Grid | None = None, metric: str = "ndcg@10") -> str:
        """Write a study down, to be run here or by the server; its id."""
        row, _, _ = self._read_materials(actor, set_id)
        current = _build_cell(row)
        cells = (grid or Grid()).cells(current)
        study_id = make_id()
        now = utc_now()
        values = {
            "id": study_id,
            "collection_id": row["id"],
            "set_id": set_id,
            "metric": str(ranking_metrics.parse_metric(metric)),
        }
        values |= {"state": State.WAITING, "created_by": actor.user_id}
        with self._store.write() as connection:
            find(connection, row["id"], filter_writable(actor))
            connection.execute(insert(studies).values(**values, created_at=now, updated_at=now))
            rows = [
                {
                    "study_id": study_id,
                    "ordinal": number,
                    "chunking": asdict(cell.chunking),
                    "search": asdict(cell.search),
                }
                | {"is_current": cell == current.simplify()}
                for number, cell in enumerate(cells)
            ]
            connection.execute(insert(trials), rows)
            audit.record(connection, actor, "study.begin", row["name"], study=study_id, trials=len(cells))
        return study_id

    def run(self, actor: Actor, study_id: str, note: Note | None = None) -> Study:
        """Do what is left of a study here, with calls of the actor; Conflict when another process is at it."""
        worker = make_id()  # of this run: one that was stopped and is still at its last step is another
        with self._store.write() as connection:
            row = _find_study(connection, actor, study_id, writing=True)
            free = or_(_S.worker_until.is_(None), _S.worker_until < utc_now())
            values = {"state": State.RUNNING, "error": None, "worker_id": worker, "worker_until": utc_now() + HELD}
            claimable = (_S.id == study_id) & free & (_S.state != State.DONE)
            if not connection.execute(update(studies).where(claimable).values(**values, updated_at=utc_now())).rowcount:
                if row["state"] == State.DONE:
                    return self.get(actor, study_id)
                raise Conflict("Another process works on the study.", "", "Look at it again in a minute.")
        try:
            with keep_renewed(lambda: self._hold(study_id, worker)):
                self._run_trials(actor, row, worker, note)
        except StudyGone:
            if self._closed.is_set():
                self._end(study_id, worker, State.WAITING, None)
            return self.get(actor, study_id)
        except LLMManagerError as error:
            self._end(study_id, worker, State.FAILED, str(error)[:1000])
            raise
        except Exception as error:
            self._end(study_id, worker, State.FAILED, f"An unexpected error: {type(error).__name__}.")
            raise
        except BaseException:
            self._end(study_id, worker, State.STOPPED, None)
            raise
        self._end(study_id, worker, State.DONE, None)
        return self.get(actor, study_id)

    def run_due(self) -> int:
        """Do what waits, or what a killed process left, as whoever began it; how many studies that were."""
        done = 0
        abandoned = (_S.state == State.RUNNING) & (_S.worker_until < utc_now())
        with self._store.read() as connection:
            query = (
                select(_S.id, _S.created_by, _S.collection_id)
                .where(or_(_S.state == State.WAITING, abandoned))
                .order_by(_S.created_at)
            )
            due = connection.execute(query).all()
        for row in due:
            try:
                self.run(load_actor(self._store, row.created_by, row.collection_id), row.id)
                done += 1
            except Conflict:
                continue  # another process was sooner
            except LLMManagerError as error:
                going = _S.state.in_((State.WAITING, State.RUNNING))
                failed = update(studies).where(_S.id == row.id, going)
                with self._store.write() as connection:
                    connection.execute(failed.values(state=State.FAILED, error=str(error)[:1000], worker_until=None))
        return done

    def close(self) -> None:
        """The process ends: what runs here goes on in another, or at the next start."""
        self._closed.set()

    def stop(self, actor: Actor, study_id: str) -> None:
        """End a study at its next step; it may be run again."""
        with self._store.write() as connection:
            row = _find_study(connection, actor, study_id, writing=True)
            going = (_S.id == study_id) & _S.state.in_((State.WAITING, State.RUNNING))
            connection.execute(update(studies).where(going).values(state=State.STOPPED, worker_until=None))
            audit.record(connection, actor, "study.stop", row["id"])

    def get(self, actor: Actor, study_id: str) -> Study:
        """A study with its trials, the best first."""
        with self._store.read() as connection:
            return _build_study(connection, _find_study(connection, actor, study_id))

    def list(self, actor: Actor, collection_id: str) -> Sequence[Study]:
        """A collection's studies, the newest first."""
        with self._store.read() as connection:
            find(connection, collection_id, filter_readable(actor))
            query = select(studies).where(_S.collection_id == collection_id).order_by(_S.created_at.desc(), _S.id)
            return [_build_study(connection, row) for row in connection.execute(query).mappings().all()]

    def apply(self, actor: Actor, study_id: str, ordinal: int) -> Collection:
        """Search the collection as a trial did; where it was cut otherwise, documents are indexed anew."""
        with self._store.read() as connection:
            study = _build_study(connection, _find_study(connection, actor, study_id, writing=True))
        trial = next((candidate for candidate in study.trials if candidate.ordinal == ordinal), None)
        if trial is None:
            raise NotFound("There is no such trial.")
        search = replace(trial.cell.search, reranker=self._collections.get(actor, study.collection_id).search.reranker)
        now = self._collections.update(actor, study.collection_id, search=search)
        if Cell(now.chunking, now.search).simplify().chunking == trial.cell.chunking:
            return now
        return self._collections.reindex(actor, study.collection_id, chunking=trial.cell.chunking)

    def _run_trials(self, actor: Actor, study: RowMapping, worker: str, note: Note | None) -> None:
        collection, questions, texts = self._read_materials(actor, study["set_id"])
        with self._store.read() as connection:
            query = select(trials).where(_T.study_id == study["id"]).order_by(_T.ordinal)
            trial_rows = connection.execute(query).mappings().all()
        untried = [(row["ordinal"], _build_cell(row)) for row in trial_rows if row["result"] is None]
        model = collection["embedding_model"]
        figure = ranking_metrics.parse_metric(study["metric"])
        done = len(trial_rows) - len(untried)

        def ensure_held(*_: int) -> None:
            if self._closed.is_set() or not self._hold(study["id"], worker):
                raise StudyGone

        vectors: dict[str, bytes] = {}
        if needs_vectors([cell.search.mode for _, cell in untried]):
            vectors = self._pools.vectors(actor, model, [question.text for question in questions], ensure_held)
        for chunking in dict.fromkeys(cell.chunking for _, cell in untried):
            searches = [(ordinal, cell.search) for ordinal, cell in untried if cell.chunking == chunking]
            with_vectors = needs_vectors([search.mode for _, search in searches])
            pool = self._pools.make(actor, model, texts, chunking, ensure_held, with_vectors=with_vectors)
            for ordinal, search in searches:
                ensure_held()
                result = self.try_search(pool, texts, questions, vectors, search, figure)
                with self._store.write() as connection:
                    this_trial = (_T.study_id == study["id"]) & (_T.ordinal == ordinal)
                    connection.execute(update(trials).where(this_trial).values(result=asdict(result)))
                done += 1
                if note is not None:
                    note(done, len(trial_rows))

    def _read_materials(self, actor: Actor, set_id: str) -> tuple[RowMapping, Sequence[JudgedQuestion], Sequence[Text]]:
        """The collection's row, its countable questions, and its documents' texts."""
        with self._store.read() as connection:
            set_row = find_set(connection, actor, set_id, writing=True)
            row = find(connection, set_row["collection_id"], filter_writable(actor))
            questions = select_countable(read_questions(connection, set_id))
            joined = documents.join(document_versions, (_V.document_id == _D.id) & (_V.version == _D.serving_version))
            query = select(_D.id, _D.title, _V.text).select_from(joined).where(_D.collection_id == row["id"])
            texts = [
                Text(document.id, document.title, document.text or "")
                for document in connection.execute(query.order_by(_D.id))
            ]
        if not texts:
            raise InvalidInput("There is nothing to search.", "The collection has no document that is ready.")
        return row, questions, texts

    def _hold(self, study_id: str, worker: str) -> bool:
        held_here = (_S.id == study_id) & (_S.worker_id == worker) & (_S.state == State.RUNNING)
        with self._store.write() as connection:
            held = update(studies).where(held_here).values(worker_until=utc_now() + HELD)
            return bool(connection.execute(held).rowcount)

    def _end(self, study_id: str, worker: str, state: State, error: str | None) -> None:
        held_here = (_S.id == study_id) & (_S.worker_id == worker)
        values = {"state": state, "error": error, "worker_id": None, "worker_until": None, "updated_at": utc_now()}
        with self._store.write() as connection:
            connection.execute(update(studies).where(held_here).values(**values))


def try_search(
    pool: PassagePool,
    texts: Sequence[Text],
    questions: Sequence[JudgedQuestion],
    vectors: dict[str, bytes],
    search: SearchSettings,
    figure: ranking_metrics.RankingMetric,
) -> TrialResult:
    """Ask every question of a pool with one search."""
    import numpy as np

    whole = {text.id: text.text for text in texts}
    figures: dict[str, float] = {}
    tokens = 0
    began = time.monotonic()
    rankings = []
    for question in questions:
        raw = vectors.get(compute_sha256(question.text)) if search.mode is not Mode.KEYWORD else None
        vector = np.frombuffer(raw, dtype="<f4") if raw is not None else None
        rankings.append(pool.search(question.text, vector, search))
    took_ms = (time.monotonic() - began) * 1000 / len(questions)
    for question, spans in zip(questions, rankings, strict=True):
        figures[question.id] = figure.compute([*fold(spans, question.judgements)], collect_grades(question.judgements))
        tokens += sum(estimate_tokens(whole[span.document_id][span.start : span.end]) for span in spans)
    return TrialResult(
        ranking_metrics.estimate([*figures.values()]), figures, pool.index.size, tokens / len(questions), took_ms
    )


def _find_study(connection: Connection, actor: Actor, study_id: str, *, writing: bool = False) -> RowMapping:
    condition = filter_writable(actor) if writing else filter_readable(actor)
    joined = studies.join(collections, collections.c.id == _S.collection_id)
    matches = connection.execute(select(studies).select_from(joined).where(_S.id == study_id, condition)).mappings()
    if (study_row := matches.first()) is None:
        raise NotFound("There is no such study.", "It was deleted, or it belongs to somebody else.")
    return study_row


def _build_study(connection: Connection, row: RowMapping) -> Study:
    query = select(trials).where(_T.study_id == row["id"]).order_by(_T.ordinal)
    cells = [
        StudyTrial(
            trial_row["ordinal"],
            _build_cell(trial_row),
            trial_row["is_current"],
            TrialResult.read(trial_row["result"]) if trial_row["result"] else None,
        )
        for trial_row in connection.execute(query).mappings()
    ]
    columns = {name: row[name] for name in ("id", "collection_id", "set_id", "metric", "error", "created_at")}
    return Study(**columns, state=State(row["state"]), trials=rank_trials(cells))


def _build_cell(row: RowMapping) -> Cell:
    return Cell(Chunking(**row["chunking"]), SearchSettings(**row["search"]))
