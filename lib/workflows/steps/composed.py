"""Steps that are made of steps: a part for each item of a list, a part until it is good, another workflow."""

from typing import Any

from lib.limited.expressions import ExpressionError
from lib.workflows.definition import InputNode, LoopNode, MapNode, WorkflowNode
from lib.workflows.execution import Branch, Frame, NodeOutcome, StepContext, run_all
from lib.workflows.expressions import fill_value, require_condition
from lib.workflows.form import check_inputs
from lib.workflows.run import StepError, StepHeld, StepResult
from lib.workflows.steps.pure import explain

_WAITS = ""  # another step says why


class MapStep:
    """A part for each member of a list, a few at once."""

    async def resolve(self, context: StepContext) -> Any:
        """The number of items; the items themselves are other steps' outputs."""
        node: MapNode = context.node
        return {"over": node.over, "count": len(await self._list_items(context))}

    async def _list_items(self, context: StepContext) -> list[Any]:
        node: MapNode = context.node
        try:
            items = await context.execution.compute(node.over, context.scope)
        except ExpressionError as error:
            raise explain(node.over, error) from None
        if not isinstance(items, list):
            raise StepError(f"{node.over[:100]!r} is no list.")
        if len(items) > node.limit:
            raise StepError(
                f"The list has {len(items):,} members; the limit of this map is {node.limit:,}.", is_final=True
            )
        return items

    async def perform(self, context: StepContext, resolved: Any) -> StepResult:
        """Run the part for each item; a failed one fails the step, or leaves a null in its place."""
        node: MapNode = context.node
        items = await self._list_items(context)
        outcomes: list[NodeOutcome | None] = [None] * len(items)
        failed: dict[int, tuple[str, str]] = {}
        numbers = iter(range(len(items)))

        async def work_off() -> None:
            for number in numbers:
                branch = Branch(context.branch)
                scope = {**context.scope, "item": items[number], "index": number}
                prefix = f"{context.path}/{number}/"
                graph = (context.frame, node.part, prefix, scope, branch)
                outcomes[number] = await context.execution.run_graph(*graph)
                if branch.failure is not None:
                    failed[number] = branch.failure
                    if node.on_error == "fail":
                        return

        await run_all(work_off() for _ in range(min(node.parallel, len(items))))
        if failed and node.on_error == "fail":
            number, (path, why) = min(failed.items())
            raise StepError(f"Item {number + 1}: {why}", path=path)
        ended = [outcome for number, outcome in enumerate(outcomes) if number not in failed]
        if any(outcome is None or outcome.state == "blocked" for outcome in ended):
            raise StepHeld(_WAITS)
        values = [None if number in failed or o is None else o.output for number, o in enumerate(outcomes)]
        return StepResult({"items": values, "count": len(items), "failed": len(failed)})


class LoopStep:
    """A part until an expression holds."""

    async def resolve(self, context: StepContext) -> Any:
        """The condition and the bound."""
        return {"until": context.node.until, "max_rounds": context.node.max_rounds}

    async def perform(self, context: StepContext, resolved: Any) -> StepResult:
        """Run rounds one after the other."""
        node: LoopNode = context.node
        previous: Any = None
        for number in range(node.max_rounds):
            branch = Branch(context.branch)
            scope = {**context.scope, "round": number, "previous": previous}
            graph = (context.frame, node.part, f"{context.path}/{number}/", scope, branch)
            outcome = await context.execution.run_graph(*graph)
            if branch.failure is not None:
                path, why = branch.failure
                raise StepError(f"Round {number + 1}: {why}", path=path)
            if outcome.state == "blocked":
                raise StepHeld(_WAITS)
            try:
                loop_scope = {**scope, "output": outcome.output, "state": context.frame.state}
                if require_condition(await context.execution.compute(node.until, loop_scope)):
                    return StepResult({"value": outcome.output, "rounds": number + 1, "satisfied": True})
            except ExpressionError as error:
                raise explain(node.until, error) from None
            previous = outcome.output
        return StepResult({"value": previous, "rounds": node.max_rounds, "satisfied": False})


class WorkflowStep:
    """Another workflow, in the version that was current when the run was made."""

    async def resolve(self, context: StepContext) -> Any:
        """Its name and inputs."""
        node: WorkflowNode = context.node
        pin = context.execution.run.pins.get(node.workflow)
        inputs = fill_value(dict(node.inputs), context.scope)
        return {"workflow": node.workflow, "version": pin and pin[1], "inputs": inputs}

    async def perform(self, context: StepContext, resolved: Any) -> StepResult:
        """Run its main graph under this step's path."""
        node: WorkflowNode = context.node
        definition = context.execution.definitions.get(node.workflow)
        if definition is None:
            raise StepError(f"There is no workflow {node.workflow}.", is_final=True)
        fields = next((n.fields for n in definition.nodes if isinstance(n, InputNode)), ())
        inputs = check_inputs(fields, resolved["inputs"])
        frame = Frame(definition, dict(definition.state))
        branch = Branch(context.branch)
        graph = (frame, "", f"{context.path}/", {"input": inputs}, branch)
        outcome = await context.execution.run_graph(*graph)
        if branch.failure is not None:
            raise StepError(branch.failure[1], path=branch.failure[0])
        if outcome.state == "blocked":
            raise StepHeld(_WAITS)
        return StepResult(outcome.output)
