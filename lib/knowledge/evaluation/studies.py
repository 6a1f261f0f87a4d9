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
from lib.knowledge.documents.chunking import Chunking, Strategy
from lib.knowledge.evaluation import ranking_metrics
from lib.knowledge.evaluation.ranking_metrics import Difference, Estimate
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

    def plain(self) -> "Cell":
        """The same without what makes no difference: `semantic` overlaps nothing, only hybrid search re-ranks.

        A re-ranking model costs at every question and is not tried.
        """
        chunking = self.chunking
        search = self.search
        if chunking.strategy is Strategy.SEMANTIC:
            chunking = replace(chunking, overlap=0)
        return Cell(chunking, replace(search, rerank=search.rerank and search.mode is Mode.HYBRID, reranker=""))


@dataclass(frozen=True)
class Grid:
    """Everything that is crossed with everything."""

    strategies: tuple[Strategy, ...] = (Strategy.RECURSIVE, Strategy.HEADING)
    sizes: tuple[int, ...] = (500, 1000, 2000)
    overlaps: tuple[int, ...] = (0, 150)
    modes: tuple[Mode, ...] = (Mode.HYBRID,)
    ks: tuple[int, ...] = (4, 8)
    reranks: tuple[bool, ...] = (True, False)

    def cells(self, current: Cell) -> list[Cell]:
        """Each that differs, the current settings first; an overlap above half of a size is left out."""
        found = [current.plain()]
        for strategy, size, overlap in product(self.strategies, self.sizes, self.overlaps):
            if overlap > size // 2:
                continue
            for mode, k, rerank in product(self.modes, self.ks, self.reranks):
                found.append(Cell(Chunking(strategy, size, overlap), SearchSettings(mode, k, rerank)).plain())
        found = [*dict.fromkeys(found)]
        if len(found) > MOST_TRIALS:
            why = f"The grid has {len(found):,} trials; the limit is {MOST_TRIALS}."
            raise InvalidInput("That is too much to try.", why, "Leave something out.", "grid")
        return found


@dataclass(frozen=True)
class Quote:
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
class Result:
    """What a trial found; the figures of questions are in the order of the set's questions."""

    figure: Estimate
    by_question: Mapping[str, float]
    passages: int
    context_tokens: float  # a question, estimated
    search_ms: float  # a question, without its embedding

    @classmethod
    def read(cls, kept: Mapping[str, Any]) -> "Result":
        """From what SQL has."""
        return cls(**{**kept, "figure": Estimate(**kept["figure"])})


@dataclass(frozen=True)
class Trial:
    """One cell of the grid; `result` is None until it was tried, `against_current` until both were."""

    ordinal: int
    cell: Cell
    is_current: bool
    result: Result | None
    is_best_for_its_cost: bool = False  # nothing is as good for fewer tokens
    against_current: Difference | None = None


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
    trials: Sequence[Trial]

    @property
    def done(self) -> int:
        """How many were tried."""
        return sum(trial.result is not None for trial in self.trials)


def ranked(trials: Sequence[Trial]) -> list[Trial]:
    """The best first, of equals the cheaper one; each with its place against the others and the current settings."""
    current = next((trial.result for trial in trials if trial.is_current), None)
    cheapest_first = sorted(
        (trial for trial in trials if trial.result is not None),
        key=lambda trial: (_result(trial).context_tokens, -_result(trial).figure.value),
    )
    best = -1.0
    front = set()
    for trial in cheapest_first:
        if _result(trial).figure.value > best:
            best = _result(trial).figure.value
            front.add(trial.ordinal)
    found = [
        replace(
            trial,
            is_best_for_its_cost=trial.ordinal in front,
            against_current=_difference(current, _result(trial)) if current is not None else None,
        )
        for trial in cheapest_first
    ]
    found.sort(key=lambda trial: -_result(trial).figure.value)
    return [*found, *(trial for trial in trials if trial.result is None)]


def _difference(current: Result, result: Result) -> Difference | None:
    both = [key for key in current.by_question if key in result.by_question]
    if not both:
        return None
    return ranking_metrics.compare(
        [current.by_question[key] for key in both], [result.by_question[key] for key in both]
    )


def _result(trial: Trial) -> Result:
    assert trial.result is not None  # noqa: S101 (only those with a result are asked)
    return trial.result
