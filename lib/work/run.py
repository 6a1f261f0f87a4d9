"""What the function of a run is given: steps, waits, children. Only the engine makes one.

A step's function is called in a task of the engine's own event loop (a coroutine function) or in a thread (any other).
It is cancelled when the run is: a coroutine function gets asyncio.CancelledError and ends what it has begun; a plain
one runs to its end, and what it returns is dropped.
"""

import asyncio
import contextlib
import inspect
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from dbos import DBOS
from dbos._error import DBOSException, DBOSWorkflowCancelledError
from msgspec.structs import replace

from lib.calls.calls import Calls
from lib.calls.request import CallRequest, Within
from lib.clock import utc_now
from lib.errors import LLMManagerError
from lib.ledger.step_results import StepResults
from lib.work.signals import Signals
from lib.work.state import Queue, RunStopped, StepFailed, StepUnknown, WorkState

if TYPE_CHECKING:
    from dbos._dbos import StepReservation

log = logging.getLogger(__name__)
PARK_AFTER_S = 60.0
OUTPUT = "output"
_LOOK_AGAIN_S = 5.0


@dataclass(frozen=True)
class Slot:
    """The fixed number of a step that runs beside others; used once."""

    name: str
    reservation: "StepReservation"


@dataclass(frozen=True)
class RunTools:
    """What a run works with: results, signals, and what pauses and starts runs."""

    results: StepResults
    signals: Signals
    pause: Callable[[str], None]
    enqueue: Callable[..., str]
    calls: Calls
    park_after_s: float = PARK_AFTER_S


class WorkRun:
    """One execution of a run. `id` is the run's, the same in every execution of it."""

    def __init__(self, run_id: str, kind: str, team_id: int, tools: RunTools) -> None:
        self.id = run_id
        self._root, _, self._path = run_id.partition("/")
        self.kind = kind
        self.team_id = team_id
        self.results = tools.results
        self._tools = tools
        self._active = 0  # steps under way that are no waits
        self._outputs: dict[tuple[str, str], Any] = {}  # of this execution, so that they need not be opened again

    def within(self, step: str) -> Within:
        """Return the step as the parent of a model call, whose closing record then carries the step's result."""
        root, name = self._name_row(step)
        return Within(workflow_run_id=root, workflow_step=name)

    def _name_row(self, step: str) -> tuple[str, str]:
        """Name the row of a step: under the run that nobody's child is, by the path to the step."""
        return self._root, f"{self._path}/{step}".lstrip("/")

    def reserve(self, names: Sequence[str]) -> dict[str, Slot]:
        """Fix the numbers of steps in this order, for those that run side by side or not always."""
        return {name: Slot(name, DBOS.reserve_step()) for name in names}

    async def step(
        self,
        name: str,
        function: Callable[..., Any],
        *arguments: Any,
        slot: Slot | None = None,
        keep: bool = False,
        acts: bool = False,
        idempotent: bool = False,
        timeout_s: float | None = None,
    ) -> Any:
        """Run a function once for all executions of the run and return its JSON.

        `keep`: the result is content, stored encrypted. `acts`: it costs or changes something, so its row is asked
        before it runs; found begun without an end it raises StepUnknown, unless it is `idempotent` and may be done
        again (a model call is: its orphaned row counts). Raises StepFailed for what the function failed with.
        """

        async def execute() -> dict[str, Any]:
            if keep or acts:
                return await self._execute_kept(name, function, arguments, asks_first=acts and not idempotent)
            return await _call(name, function, arguments)

        self._active += 1
        try:
            envelope = await self._checkpoint(name, execute, slot, timeout_s)
        finally:
            self._active -= 1
        return await self._open(name, envelope)

    async def call(
        self,
        name: str,
        make_request: Callable[[], CallRequest],
        *,
        slot: Slot | None = None,
        timeout_s: float | None = None,
    ) -> dict[str, Any]:
        """Make a model call as a step that is paid for once, and return what `step_results` keeps of it.

        That is `text`, `reasoning`, `tool_calls`, `finish_reason`, `call_id`, `log_id`, `provider`, `model`,
        `served_model`, `prompt_tokens`, `completion_tokens`, `cost_nano_usd` and `cost_status`. Raises StepFailed,
        whose `kind` is the ledger's `error_kind`, for a call that did not end well. A cancelled run ends its call.
        """

        async def ask() -> dict[str, Any]:
            request = await asyncio.to_thread(make_request)
            return await self._ask(replace(request, within=self.within(name)))

        return dict(await self.step(name, ask, slot=slot, acts=True, idempotent=True, timeout_s=timeout_s))

    async def _ask(self, request: CallRequest) -> dict[str, Any]:
        calls = self._tools.calls
        call_id = await asyncio.to_thread(calls.start, request)
        try:
            view = await asyncio.to_thread(calls.wait, request.actor, call_id)
        except asyncio.CancelledError:
            with contextlib.suppress(LLMManagerError):
                calls.stop(request.actor, call_id)
            raise
        if view.status != "ok":
            title, _, why = (view.error_message or f"The call ended as {view.status}.").partition(". ")
            raise StepFailed("", view.error_kind or view.status, f"{title.rstrip('.')}.", why)
        names = ("text", "reasoning", "finish_reason", "call_id", "log_id", "provider", "model", "served_model")
        counts = ("prompt_tokens", "completion_tokens", "cost_nano_usd", "cost_status")
        answer = {name: getattr(view, name) for name in (*names, *counts)}
        return {**answer, "tool_calls": [dict(tool_call) for tool_call in view.tool_calls]}

    async def wait_for(self, topic: str, *, slot: Slot | None = None, timeout_s: float | None = None) -> Any:
        """Wait for the signal of a topic and return its payload; None when the time is over before it comes.

        While a run does nothing but wait, it is parked after a minute and holds no memory.
        """

        async def execute() -> dict[str, Any]:
            return {"ok": await self._wait(topic, timeout_s)}

        return await self._open(topic, await self._checkpoint(f"wait {topic}", execute, slot, None))

    async def sleep(self, seconds: float, *, name: str = "sleep", slot: Slot | None = None) -> None:
        """Wait so many seconds, counted over restarts; for each sleep a name of its own."""
        await self.wait_for(f"sleep {name}", slot=slot, timeout_s=seconds)

    async def run_child(
        self, kind: str, payload: Any, name: str, *, slot: Slot | None = None, queue: Queue = Queue.BATCH
    ) -> Any:
        """Run another kind as a run of its own, `<this id>/<name>`, and return its output; raises StepFailed."""
        child_id = f"{self.id}/{name}"

        async def execute() -> dict[str, Any]:
            await asyncio.to_thread(
                self._tools.enqueue,
                kind,
                payload,
                queue=queue,
                run_id=child_id,
                team_id=self.team_id,
                parent_id=self.id,
            )
            outcome: dict[str, Any] = await self._wait(f"child {child_id}", None)
            match outcome["state"]:
                case WorkState.DONE:
                    return {"ref": list(name_output(child_id))} if outcome.get("has_output") else {"ok": None}
                case WorkState.CANCELLED:
                    return {"error": {"kind": "Cancelled", "title": f"{child_id} was cancelled."}}
                case _:
                    return {"error": outcome["error"]}

        return await self._open(name, await self._checkpoint(f"child {name}", execute, slot, None))

    async def _checkpoint(
        self, name: str, execute: Callable[[], Any], slot: Slot | None, timeout_s: float | None
    ) -> dict[str, Any]:
        """Run a step under the engine, which returns what it has kept when the step has ended before."""
        options: Any = {"name": name, "preemptible": True, "timeout_seconds": timeout_s}
        try:
            if slot is not None:
                envelope: dict[str, Any] = await slot.reservation.run_async(options, execute)
            else:
                envelope = await DBOS.run_step_async(options, execute)
        except DBOSException as error:
            if type(error).__name__ == "DBOSStepTimeoutError":
                raise StepFailed(name, "Timeout", f"The step {name} took longer than {timeout_s:g} s.") from error
            raise RunStopped(str(error)) from error
        return envelope

    async def _execute_kept(
        self, name: str, function: Callable[..., Any], arguments: tuple[Any, ...], *, asks_first: bool
    ) -> dict[str, Any]:
        key = self._name_row(name)
        reference = list(key)
        row = await asyncio.to_thread(self.results.get, *key)
        if row is not None and row.state == "done":
            return {"ref": reference}
        if asks_first and not await asyncio.to_thread(self.results.begin, *key):
            await asyncio.to_thread(self.results.mark_unknown, *key)
            return {"unknown": True}
        envelope = await _call(name, function, arguments)
        if "ok" not in envelope:
            if asks_first:
                await asyncio.to_thread(self.results.forget, *key)
            return envelope
        if not await asyncio.to_thread(self.results.finish, *key, envelope["ok"]):
            return {"ref": reference}  # the record of the call has brought it already
        self._outputs[key] = envelope["ok"]
        return {"ref": reference}

    async def _open(self, name: str, envelope: dict[str, Any]) -> Any:
        """Return what a step's envelope holds or refers to; raise what it failed with."""
        if "error" in envelope:
            raise StepFailed(name, **envelope["error"])
        if "unknown" in envelope:
            raise StepUnknown(name)
        if "ref" not in envelope:
            return envelope["ok"]
        key = (str(envelope["ref"][0]), str(envelope["ref"][1]))
        if key not in self._outputs:
            row = await asyncio.to_thread(self.results.get, *key)
            if row is None or row.output_hash == "":
                raise StepFailed(name, "Erased", f"The result of the step {name} is gone.", "It was erased.")
            return row.output
        return self._outputs.pop(key)

    async def _wait(self, topic: str, timeout_s: float | None) -> Any:
        signals = self._tools.signals
        deadline = None if timeout_s is None else utc_now() + timedelta(seconds=timeout_s)
        wait = await asyncio.to_thread(signals.begin_wait, self.id, topic, deadline)
        event = signals.watch(self.id, topic)
        parks_at = time.monotonic() + self._tools.park_after_s
        try:
            while not (wait.has_come or wait.is_over):
                left_s = _LOOK_AGAIN_S
                if wait.deadline is not None:
                    left_s = max(0.0, min(left_s, (wait.deadline - utc_now()).total_seconds()))
                await _pause(event, max(0.01, min(left_s, parks_at - time.monotonic())))
                if time.monotonic() >= parks_at:
                    await self._park_if_idle()
                    parks_at = time.monotonic() + _LOOK_AGAIN_S
                wait = await asyncio.to_thread(signals.look, self.id, topic)
        finally:
            signals.unwatch(self.id, topic, event)
        await asyncio.to_thread(signals.end_wait, self.id, topic)
        return wait.payload

    async def _park_if_idle(self) -> None:
        """End this execution when the run only waits: a signal or a deadline starts it again."""
        if self._active == 0 and await asyncio.to_thread(self._tools.signals.park, self.id):
            await asyncio.to_thread(self._tools.pause, self.id)
            raise DBOSWorkflowCancelledError(f"{self.id} is parked.")


async def _call(name: str, function: Callable[..., Any], arguments: tuple[Any, ...]) -> dict[str, Any]:
    """Call a step's function; what it failed with is a result like others."""
    try:
        if inspect.iscoroutinefunction(function):
            return {"ok": await function(*arguments)}
        return {"ok": await asyncio.to_thread(function, *arguments)}
    except LLMManagerError as error:
        return {"error": describe_error(error)}
    except DBOSException:
        raise
    except Exception as error:  # a fault of the program ends the step, not the process
        log.exception("The step %s failed.", name)
        return {"error": describe_error(error)}


def name_output(run_id: str) -> tuple[str, str]:
    """Name the row of a run's output."""
    root, _, path = run_id.partition("/")
    return root, f"{path}/{OUTPUT}".lstrip("/")


def describe_error(error: Exception) -> dict[str, str]:
    """Describe an error as the JSON that is kept of it: its class, and its three sentences."""
    kind = error.kind if isinstance(error, StepFailed) else type(error).__name__
    if isinstance(error, LLMManagerError):
        return {"kind": str(kind), "title": error.title, "why": error.why, "fix": error.fix}
    return {
        "kind": str(kind),
        "title": "Something went wrong inside.",
        "why": "The log of the program has the details.",
    }


async def _pause(event: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
    event.clear()
