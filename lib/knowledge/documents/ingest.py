"""Takes documents in: parse, cut, embed, and only then let the new version be found, in one transaction.

The queue is the table: of all processes one holds a document for a minute, and renews that as long as it lives; what a
killed process held is taken over. Nothing is lost by stopping anywhere, for what is embedded stays embedded.
"""

import logging
import threading
from typing import Any

from sqlalchemy import RowMapping, delete, insert, or_, select, update

from lib.clock import make_id, utc_now
from lib.db.engine import Store
from lib.db.tables import chunks, collections, document_versions, documents
from lib.errors import LLMManagerError
from lib.knowledge.access import load_actor
from lib.knowledge.collections import touch
from lib.knowledge.documents import sandbox
from lib.knowledge.documents.chunking import Chunking, Piece, cut, find_pages
from lib.knowledge.documents.document_service import PARTIAL
from lib.knowledge.documents.row_lease import HELD, keep_renewed
from lib.knowledge.documents.word_renewal import renew_next
from lib.knowledge.embedding import Embedder, compute_sha256
from lib.knowledge.words import FORM, detect_language, join_stems

log = logging.getLogger(__name__)
_D = documents.c
_V = document_versions.c
_K = chunks.c
_UNDER_WAY = ("parsing", "embedding")
_INSERTED = 500
_MOST_INTERRUPTIONS = 3
_INTERRUPTED = (
    f"The server ended {_MOST_INTERRUPTIONS} times while it took this in, so it is left alone. It may be too large for "
    "this machine's memory: split it, or try again."
)


class DocumentGone(Exception):
    """The document was deleted, or has a newer version, or another process has it: there is nothing to finish."""


class Ingest:
    """Works on one document at a time in this process."""

    def __init__(self, store: Store, embedder: Embedder) -> None:
        self._store = store
        self._embedder = embedder
        self._worker = make_id()
        self._stopped = threading.Event()
        self._run_lock = threading.Lock()
        self._has_old_words = True  # until it was looked for

    def run_due(self) -> int:
        """Take in everything that waits; how many documents that were."""
        done = 0
        with self._run_lock:
            while not self._stopped.is_set() and (row := self._claim()) is not None:
                self._take_in(row)
                done += 1
            while not self._stopped.is_set() and self._has_old_words:
                self._has_old_words = renew_next(self._store)
        return done

    def stop(self) -> None:
        """End at the next step."""
        self._stopped.set()

    def _claim(self) -> RowMapping | None:
        now = utc_now()
        abandoned = _D.state.in_(_UNDER_WAY) & or_(_D.worker_until.is_(None), _D.worker_until < now)
        due = or_(_D.state == "queued", abandoned)
        with self._store.read() as connection:
            if connection.scalar(select(_D.id).where(due).limit(1)) is None:
                return None
        with self._store.write() as connection:
            query = (
                select(documents).where(due).order_by(_D.updated_at, _D.id).limit(1).with_for_update(skip_locked=True)
            )
            while (row := connection.execute(query).mappings().first()) is not None:
                interruptions = row["interruptions"] + (row["state"] in _UNDER_WAY)
                may_go_on = interruptions < _MOST_INTERRUPTIONS
                values = {"state": "parsing", "worker_id": self._worker, "worker_until": now + HELD}
                if not may_go_on:
                    values = {"state": "failed", "error": _INTERRUPTED, "worker_id": None, "worker_until": None}
                claim = update(documents).where(_D.id == row["id"])
                connection.execute(claim.values(**values, interruptions=interruptions))
                if may_go_on:
                    break
            return row

    def _take_in(self, row: RowMapping) -> None:
        try:
            with keep_renewed(lambda: self._hold(row)):
                self._process(row)
        except DocumentGone:
            if self._stopped.is_set():
                self._give_back(row)
        except LLMManagerError as error:
            self._fail(row, str(error))
        except Exception as error:  # the boundary of a background job: the others must go on
            log.exception("A document could not be taken in.")
            self._fail(row, f"An unexpected error: {type(error).__name__}.")

    def _process(self, row: RowMapping) -> None:
        actor = load_actor(self._store, row["created_by"], row["collection_id"])
        this_version = (_V.document_id == row["id"]) & (_V.version == row["version"])
        with self._store.read() as connection:
            version_row = connection.execute(select(document_versions).where(this_version)).mappings().first()
            query = select(collections).where(collections.c.id == row["collection_id"])
            collection = connection.execute(query).mappings().first()
        if version_row is None or collection is None:
            raise DocumentGone
        parsed = sandbox.parse(row["source_name"] or row["title"], bytes(version_row["original"]))
        language = detect_language([parsed.text])
        model = collection["embedding_model"]
        pieces = cut(parsed.text, Chunking(**collection["chunking"]), lambda t: self._embedder.embed(actor, model, t))
        texts = [parsed.text[piece.start : piece.end] for piece in pieces]
        self._note(row, state="embedding", chunks_total=len(texts), chunks_done=0, media_type=parsed.media_type)
        self._embedder.keep(actor, model, texts, lambda done: self._note(row, chunks_done=min(done, len(texts))))
        rows = [
            _build_chunk_row(row, number, piece, text, language, parsed.page_starts)
            for number, (piece, text) in enumerate(zip(pieces, texts, strict=True))
        ]
        with self._store.write() as connection:
            values = {
                "state": PARTIAL if parsed.note else "ready",
                "error": parsed.note,
                "chunks_total": len(rows),
                "chunks_done": len(rows),
            }
            values |= {"serving_version": row["version"], "language": language, "words_form": FORM}
            values |= {"worker_id": None, "worker_until": None}
            held_here = (_D.id == row["id"]) & (_D.version == row["version"]) & (_D.worker_id == self._worker)
            if not connection.execute(
                update(documents).where(held_here).values(**values, updated_at=utc_now())
            ).rowcount:
                raise DocumentGone
            connection.execute(delete(chunks).where(_K.document_id == row["id"]))
            for start in range(0, len(rows), _INSERTED):
                connection.execute(insert(chunks), rows[start : start + _INSERTED])
            text_values = {"text": parsed.text, "page_starts": parsed.page_starts}
            connection.execute(update(document_versions).where(this_version).values(**text_values))
            older = delete(document_versions).where(_V.document_id == row["id"], _V.version < row["version"])
            connection.execute(older)
            touch(connection, row["collection_id"])

    def _note(self, row: RowMapping, **values: Any) -> None:
        """Write down how far it is and hold it for another minute; Gone when it is ours no more."""
        if self._stopped.is_set():
            raise DocumentGone
        if not self._hold(row, **values):
            raise DocumentGone

    def _hold(self, row: RowMapping, **values: Any) -> bool:
        """Hold it for another minute; False when it is ours no more."""
        held_here = (_D.id == row["id"]) & (_D.version == row["version"]) & (_D.worker_id == self._worker)
        with self._store.write() as connection:
            held = update(documents).where(held_here).values(**values, worker_until=utc_now() + HELD)
            return bool(connection.execute(held).rowcount)

    def _give_back(self, row: RowMapping) -> None:
        """Let another process, or the next one, take it in."""
        held_here = (_D.id == row["id"]) & (_D.version == row["version"]) & (_D.worker_id == self._worker)
        with self._store.write() as connection:
            waits = update(documents).where(held_here, _D.state.in_(_UNDER_WAY))
            connection.execute(waits.values(state="queued", worker_id=None, worker_until=None))

    def _fail(self, row: RowMapping, why: str) -> None:
        held_here = (_D.id == row["id"]) & (_D.version == row["version"]) & (_D.worker_id == self._worker)
        values = {"state": "failed", "error": why[:1000], "worker_id": None, "worker_until": None}
        with self._store.write() as connection:
            connection.execute(update(documents).where(held_here).values(**values, updated_at=utc_now()))


def _build_chunk_row(
    row: RowMapping, number: int, piece: Piece, text: str, language: str, page_starts: list[int] | None
) -> dict[str, Any]:
    first, last = find_pages(piece, page_starts)
    return {
        "collection_id": row["collection_id"],
        "document_id": row["id"],
        "version": row["version"],
        "ordinal": number,
        "start": piece.start,
        "end": piece.end,
        "page_first": first,
        "page_last": last,
        "heading": piece.heading[:300],
        "text": text,
        "words": join_stems(row["title"], piece.heading, text, language),
        "text_sha256": compute_sha256(text),
        "is_edited": False,
    }
