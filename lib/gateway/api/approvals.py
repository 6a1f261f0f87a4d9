"""`/api/approvals`: what waits for the decision of the key's owner, decisions, and what runs without a question."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from lib.approvals.approval import Approval, Decision, GrantScope, StandingGrant, Verdict
from lib.gateway.api.bodies import Body, Count, Moment, Nothing, Object, fill
from lib.gateway.api.operation import Asking, DirectOperation, Operation


class ApprovalBody(Struct, kw_only=True):
    """A request for a decision. `data` is what it would do it with, null once nobody needs it."""

    id: str
    kind: Literal["tool", "workflow"]
    state: Literal["waiting", "approved", "denied", "expired", "withdrawn"]
    title: str
    reason: str
    subject: str
    user_name: str | None
    conversation_id: str | None
    call_id: str | None
    workflow_run_id: str | None
    workflow_step: str | None
    data: Any
    data_hash: str
    data_size: Count
    form_schema: Object | None
    asked_at: Moment
    deadline: Moment | None
    decided_at: Moment | None
    decided_by_name: str
    scope: str
    is_edited: bool
    comment: str


class ApprovalsBody(Struct):
    """Requests that wait for the key's owner, the oldest first."""

    approvals: list[ApprovalBody]


class DecisionBody(Body, forbid_unknown_fields=True):
    """A decision."""

    decision: Literal["approve", "deny"]
    scope: Annotated[
        Literal["once", "conversation", "always"],
        Meta(description="For how long an approval holds; always: for the person it runs for, until revoked."),
    ] = "once"
    data: Annotated[Any, Meta(description="The data edited, or the answer to the request's form.")] = None
    comment: Annotated[str, Meta(max_length=2000)] = ""


class GrantBody(Struct, kw_only=True):
    """What runs for a person without a question: in one conversation, or everywhere where that is empty."""

    id: str
    user_name: str | None
    subject: str
    conversation_id: str
    granted_by_name: str
    granted_at: Moment


class GrantsBody(Struct):
    """Standing grants, the newest first."""

    grants: list[GrantBody]


class RevokedBody(Struct):
    """What asks again from now on."""

    revoked: str


def list_waiting(asking: Asking[Nothing, Nothing]) -> ApprovalsBody:
    """List the requests that wait for the key's owner."""
    return ApprovalsBody([_describe(approval) for approval in asking.services.approvals.waiting(asking.actor)])


def read_one(asking: Asking[Nothing, Nothing]) -> ApprovalBody:
    """The request that the address names."""
    return _describe(asking.services.approvals.get(asking.actor, asking.path["approval_id"]))


def decide(asking: Asking[Nothing, DecisionBody]) -> ApprovalBody:
    """Approve or deny."""
    body = asking.body
    decision = Decision(
        verdict=Verdict(body.decision), scope=GrantScope(body.scope), data=body.data, comment=body.comment
    )
    return _describe(asking.services.approvals.decide(asking.actor, asking.path["approval_id"], decision))


def list_grants(asking: Asking[Nothing, Nothing]) -> GrantsBody:
    """List the standing grants, by which subjects run without a question."""
    return GrantsBody([_describe_grant(grant) for grant in asking.services.approvals.standing(asking.actor)])


def revoke(asking: Asking[Nothing, Nothing]) -> RevokedBody:
    """End a standing grant."""
    asking.services.approvals.revoke(asking.actor, asking.path["grant_id"])
    return RevokedBody(asking.path["grant_id"])


def _describe(approval: Approval) -> ApprovalBody:
    form = None if approval.form_schema is None else dict(approval.form_schema)
    return fill(ApprovalBody, approval, form_schema=form)


def _describe_grant(grant: StandingGrant) -> GrantBody:
    return fill(GrantBody, grant)


_ONE = "/api/approvals/{approval_id}"
_GRANTS = "/api/approval-grants"
OPERATIONS: dict[str, dict[str, Operation]] = {
    "/api/approvals": {"GET": DirectOperation("listApprovals", "What waits for the key's owner", list_waiting)},
    _ONE: {
        "GET": DirectOperation("readApproval", "One request for a decision", read_one),
        "POST": DirectOperation("decideApproval", "Approve or deny", decide),
    },
    _GRANTS: {"GET": DirectOperation("listApprovalGrants", "What runs without a question", list_grants)},
    f"{_GRANTS}/{{grant_id}}/revoke": {"POST": DirectOperation("revokeApprovalGrant", "Let it ask again", revoke)},
}
