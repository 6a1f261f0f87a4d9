"""What can be told of a run, why a step did not return, and the queues that runs wait in."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from lib.errors import LLMManagerError


class Queue(StrEnum):
    """A queue by how long its work may wait; each has a limit for every team, and one for a process."""

    INTERACTIVE = "interactive"
    BATCH = "batch"
    SCHEDULED = "scheduled"


@dataclass(frozen=True)
class QueueLimits:
    """How many runs of one team are at work at once over all processes, in one process, and how often it looks."""

    for_team: int
    in_process: int
    look_every_s: float


QUEUES = {
    Queue.INTERACTIVE: QueueLimits(16, 32, 0.4),
    Queue.BATCH: QueueLimits(4, 8, 1.0),
    Queue.SCHEDULED: QueueLimits(4, 4, 5.0),
}


class WorkState(StrEnum):
    """Where a run is; the last three are ends. `waiting`: parked until a signal or a deadline."""

    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class RunStatus:
    """A run as it stands. `output` is what its function returned, None before the end; `error` why it failed."""

    run_id: str
    kind: str
    state: WorkState
    output: Any
    error: str | None
    attempts: int
    executor_id: str | None
    created_at: datetime
    updated_at: datetime

    @property
    def is_over(self) -> bool:
        """Whether nothing will happen any more by itself."""
        return self.state in (WorkState.DONE, WorkState.FAILED, WorkState.CANCELLED)


class StepFailed(LLMManagerError):
    """A step ended with an error; `step` names it, `kind` is the error's class."""

    def __init__(self, step: str, kind: str, title: str, why: str = "", fix: str = "") -> None:
        super().__init__(title, why, fix)
        self.step = step
        self.kind = kind


class StepUnknown(LLMManagerError):
    """A step that acts was begun before its process died, and nobody knows whether it was done: a person decides."""

    def __init__(self, step: str) -> None:
        super().__init__(
            f"Nobody knows whether the step {step} was done.",
            "Its process ended while it acted.",
            "Look where it acts, then go on with its result or do it again.",
        )
        self.step = step


class RunStopped(BaseException):
    """This execution of a run is over: it was cancelled, parked, or another process goes on with it. Let it pass."""
