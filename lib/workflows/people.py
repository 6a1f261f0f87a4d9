"""Questions of a run to people: asked once, by a key, and answered whenever; the run is parked in between."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from lib.access.permissions import Role
from lib.approvals.approval import Approval, ApprovalKind, ApprovalRequest, Deciders
from lib.workflows.execution import StepContext
from lib.workflows.run import StepError, StepWaits


async def ask_person(
    context: StepContext,
    key: str,
    title: str,
    reason: str,
    data: Mapping[str, Any],
    *,
    form_schema: Mapping[str, Any] | None = None,
    people: Sequence[str] = (),
    roles: Sequence[str] = (),
    teams: Sequence[int] = (),
    deadline: datetime | None = None,
) -> Approval:
    """Return the decided approval; raises StepWaits while nobody has decided.

    Asking is repeatable: the same step asks the same question once, whichever process asks.
    """
    execution = context.execution
    approvals = execution.interpreter.approvals
    if approvals is None:
        raise StepError("This installation has no inbox of approvals.", is_final=True)
    request = ApprovalRequest(
        kind=ApprovalKind.WORKFLOW,
        title=title[:200],
        reason=reason,
        data=dict(data),
        form_schema=form_schema,
        key=f"{execution.run.id}/{context.path}#{key}"[-200:],
        workflow_run_id=execution.run.id,
        workflow_step=context.path[-120:],
        team_id=execution.run.team_id,
        deciders=Deciders(tuple(people), tuple(Role(role) for role in roles), tuple(teams)),
        deadline=deadline,
    )
    approval: Approval = await execution.interpreter.run_blocking(approvals.ask, execution.actor, request)
    if approval.is_waiting:
        raise StepWaits(f"{context.node.title} waits for a decision.", approval.deadline)
    return approval
