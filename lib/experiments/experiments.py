"""Experiments: a table of inputs put to several candidates, every cell a call in the ledger, scored and compared.

An experiment is its maker's; the owner stands in every statement. It runs in the process where it was started, in
threads of its own. When that process ends it can be gone on with, from any process, where it stopped: by hand, since
going on costs money.
"""

import threading
from collections.abc import Sequence
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, RowMapping, delete, func, insert, select, update

from lib.access import audit
from lib.access.permissions import Actor, Permission
from lib.calls.calls import Calls
from lib.clock import new_id, utc_now
from lib.configs.configurations import Configurations
from lib.db.engine import Store
from lib.db.tables import experiment_cells, experiment_rows, experiments
from lib.errors import Conflict, InvalidInput, NotFound
from lib.experiments import results
from lib.experiments.asking import Asking, judge_of
from lib.experiments.experiment import LOST_AFTER, CellState, CostQuote, Experiment, Line, Standing, State
from lib.experiments.plan import Candidate, Draft
from lib.experiments.runner import Runner
from lib.experiments.scoring import check_scorers
from lib.prompts.prompts import Prompts
from lib.prompts.template import PRODUCTION

_E, _R, _C = experiments.c, experiment_rows.c, experiment_cells.c
_MOST_TOLD = 5
Promotion = Literal["template", "configuration"]


class Experiments:
    """The service of one process."""

    def __init__(self, store: Store, calls: Calls, configurations: Configurations, prompts: Prompts) -> None:
        self._store, self._calls, self._configurations, self._prompts = store, calls, configurations, prompts
        self._runners: dict[str, Runner] = {}
        self._lock = threading.Lock()

    def candidate(
        self, actor: Actor, configuration: str, prompt: str | None = None, which: int | str | None = None
    ) -> Candidate:
        """A candidate as it stands now: the version that a number or label (the newest without) names."""
        actor.require(Permission.TEST_CONFIGS)
        slug = self._configurations.get(actor, configuration).slug
        if prompt is None:
            return Candidate(slug)
        return Candidate(slug, prompt, self._prompts.version(actor, prompt, which).version)

    def quote(self, actor: Actor, draft: Draft) -> CostQuote:
        """What all calls would cost, at least and at most; InvalidInput lists the rows that can't be asked."""
        actor.require(Permission.TEST_CONFIGS)
        scorers = check_scorers(draft.scorers, draft.checked())
        asking = Asking(actor, self._calls, self._prompts, "", is_bounded=draft.cap_nano_usd is not None)
        judge = judge_of(scorers)
        low = high = 0
        unpriced: set[str] = set()
        problems: list[str] = []
        for candidate in draft.candidates:
            for number, inputs in enumerate(draft.rows, 1):
                try:
                    at_least, at_most, unknown = asking.bounds(candidate, inputs, judge)
                except InvalidInput as error:
                    problems.append(f"Row {number}, {candidate.name}: {error.why or error.title}")
                    continue
                low, high = low + (at_least or 0), high + (at_most or 0)
                unpriced.update(unknown)
        if problems:
            more = f" And {len(problems) - _MOST_TOLD} more." if len(problems) > _MOST_TOLD else ""
            why = " ".join(problems[:_MOST_TOLD]) + more
            raise InvalidInput("Some rows can't be asked.", why, "Correct the table or the template.", field="rows")
        if unpriced and draft.cap_nano_usd is not None:
            why = f"{', '.join(sorted(unpriced))} has no known price."
            raise InvalidInput("A cap can't be kept.", why, "Set a price, or leave the cap out.", field="cap")
        calls = len(draft.rows) * len(draft.candidates) * (2 if judge else 1)
        return CostQuote(calls, None if unpriced else low, None if unpriced else high, tuple(sorted(unpriced)))

    def create(self, actor: Actor, draft: Draft) -> str:
        """Keep a checked experiment, ready to start; its id."""
        self.quote(actor, draft)
        columns = draft.checked()
        row = {
            "id": new_id(),
            "user_id": actor.user_id,
            "name": draft.name.strip()[:120] or "Experiment",
            "state": State.READY,
            "candidates": [vars(candidate) for candidate in draft.candidates],
            "scorers": check_scorers(draft.scorers, columns),
            "columns": columns,
            "parallel": draft.parallel,
            "cap_nano_usd": draft.cap_nano_usd,
            "created_at": utc_now(),
        }
        cell: dict[str, Any] = {"experiment_id": row["id"], "state": CellState.WAITING, "calls": [], "cost_nano_usd": 0}
        cell |= {"scores": {}, "notes": {}}
        inputs = [{"experiment_id": row["id"], "row": n, "inputs": dict(one)} for n, one in enumerate(draft.rows)]
        cells = [
            cell | {"row": n, "candidate": c} for n in range(len(draft.rows)) for c in range(len(draft.candidates))
        ]
        with self._store.write() as connection:
            connection.execute(insert(experiments), row)
            connection.execute(insert(experiment_rows), inputs)
            connection.execute(insert(experiment_cells), cells)
        return str(row["id"])

    def start(self, actor: Actor, experiment_id: str, *, failed_again: bool = False) -> None:
        """Ask what has no outcome yet, in the background: at first, and again after a stop or a restart.

        With `failed_again` cells that failed are asked once more. Conflict while it is at work, here or elsewhere.
        """
        actor.require(Permission.TEST_CONFIGS)
        with self._lock, self._store.write() as connection:
            experiment = _experiment(connection, _find(connection, actor, experiment_id, for_update=True))
            if experiment.at_work:
                since = f"Its last sign of life is under {LOST_AFTER.seconds} seconds old."
                raise Conflict("The experiment is at work.", since, "Stop it first, or wait a moment.")
            if failed_again:
                failed = (_C.experiment_id == experiment_id, _C.state == CellState.FAILED)
                again = {"state": CellState.WAITING, "call_id": None, "error": None}
                connection.execute(update(experiment_cells).where(*failed).values(**again))
            runner = Runner(self._store, self._calls, self._prompts, actor, experiment)
            at_work = {"state": State.RUNNING, "reason": "", "owner": runner.id, "seen_at": utc_now()}
            connection.execute(update(experiments).where(_E.id == experiment_id).values(**at_work, stop_asked=False))
            alive = {one: other for one, other in self._runners.items() if other.thread.is_alive()}
            self._runners = alive | {experiment_id: runner}
        runner.thread.start()

    def stop(self, actor: Actor, experiment_id: str) -> None:
        """End it soon, wherever it runs; what has an answer keeps it."""
        actor.require(Permission.TEST_CONFIGS)
        with self._store.write() as connection:
            experiment = _experiment(connection, _find(connection, actor, experiment_id))
            asked: dict[str, Any] = {"stop_asked": True}
            if experiment.is_lost:
                asked |= {"state": State.STOPPED, "owner": None}
            connection.execute(update(experiments).where(_E.id == experiment_id).values(**asked))
        if (runner := self._runners.get(experiment_id)) is not None:
            runner.stop()

    def wait(self, actor: Actor, experiment_id: str, timeout_s: float | None = None) -> Experiment:
        """Wait for its runner here to end; the experiment then, or after the time."""
        found = self.get(actor, experiment_id)
        if (runner := self._runners.get(experiment_id)) is None:
            return found
        runner.thread.join(timeout_s)
        return self.get(actor, experiment_id)

    def list(self, actor: Actor) -> Sequence[Experiment]:
        """The actor's own, newest first."""
        actor.require(Permission.TEST_CONFIGS)
        with self._store.read() as connection:
            query = select(experiments).where(_mine(actor)).order_by(_E.created_at.desc(), _E.id.desc()).limit(200)
            return [_experiment(connection, row) for row in connection.execute(query).mappings().all()]

    def get(self, actor: Actor, experiment_id: str) -> Experiment:
        """One of the actor's own, as it stands."""
        actor.require(Permission.TEST_CONFIGS)
        with self._store.read() as connection:
            return _experiment(connection, _find(connection, actor, experiment_id))

    def lines(self, actor: Actor, experiment_id: str, first: int = 0, count: int | None = None) -> Sequence[Line]:
        """Rows with every candidate's answer side by side, from a row on."""
        actor.require(Permission.TEST_CONFIGS)
        with self._store.read() as connection:
            _find(connection, actor, experiment_id)
            return results.lines(connection, experiment_id, first, count)

    def standings(self, actor: Actor, experiment_id: str) -> Sequence[Standing]:
        """How each candidate did, in the order of the candidates."""
        actor.require(Permission.TEST_CONFIGS)
        with self._store.read() as connection:
            experiment = _experiment(connection, _find(connection, actor, experiment_id))
            return results.standings(experiment, results.cells(connection, experiment_id))

    def export(self, actor: Actor, experiment_id: str, form: Literal["csv", "json"]) -> bytes:
        """Every cell with its inputs, answer, scores and cost."""
        experiment = self.get(actor, experiment_id)
        lines = self.lines(actor, experiment_id)
        with self._store.write() as connection:
            audit.record(connection, actor, "experiment.export", form, experiment=experiment_id, rows=len(lines))
        return results.as_csv(experiment, lines) if form == "csv" else results.as_json(experiment, lines)

    def promote(self, actor: Actor, experiment_id: str, candidate: int, what: Promotion) -> Candidate:
        """Give a candidate's version its template's label `production`, or make its configuration its app's default."""
        experiment = self.get(actor, experiment_id)
        if not 0 <= candidate < len(experiment.candidates):
            raise NotFound("There is no such candidate.", f"There are {len(experiment.candidates)}.")
        chosen = experiment.candidates[candidate]
        if what == "configuration":
            self._configurations.set_default(actor, chosen.configuration)
        elif chosen.prompt is None:
            raise InvalidInput("The candidate has no template.", "", "Promote its configuration.")
        else:
            self._prompts.move_label(actor, chosen.prompt, PRODUCTION, chosen.version)
        with self._store.write() as connection:
            detail = {"experiment": experiment_id, "candidate": chosen.name}
            audit.record(connection, actor, "experiment.promote", what, **detail)
        return chosen

    def delete(self, actor: Actor, experiment_id: str) -> None:
        """Forget one of the actor's own that is not at work; its calls stay in the ledger."""
        actor.require(Permission.TEST_CONFIGS)
        with self._store.write() as connection:
            if _experiment(connection, _find(connection, actor, experiment_id, for_update=True)).at_work:
                raise Conflict("The experiment is at work.", "", "Stop it first.")
            connection.execute(delete(experiment_cells).where(_C.experiment_id == experiment_id))
            connection.execute(delete(experiment_rows).where(_R.experiment_id == experiment_id))
            connection.execute(delete(experiments).where(_E.id == experiment_id))

    def close(self, grace_s: float = 5.0) -> None:
        """Stop what runs here; it can be gone on with."""
        runners = [runner for runner in self._runners.values() if runner.thread.is_alive()]
        for runner in runners:
            runner.stop()
        for runner in runners:
            runner.thread.join(grace_s)


def _mine(actor: Actor) -> ColumnElement[bool]:
    return _E.user_id == actor.user_id if actor.user_id is not None else _E.user_id.is_(None)


def _find(connection: Connection, actor: Actor, experiment_id: str, for_update: bool = False) -> RowMapping:
    query = select(experiments).where(_E.id == experiment_id, _mine(actor))
    row = connection.execute(query.with_for_update() if for_update else query).mappings().first()
    if row is None:
        raise NotFound("There is no such experiment.", "It does not exist, or it is somebody else's.")
    return row


def _experiment(connection: Connection, row: RowMapping) -> Experiment:
    query = select(_C.state, func.count(), func.sum(_C.cost_nano_usd), func.count(_C.cost_nano_usd))
    counts = connection.execute(query.where(_C.experiment_id == row["id"]).group_by(_C.state)).all()
    is_known = all(count == known for state, count, _, known in counts if state != CellState.ASKED)
    names = ("id", "name", "reason", "parallel", "cap_nano_usd", "seen_at", "created_at")
    return Experiment(
        **{name: row[name] for name in names},
        state=State(row["state"]),
        candidates=tuple(Candidate(**one) for one in row["candidates"]),
        scorers=tuple(row["scorers"]),
        columns=tuple(row["columns"]),
        cells={CellState(state): count for state, count, _, _ in counts},
        spent_nano_usd=sum(int(cost or 0) for _, _, cost, _ in counts) if is_known else None,
    )
