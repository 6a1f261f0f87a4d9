"""Documents of a collection: added, followed while they are taken in, read, edited passage by passage, removed.

Adding only writes the bytes down and returns; `lib.knowledge.documents.ingest` does the work. A document that is added
again under the name of one that is there becomes its next version, and the old one is found until the new one is whole.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, delete, func, insert, select, update

from lib.access import audit
from lib.access.permissions import Actor
from lib.clock import make_id, utc_now
from lib.db.engine import Store
from lib.db.tables import chunks, collections, document_versions, documents
from lib.errors import Conflict, InvalidInput, NotFound
from lib.knowledge.access import filter_readable, filter_writable, find
from lib.knowledge.collections import make_storable, touch
from lib.knowledge.documents import fetching
from lib.knowledge.documents.chunking import Chunking, Piece, cut
from lib.knowledge.embedding import Embedder, compute_sha256
from lib.knowledge.words import join_stems

PARTIAL = "partial"
TAKEN_IN = ("ready", PARTIAL)  # states of a document whose newest version is found
SETTLED = (*TAKEN_IN, "failed")
KINDS = ("manual", "faq", "api_doc", "code")
LARGEST = 50 * 1024 * 1024
PREVIEWED = 200_000
_D = documents.c
_V = document_versions.c
_K = chunks.c


@dataclass(frozen=True)
class About:
    """What a person says of a document; the title is its file's name otherwise."""

    title: str = ""
    kind: str = "manual"
    tags: tuple[str, ...] = ()
    dated: date | None = None


@dataclass(frozen=True)
class Document:
    """A document with its state; searches find it as soon as `serving_version` is set.

    `partial` is ready, but not all of its words were read: `note` says what share, and why.
    """

    id: str
    collection_id: str
    title: str
    kind: str
    tags: tuple[str, ...]
    dated: date | None
    source: str
    source_name: str
    media_type: str
    size: int
    language: str
    state: str
    error: str | None
    note: str | None
    chunks_total: int
    chunks_done: int
    version: int
    serving_version: int | None
    created_at: datetime
    updated_at: datetime

    @property
    def state_in_words(self) -> str:
        """The state, or the share that was read: `78 % of the words`."""
        return self.note.partition(" were read")[0] if self.state == PARTIAL and self.note else self.state


@dataclass(frozen=True)
class Chunk:
    """A passage of the serving version; `text` differs from the document's where a person edited it."""

    id: int
    document_id: str
    ordinal: int
    start: int
    end: int
    page_first: int | None
    page_last: int | None
    heading: str
    text: str
    is_edited: bool


class Documents:
    """Reads what the actor may read, changes what the actor may change."""

    def __init__(self, store: Store, embedder: Embedder) -> None:
        self._store = store
        self._embedder = embedder

    def list(self, actor: Actor, collection_id: str) -> list[Document]:
        """All of a collection, the newest change first."""
        with self._store.read() as connection:
            find(connection, collection_id, filter_readable(actor))
            query = select(documents).where(_D.collection_id == collection_id)
            rows = connection.execute(query.order_by(_D.updated_at.desc(), _D.id)).mappings()
            return [_build_document(row) for row in rows]

    def get(self, actor: Actor, document_id: str) -> Document:
        """A document by its id; NotFound where the actor may not read it."""
        with self._store.read() as connection:
            return _build_document(_find_document(connection, actor, document_id))

    def add(
        self,
        actor: Actor,
        collection_id: str,
        name: str,
        data: bytes,
        about: About | None = None,
        source: str = "upload",
    ) -> tuple[Document, bool]:
        """Take a file in; the document and whether there was anything to do (not for bytes that are there)."""
        about = about or About()
        name = _clean(name, keeps_folders=source == "command")
        _check_kind(about.kind)
        if not data:
            raise InvalidInput(f"{name} is empty.", "", "", "file")
        if len(data) > LARGEST:
            why = f"It has {len(data) / 1024**2:.0f} MB; the limit is {LARGEST // 1024**2} MB."
            raise InvalidInput(f"{name} is too large.", why, "Split it.", "file")
        digest = hashlib.sha256(data).hexdigest()
        now = utc_now()
        with self._store.write() as connection:
            find(connection, collection_id, filter_writable(actor))
            locked = select(collections.c.id).where(collections.c.id == collection_id).with_for_update()
            connection.execute(locked)  # of two uploads of one file at once, the second sees the first
            in_collection = select(documents).where(_D.collection_id == collection_id)
            if (
                duplicate := connection.execute(in_collection.where(_D.sha256 == digest)).mappings().first()
            ) is not None:
                return _build_document(duplicate), False
            row = (
                connection.execute(in_collection.where(_D.source_name == name, _D.source == source)).mappings().first()
            )
            values: dict[str, Any] = {
                "size": len(data),
                "sha256": digest,
                "state": "queued",
                "interruptions": 0,
                "error": None,
                "updated_at": now,
                "created_by": actor.user_id,
            }
            values |= {"chunks_total": 0, "chunks_done": 0, "tags": list(about.tags), "kind": about.kind}
            values |= {"dated": about.dated, "title": _clean(about.title) if about.title.strip() else name}
            if row is None:
                document_id = make_id()
                version = 1
                fixed = {"id": document_id, "collection_id": collection_id, "source": source, "source_name": name}
                connection.execute(insert(documents).values(**fixed, **values, media_type="", created_at=now))
            else:
                document_id = row["id"]
                version = row["version"] + 1
                connection.execute(update(documents).where(_D.id == document_id).values(**values, version=version))
            version_row = {"document_id": document_id, "version": version, "original": data}
            connection.execute(insert(document_versions).values(**version_row))
            audit.record(connection, actor, "document.add", name, collection=collection_id, version=version)
            return _build_document(
                connection.execute(select(documents).where(_D.id == document_id)).mappings().one()
            ), True

    def add_text(self, actor: Actor, collection_id: str, title: str, text: str, about: About | None = None) -> Document:
        """Take pasted text in."""
        name = _clean(title) or "Pasted text"
        return self.add(actor, collection_id, name, text.encode("utf-8", "replace"), about, "paste")[0]

    def add_url(self, actor: Actor, collection_id: str, url: str, about: About | None = None) -> Document:
        """Fetch a public page or file and take it in; InvalidInput says why it can't be fetched."""
        with self._store.read() as connection:
            find(connection, collection_id, filter_writable(actor))
        return self.add(actor, collection_id, url, fetching.fetch(url, LARGEST), about, "url")[0]

    def retry(self, actor: Actor, document_id: str) -> None:
        """Take a failed one in once more."""
        with self._store.write() as connection:
            row = _find_document(connection, actor, document_id, writing=True)
            if row["state"] != "failed":
                raise Conflict("It has not failed.", f"It is {row['state']}.")
            values = {"state": "queued", "error": None, "interruptions": 0, "updated_at": utc_now()}
            connection.execute(update(documents).where(_D.id == document_id).values(**values))
            audit.record(connection, actor, "document.retry", row["title"])

    def describe(self, actor: Actor, document_id: str, about: About) -> None:
        """Change what is said of it; it is not taken in anew."""
        _check_kind(about.kind)
        with self._store.write() as connection:
            row = _find_document(connection, actor, document_id, writing=True)
            values = {"title": _clean(about.title) or row["title"], "kind": about.kind, "tags": list(about.tags)}
            values |= {"dated": about.dated, "updated_at": utc_now()}
            connection.execute(update(documents).where(_D.id == document_id).values(**values))
            touch(connection, row["collection_id"])
            audit.record(connection, actor, "document.change", row["title"])

    def delete(self, actor: Actor, document_id: str) -> None:
        """Remove it; work on it ends at its next step."""
        with self._store.write() as connection:
            row = _find_document(connection, actor, document_id, writing=True)
            connection.execute(delete(chunks).where(_K.document_id == document_id))
            connection.execute(delete(document_versions).where(_V.document_id == document_id))
            connection.execute(delete(documents).where(_D.id == document_id))
            touch(connection, row["collection_id"])
            audit.record(connection, actor, "document.delete", row["title"])

    def text(self, actor: Actor, document_id: str) -> str:
        """The text of the serving version, else of the newest; empty before it was parsed."""
        with self._store.read() as connection:
            row = _find_document(connection, actor, document_id)
            version = row["serving_version"] or row["version"]
            text_query = select(_V.text).where(_V.document_id == document_id, _V.version == version)
            return connection.scalar(text_query) or ""

    def original(self, actor: Actor, document_id: str) -> bytes:
        """The bytes of the serving version, else of the newest."""
        with self._store.read() as connection:
            row = _find_document(connection, actor, document_id)
            version = row["serving_version"] or row["version"]
            original_query = select(_V.original).where(_V.document_id == document_id, _V.version == version)
            return bytes(connection.scalar(original_query) or b"")

    def chunks(self, actor: Actor, document_id: str, first: int = 0, most: int = 50) -> tuple[Sequence[Chunk], int]:
        """Passages of the serving version from number `first`, and how many there are."""
        with self._store.read() as connection:
            row = _find_document(connection, actor, document_id)
            serving = [_K.document_id == document_id, _K.version == row["serving_version"]]
            query = select(chunks).where(*serving).order_by(_K.ordinal).offset(first).limit(most)
            passages = [build_chunk(chunk_row) for chunk_row in connection.execute(query).mappings()]
            return passages, connection.scalar(select(func.count()).select_from(chunks).where(*serving)) or 0

    def edit_chunk(self, actor: Actor, chunk_id: int, text: str) -> None:
        """Replace a passage's words and embed it anew; a new version of the document starts from its own text."""
        text = make_storable(text).strip()
        if not text or len(text) > 2 * 8000:
            raise InvalidInput("A passage needs some words.", "It takes up to 16,000 characters.", "", "text")
        condition = filter_writable(actor)
        with self._store.read() as connection:
            joined = chunks.join(documents, _D.id == _K.document_id)
            joined = joined.join(collections, collections.c.id == _K.collection_id)
            query = select(_D.language, _D.title, _K.heading, _K.collection_id, collections.c.embedding_model)
            row = connection.execute(query.select_from(joined).where(_K.id == chunk_id, condition)).first()
        if row is None:
            raise NotFound("There is no such passage.", "Its document was changed or deleted meanwhile.")
        self._embedder.keep(actor, row.embedding_model, [text])
        values = {"text": text, "words": join_stems(row.title, row.heading, text, row.language), "is_edited": True}
        with self._store.write() as connection:
            changed = update(chunks).where(_K.id == chunk_id).values(**values, text_sha256=compute_sha256(text))
            if not connection.execute(changed).rowcount:
                raise NotFound("There is no such passage.", "Its document was changed or deleted meanwhile.")
            touch(connection, row.collection_id)
            audit.record(connection, actor, "chunk.edit", row.title, chunk=chunk_id)

    def preview(
        self, actor: Actor, chunking: Chunking, name: str, data: bytes, model: str
    ) -> tuple[str, Sequence[Piece]]:
        """The text of a file and where it would be cut; nothing is kept but the vectors that `semantic` needs."""
        from lib.knowledge.documents.sandbox import parse

        filter_writable(actor)
        text = parse(name, data, actor).text[:PREVIEWED]
        return text, cut(text, chunking, lambda texts: self._embedder.embed(actor, model, texts))

    def page_image(self, actor: Actor, chunk_id: int, scale: float = 1.6) -> bytes | None:
        """The first PDF page of a passage as PNG, the passage marked; None where there is no page."""
        with self._store.read() as connection:
            joined = chunks.join(documents, _D.id == _K.document_id)
            joined = joined.join(collections, collections.c.id == _K.collection_id)
            joined = joined.join(document_versions, (_V.document_id == _D.id) & (_V.version == _K.version))
            query = select(chunks, _D.media_type, _V.original, _V.page_starts).select_from(joined)
            row = connection.execute(query.where(_K.id == chunk_id, filter_readable(actor))).mappings().first()
        if row is None:
            raise NotFound("There is no such passage.", "Its document was changed or deleted meanwhile.")
        if row["media_type"] != "application/pdf" or row["page_first"] is None:
            return None
        from lib.knowledge.documents.sandbox import draw

        page = row["page_first"] - 1
        start = row["start"] - row["page_starts"][page]
        return draw(bytes(row["original"]), page, start, row["end"] - row["start"], scale, actor)


def build_chunk(row: RowMapping) -> Chunk:
    """A row as a value."""
    return Chunk(**{name: row[name] for name in Chunk.__dataclass_fields__})


def _find_document(connection: Connection, actor: Actor, document_id: str, *, writing: bool = False) -> RowMapping:
    condition = filter_writable(actor) if writing else filter_readable(actor)
    joined = documents.join(collections, collections.c.id == _D.collection_id)
    matches = connection.execute(
        select(documents).select_from(joined).where(_D.id == document_id, condition)
    ).mappings()
    if (document_row := matches.first()) is None:
        raise NotFound("There is no such document.", "It was deleted, or it belongs to somebody else.")
    return document_row


def _build_document(row: RowMapping) -> Document:
    values = {name: row[name] for name in Document.__dataclass_fields__ if name != "note"}
    note = row["error"] if row["state"] == PARTIAL else None
    values |= {"tags": tuple(row["tags"]), "note": note, "error": None if note else row["error"]}
    return Document(**values)


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        raise InvalidInput(f"There is no kind {kind}.", "", f"Choose of {', '.join(KINDS)}.", "kind")


def _clean(name: str, *, keeps_folders: bool = False) -> str:
    """A file's name without signs that can't be shown and, where folders don't tell files apart, without them."""
    name = "".join(sign for sign in name if sign.isprintable()).strip()
    if keeps_folders:
        return name.replace("\\", "/")[-300:]
    if not name.startswith(("http://", "https://")):
        name = name.replace("\\", "/").rpartition("/")[2]
    return name[:300]
