"""Prompt templates: by slug, for every app or one app; versions that never change, and labels that point to one.

A new version names the newest one it was made from, so of two people who edit at once the second is told. `draft`
follows the newest version; every other label stays until it is moved. A program's key sees the templates of its own app
and those of every app.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import delete, insert, or_, select, update

from lib.access import audit
from lib.access.permissions import Actor, Permission
from lib.access.team_scope import require_team
from lib.clock import make_id, utc_now
from lib.configs.configuration import check_slug
from lib.db.engine import Store
from lib.db.tables import prompt_labels, prompt_templates, prompt_versions
from lib.errors import Conflict, InvalidInput
from lib.limited.rules import compute_unified_difference
from lib.prompts import interchange
from lib.prompts.rows import (
    VersionSelector,
    build_template,
    build_version,
    filter_visible,
    find_changeable,
    find_template,
    find_version,
    insert_first,
    insert_version,
    point_label,
    read_labels,
)
from lib.prompts.template import (
    DRAFT,
    PRODUCTION,
    FilledPrompt,
    PromptVersion,
    Template,
    VersionDraft,
    check_label,
    fill_template,
)

_T = prompt_templates.c
_V = prompt_versions.c
_L = prompt_labels.c


class Prompts:
    """The templates of the installation; everybody who may view configurations sees all of them."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def list(
        self, actor: Actor, app: str | None = None, category: str | None = None, text: str = ""
    ) -> Sequence[Template]:
        """List templates by slug: all, or those usable by an app, of a category, with words in them."""
        actor.require(Permission.VIEW_CONFIGS)
        newest = (_V.template_id == _T.id) & (_V.version == _T.newest)
        query = select(prompt_templates).join(prompt_versions, newest).where(filter_visible(actor)).order_by(_T.slug)
        if app is not None:
            query = query.where(or_(_T.app.is_(None), _T.app == app))
        if category is not None:
            query = query.where(_T.category == category)
        for word in text.split():
            columns = (_T.slug, _T.description, _T.category, _V.text)
            query = query.where(or_(*(column.icontains(word, autoescape=True) for column in columns)))
        with self._store.read() as connection:
            rows = connection.execute(query).mappings().all()
            labels = read_labels(connection)
        return [build_template(row, labels.get(row["id"], {})) for row in rows]

    def get(self, actor: Actor, slug: str) -> Template:
        """Get a template by slug; raises NotFound."""
        actor.require(Permission.VIEW_CONFIGS)
        with self._store.read() as connection:
            row = find_template(connection, actor, slug)
            return build_template(row, read_labels(connection, row["id"]).get(row["id"], {}))

    def categories(self, actor: Actor) -> Sequence[str]:
        """Names of the categories in use."""
        actor.require(Permission.VIEW_CONFIGS)
        query = select(_T.category).where(_T.category != "", filter_visible(actor)).distinct().order_by(_T.category)
        with self._store.read() as connection:
            return connection.scalars(query).all()

    def version(self, actor: Actor, slug: str, which: VersionSelector = None) -> PromptVersion:
        """Get one version by number or label; the newest without either."""
        actor.require(Permission.VIEW_CONFIGS)
        with self._store.read() as connection:
            return build_version(find_version(connection, find_template(connection, actor, slug), which))

    def versions(self, actor: Actor, slug: str) -> Sequence[PromptVersion]:
        """All versions, the newest first."""
        actor.require(Permission.VIEW_CONFIGS)
        with self._store.read() as connection:
            row = find_template(connection, actor, slug)
            query = select(prompt_versions).where(_V.template_id == row["id"]).order_by(_V.version.desc())
            return [build_version(version_row) for version_row in connection.execute(query).mappings()]

    def diff(self, actor: Actor, slug: str, old: VersionSelector, new: VersionSelector) -> Sequence[str]:
        """Lines of a unified diff of two versions: system prompt, text, variables, parameters; empty when equal.

        Texts that take too long to compare are one change from where they begin to differ to where they no longer do.
        """
        old_version = self.version(actor, slug, old)
        new_version = self.version(actor, slug, new)
        names = f"version {old_version.version}", f"version {new_version.version}"
        lines = interchange.list_lines(old_version), interchange.list_lines(new_version)
        return compute_unified_difference(*lines, names)

    def fill(
        self,
        actor: Actor,
        slug: str,
        variables: Mapping[str, Any],
        label: str | None = None,
        version: int | None = None,
    ) -> FilledPrompt:
        """The prompt of a version or label (production without either), its variables replaced by values."""
        actor.require(Permission.TEST_CONFIGS)
        with self._store.read() as connection:
            row = find_template(connection, actor, slug)
            prompt_version = build_version(find_version(connection, row, version or label or PRODUCTION))
        return fill_template(row["slug"], prompt_version, variables)

    def create(
        self,
        actor: Actor,
        slug: str,
        draft: VersionDraft,
        *,
        app: str | None = None,
        category: str = "",
        description: str = "",
        reason: str = "",
    ) -> Template:
        """Make a template with its first version, labelled draft."""
        actor.require(Permission.CREATE_CONFIGS)
        now = utc_now()
        row: dict[str, Any] = {
            "id": make_id(),
            "slug": check_slug(slug, "slug"),
            "newest": 1,
            "team_id": require_team(actor),
            "created_at": now,
            "updated_at": now,
        }
        row |= _check_description(app, category, description)
        checked = draft.to_columns()
        with self._store.write() as connection:
            insert_first(connection, actor, row, checked, reason)
            audit.record(connection, actor, "prompt.create", row["slug"], of_team=row["team_id"], app=row["app"])
        return self.get(actor, row["slug"])

    def save(self, actor: Actor, slug: str, draft: VersionDraft, based_on: int, reason: str = "") -> PromptVersion:
        """Add a version made from the newest one, `based_on`; the label draft moves to it.

        Raises Conflict when somebody has saved since. What changes nothing is refused.
        """
        actor.require(Permission.EDIT_CONFIGS)
        checked = draft.to_columns()
        with self._store.write() as connection:
            row = find_changeable(connection, actor, slug)
            query = update(prompt_templates).where(_T.id == row["id"], _T.newest == based_on)
            if connection.execute(query.values(newest=based_on + 1, updated_at=utc_now())).rowcount == 0:
                raise Conflict(
                    f"{row['slug']} has a newer version.",
                    f"Version {row['newest']} was saved meanwhile. Yours was not.",
                    "Reload to see it, then change it again.",
                )
            newest = find_version(connection, row, based_on)
            if all(newest[name] == value for name, value in checked.items()):
                raise InvalidInput("Nothing has changed.", f"It is version {based_on} as it stands.")
            insert_version(connection, actor, row["id"], based_on + 1, checked, reason)
            point_label(connection, actor, row["id"], DRAFT, based_on + 1)
            audit.record(connection, actor, "prompt.save", row["slug"], of_team=row["team_id"], version=based_on + 1)
        return self.version(actor, slug, based_on + 1)

    def describe(
        self, actor: Actor, slug: str, *, app: str | None = None, category: str = "", description: str = ""
    ) -> Template:
        """Set the app a template is for (None: every one), its category and its description."""
        actor.require(Permission.EDIT_CONFIGS)
        changed = _check_description(app, category, description)
        with self._store.write() as connection:
            row = find_changeable(connection, actor, slug)
            connection.execute(update(prompt_templates).where(_T.id == row["id"]).values(**changed))
            fields = [name for name, value in changed.items() if row[name] != value]
            audit.record(connection, actor, "prompt.edit", row["slug"], of_team=row["team_id"], fields=fields)
        return self.get(actor, slug)

    def move_label(self, actor: Actor, slug: str, label: str, version: int | None) -> Template:
        """Point a label to a version, made if it is new; None takes it off."""
        actor.require(Permission.EDIT_CONFIGS)
        label = check_label(label)
        with self._store.write() as connection:
            row = find_changeable(connection, actor, slug)
            previous = read_labels(connection, row["id"]).get(row["id"], {}).get(label)
            if version is None:
                connection.execute(delete(prompt_labels).where(_L.template_id == row["id"], _L.label == label))
            else:
                find_version(connection, row, version)
                point_label(connection, actor, row["id"], label, version)
            moved = {"label": label, "from": previous, "to": version}
            audit.record(connection, actor, "prompt.label", row["slug"], of_team=row["team_id"], **moved)
        return self.get(actor, slug)

    def delete(self, actor: Actor, slug: str) -> None:
        """Delete a template with its versions; calls made with it stay in the ledger."""
        actor.require(Permission.DELETE_CONFIGS)
        with self._store.write() as connection:
            row = find_changeable(connection, actor, slug)
            for table in (prompt_labels, prompt_versions):
                connection.execute(delete(table).where(table.c.template_id == row["id"]))
            connection.execute(delete(prompt_templates).where(_T.id == row["id"]))
            audit.record(
                connection, actor, "prompt.delete", row["slug"], of_team=row["team_id"], versions=row["newest"]
            )

    def export_json(self, actor: Actor, slugs: Sequence[str] | None = None) -> str:
        """Templates with all their versions and labels, as a JSON document."""
        templates = [template for template in self.list(actor) if slugs is None or template.slug in slugs]
        document = interchange.write_json([(template, self.versions(actor, template.slug)) for template in templates])
        with self._store.write() as connection:
            audit.record(connection, actor, "prompt.export", "json", rows=len(templates))
        return document

    def import_json(self, actor: Actor, document: str | bytes) -> interchange.ImportedPrompts:
        """Import a document; templates whose slug is taken are left as they are. Nothing is imported from a spoilt
        one.
        """
        actor.require(Permission.CREATE_CONFIGS)
        entries = interchange.parse_json(document)
        done = interchange.ImportedPrompts()
        now = utc_now()
        with self._store.write() as connection:
            taken_slugs = set(connection.scalars(select(_T.slug)))
            for entry in entries:
                if entry.slug in taken_slugs:
                    done.skipped.append(entry.slug)
                    continue
                row: dict[str, Any] = {"id": make_id(), "slug": entry.slug, "newest": len(entry.versions)}
                row |= {"team_id": require_team(actor), "created_at": now, "updated_at": now} | _check_description(
                    entry.app, entry.category, entry.description
                )
                connection.execute(insert(prompt_templates).values(**row))
                for number, (draft, reason) in enumerate(entry.versions, 1):
                    insert_version(connection, actor, row["id"], number, draft.to_columns(), reason)
                for label, version in entry.labels.items():
                    point_label(connection, actor, row["id"], label, version)
                taken_slugs.add(entry.slug)
                done.created.append(entry.slug)
            audit.record(connection, actor, "prompt.import", "json", created=done.created, skipped=done.skipped)
        return done


def _check_description(app: str | None, category: str, description: str) -> dict[str, Any]:
    return {
        "app": check_slug(app, "app") if app else None,
        "category": check_slug(category, "category") if category.strip() else "",
        "description": description.strip()[:2000],
    }
