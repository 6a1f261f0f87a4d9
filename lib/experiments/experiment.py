"""An experiment and what came of it: values only. Money in nano-dollars, scores from 0 to 1; None is unknown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from fractions import Fraction
from typing import Any

from lib.experiments.intervals import Figure
from lib.experiments.plan import Candidate, Inputs


class ExperimentState(StrEnum):
    """`capped`: the next call might pass the cap. `running` outlives processes: another goes on with it."""

    READY = "ready"
    RUNNING = "running"
    STOPPED = "stopped"
    CAPPED = "capped"
    DONE = "done"


class CellState(StrEnum):
    """`asked`: the call is known, what came of it is not noted yet."""

    WAITING = "waiting"
    ASKED = "asked"
    DONE = "done"
    FAILED = "failed"


class RowChoice(StrEnum):
    """Rows to look at: `wrong` where an answer misses the first score that is a yes or no, `differs` where two answers
    are not the same.
    """

    ALL = "all"
    WRONG = "wrong"
    DIFFERS = "differs"


@dataclass(frozen=True)
class Experiment:
    """`cells` counts by state; `spent_nano_usd` is without calls under way, None where an ended one's is unknown.

    `partly_priced_cells`: so many cells cost more than is known, so the sum is the least that was spent.
    """

    id: str
    name: str
    state: ExperimentState
    reason: str
    candidates: tuple[Candidate, ...]
    scorers: tuple[Mapping[str, Any], ...]
    columns: tuple[str, ...]
    parallel: int
    cap_nano_usd: int | None
    created_at: datetime
    cells: Mapping[CellState, int]
    spent_nano_usd: int | None
    partly_priced_cells: int = 0

    @property
    def total(self) -> int:
        """Number of cells."""
        return sum(self.cells.values())

    @property
    def ended(self) -> int:
        """Number of cells with an outcome."""
        return self.cells.get(CellState.DONE, 0) + self.cells.get(CellState.FAILED, 0)

    @property
    def at_work(self) -> bool:
        """Whether cells are being asked."""
        return self.state is ExperimentState.RUNNING


@dataclass(frozen=True)
class ExperimentCell:
    """A candidate's answer to a row with its scores; `answer` is None without one or its words.

    What the answer cost and what judging it cost are apart, each with every try; None where one is unknown. A cost
    that `is_partial` is the least: something of it has no known price.
    """

    row: int
    candidate: int
    state: CellState
    call_id: str | None
    judge_call_id: str | None
    log_id: str | None
    answer: str | None
    scores: Mapping[str, float | None]
    notes: Mapping[str, str]
    error: str | None
    answer_cost_nano_usd: int | None
    judge_cost_nano_usd: int | None
    answer_cost_is_partial: bool
    judge_cost_is_partial: bool
    execution_time_ms: int | None
    total_tokens: int | None


@dataclass(frozen=True)
class ExperimentRow:
    """A row of the table with its cells, by candidate."""

    row: int
    inputs: Inputs
    cells: Sequence[ExperimentCell]


@dataclass(frozen=True)
class CandidateStanding:
    """How a candidate did. `behind` is its paired difference to the leader by the first score (0 or less).

    Its own cost is that of its answers; what judging them cost is apart, for it says nothing about the candidate.
    A cost that `is_partial` is the least it can be.
    """

    candidate: int
    answers: int
    failed: int
    scores: Mapping[str, Figure]
    answer_cost_nano_usd: int | None
    judge_cost_nano_usd: int | None
    answer_cost_is_partial: bool
    judge_cost_is_partial: bool
    median_ms: int | None
    is_leader: bool
    behind: Figure | None

    @property
    def answer_cost_of_thousand(self) -> int | None:
        """Project the cost of a thousand answers in nano-dollars, failed tries included; None where nobody knows."""
        cost = self.answer_cost_nano_usd
        return None if cost is None or not self.answers else round(Fraction(cost * 1000, self.answers))


@dataclass(frozen=True)
class CostQuote:
    """The least and the most that all calls cost; None with the models that have no known price."""

    calls: int
    low_nano: int | None
    high_nano: int | None
    unpriced: tuple[str, ...]
