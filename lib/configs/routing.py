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
MOST_ATTEMPTS, MOST_ATTEMPTS_IN_ALL = 10, 20
SHORTEST_S, LONGEST_S = 0.1, 3600.0


class Strategy(StrEnum):
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
    """`max_attempts` is for one target, `total_attempts` for the whole call."""

    weight: int = 1
    deployments: tuple[Deployment, ...] = ()
    strategy: Strategy = Strategy.WEIGHTED
    fallbacks: tuple[Deployment, ...] = ()
    max_attempts: int = 3
    total_attempts: int = 6
    deadlines: Deadlines = field(default_factory=Deadlines)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Routing":
        """Read the column's form; InvalidInput says what can't be used."""
        _refuse_unknown(record, set(cls.__dataclass_fields__))
        deployments = _targets(record.get("deployments", ()), weighted=True)
        fallbacks = _targets(record.get("fallbacks", ()), weighted=False)
        pairs = [(target.provider_id, target.model) for target in (*deployments, *fallbacks)]
        if twice := next((pair for pair in pairs if pairs.count(pair) > 1), None):
            raise _invalid(f"{twice[1]} stands twice in the routing.", "Name each provider and model once.")
        strategy = record.get("strategy", Strategy.WEIGHTED)
        if strategy not in {known.value for known in Strategy}:
            raise _invalid(f"{str(strategy)[:40]!r} is no strategy.", f"Choose one of {', '.join(Strategy)}.")
        return cls(
            weight=_whole(record, "weight", 1, HEAVIEST, 1),
            deployments=deployments,
            strategy=Strategy(strategy),
            fallbacks=fallbacks,
            max_attempts=_whole(record, "max_attempts", 1, MOST_ATTEMPTS, 3),
            total_attempts=_whole(record, "total_attempts", 1, MOST_ATTEMPTS_IN_ALL, 6),
            deadlines=_deadlines(record.get("deadlines", {})),
        )

    def to_record(self) -> dict[str, Any]:
        """The column's form: plain JSON, without what is as by default."""
        default, whole = asdict(Routing()), asdict(self)
        record = {name: value for name, value in whole.items() if value != default[name]}
        if "deadlines" in record:
            record["deadlines"] = {n: s for n, s in record["deadlines"].items() if s != default["deadlines"][n]}
        if "strategy" in record:
            record["strategy"] = self.strategy.value
        for name in ("deployments", "fallbacks"):
            if name in record:
                record[name] = [_plain(target, weighted=name == "deployments") for target in record[name]]
        return record


def _plain(target: Mapping[str, Any], *, weighted: bool) -> dict[str, Any]:
    return {name: value for name, value in target.items() if weighted or name != "weight"}


def _targets(given: Any, *, weighted: bool) -> tuple[Deployment, ...]:
    if not isinstance(given, list | tuple) or len(given) > MOST_TARGETS:
        raise _invalid("The routing can't be used.", f"It holds lists of at most {MOST_TARGETS} targets.")
    return tuple(_target(entry, weighted=weighted) for entry in given)


def _target(entry: Any, *, weighted: bool) -> Deployment:
    if not isinstance(entry, Mapping):
        raise _invalid("A target of the routing can't be read.", "Each one is a provider and a model.")
    _refuse_unknown(entry, {"provider_id", "model", "weight"} if weighted else {"provider_id", "model"})
    provider_id, model = entry.get("provider_id"), entry.get("model")
    if not isinstance(provider_id, str) or not provider_id:
        raise _invalid("A target of the routing has no provider.", "Choose one, or remove the line.")
    if not isinstance(model, str) or not model.strip() or len(model) > 200 or not model.isprintable():
        raise _invalid("A target of the routing has no usable model.", "Write it as the provider does.")
    return Deployment(provider_id, model.strip(), _whole(entry, "weight", 1, HEAVIEST, 1))


def _deadlines(given: Any) -> Deadlines:
    if not isinstance(given, Mapping):
        raise _invalid("The deadlines can't be read.", "Each one is a number of seconds.")
    _refuse_unknown(given, set(Deadlines.__dataclass_fields__))
    for name, seconds in given.items():
        if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not SHORTEST_S <= seconds <= LONGEST_S:
            raise _invalid(f"The deadline {name} can't be used.", f"Give {SHORTEST_S} to {LONGEST_S:g} seconds.")
    return Deadlines(**{name: float(seconds) for name, seconds in given.items()})


def _whole(record: Mapping[str, Any], name: str, low: int, high: int, default: int) -> int:
    value = record.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise _invalid(f"{name} can't be used.", f"Give a whole number from {low} to {high}.")
    return value


def _refuse_unknown(record: Mapping[str, Any], known: set[str]) -> None:
    if unknown := sorted(str(name) for name in record if name not in known):
        raise _invalid(f"The routing knows no {unknown[0][:40]}.", f"It knows {', '.join(sorted(known))}.")


def _invalid(title: str, fix: str) -> InvalidInput:
    return InvalidInput(title, "", fix, field="routing")
