"""Asks the cells of one experiment that have no outcome, a few at once, until they have, the cap is near or it is told
to stop. Every step stands in SQL before the next: a runner that dies is followed by another that goes on from there.

A cell is first claimed with its call's id. What a call cost is added to its cell also when it was stopped or orphaned.
Under a cap a call starts only if all that run and this one at their dearest still fit; each sends a ceiling.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select, update

from lib.access.permissions import Actor
from lib.calls.calls import Calls
from lib.calls.live import CallView
from lib.calls.request import CallRequest
from lib.clock import new_id, short_id, utc_now
from lib.db.engine import Store
from lib.db.tables import experiment_cells, experiment_rows, experiments, usage_logs
from lib.errors import Conflict, LLMManagerError, NotFound
from lib.experiments.asking import Asking, judge_of
from lib.experiments.experiment import CellState, Experiment, State
from lib.experiments.plan import Inputs
from lib.experiments.scoring import Scored, read_verdict, score
from lib.prompts.prompts import Prompts

log = logging.getLogger(__name__)
_E, _C = experiments.c, experiment_cells.c
_LOOK_S, _SIGN_OF_LIFE_S, _FULL_S = 0.25, 3.0, 0.5


@dataclass
class _Work:
    """A cell: every call ever made for it, and the most it costs to ask it (0 without a cap)."""

    row: int
    candidate: int
    inputs: Inputs
    call_id: str | None
    calls: list[str]
    bound_nano: int = 0


@dataclass(frozen=True)
class _Outcome:
    """`spent_nano` counts a call's bound where its cost is unknown; `halt` says why nothing else may be asked."""

    spent_nano: int
    halt: str = ""


class Runner:
    """One experiment at work in this process."""

    def __init__(self, store: Store, calls: Calls, prompts: Prompts, actor: Actor, experiment: Experiment) -> None:
        self.id = new_id()
        self._store, self._calls, self._actor, self._experiment = store, calls, actor, experiment
        capped = experiment.cap_nano_usd is not None
        self._asking = Asking(actor, calls, prompts, experiment.id, is_bounded=capped)
        self._judge = judge_of(experiment.scorers)
        self._stopping = threading.Event()
        self._spent = 0
        self._looked = 0.0
        self.thread = threading.Thread(target=self._run, name=f"experiment {short_id(experiment.id)}", daemon=True)

    def stop(self) -> None:
        """Stop the calls in flight and end; their cells wait to be asked again."""
        self._stopping.set()

    def _run(self) -> None:
        state, reason = State.STOPPED, "It failed unexpectedly; the log of the server says why."
        try:
            with ThreadPoolExecutor(self._experiment.parallel, thread_name_prefix="experiment") as pool:
                state, reason = self._work_off(pool)
        except LLMManagerError as error:
            reason = str(error)
        finally:
            self._stopping.set()
            mine = update(experiments).where(_E.id == self._experiment.id, _E.owner == self.id)
            with self._store.write() as connection:
                connection.execute(mine.values(state=state, reason=reason[:1000], owner=None, seen_at=None))

    def _work_off(self, pool: ThreadPoolExecutor) -> tuple[State, str]:
        waiting, running, halt = deque(self._left()), dict[Future[_Outcome], _Work](), ""
        for work in waiting:  # what an earlier runner spent and had no time to note
            if work.calls:
                self._note(work)
        self._spent = self._spent_so_far()
        while True:
            fits = True
            while waiting and not halt and not self._stopping.is_set() and len(running) < self._experiment.parallel:
                bound = self._bound(waiting[0])
                if not (fits := self._fits(bound, running.values())):
                    break
                work = waiting.popleft()
                work.bound_nano = bound
                running[pool.submit(self._cell, work)] = work
            if not running:
                break
            for ended in wait(running, _LOOK_S, FIRST_COMPLETED).done:
                del running[ended]
                outcome = ended.result()
                self._spent += outcome.spent_nano
                halt = halt or outcome.halt
            self._look()
        if halt or self._stopping.is_set():
            return State.STOPPED, halt
        if not fits:
            return State.CAPPED, "The next call might pass the cap."
        return State.DONE, ""

    def _left(self) -> list[_Work]:
        """Cells without an outcome, row by row, so that candidates meet the same rows however far it gets."""
        here = experiment_rows.c.experiment_id == _C.experiment_id, experiment_rows.c.row == _C.row
        query = select(_C.row, _C.candidate, experiment_rows.c.inputs, _C.call_id, _C.calls).where(*here)
        query = query.where(_C.experiment_id == self._experiment.id, _C.state.in_([CellState.WAITING, CellState.ASKED]))
        with self._store.read() as connection:
            rows = connection.execute(query.order_by(_C.row, _C.candidate)).all()
        return [_Work(*row) for row in rows]

    def _spent_so_far(self) -> int:
        with self._store.read() as connection:
            query = select(func.coalesce(func.sum(_C.cost_nano_usd), 0)).where(_C.experiment_id == self._experiment.id)
            return int(connection.scalar(query) or 0)

    def _bound(self, work: _Work) -> int:
        if self._experiment.cap_nano_usd is None:
            return 0
        candidate = self._experiment.candidates[work.candidate]
        try:
            _, high, unpriced = self._asking.bounds(candidate, work.inputs, self._judge)
        except LLMManagerError:  # it can't be asked: it costs nothing, and says why when it is tried
            return 0
        if high is None:
            why = f"{', '.join(unpriced)} has no known price."
            raise Conflict("The cap can't be kept.", why, "Set a price on the Prices page.")
        return high

    def _fits(self, bound: int, running: Iterable[_Work]) -> bool:
        cap = self._experiment.cap_nano_usd
        return cap is None or self._spent + sum(one.bound_nano for one in running) + bound <= cap

    def _look(self) -> None:
        """Every few seconds: a sign of life, and whether somebody wants it stopped or has taken over."""
        if time.monotonic() - self._looked < _SIGN_OF_LIFE_S:
            return
        self._looked = time.monotonic()
        mine = (_E.id == self._experiment.id, _E.owner == self.id)
        with self._store.write() as connection:
            connection.execute(update(experiments).where(*mine).values(seen_at=utc_now()))
            asked = connection.scalar(select(_E.stop_asked).where(*mine))
        if asked is None or asked:
            self._stopping.set()

    def _cell(self, work: _Work) -> _Outcome:
        """Ask, score, note; in a thread of the pool."""
        if self._stopping.is_set():
            return _Outcome(0)
        before = len(work.calls)
        try:
            halt = self._asked_and_scored(work)
        except LLMManagerError as error:
            self._note(work, state=CellState.FAILED, error=str(error)[:1000])
            halt = ""
        except Exception as bug:  # the boundary of a cell: what fails unexpectedly must not hold up the others
            log.exception("A cell of an experiment failed.")
            self._note(work, state=CellState.FAILED, error=f"An unexpected error: {type(bug).__name__}.")
            halt = ""
        self._calls.flush()
        costs = [self._cost([call_id]) for call_id in work.calls[before:]]
        return _Outcome(sum(work.bound_nano if cost is None else cost for cost in costs), halt)

    def _asked_and_scored(self, work: _Work) -> str:
        """Why nothing else may be asked, or nothing."""
        request = self._asking.request(self._experiment.candidates[work.candidate], work.inputs)
        view = self._asked_before(work) or self._ask(work, request)
        if view is None or view.status in ("cancelled", "refused"):
            self._note(work, state=CellState.WAITING, call_id=None)
            return _refusal(view)
        if view.status == "ok" or (view.status == "truncated" and view.text):
            return self._scored(work, request, view)
        self._note(work, state=CellState.FAILED, error=view.error_message or view.status)
        return ""

    def _scored(self, work: _Work, request: CallRequest, view: CallView) -> str:
        rules = [one for one in self._experiment.scorers if one is not self._judge]
        found = {one["kind"]: score(one, view.text, work.inputs) for one in rules}
        verdict: CallView | None = None
        if self._judge is not None:
            asked = self._asking.judge_request(self._judge, request, view.text, work.inputs)
            verdict = self._ask(work, asked, is_judge=True)
            if verdict is None or verdict.status in ("cancelled", "refused"):
                self._note(work)  # the answer is kept; the cell is judged when the experiment goes on
                return _refusal(verdict)
            failed = f"The judge failed: {verdict.error_message or verdict.status}"
            found["judge"] = read_verdict(verdict.text, view.text) if verdict.status == "ok" else Scored(None, failed)
        self._note(
            work,
            state=CellState.DONE,
            call_id=view.call_id,
            judge_call_id=verdict and verdict.call_id,
            scores={kind: one.value for kind, one in found.items()},
            notes={kind: one.note for kind, one in found.items() if one.note},
        )
        return ""

    def _asked_before(self, work: _Work) -> CallView | None:
        """The answer that an earlier runner asked for, where it came and its words were kept."""
        try:
            view = None if work.call_id is None else self._calls.view(self._actor, work.call_id)
        except NotFound:
            return None
        return view if view is not None and view.status == "ok" and view.text else None

    def _ask(self, work: _Work, request: CallRequest, *, is_judge: bool = False) -> CallView | None:
        """The call at its end; None when it was to stop before one could start."""
        while not self._stopping.is_set():
            try:
                call_id = self._calls.start(request)
                break
            except Conflict:  # the person has as many calls running as they may
                time.sleep(_FULL_S)
        else:
            return None
        work.calls.append(call_id)
        self._note(work, **{} if is_judge else {"state": CellState.ASKED, "call_id": call_id})
        while (view := self._calls.wait(self._actor, call_id, _LOOK_S)).running:
            if self._stopping.is_set():
                self._calls.stop(self._actor, call_id)
        return view

    def _cost(self, calls: Sequence[str]) -> int | None:
        """What all attempts of calls cost together; None where one is unknown."""
        query = select(usage_logs.c.call_id, usage_logs.c.cost_nano_usd).where(usage_logs.c.call_id.in_(calls))
        with self._store.read() as connection:
            rows = connection.execute(query).all()
        costs = [cost for _, cost in rows]
        return None if None in costs or {call_id for call_id, _ in rows} != set(calls) else sum(costs)

    def _note(self, work: _Work, **values: Any) -> None:
        here = (_C.experiment_id == self._experiment.id, _C.row == work.row, _C.candidate == work.candidate)
        if values.get("state") != CellState.ASKED:
            self._calls.flush()
        values |= {"calls": work.calls, "cost_nano_usd": self._cost(work.calls)}
        with self._store.write() as connection:
            connection.execute(update(experiment_cells).where(*here).values(**values))


def _refusal(view: CallView | None) -> str:
    """A budget's or a limit's no, which holds for whatever would be asked next."""
    return (view.error_message or "A call was refused.") if view is not None and view.status == "refused" else ""
