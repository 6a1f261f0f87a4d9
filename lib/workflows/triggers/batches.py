"""Rows × run: a table whose every row is a run of its own, and its results as a table again.

A batch is nothing but its runs, each with the batch's id and its row's number, so it is gone on with, stopped and read
like any runs: those whose process dies go on by themselves. It is its starter's, as its runs are.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import func, insert, select

from lib.access import audit
from lib.access.permissions import Actor, Permission
from lib.access.stop_switch import StopSwitch
from lib.clock import make_id
from lib.db.data_key import DataKey
from lib.db.engine import Store
from lib.db.tables import workflow_runs
from lib.errors import InvalidInput, NotFound
from lib.experiments.plan import read_csv
from lib.files.cells import neutralise
from lib.limited.expressions import convert_to_text
from lib.workflows.form import check_inputs
from lib.workflows.journal import R
from lib.workflows.quoting import RunQuote
from lib.workflows.run import Run, RunState, Trigger
from lib.workflows.runs import WorkflowRuns, is_visible
from lib.workflows.starting import build_start_row, check_stops, plan_start
from lib.workflows.workflow import VersionSelector, load_version, load_workflow, require_may_run

MOST_ROWS = 1_000
_MOST_TOLD = 5
_MOST_LISTED = 50


@dataclass(frozen=True)
class WorkflowBatch:
    """A table's runs: how many in each state, their known cost in nano-dollars, how many costs are unknown."""

    id: str
    workflow_id: str
    version: int
    created_at: datetime
    states: Mapping[RunState, int] = field(default_factory=dict)
    cost_nano_usd: int = 0
    unpriced: int = 0

    @property
    def rows(self) -> int:
        """How many runs it has."""
        return sum(self.states.values())

    @property
    def ended(self) -> int:
        """How many of them are over."""
        return sum(count for state, count in self.states.items() if state.is_over)

    @property
    def is_over(self) -> bool:
        """Whether all of them are."""
        return self.ended == self.rows


class WorkflowBatches:
    """Begins tables of runs, follows them, and writes their results."""

    def __init__(self, store: Store, data_key: DataKey, runs: WorkflowRuns, stops: StopSwitch) -> None:
        self._store = store
        self._data_key = data_key
        self._runs = runs
        self._stops = stops

    def read_rows(self, actor: Actor, slug: str, data: bytes, version: VersionSelector = None) -> list[dict[str, Any]]:
        """Read a CSV whose columns are the form's fields, and check every row; raises InvalidInput with the rows that
        don't fit. Empty cells stand for fields that are left out.
        """
        actor.require(Permission.TEST_CONFIGS)
        with self._store.read() as connection:
            workflow = load_workflow(connection, slug)
            require_may_run(actor, workflow)
            fields = load_version(connection, workflow, version).definition.input_fields
        rows = read_csv(data)
        if len(rows) > MOST_ROWS:
            why = f"It has {len(rows):,} rows; the limit is {MOST_ROWS:,}."
            raise InvalidInput("The table can't be run.", why, "Split it.", field="rows")
        checked = []
        problems = []
        for number, row in enumerate(rows, 1):
            try:
                checked.append(check_inputs(fields, {name: value for name, value in row.items() if value != ""}))
            except InvalidInput as error:
                problems.append(f"Row {number}: {error.why or error.title}")
        if problems:
            remainder = f" And {len(problems) - _MOST_TOLD} more." if len(problems) > _MOST_TOLD else ""
            raise InvalidInput("Some rows can't be run.", " ".join(problems[:_MOST_TOLD]) + remainder, "", "rows")
        return checked

    def quote(
        self, actor: Actor, slug: str, rows: Sequence[Mapping[str, Any]], version: VersionSelector = None
    ) -> RunQuote:
        """Quote all rows: each as its run is quoted, by past runs or by the longest row's ceilings."""
        longest = max(rows, key=lambda row: len(convert_to_text(dict(row))), default={})
        quote_of_one = self._runs.quote(actor, slug, longest, version)
        low = None if quote_of_one.low_nano is None else quote_of_one.low_nano * len(rows)
        high = None if quote_of_one.high_nano is None else quote_of_one.high_nano * len(rows)
        return RunQuote(
            low, high, quote_of_one.basis, quote_of_one.samples, quote_of_one.unpriced, quote_of_one.problems
        )

    def start(
        self,
        actor: Actor,
        slug: str,
        rows: Sequence[Mapping[str, Any]],
        *,
        version: VersionSelector = None,
        cap_nano_usd: int | None = None,
        trigger: Trigger = Trigger.PAGE,
        launches: bool = True,
    ) -> WorkflowBatch:
        """Begin a run for every row, all in one version; `cap_nano_usd` is each run's own. All are begun, or none."""
        actor.require(Permission.TEST_CONFIGS)
        if not 0 < len(rows) <= MOST_ROWS:
            raise InvalidInput("The table can't be run.", f"There may be 1 to {MOST_ROWS:,} rows.", "", field="rows")
        batch_id = make_id()
        with self._store.write() as connection:
            workflow = load_workflow(connection, slug)
            require_may_run(actor, workflow)
            check_stops(self._stops, actor, workflow.slug)
            plan = plan_start(connection, actor, workflow, version)
            fields = plan.version.definition.input_fields
            records = [
                build_start_row(
                    plan,
                    self._data_key,
                    connection,
                    actor,
                    check_inputs(fields, row),
                    run_id=make_id(),
                    trigger=trigger,
                    cap_nano_usd=cap_nano_usd,
                    batch_id=batch_id,
                    batch_row=number,
                )
                for number, row in enumerate(rows, 1)
            ]
            connection.execute(insert(workflow_runs), records)
        if launches:
            for record in records:
                self._runs.launch(record["id"], record["team_id"], 0)
        return self.get(actor, batch_id)

    def get(self, actor: Actor, batch_id: str) -> WorkflowBatch:
        """Get a batch as it stands; raises NotFound."""
        batches = self._read(actor, R.batch_id == batch_id)
        if not batches:
            raise NotFound("There is no such batch.", "It does not exist, or it is somebody else's.")
        return batches[0]

    def list(self, actor: Actor, slug: str) -> Sequence[WorkflowBatch]:
        """List the last batches of a workflow that the actor may see, the newest first."""
        actor.require(Permission.TEST_CONFIGS)
        with self._store.read() as connection:
            workflow = load_workflow(connection, slug)
        require_may_run(actor, workflow)
        return self._read(actor, R.workflow_id == workflow.id)[:_MOST_LISTED]

    def runs(self, actor: Actor, batch_id: str) -> Sequence[Run]:
        """List a batch's runs by row."""
        self.get(actor, batch_id)
        return self._runs.list_batch(actor, batch_id)

    def cancel(self, actor: Actor, batch_id: str) -> WorkflowBatch:
        """Cancel the runs of a batch that are not over."""
        for run in self.runs(actor, batch_id):
            if not run.state.is_over:
                self._runs.cancel(actor, run.id)
        return self.get(actor, batch_id)

    def export_csv(self, actor: Actor, batch_id: str) -> str:
        """Write a line for each row: inputs, state, output, reason, cost, tokens, the run's id.

        An output with members is a column for each; words of others are left out. Text that a spreadsheet would run as
        a formula gets a leading apostrophe.
        """
        runs = self.runs(actor, batch_id)
        with self._store.write() as connection:
            audit.record(connection, actor, "workflow.export", runs[0].slug, batch=batch_id, rows=len(runs))
        records = [_describe_row(number, run) for number, run in enumerate(runs, 1)]
        columns = list(dict.fromkeys(name for record in records for name in record))
        columns.sort(key=_place)  # stable: a column that later rows bring stands by its kind
        buffer = io.StringIO(newline="")
        writer = csv.writer(buffer)
        writer.writerow([neutralise(name) for name in columns])
        for record in records:
            writer.writerow([_write_cell(record.get(name)) for name in columns])
        return buffer.getvalue()

    def _read(self, actor: Actor, condition: Any) -> Sequence[WorkflowBatch]:
        actor.require(Permission.TEST_CONFIGS)
        columns = (
            R.batch_id,
            R.workflow_id,
            R.version,
            R.state,
            func.count(),
            func.sum(R.cost_nano_usd),
            func.count().filter(R.cost_nano_usd.is_(None) | R.has_partial_cost),
            func.min(R.created_at),
        )
        query = select(*columns).where(R.batch_id.is_not(None), condition, is_visible(actor))
        batches: dict[str, WorkflowBatch] = {}
        with self._store.read() as connection:
            rows = connection.execute(query.group_by(R.batch_id, R.workflow_id, R.version, R.state)).all()
        for batch_id, workflow_id, version, state, count, cost, unpriced, began in rows:
            earlier = batches.get(batch_id) or WorkflowBatch(batch_id, workflow_id, version, began)
            batches[batch_id] = WorkflowBatch(
                batch_id,
                workflow_id,
                version,
                min(earlier.created_at, began),
                {**earlier.states, RunState(state): count},
                earlier.cost_nano_usd + int(cost or 0),
                earlier.unpriced + unpriced,
            )
        return sorted(batches.values(), key=lambda batch: (batch.created_at, batch.id), reverse=True)


def _describe_row(number: int, run: Run) -> dict[str, Any]:
    if isinstance(run.output, dict):
        output = {f"output_{name}": value for name, value in run.output.items()}
    else:
        output = {"output": run.output}
    return {
        "row": number,
        **{f"input_{name}": value for name, value in run.inputs.items()},
        "state": str(run.state),
        **output,
        "reason": run.reason,
        "cost_usd": None if run.cost_nano_usd is None else format(Decimal(run.cost_nano_usd) / 1_000_000_000, "f"),
        "prompt_tokens": run.prompt_tokens,
        "completion_tokens": run.completion_tokens,
        "run_id": run.id,
    }


def _place(name: str) -> int:
    kinds = ("row", "input_", "state", "output", "reason", "cost_usd", "prompt_tokens", "completion_tokens", "run_id")
    return next(position for position, kind in enumerate(kinds) if name.startswith(kind))


def _write_cell(value: Any) -> str:
    return "" if value is None else neutralise(convert_to_text(value))
