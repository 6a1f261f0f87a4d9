"""Words and vectors of one collection in memory: what a question is held against. Everything in it comes from SQL.

Words: Okapi BM25 (Robertson & Zaragoza, 2009; k1 1.2, b 0.75) with the collection's own frequencies. Vectors: up to
`GRAPH_FROM` passages every one is compared, which takes 15 ms for 100,000, misses nothing and needs no graph to be
built for minutes; above, hnswlib's graph (cosine, M 16, ef 200 / 96) finds the nearest. An index is never changed:
`updated` makes the next one, and takes over what is the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

K1 = 1.2
B = 0.75
GRAPH_FROM = 150_000
NEAREST = 200  # how many the graph is asked for, and how many are looked at without one
NEAREST_OF_ALL = 1_000
_SAMPLE = 2_048
_M = 16
_EF_BUILD = 200
_EF_ASK = 96
_MOST_DELETED = 0.3
_THREADS = 1  # beside pages and calls
threadpool_limits(_THREADS, "blas")  # which for matrices as small as ours would rather wait for each other

Rows = np.ndarray  # places in the index


@dataclass(frozen=True)
class IndexedPassage:
    """A passage as SQL has it: the SHA-256 of its text, its stems, and its float32 vector where there is one."""

    id: int
    document_id: str
    sha: str
    words: str
    vector: bytes | None


@dataclass(frozen=True)
class Index:
    """Passages in the order of their ids; `vectors` has zeros where `has_vector` is false."""

    change_seq: int
    model: str
    ids: np.ndarray  # int64
    shas: np.ndarray  # the first eight bytes of each text's hash, uint64
    documents: np.ndarray  # int32, places in document_ids
    document_ids: tuple[str, ...]
    vectors: np.ndarray  # float32 (n, dimensions)
    has_vector: np.ndarray
    lengths: np.ndarray  # words of each
    terms: dict[str, int]
    word_ids: np.ndarray  # int32, all passages' words one after the other
    language: str = ""
    words_form: int = 0  # of the oldest words in it
    graph: Any = field(default=None, repr=False)

    @property
    def size(self) -> int:
        """How many passages."""
        return len(self.ids)

    def keyword_scores(self, stems: Sequence[str]) -> np.ndarray:
        """BM25 of every passage; words that a question repeats count as often."""
        scores = np.zeros(self.size, dtype=np.float32)
        starts, rows, impacts = self.postings
        for stem in stems:
            term = self.terms.get(stem)
            if term is not None:
                span = slice(starts[term], starts[term + 1])
                scores[rows[span]] += impacts[span]
        return scores

    @property
    def postings(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Per word: where its passages begin, the passages, and what the word adds to each."""
        postings = self.__dict__.get("_postings")
        if postings is None:
            postings = self.__dict__["_postings"] = _build_postings(self.word_ids, self.lengths, len(self.terms))
        return postings

    def nearest(self, vector: np.ndarray, allowed: np.ndarray | None) -> tuple[Rows, np.ndarray]:
        """Rows and cosines of the passages nearest to a vector: all of them in a small index."""
        if self.graph is not None and allowed is None:
            labels, far = self.graph.knn_query(vector, k=min(NEAREST, int(self.has_vector.sum())))
            return np.searchsorted(self.ids, labels[0].astype(np.int64)), 1 - far[0]
        rows = np.flatnonzero(self.has_vector if allowed is None else self.has_vector & allowed)
        near = self.cosines(rows, vector)
        if len(rows) > NEAREST_OF_ALL:
            best = np.sort(np.argpartition(-near, NEAREST_OF_ALL)[:NEAREST_OF_ALL])
            rows = rows[best]
            near = near[best]
        return rows, near

    def cosines(self, rows: Rows, vector: np.ndarray) -> np.ndarray:
        """The cosine of each row's vector with `vector`; all vectors have length one."""
        if 4 * len(rows) >= self.size:  # to compute all is sooner done than to gather many
            return np.asarray((self.vectors @ vector)[rows], dtype=np.float32)
        return np.asarray(self.vectors[rows] @ vector, dtype=np.float32)

    def spread(self, vector: np.ndarray) -> tuple[float, float]:
        """Mean and standard deviation of a vector's cosines over the collection, from a sample where it is large."""
        cosines = np.asarray(self.sample @ vector, dtype=np.float32)
        return (float(cosines.mean()), float(cosines.std())) if len(cosines) else (0.0, 0.0)

    @property
    def sample(self) -> np.ndarray:
        """Up to 2,048 vectors drawn with a fixed seed, which stand for the whole collection."""
        sample = self.__dict__.get("_sample")
        if sample is None:
            rows = np.flatnonzero(self.has_vector)
            if len(rows) > _SAMPLE:
                rows = np.random.default_rng(7).choice(rows, _SAMPLE, replace=False)
            sample = self.__dict__["_sample"] = self.vectors[rows]
        return sample


def make_empty_index(model: str) -> Index:
    """An index of nothing."""
    none = np.zeros(0, dtype=np.int64)
    flat = np.zeros((0, 1), dtype=np.float32)
    return Index(
        0, model, none, none.astype(np.uint64), none.astype(np.int32), (), flat, none.astype(bool), none, {}, none
    )


def shorten_sha(sha: str) -> int:
    """Eight bytes of a hash: enough to see that a text has changed."""
    return int(sha[:16], 16)


def build_next(
    old: Index, change_seq: int, model: str, ids: np.ndarray, fresh: Sequence[IndexedPassage], language: str
) -> Index:
    """The next index: the passages of `ids` (in order), those in `fresh` as given, the others as they were."""
    same_model = old.model == model
    old_rows = {int(passage_id): row for row, passage_id in enumerate(old.ids)}
    new = {passage.id: passage for passage in fresh}
    terms = dict(old.terms)
    starts = np.concatenate([[0], np.cumsum(old.lengths)]).astype(np.int64)
    names: dict[str, int] = {}
    documents = []
    shas = []
    lengths = []
    words = []
    dimensions = next((len(passage.vector) // 4 for passage in fresh if passage.vector), old.vectors.shape[1])
    vectors = np.zeros((len(ids), dimensions), dtype=np.float32)
    has = np.zeros(len(ids), dtype=bool)
    for row, passage_id in enumerate(ids.tolist()):
        changed = new.get(passage_id)
        old_row = old_rows.get(passage_id)
        if changed is not None:
            word_terms = [terms.setdefault(word, len(terms)) for word in changed.words.split()]
            words.append(np.asarray(word_terms, dtype=np.int32))
            document = changed.document_id
            sha = shorten_sha(changed.sha)
            vector = changed.vector
            if vector is not None and len(vector) == 4 * dimensions:
                vectors[row] = np.frombuffer(vector, dtype="<f4")
                has[row] = True
        else:
            assert old_row is not None  # noqa: S101 (what is not fresh was there)
            words.append(old.word_ids[starts[old_row] : starts[old_row + 1]])
            document = old.document_ids[old.documents[old_row]]
            sha = int(old.shas[old_row])
            if same_model and old.has_vector[old_row]:
                vectors[row] = old.vectors[old_row]
                has[row] = True
        documents.append(names.setdefault(document, len(names)))
        shas.append(sha)
        lengths.append(len(words[-1]))
    index = Index(
        change_seq,
        model,
        ids,
        np.asarray(shas, dtype=np.uint64),
        np.asarray(documents, dtype=np.int32),
        tuple(names),
        vectors,
        has,
        np.asarray(lengths, dtype=np.int64),
        terms,
        np.concatenate(words) if words else np.zeros(0, dtype=np.int32),
        language,
    )
    graph = _build_graph(old if same_model else None, index, {passage.id for passage in fresh})
    return Index(**{**{name: getattr(index, name) for name in Index.__dataclass_fields__}, "graph": graph})


def make_graph(dimensions: int) -> Any:
    """An empty graph of hnswlib."""
    import hnswlib

    return hnswlib.Index(space="cosine", dim=dimensions)


def _copy_graph(graph: Any) -> Any:
    import hnswlib

    return hnswlib.Index(index=graph)


def _build_graph(old: Index | None, index: Index, fresh: set[int]) -> Any:
    """The graph of an index large enough to need one: the old one with what changed, or a new one."""
    count = int(index.has_vector.sum())
    if count < GRAPH_FROM:
        return None
    embedded_ids = index.ids[index.has_vector]
    if old is not None and old.graph is not None:
        gone = np.setdiff1d(old.ids[old.has_vector], embedded_ids)
        label_count = old.graph.get_current_count()
        if len(gone) + label_count - int(old.has_vector.sum()) < _MOST_DELETED * count:
            graph = _copy_graph(old.graph)  # questions that are under way still ask the old one
            add = index.has_vector & (~np.isin(index.ids, old.ids[old.has_vector]) | np.isin(index.ids, [*fresh]))
            for label in gone:
                graph.mark_deleted(int(label))
            if len(rows := np.flatnonzero(add)):
                graph.resize_index(max(graph.get_max_elements(), label_count + len(rows)))
                graph.add_items(index.vectors[rows], index.ids[rows], num_threads=_THREADS)
            graph.set_ef(_EF_ASK + NEAREST)
            return graph
    graph = make_graph(index.vectors.shape[1])
    graph.init_index(max_elements=count, M=_M, ef_construction=_EF_BUILD, random_seed=7)
    graph.add_items(index.vectors[index.has_vector], embedded_ids, num_threads=_THREADS)
    graph.set_ef(_EF_ASK + NEAREST)
    return graph


def _build_postings(word_ids: np.ndarray, lengths: np.ndarray, terms: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    count = len(lengths)
    rows = np.repeat(np.arange(count, dtype=np.int64), lengths)
    keys, often = np.unique(word_ids.astype(np.int64) * max(count, 1) + rows, return_counts=True)
    term, row = np.divmod(keys, max(count, 1))
    starts = np.searchsorted(term, np.arange(terms + 1))
    having = np.diff(starts)
    idf = np.log1p((count - having + 0.5) / (having + 0.5))
    usual = lengths.mean() if count and lengths.mean() else 1.0
    norm = K1 * (1 - B + B * lengths / usual)
    impacts = idf[term] * often * (K1 + 1) / (often + norm[row])
    return starts, row.astype(np.int32), impacts.astype(np.float32)
