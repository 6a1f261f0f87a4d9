"""A workflow as people manage it: its name, who may run it, its versions, and which version a name points to."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, or_, select, true

from lib.access.permissions import Actor, Permission, Role
from lib.db.tables import workflow_labels, workflow_versions, workflows
from lib.db.team_ids import ALL_TEAMS
from lib.errors import InvalidInput, NotFound, PermissionDenied
from lib.patterns import read_whole_number
from lib.workflows.definition import Definition, decode_definition

PRODUCTION = "production"
VersionSelector = int | str | None  # a number, a label; None: the one in production, else the newest
W = workflows.c
V = workflow_versions.c
L = workflow_labels.c


@dataclass(frozen=True)
class Runners:
    """Who may run a workflow besides those who manage workflows and its maker."""

    roles: tuple[Role, ...] = ()
    teams: tuple[int, ...] = ()

    def to_record(self) -> dict[str, Any]:
        """Return the roles and teams as a JSON object, in the form in which the database stores it."""
        return {"roles": [role.value for role in self.roles], "teams": [*self.teams]}


@dataclass(frozen=True)
class Workflow:
    """A workflow; `labels` say which version each label points to."""

    id: str
    slug: str
    name: str
    description: str
    newest: int
    is_active: bool
    user_id: str | None
    team_id: int
    runners: Runners
    labels: Mapping[str, int]
    created_at: datetime
    updated_at: datetime

    @property
    def current(self) -> int:
        """The version that a run takes: the one in production, else the newest."""
        return self.labels.get(PRODUCTION, self.newest)


@dataclass(frozen=True)
class WorkflowVersion:
    """One version, never changed."""

    workflow_id: str
    version: int
    hash: str
    definition: Definition
    reason: str
    user_name: str
    created_at: datetime


def read_runners(record: Mapping[str, Any]) -> Runners:
    """Read who may run from a record; raises InvalidInput for a role that does not exist."""
    try:
        roles = tuple(Role(name) for name in record.get("roles", ()))
        return Runners(roles, tuple(int(team) for team in record.get("teams", ())))
    except (ValueError, TypeError) as error:
        raise InvalidInput(
            "The runners can't be used.", f"{error}.", f"Roles are {', '.join(Role)}.", "runners"
        ) from None


def may_change(actor: Actor, workflow: Workflow) -> bool:
    """Whether an actor may change a workflow: as one who manages those of its team."""
    is_in_reach = actor.sees_every_team or workflow.team_id == actor.team_id
    return actor.can(Permission.MANAGE_WORKFLOWS) and is_in_reach


def require_may_change(actor: Actor, workflow: Workflow) -> None:
    """Raise NotFound or PermissionDenied unless the actor may change the workflow."""
    if not may_run(actor, workflow):
        raise NotFound("There is no such workflow.", "It does not exist, or it is another team's.")
    if not may_change(actor, workflow):
        why = f"{workflow.slug} is another team's."
        raise PermissionDenied("You can't change this workflow.", why, "Export it and import it into your own team.")


def may_run(actor: Actor, workflow: Workflow) -> bool:
    """Whether an actor may run a workflow: as one who manages it, as its maker, by role within its team, or by team."""
    if may_change(actor, workflow) or (workflow.user_id is not None and workflow.user_id == actor.user_id):
        return True
    is_own_team = workflow.team_id in (ALL_TEAMS, actor.team_id)
    by_role = is_own_team and actor.role in workflow.runners.roles
    return by_role or bool(set(actor.team_ids) & set(workflow.runners.teams))


def require_may_run(actor: Actor, workflow: Workflow) -> None:
    """Raise PermissionDenied unless the actor may run the workflow; its key, if it has one, has to allow it."""
    actor.require(Permission.TEST_CONFIGS)
    if not may_run(actor, workflow):
        why = f"{workflow.slug} is for others to run."
        raise PermissionDenied("You can't run this workflow.", why, "Ask one of its makers to list your role or team.")
    if actor.key is not None:
        actor.key.require_model(f"workflow/{workflow.slug}")


def find_workflow(connection: Connection, slug_or_id: str) -> RowMapping:
    """Find a workflow's row by slug or id; raises NotFound."""
    query = select(workflows).where(or_(W.slug == slug_or_id, W.id == slug_or_id))
    row = connection.execute(query).mappings().first()
    if row is None:
        raise NotFound(f"There is no workflow {slug_or_id[:100]}.", "", "`workflow list` names those there are.")
    return row


def read_labels(connection: Connection, workflow_id: str | None = None) -> dict[str, dict[str, int]]:
    """Read labels by workflow id: of one, or of all."""
    condition: ColumnElement[bool] = true() if workflow_id is None else L.workflow_id == workflow_id
    labels: dict[str, dict[str, int]] = {}
    for row in connection.execute(select(workflow_labels).where(condition)).mappings():
        labels.setdefault(row["workflow_id"], {})[row["label"]] = row["version"]
    return labels


def build_workflow(row: RowMapping, labels: Mapping[str, int]) -> Workflow:
    """Build the value of a row."""
    names = (
        "id",
        "slug",
        "name",
        "description",
        "newest",
        "is_active",
        "user_id",
        "team_id",
        "created_at",
        "updated_at",
    )
    return Workflow(**{name: row[name] for name in names}, runners=read_runners(row["runners"]), labels=labels)


def load_workflow(connection: Connection, slug_or_id: str) -> Workflow:
    """Load a workflow with its labels; raises NotFound."""
    row = find_workflow(connection, slug_or_id)
    return build_workflow(row, read_labels(connection, row["id"]).get(row["id"], {}))


def load_version(connection: Connection, workflow: Workflow, which: VersionSelector = None) -> WorkflowVersion:
    """Load a version by number or label; raises NotFound."""
    number: int | None = workflow.current
    if isinstance(which, int):
        number = which
    elif isinstance(which, str) and (read := read_whole_number(which)) is not None:
        number = read
    elif isinstance(which, str) and which:
        number = workflow.newest if which == "newest" else workflow.labels.get(which)
    query = select(workflow_versions).where(V.workflow_id == workflow.id, V.version == number)
    row = None if number is None else connection.execute(query).mappings().first()
    if row is None:
        raise NotFound(f"{workflow.slug} has no version {which}.", f"The newest is {workflow.newest}.")
    return build_version(row)


def build_version(row: RowMapping) -> WorkflowVersion:
    """Build the value of a version's row."""
    names = ("workflow_id", "version", "hash", "reason", "user_name", "created_at")
    return WorkflowVersion(**{name: row[name] for name in names}, definition=decode_definition(row["definition"]))
