"""Whether a person is asked before a tool runs, and the reason in words that complete "asked because …".

Annotations, the tool's settings, the role and the configuration give a policy; once text from outside is in the
context, a tool that may change something asks whatever they say, since that text may be what wants it to run. What a
person granted for always or for a conversation runs without a question; with text from outside in the context only
the latter counts.
"""

from typing import NamedTuple

from lib.access.permissions import Actor
from lib.approvals.approvals import Approvals
from lib.configs.tool_rules import ApprovalPolicy, ToolRules
from lib.tools.registry import Tools
from lib.tools.tool import ToolDefinition

DOCUMENT = "a document from outside"
PASSAGES = "text from a collection of documents"


class PolicyDecision(NamedTuple):
    """What happens before a run, and why a person is asked."""

    policy: ApprovalPolicy
    reason: str = ""


def decide(
    tools: Tools,
    approvals: Approvals,
    actor: Actor,
    definition: ToolDefinition,
    rules: ToolRules,
    outside: str,
    conversation_id: str | None,
) -> PolicyDecision:
    """Decide for one tool call; `outside` names the text from outside that is in the context, empty where none is."""
    policy = tools.policy(actor, definition.name, rules)
    if policy is ApprovalPolicy.DENY:
        return PolicyDecision(policy)
    is_tainted = bool(outside) and definition.has_side_effects
    if policy is ApprovalPolicy.AUTO and not is_tainted:
        return PolicyDecision(policy)
    if _is_granted(approvals, actor, definition.name, conversation_id, is_tainted=is_tainted):
        return PolicyDecision(ApprovalPolicy.AUTO)
    if is_tainted:
        return PolicyDecision(ApprovalPolicy.ASK, f"{outside} is in this conversation")
    if definition.has_side_effects and rules.policy_of(definition.name) is None:
        return PolicyDecision(ApprovalPolicy.ASK, "the tool may change something")
    return PolicyDecision(ApprovalPolicy.ASK, "its policy says so")


def build_subject(name: str) -> str:
    """The subject under which a tool's approvals and grants stand."""
    return f"tool:{name}"


def _is_granted(
    approvals: Approvals, actor: Actor, name: str, conversation_id: str | None, *, is_tainted: bool
) -> bool:
    subject = build_subject(name)
    if not is_tainted:
        return approvals.is_granted(actor.user_id, subject, conversation_id)
    if conversation_id is None:
        return False
    grants = approvals.standing(actor)
    return any(
        grant.subject == subject and grant.conversation_id == conversation_id and grant.user_id == actor.user_id
        for grant in grants
    )
