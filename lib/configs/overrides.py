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
from lib.clock import new_id, utc_now
from lib.configs.configuration import Configuration, check_slug
from lib.configs.effective import Effective, Override, Strategy, effective, in_order
from lib.db.engine import Store
from lib.db.tables import configurations, overrides
from lib.errors import InvalidInput, NotFound
from lib.providers import parameter_rules, support
from lib.providers.discovery import Models
from lib.providers.models import ModelFacts

__all__ = ["Override", "OverrideDraft", "Overrides", "Strategy"]
_C = overrides.c
_HIGHEST = 1_000_000
_LARGEST = 100_000  # characters of parameters


@dataclass(frozen=True)
class OverrideDraft:
    """The fields a person may set, checked. Null in `parameters` takes one away."""

    name: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    app: str | None = None
    context: str | None = None
    configuration_id: str | None = None
    strategy: str = Strategy.MERGE.value
    priority: int = 0

    def checked(self) -> dict[str, Any]:
        """As columns; InvalidInput names the field that can't be used."""
        if not (name := self.name.strip()) or len(name) > 80 or not name.isprintable():
            raise InvalidInput("The name can't be used.", "It is empty or too long.", "Choose another.", field="name")
        if self.strategy not in {strategy.value for strategy in Strategy}:
            allowed = ", ".join(strategy.value for strategy in Strategy)
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
    """The overrides of the installation; everybody who may view configurations sees all of them."""

    def __init__(self, store: Store, models: Models) -> None:
        self._store, self._models = store, models

    def list(self, actor: Actor) -> list[Override]:
        """All, in the order in which they are applied."""
        actor.require(Permission.VIEW_CONFIGS)
        with self._store.read() as connection:
            return in_order(_override(row) for row in connection.execute(select(overrides)))

    def get(self, actor: Actor, override_id: str) -> Override:
        """One by id."""
        actor.require(Permission.VIEW_CONFIGS)
        with self._store.read() as connection:
            return _override(_find(connection, override_id))

    def create(self, actor: Actor, draft: OverrideDraft) -> Override:
        """Make one; it holds from the next call on."""
        actor.require(Permission.EDIT_CONFIGS)
        now = utc_now()
        row = draft.checked() | {"id": new_id(), "is_active": True, "created_at": now, "updated_at": now}
        with self._store.write() as connection:
            _require_configuration(connection, row["configuration_id"])
            connection.execute(insert(overrides).values(**row))
            audit.record(connection, actor, "override.create", row["name"], **_told(row))
        return self.get(actor, row["id"])

    def update(self, actor: Actor, override_id: str, draft: OverrideDraft) -> Override:
        """Change every field a person may set."""
        actor.require(Permission.EDIT_CONFIGS)
        values = draft.checked()
        self._change(actor, "override.edit", override_id, values, **_told(values))
        return self.get(actor, override_id)

    def set_active(self, actor: Actor, override_id: str, is_active: bool) -> None:
        """Switch one on or off."""
        actor.require(Permission.EDIT_CONFIGS)
        self._change(actor, "override.on" if is_active else "override.off", override_id, {"is_active": is_active})

    def delete(self, actor: Actor, override_id: str) -> None:
        """Remove one; calls made with it keep their parameters in the ledger."""
        actor.require(Permission.EDIT_CONFIGS)
        with self._store.write() as connection:
            row = _find(connection, override_id)
            connection.execute(delete(overrides).where(_C.id == row.id))
            audit.record(connection, actor, "override.delete", row.name)

    def matching(self, actor: Actor, app: str, context: str | None, configuration_id: str) -> Sequence[Override]:
        """Those that hold for a call and are switched on; without a context, those that name one do not."""
        actor.require(Permission.VIEW_CONFIGS)
        query = select(overrides).where(
            _C.is_active,
            or_(_C.app.is_(None), _C.app == app),
            _C.context.is_(None) if context is None else or_(_C.context.is_(None), _C.context == context),
            or_(_C.configuration_id.is_(None), _C.configuration_id == configuration_id),
        )
        with self._store.read() as connection:
            return [_override(row) for row in connection.execute(query)]

    def effective(
        self,
        actor: Actor,
        configuration: Configuration,
        parameters: Mapping[str, Any],
        *,
        app: str | None = None,
        context: str | None = None,
    ) -> Effective:
        """What a call of the configuration would be sent with; what its model does not take stands in `unsupported`.

        `parameters` are the request's own. InvalidInput when the result holds what no model takes.
        """
        matching = self.matching(actor, app or configuration.app, context, configuration.id)
        found = effective(configuration.parameters, matching, parameters)
        return self.judged(found, configuration.provider_kind, configuration.model, configuration.provider_id)

    def judged(self, found: Effective, kind: str, model: str, provider_id: str | None) -> Effective:
        """The same with the names that a model does not take (internal: nothing of the team's is shown)."""
        limits = self._models.limits(kind, model, provider_id) if found.parameters and kind else None
        return judged(found, kind, limits)

    def limits(self, kind: str, model: str, provider_id: str) -> ModelFacts:
        """What is known of a model (internal: for the call path)."""
        return self._models.limits(kind, model, provider_id)

    def _change(self, actor: Actor, action: str, override_id: str, values: dict[str, Any], **told: Any) -> None:
        with self._store.write() as connection:
            row = _find(connection, override_id)
            _require_configuration(connection, values.get("configuration_id"))
            query = update(overrides).where(_C.id == row.id)
            connection.execute(query.values(**values, updated_at=utc_now()))
            audit.record(connection, actor, action, values.get("name", row.name), **told)


def judged(found: Effective, kind: str, limits: ModelFacts | None) -> Effective:
    """Checked, with the names that a model of which this is known does not take."""
    checked = parameter_rules.check(found.parameters)
    if not checked or limits is None:
        return replace(found, parameters=checked)
    return replace(found, parameters=checked, unsupported=tuple(support.not_taken(kind, limits, checked)))


def _find(connection: Connection, override_id: str) -> Row[Any]:
    row = connection.execute(select(overrides).where(_C.id == override_id)).first()
    if row is None:
        raise NotFound("There is no such override.", "", "Look at the Overrides page for those there are.")
    return row


def _told(values: Mapping[str, Any]) -> dict[str, Any]:
    """What the audit log says of an override: whom it holds for, and the names of its parameters."""
    plain = {name: values[name] for name in ("app", "context", "configuration_id", "strategy", "priority")}
    return plain | {"parameters": sorted(values["parameters"])}


def _require_configuration(connection: Connection, configuration_id: str | None) -> None:
    query = select(configurations.c.id).where(configurations.c.id == configuration_id)
    if configuration_id is not None and connection.scalar(query) is None:
        raise InvalidInput("There is no such configuration.", "", "Choose one of the list.", field="configuration")


def _override(row: Row[Any]) -> Override:
    values = {name: getattr(row, name) for name in Override.__dataclass_fields__}
    return Override(**values | {"strategy": Strategy(row.strategy)})
