"""The parameters a call is sent with: the configuration's, the overrides that match, the request's own on top.

Overrides are applied from the lowest priority to the highest; of the same priority the less specific one first, then
the older one. `replace` takes the place of everything before it, `merge` of the names it states, `deep_merge` of the
values inside objects, too. A null takes a parameter away. Every parameter remembers where its value came from.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from lib.errors import InvalidInput

CONFIGURATION, REQUEST = "configuration", "request"


class Strategy(StrEnum):
    """How an override meets what stands before it, as stored in `overrides.strategy`."""

    REPLACE = "replace"
    MERGE = "merge"
    DEEP_MERGE = "deep_merge"


@dataclass(frozen=True)
class Override:
    """Parameters for calls of an app, a context and a configuration; None: of any."""

    id: str
    name: str
    app: str | None
    context: str | None
    configuration_id: str | None
    strategy: Strategy
    priority: int
    parameters: Mapping[str, Any]
    is_active: bool
    created_at: datetime
    updated_at: datetime

    @property
    def specificity(self) -> int:
        """How many of app, context and configuration it names."""
        return sum(part is not None for part in (self.app, self.context, self.configuration_id))


@dataclass(frozen=True)
class Effective:
    """What is sent, where each value came from, and what is not: `unsupported` by the model, or already `dropped`."""

    parameters: Mapping[str, Any]
    sources: Mapping[str, str]
    unsupported: tuple[str, ...] = ()
    dropped: Mapping[str, Any] = field(default_factory=dict)


def effective(
    base: Mapping[str, Any], matching: Iterable[Override], request_parameters: Mapping[str, Any]
) -> Effective:
    """Configuration's parameters, then overrides, then the request's own."""
    parameters: dict[str, Any] = {}
    sources: dict[str, str] = {}
    _merge(parameters, sources, base, CONFIGURATION)
    for override in in_order(matching):
        source = f"override {override.name}"
        if override.strategy is Strategy.REPLACE:
            parameters, sources = {}, {}
        _merge(parameters, sources, override.parameters, source, deep=override.strategy is Strategy.DEEP_MERGE)
    _merge(parameters, sources, request_parameters, REQUEST)
    return Effective(parameters, sources)


def in_order(overrides: Iterable[Override]) -> list[Override]:
    """As they are applied: the last one has the last word."""
    return sorted(overrides, key=lambda o: (o.priority, o.specificity, o.created_at, o.id))


def settled(found: Effective, policy: str, model: str) -> Effective:
    """What may be sent to the model: `drop` leaves out what it does not take, otherwise InvalidInput names it."""
    if not found.unsupported:
        return found
    if policy != "drop":
        names = ", ".join(found.unsupported)
        where = "; ".join(f"{name} by the {found.sources[name]}" for name in found.unsupported)
        raise InvalidInput(
            f"{model} does not take {names}.",
            f"Set: {where}.",
            "Remove it, or let the configuration leave out what its model does not take.",
            field="parameters",
        )
    kept = {name: value for name, value in found.parameters.items() if name not in found.unsupported}
    dropped = {name: found.parameters[name] for name in found.unsupported}
    return replace(found, parameters=kept, unsupported=(), dropped=dropped)


def _merge(
    parameters: dict[str, Any], sources: dict[str, str], above: Mapping[str, Any], source: str, *, deep: bool = False
) -> None:
    """Lay `above` over the parameters, in place."""
    for name, value in above.items():
        before = parameters.get(name)
        if value is None:
            parameters.pop(name, None)
            sources.pop(name, None)
        elif deep and isinstance(value, Mapping):
            parameters[name] = _deep(before, value)
            sources[name] = f"{sources[name]}, {source}" if isinstance(before, Mapping) else source
        else:
            parameters[name], sources[name] = value, source


def _deep(below: Any, above: Mapping[str, Any]) -> dict[str, Any]:
    """Objects into objects, anything else (lists, too) in place of what was; null takes away."""
    merged = dict(below) if isinstance(below, Mapping) else {}
    for name, value in above.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = _deep(merged.get(name), value) if isinstance(value, Mapping) else value
    return merged
