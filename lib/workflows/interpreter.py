"""Executes runs in this process: takes a run up, walks it, and writes how this execution ended.

Whoever calls `execute` has made sure that one process does; should two, the one that came last writes, and the other
stops. Blocking work (the database, searches) is done in threads of its own, calls on the calls' loop. One watcher a
loop asks every quarter of a second whether a run that goes here is to be cancelled or paused, so a call in flight ends
within a second of the click; every quarter of a minute it says that the runs here are alive.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Protocol

from sqlalchemy import select

from lib.access.permissions import Actor
from lib.calls.calls import Calls
from lib.clock import make_id
from lib.db.data_key import DataKey
from lib.db.engine import Store
from lib.db.tables import workflow_versions, workflows
from lib.errors import LLMManagerError, NotFound
from lib.ledger.step_results import StepResults
from lib.prompts.prompts import Prompts
from lib.workflows.acting import load_actor
from lib.workflows.definition import Definition, DefinitionTooNew, decode_definition
from lib.workflows.execution import Execution, StepContext
from lib.workflows.journal import Journal, R, Seals, keep_runs, load_steps
from lib.workflows.model_calls import ModelCalls
from lib.workflows.owner_notices import UNATTENDED, tell_owner
from lib.workflows.run import Run, RunLost, RunState, StepHeld, StepResult, StepUsage, StepWaits
from lib.workflows.validation import GraphView

log = logging.getLogger(__name__)
_LOOK_S = 0.25
_SIGN_OF_LIFE_S = 15.0
_PAUSED_BY_SOMEBODY = "It was paused."
_THREADS = 8
Search = Callable[[Actor, str, str, int | None], list[dict[str, Any]]]
Heard = Callable[[Run], None]


class StepKind(Protocol):
    """What a kind of node does."""

    async def resolve(self, context: StepContext) -> Any:
        """Compute what goes into the step, as JSON."""
        ...

    async def perform(self, context: StepContext, resolved: Any) -> StepResult:
        """Make its result."""
        ...


class Interpreter:
    """Executes runs. `tools` and `approvals` are None where the installation has none."""

    def __init__(
        self,
        store: Store,
        data_key: DataKey,
        calls: Calls,
        prompts: Prompts,
        search: Search,
        results: StepResults,
        tools: Callable[[], Any] = lambda: None,
        approvals: Callable[[], Any] = lambda: None,
        ended: Heard = lambda run: None,
        name_process: Callable[[], str] | None = None,
        is_alive: Callable[[str], bool] = lambda process: False,
    ) -> None:
        """`name_process` returns this process's name among those that run work; `is_alive` says whether another is."""
        own_name = make_id()
        self.prompts = prompts
        self.search = search
        self.models = ModelCalls(calls, results)
        self._results = results
        self._store = store
        self._data_key = data_key
        self._calls = calls
        self._find_tools = tools
        self._find_approvals = approvals
        self._ended = ended
        self._name_process = name_process or (lambda: own_name)
        self._is_alive = is_alive
        self._owners: set[str] = set()  # executions that go on here, or are about to
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="workflow")
        self._works = _make_works()
        self._running: dict[str, tuple[asyncio.Task[Any], Execution]] = {}
        self._watchers: dict[int, asyncio.Task[None]] = {}
        self._lock = threading.Lock()

    @property
    def tools(self) -> Any:
        """The registry of tools."""
        return self._find_tools()

    @property
    def approvals(self) -> Any:
        """The inbox of approvals."""
        return self._find_approvals()

    def get_work(self, kind: str) -> StepKind:
        """The work of a kind of node."""
        return self._works[kind]

    async def run_blocking(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function that blocks in a thread of the interpreter's own."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, lambda: function(*arguments))

    async def read_usage(self, journal: Journal, calls: list[str]) -> StepUsage:
        """Sum what calls cost, when all that have ended are in the ledger."""

        def read() -> StepUsage:
            self._calls.flush()
            return journal.read_usage(calls)

        usage: StepUsage = await self.run_blocking(read)
        return usage

    async def execute(self, run_id: str) -> str:
        """Go on with a run until it is over, waits or is held; return its state.

        A run that is over is left alone, and so is one that an execution which lives is at work on: the state is empty.
        """
        owner = f"{self._name_process()}/{make_id()[-12:]}"
        journal = Journal(self._store, self._data_key, run_id, owner)
        self._owners.add(owner)
        try:
            run = await self.run_blocking(journal.take, self._is_at_work)
            return "" if run is None else await self._go_on(journal, run)
        except RunLost:
            log.info("The run %s was taken up elsewhere.", run_id)
            return ""
        finally:
            self._owners.discard(owner)

    def _is_at_work(self, owner: str) -> bool:
        process, _, _ = owner.partition("/")
        return owner in self._owners or (process != self._name_process() and self._is_alive(process))

    async def _go_on(self, journal: Journal, run: Run) -> str:
        while True:
            try:
                execution = await self.run_blocking(self._prepare, journal, run)
            except DefinitionTooNew as error:
                await self._hold(journal, run, str(error))
                return RunState.PAUSED
            except LLMManagerError as error:
                await self._end(journal, run, RunState.FAILED, str(error))
                return RunState.FAILED
            state = await self._walk(journal, execution)
            if state is not None:
                return state
            run = execution.run  # there is news: go on at once

    async def _walk(self, journal: Journal, execution: Execution) -> str | None:
        """Walk once; None when a decision came while it was about to be parked."""
        task = asyncio.ensure_future(execution.walk())
        self._watch(execution, task)
        limit = execution.definitions[""].timeout_s
        run = execution.run
        try:
            async with asyncio.timeout(limit):
                output = await asyncio.shield(task)
        except StepWaits as wait:
            parked = await self.run_blocking(journal.park, wait.why, wait.until)
            return RunState.WAITING if parked else None
        except StepHeld:
            return await self._end_held(journal, execution)
        except TimeoutError:
            await _stop(task)
            await execution.close_open_steps()
            await self._end(journal, run, RunState.FAILED, f"It took longer than {limit:g} seconds.")
            return RunState.FAILED
        except asyncio.CancelledError:
            if not task.cancelled():  # this process stops: the run goes on elsewhere
                await _stop(task)
                raise
            await execution.close_open_steps()
            await self._end(journal, run, RunState.CANCELLED, "It was cancelled.")
            return RunState.CANCELLED
        except RunLost:
            raise
        except Exception as bug:  # the boundary of a run: what fails unexpectedly must not take others along
            log.exception("The run %s failed unexpectedly.", run.id)
            why = f"An unexpected error: {type(bug).__name__}. The server's log says more."
            await self._end(journal, run, RunState.FAILED, why)
            return RunState.FAILED
        finally:
            self._running.pop(run.id, None)
        await self._end(journal, run, RunState.DONE, output=output)
        return RunState.DONE

    async def _end_held(self, journal: Journal, execution: Execution) -> str:
        if execution.branch.failure is not None:
            path, why = execution.branch.failure
            await self._end(journal, execution.run, RunState.FAILED, why, path)
            return RunState.FAILED
        await self._hold(journal, execution.run, execution.held)
        return RunState.PAUSED

    async def _hold(self, journal: Journal, run: Run, why: str) -> None:
        """Pause a run: what it has done and what it asks of people stays."""
        await self._end(journal, run, RunState.PAUSED, why)
        if run.trigger in UNATTENDED and why != _PAUSED_BY_SOMEBODY:
            await self.run_blocking(self._tell_owner, run, "workflow.paused", why, "")

    async def _end(
        self, journal: Journal, run: Run, state: RunState, reason: str = "", path: str = "", output: Any = None
    ) -> None:
        await self.run_blocking(journal.end, state, reason, path, output)
        if not state.is_over:
            return
        with suppress(LLMManagerError):
            await self.run_blocking(self._ended, run)
        if state is not RunState.FAILED:
            await self.run_blocking(self._results.erase, run.id)
        elif run.trigger in UNATTENDED:
            open_reason = "" if journal.is_sealed else reason
            await self.run_blocking(self._tell_owner, run, "workflow.failed", open_reason, path)

    def _tell_owner(self, run: Run, event: str, reason: str, path: str) -> None:
        with self._store.write() as connection:
            tell_owner(connection, event, run.id, run.user_id, run.workflow_id, reason, path)

    def _prepare(self, journal: Journal, run: Run) -> Execution:
        """All that an execution needs of the database; LLMManagerError says why the run can't go on."""
        actor = load_actor(self._store, run.user_id, run.api_key_id, run.team_id, "workflow")
        definitions = {"": self._load_definition(run.workflow_id, run.version)}
        for slug, (workflow_id, version) in run.pins.items():
            definitions[slug] = self._load_definition(workflow_id, version)
        workflow_name = self._name(run)
        execution = Execution(self, journal, workflow_name, actor, definitions)
        if run.executions > 1:
            self._calls.recover()  # what the process before had on disk and not in the database
        execution.steps = journal.load_steps()
        journal.load_actions()
        execution.pinned = journal.read_pinned()
        if run.reuses_run_id is not None:
            with self._store.read() as connection:
                is_sealed = bool(connection.scalar(select(R.is_sealed).where(R.id == run.reuses_run_id)))
            execution.reusable = load_steps(self._store, run.reuses_run_id, Seals(self._data_key, is_sealed))
            view = GraphView(definitions[""].main)
            if run.rerun_from in view.nodes:
                execution.rerun_paths = frozenset({run.rerun_from, *view.list_descendants(run.rerun_from)})
        return execution

    def _load_definition(self, workflow_id: str, version: int) -> Definition:
        V = workflow_versions.c
        query = select(V.definition).where(V.workflow_id == workflow_id, V.version == version)
        with self._store.read() as connection:
            text = connection.scalar(query)
        if text is None:
            raise NotFound("The run can't go on.", "Its workflow was deleted.", "Import it again, then resume the run.")
        return decode_definition(text)

    def _name(self, run: Run) -> Run:
        from dataclasses import replace

        query = select(workflows.c.slug, workflows.c.name).where(workflows.c.id == run.workflow_id)
        with self._store.read() as connection:
            row = connection.execute(query).one_or_none()
        return run if row is None else replace(run, slug=row.slug, workflow_name=row.name)

    def _watch(self, execution: Execution, task: "asyncio.Task[Any]") -> None:
        self._running[execution.run.id] = (task, execution)
        loop = asyncio.get_running_loop()
        watcher = self._watchers.get(id(loop))
        if watcher is None or watcher.done():
            self._watchers[id(loop)] = loop.create_task(self._watch_forever(loop))

    async def _watch_forever(self, loop: asyncio.AbstractEventLoop) -> None:
        """Look at what was asked of the runs that go on this loop, and say that they go, for as long as one does."""
        beaten_at = loop.time()
        while True:
            running = {key: pair for key, pair in self._running.items() if pair[0].get_loop() is loop}
            if not running:
                return
            is_due = loop.time() - beaten_at >= _SIGN_OF_LIFE_S
            try:
                stop_requests = await self.run_blocking(self._read_stops, [*running])
                if is_due:
                    owners = [execution.journal.owner for _, execution in running.values()]
                    await self.run_blocking(self._tell_alive, owners)
                    beaten_at = loop.time()
            except LLMManagerError as error:
                log.warning("Whether runs are to stop can't be read: %s", error)
                stop_requests = {}
            for run_id, stop_request in stop_requests.items():
                task, execution = running[run_id]
                if stop_request == "cancel":
                    task.cancel()
                elif not execution.held:
                    execution.held = _PAUSED_BY_SOMEBODY
            await asyncio.sleep(_LOOK_S)

    def _read_stops(self, run_ids: list[str]) -> Mapping[str, str]:
        query = select(R.id, R.stop_asked).where(R.id.in_(run_ids), R.stop_asked != "")
        with self._store.read() as connection:
            return {run_id: stop_request for run_id, stop_request in connection.execute(query)}

    def _tell_alive(self, owners: list[str]) -> None:
        with self._store.write() as connection:
            keep_runs(connection, owners)

    def close(self) -> None:
        """End the interpreter's threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)


async def _stop(task: "asyncio.Task[Any]") -> None:
    task.cancel()
    with suppress(asyncio.CancelledError, Exception):
        await task


def _make_works() -> dict[str, StepKind]:
    from lib.workflows.steps import agents, composed, model, outside, people, pure

    return {
        "input": pure.InputStep(),
        "condition": pure.ConditionStep(),
        "switch": pure.SwitchStep(),
        "transform": pure.TransformStep(),
        "join": pure.JoinStep(),
        "output": pure.OutputStep(),
        "map": composed.MapStep(),
        "loop": composed.LoopStep(),
        "workflow": composed.WorkflowStep(),
        "prompt": model.PromptStep(),
        "agents": agents.AgentsStep(),
        "retrieve": outside.RetrieveStep(),
        "tool": outside.ToolStep(),
        "http": outside.HttpStep(),
        "approval": people.ApprovalStep(),
        "wait": people.WaitStep(),
    }
