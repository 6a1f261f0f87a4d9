"""The engine under the runs: DBOS Transact, its database, its one process-wide instance, and the loop of take-overs.

On SQLite it has a file of its own, `engine.db` in the data folder, with a write-ahead log; on PostgreSQL the schema
`dbos` of the same database. Values are JSON, never pickles. The version of the application is a constant: it is raised
only when the numbers of steps change for runs that may be under way; what older processes leave begins anew.
"""

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dbos._core
import dbos._workflow_commands
import sqlalchemy as sa
from dbos import DBOS, DBOSClient, DBOSConfig
from dbos._dbos import _get_dbos_instance
from dbos._error import (
    DBOSAwaitedWorkflowCancelledError,
    DBOSInitializationError,
    DBOSWorkflowCancelledError,
)
from dbos._serialization import DBOSPortableJSONSerializer
from sqlalchemy.exc import SQLAlchemyError

from lib.clock import utc_now
from lib.db.engine import Store, close_connections
from lib.errors import LLMManagerError
from lib.ledger.step_results import StepResults
from lib.work.other_versions import OtherVersions
from lib.work.processes import BEAT_S, Processes
from lib.work.queue_watch import QueueWatch
from lib.work.registry import Registry
from lib.work.run import RunTools, WorkRun, describe_error, name_output
from lib.work.signals import Signals
from lib.work.state import QUEUES, Queue, RunStopped, WorkState

log = logging.getLogger(__name__)
APPLICATION = "llm-manager"
VERSION = "1"
WORKFLOW = "run"
SCHEDULED_WORKFLOW = "scheduled run"
_CANCEL_POLL_S = 0.3
_DELAYS_S = 5.0  # between two looks for runs whose delay is over
_WAKE_S = 0.5
OTHERS_S = 10.0  # between two looks for runs of other versions
_FIRST_SWEEP_S = 60.0
_SWEEP_S = 3600.0
_KEPT = timedelta(days=30)
_MOST_SWEPT = 1_000
_MOST_ATTEMPTS = 50  # a run that takes its process down with it is given up
_SCHEMA = "dbos"
_UNKNOWN_KIND_S = 5.0
_QUIET = (DBOSAwaitedWorkflowCancelledError, DBOSWorkflowCancelledError)
_QUIET_WORDS = ("cancelled during execution", "Asyncio task cancelled")  # by us, or by this process's end
_current: "Engine | None" = None  # the launched one: DBOS's registry and instance are the process's, too


class _WithoutStops(logging.Filter):
    """Leaves out what the engine logs when a run is cancelled or parked, or a process's end leaves it for later."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is worth reading."""
        error = record.exc_info[1] if record.exc_info else None
        message = record.getMessage()
        return not isinstance(error, _QUIET) and not any(words in message for words in _QUIET_WORDS)


class Engine:
    """The engine's database, and the engine itself where it was launched."""

    def __init__(self, store: Store, folder: Path, registry: Registry, results: StepResults, signals: Signals) -> None:
        self._store = store
        self._registry = registry
        self.results = results
        self.signals = signals
        self.database = _open_database(store, folder)
        logging.getLogger("dbos").setLevel(logging.WARNING)
        self.client = _make_client(store, self.database)
        _bring_to_schema(self.client)
        self.processes = Processes(store)
        self._stopped = threading.Event()
        self._loop_thread: threading.Thread | None = None
        self._before_take_over: Callable[[], object] = lambda: None
        self._tools: RunTools | None = None

    @property
    def is_launched(self) -> bool:
        """Whether this process runs work."""
        return self._loop_thread is not None

    def launch(self, tools: RunTools, before_take_over: Callable[[], object]) -> None:
        """Run work in this process from now on. `before_take_over` brings in what a dead process left on the disk."""
        global _current
        if _current is not None:
            raise RuntimeError("another installation's work runs in this process")
        self._tools = tools
        self._before_take_over = before_take_over
        dbos._core._PREEMPTIBLE_POLL_INTERVAL_SEC = _CANCEL_POLL_S
        dbos._workflow_commands._BACKGROUND_JOBS_INTERVAL_SEC = _DELAYS_S
        self.processes.enter()
        config = DBOSConfig(
            name=APPLICATION,
            system_database_url="sqlite:///own" if self._store.is_sqlite else "postgresql://own:own@own/own",
            system_database_engine=self.database,
            serializer=DBOSPortableJSONSerializer(),
            application_version=VERSION,
            executor_id=self.processes.executor_id,
            log_level="WARNING",
            console_log_level="WARNING",
            enable_otlp=False,
            run_migrations=False,
            use_listen_notify=False,
            notification_listener_polling_interval_sec=1.0,
            scheduler_polling_interval_sec=5.0,
        )
        if not self._store.is_sqlite:
            config["dbos_system_schema"] = _SCHEMA
        _current = self
        try:
            self._begin(config)
        except BaseException:
            DBOS.destroy()
            _current = None
            raise
        self._loop_thread = threading.Thread(target=self._look_after_runs, name="work-leases", daemon=True)
        self._loop_thread.start()

    def _begin(self, config: DBOSConfig) -> None:
        DBOS(config=config)
        engine_log = logging.getLogger("dbos")
        if not any(isinstance(each, _WithoutStops) for each in engine_log.filters):
            engine_log.addFilter(_WithoutStops())
        DBOS.launch()
        for queue, limits in QUEUES.items():
            for_team = {} if queue is Queue.SCHEDULED else {"partition_concurrency": limits.for_team}
            DBOS.register_queue(
                queue,
                worker_concurrency=limits.in_process,
                polling_interval_sec=limits.look_every_s,
                on_conflict="always_update",
                **for_team,  # type: ignore[arg-type]
            )
        QueueWatch(_get_dbos_instance()._sys_db).install()

    def close(self) -> None:
        """Stop running work here; what is under way goes on elsewhere, or at the next start."""
        global _current
        if self._loop_thread is not None:
            self._stopped.set()
            DBOS.destroy()
            self._loop_thread.join()
            self._loop_thread = None
            self.processes.leave()
            _current = None
        self.client.destroy()
        close_connections(self.database)

    async def execute(self, run_id: str, kind: str, payload: Any, team_id: int, parent_id: str | None) -> Any:
        """Call the function of a run, keep what it returns, and tell its parent."""
        function = self._registry.functions.get(kind)
        while function is None:
            log.warning("This version does not know the work %r; it waits for one that does.", kind)
            await asyncio.sleep(_UNKNOWN_KIND_S)
            function = self._registry.functions.get(kind)
        if self._tools is None:
            raise RuntimeError("the engine is not launched")
        await asyncio.to_thread(self.signals.unpark, run_id)
        outcome: dict[str, Any] = {"state": WorkState.DONE.value}
        try:
            output = await function(WorkRun(run_id, kind, team_id, self._tools), payload)
            if output is not None:
                await asyncio.to_thread(self.results.finish, *name_output(run_id), output)
                outcome["has_output"] = True
        except RunStopped as stop:
            raise stop.__cause__ or DBOSWorkflowCancelledError(str(stop)) from stop
        except LLMManagerError as error:
            outcome = {"state": WorkState.FAILED.value, "error": describe_error(error)}
        except Exception as error:  # a fault of the program ends the run, not the process
            log.exception("The run %s failed.", run_id)
            outcome = {"state": WorkState.FAILED.value, "error": describe_error(error)}
        if parent_id is not None:
            await asyncio.to_thread(self.tell_parent, parent_id, run_id, outcome)
        await asyncio.to_thread(self.signals.forget, run_id)
        return outcome

    def tell_parent(self, parent_id: str, run_id: str, outcome: dict[str, Any]) -> None:
        """Send a parent the end of its child."""
        if self.signals.send(parent_id, f"child {run_id}", outcome):
            self.start_parked(parent_id)

    def start_parked(self, run_id: str) -> bool:
        """Start a parked run again; False where it has not ended yet, or another process was quicker."""
        status = self.client._sys_db.tables.workflow_status
        values = {
            "status": "ENQUEUED",
            "queue_name": "_dbos_internal_queue",
            "owner_xid": None,
            "recovery_attempts": 0,
            "started_at_epoch_ms": None,
            "completed_at": None,
            "updated_at": int(time.time() * 1000),
        }
        change = sa.update(status).where(status.c.workflow_uuid == run_id, status.c.status == "CANCELLED")
        with self.client._sys_db.engine.begin() as connection:
            return connection.execute(change.values(**values)).rowcount == 1

    def _look_after_runs(self) -> None:
        """Beat, take over from the dead, start parked runs; for ever, whatever the databases do."""
        next_beat = 0.0
        next_sweep = time.monotonic() + _FIRST_SWEEP_S
        others = OtherVersions(self.client._sys_db, VERSION)
        next_others = 0.0
        is_failing = False
        while not self._stopped.wait(_WAKE_S):
            try:
                self.signals.wake_watched()
                if time.monotonic() >= next_beat:
                    next_beat = time.monotonic() + BEAT_S
                    self.processes.beat()
                    self._take_over()
                    for run_id in self.signals.list_ready():
                        self.start_parked(run_id)
                if time.monotonic() >= next_others:
                    next_others = time.monotonic() + OTHERS_S
                    self._take_other_versions(others)
                if time.monotonic() >= next_sweep:
                    next_sweep = time.monotonic() + _SWEEP_S
                    self.sweep()
                is_failing = False
            except Exception as error:  # a loop that ends here would leave runs without an owner for ever
                if not is_failing:
                    log.warning("Looking after runs failed (%s); it is tried again.", error)
                is_failing = True

    def sweep(self, now: datetime | None = None) -> int:
        """Delete runs that ended more than thirty days ago, and erase results as old; how many runs went."""
        cutoff = (now or utc_now()) - _KEPT
        self.results.erase_before(cutoff)
        status = self.client._sys_db.tables.workflow_status.c
        old = sa.select(status.workflow_uuid).where(status.status.in_(["SUCCESS", "ERROR"]))
        old = old.where(status.completed_at < int(cutoff.timestamp() * 1000)).limit(_MOST_SWEPT)
        with self.client._sys_db.engine.connect() as connection:
            run_ids = list(connection.scalars(old))
        if run_ids:
            self.client.delete_workflows(run_ids)
        return len(run_ids)

    def _take_over(self) -> None:
        status = self.client._sys_db.tables.workflow_status.c
        is_pending = status.status == sa.literal_column("'PENDING'")  # a literal: SQLite uses an index only with one
        pending = sa.select(status.executor_id).where(is_pending, status.application_version == VERSION)
        with self.client._sys_db.engine.connect() as connection:
            owners = [owner for owner in connection.scalars(pending.distinct()) if owner]
        if dead := self.processes.list_dead(owners):
            self._before_take_over()
            self.processes.bury(dead)  # first: whoever goes on with their runs asks whether they live
            handles = _get_dbos_instance()._recover_pending_workflows(dead)
            log.warning("Runs that %s left go on elsewhere: %d.", ", ".join(dead), len(handles))

    def _take_other_versions(self, others: OtherVersions) -> None:
        if taken := others.take(self.processes.list_dead, self._before_take_over):
            log.warning("Runs of another version that nobody went on with begin anew: %d.", len(taken))


def _open_database(store: Store, folder: Path) -> sa.Engine:
    if not store.is_sqlite:
        return sa.create_engine(store.url, pool_size=8, max_overflow=4, pool_pre_ping=True)
    path = folder / "engine.db"
    if not path.exists():
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    database = sa.create_engine(f"sqlite:///{path}", pool_size=8, max_overflow=4)

    @sa.event.listens_for(database, "connect")
    def on_connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = "IMMEDIATE"
        for pragma in ("busy_timeout=30000", "foreign_keys=ON", "journal_mode=WAL", "synchronous=NORMAL"):
            connection.execute(f"PRAGMA {pragma}")

    return database


def prepare_database(store: Store, folder: Path) -> None:
    """Make the engine's tables in an installation's database, or its file in the folder, before anything needs them."""
    database = _open_database(store, folder)
    client = _make_client(store, database)
    _bring_to_schema(client)
    client.destroy()
    close_connections(database)


def _make_client(store: Store, database: sa.Engine) -> DBOSClient:
    return DBOSClient(
        system_database_engine=database,
        dbos_system_schema=None if store.is_sqlite else _SCHEMA,
        serializer=DBOSPortableJSONSerializer(),
        application_name=APPLICATION,
        lazy=True,
    )


def _bring_to_schema(client: DBOSClient) -> None:
    """Bring the engine's tables to what this version of it needs, where they are not."""
    try:
        client._sys_db.verify_migrations()
    except (DBOSInitializationError, SQLAlchemyError):
        client._sys_db.run_migrations()


@DBOS.workflow(name=WORKFLOW, max_recovery_attempts=_MOST_ATTEMPTS)
async def execute_run(kind: str, payload: Any, team_id: int, parent_id: str | None) -> Any:
    """Execute a run: the engine's one workflow for everything that is registered."""
    return await _get_launched().execute(str(DBOS.workflow_id), kind, payload, team_id, parent_id)


@DBOS.workflow(name=SCHEDULED_WORKFLOW, max_recovery_attempts=_MOST_ATTEMPTS)
async def execute_scheduled(at: datetime, context: Any) -> Any:
    """Execute a run at its scheduled moment; the payload gets the moment as `scheduled_at`."""
    payload = {"scheduled_at": at.astimezone(UTC).isoformat(), **(context["payload"] or {})}
    return await _get_launched().execute(str(DBOS.workflow_id), context["kind"], payload, context["team_id"], None)


def _get_launched() -> Engine:
    if _current is None:
        raise RuntimeError("the engine is not launched")
    return _current
