"""What a window will have cost at its end, as a range between two simple views of it.

By share: what is spent, stretched to the whole window; only once a tenth of it has passed. By pace: what is spent, plus
the last seven days' daily cost for the days that are left. Steady use makes both agree; a rise or fall parts them.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from lib.budgets.budget import Window

PACE_DAYS = 7
HOW = (
    "Between two views: what is spent stretched to the whole window (once a tenth of it has passed), and what is spent "
    f"plus the daily cost of the last {PACE_DAYS} days for the time that is left."
)
_EARLY = 10  # the part of a window before whose end its own share says too little


@dataclass(frozen=True)
class Forecast:
    """Nano-dollars at the window's end, from `low` to `high`."""

    low: int
    high: int


@dataclass(frozen=True)
class Pace:
    """What live calls cost (nano-dollars) over the stretch of time that ends now."""

    cost_nano: int
    stretch: timedelta


def forecast(window: Window, spent: int, pace: Pace | None, now: datetime) -> Forecast | None:
    """The range; None where neither view has anything to go by."""
    whole = window.end - window.start
    passed = now - window.start
    remaining = window.end - now
    views = []
    if passed * _EARLY >= whole:
        views.append(spent * _count_microseconds(whole) // _count_microseconds(passed))
    if pace is not None and pace.stretch > timedelta():
        views.append(spent + pace.cost_nano * _count_microseconds(remaining) // _count_microseconds(pace.stretch))
    return Forecast(min(views), max(views)) if views else None


def _count_microseconds(stretch: timedelta) -> int:
    return stretch // timedelta(microseconds=1)
