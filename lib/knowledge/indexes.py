"""The indexes of collections that this process uses, each following its collection, and their files.

An index is made from SQL, and made again when its collection changed, from the one before. Large ones are kept in
files, so that the next process does not have to build their graph: written beside the old one, checked by their
SHA-256 when they are read, and never trusted: what does not fit is built from SQL again.
"""

import hashlib
import json
import logging
import shutil
import threading
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Connection, RowMapping, func, select

from lib.clock import make_id
from lib.db.engine import Store
from lib.db.tables import chunk_vectors, chunks, collections, documents
from lib.knowledge.index import Index, IndexedPassage, build_next, make_empty_index, make_graph, shorten_sha

log = logging.getLogger(__name__)
FORM = 2
KEPT_FROM = 5_000  # passages; smaller ones are made from SQL in no time
_HELD = 4
_ASKED = 400
_ARRAYS = ("ids", "shas", "documents", "vectors", "has_vector", "lengths", "word_ids")
_K = chunks.c
_D = documents.c
_V = chunk_vectors.c


class Indexes:
    """`of` gives the index of a collection as it is now."""

    def __init__(self, store: Store, folder: Path) -> None:
        self._store = store
        self._folder = folder
        self._held: OrderedDict[str, Index] = OrderedDict()
        self._lock = threading.Lock()
        self._making: dict[str, threading.Lock] = {}

    def of(self, collection: RowMapping) -> Index:
        """The index of a row of `collections` that was just read."""
        current = (int(collection["change_seq"]), str(collection["embedding_model"]))
        key = str(collection["id"])
        with self._lock:
            held = self._held.get(key)
            making = self._making.setdefault(key, threading.Lock())
        if held is not None and (held.change_seq, held.model) == current:
            return held
        with making:
            with self._lock:
                held = self._held.get(key)
            if held is None or (held.change_seq, held.model) != current:
                held = held if held is not None else self._read(key)
                if held is None or (held.change_seq, held.model) != current:
                    held = self._build(key, held)
                with self._lock:
                    self._held[key] = held
                    self._held.move_to_end(key)
                    while len(self._held) > _HELD:
                        self._held.popitem(last=False)
            return held

    def forget(self, collection_id: str) -> None:
        """The collection was deleted: its index and its files go."""
        with self._lock:
            self._held.pop(collection_id, None)
        shutil.rmtree(self._folder / collection_id, ignore_errors=True)

    def _build(self, collection_id: str, old: Index | None) -> Index:
        with self._store.read() as connection:
            query = select(collections).where(collections.c.id == collection_id)
            row = connection.execute(query).mappings().first()
            model = row["embedding_model"] if row is not None else ""
            is_served = (_D.collection_id == collection_id) & _D.serving_version.is_not(None)
            words_form = connection.scalar(select(func.min(_D.words_form)).where(is_served)) or 0
            if old is None or old.words_form != words_form:
                old = make_empty_index(model)
            old_shas = {int(passage_id): int(sha) for passage_id, sha in zip(old.ids, old.shas, strict=True)}
            unembedded = (
                {int(passage_id) for passage_id in old.ids[~old.has_vector]} if old.model == model else set(old_shas)
            )
            serving = (_K.collection_id == collection_id) & (_K.version == _D.serving_version)
            joined = chunks.join(documents, _D.id == _K.document_id)
            serving_rows = connection.execute(
                select(_K.id, _K.text_sha256).select_from(joined).where(serving).order_by(_K.id)
            ).all()
            fresh = [
                passage_id
                for passage_id, sha in serving_rows
                if old_shas.get(passage_id) != shorten_sha(sha) or passage_id in unembedded
            ]
            passages = _read_passages(connection, model, fresh)
            languages = select(_D.language, func.count()).where(_D.collection_id == collection_id, _D.language != "")
            counted = connection.execute(languages.group_by(_D.language).order_by(func.count().desc())).first()
        ids = np.asarray([passage_id for passage_id, _ in serving_rows], dtype=np.int64)
        seq = int(row["change_seq"]) if row is not None else 0
        language = counted[0] if counted is not None else ""
        index = replace(build_next(old, seq, model, ids, passages, language), words_form=words_form)
        if index.size >= KEPT_FROM:
            self._write(collection_id, index)
        return index

    def _write(self, collection_id: str, index: Index) -> None:
        """Files under a new name, then the note that names them, in one step."""
        home = self._folder / collection_id
        folder = home / make_id()
        try:
            folder.mkdir(parents=True)
            for name in _ARRAYS:
                np.save(folder / f"{name}.npy", getattr(index, name), allow_pickle=False)
            metadata: dict[str, Any] = {"document_ids": index.document_ids, "terms": index.terms}
            (folder / "rest.json").write_text(json.dumps(metadata))
            if index.graph is not None:
                index.graph.save_index(str(folder / "graph.bin"))
            note = {"form": FORM, "folder": folder.name, "change_seq": index.change_seq, "model": index.model}
            note |= {"words_form": index.words_form, "language": index.language}
            note |= {"sha256": {path.name: _hash_file(path) for path in folder.iterdir()}}
            passing = home / f"{folder.name}.json"
            passing.write_text(json.dumps(note))
            passing.replace(home / "index.json")
            for other in home.iterdir():
                if other.is_dir() and other.name != folder.name:
                    shutil.rmtree(other, ignore_errors=True)
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            log.warning("The index of a collection could not be kept; it is made again when needed: %s", error)

    def _read(self, collection_id: str) -> Index | None:
        """The kept index, whatever state it is of; None when there is none that can be trusted."""
        home = self._folder / collection_id
        try:
            note = json.loads((home / "index.json").read_text())
            folder = home / note["folder"]
            if note["form"] != FORM or any(_hash_file(folder / name) != sha for name, sha in note["sha256"].items()):
                raise ValueError("it is of another form, or damaged")
            arrays = {name: np.load(folder / f"{name}.npy", allow_pickle=False) for name in _ARRAYS}
            metadata = json.loads((folder / "rest.json").read_text())
            graph = None
            if "graph.bin" in note["sha256"]:
                graph = make_graph(arrays["vectors"].shape[1])
                graph.load_index(str(folder / "graph.bin"))
            return Index(
                change_seq=note["change_seq"],
                model=note["model"],
                language=note["language"],
                words_form=note["words_form"],
                document_ids=tuple(metadata["document_ids"]),
                terms=metadata["terms"],
                graph=graph,
                **arrays,
            )
        except FileNotFoundError:
            return None
        except Exception as error:  # whatever is wrong with it, SQL has everything
            log.warning("The kept index of a collection can't be used and is made again: %s", error)
            return None


def _read_passages(connection: Connection, model: str, ids: list[int]) -> list[IndexedPassage]:
    vectors = (_V.embedding_model == model) & (_V.text_sha256 == _K.text_sha256)
    joined = chunks.outerjoin(chunk_vectors, vectors)
    query = select(_K.id, _K.document_id, _K.text_sha256, _K.words, _V.vector).select_from(joined)
    passages: list[IndexedPassage] = []
    for start in range(0, len(ids), _ASKED):
        rows = connection.execute(query.where(_K.id.in_(ids[start : start + _ASKED])))
        passages += [
            IndexedPassage(row[0], row[1], row[2], row[3], bytes(row[4]) if row[4] is not None else None)
            for row in rows
        ]
    return passages


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
