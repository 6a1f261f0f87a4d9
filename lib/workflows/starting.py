"""What a run is begun with: the version, the versions of the workflows that it runs as steps, and its row."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, or_, select

from lib.access.permissions import Actor
from lib.access.stop_switch import StopSwitch
from lib.access.team_scope import require_team
from lib.db.data_key import DataKey
from lib.db.tables import configurations
from lib.errors import Conflict
from lib.fast_json import encode_text
from lib.workflows.definition import AgentsNode, Definition, PromptNode
from lib.workflows.journal import build_run_row
from lib.workflows.run import Trigger
from lib.workflows.workflow import VersionSelector, Workflow, WorkflowVersion, load_version
from lib.workflows.workflows import resolve_pins

_FULL = "full"


@dataclass(frozen=True)
class StartPlan:
    """A version that is to run; `pins` are (workflow's id, version) by slug. `is_sealed`: its words are not kept."""

    workflow: Workflow
    version: WorkflowVersion
    pins: Mapping[str, tuple[str, int]]
    is_sealed: bool


def plan_start(connection: Connection, actor: Actor, workflow: Workflow, which: VersionSelector) -> StartPlan:
    """Choose what runs now; raises Conflict for a workflow that is switched off, NotFound for a version there is not.

    Whether the actor may run it is the caller's to check.
    """
    if not workflow.is_active:
        raise Conflict(f"The workflow {workflow.slug} is switched off.", "", "Switch it on.")
    workflow_version = load_version(connection, workflow, which)
    pins = resolve_pins(connection, actor, workflow_version.definition, (workflow.slug,))
    return StartPlan(workflow, workflow_version, pins, keeps_no_words(connection, workflow_version.definition))


def check_stops(stops: StopSwitch, actor: Actor, slug: str) -> None:
    """Raise PermissionDenied when the workflow, or whoever runs it, was stopped."""
    if not stops.is_fresh:
        stops.refresh()
    stops.check(actor, workflow=slug)


def build_start_row(
    plan: StartPlan,
    data_key: DataKey,
    connection: Connection,
    actor: Actor,
    values: Any,
    *,
    run_id: str,
    trigger: Trigger,
    cap_nano_usd: int | None = None,
    **columns: Any,
) -> dict[str, Any]:
    """Build the row of a run that has not begun, for inputs that were checked."""
    cap = plan.version.definition.cost_cap_usd
    own_cap = cap_nano_usd if cap_nano_usd is not None or cap is None else round(cap * 1_000_000_000)
    return build_run_row(
        id=run_id,
        workflow_id=plan.workflow.id,
        version=plan.version.version,
        pins={name: list(pin) for name, pin in plan.pins.items()},
        trigger=trigger,
        user_id=actor.user_id,
        api_key_id=actor.key.key_id if actor.key else None,
        team_id=require_team(actor),
        inputs={"sealed": data_key.encrypt(encode_text(values), connection)} if plan.is_sealed else values,
        is_sealed=plan.is_sealed,
        cost_cap_nano_usd=own_cap,
        **columns,
    )


def keeps_no_words(connection: Connection, definition: Definition) -> bool:
    """Whether one of the configurations that a definition names keeps no words, or not all."""
    names: set[str] = set()
    for _, graph in definition.graphs():
        for node in graph.nodes:
            if isinstance(node, PromptNode) and node.configuration:
                names.add(node.configuration)
            elif isinstance(node, AgentsNode):
                names |= {agent.configuration for agent in node.agents if agent.configuration}
    C = configurations.c
    is_named = or_(C.slug.in_(names), C.id.in_(names))
    query = select(C.id).where(is_named, C.content_policy != _FULL).limit(1)
    return bool(names) and connection.scalar(query) is not None
