"""Where a configuration's calls may go: more deployments beside its own, a fallback chain, attempts and deadlines.

The configuration's own provider and model are always the first deployment; `weight` is its weight. A call goes to one
deployment, chosen by the strategy; when it is given up, to the next; then down the fallback chain in order. The column
`configurations.routing` holds what differs from the defaults, so that an empty one means "just this model".
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from lib.errors import InvalidInput

MOST_TARGETS = 10
HEAVIEST = 1000
MOST_ATTEMPTS = 10
MOST_ATTEMPTS_IN_ALL = 20
SHORTEST_S = 0.1
LONGEST_S = 3600.0


class RoutingStrategy(StrEnum):
    """How a deployment is chosen, by the names of litellm's Router: those that work within one process."""

    WEIGHTED = "simple-shuffle"
    LEAST_BUSY = "least-busy"
    FASTEST = "latency-based-routing"
    CHEAPEST = "cost-based-routing"


@dataclass(frozen=True)
class Deadlines:
    """Seconds: until the first token, between two chunks, in all (every attempt and pause included)."""

    first_token_s: float = 120.0
    idle_s: float = 60.0
    total_s: float = 900.0


@dataclass(frozen=True)
class Deployment:
    """A model at a provider; the weight is its share under the weighted strategy."""

    provider_id: str
    model: str
    weight: int = 1


@dataclass(frozen=True)
class Routing:
    """Where calls may go; `max_attempts` is for one target, `total_attempts` for the whole call."""

    weight: int = 1
    deployments: tuple[Deployment, ...] = ()
    strategy: RoutingStrategy = RoutingStrategy.WEIGHTED
    fallbacks: tuple[Deployment, ...] = ()
    max_attempts: int = 3
    total_attempts: int = 6
    deadlines: Deadlines = field(default_factory=Deadlines)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Routing":
        """Read the JSON of the column `configurations.routing`; raises InvalidInput."""
        _refuse_unknown(record, set(cls.__dataclass_fields__))
        deployments = _read_targets(record.get("deployments", ()), weighted=True)
        fallbacks = _read_targets(record.get("fallbacks", ()), weighted=False)
        pairs = [(target.provider_id, target.model) for target in (*deployments, *fallbacks)]
        if twice := next((pair for pair in pairs if pairs.count(pair) > 1), None):
            raise _make_error(f"{twice[1]} stands twice in the routing.", "Name each provider and model once.")
        strategy = record.get("strategy", RoutingStrategy.WEIGHTED)
        if strategy not in {choice.value for choice in RoutingStrategy}:
            raise _make_error(f"{str(strategy)[:40]!r} is no strategy.", f"Choose one of {', '.join(RoutingStrategy)}.")
        return cls(
            weight=_read_whole_number(record, "weight", 1, HEAVIEST, 1),
            deployments=deployments,
            strategy=RoutingStrategy(strategy),
            fallbacks=fallbacks,
            max_attempts=_read_whole_number(record, "max_attempts", 1, MOST_ATTEMPTS, 3),
            total_attempts=_read_whole_number(record, "total_attempts", 1, MOST_ATTEMPTS_IN_ALL, 6),
            deadlines=_read_deadlines(record.get("deadlines", {})),
        )

    def to_record(self) -> dict[str, Any]:
        """Write the JSON of the column `configurations.routing`, without what is as by default."""
        default = asdict(Routing())
        whole = asdict(self)
        record = {name: value for name, value in whole.items() if value != default[name]}
        if "deadlines" in record:
            record["deadlines"] = {n: s for n, s in record["deadlines"].items() if s != default["deadlines"][n]}
        if "strategy" in record:
            record["strategy"] = self.strategy.value
        for name in ("deployments", "fallbacks"):
            if name in record:
                record[name] = [_write_target(target, weighted=name == "deployments") for target in record[name]]
        return record


def _write_target(target: Mapping[str, Any], *, weighted: bool) -> dict[str, Any]:
    return {name: value for name, value in target.items() if weighted or name != "weight"}


def _read_targets(entries: Any, *, weighted: bool) -> tuple[Deployment, ...]:
    if not isinstance(entries, list | tuple) or len(entries) > MOST_TARGETS:
        raise _make_error("The routing can't be used.", f"It holds lists of at most {MOST_TARGETS} targets.")
    return tuple(_read_target(entry, weighted=weighted) for entry in entries)


def _read_target(entry: Any, *, weighted: bool) -> Deployment:
    if not isinstance(entry, Mapping):
        raise _make_error("A target of the routing can't be read.", "Each one is a provider and a model.")
    _refuse_unknown(entry, {"provider_id", "model", "weight"} if weighted else {"provider_id", "model"})
    provider_id = entry.get("provider_id")
    model = entry.get("model")
    if not isinstance(provider_id, str) or not provider_id:
        raise _make_error("A target of the routing has no provider.", "Choose one, or remove the line.")
    if not isinstance(model, str) or not model.strip() or len(model) > 200 or not model.isprintable():
        raise _make_error("A target of the routing has no usable model.", "Write it as the provider does.")
    return Deployment(provider_id, model.strip(), _read_whole_number(entry, "weight", 1, HEAVIEST, 1))


def _read_deadlines(record: Any) -> Deadlines:
    if not isinstance(record, Mapping):
        raise _make_error("The deadlines can't be read.", "Each one is a number of seconds.")
    _refuse_unknown(record, set(Deadlines.__dataclass_fields__))
    for name, seconds in record.items():
        if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not SHORTEST_S <= seconds <= LONGEST_S:
            raise _make_error(f"The deadline {name} can't be used.", f"Give {SHORTEST_S} to {LONGEST_S:g} seconds.")
    return Deadlines(**{name: float(seconds) for name, seconds in record.items()})


def _read_whole_number(record: Mapping[str, Any], name: str, low: int, high: int, default: int) -> int:
    value = record.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise _make_error(f"{name} can't be used.", f"Give a whole number from {low} to {high}.")
    return value


def _refuse_unknown(record: Mapping[str, Any], field_names: set[str]) -> None:
    if unknown := sorted(str(name) for name in record if name not in field_names):
        raise _make_error(f"The routing knows no {unknown[0][:40]}.", f"It knows {', '.join(sorted(field_names))}.")


def _make_error(title: str, fix: str) -> InvalidInput:
    return InvalidInput(title, "", fix, field="routing")
