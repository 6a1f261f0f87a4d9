"""Prompt templates: by slug, for every app or one app; versions that never change, and labels that point to one.

A new version names the newest one it was made from, so of two people who edit at once the second is told. `draft`
follows the newest version; every other label stays until it is moved. A program's key sees the templates of its own app
and those of every app.
"""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, delete, insert, or_, select, true, update
from sqlalchemy.exc import IntegrityError

from lib.access import audit
from lib.access.permissions import Actor, Permission
from lib.clock import new_id, utc_now
from lib.configs.configuration import check_slug
from lib.db.engine import Store
from lib.db.tables import prompt_labels, prompt_templates, prompt_versions
from lib.errors import Conflict, InvalidInput, NotFound
from lib.prompts import interchange
from lib.prompts.template import (
    DRAFT,
    PRODUCTION,
    Filled,
    Template,
    Version,
    VersionDraft,
    check_label,
    fill,
    written_values,
)
from lib.prompts.variable import variable_of

_T, _V, _L = prompt_templates.c, prompt_versions.c, prompt_labels.c
Which = int | str | None  # a version by number or label; None: the newest


class Prompts:
    """The templates of the installation; everybody who may view configurations sees all of them."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def list(
        self, actor: Actor, app: str | None = None, category: str | None = None, text: str = ""
    ) -> Sequence[Template]:
        """All, or those usable by an app, of a category, with a text in them; by slug."""
        actor.require(Permission.VIEW_CONFIGS)
        newest = (_V.template_id == _T.id) & (_V.version == _T.newest)
        query = select(prompt_templates).join(prompt_versions, newest).where(_visible(actor)).order_by(_T.slug)
        if app is not None:
            query = query.where(or_(_T.app.is_(None), _T.app == app))
        if category is not None:
            query = query.where(_T.category == category)
        for word in text.split():
            places = (_T.slug, _T.description, _T.category, _V.text)
            query = query.where(or_(*(place.icontains(word, autoescape=True) for place in places)))
        with self._store.read() as connection:
            rows = connection.execute(query).mappings().all()
            labels = _labels(connection)
        return [_template(row, labels.get(row["id"], {})) for row in rows]

    def get(self, actor: Actor, slug: str) -> Template:
        """One by slug."""
        actor.require(Permission.VIEW_CONFIGS)
        with self._store.read() as connection:
            row = _find(connection, actor, slug)
            return _template(row, _labels(connection, row["id"]).get(row["id"], {}))

    def categories(self, actor: Actor) -> Sequence[str]:
        """Names of the categories in use."""
        actor.require(Permission.VIEW_CONFIGS)
        query = select(_T.category).where(_T.category != "", _visible(actor)).distinct().order_by(_T.category)
        with self._store.read() as connection:
            return connection.scalars(query).all()

    def version(self, actor: Actor, slug: str, which: Which = None) -> Version:
        """One version, by number or label; the newest without."""
        actor.require(Permission.VIEW_CONFIGS)
        with self._store.read() as connection:
            return _version(_find_version(connection, _find(connection, actor, slug), which))

    def versions(self, actor: Actor, slug: str) -> Sequence[Version]:
        """All versions, the newest first."""
        actor.require(Permission.VIEW_CONFIGS)
        with self._store.read() as connection:
            row = _find(connection, actor, slug)
            query = select(prompt_versions).where(_V.template_id == row["id"]).order_by(_V.version.desc())
            return [_version(one) for one in connection.execute(query).mappings()]

    def diff(self, actor: Actor, slug: str, old: Which, new: Which) -> Sequence[str]:
        """Lines of a unified diff of two versions: system prompt, text, variables, parameters; empty when equal."""
        before, after = self.version(actor, slug, old), self.version(actor, slug, new)
        names = f"version {before.version}", f"version {after.version}"
        return [*difflib.unified_diff(interchange.lines(before), interchange.lines(after), *names, lineterm="")]

    def fill(
        self,
        actor: Actor,
        slug: str,
        variables: Mapping[str, Any],
        label: str | None = None,
        version: int | None = None,
    ) -> Filled:
        """The prompt of a version or label (production without either), its variables replaced by values."""
        actor.require(Permission.TEST_CONFIGS)
        with self._store.read() as connection:
            row = _find(connection, actor, slug)
            found = _version(_find_version(connection, row, version or label or PRODUCTION))
        written = written_values(found.variables, variables)
        system = None if found.system_prompt is None else fill(found.system_prompt, written)
        return Filled(row["slug"], found.version, fill(found.text, written), system, found.parameters)

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
        """Make one with its first version, labelled draft."""
        actor.require(Permission.CREATE_CONFIGS)
        now = utc_now()
        row = {"id": new_id(), "slug": check_slug(slug, "slug"), "newest": 1, "created_at": now, "updated_at": now}
        row |= _described(app, category, description)
        checked = draft.checked()
        with self._store.write() as connection:
            _insert(connection, actor, row, checked, reason)
            audit.record(connection, actor, "prompt.create", row["slug"], app=row["app"])
        return self.get(actor, row["slug"])

    def save(self, actor: Actor, slug: str, draft: VersionDraft, based_on: int, reason: str = "") -> Version:
        """Add a version made from the newest one, `based_on`; the label draft moves to it.

        Conflict when somebody has saved since. What changes nothing is refused.
        """
        actor.require(Permission.EDIT_CONFIGS)
        checked = draft.checked()
        with self._store.write() as connection:
            row = _find(connection, actor, slug)
            query = update(prompt_templates).where(_T.id == row["id"], _T.newest == based_on)
            if connection.execute(query.values(newest=based_on + 1, updated_at=utc_now())).rowcount == 0:
                raise Conflict(
                    f"{row['slug']} has a newer version.",
                    f"Version {row['newest']} was saved meanwhile. Yours was not.",
                    "Reload to see it, then change it again.",
                )
            before = _find_version(connection, row, based_on)
            if all(before[name] == value for name, value in checked.items()):
                raise InvalidInput("Nothing has changed.", f"It is version {based_on} as it stands.")
            _insert_version(connection, actor, row["id"], based_on + 1, checked, reason)
            _move(connection, actor, row["id"], DRAFT, based_on + 1)
            audit.record(connection, actor, "prompt.save", row["slug"], version=based_on + 1)
        return self.version(actor, slug, based_on + 1)

    def describe(
        self, actor: Actor, slug: str, *, app: str | None = None, category: str = "", description: str = ""
    ) -> Template:
        """Say which app it is for (None: every one), its category and what it does."""
        actor.require(Permission.EDIT_CONFIGS)
        changed = _described(app, category, description)
        with self._store.write() as connection:
            row = _find(connection, actor, slug)
            connection.execute(update(prompt_templates).where(_T.id == row["id"]).values(**changed))
            fields = [name for name, value in changed.items() if row[name] != value]
            audit.record(connection, actor, "prompt.edit", row["slug"], fields=fields)
        return self.get(actor, slug)

    def move_label(self, actor: Actor, slug: str, label: str, version: int | None) -> Template:
        """Point a label to a version, made if it is new; None takes it off."""
        actor.require(Permission.EDIT_CONFIGS)
        label = check_label(label)
        with self._store.write() as connection:
            row = _find(connection, actor, slug)
            before = _labels(connection, row["id"]).get(row["id"], {}).get(label)
            if version is None:
                connection.execute(delete(prompt_labels).where(_L.template_id == row["id"], _L.label == label))
            else:
                _find_version(connection, row, version)
                _move(connection, actor, row["id"], label, version)
            moved = {"label": label, "from": before, "to": version}
            audit.record(connection, actor, "prompt.label", row["slug"], **moved)
        return self.get(actor, slug)

    def delete(self, actor: Actor, slug: str) -> None:
        """Remove one with its versions; calls made with it stay in the ledger."""
        actor.require(Permission.DELETE_CONFIGS)
        with self._store.write() as connection:
            row = _find(connection, actor, slug)
            for table in (prompt_labels, prompt_versions):
                connection.execute(delete(table).where(table.c.template_id == row["id"]))
            connection.execute(delete(prompt_templates).where(_T.id == row["id"]))
            audit.record(connection, actor, "prompt.delete", row["slug"], versions=row["newest"])

    def export_json(self, actor: Actor, slugs: Sequence[str] | None = None) -> str:
        """Templates with all their versions and labels, as a JSON document."""
        chosen = [one for one in self.list(actor) if slugs is None or one.slug in slugs]
        document = interchange.to_json([(one, self.versions(actor, one.slug)) for one in chosen])
        with self._store.write() as connection:
            audit.record(connection, actor, "prompt.export", "json", rows=len(chosen))
        return document

    def import_json(self, actor: Actor, document: str | bytes) -> interchange.Imported:
        """Bring in a document; templates whose slug is taken are left as they are. All or nothing when it is spoilt."""
        actor.require(Permission.CREATE_CONFIGS)
        entries, done, now = interchange.from_json(document), interchange.Imported(), utc_now()
        with self._store.write() as connection:
            taken = set(connection.scalars(select(_T.slug)))
            for entry in entries:
                if entry.slug in taken:
                    done.skipped.append(entry.slug)
                    continue
                row = {"id": new_id(), "slug": entry.slug, "newest": len(entry.versions)}
                row |= {"created_at": now, "updated_at": now} | _described(entry.app, entry.category, entry.description)
                connection.execute(insert(prompt_templates).values(**row))
                for number, (draft, reason) in enumerate(entry.versions, 1):
                    _insert_version(connection, actor, row["id"], number, draft.checked(), reason)
                for label, version in entry.labels.items():
                    _move(connection, actor, row["id"], label, version)
                taken.add(entry.slug)
                done.created.append(entry.slug)
            audit.record(connection, actor, "prompt.import", "json", created=done.created, skipped=done.skipped)
        return done


def _visible(actor: Actor) -> ColumnElement[bool]:
    return true() if actor.key is None else or_(_T.app.is_(None), _T.app == actor.key.app)


def _find(connection: Connection, actor: Actor, slug: str) -> RowMapping:
    row = connection.execute(select(prompt_templates).where(_T.slug == slug, _visible(actor))).mappings().first()
    if row is None:
        raise NotFound(f"There is no prompt {slug[:80]}.", "", "Look at the Prompts page for the names.")
    return row


def _find_version(connection: Connection, row: RowMapping, which: Which) -> RowMapping:
    number = which if isinstance(which, int) else row["newest"]
    if isinstance(which, str):
        labels = _labels(connection, row["id"]).get(row["id"], {})
        if (labelled := labels.get(which)) is None:
            known = ", ".join(sorted(labels)) or "none"
            raise NotFound(f"{row['slug']} has no version labelled {which[:80]}.", f"Its labels: {known}.")
        number = labelled
    query = select(prompt_versions).where(_V.template_id == row["id"], _V.version == number)
    if (found := connection.execute(query).mappings().first()) is None:
        raise NotFound(f"{row['slug']} has no version {number}.", f"The newest is {row['newest']}.")
    return found


def _labels(connection: Connection, template_id: str | None = None) -> dict[str, dict[str, int]]:
    query = select(_L.template_id, _L.label, _L.version).order_by(_L.label)
    found: dict[str, dict[str, int]] = {}
    for one, label, version in connection.execute(
        query if template_id is None else query.where(_L.template_id == template_id)
    ):
        found.setdefault(one, {})[label] = version
    return found


def _insert(
    connection: Connection, actor: Actor, row: Mapping[str, Any], checked: Mapping[str, Any], reason: str
) -> None:
    try:
        with connection.begin_nested():
            connection.execute(insert(prompt_templates).values(**row))
    except IntegrityError:
        raise Conflict(f"The name {row['slug']} is taken.", "Another prompt has it.", "Choose another one.") from None
    _insert_version(connection, actor, row["id"], 1, checked, reason)
    _move(connection, actor, row["id"], DRAFT, 1)


def _insert_version(
    connection: Connection, actor: Actor, template_id: str, version: int, checked: Mapping[str, Any], reason: str
) -> None:
    who = {"user_id": actor.user_id, "user_name": actor.name, "created_at": utc_now()}
    row = {"template_id": template_id, "version": version, "reason": reason.strip()[:2000], **checked, **who}
    connection.execute(insert(prompt_versions).values(**row))


def _move(connection: Connection, actor: Actor, template_id: str, label: str, version: int) -> None:
    values = {"version": version, "user_name": actor.name, "moved_at": utc_now()}
    here = (_L.template_id == template_id, _L.label == label)
    if connection.execute(update(prompt_labels).where(*here).values(**values)).rowcount == 0:
        connection.execute(insert(prompt_labels).values(template_id=template_id, label=label, **values))


def _described(app: str | None, category: str, description: str) -> dict[str, Any]:
    return {
        "app": check_slug(app, "app") if app else None,
        "category": check_slug(category, "category") if category.strip() else "",
        "description": description.strip()[:2000],
    }


def _template(row: RowMapping, labels: Mapping[str, int]) -> Template:
    return Template(**row, labels=labels)


def _version(row: RowMapping) -> Version:
    names = ("version", "text", "system_prompt", "parameters", "reason", "user_name", "created_at")
    variables = tuple(variable_of(one) for one in row["variables"])
    return Version(**{name: row[name] for name in names}, variables=variables)
