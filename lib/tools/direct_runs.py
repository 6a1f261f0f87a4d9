"""Tools that a program runs by itself, without a model of ours: the policy decides here as it does in a turn.

A tool that has to be allowed is no run yet but a question to the person for whom the program acts; the program is told
where it stands. Once it is approved, the same run (the same person, tool and arguments) goes through, once. A program
that waits is answered when the person has decided.
"""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from msgspec.structs import replace

from lib.access.permissions import Actor, Permission
from lib.approvals.approval import Approval, ApprovalKind, ApprovalRequest
from lib.approvals.approvals import Approvals
from lib.clock import utc_now
from lib.configs.tool_rules import ApprovalPolicy, ToolRules
from lib.errors import Conflict, PermissionDenied, Throttled
from lib.tools.approval_policy import build_subject, decide
from lib.tools.checking import check_arguments, measure_json, read_arguments
from lib.tools.registry import Tools
from lib.tools.tool import ToolContext, ToolDefinition, ToolExecution

MOST_OF_ONE_KEY = 8  # runs at once of a key, or of a person without one: a quarter of the threads of tools
_DECIDE_WITHIN = timedelta(days=7)
_MOST_EARLIER = 50
_LOOK_S = 0.3


class DecisionAwaited(PermissionDenied):
    """A person has to decide first; `approval_id` names the question."""

    def __init__(self, title: str, why: str, fix: str, approval_id: str) -> None:
        super().__init__(title, why, fix)
        self.approval_id = approval_id


class DirectRuns:
    """Runs tools for programs."""

    def __init__(self, tools: Tools, approvals: Approvals) -> None:
        self._tools = tools
        self._approvals = approvals
        self._running: Counter[str] = Counter()
        self._lock = threading.Lock()

    async def run(
        self,
        actor: Actor,
        name: str,
        arguments: Mapping[str, Any] | str,
        context: ToolContext,
        *,
        wait_s: float = 0.0,
    ) -> ToolExecution:
        """Run a tool; PermissionDenied where policy denies it, or with the address of the question it has to wait for.

        With `wait_s` it waits so long for the decision, and raises that error afterwards. Raises as `Tools.run` does,
        InvalidInput for arguments of a tool that asks which do not fit, and Throttled while `MOST_OF_ONE_KEY` runs of
        the same key are under way in this process.
        """
        actor.require(Permission.TEST_CONFIGS)
        with self._take_share(actor):
            return await self._run(actor, name, arguments, context, wait_s)

    @contextmanager
    def _take_share(self, actor: Actor) -> Iterator[None]:
        """One of the runs that a key may have at once, so that others find threads; Throttled."""
        who = _identify(actor)
        with self._lock:
            if self._running[who] >= MOST_OF_ONE_KEY:
                why = f"This key has {MOST_OF_ONE_KEY} under way here."
                raise Throttled("Too many tools run at once.", why, "Wait for one to end.", retry_after=1)
            self._running[who] += 1
        try:
            yield
        finally:
            with self._lock:
                self._running[who] -= 1
                if not self._running[who]:
                    del self._running[who]

    async def _run(
        self,
        actor: Actor,
        name: str,
        arguments: Mapping[str, Any] | str,
        context: ToolContext,
        wait_s: float,
    ) -> ToolExecution:
        try:
            approval = await asyncio.to_thread(self._allow, actor, name, arguments, context)
        except DecisionAwaited as awaited:
            if not await self._wait_for_decision(actor, awaited, wait_s):
                raise
            approval = await asyncio.to_thread(self._allow, actor, name, arguments, context)
        if approval is None:
            return await self._tools.run(actor, name, arguments, context)
        approved_arguments = approval.data if isinstance(approval.data, dict) else read_arguments(arguments)
        if not await asyncio.to_thread(self._approvals.end, actor, approval.id):
            raise Conflict(f"The approval of {name} was used.", "Another request was quicker.", "Ask again.")
        return await self._tools.run(actor, name, approved_arguments, replace(context, approval_id=approval.id))

    async def _wait_for_decision(self, actor: Actor, awaited: "DecisionAwaited", wait_s: float) -> bool:
        """Wait until a question is decided; False after the time. Raises PermissionDenied for a denial."""
        until = time.monotonic() + wait_s
        while time.monotonic() < until:
            approval = await asyncio.to_thread(self._approvals.get, actor, awaited.approval_id)
            if approval.is_approved:
                return True
            if not approval.is_waiting:
                why = f"It is {approval.state}. {approval.comment}".strip()
                raise PermissionDenied("The tool may not run.", why)
            await asyncio.sleep(_LOOK_S)
        return False

    def _allow(
        self, actor: Actor, name: str, arguments: Mapping[str, Any] | str, context: ToolContext
    ) -> Approval | None:
        """Raise unless the tool may run: None where nobody has to be asked, else the approval that allows it."""
        definition = self._tools.find(actor, name)
        decision = decide(self._tools, self._approvals, actor, definition, ToolRules(), "", context.conversation_id)
        if decision.policy is ApprovalPolicy.DENY:
            raise PermissionDenied("The tool can't be used.", f"The tool {name} is denied by policy.")
        if decision.policy is ApprovalPolicy.AUTO:
            return None
        read = read_arguments(arguments)
        check_arguments(definition.parameters, read)
        approval = ask_once(self._approvals, actor, definition, read, context, decision.reason)
        if approval.is_approved:
            return approval
        raise DecisionAwaited(
            f"A person has to allow {name} first.",
            f"It is asked because {decision.reason}.",
            f"Decide at /approvals?id={approval.id}, then run it again with the same arguments.",
            approval.id,
        )


def ask_once(
    approvals: Approvals,
    actor: Actor,
    definition: ToolDefinition,
    arguments: dict[str, Any],
    context: ToolContext,
    reason: str,
) -> Approval:
    """Ask a person about a program's run, or find the question that was asked before for the same run.

    That is one that still waits, or one that was approved and not used; whoever uses it ends it.
    """
    who = actor.user_id or _identify(actor)
    base = f"run:{who}:{actor.team_id}:{definition.name}:{measure_json(arguments).hash}"
    key = base
    for _ in range(_MOST_EARLIER):
        request = ApprovalRequest(
            kind=ApprovalKind.TOOL,
            title=f"Run {definition.title or definition.name}"[:200],
            reason=reason,
            subject=build_subject(definition.name),
            data=arguments,
            key=key[-200:],
            conversation_id=context.conversation_id,
            call_id=context.call_id,
            team_id=actor.team_id,
            deadline=utc_now() + _DECIDE_WITHIN,
        )
        approval = approvals.ask(actor, request)
        if approval.is_waiting or (approval.is_approved and approval.data is not None):
            return approval
        key = f"{base}:{approval.id}"  # that one is used up
    raise PermissionDenied("The tool can't be run.", "It was asked for too often with these arguments.")


def _identify(actor: Actor) -> str:
    """The key that runs a tool, or the person without one."""
    return actor.key.key_id if actor.key is not None else actor.user_id or "operator"
