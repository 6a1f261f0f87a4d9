"""One execution of one run: walks the graph, each node a task, and asks for every step whether it has ended already.

A node begins when all its edges are settled and at least one was taken; one that none was taken to is skipped, and so
is what hangs on it alone. What has ended in an earlier execution is not done again: its row is its result. Nothing here
depends on the order in which branches end, so a run that is taken up again goes the same way.

When a step fails without a way out, when the run is to pause or its cap is reached, no further step begins; those that
run end, and their results are kept. When nothing can go on before a person, a signal or a time, the run is parked: the
execution ends, and another one begins when there is news.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace as replace_struct

from lib.access.permissions import Actor
from lib.clock import utc_now
from lib.errors import LLMManagerError, ProviderError
from lib.fast_json import encode, hash_json
from lib.limited.expressions import ExpressionError
from lib.workflows.definition import ERROR, AnyNode, Definition, JoinNode, OutputNode, Retry
from lib.workflows.expressions import evaluate, fill_value, waits_for_child
from lib.workflows.journal import Journal
from lib.workflows.run import (
    MOST_OUTPUT,
    Run,
    RunLost,
    Step,
    StepError,
    StepHeld,
    StepResult,
    StepState,
    StepUsage,
    StepWaits,
    describe_error,
)
from lib.workflows.validation import GraphView

if TYPE_CHECKING:
    from lib.workflows.interpreter import Interpreter

LONGEST_PATH = 200
_PURE = frozenset({"input", "condition", "switch", "transform", "join", "output"})
_COMPOSED = frozenset({"map", "loop", "workflow"})


@dataclass(frozen=True)
class NodeOutcome:
    """How a node ended for those after it: `state` is done, skipped or blocked (something has to happen first)."""

    state: str
    port: str = ""
    output: Any = None


SKIPPED = NodeOutcome("skipped")
BLOCKED = NodeOutcome("blocked")


@dataclass
class Frame:
    """A definition that is being run: its graphs, its shared state, the memories of its conversations."""

    definition: Definition
    state: dict[str, Any]
    memories: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    views: dict[str, GraphView] = field(default_factory=dict)

    def get_view(self, part: str) -> GraphView:
        """A part's graph as it is walked; the main one's name is empty."""
        if part not in self.views:
            self.views[part] = GraphView(self.definition.get_graph(part))
        return self.views[part]


@dataclass
class Branch:
    """A part of a run that fails by itself: an item of a map, a round of a loop; `parent` is what it belongs to."""

    parent: "Branch | None" = None
    failure: tuple[str, str] | None = None  # the step that failed, and why

    @property
    def is_over(self) -> bool:
        """Whether a step of it, or of what it belongs to, has failed."""
        return self.failure is not None or (self.parent is not None and self.parent.is_over)

    def fail(self, path: str, why: str) -> None:
        """Note the first failure."""
        self.failure = self.failure or (path, why)


@dataclass
class StepContext:
    """What a step's work gets: its node, where it stands, the values it may read, and what it has called so far."""

    execution: "Execution"
    frame: Frame
    node: Any
    path: str
    scope: Mapping[str, Any]
    view: GraphView
    branch: Branch
    attempt: int = 1
    usage: StepUsage = field(default_factory=StepUsage)
    row: Step | None = None
    is_resumed: bool = False  # its try was cut, or waited: it goes on with what had gone into it


class Execution:
    """The walk through one run."""

    def __init__(
        self,
        interpreter: "Interpreter",
        journal: Journal,
        run: Run,
        actor: Actor,
        definitions: Mapping[str, Definition],
    ) -> None:
        self.interpreter = interpreter
        self.journal = journal
        self.run = run
        self.actor = actor
        self.definitions = definitions  # by slug; the run's own under ""
        self.steps: dict[str, Step] = {}
        self.reusable: Mapping[str, Step] = {}  # of the run that this one repeats, by path
        self.rerun_paths: frozenset[str] = frozenset()
        self.pinned: Mapping[str, Any] = {}
        self.held = ""  # why nothing further may begin
        self.branch = Branch()
        self.wake_at: datetime | None = None
        self.waits_for: list[str] = []
        self.reserved_nano = 0
        self.spent_nano = run.cost_nano_usd or 0
        self.has_partial_cost = run.has_partial_cost
        self._begun = 0
        self._open: dict[str, tuple[StepContext, StepUsage]] = {}  # steps that go on, by path

    async def walk(self) -> Any:
        """Run the main graph and return the run's output; raises StepHeld or StepWaits where it can't end now."""
        definition = self.definitions[""]
        frame = Frame(definition, fill_value(dict(definition.state), {}))
        outcome = await self.run_graph(frame, "", "", {}, self.branch)
        if self.branch.is_over or self.held:
            raise StepHeld(self.held)
        if outcome.state == "blocked":
            raise StepWaits("; ".join(dict.fromkeys(self.waits_for))[:1_000] or "It waits.", self.wake_at)
        return outcome.output

    async def run_graph(
        self, frame: Frame, part: str, prefix: str, outer: Mapping[str, Any], branch: Branch
    ) -> NodeOutcome:
        """Run a graph under a prefix of paths; its result is the last output that was taken, else the last step's."""
        view = frame.get_view(part)
        outcomes: dict[str, asyncio.Future[NodeOutcome]] = {}
        for position, node_id in enumerate(view.order):
            step_context = StepContext(self, frame, view.nodes[node_id], f"{prefix}{node_id}", outer, view, branch)
            work = self._run_node(step_context, position, outcomes)
            outcomes[node_id] = asyncio.ensure_future(work)
        await run_all(outcomes.values())
        ended = {node_id: task.result() for node_id, task in outcomes.items()}
        if any(outcome.state == "blocked" for outcome in ended.values()):
            return BLOCKED
        done = [node_id for node_id in view.order if ended[node_id].state == "done"]
        answers = [node_id for node_id in done if isinstance(view.nodes[node_id], OutputNode)] or done
        return NodeOutcome("done", "", ended[answers[-1]].output if answers else None)

    async def _run_node(
        self, context: StepContext, position: int, outcomes: Mapping[str, "asyncio.Future[NodeOutcome]"]
    ) -> NodeOutcome:
        node = context.node
        edges = context.view.incoming[node.id]
        is_reached = not edges
        if isinstance(node, JoinNode) and node.wait == "first":
            first = await self._await_first(context.view, node.id, outcomes)
            if first.state != "done":
                return first
            is_reached = True
        else:
            for edge in edges:
                source_outcome = await outcomes[edge.source]
                if source_outcome.state == "blocked":
                    return BLOCKED
                is_reached = is_reached or (source_outcome.state == "done" and source_outcome.port == edge.port)
        if not is_reached:
            return SKIPPED
        scope = {**context.scope}
        for ancestor in context.view.ancestors[node.id]:
            task = outcomes[ancestor]
            scope[ancestor] = task.result().output if task.done() else None
        scope["state"] = context.frame.state
        scope["run"] = self._describe_run()
        context.scope = scope
        return await self._settle_node(context, position)

    async def _await_first(
        self, view: GraphView, node_id: str, outcomes: Mapping[str, "asyncio.Future[NodeOutcome]"]
    ) -> NodeOutcome:
        """Wait for the first branch that is taken; which one that was is kept, since another time may differ."""
        edges = view.incoming[node_id]
        waiting = {outcomes[edge.source] for edge in edges}
        is_blocked = False
        while waiting:
            ended, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for edge in edges:
                task = outcomes[edge.source]
                if task in ended:
                    outcome = task.result()
                    is_blocked = is_blocked or outcome.state == "blocked"
                    if outcome.state == "done" and outcome.port == edge.port:
                        return outcome
        return BLOCKED if is_blocked else SKIPPED

    def _describe_run(self) -> dict[str, Any]:
        run = self.run
        started = (run.started_at or run.created_at).isoformat()
        return {
            "id": run.id,
            "workflow": run.slug,
            "version": run.version,
            "started_at": started,
            "by": self.actor.name,
        }

    async def _settle_node(self, context: StepContext, position: int) -> NodeOutcome:
        """The outcome of a node that was reached: its row's where it has ended, else of doing it now."""
        path = context.path
        if (earlier := self.steps.get(path)) is not None and earlier.state is StepState.DONE:
            return self._take_over(context.frame, context.node, earlier)
        if self.held or context.branch.is_over:
            return BLOCKED
        most = self.definitions[""].max_steps
        self._begun += 1
        if len(path) > LONGEST_PATH or self.run.steps_done + self._begun > most:
            why = (
                f"The run has come to its limit of {most:,} steps." if len(path) <= LONGEST_PATH else "It is too deep."
            )
            context.branch.fail(path[:LONGEST_PATH], why)
            return BLOCKED
        row = context.row = earlier or self._make_step(context.node, path, position)
        is_open = row.state in (StepState.RUNNING, StepState.WAITING)
        context.is_resumed = earlier is not None and is_open and row.attempts > 0 and row.input is not None
        context.usage = StepUsage(
            [*row.calls], row.cost_nano_usd, row.prompt_tokens, row.completion_tokens, row.has_partial_cost
        )
        return await self._do(context)

    def _make_step(self, node: AnyNode, path: str, position: int) -> Step:
        kind = str(node.__struct_config__.tag)
        nothing = (None, None, None, "", "", None, (), 0, 0, 0)
        return Step(path, position, kind, StepState.RUNNING, "", 0, *nothing, utc_now(), None)

    def _take_over(self, frame: Frame, node: AnyNode, step: Step) -> NodeOutcome:
        """A step that has ended: what it set in shared state and in memories holds again."""
        frame.state.update(step.changes or {})
        self._remember(frame, node, step)
        return NodeOutcome("done", step.port, step.output)

    @staticmethod
    def _remember(frame: Frame, node: AnyNode, step: Step) -> None:
        memory = getattr(node, "memory", None)
        if memory and isinstance(step.input, Mapping) and isinstance(step.output, Mapping):
            turns = frame.memories.setdefault(memory, [])
            turns.append({"role": "user", "content": str(step.input.get("prompt", ""))})
            turns.append({"role": "assistant", "content": str(step.output.get("text", ""))})

    async def _do(self, context: StepContext) -> NodeOutcome:
        """Do a step with its retries and fallbacks, and write how it ended."""
        usage_before = replace(context.usage, calls=[*context.usage.calls])
        self._open[context.path] = (context, usage_before)
        outcome = await self._do_once(context, usage_before)
        del self._open[context.path]
        return outcome

    async def close_open_steps(self) -> None:
        """Write the steps that were cut by a cancellation, with what their calls cost until then."""
        for context, usage_before in [*self._open.values()]:
            if context.row is not None and context.row.attempts:
                cut = replace(context.row, state=StepState.CANCELLED, error="It was cut.", finished_at=utc_now())
                await self._write(cut, context, usage_before)

    async def _do_once(self, context: StepContext, usage_before: StepUsage) -> NodeOutcome:
        row = context.row
        assert row is not None  # noqa: S101 (it was made before)
        try:
            result, row = await self._attempt_all(context, row)
            changes = await self._compute_changes(context, result)
        except StepWaits as wait:
            self._note_wait(wait)
            waiting = replace(context.row or row, state=StepState.WAITING, error=wait.why[:2_000])
            await self._write(waiting, context, usage_before)
            return BLOCKED
        except StepHeld as held:
            self.held = self.held or held.why
            if context.row is not None and context.row.attempts:
                await self._write(replace(context.row, state=StepState.WAITING, error=held.why), context, usage_before)
            return BLOCKED
        except (RunLost, asyncio.CancelledError):
            raise
        except (StepError, LLMManagerError, ExpressionError) as error:
            return await self._fail(context, usage_before, error)
        ended = replace(
            context.row or row,
            state=StepState.DONE,
            output=result.output,
            port=result.port,
            changes=changes or None,
            error="",
            finished_at=utc_now(),
        )
        await self._write(ended, context, usage_before, done=1)
        self._remember(context.frame, context.node, ended)
        return NodeOutcome("done", result.port, result.output)

    async def _fail(self, context: StepContext, usage_before: StepUsage, error: Exception) -> NodeOutcome:
        message = describe_error(error)
        row = context.row
        assert row is not None  # noqa: S101
        if any(edge.port == ERROR for edge in context.view.outgoing[context.node.id]):
            output = {"error": message}
            ended = replace(row, state=StepState.DONE, output=output, port=ERROR, error=message, finished_at=utc_now())
            await self._write(ended, context, usage_before, done=1)
            return NodeOutcome("done", ERROR, output)
        context.branch.fail(getattr(error, "path", "") or context.path, message)
        await self._write(
            replace(row, state=StepState.FAILED, error=message, finished_at=utc_now()), context, usage_before
        )
        return BLOCKED

    def _note_wait(self, wait: StepWaits) -> None:
        self.waits_for.append(wait.why)
        if wait.until is not None and (self.wake_at is None or wait.until < self.wake_at):
            self.wake_at = wait.until

    async def _attempt_all(self, context: StepContext, row: Step) -> tuple[StepResult, Step]:
        """Try a step as often as it may be, then its fallbacks; raises what the last try raised."""
        node = context.node
        if context.path in self.pinned:
            context.row = replace(row, input={"pinned": True}, attempts=1)
            return self._read_pinned(context), context.row
        if (reused := await self._reuse(context)) is not None:
            return reused, context.row or row
        retry = node.retry or Retry(attempts=1)
        fallback = node.fallback
        try:
            return await self._attempt_repeatedly(context, retry), context.row or row
        except (StepError, LLMManagerError, ExpressionError) as error:
            if fallback is None or (isinstance(error, StepError) and error.is_final):
                raise
            if fallback.configuration is not None and hasattr(node, "configuration"):
                context.node = replace_struct(node, configuration=fallback.configuration)
                try:
                    return await self._attempt_repeatedly(context, Retry(attempts=1)), context.row or row
                except (StepError, LLMManagerError, ExpressionError):
                    if fallback.value is msgspec.UNSET:
                        raise
                finally:
                    context.node = node
            if fallback.value is msgspec.UNSET:
                raise
            return StepResult(fill_value(fallback.value, context.scope)), context.row or row

    async def _attempt_repeatedly(self, context: StepContext, retry: Retry) -> StepResult:
        pause = retry.delay_s
        for number in range(1, retry.attempts + 1):
            try:
                return await self._attempt(context)
            except (StepError, LLMManagerError, ExpressionError) as error:
                if number == retry.attempts or not _may_help(error) or self.held or context.branch.is_over:
                    raise
            await asyncio.sleep(pause)
            pause *= retry.factor
        raise StepError("It was not tried.")

    async def _attempt(self, context: StepContext) -> StepResult:
        kind = str(context.node.__struct_config__.tag)
        work = self.interpreter.get_work(kind)
        assert context.row is not None  # noqa: S101
        # Templates, and whatever else may change while nobody goes on with a run, are not looked at again.
        resolved = context.row.input if context.is_resumed else await work.resolve(context)
        context.is_resumed = False
        attempts = context.row.attempts + 1
        context.attempt = attempts
        hashed = _hash_input(context.node, resolved)
        context.row = replace(
            context.row, input=resolved, input_hash=hashed, attempts=attempts, state=StepState.RUNNING
        )
        if kind not in _PURE:
            await self.interpreter.run_blocking(self.journal.write_step, context.row)
        try:
            result = await _limit_time(work.perform(context, resolved), context.node.timeout_s)
        except StepError as error:
            if error.spoils:
                await self.interpreter.run_blocking(self.journal.spoil_actions, context.path)
            raise
        size = len(encode(result.output))
        if size > MOST_OUTPUT:
            raise StepError(f"Its output has {size:,} bytes; the limit is {MOST_OUTPUT:,}.", is_final=True)
        return result

    def _read_pinned(self, context: StepContext) -> StepResult:
        """The output that a test case gives for a step; an object with `port` and `output` names the way out too."""
        value = self.pinned[context.path]
        if isinstance(value, Mapping) and value.keys() == {"port", "output"}:
            return StepResult(value["output"], str(value["port"]))
        ports = context.node.list_ports()
        return StepResult(value, ports[0] if ports and "" not in ports else "")

    async def _reuse(self, context: StepContext) -> StepResult | None:
        """The result of the run that this one repeats, where what goes in is equal and the step comes not after."""
        kind = str(context.node.__struct_config__.tag)
        earlier = self.reusable.get(context.path)
        if kind in _PURE or kind in _COMPOSED or earlier is None or earlier.state is not StepState.DONE:
            return None
        head = context.path.split("/", 1)[0]
        if head in self.rerun_paths:
            return None
        resolved = await self.interpreter.get_work(kind).resolve(context)
        if _hash_input(context.node, resolved) != earlier.input_hash:
            return None
        assert context.row is not None  # noqa: S101
        source = self.run.reuses_run_id
        context.row = replace(context.row, input=resolved, reused_from=source, input_hash=earlier.input_hash)
        return StepResult(earlier.output, earlier.port)

    async def compute(self, source: str, scope: Mapping[str, Any]) -> Any:
        """Compute an expression; one that the limited child computes is waited for in a thread, for others go on."""
        if waits_for_child(source, scope):
            return await self.interpreter.run_blocking(evaluate, source, scope)
        return evaluate(source, scope)

    async def _compute_changes(self, context: StepContext, result: StepResult) -> dict[str, Any]:
        """Compute what a step sets in shared state, one after the other: a later one sees what an earlier one set."""
        changes: dict[str, Any] = {}
        for name, expression in context.node.set.items():
            scope = {**context.scope, "output": result.output, "state": context.frame.state | changes}
            try:
                changes[name] = await self.compute(expression, scope)
            except ExpressionError as error:
                raise StepError(f"It can't set {name}: {error}.") from None
        context.frame.state.update(changes)
        return changes

    async def note_calls(self, context: StepContext, action_key: str, input_hash: str, call_id: str) -> None:
        """Write down a call of a step before it is sent, so that pages find it and a kill loses none."""
        assert context.row is not None  # noqa: S101 (it was made before)
        context.row = replace(context.row, calls=tuple(context.usage.calls))
        action = (action_key, context.attempt, input_hash, call_id, context.path, [*context.usage.calls])
        await self.interpreter.run_blocking(self.journal.start_action, *action)

    async def _write(self, step: Step, context: StepContext, usage_before: StepUsage, done: int = 0) -> None:
        usage = context.usage
        if usage.calls:
            usage = await self.interpreter.read_usage(self.journal, usage.calls)
        step = replace(
            step,
            calls=tuple(usage.calls),
            cost_nano_usd=usage.cost_nano_usd,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            has_partial_cost=usage.has_partial_cost,
        )
        await self.interpreter.run_blocking(self.journal.write_step, step, done, usage_before)
        self.steps[step.path] = step
        context.row = step

    @cached_property
    def lock(self) -> asyncio.Lock:
        """Held while it is decided whether another call fits under the cap."""
        return asyncio.Lock()


async def run_all(works: Iterable[Awaitable[Any]]) -> None:
    """Wait for all; when one raises, cancel the others, wait for their end and raise it."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


async def _limit_time(work: Awaitable[StepResult], seconds: float | None) -> StepResult:
    if seconds is None:
        return await work
    try:
        async with asyncio.timeout(seconds):
            return await work
    except TimeoutError:
        raise StepError(f"It took longer than {seconds:g} seconds.", is_transient=True) from None


def _may_help(error: Exception) -> bool:
    """Whether another try may end otherwise."""
    if isinstance(error, StepError):
        return error.is_transient and not error.is_final
    return isinstance(error, ProviderError)


def _hash_input(node: AnyNode, resolved: Any) -> str:
    """SHA-256 of what a step does and of what goes into it."""
    document = msgspec.to_builtins(node)
    for name in ("x", "y", "label", "retry", "timeout_s", "set"):
        document.pop(name, None)
    return hash_json([document, resolved])


Resolve = Callable[[StepContext], Awaitable[Any]]
Perform = Callable[[StepContext, Any], Awaitable[StepResult]]
