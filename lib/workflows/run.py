"""A run and its steps as values, and why a step or a run stops."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from lib.errors import LLMManagerError

MOST_OUTPUT = 4_000_000  # bytes of JSON that a step may return


class RunState(StrEnum):
    """Where a run is. `waiting`: for a person, a signal or a time. `paused`: by somebody, or by its cost cap."""

    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    PAUSED = "paused"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_over(self) -> bool:
        """Whether nothing more happens by itself, ever."""
        return self in (RunState.DONE, RunState.FAILED, RunState.CANCELLED)

    @property
    def is_at_work(self) -> bool:
        """Whether something happens now, or soon."""
        return self in (RunState.QUEUED, RunState.RUNNING)


class StepState(StrEnum):
    """Where a step is. `unknown`: its process ended while it acted, and nobody knows whether it was done."""

    RUNNING = "running"
    WAITING = "waiting"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"


class Trigger(StrEnum):
    """What started a run."""

    PAGE = "page"
    COMMAND = "command"
    API = "api"
    GATEWAY = "gateway"
    SCHEDULE = "schedule"
    WEBHOOK = "webhook"
    CONVERSATION = "conversation"
    TOOL = "tool"
    TEST = "test"
    RERUN = "rerun"
    EXPERIMENT = "experiment"


@dataclass(frozen=True)
class Run:
    """A run of one version. Money is nano-dollars; `cost_nano_usd` None: a call's cost is unknown.

    With `has_partial_cost` it is the least: a part of a call has no known price.
    """

    id: str
    workflow_id: str
    version: int
    pins: Mapping[str, tuple[str, int]]
    state: RunState
    reason: str
    failed_step: str
    trigger: Trigger
    user_id: str | None
    api_key_id: str | None
    team_id: int
    inputs: Mapping[str, Any]
    output: Any
    cost_cap_nano_usd: int | None
    cost_nano_usd: int | None
    prompt_tokens: int
    completion_tokens: int
    orphaned_calls: int
    steps_done: int
    executions: int
    stop_asked: str
    wake_at: datetime | None
    reuses_run_id: str | None
    rerun_from: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    slug: str = ""
    workflow_name: str = ""
    user_name: str | None = None
    has_partial_cost: bool = False
    shows_content: bool = True  # whether inputs and outputs may be read by whoever asked

    @property
    def tokens(self) -> int:
        """Tokens of prompts and answers."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True)
class Step:
    """A step of a run. `path` is its node, or node/index/node within a map, a loop or another workflow."""

    path: str
    position: int
    kind: str
    state: StepState
    port: str
    attempts: int
    input: Any
    output: Any
    changes: Mapping[str, Any] | None
    error: str
    input_hash: str
    reused_from: str | None
    calls: tuple[str, ...]
    cost_nano_usd: int | None
    prompt_tokens: int
    completion_tokens: int
    started_at: datetime
    finished_at: datetime | None
    has_partial_cost: bool = False

    @property
    def node_id(self) -> str:
        """The node within its graph."""
        return self.path.rsplit("/", 1)[-1]

    @property
    def duration_ms(self) -> int | None:
        """Milliseconds from its beginning to its end; None while it goes."""
        return None if self.finished_at is None else round((self.finished_at - self.started_at).total_seconds() * 1000)


@dataclass(frozen=True)
class StepResult:
    """What a step made: its output, the port it is left by, and what to show as its input."""

    output: Any
    port: str = ""


@dataclass
class StepUsage:
    """Calls that a step made, in order, and what they cost."""

    calls: list[str] = field(default_factory=list)
    cost_nano_usd: int | None = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    has_partial_cost: bool = False


class StepError(Exception):
    """A step failed. `is_transient`: another try may help. `is_final`: neither retry nor fallback is to be used.

    `spoils`: what was answered is of no use, so another try asks anew. `path` names the step within it that failed,
    where it is made of steps.
    """

    def __init__(
        self,
        message: str,
        *,
        is_transient: bool = False,
        is_final: bool = False,
        spoils: bool = False,
        path: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.is_transient = is_transient
        self.is_final = is_final
        self.spoils = spoils
        self.path = path


class StepWaits(Exception):
    """A step can't go on before a person, a signal or a time lets it; `until` None: no time by itself does."""

    def __init__(self, why: str, until: datetime | None = None) -> None:
        super().__init__(why)
        self.why = why
        self.until = until


class StepHeld(Exception):
    """Nothing may start now: the run is paused, its cap is reached, or another step failed."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class RunLost(Exception):
    """Another execution has taken the run: this one has to stop without writing anything."""


def describe_error(error: Exception) -> str:
    """An error's words for a step's row."""
    if isinstance(error, LLMManagerError):
        return str(error)[:2_000]
    return str(error)[:2_000] or type(error).__name__
