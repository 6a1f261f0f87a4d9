"""Steps that only compute: input, condition, switch, transform, join, output."""

from typing import Any

from lib.limited.expressions import ExpressionError
from lib.workflows.definition import ConditionNode, InputNode, JoinNode, OutputNode, SwitchNode, TransformNode
from lib.workflows.execution import StepContext
from lib.workflows.expressions import fill_text, require_condition
from lib.workflows.run import StepError, StepResult


def explain(expression: str, error: ExpressionError) -> StepError:
    """The error of an expression that failed on real data."""
    return StepError(f"The expression {expression[:100]!r} can't be computed: {error}.")


class InputStep:
    """The run's inputs, which were checked before it began."""

    async def resolve(self, context: StepContext) -> Any:
        """Nothing goes in."""
        return None

    async def perform(self, context: StepContext, resolved: Any) -> StepResult:
        """Return the inputs: of the run, or those that a workflow was given as a step."""
        node: InputNode = context.node
        inputs = context.scope.get("input", context.execution.run.inputs)
        return StepResult({field.name: inputs.get(field.name, field.default) for field in node.fields})


class ConditionStep:
    """Two ways."""

    async def resolve(self, context: StepContext) -> Any:
        """Return the condition's expression, not yet evaluated."""
        return {"when": context.node.when}

    async def perform(self, context: StepContext, resolved: Any) -> StepResult:
        """Leave by `true` or `false`."""
        node: ConditionNode = context.node
        try:
            holds = require_condition(await context.execution.compute(node.when, context.scope))
        except ExpressionError as error:
            raise explain(node.when, error) from None
        return StepResult({"value": holds}, "true" if holds else "false")


class SwitchStep:
    """Several ways."""

    async def resolve(self, context: StepContext) -> Any:
        """Return the cases by port, not yet evaluated."""
        return {"cases": {case.port: case.when for case in context.node.cases}}

    async def perform(self, context: StepContext, resolved: Any) -> StepResult:
        """Leave by the first case that holds."""
        node: SwitchNode = context.node
        for case in node.cases:
            try:
                if require_condition(await context.execution.compute(case.when, context.scope)):
                    return StepResult({"case": case.port}, case.port)
            except ExpressionError as error:
                raise explain(case.when, error) from None
        return StepResult({"case": "else"}, "else")


class TransformStep:
    """A computed value."""

    async def resolve(self, context: StepContext) -> Any:
        """Return the expression, not yet evaluated."""
        return {"value": context.node.value}

    async def perform(self, context: StepContext, resolved: Any) -> StepResult:
        """Evaluate the expression; its value is the output."""
        node: TransformNode = context.node
        try:
            return StepResult(await context.execution.compute(node.value, context.scope))
        except ExpressionError as error:
            raise explain(node.value, error) from None


class JoinStep:
    """Branches that come together."""

    async def resolve(self, context: StepContext) -> Any:
        """How it waits."""
        return {"wait": context.node.wait}

    async def perform(self, context: StepContext, resolved: Any) -> StepResult:
        """Return what the branches brought, by node; those that were not taken are left out."""
        node: JoinNode = context.node
        sources = [edge.source for edge in context.view.incoming[node.id]]
        brought = {source: context.scope.get(source) for source in sources}
        return StepResult({source: output for source, output in brought.items() if output is not None})


class OutputStep:
    """The run's answer."""

    async def resolve(self, context: StepContext) -> Any:
        """The words or the expression."""
        node: OutputNode = context.node
        return {"value": node.value} if node.text is None else {"text": node.text}

    async def perform(self, context: StepContext, resolved: Any) -> StepResult:
        """Fill it in, or compute it."""
        node: OutputNode = context.node
        try:
            if node.text is not None:
                return StepResult(fill_text(node.text, context.scope))
            return StepResult(await context.execution.compute(str(node.value), context.scope))
        except ExpressionError as error:
            raise explain(node.value or node.text or "", error) from None
