"""Model calls of steps: each noted before it is sent, found again after a kill, held against the run's cap.

A call's id is written down before the call starts. Whoever takes the run up finds it: an answer that the ledger has is
taken as it is and never asked for again; a call that was cut in flight is made anew, and counted as orphaned.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lib.calls.calls import Calls
from lib.calls.live_call import CallView
from lib.calls.request import CallRequest, Origin, Within
from lib.clock import make_id
from lib.errors import ErrorKind, NotFound, Throttled
from lib.fast_json import hash_json
from lib.ledger.step_results import StepResults
from lib.money import format_money, format_sum
from lib.workflows.execution import Execution, StepContext
from lib.workflows.run import StepError, StepHeld

_FULL_S = 0.5
_LONGEST_STEP = 120  # characters of a step's path in the ledger
_TRANSIENT = frozenset(
    {
        ErrorKind.RATE_LIMIT, ErrorKind.OVERLOADED, ErrorKind.SERVER_ERROR, ErrorKind.CONNECTION,
        ErrorKind.TIMEOUT_FIRST_TOKEN, ErrorKind.TIMEOUT_IDLE, ErrorKind.TIMEOUT_TOTAL, ErrorKind.STREAM_CUT,
        ErrorKind.PROCESS_ENDED, ErrorKind.CIRCUIT_OPEN, ErrorKind.INTERNAL,
    }
)  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """What a model said; `tool_calls` are {"id", "name", "arguments"} with the arguments as text."""

    text: str
    tool_calls: tuple[Mapping[str, str], ...]
    finish_reason: str | None
    call_id: str

    @classmethod
    def from_view(cls, view: CallView) -> "Answer":
        """The answer of a call that has ended well."""
        return cls(view.text, tuple(dict(call) for call in view.tool_calls), view.finish_reason, view.call_id)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Answer":
        """Read what `to_record` wrote."""
        return cls(record["text"], tuple(record["tool_calls"]), record["finish_reason"], record["call_id"])

    def to_record(self) -> dict[str, Any]:
        """Return the answer as a JSON object, in the form in which an action's result stores it."""
        calls = [dict(call) for call in self.tool_calls]
        return {"text": self.text, "tool_calls": calls, "finish_reason": self.finish_reason, "call_id": self.call_id}


@dataclass(frozen=True)
class Question:
    """What a step asks a model."""

    messages: Sequence[Mapping[str, Any]]
    configuration: str | None = None
    system: str | None = None
    parameters: Mapping[str, Any] | None = None
    tags: Mapping[str, Any] | None = None

    def hash(self) -> str:
        """SHA-256 of what is asked."""
        document = [[dict(m) for m in self.messages], self.configuration, self.system, dict(self.parameters or {})]
        return hash_json(document)


class ModelCalls:
    """Asks models for the steps of runs."""

    def __init__(self, calls: Calls, results: StepResults) -> None:
        self._calls = calls
        self._results = results
        self._at_once = asyncio.Semaphore(64)

    async def ask(self, context: StepContext, key: str, question: Question) -> Answer:
        """Ask, unless this was asked before and answered; `key` names the question within the step.

        Raises StepError when the call failed, StepHeld when the run's cap lets no further call begin.
        """
        execution = context.execution
        action_key = f"{context.path}#{key}"
        hashed = question.hash()
        earlier = execution.journal.actions.get(action_key)
        if earlier is not None and earlier.input_hash == hashed:
            if earlier.state == "done":
                return Answer.from_record(earlier.result)
            if earlier.state == "started" and (
                paid_answer := await self._find_paid(context, action_key, earlier.call_id)
            ):
                return paid_answer
        request = self._build_request(context, key, question)
        async with self._at_once, _Hold(self._calls, execution, request):
            answer = await self._send(context, action_key, hashed, request)
        return answer

    def _build_request(self, context: StepContext, key: str, question: Question) -> CallRequest:
        execution = context.execution
        configuration = question.configuration
        by_model = configuration is not None and "/" in configuration
        return CallRequest(
            actor=execution.actor,
            messages=[dict(message) for message in question.messages],
            configuration=None if by_model else configuration,
            model=configuration if by_model else None,
            app="workflows" if execution.actor.key is None else None,
            origin=Origin.WORKFLOW,
            system_prompt=question.system,
            parameters=question.parameters or {},
            tags={"workflow": execution.run.slug, **(question.tags or {})},
            within=Within(workflow_run_id=execution.run.id, workflow_step=name_step(f"{context.path}#{key}")),
            call_id=make_id(),
            bounded=execution.run.cost_cap_nano_usd is not None,
        )

    async def _find_paid(self, context: StepContext, action_key: str, call_id: str | None) -> Answer | None:
        """The answer of a call that a process before this one had sent, where it came; else it counts as orphaned."""
        execution = context.execution
        paid = (execution, action_key, call_id)
        answer, was_sent = await execution.interpreter.run_blocking(self._read_paid, *paid)
        if answer is not None:
            await execution.interpreter.run_blocking(
                execution.journal.end_action, action_key, "done", answer.to_record()
            )
            return answer  # type: ignore[no-any-return]
        if was_sent:
            await execution.interpreter.run_blocking(execution.journal.note_orphan, action_key)
        return None

    def _read_paid(self, execution: Execution, action_key: str, call_id: str | None) -> tuple[Answer | None, bool]:
        """The answer of a call as its closing record kept it, else as the ledger shows it, and whether it was begun.

        None: it has none. A call that the ledger does not know was written down and not begun.
        """
        if call_id is None:
            return None, False
        row = self._results.get(execution.run.id, name_step(action_key))
        if row is not None and row.state == "done" and row.call_id == call_id and isinstance(row.output, dict):
            output = row.output
            return Answer(output["text"], tuple(output["tool_calls"]), output["finish_reason"], call_id), True
        try:
            view = self._calls.view(execution.actor, call_id)
        except NotFound:
            return None, False
        has_answer = view.status == "ok" and (view.text or view.tool_calls)
        return (Answer.from_view(view) if has_answer else None), True

    async def _send(self, context: StepContext, action_key: str, hashed: str, request: CallRequest) -> Answer:
        execution = context.execution
        journal = execution.journal
        block = execution.interpreter.run_blocking
        call_id = str(request.call_id)
        context.usage.calls.append(call_id)
        await execution.note_calls(context, action_key, hashed, call_id)
        view = await self._make(request)
        if view.status != "ok" and not (view.status == "truncated" and view.text):
            await block(journal.end_action, action_key, "failed", None)
            raise _explain_failure(view)
        answer = Answer.from_view(view)
        await block(journal.end_action, action_key, "done", answer.to_record())
        return answer

    async def _make(self, request: CallRequest) -> CallView:
        """Make the call on the calls' own loop; cancelling this ends it at once."""
        while True:
            try:
                return await self._calls.answer_elsewhere(request)
            except Throttled:
                await asyncio.sleep(_FULL_S)


def name_step(action_key: str) -> str:
    """A step as the ledger and the paid rows name it; one with a single call is named by its path alone."""
    return action_key.removesuffix("#call")[-_LONGEST_STEP:]


class _Hold:
    """Keeps a call's dearest price within the run's cap while it runs."""

    def __init__(self, calls: Calls, execution: Execution, request: CallRequest) -> None:
        self._calls = calls
        self._execution = execution
        self._request = request
        self._amount = 0

    async def __aenter__(self) -> None:
        cap = self._execution.run.cost_cap_nano_usd
        if cap is None:
            return
        quote = await self._execution.interpreter.run_blocking(self._calls.quote, self._request)
        if quote.high_nano is None:
            why = (
                f"{quote.model} has no known price, so the run's cap can't be kept. Set a price, or leave the cap out."
            )
            raise StepError(why, is_final=True)
        async with self._execution.lock:
            committed_nano = self._execution.spent_nano + self._execution.reserved_nano
            if committed_nano + quote.high_nano > cap:
                spent = format_sum(self._execution.spent_nano, self._execution.has_partial_cost)
                raise StepHeld(
                    f"The cap of {format_money(cap)} is reached: {spent} is spent, and the next call may cost "
                    f"{format_money(quote.high_nano)}. Raise the cap to go on."
                )
            self._amount = quote.high_nano
            self._execution.reserved_nano += quote.high_nano

    async def __aexit__(self, *error: object) -> None:
        if not self._amount:
            return
        calls = [str(self._request.call_id)]
        usage = await self._execution.interpreter.read_usage(self._execution.journal, calls)
        self._execution.reserved_nano -= self._amount
        self._execution.has_partial_cost |= usage.has_partial_cost
        self._execution.spent_nano += self._amount if usage.cost_nano_usd is None else usage.cost_nano_usd


def _explain_failure(view: CallView) -> StepError:
    kind = view.error_kind or ""
    message = view.error_message or f"The call ended as {view.status}."
    is_transient = kind in {str(transient) for transient in _TRANSIENT}
    return StepError(message, is_transient=is_transient)


def add_tools(parameters: Mapping[str, Any], tools: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Parameters of a call that offers tools."""
    return {**parameters, "tools": [dict(tool) for tool in tools]} if tools else dict(parameters)
