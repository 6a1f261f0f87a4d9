"""Steps that wait: for a person's decision, for a time, for a signal."""

from datetime import timedelta
from typing import Any

from lib.clock import utc_now
from lib.workflows.definition import ApprovalNode, WaitNode
from lib.workflows.execution import StepContext
from lib.workflows.expressions import fill_text, fill_value
from lib.workflows.form import build_form_schema
from lib.workflows.people import ask_person
from lib.workflows.run import StepResult, StepWaits


class ApprovalStep:
    """A person decides."""

    async def resolve(self, context: StepContext) -> Any:
        """The question and what is shown with it."""
        node: ApprovalNode = context.node
        data = fill_value(dict(node.data), context.scope)
        return {"question": fill_text(node.question, context.scope), "data": data}

    async def perform(self, context: StepContext, resolved: Any) -> StepResult:
        """Ask, and leave by what was decided."""
        node: ApprovalNode = context.node
        keeps_no_words = context.execution.journal.is_sealed  # a title stands in clear text; what is shown does not
        question = {"question": resolved["question"]}
        workflow = context.execution.run.workflow_name or context.execution.run.slug
        approval = await ask_person(
            context,
            "decision",
            node.title if keeps_no_words else resolved["question"].strip().split("\n", 1)[0] or node.title,
            f"the workflow {workflow} has come to {node.title}",
            {**question, **resolved["data"]} if keeps_no_words or not resolved["data"] else resolved["data"],
            form_schema=build_form_schema(node.fields) if node.fields else None,
            people=node.people,
            roles=node.roles,
            teams=node.teams,
            deadline_s=node.deadline_s,
        )
        decision = {"approved": "approved", "denied": "denied"}.get(str(approval.state), "expired")
        data = approval.data if approval.is_edited or node.fields else resolved["data"]
        output = {"decision": decision, "data": data, "comment": approval.comment, "by": approval.decided_by_name}
        return StepResult(output, decision)


class WaitStep:
    """Time passes, or a signal comes."""

    async def resolve(self, context: StepContext) -> Any:
        """How long and for what."""
        return {"seconds": context.node.seconds, "signal": context.node.signal}

    async def perform(self, context: StepContext, resolved: Any) -> StepResult:
        """Go on when it is over; until then the run is parked."""
        node: WaitNode = context.node
        execution = context.execution
        if node.signal is not None:
            signal = await execution.interpreter.run_blocking(execution.journal.load_signal, node.signal)
            if signal is not None:
                return StepResult({"signalled": True, "data": signal.result})
        started = context.row.started_at if context.row is not None else utc_now()
        until = None if node.seconds is None else started + timedelta(seconds=node.seconds)
        if until is not None and until <= utc_now():
            return StepResult({"signalled": False, "data": None})
        why = f"{node.title} waits for {f'the signal {node.signal}' if node.signal else 'its time'}."
        raise StepWaits(why, until)
