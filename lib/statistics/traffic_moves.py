"""Traffic moved to another model, in numbers: of one value of a dimension, of several, and as a table."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

import pandas as pd

from lib.money import convert_nano_to_usd
from lib.statistics.measures import Dimension


class Stays(StrEnum):
    """Why a call could not have moved; the first that holds."""

    NO_PRICE = "no_price"
    TOO_LONG = "too_long"
    NO_IMAGES = "no_images"
    NO_TOOLS = "no_tools"
    NO_JSON = "no_json"


_NUMBERS = (
    "calls", "cost_nano", "low_nano", "high_nano", "stays_nano",
    "unpriced_calls", "uncounted_calls", "no_cache_word_calls",
)  # fmt: skip
_COLUMNS = (
    "other_model", "calls", "cost_usd", "low_usd", "high_usd", "saved_least_usd", "saved_most_usd",
    *(f"{why.value}_calls" for why in Stays),
    "stays_usd", "unpriced_calls", "uncounted_calls", "no_cache_word_calls",
)  # fmt: skip


@dataclass(frozen=True)
class Move:
    """The traffic of one value of a dimension on one other model; nano-dollars.

    `cost_nano` is what the `calls` that could move have cost, `low_nano` to `high_nano` what they would have.
    `stays_nano` is the known cost of those that could not. `no_cache_word_calls` are those of the movers whose provider
    did not say what came from a cache: priced as plain.
    """

    value: str | None
    model: str
    calls: int = 0
    cost_nano: int = 0
    low_nano: int = 0
    high_nano: int = 0
    stays: Mapping[Stays, int] = field(default_factory=dict)
    stays_nano: int = 0
    unpriced_calls: int = 0
    uncounted_calls: int = 0
    no_cache_word_calls: int = 0

    @property
    def saved_nano(self) -> tuple[int, int]:
        """Least and most nano-dollars that the move saves; below zero it costs more."""
        return self.cost_nano - self.high_nano, self.cost_nano - self.low_nano


def sum_moves(moves: Iterable[Move]) -> Move:
    """Several moves of different values as one."""
    summed = Move(None, "")
    for move in moves:
        numbers = {name: getattr(summed, name) + getattr(move, name) for name in _NUMBERS}
        stays = {why: summed.stays.get(why, 0) + move.stays.get(why, 0) for why in Stays}
        summed = replace(summed, stays=stays, **numbers)
    return summed


def build_table(moves: Iterable[Move], by: Dimension) -> pd.DataFrame:
    """The moves as a frame with exact dollars, to be shown and exported."""
    rows = [
        {
            by.value: move.value,
            "other_model": move.model,
            "calls": move.calls,
            "cost_usd": convert_nano_to_usd(move.cost_nano),
            "low_usd": convert_nano_to_usd(move.low_nano),
            "high_usd": convert_nano_to_usd(move.high_nano),
            "saved_least_usd": convert_nano_to_usd(move.saved_nano[0]),
            "saved_most_usd": convert_nano_to_usd(move.saved_nano[1]),
            **{f"{why.value}_calls": move.stays.get(why, 0) for why in Stays},
            "stays_usd": convert_nano_to_usd(move.stays_nano),
            "unpriced_calls": move.unpriced_calls,
            "uncounted_calls": move.uncounted_calls,
            "no_cache_word_calls": move.no_cache_word_calls,
        }
        for move in moves
    ]
    return pd.DataFrame(rows, columns=[by.value, *_COLUMNS])
