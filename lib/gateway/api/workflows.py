"""The part of `/api` for workflows: their definitions and forms, runs begun, followed, stopped and gone on with.

A run is answered when it is over, paused or waits for somebody: `state` says so, and `waits_at` is the address of the
inbox. With `stream` steps come as events while they go, then the words of the output, then the run. With `wait` false
the answer comes at once.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from lib.errors import InvalidInput
from lib.fast_json import encode
from lib.gateway.api.bodies import Body, Name, Nothing, Object, Usd, format_usd
from lib.gateway.api.operation import Asking, DirectOperation, Operation, Types
from lib.gateway.http.exchange import Exchange
from lib.gateway.models.background_call import EVENTS
from lib.gateway.models.program_request import encode_event
from lib.limited.expressions import convert_to_text
from lib.money import convert_usd_to_nano
from lib.workflows.definition import build_document, build_schema
from lib.workflows.form import build_form_schema
from lib.workflows.quoting import RunQuote
from lib.workflows.run import Run, RunState, Step, Trigger
from lib.workflows.workflow import Workflow

_LOOK_S = 0.15
_LONGEST_WAIT_S = 600.0
INBOX = "/approvals"
VersionChoice = Annotated[Name | int | None, Meta(description="A version by number or label.")]


class WorkflowBody(Struct, kw_only=True):
    """A workflow."""

    slug: str
    name: str
    description: str
    version: int
    newest: int
    labels: dict[str, int]
    active: bool


class WorkflowsBody(Struct, kw_only=True):
    """The workflows that the key may run."""

    workflows: list[WorkflowBody]


class WorkflowDetailBody(WorkflowBody, kw_only=True):
    """A workflow with a version's definition, and the JSON Schema of the inputs that begin a run."""

    inputs_schema: Object
    definition: Object


class WorkflowSchemaBody(Struct, kw_only=True):
    """The JSON Schema of definitions."""

    schema: Object


class WorkflowCheckBody(Struct, kw_only=True):
    """The problems of a definition."""

    valid: bool
    problems: list["WorkflowProblemBody"]


class WorkflowProblemBody(Struct, kw_only=True):
    """A problem at a node; empty: of the whole. `hint`: it does not stop a run."""

    node: str
    message: str
    hint: bool


class DefinitionBody(Body):
    """A definition to check, as an object."""

    definition: Object


class WorkflowQuery(Body):
    """A version by number or label; without one that in production, else the newest."""

    version: Name | None = None


class NewRunBody(Body):
    """Inputs of a run, and how it is to go."""

    inputs: Object | None = None
    version: VersionChoice = None
    cap_usd: Annotated[Usd | None, Meta(description="Begin no call that might pass it.")] = None
    stream: Annotated[bool, Meta(description="Answer with events.")] = False
    wait: Annotated[bool, Meta(description="Answer when the run is over or waits; else at once.")] = True


class RunBody(Struct, kw_only=True):
    """A run as it stands. Money is decimal text, unknown is null, the least where `has_partial_cost`."""

    run_id: str
    workflow: str
    version: int
    state: Literal["queued", "running", "waiting", "paused", "done", "failed", "cancelled"]
    reason: str
    failed_step: str
    waits_at: str | None
    output: Any
    steps: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: str | None
    has_partial_cost: bool
    orphaned_calls: int
    trigger: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class RunsBody(Struct, kw_only=True):
    """Runs, the newest first."""

    runs: list[RunBody]


class StepBody(Struct, kw_only=True):
    """A step of a run; `calls` are ids of the ledger. Its cost is the least where `has_partial_cost`."""

    path: str
    kind: str
    state: str
    port: str
    attempts: int
    input: Any
    output: Any
    error: str
    calls: list[str]
    reused_from: str | None
    prompt_tokens: int
    completion_tokens: int
    cost_usd: str | None
    has_partial_cost: bool
    duration_ms: int | None
    started_at: datetime


class RunDetailBody(RunBody, kw_only=True):
    """A run with its inputs and steps."""

    inputs: Object
    step_list: list[StepBody]


class RunQuoteBody(Struct, kw_only=True):
    """What a run will cost: from past runs, or ceilings of calls."""

    low_usd: str | None
    high_usd: str | None
    basis: Literal["past", "ceilings"]
    samples: int
    unpriced_models: list[str]


class QuoteInputsBody(Body):
    """Inputs, as far as they are known; or a run and the step that it is to be repeated from."""

    inputs: Object | None = None
    version: VersionChoice = None


class RunsQuery(Body):
    """Which runs."""

    state: Literal["queued", "running", "waiting", "paused", "done", "failed", "cancelled"] | None = None
    page: Annotated[int, Meta(ge=1, le=10_000)] = 1


class ResumeBody(Body):
    """A cap in place of the run's."""

    cap_usd: Usd | None = None


class RerunBody(Body):
    """From which step, and in which version."""

    from_step: Name | None = None
    version: VersionChoice = None
    cap_usd: Usd | None = None


class SignalBody(Body):
    """A signal by name."""

    name: Name
    data: Any = None


def list_workflows(asking: Asking[Nothing, Nothing]) -> WorkflowsBody:
    """The workflows that the key may run."""
    return WorkflowsBody(
        workflows=[WorkflowBody(**_describe(w)) for w in asking.services.workflows.definitions.list(asking.actor)]
    )


def read_workflow(asking: Asking[WorkflowQuery, Nothing]) -> WorkflowDetailBody:
    """A workflow with a version's definition."""
    workflows = asking.services.workflows.definitions
    workflow = workflows.get(asking.actor, asking.path["slug"])
    version = workflows.version(asking.actor, workflow.slug, asking.query.version)
    return WorkflowDetailBody(
        **_describe(workflow) | {"version": version.version},
        inputs_schema=build_form_schema(version.definition.input_fields),
        definition=build_document(version.definition),
    )


def read_schema(asking: Asking[Nothing, Nothing]) -> WorkflowSchemaBody:
    """The JSON Schema of definitions."""
    return WorkflowSchemaBody(schema=build_schema())


def check_definition(asking: Asking[Nothing, DefinitionBody]) -> WorkflowCheckBody:
    """The problems of a definition."""
    _, problems = asking.services.workflows.definitions.check(asking.actor, asking.body.definition)
    listed = [WorkflowProblemBody(node=p.node, message=p.message, hint=not p.is_error) for p in problems]
    return WorkflowCheckBody(valid=not any(problem.is_error for problem in problems), problems=listed)


def list_runs(asking: Asking[RunsQuery, Nothing]) -> RunsBody:
    """Runs of a workflow."""
    states = [RunState(asking.query.state)] if asking.query.state else []
    workflow = asking.services.workflows.definitions.get(asking.actor, asking.path["slug"])
    runs = asking.services.workflows.runs.list(asking.actor, workflow.id, states, asking.query.page)
    return RunsBody(runs=[_describe_run(run) for run in runs])


def quote_run(asking: Asking[Nothing, QuoteInputsBody]) -> RunQuoteBody:
    """Estimate the cost of a run before it begins."""
    body = asking.body
    runs = asking.services.workflows.runs
    return _describe_quote(runs.quote(asking.actor, asking.path["slug"], body.inputs, _pass_version(body.version)))


def read_run(asking: Asking[Nothing, Nothing]) -> RunDetailBody:
    """A run with its steps."""
    runs = asking.services.workflows.runs
    run = runs.get(asking.actor, asking.path["run_id"])
    steps = [_describe_step(step) for step in runs.steps(asking.actor, run.id)]
    return RunDetailBody(**_build_run_fields(run), inputs=dict(run.inputs), step_list=steps)


def cancel_run(asking: Asking[Nothing, Nothing]) -> RunBody:
    """Cancel a run."""
    return _describe_run(asking.services.workflows.runs.cancel(asking.actor, asking.path["run_id"]))


def pause_run(asking: Asking[Nothing, Nothing]) -> RunBody:
    """Pause a run."""
    return _describe_run(asking.services.workflows.runs.pause(asking.actor, asking.path["run_id"]))


def resume_run(asking: Asking[Nothing, ResumeBody]) -> RunBody:
    """Go on with a run."""
    cap = parse_cap(asking.body.cap_usd)
    return _describe_run(asking.services.workflows.runs.resume(asking.actor, asking.path["run_id"], cap))


def rerun(asking: Asking[Nothing, RerunBody]) -> RunBody:
    """Repeat a run from a step."""
    body = asking.body
    runs = asking.services.workflows.runs
    again = runs.rerun(
        asking.actor,
        asking.path["run_id"],
        body.from_step or "",
        version=_pass_version(body.version),
        cap_nano_usd=parse_cap(body.cap_usd),
    )
    return _describe_run(again)


def quote_rerun(asking: Asking[Nothing, RerunBody]) -> RunQuoteBody:
    """Estimate the cost of repeating a run from a step on."""
    if not asking.body.from_step:
        raise InvalidInput("from_step is missing.", "", "Name the step to begin at.", field="from_step")
    runs = asking.services.workflows.runs
    return _describe_quote(runs.quote_rerun(asking.actor, asking.path["run_id"], asking.body.from_step))


def send_signal(asking: Asking[Nothing, SignalBody]) -> RunBody:
    """Send a signal to a run."""
    runs = asking.services.workflows.runs
    runs.signal(asking.actor, asking.path["run_id"], asking.body.name, asking.body.data)
    return _describe_run(runs.get(asking.actor, asking.path["run_id"]))


@dataclass(frozen=True)
class RunOperation(Operation):
    """Begins a run and answers when it is over or waits, or with events while it goes."""

    types = Types(Nothing, NewRunBody, RunBody)

    async def answer(self, exchange: Exchange, asking: Asking[Any, Any]) -> None:
        """Begin the run, then follow it as was asked."""
        body: NewRunBody = asking.body
        run = await asyncio.to_thread(_begin, asking)
        if not body.wait and not body.stream:
            await exchange.answer(202, encode(msgspec.to_builtins(_describe_run(run))), {"cache-control": "no-store"})
            return
        if body.stream:
            await exchange.begin(200, EVENTS, "text/event-stream; charset=utf-8")
        run = await follow_run(exchange, asking, run, streams=body.stream)
        document = msgspec.to_builtins(_describe_run(run))
        if not body.stream:
            await exchange.answer(self.status, encode(document), {"cache-control": "no-store"})
            return
        if run.state is RunState.DONE:
            await exchange.write(encode_event({"content": convert_to_text(run.output)}, "chunk"))
        await exchange.end(encode_event(document, "done" if run.state is RunState.DONE else "error"))


def _begin(asking: Asking[Any, Any]) -> Run:
    body: NewRunBody = asking.body
    run: Run = asking.services.workflows.runs.start(
        asking.actor,
        asking.path["slug"],
        body.inputs or {},
        trigger=Trigger.API,
        version=_pass_version(body.version),
        cap_nano_usd=parse_cap(body.cap_usd),
    )
    return run


async def follow_run(exchange: Exchange, asking: Asking[Any, Any], run: Run, *, streams: bool) -> Run:
    """Look at a run until nothing more happens by itself; with `streams` write an event for each step that changed."""
    runs = asking.services.workflows.runs
    last_states: dict[str, tuple[str, int]] = {}
    until = time.monotonic() + _LONGEST_WAIT_S
    while True:
        run = await asyncio.to_thread(runs.get, asking.actor, run.id)
        if streams:
            for step in await asyncio.to_thread(runs.outline, asking.actor, run.id):
                if last_states.get(step.path) != (step.state, step.attempts):
                    last_states[step.path] = (step.state, step.attempts)
                    await exchange.write(encode_event(describe_progress(step), "step"))
        if not run.state.is_at_work or time.monotonic() >= until:
            return run
        await asyncio.sleep(_LOOK_S)


def describe_progress(step: Step) -> Mapping[str, Any]:
    """A step as an event says it."""
    return {
        "path": step.path,
        "kind": step.kind,
        "state": str(step.state),
        "port": step.port,
        "attempts": step.attempts,
        "duration_ms": step.duration_ms,
        "cost_usd": format_usd(step.cost_nano_usd),
    }


def _pass_version(version: str | int | None) -> str | int | None:
    return version


def parse_cap(amount: str | None) -> int | None:
    """Read dollars as nano-dollars; None is no cap."""
    return None if amount is None else convert_usd_to_nano(amount)


def _describe(workflow: Workflow) -> dict[str, Any]:
    return {
        "slug": workflow.slug,
        "name": workflow.name,
        "description": workflow.description,
        "version": workflow.current,
        "newest": workflow.newest,
        "labels": dict(workflow.labels),
        "active": workflow.is_active,
    }


def _build_run_fields(run: Run) -> dict[str, Any]:
    copied_fields = (
        "version",
        "reason",
        "failed_step",
        "output",
        "prompt_tokens",
        "completion_tokens",
        "orphaned_calls",
        "has_partial_cost",
    )
    moments = ("created_at", "started_at", "finished_at")
    return {
        **{name: getattr(run, name) for name in (*copied_fields, *moments)},
        "run_id": run.id,
        "workflow": run.slug,
        "state": str(run.state),
        "waits_at": INBOX if run.state is RunState.WAITING else None,
        "steps": run.steps_done,
        "cost_usd": format_usd(run.cost_nano_usd),
        "trigger": str(run.trigger),
    }


def _describe_run(run: Run) -> RunBody:
    return RunBody(**_build_run_fields(run))


def _describe_step(step: Step) -> StepBody:
    described = ("path", "kind", "port", "attempts", "input", "output", "error", "reused_from")
    measured = ("prompt_tokens", "completion_tokens", "duration_ms", "started_at", "has_partial_cost")
    fields = {name: getattr(step, name) for name in (*described, *measured)}
    return StepBody(**fields, state=str(step.state), calls=[*step.calls], cost_usd=format_usd(step.cost_nano_usd))


def _describe_quote(quote: RunQuote) -> RunQuoteBody:
    unpriced: Sequence[str] = quote.unpriced
    return RunQuoteBody(
        low_usd=format_usd(quote.low_nano),
        high_usd=format_usd(quote.high_nano),
        basis=quote.basis,
        samples=quote.samples,
        unpriced_models=[*unpriced],
    )


_ONE = "/api/workflows/{slug}"
_RUN = "/api/workflow-runs/{run_id}"
OPERATIONS: dict[str, dict[str, Operation]] = {
    "/api/workflows": {"GET": DirectOperation("listWorkflows", "Workflows that the key may run", list_workflows)},
    "/api/workflows/schema": {"GET": DirectOperation("workflowSchema", "The JSON Schema of definitions", read_schema)},
    "/api/workflows/validate": {"POST": DirectOperation("checkWorkflow", "Problems of a definition", check_definition)},
    _ONE: {"GET": DirectOperation("workflow", "A workflow with a version's definition", read_workflow)},
    f"{_ONE}/runs": {
        "GET": DirectOperation("listWorkflowRuns", "Runs of a workflow, the newest first", list_runs),
        "POST": RunOperation("runWorkflow", "Begin a run; events `step`, `chunk`, `done` or `error` with `stream`"),
    },
    f"{_ONE}/quote": {"POST": DirectOperation("quoteWorkflow", "What a run will cost", quote_run)},
    _RUN: {"GET": DirectOperation("workflowRun", "A run with its steps", read_run)},
    f"{_RUN}/cancel": {"POST": DirectOperation("cancelWorkflowRun", "Cancel a run", cancel_run)},
    f"{_RUN}/pause": {"POST": DirectOperation("pauseWorkflowRun", "Let no further step begin", pause_run)},
    f"{_RUN}/resume": {"POST": DirectOperation("resumeWorkflowRun", "Go on with a run that stopped", resume_run)},
    f"{_RUN}/rerun": {"POST": DirectOperation("rerunWorkflow", "Repeat a run from a step", rerun)},
    f"{_RUN}/quote": {"POST": DirectOperation("quoteRerun", "What repeating it will cost", quote_rerun)},
    f"{_RUN}/signal": {"POST": DirectOperation("signalWorkflowRun", "Send a signal to a run that waits", send_signal)},
}
