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
from lib.clock import new_id, utc_now
from lib.db.engine import Store
from lib.db.tables import chunks, document_versions, documents
from lib.errors import InvalidInput
from lib.knowledge.access import find, writable
from lib.knowledge.collections import touch
from lib.knowledge.documents.chunking import Chunking, Piece
from lib.knowledge.documents.document_service import KINDS, About
from lib.knowledge.embedding import BUNDLED, sha256_of
from lib.knowledge.evaluation import ranking_metrics
from lib.knowledge.evaluation.corpus import Asked, Entry
from lib.knowledge.evaluation.evaluations import fold, grades_of, passages_for
from lib.knowledge.evaluation.pool import Note, Pools, Text
from lib.knowledge.evaluation.questions import Judgement
from lib.knowledge.evaluation.ranking_metrics import Estimate
from lib.knowledge.settings import Mode, SearchSettings
from lib.knowledge.words import language_of, words_of

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

    def __init__(self, store: Store, pools: Pools) -> None:
        self._store = store
        self._pools = pools

    def take_in(
        self,
        actor: Actor,
        collection_id: str,
        entries: Iterable[Entry],
        about: About | None = None,
        note: Callable[[int], None] | None = None,
    ) -> TakenIn:
        """Add every entry as a document whose source name is its id; `note` hears how many are through."""
        writable(actor)
        about = about or About()
        if about.kind not in KINDS:
            raise InvalidInput(f"There is no kind {about.kind}.", "", f"Choose of {', '.join(KINDS)}.", "kind")
        with self._store.read() as connection:
            collection = find(connection, collection_id, writable(actor))
        chunking = Chunking(**collection["chunking"])
        model = collection["embedding_model"]
        added = unchanged = empty = passages = through = 0
        for step in _steps(entries, STEP):
            texts = {entry.id: entry for entry in step if entry.whole}
            changed = self._changed(collection_id, texts)
            made = [Text(one.id, _title(one), one.whole[:_LONGEST]) for one in changed]
            pieces = self._pools.cut(actor, model, made, chunking)
            whole = [text.text[p.start : p.end] for text, mine in zip(made, pieces, strict=True) for p in mine]
            self._pools.vectors(actor, model, whole)
            if made:
                self._write(actor, collection_id, list(zip(made, pieces, strict=True)), about)
            through = through + len(step)
            passages = passages + len(whole)
            empty += sum(not entry.whole for entry in step)
            added = added + len(made)
            unchanged = unchanged + len(texts) - len(made)
            if note is not None:
                note(through)
        return TakenIn(added, unchanged, empty, passages)

    def evaluate(
        self,
        actor: Actor,
        entries: Iterable[Entry],
        asked: Sequence[Asked],
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
        wanted = [ranking_metrics.metric(name) for name in names]
        settings = settings or SearchSettings()
        texts = [Text(one.id, _title(one), one.whole[:_LONGEST]) for one in entries if one.whole]
        with_vectors = settings.mode is not Mode.KEYWORD
        pool = self._pools.make(actor, model, texts, chunking or Chunking(), note, with_vectors=with_vectors)
        vectors = self._pools.vectors(actor, model, [one.text for one in asked]) if with_vectors else {}
        deep = SearchSettings(settings.mode, passages_for(wanted), settings.rerank)
        found: dict[str, dict[str, float]] = {}
        for one in asked:
            raw = vectors.get(sha256_of(one.text))
            vector = np.frombuffer(raw, dtype="<f4") if raw is not None else None
            judged = [Judgement(name, grade) for name, grade in one.grades.items()]
            ranked = [*fold(pool.search(one.text, vector, deep), judged)]
            grades = grades_of(judged)
            found[one.id or one.text] = {str(figure): figure.of(ranked, grades) for figure in wanted}
        figures = {str(one): ranking_metrics.estimate([row[str(one)] for row in found.values()]) for one in wanted}
        return CorpusFigures(figures, found, pool.index.size)

    def _changed(self, collection_id: str, entries: Mapping[str, Entry]) -> list[Entry]:
        """Those that are not there, or there with other words."""
        there: dict[str, tuple[str, str]] = {}
        ids = [*entries]
        with self._store.read() as connection:
            for start in range(0, len(ids), _IN_ONE):
                mine = _same(collection_id, ids[start : start + _IN_ONE])
                rows = connection.execute(select(_D.source_name, _D.sha256, _D.title).where(*mine))
                there.update((row.source_name, (row.sha256, row.title)) for row in rows)
        return [one for one in entries.values() if there.get(one.id) != (_sha256(one.whole), _title(one))]

    def _write(
        self, actor: Actor, collection_id: str, made: Sequence[tuple[Text, Sequence[Piece]]], about: About
    ) -> None:
        """Put documents in with their passages; those of the same names go."""
        now = utc_now()
        rows = []
        versions = []
        passages = []
        with self._store.write(bulk=True) as connection:
            find(connection, collection_id, writable(actor))
            ids = _replaced(connection, collection_id, [text.id for text, _ in made])
            for text, pieces in made:
                document, version = ids.get(text.id, (new_id(), 0))
                row = _document(collection_id, document, version + 1, text, about, now, actor)
                rows.append(row | {"chunks_total": len(pieces), "chunks_done": len(pieces)})
                kept = {"document_id": document, "version": version + 1, "text": text.text}
                versions.append(kept | {"original": text.text.encode()})
                passages += [_passage(row, number, piece, text) for number, piece in enumerate(pieces)]
            for table, values in ((documents, rows), (document_versions, versions), (chunks, passages)):
                for start in range(0, len(values), _INSERTED):
                    connection.execute(insert(table), values[start : start + _INSERTED])
            touch(connection, collection_id)
            audit.record(connection, actor, "document.add_many", collection_id, documents=len(rows))


def _replaced(connection: Connection, collection_id: str, names: Sequence[str]) -> dict[str, tuple[str, int]]:
    """Take out the documents of these names; the id and the newest version of each."""
    found: dict[str, tuple[str, int]] = {}
    for some in _steps(names, _IN_ONE):
        rows = connection.execute(select(_D.id, _D.source_name, _D.version).where(*_same(collection_id, some))).all()
        found.update((row.source_name, (row.id, row.version)) for row in rows)
        ids = [row.id for row in rows]
        for column in (_K.document_id, _V.document_id, _D.id):
            connection.execute(delete(column.table).where(column.in_(ids)))
    return found


def _same(collection_id: str, names: Sequence[str]) -> Iterator[Any]:
    yield from (_D.collection_id == collection_id, _D.source == "command", _D.source_name.in_(names))


def _document(
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
        "sha256": _sha256(text.text),
        "language": language_of([text.text]),
        "state": "ready",
        "version": version,
        "serving_version": version,
        "created_by": actor.user_id,
        "created_at": now,
        "updated_at": now,
    }


def _passage(row: Mapping[str, Any], number: int, piece: Piece, text: Text) -> dict[str, Any]:
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
        "words": words_of(row["title"], piece.heading, words, row["language"]),
        "text_sha256": sha256_of(words),
    }


def _steps(values: Iterable[T], size: int) -> Iterator[list[T]]:
    left = iter(values)
    while step := list(islice(left, size)):
        yield step


def _title(entry: Entry) -> str:
    return (entry.title or entry.id)[:300]


def _sha256(text: str) -> str:
    return hashlib.sha256(text[:_LONGEST].encode()).hexdigest()
