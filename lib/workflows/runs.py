"""Runs: started, watched, cancelled, paused, gone on with, repeated from a step, told of news.

A run belongs to whoever started it. Who manages workflows or sees all calls sees everybody's runs with state and cost;
inputs and outputs of others are for super-admins alone. Starting and going on are two things: a row is committed first,
and then launched, so a run that no process has taken up yet is found and launched again (`launch_due`).
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, or_, select, true, update
from sqlalchemy.dialects import postgresql, sqlite

from lib.access import audit
from lib.access.permissions import Actor, Permission
from lib.access.stop_switch import StopSwitch
from lib.access.team_scope import filter_usable
from lib.calls.calls import Calls
from lib.clock import make_id, utc_now
from lib.configs.configurations import Configurations
from lib.db.data_key import DataKey
from lib.db.engine import Store
from lib.db.tables import (
    users,
    workflow_actions,
    workflow_runs,
    workflow_steps,
    workflow_versions,
    workflows,
)
from lib.errors import Conflict, InvalidInput, NotFound
from lib.prompts.prompts import Prompts
from lib.workflows.definition import Definition, decode_definition
from lib.workflows.form import check_inputs
from lib.workflows.journal import (
    OUTLINE_COLUMNS,
    R,
    S,
    Seals,
    build_outline_step,
    build_run,
    build_step,
    insert_run,
    is_lost,
    load_steps,
    seal_value,
)
from lib.workflows.launching import Launcher, LostRuns
from lib.workflows.quoting import CeilingQuotes, RunQuote, quote_past
from lib.workflows.run import Run, RunState, Step, Trigger
from lib.workflows.starting import build_start_row, check_stops, plan_start
from lib.workflows.validation import GraphView
from lib.workflows.workflow import VersionSelector, W, load_version, load_workflow, require_may_run
from lib.workflows.workflows import resolve_pins

log = logging.getLogger(__name__)
PAGE_SIZE = 50
_PAST = 100  # runs that a quote looks at
_LOST_AFTER = timedelta(seconds=60)  # since a run was queued: whoever launched it may have died before
_LOOK_S = 0.1


@dataclass(frozen=True)
class RunFigures:
    """Runs of a workflow over a time: all, done, come to an end; their known cost.

    `unpriced`: of how many runs the cost is not, or not wholly, known.
    """

    runs: int
    done: int
    ended: int
    cost_nano_usd: int
    unpriced: int
    last_at: datetime

    @property
    def health(self) -> float | None:
        """The share of ended runs that are done."""
        return self.done / self.ended if self.ended else None


class WorkflowRuns:
    """The runs of all workflows."""

    def __init__(
        self,
        store: Store,
        data_key: DataKey,
        calls: Calls,
        prompts: Prompts,
        settings: Configurations,
        launcher: Callable[[], Launcher],
        ended: Callable[[Run], None],
        stops: StopSwitch,
        lost_runs: LostRuns,
    ) -> None:
        self._store = store
        self._data_key = data_key
        self._calls = calls
        self._prompts = prompts
        self._configurations = settings
        self._launcher = launcher
        self._ended = ended
        self._stops = stops
        self.lost_runs = lost_runs

    def start(
        self,
        actor: Actor,
        slug: str,
        inputs: Mapping[str, Any],
        *,
        trigger: Trigger = Trigger.PAGE,
        version: VersionSelector = None,
        cap_nano_usd: int | None = None,
        pinned: Mapping[str, Any] | None = None,
        launches: bool = True,
        run_id: str | None = None,
    ) -> Run:
        """Make a run of a version and have it gone on with; returns at once, queued.

        The versions of the workflows that it runs as steps are fixed now. A `run_id` chosen before makes it repeatable:
        a run that has it already is left as it is. Raises InvalidInput for inputs that don't fit the form, Conflict for
        a workflow that is switched off.
        """
        actor.require(Permission.TEST_CONFIGS)
        run_id = run_id or make_id()
        with self._store.write() as connection:
            workflow = load_workflow(connection, slug)
            require_may_run(actor, workflow)
            check_stops(self._stops, actor, workflow.slug)
            plan = plan_start(connection, actor, workflow, version)
            row = build_start_row(
                plan,
                self._data_key,
                connection,
                actor,
                check_inputs(plan.version.definition.input_fields, inputs),
                run_id=run_id,
                trigger=trigger,
                cap_nano_usd=cap_nano_usd,
                pinned=dict(pinned or {}),
            )
            is_new = insert_run(connection, row)
        if launches and is_new:
            self.launch(run_id, row["team_id"], 0)
        return self.get(actor, run_id)

    def launch(self, run_id: str, team_id: int, number: int) -> None:
        """Have a run gone on with; `number` is that of its news, and launched once."""
        self._launcher().launch(run_id, team_id, number)

    def quote(
        self, actor: Actor, slug: str, inputs: Mapping[str, Any] | None = None, version: VersionSelector = None
    ) -> RunQuote:
        """Quote a run before it begins."""
        actor.require(Permission.TEST_CONFIGS)
        with self._store.read() as connection:
            workflow = load_workflow(connection, slug)
            require_may_run(actor, workflow)
            workflow_version = load_version(connection, workflow, version)
            past = (
                select(R.cost_nano_usd)
                .where(R.workflow_id == workflow.id, R.version == workflow_version.version, R.state == RunState.DONE)
                .where(R.trigger.not_in([Trigger.TEST, Trigger.RERUN]), R.cost_nano_usd.is_not(None))
                .order_by(R.created_at.desc())
                .limit(_PAST)
            )
            costs = [int(cost) for cost in connection.scalars(past)]
            called = self._load_called(
                connection, resolve_pins(connection, actor, workflow_version.definition, (workflow.slug,))
            )
        if (quoted := quote_past(costs)) is not None:
            return quoted
        ceilings = CeilingQuotes(self._calls, self._prompts, actor, called)
        return ceilings.quote(workflow_version.definition, inputs or {})

    def quote_rerun(self, actor: Actor, run_id: str, from_step: str) -> RunQuote:
        """Quote repeating a run from a step, by what the steps that run again cost in past runs, this one too."""
        run = self.get(actor, run_id)
        definition = self.definition(actor, run_id)
        again = _list_again(definition, from_step)
        past = (
            select(R.id)
            .where(R.workflow_id == run.workflow_id, R.version == run.version, R.state == RunState.DONE)
            .where(R.trigger != Trigger.TEST)
            .order_by(R.created_at.desc())
            .limit(_PAST)
        )
        with self._store.read() as connection:
            runs = {run.id, *connection.scalars(past)}
            query = select(S.run_id, S.path, S.cost_nano_usd, S.reused_from).where(S.run_id.in_(runs))
            sums: dict[str, int | None] = {}
            for owner, path, cost, reused in connection.execute(query):
                if path.split("/", 1)[0] in again:
                    earlier = sums.get(owner, 0)
                    sums[owner] = None if cost is None or earlier is None or reused else earlier + int(cost)
            called = self._load_called(connection, dict(run.pins))
        costs = [cost for cost in sums.values() if cost is not None]
        if costs and any(costs):
            return RunQuote(min(costs), max(costs), "past", len(costs))
        ceilings = CeilingQuotes(self._calls, self._prompts, actor, called)
        return ceilings.quote(definition, run.inputs if run.shows_content else {}, again)

    def rerun(
        self,
        actor: Actor,
        run_id: str,
        from_step: str = "",
        *,
        version: VersionSelector = None,
        inputs: Mapping[str, Any] | None = None,
        cap_nano_usd: int | None = None,
        launches: bool = True,
    ) -> Run:
        """Repeat a run from a step, in its version or another one; what comes not after it is filled from paid rows.

        A step of the old run stands in where what it does and what goes into it are equal. Without `from_step` all
        steps that are equal are taken, and what failed or changed is done again.
        """
        old = self.get(actor, run_id)
        if not old.shows_content:
            raise NotFound("There is no such run.", "It is somebody else's.")
        new = self.start(
            actor,
            old.workflow_id,
            old.inputs if inputs is None else inputs,
            trigger=Trigger.RERUN,
            version=old.version if version is None else version,
            cap_nano_usd=old.cost_cap_nano_usd if cap_nano_usd is None else cap_nano_usd,
            launches=False,
        )
        if from_step and GraphView(self.definition(actor, new.id).main).nodes.get(from_step) is None:
            raise InvalidInput(
                f"There is no step {from_step[:60]}.", "", "Name a step of the main drawing.", "from_step"
            )
        with self._store.write() as connection:
            values = {"reuses_run_id": old.id, "rerun_from": from_step}
            connection.execute(update(workflow_runs).where(R.id == new.id).values(**values))
            detail: dict[str, Any] = {"run": old.id, "from": from_step}
            audit.record(connection, actor, "workflow.rerun", new.slug, **detail)
        if launches:
            self.launch(new.id, new.team_id, 0)
        return self.get(actor, new.id)

    def list(
        self,
        actor: Actor,
        slug: str | None = None,
        states: Sequence[RunState] = (),
        page: int = 1,
        size: int = PAGE_SIZE,
    ) -> Sequence[Run]:
        """List runs that the actor may see, the newest first."""
        actor.require(Permission.TEST_CONFIGS)
        query = _select_runs().where(is_visible(actor)).order_by(R.created_at.desc(), R.id.desc())
        if slug is not None:
            query = query.where(or_(W.slug == slug, W.id == slug))
        if states:
            query = query.where(R.state.in_(states))
        with self._store.read() as connection:
            rows = connection.execute(query.limit(size).offset((page - 1) * size)).mappings().all()
        return [self._build(row, actor) for row in rows if _is_in_scope(actor, row["slug"])]

    def list_batch(self, actor: Actor, batch_id: str) -> Sequence[Run]:
        """List the runs of a batch that the actor may see, by row."""
        actor.require(Permission.TEST_CONFIGS)
        query = _select_runs().where(R.batch_id == batch_id, is_visible(actor)).order_by(R.batch_row)
        with self._store.read() as connection:
            rows = connection.execute(query).mappings().all()
        return [self._build(row, actor) for row in rows if _is_in_scope(actor, row["slug"])]

    def get(self, actor: Actor, run_id: str) -> Run:
        """Get a run as it stands; raises NotFound."""
        actor.require(Permission.TEST_CONFIGS)
        with self._store.read() as connection:
            row = connection.execute(_select_runs().where(R.id == run_id, is_visible(actor))).mappings().first()
        if row is None or not _is_in_scope(actor, row["slug"]):
            raise NotFound("There is no such run.", "It does not exist, or it is somebody else's.")
        return self._build(row, actor)

    def steps(self, actor: Actor, run_id: str) -> Sequence[Step]:
        """List the steps of a run in the order in which they began; without words where they are somebody else's."""
        return [*load_steps(self._store, run_id, self._read_seals(actor, run_id)).values()]

    def outline(self, actor: Actor, run_id: str) -> Sequence[Step]:
        """List the steps of a run without inputs and outputs: quick, for thousands of them."""
        seals = self._read_seals(actor, run_id)
        columns = [S[name] for name in OUTLINE_COLUMNS]
        query = select(*columns).where(S.run_id == run_id).order_by(S.started_at, S.position, S.path)
        with self._store.read() as connection:
            rows = connection.execute(query).all()
        return [build_outline_step(row, seals) for row in rows]

    def step(self, actor: Actor, run_id: str, path: str) -> Step:
        """Get one step with its input and output; raises NotFound."""
        seals = self._read_seals(actor, run_id)
        query = select(workflow_steps).where(S.run_id == run_id, S.path == path)
        with self._store.read() as connection:
            row = connection.execute(query).mappings().first()
        if row is None:
            raise NotFound("There is no such step.", "It has not begun.")
        return build_step(seals.open_step(row))

    def definition(self, actor: Actor, run_id: str) -> Definition:
        """The definition of the version that a run is pinned to."""
        run = self.get(actor, run_id)
        query = select(workflow_versions.c.definition).where(
            workflow_versions.c.workflow_id == run.workflow_id, workflow_versions.c.version == run.version
        )
        with self._store.read() as connection:
            text = connection.scalar(query)
        if text is None:
            raise NotFound("The workflow of this run was deleted.")
        return decode_definition(text)

    def cancel(self, actor: Actor, run_id: str) -> Run:
        """Cancel a run, wherever it goes; a call in flight ends within a second. No effect on one that is over."""
        run = self._require_own(actor, run_id)
        with self._store.write() as connection:
            idle = update(workflow_runs).where(R.id == run.id, R.state.in_(["queued", "waiting", "paused"]))
            ended = {"state": RunState.CANCELLED, "reason": "It was cancelled.", "finished_at": utc_now(), "owner": ""}
            if connection.execute(idle.values(**ended)).rowcount:
                steps = update(workflow_steps).where(S.run_id == run.id, S.state.in_(["running", "waiting"]))
                connection.execute(steps.values(state="cancelled", finished_at=utc_now()))
            else:
                going = update(workflow_runs).where(R.id == run.id, R.state == RunState.RUNNING)
                connection.execute(going.values(stop_asked="cancel"))
            audit.record(connection, actor, "workflow.cancel", run.slug, run=run.id)
        cancelled = self.get(actor, run_id)
        if cancelled.state.is_over:
            self._ended(cancelled)
        return cancelled

    def pause(self, actor: Actor, run_id: str) -> Run:
        """Let no further step begin; those that run end. No effect on a run that is over."""
        run = self._require_own(actor, run_id)
        with self._store.write() as connection:
            idle = update(workflow_runs).where(R.id == run.id, R.state.in_(["queued", "waiting"]))
            values = {"state": RunState.PAUSED, "reason": "It was paused.", "owner": ""}
            if connection.execute(idle.values(**values)).rowcount == 0:
                going = update(workflow_runs).where(R.id == run.id, R.state == RunState.RUNNING)
                connection.execute(going.values(stop_asked="pause"))
            audit.record(connection, actor, "workflow.pause", run.slug, run=run.id)
        return self.get(actor, run_id)

    def resume(self, actor: Actor, run_id: str, cap_nano_usd: int | None = None, *, launches: bool = True) -> Run:
        """Go on with a run that is paused, failed or cancelled: finished steps stay, the others are done again.

        `cap_nano_usd` raises its cap. Without `launches` the caller goes on with it, also when another process had it.
        """
        run = self._require_own(actor, run_id)
        check_stops(self._stops, actor, run.slug)
        values: dict[str, Any] = {"state": RunState.QUEUED, "reason": "", "failed_step": "", "finished_at": None}
        values |= {"stop_asked": "", "signals": R.signals + 1}
        if cap_nano_usd is not None:
            values["cost_cap_nano_usd"] = cap_nano_usd
        states = ["paused", "failed", "cancelled", *([] if launches else ["running", "queued"])]
        with self._store.write() as connection:
            stopped = update(workflow_runs).where(R.id == run.id, R.state.in_(states))
            if connection.execute(stopped.values(**values)).rowcount == 0:
                raise Conflict(f"The run is {run.state}.", "Only one that stopped can be gone on with.")
            audit.record(connection, actor, "workflow.resume", run.slug, run=run.id)
        if launches:
            self.launch(run.id, run.team_id, self._read_signals(run.id))
        return self.get(actor, run_id)

    def signal(self, actor: Actor, run_id: str, name: str, data: Any = None) -> None:
        """Send a signal by name to a run that waits for it, now or later; the first one counts."""
        run = self._require_own(actor, run_id)
        if run.state.is_over:
            raise Conflict(f"The run is {run.state}.", "Nothing waits for a signal any more.")
        row = {"run_id": run.id, "key": f"signal:{name}"[:250], "attempt": 1, "state": "done", "input_hash": ""}
        row |= {"call_id": None, "started_at": utc_now(), "finished_at": utc_now()}
        dialect = sqlite if self._store.is_sqlite else postgresql
        with self._store.write() as connection:
            is_sealed = connection.scalar(select(R.is_sealed).where(R.id == run.id))
            row["result"] = seal_value(self._data_key, data, connection) if is_sealed else data
            connection.execute(dialect.insert(workflow_actions).values(**row).on_conflict_do_nothing())
        self.tell(run.id)

    def tell(self, run_id: str) -> None:
        """Take up a waiting run that there is news for: a decision, a signal, a time that has come."""
        with self._store.write() as connection:
            connection.execute(update(workflow_runs).where(R.id == run_id).values(signals=R.signals + 1))
            row = connection.execute(select(R.state, R.team_id, R.signals).where(R.id == run_id)).one_or_none()
        if row is not None and row.state == RunState.WAITING:
            self.launch(run_id, row.team_id, row.signals)

    def recover(self, actor: Actor) -> Sequence[Run]:
        """Queue the runs whose process is gone and return them; the caller goes on with them."""
        actor.require(Permission.MANAGE_WORKFLOWS)
        with self._store.write() as connection:
            rows = _requeue_lost(connection, is_visible(actor))
            for row in rows:
                audit.record(connection, actor, "workflow.recover", row.id)
        return [self.get(actor, row.id) for row in rows]

    def launch_due(self) -> int:
        """Launch runs whose time has come, those that were queued and never taken up, and those whose process is gone.

        Returns how many those were.
        """
        now = utc_now()
        with self._store.read() as connection:
            lost_ids = self.lost_runs.watch(connection)
        if lost_ids:
            with self._store.write() as connection:
                lost = _requeue_lost(connection, R.id.in_(lost_ids))
            for row in lost:
                log.warning("The process of the run %s is gone: it goes on.", row.id)
                self.launch(row.id, row.team_id, row.signals)
        due = or_(
            (R.state == RunState.WAITING) & (R.wake_at <= now),
            (R.state == RunState.QUEUED) & (R.created_at < now - _LOST_AFTER) & (R.owner == ""),
        )
        with self._store.read() as connection:
            rows = connection.execute(select(R.id, R.state).where(due).limit(200)).all()
        for row in rows:
            if row.state == RunState.WAITING:
                self.tell(row.id)
            else:
                self._relaunch(row.id)
        return len(rows)

    def _relaunch(self, run_id: str) -> None:
        """Launch again what may never have been: whoever has it by this number already keeps it.

        Where the launch of this number is over, and the run was not taken up by it, another one follows.
        """
        with self._store.read() as connection:
            row = connection.execute(select(R.team_id, R.signals).where(R.id == run_id)).one()
        number = row.signals
        if self._launcher().is_over(run_id, number):
            next_number = update(workflow_runs).where(R.id == run_id, R.state == RunState.QUEUED, R.signals == number)
            with self._store.write() as connection:
                if connection.execute(next_number.values(signals=number + 1)).rowcount == 0:
                    return
            number += 1
        self.launch(run_id, row.team_id, number)

    def wait(self, actor: Actor, run_id: str, timeout_s: float | None = None) -> Run:
        """Wait until a run is over, paused or waits for something; the run after that, or after the time."""
        until = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            run = self.get(actor, run_id)
            if not run.state.is_at_work or (until is not None and time.monotonic() >= until):
                return run
            time.sleep(_LOOK_S)

    def figures(self, actor: Actor, since: datetime) -> Mapping[str, RunFigures]:
        """Count runs and sum their cost by workflow's id, of those that the actor may see and that began since then."""
        actor.require(Permission.TEST_CONFIGS)
        ended = R.state.in_(["done", "failed"])
        columns = (
            R.workflow_id,
            func.count(),
            func.count().filter(R.state == RunState.DONE),
            func.count().filter(ended),
            func.sum(R.cost_nano_usd),
            func.count().filter(R.cost_nano_usd.is_(None) | R.has_partial_cost),
            func.max(R.created_at),
        )
        query = select(*columns).where(is_visible(actor), R.created_at >= since, R.trigger != Trigger.TEST)
        with self._store.read() as connection:
            rows = connection.execute(query.group_by(R.workflow_id)).all()
        return {row[0]: RunFigures(row[1], row[2], row[3], int(row[4] or 0), row[5], row[6]) for row in rows}

    def count_by_state(self, actor: Actor) -> Mapping[str, Mapping[RunState, int]]:
        """Count the runs that the actor may see, by workflow's id and state."""
        actor.require(Permission.TEST_CONFIGS)
        query = select(R.workflow_id, R.state, func.count()).where(is_visible(actor)).group_by(R.workflow_id, R.state)
        counts: dict[str, dict[RunState, int]] = {}
        with self._store.read() as connection:
            for workflow_id, state, count in connection.execute(query):
                counts.setdefault(workflow_id, {})[RunState(state)] = count
        return counts

    def _require_own(self, actor: Actor, run_id: str) -> Run:
        """A run that the actor may stop or go on with: their own, or any for who manages workflows."""
        run = self.get(actor, run_id)
        is_own = run.user_id == actor.user_id or actor.can(Permission.MANAGE_WORKFLOWS)
        if not is_own:
            raise NotFound("There is no such run.", "It does not exist, or it is somebody else's.")
        return run

    def _read_signals(self, run_id: str) -> int:
        with self._store.read() as connection:
            return connection.scalar(select(R.signals).where(R.id == run_id)) or 0

    def _load_called(self, connection: Connection, pins: Mapping[str, tuple[str, int]]) -> dict[str, Definition]:
        definitions: dict[str, Definition] = {}
        for slug, (workflow_id, version) in pins.items():
            query = select(workflow_versions.c.definition).where(
                workflow_versions.c.workflow_id == workflow_id, workflow_versions.c.version == version
            )
            if (text := connection.scalar(query)) is not None:
                definitions[slug] = decode_definition(text)
        return definitions

    def _read_seals(self, actor: Actor, run_id: str) -> Seals:
        """Get what decrypts the steps of a run, as far as the actor may read them; raises NotFound."""
        run = self.get(actor, run_id)
        with self._store.read() as connection:
            is_sealed = bool(connection.scalar(select(R.is_sealed).where(R.id == run_id)))
        return Seals(self._data_key, is_sealed, run.shows_content)

    def _build(self, row: Mapping[Any, Any], actor: Actor) -> Run:
        shows = actor.user_id == row["user_id"] or actor.reads_content_of(row["user_id"])
        opened = Seals(self._data_key, row["is_sealed"], shows).open_run(row)
        names = {"slug": row["slug"] or "", "workflow_name": row["workflow_name"] or "", "user_name": row["user_name"]}
        return build_run(opened, **names, shows_content=shows)


def _requeue_lost(connection: Connection, condition: ColumnElement[bool]) -> Sequence[Any]:
    """Queue runs whose process is gone, each for one caller: rows of id, team and number of launches."""
    values = {"state": RunState.QUEUED, "owner": "", "wake_at": None, "signals": R.signals + 1}
    lost = update(workflow_runs).where(is_lost(utc_now()), condition).values(**values)
    return connection.execute(lost.returning(R.id, R.team_id, R.signals)).all()


def _select_runs() -> Any:
    names = (W.slug, W.name.label("workflow_name"), users.c.name.label("user_name"))
    joined = workflow_runs.outerjoin(workflows, W.id == R.workflow_id).outerjoin(users, users.c.id == R.user_id)
    return select(*workflow_runs.columns, *names).select_from(joined)


def is_visible(actor: Actor) -> ColumnElement[bool]:
    """Runs of one's own, and those of the team for who manages workflows or sees all calls."""
    if actor.user_id is None:
        return true()
    is_own = R.user_id == actor.user_id
    if actor.can(Permission.MANAGE_WORKFLOWS) or actor.sees_all_calls:
        return or_(is_own, filter_usable(actor, R.team_id))
    return is_own


def _is_in_scope(actor: Actor, slug: str | None) -> bool:
    """Whether a key may use the workflow that a run is of: what it may not run it may not read either."""
    return actor.key is None or actor.key.allows_model(f"workflow/{slug or ''}")


def _list_again(definition: Definition, from_step: str) -> frozenset[str]:
    view = GraphView(definition.main)
    if from_step not in view.nodes:
        raise InvalidInput(f"There is no step {from_step[:60]}.", "", "Name a step of the main drawing.", "from_step")
    return frozenset({from_step, *view.list_descendants(from_step)})
