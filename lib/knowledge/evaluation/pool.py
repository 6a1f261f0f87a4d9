"""Documents cut, embedded and indexed in memory, beside what serves: for trials and for test collections.

The same functions as production's cut the texts, find their words and rank them; only SQL's tables of documents and
passages are not touched. Vectors are kept like all others, so that nothing is embedded twice and a trial that was
stopped goes on where it was.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from lib.access.permissions import Actor
from lib.db.engine import Store
from lib.db.tables import chunk_vectors
from lib.knowledge.documents.chunking import Chunking, Piece, cut
from lib.knowledge.embedding import Embedder, compute_sha256
from lib.knowledge.search import rank_passages
from lib.knowledge.settings import Mode, SearchSettings
from lib.knowledge.words import detect_language, join_stems

if TYPE_CHECKING:
    import numpy as np

    from lib.knowledge.index import Index

_IN_ONE = 400
_V = chunk_vectors.c
Note = Callable[[int, int], None]  # done, of how many; may raise to stop


@dataclass(frozen=True)
class Text:
    """A document as it is cut."""

    id: str
    title: str
    text: str


@dataclass(frozen=True)
class PassageSpan:
    """A passage: a stretch of a document's text."""

    document_id: str
    start: int
    end: int


@dataclass(frozen=True)
class PassagePool:
    """An index with the place of each of its passages."""

    index: "Index"
    spans: Sequence[PassageSpan]

    def search(self, question: str, vector: "np.ndarray | None", settings: SearchSettings) -> list[PassageSpan]:
        """The best passages first."""
        return [self.spans[row] for row in rank_passages(self.index, question, vector, settings).rows]


class PassagePools:
    """Makes them, with calls of the actor."""

    def __init__(self, store: Store, embedder: Embedder) -> None:
        self._store = store
        self._embedder = embedder

    def make(
        self,
        actor: Actor,
        model: str,
        texts: Sequence[Text],
        chunking: Chunking,
        note: Note | None = None,
        *,
        with_vectors: bool = True,
    ) -> PassagePool:
        """The pool of some documents; without vectors it is found in by words alone."""
        import numpy as np

        from lib.knowledge.index import IndexedPassage, build_next, make_empty_index

        pieces = self.cut(actor, model, texts, chunking)
        languages = [detect_language([document.text]) for document in texts]
        spans = []
        words = []
        whole = []
        for document, document_pieces, language in zip(texts, pieces, languages, strict=True):
            for piece in document_pieces:
                text = document.text[piece.start : piece.end]
                spans.append(PassageSpan(document.id, piece.start, piece.end))
                words.append(join_stems(document.title, piece.heading, text, language))
                whole.append(text)
        shas = [compute_sha256(text) for text in whole]
        vectors = self.vectors(actor, model, whole, note) if with_vectors else {}
        passages = [
            IndexedPassage(n, span.document_id, sha, stems, vectors.get(sha))
            for n, (span, sha, stems) in enumerate(zip(spans, shas, words, strict=True), start=1)
        ]
        ids = np.arange(1, len(passages) + 1, dtype=np.int64)
        commonest = Counter(language for language in languages if language).most_common(1)
        return PassagePool(
            build_next(make_empty_index(model), 0, model, ids, passages, commonest[0][0] if commonest else ""), spans
        )

    def cut(self, actor: Actor, model: str, texts: Sequence[Text], chunking: Chunking) -> list[list[Piece]]:
        """The passages of each document; `semantic` asks for its sentences' vectors, once for each."""

        def embed(sentences: Sequence[str]) -> "np.ndarray":
            import numpy as np

            vectors = self.vectors(actor, model, sentences)
            rows = [np.frombuffer(vectors[compute_sha256(sentence)], dtype="<f4") for sentence in sentences]
            return np.stack(rows)

        return [cut(document.text, chunking, embed) for document in texts]

    def vectors(self, actor: Actor, model: str, texts: Sequence[str], note: Note | None = None) -> dict[str, bytes]:
        """The vector of each text by its SHA-256. Those of like length go together, which is computed sooner."""
        texts_by_sha = {compute_sha256(text): text for text in texts}
        by_length = sorted(texts_by_sha.values(), key=len, reverse=True)
        report = None if note is None else (lambda done: note(done, len(by_length)))
        self._embedder.keep(actor, model, by_length, report)
        vectors: dict[str, bytes] = {}
        shas = [*texts_by_sha]
        with self._store.read() as connection:
            for start in range(0, len(shas), _IN_ONE):
                stored = (_V.embedding_model == model) & _V.text_sha256.in_(shas[start : start + _IN_ONE])
                rows = connection.execute(select(_V.text_sha256, _V.vector).where(stored))
                vectors.update((row[0], bytes(row[1])) for row in rows)
        return vectors


def needs_vectors(modes: Sequence[Mode]) -> bool:
    """Whether any of the modes looks at vectors."""
    return any(mode is not Mode.KEYWORD for mode in modes)
