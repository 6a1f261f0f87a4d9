"""Texts → vectors, through the call path: every batch is a row of the ledger, priced and budgeted.

A text is embedded once for each model: what has its vector (by the SHA-256 of the text) is not sent again, whatever
document or collection it stands in.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite

from lib.access.permissions import Actor
from lib.calls.calls import Calls
from lib.calls.request import CallRequest, Origin
from lib.db.engine import Store
from lib.db.tables import chunk_vectors
from lib.providers import adapters
from lib.providers.chunks import RERANK
from lib.providers.kinds import LOCAL_EMBEDDING_MODEL

if TYPE_CHECKING:
    import numpy as np

APP = "knowledge"
BUNDLED = f"local/{LOCAL_EMBEDDING_MODEL}"
BATCH = 64
_QUESTIONS_KEPT = 256
_V = chunk_vectors.c


def compute_sha256(text: str) -> str:
    """The key of a text's vector."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class Embedder:
    """Asks for vectors and keeps them."""

    def __init__(self, store: Store, calls: Calls) -> None:
        self._store = store
        self._calls = calls
        self._questions: OrderedDict[tuple[str, str], np.ndarray] = OrderedDict()

    def warm(self, model: str) -> None:
        """Get the bundled model ready in the background; others always are."""
        if model == BUNDLED:
            adapters.warm_embeddings()

    def find_embedded(self, model: str, shas: Sequence[str]) -> set[str]:
        """Which texts have their vector."""
        embedded: set[str] = set()
        with self._store.read() as connection:
            for start in range(0, len(shas), 500):
                in_batch = _V.text_sha256.in_(shas[start : start + 500])
                query = select(_V.text_sha256).where(_V.embedding_model == model, in_batch)
                embedded.update(connection.scalars(query))
        return embedded

    def keep(self, actor: Actor, model: str, texts: Sequence[str], done: Callable[[int], None] | None = None) -> None:
        """See to it that every text has its vector; `done` is told how many have, after each batch, and may raise."""
        by_sha = {compute_sha256(text): text for text in texts}
        embedded = self.find_embedded(model, [*by_sha])
        missing = [sha for sha in by_sha if sha not in embedded]
        so_far = len(by_sha) - len(missing)
        for start in range(0, len(missing), BATCH):
            batch = missing[start : start + BATCH]
            vectors = self.embed(actor, model, [by_sha[sha] for sha in batch])
            rows = [
                {"embedding_model": model, "text_sha256": sha, "vector": vector.tobytes()}
                for sha, vector in zip(batch, vectors, strict=True)
            ]
            insert = sqlite.insert if self._store.is_sqlite else postgresql.insert
            with self._store.write() as connection:
                connection.execute(insert(chunk_vectors).on_conflict_do_nothing(), rows)
            if done is not None:
                done(so_far + start + len(batch))

    def embed(self, actor: Actor, model: str, texts: Sequence[str]) -> "np.ndarray":
        """float32 (texts, dimensions), each of length one; one call."""
        import numpy as np

        request = CallRequest(
            actor=actor, messages=(), model=model, app=APP, origin=Origin.RAG, stream=False, texts=tuple(texts)
        )
        vectors = np.asarray(self._calls.embed(request), dtype="<f4")
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.ascontiguousarray(vectors / np.where(lengths > 0, lengths, 1))

    def relevance(self, actor: Actor, model: str, question: str, texts: Sequence[str]) -> list[float]:
        """How well each text answers a question, as a re-ranking model says; one call."""
        request = CallRequest(
            actor=actor,
            messages=(),
            model=model,
            app=APP,
            origin=Origin.RAG,
            stream=False,
            texts=(question, *texts),
            extra={"task": RERANK},
            tags={"purpose": RERANK},
        )
        return [score for (score,) in self._calls.embed(request)[1:]]

    def question(self, actor: Actor, model: str, text: str) -> "np.ndarray":
        """The vector of a question; of one just asked it is remembered."""
        key = (model, text)
        if key not in self._questions:
            self._questions[key] = self.embed(actor, model, [text])[0]
            while len(self._questions) > _QUESTIONS_KEPT:
                self._questions.popitem(last=False)
        return self._questions[key]
