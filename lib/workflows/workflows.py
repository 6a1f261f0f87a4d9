"""Workflows of the installation: made, changed by new versions, labelled, compared, exported and imported.

Whoever holds `manage-llm-workflows` makes and changes them; running one is for those whom the workflow itself names. A
new version names the newest one it was made from, so of two people who edit at once the second is told. A definition
that can't run is stored nowhere: every problem is named with its node.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from lib.access import audit
from lib.access.permissions import Actor, Permission
from lib.access.team_scope import require_team
from lib.clock import make_id, utc_now
from lib.configs.configuration import check_slug
from lib.db.engine import Store
from lib.db.tables import (
    workflow_labels,
    workflow_runs,
    workflow_schedules,
    workflow_versions,
    workflow_webhooks,
    workflows,
)
from lib.errors import Conflict, InvalidInput, NotFound
from lib.fast_json import decode, encode_text
from lib.limited.rules import compute_unified_difference
from lib.workflows.definition import (
    Definition,
    WorkflowNode,
    build_document,
    compute_hash,
    encode_definition,
    load_definition,
    parse_definition,
    write_yaml,
)
from lib.workflows.original_format import is_original, translate_original
from lib.workflows.triggers.unattended import list_tool_names
from lib.workflows.validation import Problem, list_problems, require_valid
from lib.workflows.workflow import (
    L,
    Runners,
    V,
    VersionSelector,
    W,
    Workflow,
    WorkflowVersion,
    build_version,
    build_workflow,
    find_workflow,
    load_version,
    load_workflow,
    may_run,
    read_labels,
    read_runners,
    require_may_change,
    require_may_run,
)

_ENDED = ("done", "failed", "cancelled")
_LONGEST_IMPORT = 20_000_000  # characters: all versions of many workflows
_DEEPEST_WORKFLOWS = 5  # in one another, the one that is run counted


@dataclass
class ImportedWorkflows:
    """Slugs that an import made, and those that were taken and left as they were."""

    created: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


class Workflows:
    """Definitions of workflows and their versions."""

    def __init__(
        self,
        store: Store,
        explain_unattended: Callable[[Actor, Sequence[str]], Sequence[str]] = lambda actor, names: (),
    ) -> None:
        self._store = store
        self._explain_unattended = explain_unattended

    def list(self, actor: Actor) -> Sequence[Workflow]:
        """List the workflows that the actor may run or manage, by slug."""
        actor.require(Permission.TEST_CONFIGS)
        with self._store.read() as connection:
            labels = read_labels(connection)
            rows = connection.execute(select(workflows).order_by(W.slug)).mappings().all()
        listed = [build_workflow(row, labels.get(row["id"], {})) for row in rows]
        allows = actor.key.allows_model if actor.key is not None else None
        return [w for w in listed if may_run(actor, w) and (allows is None or allows(f"workflow/{w.slug}"))]

    def get(self, actor: Actor, slug: str) -> Workflow:
        """Get a workflow by slug or id; raises NotFound, PermissionDenied."""
        actor.require(Permission.TEST_CONFIGS)
        with self._store.read() as connection:
            workflow = load_workflow(connection, slug)
        require_may_run(actor, workflow)
        return workflow

    def version(self, actor: Actor, slug: str, which: VersionSelector = None) -> WorkflowVersion:
        """Get a version by number or label; without either the one in production, else the newest."""
        workflow = self.get(actor, slug)
        with self._store.read() as connection:
            return load_version(connection, workflow, which)

    def versions(self, actor: Actor, slug: str) -> Sequence[WorkflowVersion]:
        """List all versions, the newest first."""
        workflow = self.get(actor, slug)
        query = select(workflow_versions).where(V.workflow_id == workflow.id).order_by(V.version.desc())
        with self._store.read() as connection:
            return [build_version(row) for row in connection.execute(query).mappings()]

    def diff(self, actor: Actor, slug: str, old: VersionSelector, new: VersionSelector) -> Sequence[str]:
        """Lines of a unified diff of two versions in YAML; empty when they are equal."""
        old_version = self.version(actor, slug, old)
        after = self.version(actor, slug, new)
        old_lines = write_yaml(old_version.definition).splitlines()
        new_lines = write_yaml(after.definition).splitlines()
        names = f"version {old_version.version}", f"version {after.version}"
        return compute_unified_difference(old_lines, new_lines, names)

    def check(self, actor: Actor, document: str | bytes | Mapping[str, Any]) -> tuple[Definition, Sequence[Problem]]:
        """Read a definition and list its problems, also those with what it names here: parts of the installation.

        Raises InvalidInput for a document that is no definition at all.
        """
        actor.require(Permission.TEST_CONFIGS)
        definition = _read(document)
        needs = self._explain_unattended(actor, list_tool_names(definition))
        hints = [Problem("", need, is_error=False) for need in needs]
        with self._store.read() as connection:
            return definition, [*list_problems(definition), *_list_call_problems(connection, definition, ""), *hints]

    def create(
        self,
        actor: Actor,
        slug: str,
        definition: Definition | Mapping[str, Any] | str,
        *,
        name: str = "",
        description: str = "",
        runners: Runners | Mapping[str, Any] | None = None,
        reason: str = "",
    ) -> Workflow:
        """Make a workflow with its first version; raises InvalidInput or Conflict."""
        actor.require(Permission.MANAGE_WORKFLOWS)
        slug = check_slug(slug, "slug")
        checked = definition if isinstance(definition, Definition) else _read(definition)
        require_valid(checked)
        with self._store.write() as connection:
            if connection.scalar(select(W.id).where(W.slug == slug)) is not None:
                raise Conflict(f"The name {slug} is taken.", "", "Choose another one.")
            _require_calls(connection, checked, slug)
            _insert_workflow(connection, actor, slug, checked, name, description, runners, reason)
            audit.record(connection, actor, "workflow.create", slug)
        return self.get(actor, slug)

    def save(
        self,
        actor: Actor,
        slug: str,
        definition: Definition | Mapping[str, Any] | str,
        based_on: int,
        reason: str = "",
    ) -> WorkflowVersion:
        """Add a version made from the newest one, `based_on`; raises Conflict when somebody has saved since."""
        actor.require(Permission.MANAGE_WORKFLOWS)
        checked = definition if isinstance(definition, Definition) else _read(definition)
        require_valid(checked)
        with self._store.write() as connection:
            workflow = load_workflow(connection, slug)
            require_may_change(actor, workflow)
            _require_calls(connection, checked, workflow.slug)
            moved = update(workflows).where(W.id == workflow.id, W.newest == based_on)
            if connection.execute(moved.values(newest=based_on + 1, updated_at=utc_now())).rowcount == 0:
                why = f"Version {workflow.newest} was saved meanwhile. Yours was not."
                raise Conflict(f"{workflow.slug} has a newer version.", why, "Reload to see it, then change it again.")
            if load_version(connection, workflow, based_on).definition == checked:
                raise InvalidInput("Nothing has changed.", f"It is version {based_on} as it stands.")
            _insert_version(connection, actor, workflow.id, based_on + 1, checked, reason)
            audit.record(connection, actor, "workflow.save", workflow.slug, version=based_on + 1)
            return load_version(connection, load_workflow(connection, slug), based_on + 1)

    def describe(
        self,
        actor: Actor,
        slug: str,
        *,
        name: str | None = None,
        description: str | None = None,
        is_active: bool | None = None,
        runners: Runners | Mapping[str, Any] | None = None,
    ) -> Workflow:
        """Change what stands around the definition; None leaves a thing as it is."""
        actor.require(Permission.MANAGE_WORKFLOWS)
        values: dict[str, Any] = {"updated_at": utc_now()}
        if name is not None:
            values["name"] = _check_name(name, slug)
        if description is not None:
            values["description"] = description.strip()[:2_000]
        if is_active is not None:
            values["is_active"] = is_active
        if runners is not None:
            values["runners"] = _convert_to_runners(runners).to_record()
        with self._store.write() as connection:
            require_may_change(actor, load_workflow(connection, slug))
            row = find_workflow(connection, slug)
            connection.execute(update(workflows).where(W.id == row["id"]).values(**values))
            audit.record(connection, actor, "workflow.edit", row["slug"], fields=sorted(values.keys() - {"updated_at"}))
        return self.get(actor, slug)

    def move_label(self, actor: Actor, slug: str, label: str, version: int | None) -> Workflow:
        """Point a label to a version, made if it is new; None takes it off."""
        actor.require(Permission.MANAGE_WORKFLOWS)
        label = check_slug(label, "label")
        if label.isdigit() or label == "newest":
            raise InvalidInput(
                "The label can't be used.", "It would read like a version.", "Choose another one.", "label"
            )
        with self._store.write() as connection:
            workflow = load_workflow(connection, slug)
            require_may_change(actor, workflow)
            connection.execute(delete(workflow_labels).where(L.workflow_id == workflow.id, L.label == label))
            if version is not None:
                load_version(connection, workflow, version)
                row = {"workflow_id": workflow.id, "label": label, "version": version}
                connection.execute(insert(workflow_labels), row)
            detail: dict[str, Any] = {"label": label, "from": workflow.labels.get(label), "to": version}
            audit.record(connection, actor, "workflow.label", workflow.slug, **detail)
        return self.get(actor, slug)

    def delete(self, actor: Actor, slug: str) -> None:
        """Delete a workflow with its versions, schedules and webhooks; runs and calls stay. Not while one runs."""
        actor.require(Permission.MANAGE_WORKFLOWS)
        with self._store.write() as connection:
            require_may_change(actor, load_workflow(connection, slug))
            row = find_workflow(connection, slug)
            running = select(workflow_runs.c.id).where(
                workflow_runs.c.workflow_id == row["id"], workflow_runs.c.state.not_in(_ENDED)
            )
            if connection.scalar(running.limit(1)) is not None:
                raise Conflict(f"{row['slug']} has runs that have not ended.", "", "Cancel them first.")
            for table in (workflow_labels, workflow_versions, workflow_schedules, workflow_webhooks):
                connection.execute(delete(table).where(table.c.workflow_id == row["id"]))
            connection.execute(delete(workflows).where(W.id == row["id"]))
            audit.record(connection, actor, "workflow.delete", row["slug"], versions=row["newest"])

    def export_json(self, actor: Actor, slugs: Sequence[str] | None = None) -> str:
        """Write workflows with all their versions and labels as a JSON document."""
        exported = []
        for workflow in self.list(actor):
            if slugs is not None and workflow.slug not in slugs:
                continue
            versions = [*reversed(self.versions(actor, workflow.slug))]
            exported.append(
                {
                    "slug": workflow.slug,
                    "name": workflow.name,
                    "description": workflow.description,
                    "runners": workflow.runners.to_record(),
                    "labels": dict(workflow.labels),
                    "versions": [{"reason": v.reason, "definition": build_document(v.definition)} for v in versions],
                }
            )
        with self._store.write() as connection:
            audit.record(connection, actor, "workflow.export", "json", rows=len(exported))
        return encode_text({"workflows": exported})

    def import_document(self, actor: Actor, document: str | bytes, slug: str = "") -> ImportedWorkflows:
        """Import an export, one definition in JSON or YAML, or one of the original's; taken slugs are left as they are.

        Nothing is imported from a document with an error in it. A single definition needs `slug`.
        """
        actor.require(Permission.MANAGE_WORKFLOWS)
        entries = _read_import(document, slug)
        done = ImportedWorkflows()
        with self._store.write() as connection:
            existing_slugs = set(connection.scalars(select(W.slug)))
            for entry in entries:
                if entry["slug"] in existing_slugs:
                    done.skipped.append(entry["slug"])
                    continue
                first, *later_versions = entry["versions"]
                details = (entry["name"], entry["description"], entry["runners"], first[1])
                workflow_id = _insert_workflow(connection, actor, entry["slug"], first[0], *details)
                for number, (definition, reason) in enumerate(later_versions, 2):
                    _insert_version(connection, actor, workflow_id, number, definition, reason)
                newest = len(entry["versions"])
                connection.execute(update(workflows).where(W.id == workflow_id).values(newest=newest))
                for label, version in entry["labels"].items():
                    if isinstance(version, int) and 0 < version <= newest:
                        row = {"workflow_id": workflow_id, "label": check_slug(label, "label"), "version": version}
                        connection.execute(insert(workflow_labels), row)
                existing_slugs.add(entry["slug"])
                done.created.append(entry["slug"])
            audit.record(connection, actor, "workflow.import", "json", created=done.created, skipped=done.skipped)
        return done


def resolve_pins(
    connection: Connection, actor: Actor, definition: Definition, above: tuple[str, ...] = ()
) -> dict[str, tuple[str, int]]:
    """Resolve the workflows that a definition runs as steps, and theirs: slug → (id, version), fixed for a run.

    Raises InvalidInput where one is missing, switched off or calls itself, or where they stand too deep.
    """
    resolving = _PinResolving(connection, actor)
    resolving.resolve(definition, above)
    return resolving.pins


class _PinResolving:
    """Pins of one run. Each workflow is read once, however many ways lead to it."""

    def __init__(self, connection: Connection, actor: Actor) -> None:
        self.pins: dict[str, tuple[str, int]] = {}
        self._connection = connection
        self._actor = actor
        self._slugs: dict[str, str] = {}  # by the name that a node gives
        self._heights: dict[str, int] = {}  # by slug, how many workflows stand in one another from it on

    def resolve(self, definition: Definition, above: tuple[str, ...]) -> int:
        """Pin what a definition calls; returns how many workflows stand in one another below it."""
        by_name = {node.workflow: node for node in reversed(list_called(definition))}
        return max((self._resolve_node(node, above) for node in reversed(by_name.values())), default=0)

    def _resolve_node(self, node: WorkflowNode, above: tuple[str, ...]) -> int:
        slug = self._slugs.get(node.workflow, node.workflow)
        if slug in above:
            chain = " → ".join([*above[above.index(slug) :], slug])
            raise InvalidInput(
                "The workflow calls itself.", f"{node.id}: {chain}.", "Change one of them.", "definition"
            )
        if len(above) + self._heights.get(slug, 1) > _DEEPEST_WORKFLOWS:
            raise InvalidInput("Workflows stand too deep in one another.", " → ".join(above), "", "definition")
        if slug not in self._heights:
            called = self._load(node)
            self._slugs[node.workflow] = called.slug
            version = load_version(self._connection, called)
            self.pins[called.slug] = (called.id, version.version)
            self._heights[called.slug] = 1 + self.resolve(version.definition, (*above, called.slug))
            slug = called.slug
        return self._heights[slug]

    def _load(self, node: WorkflowNode) -> Workflow:
        try:
            called = load_workflow(self._connection, node.workflow)
        except NotFound:
            why = f"{node.id}: there is no workflow {node.workflow}."
            raise InvalidInput("The workflow can't run.", why, "Make it, or name another one.", "definition") from None
        require_may_run(self._actor, called)
        if not called.is_active:
            raise InvalidInput("The workflow can't run.", f"{node.id}: {called.slug} is switched off.", "Switch it on.")
        return called


def list_called(definition: Definition) -> Sequence[WorkflowNode]:
    """List the nodes that run other workflows."""
    return [node for _, graph in definition.graphs() for node in graph.nodes if isinstance(node, WorkflowNode)]


def _read(document: str | bytes | Mapping[str, Any]) -> Definition:
    if isinstance(document, str | bytes):
        return load_definition(document)
    return parse_definition(translate_original(document) if is_original(document) else dict(document))


def _list_call_problems(connection: Connection, definition: Definition, slug: str) -> Sequence[Problem]:
    problems: list[Problem] = []
    for node in list_called(definition):
        workflow_id = connection.scalar(select(W.id).where(W.slug == node.workflow))
        if workflow_id is None and node.workflow != slug:
            problems.append(Problem(node.id, f"There is no workflow {node.workflow}."))
    return problems


def _require_calls(connection: Connection, definition: Definition, slug: str) -> None:
    """Raise InvalidInput when the workflow would run itself, at whatever depth."""
    looked_at: set[str] = set()
    waiting: list[tuple[str, tuple[str, ...], str]] = [
        (node.workflow, (slug, node.workflow), node.id) for node in reversed(list_called(definition))
    ]
    while waiting:
        called, chain, node_id = waiting.pop()
        if called == slug:
            why = f"{node_id}: {' → '.join(chain)}."
            raise InvalidInput("The workflow calls itself.", why, "Change one of them.", "definition")
        if called in looked_at:
            continue
        looked_at.add(called)
        if connection.scalar(select(W.id).where(W.slug == called)) is None:
            continue
        inner = load_version(connection, load_workflow(connection, called)).definition
        waiting += [(further.workflow, (*chain, further.workflow), node_id) for further in list_called(inner)]


def _insert_workflow(
    connection: Connection,
    actor: Actor,
    slug: str,
    definition: Definition,
    name: str,
    description: str,
    runners: Runners | Mapping[str, Any] | None,
    reason: str,
) -> str:
    now = utc_now()
    workflow_id = make_id()
    row = {
        "id": workflow_id,
        "slug": slug,
        "name": _check_name(name, slug),
        "description": description.strip()[:2_000],
        "newest": 1,
        "is_active": True,
        "user_id": actor.user_id,
        "team_id": require_team(actor),
        "runners": _convert_to_runners(runners).to_record(),
        "created_at": now,
        "updated_at": now,
    }
    connection.execute(insert(workflows), row)
    _insert_version(connection, actor, workflow_id, 1, definition, reason)
    return workflow_id


def _insert_version(
    connection: Connection, actor: Actor, workflow_id: str, version: int, definition: Definition, reason: str
) -> None:
    row = {
        "workflow_id": workflow_id,
        "version": version,
        "hash": compute_hash(definition),
        "definition": encode_definition(definition),
        "reason": reason.strip()[:500],
        "user_id": actor.user_id,
        "user_name": actor.name,
        "created_at": utc_now(),
    }
    connection.execute(insert(workflow_versions), row)


def _check_name(name: str, slug: str) -> str:
    return name.strip()[:200] or slug.replace("-", " ").capitalize()


def _convert_to_runners(runners: Runners | Mapping[str, Any] | None) -> Runners:
    return runners if isinstance(runners, Runners) else read_runners(runners or {})


def _read_import(document: str | bytes, slug: str) -> Sequence[dict[str, Any]]:
    if len(document) > _LONGEST_IMPORT:
        why = f"It has {len(document):,} characters; the limit is {_LONGEST_IMPORT:,}."
        raise InvalidInput("The document can't be imported.", why, "Export fewer workflows at once.", "document")
    raw: Any = None
    with suppress(ValueError, RecursionError):
        raw = decode(document)
    if isinstance(raw, dict) and isinstance(raw.get("workflows"), list):
        return [_read_entry(entry) for entry in raw["workflows"]]
    definition = load_definition(document)
    require_valid(definition)
    if not slug:
        raise InvalidInput("The workflow needs a name.", "The document is one definition.", "Give its slug.", "slug")
    entry = {"slug": check_slug(slug, "slug"), "name": "", "description": "", "runners": {}, "labels": {}}
    return [entry | {"versions": [(definition, "Imported.")]}]


def _read_entry(entry: Any) -> dict[str, Any]:
    if not isinstance(entry, dict) or not isinstance(entry.get("versions"), list) or not entry["versions"]:
        raise InvalidInput("The document can't be imported.", "A workflow in it has no versions.", "", "document")
    versions = []
    for version in entry["versions"]:
        raw = version.get("definition") if isinstance(version, dict) else None
        if not isinstance(raw, dict):
            raise InvalidInput("The document can't be imported.", "A version has no definition.", "", "document")
        definition = _read(raw)
        require_valid(definition)
        versions.append((definition, str(version.get("reason") or "")))
    labels = entry.get("labels") if isinstance(entry.get("labels"), dict) else {}
    runners = entry.get("runners") if isinstance(entry.get("runners"), dict) else {}
    return {
        "slug": check_slug(str(entry.get("slug") or ""), "slug"),
        "name": str(entry.get("name") or ""),
        "description": str(entry.get("description") or ""),
        "runners": runners,
        "labels": labels,
        "versions": versions,
    }
