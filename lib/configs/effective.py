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

CONFIGURATION = "configuration"
REQUEST = "request"


class MergeStrategy(StrEnum):
    """How an override combines with what was applied before it, as stored in `overrides.strategy`."""

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
    strategy: MergeStrategy
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
class EffectiveParameters:
    """Parameters to send, where each value came from, and what is not sent: `unsupported` by the model, or already
    `dropped`.
    """

    parameters: Mapping[str, Any]
    sources: Mapping[str, str]
    unsupported: tuple[str, ...] = ()
    dropped: Mapping[str, Any] = field(default_factory=dict)


def compute_effective(
    base: Mapping[str, Any], matching: Iterable[Override], request_parameters: Mapping[str, Any]
) -> EffectiveParameters:
    """Merge the configuration's parameters, then the overrides that match, then the request's own."""
    parameters: dict[str, Any] = {}
    sources: dict[str, str] = {}
    _merge(parameters, sources, base, CONFIGURATION)
    for override in sort_overrides(matching):
        source = f"override {override.name}"
        if override.strategy is MergeStrategy.REPLACE:
            parameters = {}
            sources = {}
        _merge(parameters, sources, override.parameters, source, deep=override.strategy is MergeStrategy.DEEP_MERGE)
    _merge(parameters, sources, request_parameters, REQUEST)
    return EffectiveParameters(parameters, sources)


def sort_overrides(overrides: Iterable[Override]) -> list[Override]:
    """Sort overrides in the order in which they are applied; the last one wins."""
    return sorted(overrides, key=lambda o: (o.priority, o.specificity, o.created_at, o.id))


def drop_unsupported(merged: EffectiveParameters, policy: str, model: str) -> EffectiveParameters:
    """Return what may be sent to the model: the policy `drop` leaves out what it does not take, any other raises
    InvalidInput.
    """
    if not merged.unsupported:
        return merged
    if policy != "drop":
        names = ", ".join(merged.unsupported)
        origins = "; ".join(f"{name} by the {merged.sources[name]}" for name in merged.unsupported)
        raise InvalidInput(
            f"{model} does not take {names}.",
            f"Set: {origins}.",
            "Remove it, or let the configuration leave out what its model does not take.",
            field="parameters",
        )
    supported = {name: value for name, value in merged.parameters.items() if name not in merged.unsupported}
    dropped = {name: merged.parameters[name] for name in merged.unsupported}
    return replace(merged, parameters=supported, unsupported=(), dropped=dropped)


def _merge(
    parameters: dict[str, Any], sources: dict[str, str], above: Mapping[str, Any], source: str, *, deep: bool = False
) -> None:
    """Lay `above` over the parameters, in place."""
    for name, value in above.items():
        below = parameters.get(name)
        if value is None:
            parameters.pop(name, None)
            sources.pop(name, None)
        elif deep and isinstance(value, Mapping):
            parameters[name] = _merge_deep(below, value)
            sources[name] = f"{sources[name]}, {source}" if isinstance(below, Mapping) else source
        else:
            parameters[name] = value
            sources[name] = source


def _merge_deep(below: Any, above: Mapping[str, Any]) -> dict[str, Any]:
    """Merge objects into objects; anything else (lists, too) replaces what was there, and null takes it away."""
    merged = dict(below) if isinstance(below, Mapping) else {}
    for name, value in above.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = _merge_deep(merged.get(name), value) if isinstance(value, Mapping) else value
    return merged
