"""Turns with tools: `start` one, `view` it, `stop` it, `wait` for it; and those that go on after a decision.

A turn runs as a task on the calls' loop, so it outlives the page that started it. While it waits for a person nothing
runs: whoever hears of the decision goes on with it, here or in another process, today or in a week.
"""

import asyncio
import concurrent.futures
import dataclasses
import logging
import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from msgspec.structs import replace

from lib.access.permissions import Actor, Permission
from lib.approvals.approval import Approval, ApprovalState
from lib.approvals.approvals import Approvals
from lib.calls.calls import Calls
from lib.calls.live_call import CallView, LiveCall
from lib.calls.request import CallRequest, Origin, Within
from lib.clock import make_id
from lib.configs.configuration import Configuration
from lib.configs.tool_rules import ToolRules
from lib.db.engine import Store
from lib.db.vault import Vault
from lib.errors import LLMManagerError, NotFound
from lib.tools.live_turn import LiveTurn
from lib.tools.registry import Tools
from lib.tools.tool import ToolExecution
from lib.tools.turn import RUNNING, WAITING, TurnRequest, TurnState, TurnStep, TurnView, combine_views
from lib.tools.turn_loop import ProgramSide, TurnLoop
from lib.tools.turn_rows import TurnRows

log = logging.getLogger(__name__)
_KEEP_S = 600.0


class ProgramAnswer(NamedTuple):
    """How a program's turn ended: its last call, its state, and why it came to no answer."""

    call: LiveCall
    state: str
    reason: str


class Turns:
    """All turns with tools of this process. Thread-safe."""

    def __init__(self, store: Store, vault: Vault, calls: Calls, tools: Tools, approvals: Approvals) -> None:
        self._calls = calls
        self._tools = tools
        self._approvals = approvals
        self._rows = TurnRows(store, vault)
        self._live: dict[str, LiveTurn] = {}
        self._lock = threading.Lock()

    def start(self, request: TurnRequest) -> str:
        """Open the first call and let the turn run; its id. Nothing has been sent when this raises."""
        request.call.actor.require(Permission.TEST_CONFIGS)
        live = _make_live(request)
        turn_id = live.state.turn_id
        self._rows.open(live.state, live.actor, self._calls.process_id)
        self._forget_old()
        self._live[turn_id] = live
        opened = concurrent.futures.Future[None]()
        try:
            self._calls.spawn(self._begin(live, opened))
            opened.result()
        except BaseException:
            self._live.pop(turn_id, None)
            self._rows.forget(turn_id)
            raise
        return turn_id

    def ask(
        self,
        request: CallRequest,
        configuration: Configuration,
        *,
        names: Sequence[str] | None = None,
        outside: str = "",
    ) -> str:
        """Start a call, or a turn where the configuration has tools; its id. Raises as `Calls.start` does.

        `names` are patterns of tools instead of the configuration's. Tools in the request's parameters are run by
        whoever asks: a round that asks for one ends the turn.
        """
        rules = ToolRules.from_record(configuration.tools)
        if names is not None:
            rules = dataclasses.replace(rules, names=tuple(names))
        if not rules.names:
            return self._calls.start(request)
        app = request.actor.key.app if request.actor.key else request.app or configuration.app
        toolset = self._tools.toolset(request.actor, app, rules)
        client_tools = tuple(request.parameters.get("tools") or ())
        outside = outside or find_outside(request.messages)
        return self.start(TurnRequest(request, toolset, rules, outside, client_tools))

    async def answer(self, request: TurnRequest, program: ProgramSide) -> ProgramAnswer:
        """Run a turn in the caller's task, on the calls' loop; the program's side takes every piece as it comes.

        Nothing has been sent when this raises. Cancelling the task ends the turn as stopped.
        """
        request.call.actor.require(Permission.TEST_CONFIGS)
        live = _make_live(request)
        turn_id = live.state.turn_id
        await asyncio.to_thread(self._rows.open, live.state, live.actor, self._calls.process_id)
        self._live[turn_id] = live
        live.task = asyncio.current_task()
        loop = TurnLoop(live, self._calls, self._tools, self._approvals, self._rows, program)
        try:
            await loop.begin(lambda: None)
        except BaseException:
            self._rows.forget(turn_id)
            raise
        finally:
            self._live.pop(turn_id, None)
        if loop.last_call is None:
            raise NotFound("The turn was stopped.", live.reason)
        await self._withdraw(live)
        return ProgramAnswer(loop.last_call, live.status, live.reason)

    async def _withdraw(self, live: LiveTurn) -> None:
        """Take back the questions of a turn that ended while it waited."""
        for pending in live.state.pending:
            await asyncio.to_thread(self._approvals.end, live.actor, pending.approval_id)
        ids = [pending.execution_id for pending in live.state.pending]
        if ids:
            await asyncio.to_thread(self._tools.executions.stop_waiting, ids)

    def view(self, actor: Actor, turn_id: str) -> TurnView | None:
        """Show a turn as it stands; None when there is none of the actor's with this id."""
        actor.require(Permission.TEST_CONFIGS)
        live = self._live.get(turn_id)
        if live is not None and live.actor.user_id != actor.user_id:
            live = None
        if live is not None and live.status == RUNNING:
            executions = sorted(live.executions.values(), key=lambda execution: execution.id)
            return self._build_view(actor, turn_id, live.status, live.reason, live.state.calls, executions)
        row = self._rows.read(actor, turn_id)
        if row is None:
            return None
        executions = [_add_words(run, live) for run in self._tools.executions.of_turn(actor, turn_id)]
        return self._build_view(actor, turn_id, row["state"], row["reason"], row["calls"], executions)

    def call_view(self, actor: Actor, call_id: str) -> CallView:
        """Show a call, or the whole turn that began with it as one: the last words, all counts and costs."""
        turn = self.view(actor, call_id)
        if turn is None or not turn.steps:
            return self._calls.view(actor, call_id)
        return combine_views(turn)

    def stop(self, actor: Actor, turn_id: str) -> None:
        """End a turn now, the model or the tool that runs included; one that waits for a person waits no longer."""
        actor.require(Permission.TEST_CONFIGS)
        live = self._live.get(turn_id)
        if live is not None and live.actor.user_id == actor.user_id and live.status == RUNNING:
            live.is_stopped = True
            task = live.task
            if task is not None:
                task.get_loop().call_soon_threadsafe(task.cancel)
            return
        row = self._rows.read(actor, turn_id)
        if row is None:
            self._calls.stop(actor, turn_id)
            return
        state = self._rows.peek(turn_id)
        if state is None:
            return
        self._rows.end(turn_id, "stopped", "It was stopped.", state.calls)
        self._tools.executions.stop_waiting([pending.execution_id for pending in state.pending])
        for pending in state.pending:
            self._approvals.end(actor, pending.approval_id)

    def wait(self, actor: Actor, turn_id: str, timeout_s: float | None = None) -> TurnView | None:
        """Wait until a turn of this process has ended or waits for a person; its view then, or after the time."""
        actor.require(Permission.TEST_CONFIGS)
        live = self._live.get(turn_id)
        if live is not None:
            live.ended.wait(timeout_s)
            self._calls.flush()
        return self.view(actor, turn_id)

    def hear(self, approval: Approval) -> None:
        """Go on with the turn that a decision is about. May be called twice; raises where it can't go on yet."""
        turn_id = self._find_turn(approval)
        if turn_id is None or approval.state is ApprovalState.WITHDRAWN:
            return
        state = self._rows.claim(turn_id, self._calls.process_id)
        if state is None:
            return
        try:
            live = self._revive(state)
        except LLMManagerError as error:
            self._rows.end(turn_id, "error", str(error), state.calls)
            return
        with self._lock:
            self._live[turn_id] = live
        self._calls.spawn(self._go_on(live))

    def recover(self) -> int:
        """Close what dead processes left: turns and runs of tools; how many those were."""
        return self._rows.recover() + self._tools.executions.recover()

    def close(self) -> None:
        """Stop the turns that run here."""
        running = [live for live in list(self._live.values()) if live.status == RUNNING]
        for live in running:
            if live.task is not None:
                live.task.get_loop().call_soon_threadsafe(live.task.cancel)
        for live in running:
            live.ended.wait(5)

    async def _begin(self, live: LiveTurn, opened: "concurrent.futures.Future[None]") -> None:
        live.task = asyncio.current_task()

        def note_opened() -> None:
            opened.set_result(None)

        try:
            await self._loop(live).begin(note_opened)
        except BaseException as error:
            if not opened.done():
                opened.set_exception(error)
                return
            raise
        if not opened.done():
            opened.set_exception(NotFound("The turn was stopped.", live.reason))
        await self._look_again(live)

    async def _go_on(self, live: LiveTurn) -> None:
        live.task = asyncio.current_task()
        await self._loop(live).go_on()
        await self._look_again(live)

    async def _look_again(self, live: LiveTurn) -> None:
        """Hear at once of decisions that were taken before the turn had written down that it waits."""
        if live.status != WAITING:
            return
        for pending in list(live.state.pending):
            approval = await asyncio.to_thread(self._approvals.get, live.actor, pending.approval_id)
            if not approval.is_waiting:
                await asyncio.to_thread(self.hear, approval)
                return

    def _loop(self, live: LiveTurn) -> TurnLoop:
        return TurnLoop(live, self._calls, self._tools, self._approvals, self._rows)

    def _find_turn(self, approval: Approval) -> str | None:
        """The turn whose tool an approval is about."""
        return self._tools.executions.find_turn(approval.id)

    def _revive(self, state: TurnState) -> LiveTurn:
        """Make a turn of its written state, with the person's role and tools as they are now."""
        previous = self._live.get(state.turn_id)
        actor = previous.actor if previous is not None else self._rows.load_actor(state.user_id, state.team_id)
        rules = ToolRules.from_record(state.rules)
        everything = self._tools.toolset(actor, state.app or "general", None)
        toolset = everything.chosen(lambda tool: tool.name in state.tool_names)
        request = CallRequest(
            actor=actor,
            messages=state.messages,
            configuration=state.configuration,
            model=state.model,
            app=state.app,
            context=state.context,
            origin=Origin(state.origin),
            system_prompt=state.system_prompt,
            parameters=state.parameters,
            tags=state.tags,
            conversation_id=state.conversation_id,
            within=Within(session_id=state.session_id),
        )
        live = LiveTurn(state, request, toolset, rules)
        for execution in self._tools.executions.of_turn(actor, state.turn_id):
            live.executions[execution.id] = execution
        return live

    def _build_view(
        self,
        actor: Actor,
        turn_id: str,
        state: str,
        reason: str,
        call_ids: Sequence[str],
        executions: Sequence[ToolExecution],
    ) -> TurnView:
        by_call: dict[str, list[ToolExecution]] = defaultdict(list)
        for execution in executions:
            by_call[execution.call_id or ""].append(execution)
        steps = []
        for call_id in call_ids:
            try:
                call = self._calls.view(actor, call_id)
            except NotFound:  # it ends this moment, or the ledger keeps it no more
                continue
            steps.append(TurnStep(call, tuple(by_call[call_id])))
        return TurnView(turn_id, state, reason, tuple(steps))

    def _forget_old(self) -> None:
        limit = time.monotonic() - _KEEP_S
        for turn_id, live in list(self._live.items()):
            if live.ended_at is not None and live.ended_at < limit:
                self._live.pop(turn_id, None)


def _add_words(execution: ToolExecution, live: LiveTurn | None) -> ToolExecution:
    """A run as its row says it, with the words that its owner may see while the turn is fresh."""
    fresh = live.executions.get(execution.id) if live is not None else None
    if fresh is None or execution.output is not None or fresh.status != execution.status:
        return execution
    return replace(execution, arguments=fresh.arguments, output=fresh.output)


def _make_live(request: TurnRequest) -> LiveTurn:
    call = request.call
    turn_id = call.call_id or make_id()
    parameters = {name: setting for name, setting in call.parameters.items() if name != "tools"}
    state = TurnState(
        turn_id=turn_id,
        user_id=call.actor.user_id,
        team_id=call.actor.team_id,
        configuration=call.configuration,
        model=call.model,
        app=call.app,
        context=call.context,
        origin=str(call.origin),
        system_prompt=call.system_prompt,
        parameters=parameters,
        tags=dict(call.tags),
        conversation_id=call.conversation_id,
        session_id=call.within.session_id,
        rules=request.rules.to_record(),
        messages=[dict(message) for message in call.messages],
        tool_names=list(request.toolset.tools),
        outside=request.outside,
    )
    return LiveTurn(state, replace(call, call_id=turn_id), request.toolset, request.rules, request.client_tools)


def find_outside(messages: Sequence[Mapping[str, Any]]) -> str:
    """Name the text from outside that earlier messages brought: results of tools; empty where there is none."""
    return "what a tool returned" if any(message.get("role") == "tool" for message in messages) else ""
