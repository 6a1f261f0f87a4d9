"""Asks the cells of one experiment that have no outcome, a few at once, until they have, the cap is near or it is told
to stop. Every cell's step stands in SQL before the next: a runner that dies is followed by another that goes on there.

A cell is first claimed with its call's id. What a call cost is added to its cell also when it was stopped or orphaned.
Under a cap a call starts only if all that run and this one at their dearest still fit; each sends a ceiling.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import Any

from msgspec import structs
from sqlalchemy import func, select, update

from lib.access.permissions import Actor
from lib.calls.calls import Calls
from lib.calls.live_call import CallView
from lib.calls.request import CallRequest
from lib.clock import make_id
from lib.configs.configuration import Configuration
from lib.db.engine import Store
from lib.db.tables import experiment_cells, experiment_rows, experiments, open_calls, usage_logs
from lib.errors import Conflict, LLMManagerError, NotFound
from lib.experiments.cell_requests import CellRequests, find_judge
from lib.experiments.experiment import CellState, Experiment, ExperimentState
from lib.experiments.plan import Candidate, Inputs
from lib.experiments.scoring import Score, read_verdict, score
from lib.tools.turns import Turns

log = logging.getLogger(__name__)
_E = experiments.c
_C = experiment_cells.c
_LOOK_S = 0.25
_LOOK_FOR_STOP_S = 1.0
_FULL_S = 0.5


@dataclass
class _CellWork:
    """A cell: every call ever made for it, and the most it costs to ask it (0 without a cap)."""

    row: int
    candidate: int
    inputs: Inputs
    call_id: str | None
    calls: list[str]
    bound_nano: int = 0


@dataclass(frozen=True)
class _CellOutcome:
    """What a cell spent, and why nothing else may be asked (`halt`, empty where more may).

    `spent_nano` counts a call's bound where its cost is not wholly known.
    """

    spent_nano: int
    halt: str = ""


class ExperimentRunner:
    """One execution of an experiment's run. `id` is its own: of two, only the newest one's notes count."""

    def __init__(
        self,
        store: Store,
        calls: Calls,
        turns: Turns,
        requests: CellRequests,
        actor: Actor,
        experiment: Experiment,
        run_id: str,
    ) -> None:
        self.id = make_id()
        self._run_id = run_id
        self._store = store
        self._calls = calls
        self._actor = actor
        self._experiment = experiment
        self._turns = turns
        self._asking = requests
        self._judge = find_judge(experiment.scorers)
        self._stopping = threading.Event()
        self._is_left = False
        self._spent = 0
        self._looked = 0.0

    def leave(self) -> None:
        """End the calls in flight and this execution, not the experiment: another one goes on with it."""
        self._is_left = True
        self._stopping.set()

    def run(self) -> None:
        """Work the experiment off in this thread, unless it was stopped or begun anew meanwhile."""
        own_experiment = (_E.id == self._experiment.id, _E.run_id == self._run_id, _E.state == ExperimentState.RUNNING)
        with self._store.write() as connection:
            if connection.execute(update(experiments).where(*own_experiment).values(owner=self.id)).rowcount != 1:
                return
        state = ExperimentState.STOPPED
        reason = "It failed unexpectedly; the log of the server says why."
        try:
            with ThreadPoolExecutor(self._experiment.parallel, thread_name_prefix="experiment") as pool:
                state, reason = self._work_off(pool)
        except LLMManagerError as error:
            reason = str(error)
        finally:
            self._stopping.set()
            if not self._is_left:
                own_row = update(experiments).where(_E.id == self._experiment.id, _E.owner == self.id)
                with self._store.write() as connection:
                    connection.execute(own_row.values(state=state, reason=reason[:1000], owner=None))

    def _work_off(self, pool: ThreadPoolExecutor) -> tuple[ExperimentState, str]:
        waiting = deque(self._list_waiting())
        running = dict[Future[_CellOutcome], _CellWork]()
        halt = ""
        for work in waiting:  # what an earlier runner spent and had no time to note
            if work.calls:
                work.calls = self._find_begun(work.calls)
                self._note(work)
        self._spent = self._sum_spent()
        while True:
            fits = True
            while waiting and not halt and not self._stopping.is_set() and len(running) < self._experiment.parallel:
                bound = self._compute_bound(waiting[0])
                if not (fits := self._fits(bound, running.values())):
                    break
                work = waiting.popleft()
                work.bound_nano = bound
                running[pool.submit(self._process_cell, work)] = work
            if not running:
                break
            for ended in wait(running, _LOOK_S, FIRST_COMPLETED).done:
                del running[ended]
                outcome = ended.result()
                self._spent += outcome.spent_nano
                halt = halt or outcome.halt
            self._look()
        if halt or self._stopping.is_set():
            return ExperimentState.STOPPED, halt
        if not fits:
            return ExperimentState.CAPPED, "The next call might pass the cap."
        return ExperimentState.DONE, ""

    def _list_waiting(self) -> list[_CellWork]:
        """List cells without an outcome, row by row, so that candidates meet the same rows however far it gets."""
        is_joined = experiment_rows.c.experiment_id == _C.experiment_id, experiment_rows.c.row == _C.row
        query = select(_C.row, _C.candidate, experiment_rows.c.inputs, _C.call_id, _C.calls).where(*is_joined)
        query = query.where(_C.experiment_id == self._experiment.id, _C.state.in_([CellState.WAITING, CellState.ASKED]))
        with self._store.read() as connection:
            rows = connection.execute(query.order_by(_C.row, _C.candidate)).all()
        return [_CellWork(*row) for row in rows]

    def _find_begun(self, calls: Sequence[str]) -> list[str]:
        """Those of noted calls that were opened before their runner died, in their order."""
        begun = select(usage_logs.c.call_id).where(usage_logs.c.call_id.in_(calls))
        under_way = select(open_calls.c.call_id).where(open_calls.c.call_id.in_(calls))
        with self._store.read() as connection:
            known = {*connection.scalars(begun), *connection.scalars(under_way)}
        return [call_id for call_id in calls if call_id in known]

    def _sum_spent(self) -> int:
        with self._store.read() as connection:
            query = select(func.coalesce(func.sum(_C.cost_nano_usd), 0)).where(_C.experiment_id == self._experiment.id)
            return int(connection.scalar(query) or 0)

    def _compute_bound(self, work: _CellWork) -> int:
        if self._experiment.cap_nano_usd is None:
            return 0
        candidate = self._experiment.candidates[work.candidate]
        try:
            _, high, unpriced = self._asking.compute_bounds(candidate, work.inputs, self._judge)
        except LLMManagerError:  # it can't be asked: it costs nothing, and says why when it is tried
            return 0
        if high is None:
            why = f"{', '.join(unpriced)} has no known price."
            raise Conflict("The cap can't be kept.", why, "Set a price on the Prices page.")
        return high

    def _fits(self, bound: int, running: Iterable[_CellWork]) -> bool:
        cap = self._experiment.cap_nano_usd
        return cap is None or self._spent + sum(work.bound_nano for work in running) + bound <= cap

    def _look(self) -> None:
        """Every second see whether somebody asked to stop, or another execution has taken over."""
        if time.monotonic() - self._looked < _LOOK_FOR_STOP_S:
            return
        self._looked = time.monotonic()
        with self._store.read() as connection:
            is_own = (_E.id == self._experiment.id, _E.owner == self.id)
            stop_asked = connection.scalar(select(_E.stop_asked).where(*is_own))
        if stop_asked is None:
            self.leave()
        elif stop_asked:
            self._stopping.set()

    def _process_cell(self, work: _CellWork) -> _CellOutcome:
        """Ask, score and store one cell; runs in a thread of the pool."""
        if self._stopping.is_set():
            return _CellOutcome(0)
        calls_before = len(work.calls)
        try:
            halt = self._ask_and_score(work)
        except LLMManagerError as error:
            self._note(work, state=CellState.FAILED, error=str(error)[:1000])
            halt = ""
        except Exception as bug:  # the boundary of a cell: what fails unexpectedly must not hold up the others
            log.exception("A cell of an experiment failed.")
            self._note(work, state=CellState.FAILED, error=f"An unexpected error: {type(bug).__name__}.")
            halt = ""
        self._calls.flush()
        costs = [self._sum_cost([call_id]) for call_id in work.calls[calls_before:]]
        spent = sum(max(work.bound_nano, cost or 0) if cost is None or partly else cost for cost, partly in costs)
        return _CellOutcome(spent, halt)

    def _ask_and_score(self, work: _CellWork) -> str:
        """Ask and score a cell; return why nothing else may be asked, or an empty text."""
        candidate = self._experiment.candidates[work.candidate]
        if candidate.workflow is not None:
            return self._run_workflow(work, candidate)
        request = self._asking.build_request(candidate, work.inputs)
        with_tools = self._asking.find_tools(candidate)
        view = self._find_earlier_answer(work) or self._ask(work, request, with_tools)
        if view is None or view.status in ("cancelled", "refused"):
            self._note(work, state=CellState.WAITING, call_id=None)
            return _describe_refusal(view)
        if view.status == "ok" or (view.status == "truncated" and view.text):
            answer_id = view.call_id if with_tools is None else self._take_turn(work, view.call_id)
            return self._score_answer(work, request, view.text, answer_id)
        self._note(work, state=CellState.FAILED, error=view.error_message or view.status)
        return ""

    def _run_workflow(self, work: _CellWork, candidate: Candidate) -> str:
        """Run a workflow for a cell, or go on waiting for the run that an earlier runner began."""
        workflows = self._asking.workflows
        run_id = work.call_id or make_id()
        self._note(work, state=CellState.ASKED, call_id=run_id)
        cap = None if self._experiment.cap_nano_usd is None else work.bound_nano
        workflows.begin(self._actor, candidate.workflow or "", candidate.version, work.inputs, run_id, cap)
        while not (answer := workflows.look(self._actor, run_id)).is_over:
            if self._stopping.wait(_LOOK_S):
                if not self._is_left:
                    workflows.stop(self._actor, run_id)
                return ""  # found again by its id when the experiment goes on
        work.calls += [call_id for call_id in answer.calls if call_id not in work.calls]
        if answer.error:
            self._note(work, state=CellState.FAILED, error=answer.error[:1000])
            return ""
        return self._score_answer(work, self._asking.build_question(work.inputs), answer.text, run_id)

    def _score_answer(self, work: _CellWork, request: CallRequest, text: str, answer_id: str) -> str:
        """Score an answer and note the cell; `answer_id` is that of the call or the run that made it."""
        rules = [scorer for scorer in self._experiment.scorers if scorer is not self._judge]
        scores = {scorer["kind"]: score(scorer, text, work.inputs) for scorer in rules}
        verdict: CallView | None = None
        if self._judge is not None:
            parent_id = answer_id if answer_id in work.calls else ""
            judge_request = self._asking.build_judge_request(self._judge, request, text, work.inputs, parent_id)
            verdict = self._ask(work, judge_request, is_judge=True)
            if verdict is None or verdict.status in ("cancelled", "refused"):
                self._note(work)  # the answer is kept; the cell is judged when the experiment goes on
                return _describe_refusal(verdict)
            failed = f"The judge failed: {verdict.error_message or verdict.status}"
            scores["judge"] = read_verdict(verdict.text, text) if verdict.status == "ok" else Score(None, failed)
        self._note(
            work,
            state=CellState.DONE,
            call_id=answer_id,
            judge_call_id=verdict and verdict.call_id,
            scores={kind: scored.value for kind, scored in scores.items()},
            notes={kind: scored.note for kind, scored in scores.items() if scored.note},
        )
        return ""

    def _find_earlier_answer(self, work: _CellWork) -> CallView | None:
        """Find the answer that an earlier runner asked for, where it came and its words were kept."""
        try:
            view = None if work.call_id is None else self._turns.call_view(self._actor, work.call_id)
        except NotFound:
            return None
        return view if view is not None and view.status == "ok" and view.text else None

    def _ask(
        self, work: _CellWork, request: CallRequest, with_tools: Configuration | None = None, *, is_judge: bool = False
    ) -> CallView | None:
        """Start a call and return it at its end; None when the runner was to stop before one could start.

        `with_tools` is a configuration that has some: then it is a turn of several calls.
        """
        call_id = make_id()
        work.calls.append(call_id)  # noted before anything is sent: whoever goes on after a kill knows of the call
        self._note(work, **{} if is_judge else {"state": CellState.ASKED, "call_id": call_id})
        is_started = False
        try:
            is_started = self._start(structs.replace(request, call_id=call_id), with_tools)
        finally:
            if not is_started:
                work.calls.remove(call_id)
                self._note(work, **{} if is_judge else {"call_id": None})
        if not is_started:
            return None
        if with_tools is not None:
            return self._follow_turn(work, call_id)
        while (view := self._calls.wait(self._actor, call_id, _LOOK_S)).running:
            if self._stopping.is_set():
                self._calls.stop(self._actor, call_id)
        return view

    def _start(self, request: CallRequest, with_tools: Configuration | None) -> bool:
        """Start a call or a turn as soon as the person has room for one; False where the runner was to stop before."""
        while not self._stopping.is_set():
            try:
                if with_tools is None:
                    self._calls.start(request)
                else:
                    self._turns.ask(request, with_tools)
                return True
            except Conflict:  # the person has as many calls running as they may
                time.sleep(_FULL_S)
        return False

    def _follow_turn(self, work: _CellWork, turn_id: str) -> CallView:
        """Wait for a turn with tools; one that waits for a person ends, since nobody is asked beside a table."""
        reason = ""
        while (turn := self._turns.wait(self._actor, turn_id, _LOOK_S)) is not None and not reason:
            if not turn.is_running and not turn.is_waiting:
                break
            if turn.is_waiting or self._stopping.is_set():
                reason = turn.reason if turn.is_waiting else "It was stopped."
                self._turns.stop(self._actor, turn_id)
        self._take_turn(work, turn_id)
        view = self._turns.call_view(self._actor, turn_id)
        if reason and not self._stopping.is_set():
            return replace(view, status="error", error_message=f"A tool has to be allowed by a person. {reason}")
        return view

    def _take_turn(self, work: _CellWork, turn_id: str) -> str:
        """Count a turn's calls as the cell's own, and return the one that answered."""
        turn = self._turns.view(self._actor, turn_id)
        calls = [turn_id] if turn is None or not turn.steps else [step.call.call_id for step in turn.steps]
        work.calls += [call_id for call_id in calls if call_id not in work.calls]
        return calls[-1]

    def _sum_cost(self, calls: Sequence[str]) -> tuple[int | None, bool]:
        """Sum what all attempts of calls cost (None where one is unknown), and say whether that is only a part."""
        logs = usage_logs.c
        query = select(logs.call_id, logs.cost_nano_usd, logs.cost_status).where(logs.call_id.in_(calls))
        with self._store.read() as connection:
            rows = connection.execute(query).all()
        costs = [cost for _, cost, _ in rows]
        is_partial = any(status == "partial" for _, _, status in rows)
        is_known = None not in costs and {call_id for call_id, _, _ in rows} == set(calls)
        return sum(costs) if is_known else None, is_partial

    def _note(self, work: _CellWork, **values: Any) -> None:
        is_cell = (_C.experiment_id == self._experiment.id, _C.row == work.row, _C.candidate == work.candidate)
        if values.get("state") != CellState.ASKED:
            self._calls.flush()
        cost, is_partial = self._sum_cost(work.calls)
        values |= {"calls": work.calls, "cost_nano_usd": cost, "has_partial_cost": is_partial}
        with self._store.write() as connection:
            connection.execute(update(experiment_cells).where(*is_cell).values(**values))


def _describe_refusal(view: CallView | None) -> str:
    """Say why a budget or a limit refused a call, which holds for whatever would be asked next; else an empty text."""
    return (view.error_message or "A call was refused.") if view is not None and view.status == "refused" else ""
