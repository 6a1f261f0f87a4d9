"""The rows of prompt templates: found for an actor, made, labelled."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, and_, insert, or_, select, true, update
from sqlalchemy.exc import IntegrityError

from lib.access.permissions import Actor
from lib.access.team_scope import filter_changeable, filter_usable, make_shared_refusal
from lib.clock import utc_now
from lib.db.tables import prompt_labels, prompt_templates, prompt_versions
from lib.errors import Conflict, NotFound
from lib.prompts.template import DRAFT, PromptVersion, Template
from lib.prompts.variable import read_variable

_T = prompt_templates.c
_V = prompt_versions.c
_L = prompt_labels.c
VersionSelector = int | str | None  # a version by number or label; None: the newest


def filter_visible(actor: Actor) -> ColumnElement[bool]:
    """Build the condition for what an actor may see: templates of the team and of all teams, with a program's key those
    of its app and of every app.
    """
    of_app = true() if actor.key is None else or_(_T.app.is_(None), _T.app == actor.key.app)
    return and_(filter_usable(actor, _T.team_id), of_app)


def find_template(connection: Connection, actor: Actor, slug: str) -> RowMapping:
    """Find a template's row by slug; raises NotFound."""
    row = connection.execute(select(prompt_templates).where(_T.slug == slug, filter_visible(actor))).mappings().first()
    if row is None:
        raise NotFound(f"There is no prompt {slug[:80]}.", "", "Look at the Prompts page for the names.")
    return row


def find_changeable(connection: Connection, actor: Actor, slug: str) -> RowMapping:
    """Find the row of a template that the actor may change; raises NotFound, PermissionDenied for one of all teams."""
    is_there = (_T.slug == slug, filter_visible(actor), filter_changeable(actor, _T.team_id))
    row = connection.execute(select(prompt_templates).where(*is_there)).mappings().first()
    if row is None:
        raise make_shared_refusal(find_template(connection, actor, slug)["slug"])
    return row


def find_version(connection: Connection, row: RowMapping, which: VersionSelector) -> RowMapping:
    """Find a row of a template's version; raises NotFound."""
    number = which if isinstance(which, int) else row["newest"]
    if isinstance(which, str):
        labels = read_labels(connection, row["id"]).get(row["id"], {})
        if (labelled := labels.get(which)) is None:
            label_names = ", ".join(sorted(labels)) or "none"
            raise NotFound(f"{row['slug']} has no version labelled {which[:80]}.", f"Its labels: {label_names}.")
        number = labelled
    query = select(prompt_versions).where(_V.template_id == row["id"], _V.version == number)
    if (version_row := connection.execute(query).mappings().first()) is None:
        raise NotFound(f"{row['slug']} has no version {number}.", f"The newest is {row['newest']}.")
    return version_row


def read_labels(connection: Connection, template_id: str | None = None) -> dict[str, dict[str, int]]:
    """Read label → version of one template or all, by the template's id."""
    query = select(_L.template_id, _L.label, _L.version).order_by(_L.label)
    labels_by_template: dict[str, dict[str, int]] = {}
    for owner_id, label, version in connection.execute(
        query if template_id is None else query.where(_L.template_id == template_id)
    ):
        labels_by_template.setdefault(owner_id, {})[label] = version
    return labels_by_template


def insert_first(
    connection: Connection, actor: Actor, row: Mapping[str, Any], checked: Mapping[str, Any], reason: str
) -> None:
    """Insert a template with its first version; raises Conflict when the slug is taken."""
    try:
        with connection.begin_nested():
            connection.execute(insert(prompt_templates).values(**row))
    except IntegrityError:
        raise Conflict(f"The name {row['slug']} is taken.", "Another prompt has it.", "Choose another one.") from None
    insert_version(connection, actor, row["id"], 1, checked, reason)
    point_label(connection, actor, row["id"], DRAFT, 1)


def insert_version(
    connection: Connection, actor: Actor, template_id: str, version: int, checked: Mapping[str, Any], reason: str
) -> None:
    """Insert a version of a template; `checked` holds its columns."""
    who = {"user_id": actor.user_id, "user_name": actor.name, "created_at": utc_now()}
    row = {"template_id": template_id, "version": version, "reason": reason.strip()[:2000], **checked, **who}
    connection.execute(insert(prompt_versions).values(**row))


def point_label(connection: Connection, actor: Actor, template_id: str, label: str, version: int) -> None:
    """Point a label to a version."""
    values = {"version": version, "user_name": actor.name, "moved_at": utc_now()}
    is_label = (_L.template_id == template_id, _L.label == label)
    if connection.execute(update(prompt_labels).where(*is_label).values(**values)).rowcount == 0:
        connection.execute(insert(prompt_labels).values(template_id=template_id, label=label, **values))


def build_template(row: RowMapping, labels: Mapping[str, int]) -> Template:
    """Build a template from its row."""
    return Template(**row, labels=labels)


def build_version(row: RowMapping) -> PromptVersion:
    """Build a version from its row."""
    names = ("version", "text", "system_prompt", "parameters", "reason", "user_name", "created_at")
    variables = tuple(read_variable(record) for record in row["variables"])
    return PromptVersion(**{name: row[name] for name in names}, variables=variables)
