"""Questions of a run to people: asked once, by a key, and answered whenever; the run is parked in between."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from lib.access.permissions import Role
from lib.approvals.approval import Approval, ApprovalKind, ApprovalRequest, ApprovalState, Deciders
from lib.clock import utc_now
from lib.workflows.execution import StepContext
from lib.workflows.run import StepError, StepWaits

_LONGEST_KEY = 190


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
    deadline_s: float | None = None,
) -> Approval:
    """Return the decided approval; raises StepWaits while nobody has decided.

    Asking is repeatable: the same step asks the same question once, whichever process asks. A question that was
    withdrawn, for its run had failed or was cancelled, is asked anew when the run goes on. The deadline counts from
    the beginning of the step, that of a question asked anew from now.
    """
    execution = context.execution
    approvals = execution.interpreter.approvals
    if approvals is None:
        raise StepError("This installation has no inbox of approvals.", is_final=True)
    key = f"{execution.run.id}/{context.path}#{key}"[-_LONGEST_KEY:]
    started_at = context.row.started_at if context.row is not None else utc_now()
    deadline = None if deadline_s is None else started_at + timedelta(seconds=deadline_s)
    request = ApprovalRequest(
        kind=ApprovalKind.WORKFLOW,
        title=title[:200],
        reason=reason,
        data=dict(data),
        form_schema=form_schema,
        key=key,
        workflow_run_id=execution.run.id,
        workflow_step=context.path[-120:],
        team_id=execution.run.team_id,
        deciders=Deciders(tuple(people), tuple(Role(role) for role in roles), tuple(teams)),
        deadline=deadline,
    )
    approval: Approval = await execution.interpreter.run_blocking(approvals.ask, execution.actor, request)
    number = 1
    while approval.state is ApprovalState.WITHDRAWN:
        number += 1
        deadline = None if deadline_s is None else utc_now() + timedelta(seconds=deadline_s)
        again = replace(request, key=f"{key}~{number}", deadline=deadline)
        approval = await execution.interpreter.run_blocking(approvals.ask, execution.actor, again)
    if approval.is_waiting:
        raise StepWaits(f"{context.node.title} waits for a decision.", approval.deadline)
    return approval
