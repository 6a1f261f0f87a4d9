"""Kinds of work by name, and schedules that every installation has. Filled at import, before the engine is launched."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lib.work.run import WorkRun

Function = Callable[["WorkRun", Any], Awaitable[Any]]


@dataclass(frozen=True)
class Schedule:
    """Runs a kind at the moments of a cron expression (five fields, or six with seconds), once for all processes."""

    name: str
    kind: str
    cron: str
    payload: Any = None
    time_zone: str = "UTC"
    is_paused: bool = False


@dataclass
class Registry:
    """What a program can run. `services` registers its kinds when it is built."""

    functions: dict[str, Function] = field(default_factory=dict)
    schedules: dict[str, Schedule] = field(default_factory=dict)

    def register(self, kind: str, function: Function) -> None:
        """Register the function of a kind; the newest one counts."""
        self.functions[kind] = function

    def schedule(self, schedule: Schedule) -> None:
        """Declare a schedule that stands in every installation from its start on."""
        self.schedules[schedule.name] = schedule
