"""Experiments: a table of inputs put to several candidates, every cell a call in the ledger, scored and compared.

An experiment is its maker's; the owner stands in every statement. At work it is a run of `lib.work`: any process that
runs work takes it, and when that one dies another goes on where it stopped, by itself. Each cell is its own step, noted
in SQL with its call, so no answer is asked for twice.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import ColumnElement, Connection, RowMapping, delete, func, insert, select, update

from lib.access import audit
from lib.access.membership import find_person
from lib.access.permissions import OPERATOR, Actor, Permission
from lib.access.team_scope import filter_owned, require_team
from lib.calls.calls import Calls
from lib.clock import make_id, utc_now
from lib.configs.configurations import Configurations
from lib.db.engine import Store
from lib.db.tables import experiment_cells, experiment_rows, experiments
from lib.errors import Conflict, InvalidInput, NotFound
from lib.experiments import results
from lib.experiments.cell_requests import CellRequests, find_judge
from lib.experiments.experiment import (
    CandidateStanding,
    CellState,
    CostQuote,
    Experiment,
    ExperimentRow,
    ExperimentState,
    RowChoice,
)
from lib.experiments.plan import Candidate, ExperimentDraft
from lib.experiments.runner import ExperimentRunner
from lib.experiments.scoring import check_scorers
from lib.experiments.workflow_candidates import WorkflowCandidates, get_slug
from lib.prompts.prompts import Prompts
from lib.prompts.template import PRODUCTION
from lib.tools.turns import Turns
from lib.work.work import Work

if TYPE_CHECKING:
    from lib.work.run import WorkRun

_E = experiments.c
_R = experiment_rows.c
_C = experiment_cells.c
_MOST_LISTED = 5
_COPIED = " (again)"
_LOOK_S = 0.05
KIND = "experiment"  # of its runs
Promotion = Literal["template", "configuration"]


class Experiments:
    """Makes, runs, compares and exports experiments. `launch_work` makes this process run work, where it does not."""

    def __init__(
        self,
        store: Store,
        calls: Calls,
        configurations: Configurations,
        prompts: Prompts,
        work: Work,
        launch_work: Callable[[], None],
        turns: Turns,
        workflows: Callable[[], WorkflowCandidates],
    ) -> None:
        self._store = store
        self._calls = calls
        self._configurations = configurations
        self._prompts = prompts
        self._work = work
        self._launch_work = launch_work
        self._turns = turns
        self._find_workflows = workflows
        self._actors: dict[str, Actor] = {}  # who started a run here
        work.registry.register(KIND, self._execute)

    def candidate(
        self, actor: Actor, configuration: str, prompt: str | None = None, which: int | str | None = None
    ) -> Candidate:
        """Make a candidate of a configuration and the version that a number or label (the newest without) names.

        `workflow/<name>` is a workflow, which takes no template.
        """
        actor.require(Permission.TEST_CONFIGS)
        if (workflow := get_slug(configuration)) is not None:
            if prompt is not None:
                raise InvalidInput("A workflow has prompts of its own.", "", "Leave the template out.", field="prompt")
            return Candidate(configuration, None, self._find_workflows().choose_version(actor, workflow, which))
        slug = self._configurations.get(actor, configuration).slug
        if prompt is None:
            return Candidate(slug)
        return Candidate(slug, prompt, self._prompts.version(actor, prompt, which).version)

    def quote(self, actor: Actor, draft: ExperimentDraft) -> CostQuote:
        """Compute what all calls would cost, at least and at most; raises InvalidInput with the rows that can't be
        asked.
        """
        actor.require(Permission.TEST_CONFIGS)
        scorers = check_scorers(draft.scorers, draft.check_columns())
        asking = self._make_requests(actor, "", is_bounded=draft.cap_nano_usd is not None)
        judge = find_judge(scorers)
        low = high = 0
        unpriced: set[str] = set()
        problems: list[str] = []
        for candidate in draft.candidates:
            for number, inputs in enumerate(draft.rows, 1):
                try:
                    at_least, at_most, unknown = asking.compute_bounds(candidate, inputs, judge)
                except InvalidInput as error:
                    problems.append(f"Row {number}, {candidate.name}: {error.why or error.title}")
                    continue
                low += at_least or 0
                high += at_most or 0
                unpriced.update(unknown)
        if problems:
            remainder = f" And {len(problems) - _MOST_LISTED} more." if len(problems) > _MOST_LISTED else ""
            why = " ".join(problems[:_MOST_LISTED]) + remainder
            raise InvalidInput("Some rows can't be asked.", why, "Correct the table or the template.", field="rows")
        if unpriced and draft.cap_nano_usd is not None:
            why = f"{', '.join(sorted(unpriced))} has no known price."
            raise InvalidInput("A cap can't be kept.", why, "Set a price, or leave the cap out.", field="cap")
        calls = len(draft.rows) * len(draft.candidates) * (2 if judge else 1)
        return CostQuote(calls, None if unpriced else low, None if unpriced else high, tuple(sorted(unpriced)))

    def _make_requests(self, actor: Actor, experiment_id: str, *, is_bounded: bool) -> CellRequests:
        return CellRequests(
            actor,
            self._calls,
            self._prompts,
            experiment_id,
            is_bounded=is_bounded,
            configurations=self._configurations,
            workflows=self._find_workflows,
        )

    def create(self, actor: Actor, draft: ExperimentDraft) -> str:
        """Check an experiment and store it, ready to start; returns its id."""
        self.quote(actor, draft)
        columns = draft.check_columns()
        row = {
            "id": make_id(),
            "user_id": actor.user_id,
            "team_id": require_team(actor),
            "name": draft.name.strip()[:120] or "Experiment",
            "state": ExperimentState.READY,
            "candidates": [vars(candidate) for candidate in draft.candidates],
            "scorers": check_scorers(draft.scorers, columns),
            "columns": columns,
            "parallel": draft.parallel,
            "cap_nano_usd": draft.cap_nano_usd,
            "created_at": utc_now(),
        }
        cell: dict[str, Any] = {"experiment_id": row["id"], "state": CellState.WAITING, "calls": [], "cost_nano_usd": 0}
        cell |= {"scores": {}, "notes": {}}
        inputs = [
            {"experiment_id": row["id"], "row": n, "inputs": dict(row_inputs)}
            for n, row_inputs in enumerate(draft.rows)
        ]
        cells = [
            cell | {"row": n, "candidate": c} for n in range(len(draft.rows)) for c in range(len(draft.candidates))
        ]
        with self._store.write() as connection:
            connection.execute(insert(experiments), row)
            connection.execute(insert(experiment_rows), inputs)
            connection.execute(insert(experiment_cells), cells)
        return str(row["id"])

    def start(self, actor: Actor, experiment_id: str, *, failed_again: bool = False) -> None:
        """Ask what has no outcome yet, in the background: at first, and again after a stop.

        With `failed_again` cells that failed are asked once more. Raises Conflict while it is at work.
        """
        actor.require(Permission.TEST_CONFIGS)
        run_id = make_id()
        with self._store.write() as connection:
            row = _find(connection, actor, experiment_id, for_update=True)
            if row["state"] == ExperimentState.RUNNING and self._is_run_alive(row["run_id"]):
                raise Conflict("The experiment is at work.", "", "Stop it first.")
            if failed_again:
                failed = (_C.experiment_id == experiment_id, _C.state == CellState.FAILED)
                again = {"state": CellState.WAITING, "call_id": None, "error": None}
                connection.execute(update(experiment_cells).where(*failed).values(**again))
            at_work = {"state": ExperimentState.RUNNING, "reason": "", "owner": None, "run_id": run_id}
            connection.execute(update(experiments).where(_E.id == experiment_id).values(**at_work, stop_asked=False))
        self._actors[run_id] = actor
        self._work.enqueue(KIND, {"experiment_id": experiment_id}, run_id=run_id, team_id=row["team_id"])

    def _is_run_alive(self, run_id: str | None) -> bool:
        status = None if run_id is None else self._work.state(run_id)
        return status is not None and not status.is_over

    async def _execute(self, run: "WorkRun", payload: Any) -> None:
        """Work an experiment off: the function of its runs, called again from its top where a process died."""
        await run.step("work off", self._work_off, run.id, str(payload["experiment_id"]))

    async def _work_off(self, run_id: str, experiment_id: str) -> None:
        runner = await asyncio.to_thread(self._make_runner, run_id, experiment_id)
        if runner is None:
            return
        working = asyncio.ensure_future(asyncio.to_thread(runner.run))
        try:
            await asyncio.shield(working)
        except asyncio.CancelledError:
            runner.leave()
            await working  # what it has begun is noted before the process ends
            raise
        finally:
            self._actors.pop(run_id, None)

    def _make_runner(self, run_id: str, experiment_id: str) -> ExperimentRunner | None:
        """Make the runner of a run; None where the experiment is gone or nobody's any more."""
        with self._store.read() as connection:
            row = connection.execute(select(experiments).where(_E.id == experiment_id)).mappings().first()
            if row is None:
                return None
            actor = self._actors.get(run_id) or OPERATOR
            if run_id not in self._actors and row["user_id"] is not None:
                person = find_person(connection, row["user_id"], row["team_id"])
                if person is None:
                    self._end_orphan(experiment_id, run_id)
                    return None
                actor = person
            experiment = _build_experiment(connection, row)
        asker = actor.with_origin("job")
        requests = self._make_requests(asker, experiment.id, is_bounded=experiment.cap_nano_usd is not None)
        return ExperimentRunner(self._store, self._calls, self._turns, requests, asker, experiment, run_id)

    def _end_orphan(self, experiment_id: str, run_id: str) -> None:
        reason = "The person who began it has no account any more."
        with self._store.write() as connection:
            own_experiment = update(experiments).where(_E.id == experiment_id, _E.run_id == run_id)
            connection.execute(own_experiment.values(state=ExperimentState.STOPPED, reason=reason, owner=None))

    def stop(self, actor: Actor, experiment_id: str) -> None:
        """End an experiment soon, wherever it runs; answers that have come are kept."""
        actor.require(Permission.TEST_CONFIGS)
        with self._store.write() as connection:
            row = _find(connection, actor, experiment_id)
            changes: dict[str, Any] = {"stop_asked": True}
            if row["state"] == ExperimentState.RUNNING and row["owner"] is None:  # nobody has begun it
                changes |= {"state": ExperimentState.STOPPED, "run_id": None}
            connection.execute(update(experiments).where(_E.id == experiment_id).values(**changes))

    def wait(self, actor: Actor, experiment_id: str, timeout_s: float | None = None) -> Experiment:
        """Wait until the experiment is not at work any more, or for `timeout_s`; return it as it is then.

        Whoever waits runs work in this process, so that it ends where no server runs.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while (experiment := self.get(actor, experiment_id)).at_work:
            self._launch_work()
            if deadline is not None and time.monotonic() >= deadline:
                break
            time.sleep(_LOOK_S)
        return experiment

    def list(self, actor: Actor) -> Sequence[Experiment]:
        """List the actor's own experiments, newest first."""
        actor.require(Permission.TEST_CONFIGS)
        with self._store.read() as connection:
            query = select(experiments).where(_is_own(actor)).order_by(_E.created_at.desc(), _E.id.desc()).limit(200)
            return [_build_experiment(connection, row) for row in connection.execute(query).mappings().all()]

    def get(self, actor: Actor, experiment_id: str) -> Experiment:
        """Get one of the actor's own experiments as it stands; raises NotFound."""
        actor.require(Permission.TEST_CONFIGS)
        with self._store.read() as connection:
            return _build_experiment(connection, _find(connection, actor, experiment_id))

    def lines(
        self,
        actor: Actor,
        experiment_id: str,
        first: int = 0,
        count: int | None = None,
        *,
        numbers: Sequence[int] | None = None,
    ) -> Sequence[ExperimentRow]:
        """List rows with every candidate's answer side by side: from the row `first` on, or those of the `numbers`."""
        actor.require(Permission.TEST_CONFIGS)
        with self._store.read() as connection:
            _find(connection, actor, experiment_id)
            return results.read_rows(connection, experiment_id, first, count, numbers)

    def choose_rows(self, actor: Actor, experiment_id: str, choice: RowChoice) -> Sequence[int]:
        """Choose the numbers of the rows to look at, in order."""
        actor.require(Permission.TEST_CONFIGS)
        with self._store.read() as connection:
            experiment = _build_experiment(connection, _find(connection, actor, experiment_id))
            if choice is RowChoice.ALL:
                return list(range(experiment.total // len(experiment.candidates)))
            return results.choose_rows(experiment, results.read_cells(connection, experiment_id), choice)

    def copy(self, actor: Actor, experiment_id: str) -> str:
        """Make a new experiment of the same table, candidates, scores and cap, ready to start; returns its id."""
        experiment = self.get(actor, experiment_id)
        with self._store.read() as connection:
            query = select(_R.inputs).where(_R.experiment_id == experiment_id).order_by(_R.row)
            rows = [{name: inputs[name] for name in experiment.columns} for inputs in connection.scalars(query)]
        name = f"{experiment.name.removesuffix(_COPIED)[: 120 - len(_COPIED)]}{_COPIED}"
        draft = ExperimentDraft(
            name, experiment.candidates, rows, experiment.scorers, experiment.parallel, experiment.cap_nano_usd
        )
        return self.create(actor, draft)

    def standings(self, actor: Actor, experiment_id: str) -> Sequence[CandidateStanding]:
        """Compute how each candidate did, in the order of the candidates."""
        actor.require(Permission.TEST_CONFIGS)
        with self._store.read() as connection:
            experiment = _build_experiment(connection, _find(connection, actor, experiment_id))
            return results.compute_standings(experiment, results.read_cells(connection, experiment_id))

    def export(self, actor: Actor, experiment_id: str, form: Literal["csv", "json"]) -> bytes:
        """Write every cell with its inputs, answer, scores and cost as a file."""
        experiment = self.get(actor, experiment_id)
        lines = self.lines(actor, experiment_id)
        with self._store.write() as connection:
            audit.record(connection, actor, "experiment.export", form, experiment=experiment_id, rows=len(lines))
        return results.write_csv(experiment, lines) if form == "csv" else results.write_json(experiment, lines)

    def promote(self, actor: Actor, experiment_id: str, candidate: int, target: Promotion) -> Candidate:
        """Point a template's label `production` to a candidate's version, or make its configuration the default."""
        experiment = self.get(actor, experiment_id)
        if not 0 <= candidate < len(experiment.candidates):
            raise NotFound("There is no such candidate.", f"There are {len(experiment.candidates)}.")
        promoted = experiment.candidates[candidate]
        if promoted.workflow is not None:
            raise InvalidInput("A workflow is not promoted here.", "", "Label its version on the page Workflows.")
        if target == "configuration":
            self._configurations.set_default(actor, promoted.configuration)
        elif promoted.prompt is None:
            raise InvalidInput("The candidate has no template.", "", "Promote its configuration.")
        else:
            self._prompts.move_label(actor, promoted.prompt, PRODUCTION, promoted.version)
        with self._store.write() as connection:
            detail: dict[str, Any] = {"experiment": experiment_id, "candidate": promoted.name}
            audit.record(connection, actor, "experiment.promote", target, **detail)
        return promoted

    def delete(self, actor: Actor, experiment_id: str) -> None:
        """Delete one of the actor's own that is not at work; its calls stay in the ledger."""
        actor.require(Permission.TEST_CONFIGS)
        with self._store.write() as connection:
            if _build_experiment(connection, _find(connection, actor, experiment_id, for_update=True)).at_work:
                raise Conflict("The experiment is at work.", "", "Stop it first.")
            connection.execute(delete(experiment_cells).where(_C.experiment_id == experiment_id))
            connection.execute(delete(experiment_rows).where(_R.experiment_id == experiment_id))
            connection.execute(delete(experiments).where(_E.id == experiment_id))


def _is_own(actor: Actor) -> ColumnElement[bool]:
    return filter_owned(actor, _E.user_id, _E.team_id)


def _find(connection: Connection, actor: Actor, experiment_id: str, for_update: bool = False) -> RowMapping:
    query = select(experiments).where(_E.id == experiment_id, _is_own(actor))
    row = connection.execute(query.with_for_update() if for_update else query).mappings().first()
    if row is None:
        raise NotFound("There is no such experiment.", "It does not exist, or it is somebody else's.")
    return row


def _build_experiment(connection: Connection, row: RowMapping) -> Experiment:
    partly_priced = func.count().filter(_C.has_partial_cost)
    query = select(_C.state, func.count(), func.sum(_C.cost_nano_usd), func.count(_C.cost_nano_usd), partly_priced)
    counts = connection.execute(query.where(_C.experiment_id == row["id"]).group_by(_C.state)).all()
    is_known = all(count == priced for state, count, _, priced, _ in counts if state != CellState.ASKED)
    names = ("id", "name", "reason", "parallel", "cap_nano_usd", "created_at")
    return Experiment(
        **{name: row[name] for name in names},
        state=ExperimentState(row["state"]),
        candidates=tuple(Candidate(**record) for record in row["candidates"]),
        scorers=tuple(row["scorers"]),
        columns=tuple(row["columns"]),
        cells={CellState(state): count for state, count, _, _, _ in counts},
        spent_nano_usd=sum(int(cost or 0) for _, _, cost, _, _ in counts) if is_known else None,
        partly_priced_cells=sum(partly for *_, partly in counts),
    )
