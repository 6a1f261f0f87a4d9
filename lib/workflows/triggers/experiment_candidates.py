"""Workflows as candidates of experiments: a row's columns fill the form, the run's output is the answer.

Columns that are no fields are left out, since a table serves all candidates; a column `prompt` fills the first field of
text. A run that would wait for a person, or that its cap pauses, ends as a failure of its cell.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select

from lib.access.permissions import Actor
from lib.db.engine import Store
from lib.db.tables import usage_logs
from lib.experiments.plan import PROMPT
from lib.experiments.workflow_candidates import WorkflowAnswer
from lib.limited.expressions import convert_to_text
from lib.workflows.definition import Field
from lib.workflows.form import find_main_field
from lib.workflows.run import RunState, Trigger
from lib.workflows.runs import WorkflowRuns
from lib.workflows.workflows import Workflows


class ExperimentRuns:
    """Runs workflows for experiments."""

    def __init__(self, store: Store, workflows: Workflows, runs: WorkflowRuns) -> None:
        self._store = store
        self._workflows = workflows
        self._runs = runs

    def choose_version(self, actor: Actor, slug: str, which: int | str | None) -> int:
        """Choose the version that runs: by number or label, else the one in production, else the newest."""
        return self._workflows.version(actor, slug, which).version

    def quote(
        self, actor: Actor, slug: str, version: int | None, inputs: Mapping[str, str]
    ) -> tuple[int | None, int | None, list[str]]:
        """Compute the least and the most of a row's run, in nano-dollars, and the models without a price."""
        quoted = self._runs.quote(actor, slug, self._read_inputs(actor, slug, version, inputs), version)
        if quoted.high_nano is None:
            return None, None, list(quoted.unpriced)
        return quoted.low_nano, quoted.high_nano, []

    def begin(
        self, actor: Actor, slug: str, version: int | None, inputs: Mapping[str, str], run_id: str, cap: int | None
    ) -> None:
        """Begin a run under an id, or leave the one that has it; InvalidInput for a row that does not fit."""
        values = self._read_inputs(actor, slug, version, inputs)
        options: dict[str, Any] = {"version": version, "cap_nano_usd": cap, "run_id": run_id}
        self._runs.start(actor, slug, values, trigger=Trigger.EXPERIMENT, **options)

    def look(self, actor: Actor, run_id: str) -> WorkflowAnswer:
        """Look at a run; one that waits for a person or is paused is cancelled, for nobody is there."""
        run = self._runs.get(actor, run_id)
        if run.state in (RunState.WAITING, RunState.PAUSED):
            reason = run.reason
            self._runs.cancel(actor, run_id)
            return WorkflowAnswer(is_over=True, text="", error=reason or "It waits.", calls=self._list_calls(run_id))
        step = f" at {run.failed_step}" if run.failed_step else ""
        error = "" if run.state is RunState.DONE else f"The run is {run.state}{step}. {run.reason}".strip()
        return WorkflowAnswer(
            is_over=run.state.is_over,
            text=convert_to_text(run.output),
            error=error,
            calls=self._list_calls(run_id) if run.state.is_over else (),
        )

    def stop(self, actor: Actor, run_id: str) -> None:
        """Cancel a run."""
        self._runs.cancel(actor, run_id)

    def _list_calls(self, run_id: str) -> tuple[str, ...]:
        query = select(usage_logs.c.call_id).where(usage_logs.c.workflow_run_id == run_id).distinct()
        with self._store.read() as connection:
            return tuple(sorted(connection.scalars(query)))

    def _read_inputs(self, actor: Actor, slug: str, version: int | None, inputs: Mapping[str, str]) -> dict[str, str]:
        fields = self._workflows.version(actor, slug, version).definition.input_fields
        return fill_fields(fields, inputs)


def fill_fields(fields: Any, inputs: Mapping[str, str]) -> dict[str, str]:
    """Fill a form from a row: columns by the fields' names, a column `prompt` into the first field of text."""
    fields_by_name: dict[str, Field] = {field.name: field for field in fields}
    values = {name: value for name, value in inputs.items() if name in fields_by_name and value != ""}
    main = find_main_field(list(fields_by_name.values()))
    if main is not None and main.name not in inputs and inputs.get(PROMPT):
        values[main.name] = inputs[PROMPT]
    return values
