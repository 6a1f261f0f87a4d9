"""Finding passages: the question's words and its vector held against a collection's index, and why each was found."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, and_, or_, select

from lib.access.permissions import Actor
from lib.db.engine import Store
from lib.db.tables import chunks, documents
from lib.errors import InvalidInput, LLMManagerError
from lib.knowledge.access import filter_readable, find
from lib.knowledge.collections import make_storable
from lib.knowledge.embedding import Embedder
from lib.knowledge.settings import Mode, SearchSettings
from lib.knowledge.words import prepare

if TYPE_CHECKING:
    import numpy as np

    from lib.knowledge.fusion import Ranking
    from lib.knowledge.index import Index
    from lib.knowledge.indexes import Indexes

LONGEST_QUESTION = 4_000
READ_BY_MODEL = 40  # passages that a re-ranking model is given
_K = chunks.c
_D = documents.c


@dataclass(frozen=True)
class DocumentFilter:
    """Which documents may be found; empty is any. A passage's document has one of the tags."""

    documents: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    since: date | None = None
    until: date | None = None

    @property
    def narrows(self) -> bool:
        """Whether anything is asked for."""
        return self != DocumentFilter()


@dataclass(frozen=True)
class PassageHit:
    """A passage that was found. Ranks count from 1 within each leg; None where a leg does not have it."""

    chunk_id: int
    collection_id: str
    document_id: str
    title: str
    ordinal: int
    heading: str
    page_first: int | None
    page_last: int | None
    start: int
    end: int
    text: str
    score: float
    vector_score: float | None
    vector_rank: int | None
    keyword_score: float | None
    keyword_rank: int | None
    before: str = ""
    after: str = ""
    relevance: float | None = None  # as the re-ranking model says


@dataclass(frozen=True)
class SearchHits:
    """The answer to a question: the hits, the best first, and how they were looked for."""

    hits: list[PassageHit]
    settings: SearchSettings
    language: str
    passages: int
    took_ms: int
    failure: str = ""  # why the re-ranking model was not heard; the order is then that of words and meaning


class Passages:
    """Searches collections that the actor may read."""

    def __init__(self, store: Store, embedder: Embedder, indexes: "Indexes") -> None:
        self._store = store
        self._embedder = embedder
        self._indexes = indexes

    def search(
        self,
        actor: Actor,
        collection_id: str,
        question: str,
        settings: SearchSettings | None = None,
        only: DocumentFilter | None = None,
    ) -> SearchHits:
        """The passages that answer a question best; `settings` None: those of the collection."""
        question = make_storable(question).strip()
        if not question or len(question) > LONGEST_QUESTION:
            raise InvalidInput("Ask something.", f"Up to {LONGEST_QUESTION:,} characters are read.", "", "question")
        began = time.monotonic()
        with self._store.read() as connection:
            row = find(connection, collection_id, filter_readable(actor))
        settings = settings or SearchSettings(**row["search"])
        index = self._indexes.of(row)
        vector = None
        if settings.mode is not Mode.KEYWORD and index.has_vector.any():
            vector = self._embedder.question(actor, row["embedding_model"], question)
        with self._store.read() as connection:
            allowed = _allow(connection, index, collection_id, only or DocumentFilter())
            model = settings.reranker if settings.rerank else ""
            deeper = replace(settings, k=max(settings.k, READ_BY_MODEL)) if model else settings
            hits = _read_hits(connection, collection_id, index, rank_passages(index, question, vector, deeper, allowed))
        hits, failure = self._read_again(actor, model, question, hits) if model and hits else (hits, "")
        took = round((time.monotonic() - began) * 1000)
        return SearchHits(hits[: settings.k], settings, index.language, index.size, took, failure)

    def _read_again(
        self, actor: Actor, model: str, question: str, hits: list[PassageHit]
    ) -> tuple[list[PassageHit], str]:
        """The hits in the order of a re-ranking model, or as they are and why."""
        try:
            scores = self._embedder.relevance(actor, model, question, [hit.text for hit in hits])
        except LLMManagerError as error:
            return hits, str(error)
        rescored = [replace(hit, relevance=score) for hit, score in zip(hits, scores, strict=True)]
        return sorted(rescored, key=lambda hit: -(hit.relevance or 0.0)), ""


def rank_passages(
    index: "Index", question: str, vector: Any, settings: SearchSettings, allowed: Any = None
) -> "Ranking":
    """The passages of an index that answer a question best: what every search and every trial comes down to."""
    from lib.knowledge import fusion

    stems = prepare(question, index.language) or prepare(question, "")
    return fusion.rank(index, settings.mode, vector, stems, allowed, settings.rerank, settings.k)


def _allow(connection: Connection, index: "Index", collection_id: str, only: DocumentFilter) -> "np.ndarray | None":
    """A truth for each passage; None when nothing is narrowed."""
    if not only.narrows:
        return None
    import numpy as np

    conditions = [_D.collection_id == collection_id]
    if only.documents:
        conditions.append(_D.id.in_(only.documents))
    if only.kinds:
        conditions.append(_D.kind.in_(only.kinds))
    if only.since is not None:
        conditions.append(_D.dated >= only.since)
    if only.until is not None:
        conditions.append(_D.dated <= only.until)
    rows = connection.execute(select(_D.id, _D.tags).where(*conditions))
    document_ids = {row.id for row in rows if not only.tags or set(only.tags) & set(row.tags)}
    of_documents = np.asarray([document_id in document_ids for document_id in index.document_ids], dtype=bool)
    return of_documents[index.documents] if len(of_documents) else np.zeros(0, dtype=bool)


def _read_hits(connection: Connection, collection_id: str, index: "Index", ranking: Any) -> list[PassageHit]:
    ids = [int(index.ids[row]) for row in ranking.rows]
    query = select(chunks, _D.title).select_from(chunks.join(documents, _D.id == _K.document_id))
    rows = {row["id"]: row for row in connection.execute(query.where(_K.id.in_(ids))).mappings()}
    around = _read_neighbours(connection, [rows[chunk_id] for chunk_id in ids if chunk_id in rows])

    def known_score(value: float) -> float | None:
        return None if value != value else float(value)

    hits: list[PassageHit] = []
    for n, chunk_id in enumerate(ids):
        if (row := rows.get(chunk_id)) is None:
            continue  # it went while we looked
        ranks = [known_score(ranking.vector_ranks[n]), known_score(ranking.keyword_ranks[n])]
        position = (row["document_id"], row["version"], row["ordinal"])
        names = ("document_id", "title", "ordinal", "heading", "page_first", "page_last", "start", "end", "text")
        hits.append(
            PassageHit(
                chunk_id=chunk_id,
                collection_id=collection_id,
                **{name: row[name] for name in names},
                score=float(ranking.scores[n]),
                vector_score=known_score(ranking.vector_scores[n]),
                vector_rank=int(ranks[0]) if ranks[0] is not None else None,
                keyword_score=known_score(ranking.keyword_scores[n]),
                keyword_rank=int(ranks[1]) if ranks[1] is not None else None,
                before=around.get((position[0], position[1], position[2] - 1), ""),
                after=around.get((position[0], position[1], position[2] + 1), ""),
            )
        )
    return hits


def _read_neighbours(connection: Connection, rows: Sequence[Any]) -> dict[tuple[str, int, int], str]:
    """The passages before and after each."""
    if not rows:
        return {}
    beside = [
        and_(
            _K.document_id == row["document_id"],
            _K.version == row["version"],
            _K.ordinal.in_((row["ordinal"] - 1, row["ordinal"] + 1)),
        )
        for row in rows
    ]
    query = select(_K.document_id, _K.version, _K.ordinal, _K.text).where(or_(*beside))
    return {(row[0], row[1], row[2]): row[3] for row in connection.execute(query)}
