"""Overrides in the database, and the effective parameters of a call: one answer for the call path and for the preview.

An override names an app, a context and a configuration, each of which may be any. The rules of merging stand in
`lib.configs.effective`, what a model takes in `lib.providers.support`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, or_, select, update

from lib.access import audit
from lib.access.permissions import Actor, Permission
from lib.access.team_scope import (
    filter_changeable,
    filter_chosen_team,
    filter_usable,
    make_shared_refusal,
    require_team,
)
from lib.clock import make_id, utc_now
from lib.configs.configuration import Configuration, check_slug
from lib.configs.effective import EffectiveParameters, MergeStrategy, Override, compute_effective, sort_overrides
from lib.db.engine import Store
from lib.db.tables import configurations, overrides
from lib.errors import InvalidInput, NotFound
from lib.providers import parameter_rules, support
from lib.providers.discovery import Models
from lib.providers.models import ModelFacts

__all__ = ["MergeStrategy", "Override", "OverrideDraft", "Overrides"]
_C = overrides.c
_HIGHEST = 1_000_000
_LARGEST = 100_000  # characters of parameters


@dataclass(frozen=True)
class OverrideDraft:
    """The fields of an override that a person may set; null in `parameters` takes one away."""

    name: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    app: str | None = None
    context: str | None = None
    configuration_id: str | None = None
    strategy: str = MergeStrategy.MERGE.value
    priority: int = 0

    def to_columns(self) -> dict[str, Any]:
        """Check every field and return the columns to store; raises InvalidInput with the field that can't be used."""
        if not (name := self.name.strip()) or len(name) > 80 or not name.isprintable():
            raise InvalidInput("The name can't be used.", "It is empty or too long.", "Choose another.", field="name")
        if self.strategy not in {strategy.value for strategy in MergeStrategy}:
            allowed = ", ".join(strategy.value for strategy in MergeStrategy)
            raise InvalidInput("There is no such strategy.", "", f"Use one of {allowed}.", field="strategy")
        if not -_HIGHEST <= self.priority <= _HIGHEST:
            raise InvalidInput("The priority can't be used.", "", f"Use at most {_HIGHEST:,}.", field="priority")
        if len(json.dumps(dict(self.parameters))) > _LARGEST:
            raise InvalidInput("The parameters are too long.", "", "Shorten them.", field="parameters")
        parameter_rules.check(self.parameters)
        return {
            "name": name,
            "app": check_slug(self.app, "app") if self.app else None,
            "context": check_slug(self.context, "context") if self.context else None,
            "configuration_id": self.configuration_id or None,
            "strategy": self.strategy,
            "priority": self.priority,
            "parameters": dict(self.parameters),
        }


class Overrides:
    """The overrides of the teams: who may view configurations sees those of the chosen team and those of all teams."""

    def __init__(self, store: Store, models: Models) -> None:
        self._store = store
        self._models = models

    def list(self, actor: Actor) -> list[Override]:
        """List all overrides in the order in which they are applied."""
        actor.require(Permission.VIEW_CONFIGS)
        with self._store.read() as connection:
            return sort_overrides(
                _build_override(row)
                for row in connection.execute(select(overrides).where(filter_usable(actor, _C.team_id)))
            )

    def get(self, actor: Actor, override_id: str) -> Override:
        """Get an override by id; raises NotFound."""
        actor.require(Permission.VIEW_CONFIGS)
        with self._store.read() as connection:
            return _build_override(_find(connection, actor, override_id))

    def create(self, actor: Actor, draft: OverrideDraft) -> Override:
        """Make an override; it holds from the next call on."""
        actor.require(Permission.EDIT_CONFIGS)
        now = utc_now()
        row = draft.to_columns() | {"id": make_id(), "is_active": True, "created_at": now, "updated_at": now}
        row["team_id"] = require_team(actor)
        with self._store.write() as connection:
            _require_configuration(connection, actor, row["configuration_id"])
            connection.execute(insert(overrides).values(**row))
            audit.record(
                connection, actor, "override.create", row["name"], of_team=row["team_id"], **_describe_override(row)
            )
        return self.get(actor, row["id"])

    def update(self, actor: Actor, override_id: str, draft: OverrideDraft) -> Override:
        """Change every field a person may set."""
        actor.require(Permission.EDIT_CONFIGS)
        values = draft.to_columns()
        self._change(actor, "override.edit", override_id, values, **_describe_override(values))
        return self.get(actor, override_id)

    def set_active(self, actor: Actor, override_id: str, is_active: bool) -> None:
        """Switch an override on or off."""
        actor.require(Permission.EDIT_CONFIGS)
        self._change(actor, "override.on" if is_active else "override.off", override_id, {"is_active": is_active})

    def delete(self, actor: Actor, override_id: str) -> None:
        """Delete an override; calls made with it keep their parameters in the ledger."""
        actor.require(Permission.EDIT_CONFIGS)
        with self._store.write() as connection:
            row = _find_changeable(connection, actor, override_id)
            connection.execute(delete(overrides).where(_C.id == row.id))
            audit.record(connection, actor, "override.delete", row.name, of_team=row.team_id)

    def matching(self, actor: Actor, app: str, context: str | None, configuration_id: str) -> Sequence[Override]:
        """List the overrides switched on that hold for a call; without a context, those that name one do not."""
        actor.require(Permission.VIEW_CONFIGS)
        query = select(overrides).where(
            _C.is_active,
            filter_chosen_team(actor, _C.team_id),
            or_(_C.app.is_(None), _C.app == app),
            _C.context.is_(None) if context is None else or_(_C.context.is_(None), _C.context == context),
            or_(_C.configuration_id.is_(None), _C.configuration_id == configuration_id),
        )
        with self._store.read() as connection:
            return [_build_override(row) for row in connection.execute(query)]

    def effective(
        self,
        actor: Actor,
        configuration: Configuration,
        parameters: Mapping[str, Any],
        *,
        app: str | None = None,
        context: str | None = None,
    ) -> EffectiveParameters:
        """Compute what a call of the configuration would be sent with; `unsupported` names what its model does not
        take.

        `parameters` are the request's own. Raises InvalidInput when the result holds what no model takes.
        """
        matching = self.matching(actor, app or configuration.app, context, configuration.id)
        merged = compute_effective(configuration.parameters, matching, parameters)
        return self.mark_unsupported(
            merged, configuration.provider_kind, configuration.model, configuration.provider_id
        )

    def mark_unsupported(
        self, merged: EffectiveParameters, kind: str, model: str, provider_id: str | None
    ) -> EffectiveParameters:
        """Check parameters and name in `unsupported` those that a model does not take (internal: shows nothing of the
        team's).
        """
        limits = self._models.limits(kind, model, provider_id) if merged.parameters and kind else None
        return mark_unsupported(merged, kind, limits)

    def limits(self, kind: str, model: str, provider_id: str) -> ModelFacts:
        """Get the facts of a model that bound its calls (internal: for the call path)."""
        return self._models.limits(kind, model, provider_id)

    def _change(self, actor: Actor, action: str, override_id: str, values: dict[str, Any], **detail: Any) -> None:
        with self._store.write() as connection:
            row = _find_changeable(connection, actor, override_id)
            _require_configuration(connection, actor, values.get("configuration_id"))
            query = update(overrides).where(_C.id == row.id)
            connection.execute(query.values(**values, updated_at=utc_now()))
            audit.record(connection, actor, action, values.get("name", row.name), of_team=row.team_id, **detail)


def mark_unsupported(merged: EffectiveParameters, kind: str, limits: ModelFacts | None) -> EffectiveParameters:
    """Check parameters and name in `unsupported` those that a model with these facts does not take."""
    checked = parameter_rules.check(merged.parameters)
    if not checked or limits is None:
        return replace(merged, parameters=checked)
    return replace(merged, parameters=checked, unsupported=tuple(support.list_not_taken(kind, limits, checked)))


def _find_changeable(connection: Connection, actor: Actor, override_id: str) -> Row[Any]:
    is_changeable = filter_changeable(actor, _C.team_id)
    row = connection.execute(select(overrides).where(_C.id == override_id, is_changeable)).first()
    if row is None:
        raise make_shared_refusal(_find(connection, actor, override_id).name)
    return row


def _find(connection: Connection, actor: Actor, override_id: str) -> Row[Any]:
    row = connection.execute(select(overrides).where(_C.id == override_id, filter_usable(actor, _C.team_id))).first()
    if row is None:
        raise NotFound("There is no such override.", "", "Look at the Overrides page for those there are.")
    return row


def _describe_override(values: Mapping[str, Any]) -> dict[str, Any]:
    """Build the audit log's detail of an override: whom it holds for, and the names of its parameters."""
    plain = {name: values[name] for name in ("app", "context", "configuration_id", "strategy", "priority")}
    return plain | {"parameters": sorted(values["parameters"])}


def _require_configuration(connection: Connection, actor: Actor, configuration_id: str | None) -> None:
    is_usable = filter_usable(actor, configurations.c.team_id)
    query = select(configurations.c.id).where(configurations.c.id == configuration_id, is_usable)
    if configuration_id is not None and connection.scalar(query) is None:
        raise InvalidInput("There is no such configuration.", "", "Choose one of the list.", field="configuration")


def _build_override(row: Row[Any]) -> Override:
    values = {name: getattr(row, name) for name in Override.__dataclass_fields__}
    return Override(**values | {"strategy": MergeStrategy(row.strategy)})
