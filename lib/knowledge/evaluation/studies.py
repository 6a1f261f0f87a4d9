"""What an optimiser's study is made of: the grid, its trials, what they found; values only.

A trial cuts every document of a collection in one way and asks the questions with one search. `k` is the number of
passages that an answer is given: quality is the figure over what those passages show, and the cost is what a model
has to read of them, in tokens a question.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from itertools import product
from typing import Any

from lib.errors import InvalidInput
from lib.knowledge.documents.chunking import Chunking, ChunkingStrategy
from lib.knowledge.evaluation import ranking_metrics
from lib.knowledge.evaluation.ranking_metrics import Estimate, PairedDifference
from lib.knowledge.settings import Mode, SearchSettings

MOST_TRIALS = 500


class State(StrEnum):
    """How far a study is."""

    WAITING = "waiting"
    RUNNING = "running"
    STOPPED = "stopped"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True)
class Cell:
    """One way to cut and to search."""

    chunking: Chunking
    search: SearchSettings

    def simplify(self) -> "Cell":
        """The cell without settings that have no effect: `semantic` overlaps nothing, only hybrid search re-ranks.

        A re-ranking model costs at every question and is not tried.
        """
        chunking = self.chunking
        search = self.search
        if chunking.strategy is ChunkingStrategy.SEMANTIC:
            chunking = replace(chunking, overlap=0)
        return Cell(chunking, replace(search, rerank=search.rerank and search.mode is Mode.HYBRID, reranker=""))


@dataclass(frozen=True)
class Grid:
    """Everything that is crossed with everything."""

    strategies: tuple[ChunkingStrategy, ...] = (ChunkingStrategy.RECURSIVE, ChunkingStrategy.HEADING)
    sizes: tuple[int, ...] = (500, 1000, 2000)
    overlaps: tuple[int, ...] = (0, 150)
    modes: tuple[Mode, ...] = (Mode.HYBRID,)
    ks: tuple[int, ...] = (4, 8)
    reranks: tuple[bool, ...] = (True, False)

    def cells(self, current: Cell) -> list[Cell]:
        """Each that differs, the current settings first; an overlap above half of a size is left out."""
        cells = [current.simplify()]
        for strategy, size, overlap in product(self.strategies, self.sizes, self.overlaps):
            if overlap > size // 2:
                continue
            for mode, k, rerank in product(self.modes, self.ks, self.reranks):
                cells.append(Cell(Chunking(strategy, size, overlap), SearchSettings(mode, k, rerank)).simplify())
        cells = [*dict.fromkeys(cells)]
        if len(cells) > MOST_TRIALS:
            why = f"The grid has {len(cells):,} trials; the limit is {MOST_TRIALS}."
            raise InvalidInput("That is too much to try.", why, "Leave something out.", "grid")
        return cells


@dataclass(frozen=True)
class StudyQuote:
    """What a study will take. `seconds` and `cost_nano_usd` are None where nobody knows the speed or the price."""

    trials: int
    ways_to_cut: int
    questions: int
    passages: int  # of all ways together
    texts_to_embed: int
    tokens_to_embed: int  # estimated
    seconds: float | None
    cost_nano_usd: int | None


@dataclass(frozen=True)
class TrialResult:
    """What a trial found; the figures of questions are in the order of the set's questions."""

    figure: Estimate
    by_question: Mapping[str, float]
    passages: int
    context_tokens: float  # a question, estimated
    search_ms: float  # a question, without its embedding

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> "TrialResult":
        """A result from the JSON of the column `trials.result`."""
        return cls(**{**stored, "figure": Estimate(**stored["figure"])})


@dataclass(frozen=True)
class StudyTrial:
    """One cell of the grid; `result` is None until it was tried, `against_current` until both were."""

    ordinal: int
    cell: Cell
    is_current: bool
    result: TrialResult | None
    is_best_for_its_cost: bool = False  # nothing is as good for fewer tokens
    against_current: PairedDifference | None = None


@dataclass(frozen=True)
class Study:
    """A run of the optimiser with its trials, the best first."""

    id: str
    collection_id: str
    set_id: str
    metric: str
    state: State
    error: str | None
    created_at: datetime
    trials: Sequence[StudyTrial]

    @property
    def done(self) -> int:
        """How many were tried."""
        return sum(trial.result is not None for trial in self.trials)


def rank_trials(trials: Sequence[StudyTrial]) -> list[StudyTrial]:
    """The best first, of equals the cheaper one; each with its place against the others and the current settings."""
    current = next((trial.result for trial in trials if trial.is_current), None)
    cheapest_first = sorted(
        (trial for trial in trials if trial.result is not None),
        key=lambda trial: (_require_result(trial).context_tokens, -_require_result(trial).figure.value),
    )
    best = -1.0
    front = set()
    for trial in cheapest_first:
        if _require_result(trial).figure.value > best:
            best = _require_result(trial).figure.value
            front.add(trial.ordinal)
    tried = [
        replace(
            trial,
            is_best_for_its_cost=trial.ordinal in front,
            against_current=_compare_to_current(current, _require_result(trial)) if current is not None else None,
        )
        for trial in cheapest_first
    ]
    tried.sort(key=lambda trial: -_require_result(trial).figure.value)
    return [*tried, *(trial for trial in trials if trial.result is None)]


def _compare_to_current(current: TrialResult, result: TrialResult) -> PairedDifference | None:
    shared = [key for key in current.by_question if key in result.by_question]
    if not shared:
        return None
    return ranking_metrics.compare(
        [current.by_question[key] for key in shared], [result.by_question[key] for key in shared]
    )


def _require_result(trial: StudyTrial) -> TrialResult:
    assert trial.result is not None  # noqa: S101 (only those with a result are asked)
    return trial.result
