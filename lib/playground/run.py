"""A run of the playground and its parts: values only."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lib.calls.live_call import CallView
from lib.tokens.message_text import read_message_text

MOST_PANES = 4
DRAW = -1  # in `winner`: no answer was better


@dataclass(frozen=True)
class Pane:
    """What one pane asks: a configuration by slug or id, parameters on top of its own, a system prompt.

    `system_prompt` None is the question's, and if that has none the configuration's own.
    """

    configuration: str
    parameters: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    system_prompt: str | None = None


@dataclass(frozen=True)
class PaneState:
    """A pane of a run: `call` is None where nothing was sent (`error` says why) or the ledger keeps it no more."""

    position: int
    slug: str
    parameters: Mapping[str, Any]
    call_id: str | None
    error: str | None
    call: CallView | None

    @property
    def system_prompt(self) -> str:
        """The text that was sent as the system message; empty without one."""
        messages = self.call.messages if self.call is not None else []
        return next((read_message_text(message) for message in messages if message.get("role") == "system"), "")


@dataclass(frozen=True)
class PlaygroundRun:
    """A run with its panes, in order. `winner` is a position, DRAW, or None before the vote.

    A call that was not asked in a run is one of a single pane that is not `is_kept`: nothing to share or vote on.
    """

    id: str
    user_id: str | None
    owner: str | None
    created_at: datetime
    is_shared: bool
    is_blind: bool
    winner: int | None
    panes: tuple[PaneState, ...]
    is_kept: bool = True

    @property
    def running(self) -> bool:
        """Whether a pane still waits for more of its answer."""
        return any(pane.call is not None and pane.call.running for pane in self.panes)

    @property
    def is_hidden(self) -> bool:
        """Whether it is blind and not voted on: nothing may tell the answers apart but their text."""
        return self.is_blind and self.winner is None and len(self.panes) > 1

    @property
    def first_call(self) -> CallView | None:
        """The first pane's call that exists; it tells what was asked. None where nothing was sent or kept."""
        return next((pane.call for pane in self.panes if pane.call is not None), None)


@dataclass(frozen=True)
class RunLine:
    """A line of the list of runs. Money in nano-dollars; None where a pane's cost is unknown."""

    id: str
    created_at: datetime
    prompt_text: str
    panes: int
    cost_nano_usd: int | None
    partly_known: int = 0  # panes whose cost is not wholly in the sum


@dataclass(frozen=True)
class Wins:
    """How a configuration did in the actor's votes: panes compared, won and drawn; `model` as last asked."""

    slug: str
    model: str
    runs: int
    won: int
    drawn: int

    @property
    def interval(self) -> tuple[float, float]:
        """The share of points (a draw is half of one), as `wilson`."""
        return compute_wilson_interval((self.won + self.drawn / 2) / self.runs, self.runs)


def compute_wilson_interval(share: float, count: int) -> tuple[float, float]:
    """Compute the 95 % score interval of a share of `count` values (Wilson 1927)."""
    z = 1.959964
    middle = share + z * z / (2 * count)
    spread = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return (middle - spread) / (1 + z * z / count), (middle + spread) / (1 + z * z / count)
