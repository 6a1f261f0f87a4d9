"""The eight things that any process may ask of work: start, enqueue, resume, cancel, fork, signal, state, schedules.

None takes an actor: whoever offers runs to people checks who may do what, and keeps its own rows of them. The engine
is opened at the first question, for it takes a third of a second to import; `launch` makes this process run work.
"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.clock import make_id
from lib.db.engine import Store
from lib.errors import InvalidInput, NotFound
from lib.ledger.step_results import StepResults
from lib.work.registry import Registry, Schedule
from lib.work.signals import Signals
from lib.work.state import Queue, RunStatus, WorkState

if TYPE_CHECKING:
    from lib.calls.calls import Calls
    from lib.work.engine import Engine

LONGEST_ID = 120
_STATES = {
    "ENQUEUED": WorkState.QUEUED,
    "DELAYED": WorkState.QUEUED,
    "PENDING": WorkState.RUNNING,
    "SUCCESS": WorkState.DONE,
    "ERROR": WorkState.FAILED,
    "MAX_RECOVERY_ATTEMPTS_EXCEEDED": WorkState.FAILED,
    "CANCELLED": WorkState.CANCELLED,
}


class Work:
    """Runs, from any process. Thread-safe; everything here may wait for the database."""

    def __init__(self, store: Store, folder: Path, results: StepResults, registry: Registry | None = None) -> None:
        self._store = store
        self._folder = folder
        self._lock = threading.Lock()
        self._launching = threading.Lock()
        self._opened: Engine | None = None
        self.registry = registry or Registry()
        self.results = results
        self.signals = Signals(store)

    def start(self, kind: str, payload: Any, *, run_id: str | None = None, team_id: int = 1) -> str:
        """Start a run that somebody waits for and return its id; one that has this id already is left as it is."""
        return self.enqueue(kind, payload, queue=Queue.INTERACTIVE, run_id=run_id, team_id=team_id)

    def enqueue(
        self,
        kind: str,
        payload: Any,
        *,
        queue: Queue = Queue.BATCH,
        run_id: str | None = None,
        team_id: int = 1,
        delay_s: float = 0.0,
        parent_id: str | None = None,
    ) -> str:
        """Queue a run and return its id; one that has this id already is left as it is.

        `payload` is JSON and bookkeeping only. No more than a queue's limit run at once for one team.
        """
        run_id = run_id or make_id()
        if len(run_id) > LONGEST_ID:
            raise InvalidInput("The run's id is too long.", f"At most {LONGEST_ID} signs.", field="run_id")
        options: dict[str, Any] = {"workflow_name": "run", "queue_name": queue.value, "workflow_id": run_id}
        if queue is not Queue.SCHEDULED:
            options["queue_partition_key"] = str(team_id)
        if delay_s > 0:
            options["delay_seconds"] = delay_s
        engine = self._open()
        options["app_version"] = _get_version()
        engine.client.enqueue(options, kind, payload, team_id, parent_id)  # type: ignore[arg-type]
        return run_id

    def resume(self, run_id: str) -> None:
        """Go on with a run that was cancelled: what had ended is not done again. Raises NotFound."""
        self._get(run_id)
        self.signals.unpark(run_id)
        self._open().start_parked(run_id)

    def cancel(self, run_id: str) -> None:
        """Cancel a run and its children; a step under way is ended within a second. Raises NotFound."""
        status = self._get(run_id)
        client = self._open().client
        children = client.list_workflows(workflow_id_prefix=f"{run_id}/", load_input=False, load_output=False)
        open_ids = [child.workflow_id for child in children if child.status in ("ENQUEUED", "DELAYED", "PENDING")]
        client.cancel_workflows([run_id, *open_ids])
        for each in (run_id, *(child.workflow_id for child in children)):
            self.signals.unpark(each)
        parent_id = status.input["args"][3] if status.input and len(status.input["args"]) > 3 else None
        if parent_id is not None:
            self._open().tell_parent(parent_id, run_id, {"state": WorkState.CANCELLED.value})

    def fork(self, run_id: str, from_step: int, *, team_id: int = 1) -> str:
        """Make a new run that begins with another's results up to a step's number, and return its id."""
        self._get(run_id)
        client = self._open().client
        handle = client.fork_workflow(
            run_id,
            from_step,
            application_version=_get_version(),
            queue_name=Queue.INTERACTIVE.value,
            queue_partition_key=str(team_id),
        )
        return handle.get_workflow_id()

    def signal(self, run_id: str, topic: str, payload: Any) -> None:
        """Send a signal to a run, which hears the first one of each topic, also when it waits for it only later."""
        if self.signals.send(run_id, topic, payload):
            self._open().start_parked(run_id)

    def state(self, run_id: str) -> RunStatus | None:
        """Tell where a run is; None where there is none of this id."""
        workflows = self._open().client.list_workflows(workflow_ids=[run_id])
        return self._describe(workflows[0]) if workflows else None

    @property
    def schedules(self) -> "Schedules":
        """Return the schedules: work that is done at certain moments."""
        return Schedules(self._open)

    def list_steps(self, run_id: str) -> list[dict[str, Any]]:
        """List a run's steps that have ended: `number`, `name`."""
        steps = self._open().client.list_workflow_steps(run_id)
        return [{"number": step["function_id"], "name": step["function_name"]} for step in steps]

    def launch(self, calls: "Calls", park_after_s: float | None = None) -> None:
        """Run work in this process from now on, and see to the schedules that every installation has.

        Launched already, it is left as it is. `calls` makes the model calls of runs, and brings in what a dead process
        left on the disk before others go on with its runs.
        """
        with self._launching, ThreadPoolExecutor(1) as away:  # DBOS refuses to launch beside a running event loop
            away.submit(self._launch, calls, park_after_s).result()

    def _launch(self, calls: "Calls", park_after_s: float | None) -> None:
        from lib.work.run import PARK_AFTER_S, RunTools

        engine = self._open()
        if engine.is_launched:
            return
        pause = engine.client.cancel_workflow
        park_s = PARK_AFTER_S if park_after_s is None else park_after_s
        engine.launch(RunTools(self.results, self.signals, pause, self.enqueue, calls, park_s), calls.recover)
        for schedule in self.registry.schedules.values():
            self.schedules.set(schedule)

    @property
    def is_launched(self) -> bool:
        """Whether this process runs work."""
        return self._opened is not None and self._opened.is_launched

    @property
    def executor_id(self) -> str:
        """Return the name of this process among those that run work."""
        return self._open().processes.executor_id

    def is_alive(self, executor_id: str) -> bool:
        """Whether a process that runs work lives, as far as this one has seen; False for a name that none has."""
        return not self._open().processes.list_dead([executor_id])

    def close(self) -> None:
        """Stop running work here and close the engine's database."""
        with self._lock:
            if self._opened is not None:
                self._opened.close()
                self._opened = None

    def _open(self) -> "Engine":
        with self._lock:
            if self._opened is None:
                from lib.work.engine import Engine

                self._opened = Engine(self._store, self._folder, self.registry, self.results, self.signals)
            return self._opened

    def _get(self, run_id: str) -> Any:
        workflows = self._open().client.list_workflows(workflow_ids=[run_id])
        if not workflows:
            raise NotFound("There is no such run.", "It was never started, or it is gone.")
        return workflows[0]

    def _describe(self, status: Any) -> RunStatus:
        outcome = status.output if isinstance(status.output, dict) else {}
        state = WorkState(outcome["state"]) if "state" in outcome else _STATES[status.status]
        if state is WorkState.CANCELLED and self.signals.is_parked(status.workflow_id):
            state = WorkState.WAITING
        output = None
        if outcome.get("has_output"):
            from lib.work.run import name_output

            row = self.results.get(*name_output(status.workflow_id))
            output = None if row is None else row.output
        error = outcome.get("error") or {}
        words = " ".join(part for part in (error.get("title"), error.get("why"), error.get("fix")) if part)
        arguments = status.input["args"] if status.input else ()
        return RunStatus(
            run_id=status.workflow_id,
            kind=_read_kind(arguments),
            state=state,
            output=output,
            error=words or (str(status.error) if status.error else None),
            attempts=status.recovery_attempts or 0,
            executor_id=status.executor_id,
            created_at=_read_moment(status.created_at),
            updated_at=_read_moment(status.updated_at),
        )


class Schedules:
    """Schedules by name. One that is set again the same is left as it is, so that it misses no moment."""

    def __init__(self, open_engine: Callable[[], "Engine"]) -> None:
        self._open = open_engine

    def set(self, schedule: Schedule, team_id: int = 1) -> None:
        """Run a kind at these moments from now on; InvalidInput for a cron expression or a time zone that is none."""
        from dbos._error import DBOSException

        client = self._open().client
        context = {"kind": schedule.kind, "payload": schedule.payload, "team_id": team_id}
        existing = client.get_schedule(schedule.name)
        if existing is not None:
            existing_terms = (existing["schedule"], existing["context"], existing["cron_timezone"] or "UTC")
            if existing_terms == (schedule.cron, context, schedule.time_zone):
                return
            client.delete_schedule(schedule.name)
        try:
            client.create_schedule(
                schedule_name=schedule.name,
                workflow_name="scheduled run",
                schedule=schedule.cron,
                context=context,
                cron_timezone=schedule.time_zone,
                queue_name=Queue.SCHEDULED.value,
            )
        except DBOSException as error:
            raise InvalidInput("The schedule can't be used.", str(error), "Correct it.", field="cron") from error
        if schedule.is_paused:
            client.pause_schedule(schedule.name)

    def list(self) -> "list[Schedule]":
        """List all schedules by name."""
        schedules = sorted(self._open().client.list_schedules(), key=lambda each: each["schedule_name"])
        return [
            Schedule(
                each["schedule_name"],
                each["context"]["kind"],
                each["schedule"],
                each["context"]["payload"],
                each["cron_timezone"] or "UTC",
                each["status"] != "ACTIVE",
            )
            for each in schedules
        ]

    def pause(self, name: str) -> None:
        """Leave a schedule's moments out until it is resumed."""
        self._open().client.pause_schedule(name)

    def resume(self, name: str) -> None:
        """Go on with a paused schedule."""
        self._open().client.resume_schedule(name)

    def delete(self, name: str) -> None:
        """Delete a schedule; runs that have begun go on."""
        self._open().client.delete_schedule(name)


def _get_version() -> str:
    from lib.work.engine import VERSION

    return VERSION


def _read_kind(arguments: Any) -> str:
    if len(arguments) == 2 and isinstance(arguments[1], dict):  # of a schedule: its moment and its context
        return str(arguments[1].get("kind", ""))
    return str(arguments[0]) if arguments else ""


def _read_moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp((milliseconds or 0) / 1000, UTC)
