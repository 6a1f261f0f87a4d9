"""Workflows as tools: for models that a configuration gives them, and for clients of the Model Context Protocol.

A workflow is the tool `workflow__<slug>` for whoever may run it; its form is the tool's schema, the run's output the
tool's answer. One whose steps only think and read is marked as reading; any other asks a person first unless somebody
has set otherwise. A run that waits for a person is an answer that says where to decide. A step of a workflow begins no
workflow this way, since that would go round for ever: it has the node `workflow`.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import select, tuple_

from lib.access.permissions import Actor, Permission
from lib.db.engine import Store
from lib.errors import InvalidInput, NotFound
from lib.limited.expressions import convert_to_text
from lib.patterns import compile_pattern
from lib.tools.tool import LONGEST_NAME, SourceKind, ToolAnnotations, ToolContext, ToolDefinition, ToolOutput
from lib.workflows.definition import (
    AgentsNode,
    Definition,
    PromptNode,
    decode_definition,
)
from lib.workflows.form import build_form_schema
from lib.workflows.run import Run, RunState, Trigger
from lib.workflows.runs import WorkflowRuns
from lib.workflows.workflow import V, Workflow
from lib.workflows.workflows import Workflows

PREFIX = "workflow__"
_LOOK_S = 0.15
_NOT_IN_A_NAME = compile_pattern(r"[^a-zA-Z0-9_-]")
_THINKS = frozenset({"input", "condition", "switch", "transform", "join", "output", "map", "loop", "note"})
_READS_OUTSIDE = frozenset({"retrieve", "http", "tool"})


class WorkflowTools:
    """The source of workflows as tools."""

    name = "workflows"

    def __init__(self, store: Store, workflows: Callable[[], Workflows], runs: Callable[[], WorkflowRuns]) -> None:
        self._store = store
        self._find_workflows = workflows
        self._find_runs = runs

    def may_offer(self, name: str) -> bool:
        """Whether a name begins as those of workflows do."""
        return name.startswith(PREFIX)

    def definitions(self, actor: Actor) -> Sequence[ToolDefinition]:
        """List the workflows that the actor may run; of two that would be called alike, the first by slug."""
        return [*self._define_all(actor).values()]

    def absences(self, actor: Actor) -> Mapping[str, str]:
        """List nothing: a workflow that is switched off is none."""
        return {}

    async def run(self, name: str, arguments: Mapping[str, Any], context: ToolContext) -> ToolOutput:
        """Run a workflow to its end, or until it waits; cancelling cancels the run."""
        if context.within.workflow_run_id:
            why = "A step of a workflow begins no other one as a tool."
            raise InvalidInput("The workflow can't be run here.", why, "Use a node of the kind workflow.")
        runs = self._find_runs()
        run = await asyncio.to_thread(self._begin, runs, name, arguments, context.actor)
        try:
            while run.state.is_at_work:
                await asyncio.sleep(_LOOK_S)
                run = await asyncio.to_thread(runs.get, context.actor, run.id)
        except asyncio.CancelledError:
            await asyncio.shield(asyncio.to_thread(runs.cancel, context.actor, run.id))
            raise
        return write_run(run)

    def _begin(self, runs: WorkflowRuns, name: str, arguments: Mapping[str, Any], actor: Actor) -> Run:
        workflow = self._list_workflows(actor).get(name)
        if workflow is None:
            raise NotFound(f"There is no tool {name[:LONGEST_NAME]}.", "The workflow was switched off or deleted.")
        return runs.start(actor, workflow.slug, arguments, trigger=Trigger.TOOL)

    def _list_workflows(self, actor: Actor) -> dict[str, Workflow]:
        if not actor.can(Permission.TEST_CONFIGS):
            return {}
        by_name: dict[str, Workflow] = {}
        for workflow in self._find_workflows().list(actor):
            if workflow.is_active:
                by_name.setdefault(name_tool(workflow.slug), workflow)
        return by_name

    def _define_all(self, actor: Actor) -> dict[str, ToolDefinition]:
        listed = self._list_workflows(actor)
        if not listed:
            return {}
        current_versions = [(workflow.id, workflow.current) for workflow in listed.values()]
        query = select(V.workflow_id, V.version, V.definition).where(
            tuple_(V.workflow_id, V.version).in_(current_versions)
        )
        with self._store.read() as connection:
            texts = {(row.workflow_id, row.version): row.definition for row in connection.execute(query)}
        return {
            name: _define(name, workflow.name, workflow.description, texts[workflow.id, workflow.current])
            for name, workflow in listed.items()
            if (workflow.id, workflow.current) in texts
        }


def name_tool(slug: str) -> str:
    """Name the tool of a workflow: as every provider takes it, at most 64 characters."""
    return (PREFIX + _NOT_IN_A_NAME.sub("_", slug))[:LONGEST_NAME]


@lru_cache(512)
def _define(name: str, title: str, description: str, text: str) -> ToolDefinition:
    definition = decode_definition(text)
    return ToolDefinition(
        name=name,
        title=title,
        description=description or f"Runs the workflow {title}.",
        parameters=build_form_schema(definition.input_fields),
        annotations=describe_effects(definition),
        source=SourceKind.WORKFLOW,
    )


def describe_effects(definition: Definition) -> ToolAnnotations:
    """Say what running a workflow may do: reading is all that prompts without tools, searches and expressions do."""
    kinds: set[str] = set()
    for _, graph in definition.graphs():
        for node in graph.nodes:
            has_tools = isinstance(node, PromptNode) and bool(node.tools)
            has_tools = has_tools or (isinstance(node, AgentsNode) and any(agent.tools for agent in node.agents))
            kinds.add("tool" if has_tools else str(node.__struct_config__.tag))
    is_read_only = kinds <= _THINKS | {"prompt", "agents", "retrieve"}
    return ToolAnnotations(
        read_only=is_read_only,
        destructive=not is_read_only,
        idempotent=False,
        open_world=bool(kinds & _READS_OUTSIDE) or not is_read_only,
    )


def write_run(run: Run) -> ToolOutput:
    """Write a run as a tool's answer; what did not end well says how to go on."""
    if run.state is RunState.DONE:
        return ToolOutput(convert_to_text(run.output), run.output if isinstance(run.output, dict) else None)
    inbox_hint = " Decide at /approvals; the run then goes on by itself." if run.state is RunState.WAITING else ""
    step = f" at {run.failed_step}" if run.failed_step else ""
    return ToolOutput(f"The run {run.id} is {run.state}{step}: {run.reason}{inbox_hint}", is_error=True)
