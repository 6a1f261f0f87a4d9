"""Configurations: one per use of a model, by slug; one default per app, one for everything else.

An edit names the revision it saw, so of two people who edit at once the second is told, not overwritten. Apps are
plain names: calling one for the first time makes it exist.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from sqlalchemy import Connection, Row, Select, delete, insert, select, update

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
from lib.configs import examples, interchange
from lib.configs.configuration import Configuration, ConfigurationDraft, check_slug
from lib.configs.known_providers import check_targets, find_provider_id, list_known_providers
from lib.db.engine import Store
from lib.db.tables import FIRST_TEAM, configurations, providers
from lib.errors import Conflict, InvalidInput, NotFound
from lib.providers.kinds import look_up_facts

__all__ = ["Configuration", "Configurations"]
_C = configurations.c


class Configurations:
    """The configurations of the teams: who may view them sees those of the chosen team and those of all teams."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def list(self, actor: Actor, app: str | None = None) -> list[Configuration]:
        """List all configurations, or an app's: the global default first, then by app and slug."""
        actor.require(Permission.VIEW_CONFIGS)
        query = (
            _select_joined()
            .where(filter_usable(actor, _C.team_id))
            .order_by(_C.is_global_default.desc(), _C.app, _C.slug)
        )
        with self._store.read() as connection:
            return [
                _build_configuration(row)
                for row in connection.execute(query if app is None else query.where(_C.app == app))
            ]

    def get(self, actor: Actor, slug_or_id: str) -> Configuration:
        """Get a configuration by slug or id; raises NotFound."""
        actor.require(Permission.VIEW_CONFIGS)
        with self._store.read() as connection:
            return _build_configuration(_find(connection, actor, slug_or_id))

    def apps(self, actor: Actor) -> Sequence[str]:
        """Names of the apps that have configurations."""
        actor.require(Permission.VIEW_CONFIGS)
        with self._store.read() as connection:
            return connection.scalars(
                select(_C.app).where(filter_usable(actor, _C.team_id)).distinct().order_by(_C.app)
            ).all()

    def default_for(self, actor: Actor, app: str) -> Configuration:
        """Get the app's default, else the global one; the first that is switched on. Raises NotFound."""
        actor.require(Permission.VIEW_CONFIGS)
        of_app = (_C.app == app) & _C.is_default
        is_default = _C.is_active & (of_app | _C.is_global_default) & filter_chosen_team(actor, _C.team_id)
        query = _select_joined().where(is_default).order_by(of_app.desc(), _C.team_id.desc())  # the team's own first
        with self._store.read() as connection:
            row = connection.execute(query).first()
        if row is None:
            raise NotFound(
                f"No configuration is the default for {app[:80]}.",
                "Neither the app nor the team has a default that is switched on.",
                "Choose one on the Configurations page.",
            )
        return _build_configuration(row)

    def create(
        self,
        actor: Actor,
        *,
        slug: str,
        app: str,
        model: str,
        provider: str | None = None,
        provider_id: str | None = None,
        description: str = "",
        system_prompt: str = "",
        parameters: Mapping[str, Any] | None = None,
        capabilities: Sequence[str] = ("streaming",),
        is_active: bool = True,
        **other_fields: Any,
    ) -> Configuration:
        """Make a configuration; `provider` is a provider's name or id, `other_fields` are those of
        `ConfigurationDraft`.
        """
        actor.require(Permission.CREATE_CONFIGS)
        draft = ConfigurationDraft(
            slug, app, model, description, system_prompt, parameters or {}, capabilities, **other_fields
        )
        row = draft.to_columns() | _build_new_columns(is_active, require_team(actor))
        with self._store.write() as connection:
            row["provider_id"] = find_provider_id(connection, provider_id or provider)
            check_targets(connection, row["routing"])
            _refuse_taken_slug(connection, row["slug"])
            connection.execute(insert(configurations).values(**row))
            audit.record(
                connection,
                actor,
                "configuration.create",
                row["slug"],
                of_team=row["team_id"],
                content_policy=row["content_policy"],
            )
        return self.get(actor, row["id"])

    def update(
        self, actor: Actor, configuration_id: str, revision: int, *, provider_id: str | None = None, **fields: Any
    ) -> Configuration:
        """Change fields of `ConfigurationDraft` and the provider; raises Conflict when somebody changed it since
        `revision`.
        """
        actor.require(Permission.EDIT_CONFIGS)
        with self._store.write() as connection:
            row = _find_changeable(connection, actor, configuration_id)
            current_fields = {name: getattr(row, name) for name in ConfigurationDraft.__dataclass_fields__}
            changed = ConfigurationDraft(**(current_fields | fields)).to_columns()
            if provider_id is not None:
                changed["provider_id"] = find_provider_id(connection, provider_id)
            if "routing" in fields:
                check_targets(connection, changed["routing"])
            _refuse_taken_slug(connection, changed["slug"], but=row.id)
            if changed["app"] != row.app:
                changed["is_default"] = False
            query = update(configurations).where(_C.id == row.id, _C.revision == revision)
            done = connection.execute(query.values(**changed, revision=revision + 1, updated_at=utc_now()))
            if done.rowcount == 0:
                raise Conflict(
                    f"{row.slug} was changed meanwhile.",
                    "Somebody saved it, perhaps you in another tab. Your changes were not saved.",
                    "Reload to see theirs, then change it again.",
                )
            audit.record(
                connection, actor, "configuration.edit", row.slug, of_team=row.team_id, **_describe_change(row, changed)
            )
        return self.get(actor, configuration_id)

    def clone(self, actor: Actor, configuration_id: str, slug: str | None = None) -> Configuration:
        """Copy a configuration; the copy is nobody's default."""
        actor.require(Permission.CREATE_CONFIGS)
        with self._store.write() as connection:
            row = _find(connection, actor, configuration_id)
            copied = {name: getattr(row, name) for name in (*ConfigurationDraft.__dataclass_fields__, "provider_id")}
            copied["slug"] = check_slug(slug, "slug") if slug else _find_free_slug(connection, row.slug)
            _refuse_taken_slug(connection, copied["slug"])
            fresh = copied | _build_new_columns(row.is_active, require_team(actor))
            connection.execute(insert(configurations).values(**fresh))
            audit.record(
                connection, actor, "configuration.create", fresh["slug"], of_team=fresh["team_id"], clone_of=row.slug
            )
        return self.get(actor, fresh["id"])

    def set_active(self, actor: Actor, configuration_id: str, is_active: bool) -> None:
        """Switch a configuration on or off; off ends being the app's default, and the global default can't be switched
        off.
        """
        actor.require(Permission.EDIT_CONFIGS)
        with self._store.write() as connection:
            row = _find_changeable(connection, actor, configuration_id)
            if not is_active:
                _refuse_global_default(row, "switched off")
            values = {"is_active": is_active, "is_default": row.is_default and is_active}
            _touch(connection, row, **values)
            audit.record(
                connection,
                actor,
                "configuration.on" if is_active else "configuration.off",
                row.slug,
                of_team=row.team_id,
            )

    def set_default(self, actor: Actor, configuration_id: str, *, everywhere: bool = False) -> None:
        """Make a configuration the default of its app, or of every app without one of its own."""
        actor.require(Permission.EDIT_CONFIGS)
        with self._store.write() as connection:
            row = _find_changeable(connection, actor, configuration_id)
            if not row.is_active:
                raise InvalidInput(f"{row.slug} is switched off.", "A default must work.", "Switch it on first.")
            column = _C.is_global_default if everywhere else _C.is_default
            of_team = column & (_C.team_id == row.team_id)
            previous_default = of_team if everywhere else of_team & (_C.app == row.app)
            connection.execute(update(configurations).where(previous_default).values({column: False}))
            _touch(connection, row, **{column.name: True})
            of = "every app" if everywhere else row.app
            audit.record(connection, actor, "configuration.default", row.slug, of_team=row.team_id, default_of=of)

    def clear_default(self, actor: Actor, configuration_id: str) -> None:
        """Let the app fall back to the global default."""
        actor.require(Permission.EDIT_CONFIGS)
        with self._store.write() as connection:
            row = _find_changeable(connection, actor, configuration_id)
            _touch(connection, row, is_default=False)
            audit.record(connection, actor, "configuration.no_default", row.slug, of_team=row.team_id, app=row.app)

    def delete(self, actor: Actor, configuration_id: str) -> None:
        """Delete a configuration; its calls stay in the ledger. The global default can't go."""
        actor.require(Permission.DELETE_CONFIGS)
        with self._store.write() as connection:
            row = _find_changeable(connection, actor, configuration_id)
            _refuse_global_default(row, "deleted")
            connection.execute(delete(configurations).where(_C.id == row.id))
            audit.record(connection, actor, "configuration.delete", row.slug, of_team=row.team_id)

    def export_json(self, actor: Actor, slugs: Sequence[str] | None = None) -> str:
        """Write configurations as a JSON document without secrets, providers by name and kind."""
        exported = [c for c in self.list(actor) if slugs is None or c.slug in slugs]
        with self._store.write() as connection:
            audit.record(connection, actor, "configuration.export", "json", rows=len(exported))
            return interchange.write_json(exported, list_known_providers(connection))

    def import_json(self, actor: Actor, document: str | bytes) -> interchange.ImportedConfigurations:
        """Add the configurations of a document: all are checked before any is added; slugs that exist are skipped."""
        actor.require(Permission.CREATE_CONFIGS)
        entries = interchange.parse_json(document)
        with self._store.write() as connection:
            taken_slugs = set(connection.scalars(select(_C.slug)))
            registered = list_known_providers(connection)
            imported = interchange.ImportedConfigurations()
            for entry in entries:
                if entry.draft.slug in taken_slugs:
                    imported.skipped.append(entry.draft.slug)
                    continue
                taken_slugs.add(entry.draft.slug)
                provider_id = interchange.match_provider(entry.provider, entry.provider_kind, registered)
                routing, complete = interchange.match_routing(entry.routing, registered)
                row = replace(entry.draft, routing=routing).to_columns() | _build_new_columns(
                    entry.is_active and provider_id is not None, require_team(actor)
                )
                connection.execute(insert(configurations).values(**row, provider_id=provider_id))
                imported.created.append(entry.draft.slug)
                if provider_id is None:
                    imported.without_provider.append(entry.draft.slug)
                if not complete:
                    imported.shorter_routing.append(entry.draft.slug)
            audit.record(connection, actor, "configuration.import", "a file", created=imported.created)
        return imported

    def seed(self) -> None:
        """Add the examples, once in an installation's life, after the providers' own."""
        rows = [
            asdict(example.draft) | _build_new_columns(example.is_active, FIRST_TEAM) for example in examples.EXAMPLES
        ]
        for row, example in zip(rows, examples.EXAMPLES, strict=True):
            row["capabilities"] = list(row["capabilities"])
            row["is_global_default"] = example.is_global_default
        examples.add_once(self._store, rows)


def _describe_change(row: Row[Any], changed: Mapping[str, Any]) -> dict[str, Any]:
    """Build the audit log's detail of an edit: the names of changed fields, and the new values of the short ones."""
    fields = [name for name, value in changed.items() if getattr(row, name) != value]
    short = {name: changed[name] for name in ("slug", "model", "content_policy") if name in fields}
    return {"fields": fields} | short


def _build_new_columns(is_active: bool, team_id: int) -> dict[str, Any]:
    now = utc_now()
    return {
        "id": make_id(),
        "is_active": is_active,
        "is_default": False,
        "is_global_default": False,
        "revision": 1,
        "team_id": team_id,
        "created_at": now,
        "updated_at": now,
    }


def _select_joined() -> Select[Any]:
    return select(
        configurations,
        providers.c.name.label("provider_name"),
        providers.c.kind.label("provider_kind"),
        providers.c.is_active.label("provider_active"),
        providers.c.key_last4,
    ).join_from(configurations, providers, _C.provider_id == providers.c.id, isouter=True)


def _find(connection: Connection, actor: Actor, slug_or_id: str) -> Row[Any]:
    is_named = (_C.id == slug_or_id) | (_C.slug == slug_or_id)
    row = connection.execute(_select_joined().where(is_named, filter_usable(actor, _C.team_id))).first()
    if row is None:
        raise NotFound(
            f"There is no configuration {slug_or_id[:80]}.", "", "Look at the Configurations page for the names."
        )
    return row


def _find_changeable(connection: Connection, actor: Actor, slug_or_id: str) -> Row[Any]:
    is_named = (_C.id == slug_or_id) | (_C.slug == slug_or_id)
    row = connection.execute(_select_joined().where(is_named, filter_changeable(actor, _C.team_id))).first()
    if row is None:
        raise make_shared_refusal(_find(connection, actor, slug_or_id).slug)
    return row


def _build_configuration(row: Row[Any]) -> Configuration:
    own = {name: getattr(row, name) for name in Configuration.__dataclass_fields__ if name in _C}
    own |= {"capabilities": tuple(row.capabilities), "provider_name": row.provider_name or ""}
    return Configuration(**own, provider_kind=row.provider_kind or "", needs=_find_need(row))


def _find_need(row: Row[Any]) -> str | None:
    if not row.is_active:
        return "off"
    if row.provider_kind is None:
        return "provider"
    if not row.provider_active:
        return "provider off"
    return "key" if look_up_facts(row.provider_kind).needs_key and row.key_last4 is None else None


def _refuse_taken_slug(connection: Connection, slug: str, but: str = "") -> None:
    if connection.scalar(select(_C.id).where(_C.slug == slug, _C.id != but)):
        raise Conflict(f"The name {slug} is taken.", "Another configuration has it.", "Choose another one.")


def _refuse_global_default(row: Row[Any], participle: str) -> None:
    if row.is_global_default:
        raise Conflict(
            f"{row.slug} can't be {participle}.",
            "It is the default of every app without one of its own.",
            "Make another configuration the default first.",
        )


def _find_free_slug(connection: Connection, slug: str) -> str:
    base = f"{slug[:70]}-copy"
    taken_slugs = set(connection.scalars(select(_C.slug).where(_C.slug.startswith(base, autoescape=True))))
    return next(
        name for n in range(1, len(taken_slugs) + 2) if (name := base if n == 1 else f"{base}-{n}") not in taken_slugs
    )


def _touch(connection: Connection, row: Row[Any], **values: Any) -> None:
    query = update(configurations).where(_C.id == row.id)
    connection.execute(query.values(**values, revision=_C.revision + 1, updated_at=utc_now()))
