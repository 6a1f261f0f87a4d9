"""The rows of prompt templates: found for an actor, made, labelled."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, insert, or_, select, true, update
from sqlalchemy.exc import IntegrityError

from lib.access.permissions import Actor
from lib.clock import utc_now
from lib.db.tables import prompt_labels, prompt_templates, prompt_versions
from lib.errors import Conflict, NotFound
from lib.prompts.template import DRAFT, Template, Version
from lib.prompts.variable import variable_of

_T, _V, _L = prompt_templates.c, prompt_versions.c, prompt_labels.c
Which = int | str | None  # a version by number or label; None: the newest


def visible(actor: Actor) -> ColumnElement[bool]:
    """What the actor may see: with a program's key its app's own and those of every app."""
    return true() if actor.key is None else or_(_T.app.is_(None), _T.app == actor.key.app)


def find(connection: Connection, actor: Actor, slug: str) -> RowMapping:
    """A template by slug; NotFound."""
    row = connection.execute(select(prompt_templates).where(_T.slug == slug, visible(actor))).mappings().first()
    if row is None:
        raise NotFound(f"There is no prompt {slug[:80]}.", "", "Look at the Prompts page for the names.")
    return row


def find_version(connection: Connection, row: RowMapping, which: Which) -> RowMapping:
    """A version of it; NotFound."""
    number = which if isinstance(which, int) else row["newest"]
    if isinstance(which, str):
        labels = labels_of(connection, row["id"]).get(row["id"], {})
        if (labelled := labels.get(which)) is None:
            known = ", ".join(sorted(labels)) or "none"
            raise NotFound(f"{row['slug']} has no version labelled {which[:80]}.", f"Its labels: {known}.")
        number = labelled
    query = select(prompt_versions).where(_V.template_id == row["id"], _V.version == number)
    if (found := connection.execute(query).mappings().first()) is None:
        raise NotFound(f"{row['slug']} has no version {number}.", f"The newest is {row['newest']}.")
    return found


def labels_of(connection: Connection, template_id: str | None = None) -> dict[str, dict[str, int]]:
    """Labels with their versions, by the id of the template."""
    query = select(_L.template_id, _L.label, _L.version).order_by(_L.label)
    found: dict[str, dict[str, int]] = {}
    for one, label, version in connection.execute(
        query if template_id is None else query.where(_L.template_id == template_id)
    ):
        found.setdefault(one, {})[label] = version
    return found


def insert_first(
    connection: Connection, actor: Actor, row: Mapping[str, Any], checked: Mapping[str, Any], reason: str
) -> None:
    """A template with its first version; Conflict when the slug is taken."""
    try:
        with connection.begin_nested():
            connection.execute(insert(prompt_templates).values(**row))
    except IntegrityError:
        raise Conflict(f"The name {row['slug']} is taken.", "Another prompt has it.", "Choose another one.") from None
    insert_version(connection, actor, row["id"], 1, checked, reason)
    move(connection, actor, row["id"], DRAFT, 1)


def insert_version(
    connection: Connection, actor: Actor, template_id: str, version: int, checked: Mapping[str, Any], reason: str
) -> None:
    """Another version."""
    who = {"user_id": actor.user_id, "user_name": actor.name, "created_at": utc_now()}
    row = {"template_id": template_id, "version": version, "reason": reason.strip()[:2000], **checked, **who}
    connection.execute(insert(prompt_versions).values(**row))


def move(connection: Connection, actor: Actor, template_id: str, label: str, version: int) -> None:
    """Point a label to a version."""
    values = {"version": version, "user_name": actor.name, "moved_at": utc_now()}
    here = (_L.template_id == template_id, _L.label == label)
    if connection.execute(update(prompt_labels).where(*here).values(**values)).rowcount == 0:
        connection.execute(insert(prompt_labels).values(template_id=template_id, label=label, **values))


def template_of(row: RowMapping, labels: Mapping[str, int]) -> Template:
    """The value of a row."""
    return Template(**row, labels=labels)


def version_of(row: RowMapping) -> Version:
    """The value of a row."""
    names = ("version", "text", "system_prompt", "parameters", "reason", "user_name", "created_at")
    variables = tuple(variable_of(one) for one in row["variables"])
    return Version(**{name: row[name] for name in names}, variables=variables)
