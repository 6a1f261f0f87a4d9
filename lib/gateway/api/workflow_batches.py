"""The part of `/api` for tables of runs: begun with a list of rows, followed, cancelled, and read back row by row."""

from datetime import datetime
from typing import Annotated, Any

from msgspec import Meta, Struct

from lib.gateway.api.bodies import Body, Nothing, Object, Usd, format_usd
from lib.gateway.api.operation import Asking, DirectOperation, Operation
from lib.gateway.api.workflows import VersionChoice, parse_cap
from lib.workflows.run import Run, Trigger
from lib.workflows.triggers.batches import MOST_ROWS, WorkflowBatch


class NewBatchBody(Body):
    """Inputs of each run, and how they are to go."""

    rows: Annotated[list[Object], Meta(min_length=1, max_length=MOST_ROWS)]
    version: VersionChoice = None
    cap_usd: Annotated[Usd | None, Meta(description="Of each run: begin no call that might pass it.")] = None


class BatchBody(Struct, kw_only=True):
    """A table of runs: how many are in each state; the cost is the least while `unknown_costs` is above zero."""

    batch_id: str
    version: int
    rows: int
    states: dict[str, int]
    over: bool
    known_cost_usd: str
    unknown_costs: int
    created_at: datetime


class BatchesBody(Struct, kw_only=True):
    """Tables of runs, the newest first."""

    batches: list[BatchBody]


class BatchRowBody(Struct, kw_only=True):
    """The run of a row, numbered from 1."""

    row: int
    run_id: str
    state: str
    reason: str
    inputs: Object
    output: Any
    cost_usd: str | None


class BatchDetailBody(BatchBody, kw_only=True):
    """A table of runs with each of them."""

    runs: list[BatchRowBody]


def start_batch(asking: Asking[Nothing, NewBatchBody]) -> BatchBody:
    """Begin a run for each row."""
    body = asking.body
    batch = asking.services.workflows.batches.start(
        asking.actor,
        asking.path["slug"],
        body.rows,
        version=body.version,
        cap_nano_usd=parse_cap(body.cap_usd),
        trigger=Trigger.API,
    )
    return BatchBody(**_describe(batch))


def list_batches(asking: Asking[Nothing, Nothing]) -> BatchesBody:
    """Tables of runs of a workflow."""
    batches = asking.services.workflows.batches.list(asking.actor, asking.path["slug"])
    return BatchesBody(batches=[BatchBody(**_describe(batch)) for batch in batches])


def read_batch(asking: Asking[Nothing, Nothing]) -> BatchDetailBody:
    """A table of runs with each of them."""
    batches = asking.services.workflows.batches
    batch = batches.get(asking.actor, asking.path["batch_id"])
    runs = batches.runs(asking.actor, batch.id)
    return BatchDetailBody(**_describe(batch), runs=[_describe_row(row, run) for row, run in enumerate(runs, 1)])


def cancel_batch(asking: Asking[Nothing, Nothing]) -> BatchBody:
    """Cancel the runs of a table that are not over."""
    return BatchBody(**_describe(asking.services.workflows.batches.cancel(asking.actor, asking.path["batch_id"])))


def _describe(batch: WorkflowBatch) -> dict[str, Any]:
    return {
        "batch_id": batch.id,
        "version": batch.version,
        "rows": batch.rows,
        "states": {str(state): count for state, count in batch.states.items()},
        "over": batch.is_over,
        "known_cost_usd": format_usd(batch.cost_nano_usd) or "0",
        "unknown_costs": batch.unpriced,
        "created_at": batch.created_at,
    }


def _describe_row(row: int, run: Run) -> BatchRowBody:
    return BatchRowBody(
        row=row,
        run_id=run.id,
        state=str(run.state),
        reason=run.reason,
        inputs=dict(run.inputs),
        output=run.output,
        cost_usd=format_usd(run.cost_nano_usd),
    )


_OF_WORKFLOW = "/api/workflows/{slug}/batches"
_BATCH = "/api/workflow-batches/{batch_id}"
OPERATIONS: dict[str, dict[str, Operation]] = {
    _OF_WORKFLOW: {
        "GET": DirectOperation("listWorkflowBatches", "Tables of runs, the newest first", list_batches),
        "POST": DirectOperation(
            "startWorkflowBatch", "Begin a run for each row", start_batch, is_slow=True, status=202
        ),
    },
    _BATCH: {"GET": DirectOperation("workflowBatch", "A table of runs with each of them", read_batch)},
    f"{_BATCH}/cancel": {"POST": DirectOperation("cancelWorkflowBatch", "Cancel a table's runs", cancel_batch)},
}
