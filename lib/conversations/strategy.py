"""What of a conversation's history is sent with the next message: all, the last turns, a token budget, a summary.

A turn is a question with everything that follows it up to the next. The system prompt is not history: it always goes.
`summary` sends all, and has the older part put into a summary before it outgrows its share of the model's window.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from lib.calls.grounding import MOST_COLLECTIONS
from lib.errors import InvalidInput

KEPT_TURNS = 4  # word for word, after a summary


class StrategyKind(StrEnum):
    """The four strategies."""

    ALL = "all"
    LAST = "last"
    BUDGET = "budget"
    SUMMARY = "summary"


@dataclass(frozen=True)
class ContextStrategy:
    """`last`: turns sent besides the question. `tokens`: of the budget. `configuration_id`: who summarises."""

    kind: StrategyKind = StrategyKind.ALL
    last: int = 10
    tokens: int = 8_000
    configuration_id: str | None = None  # None: the conversation's own
    collections: tuple[str, ...] = ()  # of the knowledge base: passages of these go with each question

    def checked(self) -> "ContextStrategy":
        """Return the strategy; raises InvalidInput for a number out of range or an id that is none."""
        for name, value, most in (("last", self.last, 10_000), ("tokens", self.tokens, 10_000_000)):
            if not isinstance(value, int) or not 1 <= value <= most:
                raise InvalidInput(f"{name} can't be used.", f"It is a whole number from 1 to {most:,}.", "", name)
        if not isinstance(self.configuration_id, str | None):
            raise InvalidInput("configuration_id can't be used.", "It is an id.", "", "configuration_id")
        if len(self.collections) > MOST_COLLECTIONS or not all(
            isinstance(collection_id, str) for collection_id in self.collections
        ):
            why = f"It lists up to {MOST_COLLECTIONS} ids."
            raise InvalidInput("collections can't be used.", why, "", "collections")
        return self

    def to_record(self) -> dict[str, Any]:
        """Return the fields as a JSON object, as the column `context` keeps them."""
        return {
            "kind": str(self.kind),
            "last": self.last,
            "tokens": self.tokens,
            "configuration_id": self.configuration_id,
            "collections": list(self.collections),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "ContextStrategy":
        """The reverse of `to_record`, or what a program wrote; missing fields have their defaults."""
        fields = {name: record[name] for name in cls.__dataclass_fields__ if record.get(name) is not None}
        if isinstance(fields.get("collections"), list):
            fields["collections"] = tuple(fields["collections"])
        elif "collections" in fields:
            raise InvalidInput("collections can't be used.", "It is a list of ids.", "", field="collections")
        try:
            return cls(**{**fields, "kind": StrategyKind(fields.get("kind", StrategyKind.ALL))})
        except ValueError:
            fix = f"Use one of {', '.join(StrategyKind)}."
            raise InvalidInput("There is no such strategy.", "", fix, field="kind") from None
