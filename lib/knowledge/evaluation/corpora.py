"""Whole corpora at once: taken into a collection in large steps, or evaluated in memory without any collection.

A line of a corpus is plain text, which needs no process to be read in. Its passages are embedded first and then
written with their documents in one transaction a step, ready to be found: whatever stops it in the middle, documents
are there whole or not at all, and what was embedded stays so.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import Connection, delete, insert, select

from lib.access import audit
from lib.access.permissions import Actor, Permission
from lib.clock import make_id, utc_now
from lib.db.engine import Store
from lib.db.tables import chunks, document_versions, documents
from lib.errors import InvalidInput
from lib.knowledge.access import filter_writable, find
from lib.knowledge.collections import touch
from lib.knowledge.documents.chunking import Chunking, Piece
from lib.knowledge.documents.document_service import KINDS, About
from lib.knowledge.embedding import BUNDLED, compute_sha256
from lib.knowledge.evaluation import ranking_metrics
from lib.knowledge.evaluation.corpus import CorpusEntry, CorpusQuestion
from lib.knowledge.evaluation.evaluations import choose_passage_count, collect_grades, fold
from lib.knowledge.evaluation.pool import Note, PassagePools, Text
from lib.knowledge.evaluation.questions import Judgement
from lib.knowledge.evaluation.ranking_metrics import Estimate
from lib.knowledge.settings import Mode, SearchSettings
from lib.knowledge.words import FORM, detect_language, join_stems

STEP = 512  # documents that are embedded, then written, together
_INSERTED = 500
_IN_ONE = 400
_LONGEST = 2_000_000
_D = documents.c
_V = document_versions.c
_K = chunks.c
T = TypeVar("T")


@dataclass(frozen=True)
class TakenIn:
    """How many documents came, were there already as they are, or had no words."""

    added: int
    unchanged: int
    empty: int
    passages: int  # of those added


@dataclass(frozen=True)
class CorpusFigures:
    """A test collection's figures, and those of each question by its id."""

    figures: Mapping[str, Estimate]
    by_question: Mapping[str, Mapping[str, float]]
    passages: int


class Corpora:
    """Takes them in, or evaluates on them."""

    def __init__(self, store: Store, pools: PassagePools) -> None:
        self._store = store
        self._pools = pools

    def take_in(
        self,
        actor: Actor,
        collection_id: str,
        entries: Iterable[CorpusEntry],
        about: About | None = None,
        note: Callable[[int], None] | None = None,
    ) -> TakenIn:
        """Add every entry as a document whose source name is its id; `note` hears how many are through."""
        filter_writable(actor)
        about = about or About()
        if about.kind not in KINDS:
            raise InvalidInput(f"There is no kind {about.kind}.", "", f"Choose of {', '.join(KINDS)}.", "kind")
        with self._store.read() as connection:
            collection = find(connection, collection_id, filter_writable(actor))
        chunking = Chunking(**collection["chunking"])
        model = collection["embedding_model"]
        added = unchanged = empty = passages = through = 0
        for step in _split_batches(entries, STEP):
            texts = {entry.id: entry for entry in step if entry.whole}
            changed = self._select_changed(collection_id, texts)
            new_texts = [Text(entry.id, _choose_title(entry), entry.whole[:_LONGEST]) for entry in changed]
            pieces = self._pools.cut(actor, model, new_texts, chunking)
            whole = [
                text.text[p.start : p.end]
                for text, document_pieces in zip(new_texts, pieces, strict=True)
                for p in document_pieces
            ]
            self._pools.vectors(actor, model, whole)
            if new_texts:
                self._write(actor, collection_id, list(zip(new_texts, pieces, strict=True)), about)
            through = through + len(step)
            passages = passages + len(whole)
            empty += sum(not entry.whole for entry in step)
            added = added + len(new_texts)
            unchanged = unchanged + len(texts) - len(new_texts)
            if note is not None:
                note(through)
        return TakenIn(added, unchanged, empty, passages)

    def evaluate(
        self,
        actor: Actor,
        entries: Iterable[CorpusEntry],
        questions: Sequence[CorpusQuestion],
        settings: SearchSettings | None = None,
        names: Sequence[str] = ranking_metrics.DEFAULT,
        *,
        chunking: Chunking | None = None,
        model: str = BUNDLED,
        note: Note | None = None,
    ) -> CorpusFigures:
        """The figures of a test collection in memory; nothing is kept but vectors."""
        import numpy as np

        actor.require(Permission.MANAGE_KNOWLEDGE_BASE)
        metrics = [ranking_metrics.parse_metric(name) for name in names]
        settings = settings or SearchSettings()
        texts = [Text(entry.id, _choose_title(entry), entry.whole[:_LONGEST]) for entry in entries if entry.whole]
        with_vectors = settings.mode is not Mode.KEYWORD
        pool = self._pools.make(actor, model, texts, chunking or Chunking(), note, with_vectors=with_vectors)
        vectors = self._pools.vectors(actor, model, [question.text for question in questions]) if with_vectors else {}
        deep = SearchSettings(settings.mode, choose_passage_count(metrics), settings.rerank)
        figures_by_question: dict[str, dict[str, float]] = {}
        for question in questions:
            raw = vectors.get(compute_sha256(question.text))
            vector = np.frombuffer(raw, dtype="<f4") if raw is not None else None
            judged = [Judgement(name, grade) for name, grade in question.grades.items()]
            ranked = [*fold(pool.search(question.text, vector, deep), judged)]
            grades = collect_grades(judged)
            figures_by_question[question.id or question.text] = {
                str(metric): metric.compute(ranked, grades) for metric in metrics
            }
        figures = {
            str(metric): ranking_metrics.estimate([row[str(metric)] for row in figures_by_question.values()])
            for metric in metrics
        }
        return CorpusFigures(figures, figures_by_question, pool.index.size)

    def _select_changed(self, collection_id: str, entries: Mapping[str, CorpusEntry]) -> list[CorpusEntry]:
        """Those that are not there, or there with other words."""
        stored: dict[str, tuple[str, str]] = {}
        ids = [*entries]
        with self._store.read() as connection:
            for start in range(0, len(ids), _IN_ONE):
                conditions = _make_conditions(collection_id, ids[start : start + _IN_ONE])
                rows = connection.execute(select(_D.source_name, _D.sha256, _D.title).where(*conditions))
                stored.update((row.source_name, (row.sha256, row.title)) for row in rows)
        return [
            entry
            for entry in entries.values()
            if stored.get(entry.id) != (_hash_text(entry.whole), _choose_title(entry))
        ]

    def _write(
        self, actor: Actor, collection_id: str, texts_with_pieces: Sequence[tuple[Text, Sequence[Piece]]], about: About
    ) -> None:
        """Put documents in with their passages; those of the same names go."""
        now = utc_now()
        rows = []
        versions = []
        passages = []
        with self._store.write(bulk=True) as connection:
            find(connection, collection_id, filter_writable(actor))
            ids = _remove_replaced(connection, collection_id, [text.id for text, _ in texts_with_pieces])
            for text, pieces in texts_with_pieces:
                document, version = ids.get(text.id, (make_id(), 0))
                row = _build_document_row(collection_id, document, version + 1, text, about, now, actor)
                rows.append(row | {"chunks_total": len(pieces), "chunks_done": len(pieces)})
                version_row = {"document_id": document, "version": version + 1, "text": text.text}
                versions.append(version_row | {"original": text.text.encode()})
                passages += [_build_passage_row(row, number, piece, text) for number, piece in enumerate(pieces)]
            for table, values in ((documents, rows), (document_versions, versions), (chunks, passages)):
                for start in range(0, len(values), _INSERTED):
                    connection.execute(insert(table), values[start : start + _INSERTED])
            touch(connection, collection_id)
            audit.record(connection, actor, "document.add_many", collection_id, documents=len(rows))


def _remove_replaced(connection: Connection, collection_id: str, names: Sequence[str]) -> dict[str, tuple[str, int]]:
    """Take out the documents of these names; the id and the newest version of each."""
    replaced: dict[str, tuple[str, int]] = {}
    for batch in _split_batches(names, _IN_ONE):
        rows = connection.execute(
            select(_D.id, _D.source_name, _D.version).where(*_make_conditions(collection_id, batch))
        ).all()
        replaced.update((row.source_name, (row.id, row.version)) for row in rows)
        ids = [row.id for row in rows]
        for column in (_K.document_id, _V.document_id, _D.id):
            connection.execute(delete(column.table).where(column.in_(ids)))
    return replaced


def _make_conditions(collection_id: str, names: Sequence[str]) -> Iterator[Any]:
    yield from (_D.collection_id == collection_id, _D.source == "command", _D.source_name.in_(names))


def _build_document_row(
    collection_id: str, document_id: str, version: int, text: Text, about: About, now: Any, actor: Actor
) -> dict[str, Any]:
    return {
        "id": document_id,
        "collection_id": collection_id,
        "title": text.title[:300],
        "kind": about.kind,
        "tags": list(about.tags),
        "dated": about.dated,
        "source": "command",
        "source_name": text.id,
        "media_type": "text/plain",
        "size": len(text.text.encode()),
        "sha256": _hash_text(text.text),
        "language": detect_language([text.text]),
        "words_form": FORM,
        "state": "ready",
        "version": version,
        "serving_version": version,
        "created_by": actor.user_id,
        "created_at": now,
        "updated_at": now,
    }


def _build_passage_row(row: Mapping[str, Any], number: int, piece: Piece, text: Text) -> dict[str, Any]:
    words = text.text[piece.start : piece.end]
    return {
        "collection_id": row["collection_id"],
        "document_id": row["id"],
        "version": row["version"],
        "ordinal": number,
        "start": piece.start,
        "end": piece.end,
        "heading": piece.heading[:300],
        "text": words,
        "words": join_stems(row["title"], piece.heading, words, row["language"]),
        "text_sha256": compute_sha256(words),
    }


def _split_batches(values: Iterable[T], size: int) -> Iterator[list[T]]:
    remaining = iter(values)
    while step := list(islice(remaining, size)):
        yield step


def _choose_title(entry: CorpusEntry) -> str:
    return (entry.title or entry.id)[:300]


def _hash_text(text: str) -> str:
    return hashlib.sha256(text[:_LONGEST].encode()).hexdigest()
