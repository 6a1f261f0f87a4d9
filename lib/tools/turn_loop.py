"""The loop of one turn: a round of the model, the tools that it asks for, the next round, until it answers.

Runs on the calls' loop. Tools of one round run beside each other, five at once. A tool that has to be allowed, or
that asks back, makes the turn wait: its state is written down and the task ends; `go_on` continues it after the
decision, in whatever process hears of it. A round that asks for a tool of the client's ends the turn with its calls.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any, Protocol

from msgspec.structs import replace

from lib.approvals.approval import Approval, ApprovalKind, ApprovalRequest, ApprovalState
from lib.approvals.approvals import Approvals
from lib.calls.calls import Calls
from lib.calls.live_call import Listener, LiveCall
from lib.clock import make_id, utc_now
from lib.configs.tool_rules import ApprovalPolicy
from lib.errors import InvalidInput, LLMManagerError, NotFound
from lib.tools.approval_policy import build_subject, decide
from lib.tools.checking import read_arguments
from lib.tools.direct_runs import ask_once
from lib.tools.live_turn import LiveTurn, describe_tool_run, list_tool_calls
from lib.tools.registry import Tools
from lib.tools.tool import ExecutionStatus, ToolContext, ToolDefinition, ToolExecution, ToolOutput
from lib.tools.tool_search import DEFINITION, SEARCH, describe, search_tools
from lib.tools.turn import MOST_AT_ONCE, WAITING, PendingTool, build_request, join_outputs
from lib.tools.turn_rows import TurnRows

log = logging.getLogger(__name__)
_DECIDE_WITHIN = timedelta(days=7)
_LOOK_EVERY_S = 0.5
_TOLD_WITHIN_S = 1.0  # a program that reads nothing keeps no turn from ending
_NOT_ANSWERED = "Nobody answered within the time."


class ProgramSide(Listener, Protocol):
    """A program's open request: takes the pieces of every round, runs of tools, and a beat while these run.

    With `waits` the request stays open until people have decided; else a tool that has to be allowed is an error.
    """

    waits: bool

    def note(self, execution: ToolExecution) -> None:
        """Take how a run of a tool stands now; it is told with the next beat."""
        ...

    async def beat(self) -> None:
        """Tell the program of runs, or that it is being waited; called twice a second, and at once for a run."""
        ...


class TurnLoop:
    """Runs one `LiveTurn`."""

    def __init__(
        self,
        live: LiveTurn,
        calls: Calls,
        tools: Tools,
        approvals: Approvals,
        rows: TurnRows,
        program: ProgramSide | None = None,
    ) -> None:
        self._live = live
        self._calls = calls
        self._tools = tools
        self._approvals = approvals
        self._rows = rows
        self._program = program
        self._refuses = program is not None and not program.waits
        self._at_once = asyncio.Semaphore(MOST_AT_ONCE)
        self._has_news = asyncio.Event()
        self.last_call: LiveCall | None = None

    async def begin(self, opened: Callable[[], None]) -> None:
        """Run the turn from its question; `opened` is called when the first call's row is written."""
        await self._guard(self._begin(opened))

    async def go_on(self) -> None:
        """Run the turn on after decisions; those that are still open keep it waiting."""
        await self._guard(self._resume())

    async def _guard(self, work: Any) -> None:
        live = self._live
        try:
            async with asyncio.timeout(max(live.seconds_left, 0.0)):
                await work
        except TimeoutError:
            await self._end("error", f"It took longer than the {live.rules.max_seconds} seconds that a turn may.")
        except asyncio.CancelledError:
            await asyncio.shield(self._end("stopped", "It was stopped."))
        except LLMManagerError as error:
            if not live.state.calls:
                raise
            await self._end("error", str(error))
        except Exception as error:
            log.exception("A turn with tools failed.")
            await self._end("error", f"An internal error ended it: {type(error).__name__}.")

    async def _begin(self, opened: Callable[[], None]) -> None:
        call = await self._open_round()
        opened()
        await self._advance(call)

    async def _advance(self, call: LiveCall) -> None:
        """Rounds from a call that is open on."""
        while True:
            await self._calls.follow(call)
            tool_calls = list_tool_calls(call)
            status = call.row.status if call.row is not None else "error"
            self._live.add_cost(call.row.cost_nano_usd if call.row is not None else None)
            if (end := self._find_end(status, tool_calls)) is not None:
                await self._end(*end)
                return
            self._live.take_asking(call, tool_calls)
            await self._run_tools(call, tool_calls)
            if self._live.state.pending and not await self._wait_here():
                await self._suspend()
                return
            self._live.take_results()
            call = await self._open_round()

    def _find_end(self, status: str, tool_calls: Sequence[dict[str, str]]) -> tuple[str, str] | None:
        """The state and reason with which a turn ends after a round; None when it goes on."""
        if status != "ok":
            return status, ""
        if not tool_calls or self._live.client_names() & {tool["name"] for tool in tool_calls}:
            return "ok", ""
        limit = self._live.find_limit()
        return ("error", limit) if limit else None

    async def _wait_here(self) -> bool:
        """Wait for people while a program's request is open, where it does so; whether all have decided."""
        if self._program is None or not self._program.waits:
            return False
        live = self._live
        async with self._keep_telling():
            while live.state.pending:
                await asyncio.sleep(_LOOK_EVERY_S)
                pending = live.state.pending
                live.state.pending = []
                for tool in pending:
                    await self._settle(tool)
        return True

    async def _open_round(self) -> LiveCall:
        state = self._live.state
        call_id = make_id() if state.calls else state.turn_id
        request = build_request(state, self._live.request, self._live.describe_tools(), call_id)
        call = await self._calls.open(request, self._program)
        self.last_call = call
        if not state.calls:
            configuration = call.plan.configuration
            state.configuration_id = configuration.id or None
            state.content_policy = configuration.content_policy
            state.sees_images = "vision" in configuration.capabilities
            state.app = call.plan.app
        state.calls.append(call_id)
        if len(state.calls) > 1:
            await asyncio.to_thread(self._rows.note_calls, state.turn_id, list(state.calls))
        return call

    async def _run_tools(self, call: LiveCall, tool_calls: Sequence[dict[str, str]]) -> None:
        async with self._keep_telling(), asyncio.TaskGroup() as group:
            for tool in tool_calls:
                group.create_task(self._run_one(call.call_id, tool))

    @asynccontextmanager
    async def _keep_telling(self) -> AsyncIterator[None]:
        """Tell the program of what its tools do for as long as they run, and of their end."""
        if self._program is None:
            yield
            return
        ended = asyncio.Event()
        telling = asyncio.create_task(self._tell(self._program, ended))
        try:
            yield
        finally:
            ended.set()
            self._has_news.set()
            await asyncio.wait({telling}, timeout=_TOLD_WITHIN_S)
            telling.cancel()

    async def _tell(self, program: ProgramSide, ended: asyncio.Event) -> None:
        is_last = False
        while not is_last:
            is_last = ended.is_set()
            self._has_news.clear()
            await program.beat()
            if not is_last and not ended.is_set():
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_EVERY_S):
                        await self._has_news.wait()

    async def _run_one(self, call_id: str, tool_call: dict[str, str]) -> None:
        async with self._at_once:
            name = tool_call["name"]
            context = self._context(call_id, tool_call["id"])
            if name == SEARCH and len(self._live.toolset.tools) > self._live.rules.most_described:
                await self._search(context, tool_call)
                return
            try:
                definition = self._live.toolset.find(name)
            except NotFound as error:
                why = error.body or error.title
                await self._refuse(tool_call, context, ExecutionStatus.UNKNOWN_TOOL, why)
                return
            await self._run_known(definition, tool_call, context)

    async def _run_known(self, definition: ToolDefinition, tool_call: dict[str, str], context: ToolContext) -> None:
        live = self._live
        own_name = live.toolset.original_name(definition.name)
        own = replace(definition, name=own_name)
        conversation = live.state.conversation_id
        weighing = (self._tools, self._approvals, live.actor, own, live.rules, live.state.outside, conversation)
        decision = await asyncio.to_thread(decide, *weighing)
        if decision.policy is ApprovalPolicy.DENY:
            await self._refuse(tool_call, context, ExecutionStatus.DENIED, f"The tool {own_name} is denied by policy.")
        elif decision.policy is ApprovalPolicy.ASK:
            await self._ask(own, tool_call, context, decision.reason)
        else:
            execution = await self._execute(own_name, tool_call["arguments"], context)
            await self._take(own, tool_call["id"], tool_call["name"], execution)

    async def _execute(
        self, name: str, arguments: Any, context: ToolContext, execution: ToolExecution | None = None
    ) -> ToolExecution:
        longest = self._live.rules.max_output_characters
        try:
            run = await self._tools.run(
                self._live.actor,
                name,
                arguments,
                context,
                longest_output=longest,
                execution=execution,
                opened=self._note,
            )
        except LLMManagerError as error:
            run = await self._tools.refuse(name, arguments, context, ExecutionStatus.DENIED, str(error))
        return self._note(run)

    async def _take(self, definition: ToolDefinition, tool_call_id: str, name: str, execution: ToolExecution) -> None:
        """Take the end of a run: a result for the model, or a question for the person."""
        live = self._live
        live.add_cost(execution.cost_nano_usd)
        output = execution.output or ToolOutput(execution.error_message or "", is_error=True)
        if output.needs_input is not None and not self._refuses:
            await self._ask_back(definition, tool_call_id, name, execution, output)
            return
        live.note_outside(definition)
        text = output.needs_input.message if output.needs_input is not None else join_outputs(output)
        live.state.results.append(describe_tool_run(tool_call_id, name, execution, text))

    async def _ask(
        self, definition: ToolDefinition, tool_call: dict[str, str], context: ToolContext, reason: str
    ) -> None:
        """Ask a person whether a tool may run; arguments that are no object are refused before."""
        try:
            arguments = read_arguments(tool_call["arguments"])
        except InvalidInput as error:
            await self._refuse(tool_call, context, ExecutionStatus.INVALID_ARGUMENTS, error.body or error.title)
            return
        if self._refuses:
            await self._ask_or_refuse(definition, tool_call, arguments, context, reason)
            return
        opening = (make_id(), definition, arguments, context, 0.0, ExecutionStatus.WAITING, f"asked because {reason}")
        execution = self._note(await asyncio.to_thread(self._tools.executions.open, *opening))
        request = ApprovalRequest(
            kind=ApprovalKind.TOOL,
            title=f"Run {definition.title or definition.name}"[:200],
            reason=reason,
            subject=build_subject(definition.name),
            data=arguments,
            key=f"{context.turn_id}:{execution.id}",
            conversation_id=context.conversation_id,
            call_id=context.call_id,
            workflow_run_id=context.within.workflow_run_id or None,
            workflow_step=context.within.workflow_step or None,
            deadline=utc_now() + _DECIDE_WITHIN,
        )
        approval = await asyncio.to_thread(self._approvals.ask, self._live.actor, request)
        await asyncio.to_thread(self._tools.executions.link_approval, execution.id, approval.id)
        self._note(replace(execution, approval_id=approval.id))
        pending = PendingTool(
            tool_call["id"], tool_call["name"], arguments, execution.id, approval.id, context.call_id or "", False, ""
        )
        self._live.state.pending.append(pending)

    async def _ask_or_refuse(
        self,
        definition: ToolDefinition,
        tool_call: dict[str, str],
        arguments: dict[str, Any],
        context: ToolContext,
        reason: str,
    ) -> None:
        """For a program: run what was approved before for the same arguments, else tell where the question stands."""
        question = (self._approvals, self._live.actor, definition, arguments, context, reason)
        approval = await asyncio.to_thread(ask_once, *question)
        if not approval.is_approved:
            why = f"A person has to allow this first, because {reason}: /approvals?id={approval.id}"
            await self._refuse(tool_call, context, ExecutionStatus.DENIED, why)
            return
        approved_arguments = approval.data if isinstance(approval.data, dict) else arguments
        await asyncio.to_thread(self._approvals.end, self._live.actor, approval.id)
        run = await self._execute(definition.name, approved_arguments, replace(context, approval_id=approval.id))
        await self._take(definition, tool_call["id"], tool_call["name"], run)

    async def _ask_back(
        self,
        definition: ToolDefinition,
        tool_call_id: str,
        name: str,
        execution: ToolExecution,
        output: ToolOutput,
    ) -> None:
        """Ask the person what a tool wants to know, as a form."""
        question = output.needs_input
        assert question is not None  # noqa: S101 (the caller has looked)
        request = ApprovalRequest(
            kind=ApprovalKind.TOOL,
            title=f"{definition.title or definition.name} asks: {question.message}"[:200],
            reason="the tool needs to know more before it goes on",
            subject=build_subject(definition.name),
            data=execution.arguments,
            form_schema=question.form_schema,
            key=f"{execution.turn_id}:{execution.id}:{make_id()}",
            conversation_id=execution.conversation_id,
            call_id=execution.call_id,
            deadline=utc_now() + _DECIDE_WITHIN,
        )
        approval = await asyncio.to_thread(self._approvals.ask, self._live.actor, request)
        await asyncio.to_thread(self._tools.executions.link_approval, execution.id, approval.id)
        self._note(replace(execution, approval_id=approval.id))
        arguments = execution.arguments if isinstance(execution.arguments, dict) else {}
        self._live.state.pending.append(
            PendingTool(
                tool_call_id,
                name,
                arguments,
                execution.id,
                approval.id,
                execution.call_id or "",
                is_question=True,
                state=question.state,
            )
        )

    async def _refuse(self, tool_call: dict[str, str], context: ToolContext, status: ExecutionStatus, why: str) -> None:
        execution = self._note(
            await self._tools.refuse(tool_call["name"], tool_call["arguments"], context, status, why)
        )
        self._live.state.results.append(describe_tool_run(tool_call["id"], tool_call["name"], execution, why))

    async def _search(self, context: ToolContext, tool_call: dict[str, str]) -> None:
        """Search the tools for the model, and describe those that were found from the next round on."""
        live = self._live
        try:
            query = str(read_arguments(tool_call["arguments"]).get("query", ""))
        except InvalidInput:
            query = tool_call["arguments"]
        hits = search_tools(live.toolset.tools.values(), query)
        live.state.loaded = list(dict.fromkeys([*live.state.loaded, *(tool.name for tool in hits)]))
        execution = self._note(
            await asyncio.to_thread(self._tools.record, DEFINITION, {"query": query}, context, describe(hits))
        )
        output = execution.output or ToolOutput()
        live.state.results.append(
            describe_tool_run(tool_call["id"], tool_call["name"], execution, join_outputs(output))
        )

    async def _suspend(self) -> None:
        """Wait for people: write the state down and end the task."""
        live = self._live
        live.count_time()
        waiting = ", ".join(dict.fromkeys(pending.name for pending in live.state.pending))
        reason = f"It waits for a decision about {waiting}."
        await asyncio.to_thread(self._rows.suspend, live.state, reason)
        live.finish(WAITING, reason)

    async def _resume(self) -> None:
        live = self._live
        pending = live.state.pending
        live.state.pending = []
        async with asyncio.TaskGroup() as group:
            for tool in pending:
                group.create_task(self._settle(tool))
        if live.state.pending:
            await self._suspend()
            return
        live.take_results()
        await self._advance(await self._open_round())

    async def _settle(self, tool: PendingTool) -> None:
        """Do as was decided about one tool; one that nobody has decided about stays pending."""
        live = self._live
        approval = await asyncio.to_thread(self._approvals.get, live.actor, tool.approval_id)
        if approval.is_waiting:
            live.state.pending.append(tool)
            return
        execution = await asyncio.to_thread(self._tools.executions.get, live.actor, tool.execution_id)
        if approval.state is not ApprovalState.APPROVED:
            await self._deny(tool, execution, approval)
            return
        name = live.toolset.original_name(tool.name)
        context = replace(self._context(tool.call_id, tool.tool_call_id), approval_id=approval.id)
        arguments = tool.arguments
        if tool.is_question:
            form = approval.data if isinstance(approval.data, dict) else {}
            context = replace(context, answer=form, answer_state=tool.state)
        elif isinstance(approval.data, dict):
            arguments = approval.data
        async with self._at_once:
            run = await self._execute(name, arguments, context, execution)
        await asyncio.to_thread(self._approvals.end, live.actor, approval.id)
        await self._take(self._tools.find(live.actor, name), tool.tool_call_id, tool.name, run)

    async def _deny(self, tool: PendingTool, execution: ToolExecution, approval: Approval) -> None:
        if approval.state is ApprovalState.DENIED:
            why = f"{approval.decided_by_name or 'A person'} did not allow this."
            why += f" They said: {approval.comment}" if approval.comment else ""
        else:
            why = _NOT_ANSWERED
        closing = (execution, ExecutionStatus.DENIED, ToolOutput(why, is_error=True), why)
        self._note(await asyncio.to_thread(self._tools.executions.close, *closing))
        await asyncio.to_thread(self._approvals.end, self._live.actor, approval.id)
        self._live.state.results.append(describe_tool_run(tool.tool_call_id, tool.name, execution, why))

    async def _end(self, status: str, reason: str) -> None:
        state = self._live.state
        await asyncio.to_thread(self._rows.end, state.turn_id, status, reason, list(state.calls))
        self._live.finish(status, reason)

    def _note(self, execution: ToolExecution) -> ToolExecution:
        self._live.executions[execution.id] = execution
        if self._program is not None:
            self._program.note(execution)
            self._has_news.set()
        return execution

    def _context(self, call_id: str, tool_call_id: str) -> ToolContext:
        live = self._live
        return ToolContext(
            actor=live.actor,
            app=live.app,
            configuration_id=live.state.configuration_id,
            conversation_id=live.state.conversation_id,
            call_id=call_id,
            within=live.request.within,
            turn_id=live.state.turn_id,
            tool_call_id=tool_call_id,
            origin=live.state.origin,
            content_policy=live.state.content_policy,
        )
