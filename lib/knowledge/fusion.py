"""From two lists of scores to one ranking that is not worse than the better of them, in any language.

Each leg is a z-score over the whole collection, so that a leg that tells passages apart speaks louder than one that
does not; ranks alone would throw that away. The vector leg counts 0.7 in English, which the bundled model knows, and
0.2 in other languages (0.35 where another model made it), where words are surer; of a question in another script the
bundled model makes single letters and unknown pieces, so that its vector says nothing and words alone count, where
there are any. In English the best two passages are then asked for like the question itself (Rocchio's feedback), and
re-ranking lets passages that are alike lend each other some of their score.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from lib.knowledge.index import Index, Rows
from lib.knowledge.settings import Mode
from lib.providers.kinds import LOCAL_EMBEDDING_MODEL

ENGLISH = 0.7
OTHER = 0.35
OTHER_BUNDLED = 0.2
FEEDBACK = 0.4
FEEDBACK_FROM = 2
SMOOTHING = 0.2
NEIGHBOURS = 5
READ_AGAIN = 100
CANDIDATES = 200
_BUNDLED = f"local/{LOCAL_EMBEDDING_MODEL}"


@dataclass(frozen=True)
class Ranking:
    """Rows of the index, the best first; scores of each leg are NaN where a leg has none, ranks count from 1."""

    rows: Rows
    scores: np.ndarray
    vector_scores: np.ndarray
    keyword_scores: np.ndarray
    vector_ranks: np.ndarray
    keyword_ranks: np.ndarray


def rank(
    index: Index,
    mode: Mode,
    vector: np.ndarray | None,
    stems: list[str],
    allowed: np.ndarray | None,
    rerank: bool,
    most: int,
) -> Ranking:
    """The best `most` passages; `allowed` is a truth for each, None allows all."""
    keyword = index.keyword_scores(stems) if mode is not Mode.VECTOR else np.zeros(index.size, dtype=np.float32)
    if allowed is not None:
        keyword = np.where(allowed, keyword, 0)
    if mode is Mode.KEYWORD or vector is None or not index.has_vector.any():
        rows = _select_best(keyword, np.flatnonzero(keyword > 0), most)
        return _make_ranking(rows, keyword[rows], None, keyword, index)
    english = index.language == "english"
    weight = 1.0 if mode is Mode.VECTOR else weigh_vectors(index.language, index.model)
    if mode is Mode.HYBRID and index.model == _BUNDLED and keyword.any() and _is_in_another_script(stems):
        weight = 0.0
    rows, cosines = _find_candidates(index, vector, keyword, allowed, weight)
    scores = _fuse(index, vector, rows, cosines, keyword, allowed, weight)
    if english and mode is Mode.HYBRID and len(rows) > FEEDBACK_FROM:
        top = rows[np.argsort(-scores, kind="stable")[:FEEDBACK_FROM]]
        top = top[index.has_vector[top]]
        if len(top):
            moved = vector + FEEDBACK * index.vectors[top].mean(axis=0)
            moved /= np.linalg.norm(moved)
            near = np.where(index.has_vector[rows], index.cosines(rows, moved), np.nan)
            scores = _fuse(index, moved, rows, near, keyword, allowed, weight)
    if rerank and english and mode is Mode.HYBRID:
        scores = _smooth(index, rows, scores)
    order = np.argsort(-scores, kind="stable")[:most]
    return _make_ranking(
        rows[order], scores[order], dict(zip(rows.tolist(), cosines.tolist(), strict=True)), keyword, index
    )


def weigh_vectors(language: str, model: str) -> float:
    """The share of the vector leg in a mixture; the keyword leg has the rest."""
    if language == "english":
        return ENGLISH
    return OTHER_BUNDLED if model == _BUNDLED else OTHER


def _is_in_another_script(stems: list[str]) -> bool:
    """Whether most letters of a question are none of the Latin script, which alone the bundled model reads in words."""
    letters = [sign for stem in stems for sign in stem if sign.isalpha()]
    non_latin = sum(sign > "\u024f" and not "\u1e00" <= sign <= "\u1eff" for sign in letters)
    return 2 * non_latin > len(letters)


def _find_candidates(
    index: Index, vector: np.ndarray, keyword: np.ndarray, allowed: np.ndarray | None, weight: float
) -> tuple[Rows, np.ndarray]:
    """The passages that either leg has among its best, and their cosines (NaN without a vector)."""
    rows, cosines = index.nearest(vector, allowed)
    if weight < 1:
        best = _select_best(keyword, np.flatnonzero(keyword > 0), CANDIDATES)
        extra = np.setdiff1d(best, rows)
        near = np.where(index.has_vector[extra], index.cosines(extra, vector), np.nan) if len(extra) else extra
        rows = np.concatenate([rows, extra])
        cosines = np.concatenate([cosines, near])
    return rows, cosines


def _fuse(
    index: Index,
    vector: np.ndarray,
    rows: Rows,
    cosines: np.ndarray,
    keyword: np.ndarray,
    allowed: np.ndarray | None,
    weight: float,
) -> np.ndarray:
    """Both legs as one score of each row: z-scores over the collection, weighted."""
    mean, deviation = index.spread(vector)
    vector_score = (cosines - mean) / deviation if deviation > 0 else np.zeros(len(rows))
    vector_score = np.nan_to_num(vector_score, nan=0.0)
    part = keyword if allowed is None else keyword[allowed]
    usual, width = (float(part.mean()), float(part.std())) if len(part) else (0.0, 0.0)
    keyword_score = (keyword[rows] - usual) / width if width > 0 else np.zeros(len(rows))
    return np.asarray(weight * vector_score + (1 - weight) * keyword_score)


def _smooth(index: Index, rows: Rows, scores: np.ndarray) -> np.ndarray:
    """The best passages' scores, each mixed with those of the passages most like it."""
    order = np.argsort(-scores, kind="stable")[:READ_AGAIN]
    order = order[index.has_vector[rows[order]]]
    if len(order) <= NEIGHBOURS:
        return scores
    vectors = index.vectors[rows[order]]
    alike = vectors @ vectors.T
    np.fill_diagonal(alike, -1)
    near = np.argpartition(-alike, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]
    weights = np.maximum(np.take_along_axis(alike, near, axis=1), 0)
    lent = (weights * scores[order][near]).sum(axis=1) / np.maximum(weights.sum(axis=1), 1e-9)
    mixed = scores.astype(np.float64).copy()
    mixed[order] = (1 - SMOOTHING) * mixed[order] + SMOOTHING * lent
    return mixed


def _select_best(scores: np.ndarray, rows: Rows, most: int) -> Rows:
    """The rows with the highest scores, the best first; equal ones in their order."""
    if len(rows) > most:
        least = np.partition(scores[rows], len(rows) - most)[len(rows) - most]
        rows = rows[scores[rows] >= least]
    return rows[np.argsort(-scores[rows], kind="stable")][:most]


def _make_ranking(
    rows: Rows, scores: np.ndarray, cosines: dict[int, float] | None, keyword: np.ndarray, index: Index
) -> Ranking:
    nothing = np.full(len(rows), np.nan)
    near: Any = nothing if cosines is None else np.asarray([cosines.get(row, np.nan) for row in rows.tolist()])
    vector_ranks = nothing
    if cosines:
        every = np.asarray([*cosines.values()])
        vector_ranks = np.asarray([np.nan if cosine != cosine else 1 + int((every > cosine).sum()) for cosine in near])
    keyword_scores = np.where(keyword[rows] > 0, keyword[rows], np.nan)
    keyword_ranks = np.asarray([1 + int((keyword > score).sum()) if score > 0 else np.nan for score in keyword[rows]])
    return Ranking(rows, scores, near, keyword_scores, vector_ranks, keyword_ranks)
