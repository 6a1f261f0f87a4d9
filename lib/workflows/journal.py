"""What an execution writes of its run, fenced: whoever took the run up last writes, all others are RunLost.

A step that pays or acts has a row before it begins; steps that only compute have one when they end. An action is one
thing within a step that is never done twice once it has ended: a model call of a round, a tool. Its row is written
before with the call's id, and after with the result. Bookkeeping only: what is decided stands in `interpreter`.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Boolean, ColumnElement, Connection, bindparam, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from lib.approvals.approval import make_storable
from lib.clock import utc_now
from lib.db.compiled_statements import CompiledStatement, compile_upserts, pipeline_statements
from lib.db.data_key import DataKey
from lib.db.engine import Store
from lib.db.tables import usage_logs, workflow_actions, workflow_runs, workflow_steps
from lib.ledger.content_policy import NOT_SHOWN
from lib.workflows.run import Run, RunLost, RunState, Step, StepState, StepUsage, Trigger

R = workflow_runs.c
S = workflow_steps.c
A = workflow_actions.c
LOST_AFTER = timedelta(seconds=60)  # without a sign of life of the process that has a run
_SEALED = "sealed"
_WITHHELD = "withheld"
_TAKEN = (RunState.QUEUED, RunState.RUNNING, RunState.WAITING)


@dataclass(frozen=True)
class Action:
    """One paid or acting thing within a step."""

    key: str
    state: str  # started, done, failed
    attempt: int
    input_hash: str
    call_id: str | None
    result: Any


class Journal:
    """The rows of one execution of one run."""

    def __init__(self, store: Store, data_key: DataKey, run_id: str, owner: str) -> None:
        self._store = store
        self._data_key = data_key
        self._run_id = run_id
        self._owner = owner
        self.is_sealed = False
        self.signals = 0
        self.actions: dict[str, Action] = {}

    @property
    def owner(self) -> str:
        """The execution that writes here."""
        return self._owner

    def take(self, is_at_work: Callable[[str], bool] = lambda owner: False) -> Run | None:
        """Take the run up; None when it is over, paused or unknown, or an execution that lives is at work on it.

        `is_at_work` says that of the owner of a run that goes. Two launches may meet here: the one that a process had
        not done with when it died, and the one for the news that came since.
        """
        with self._store.read() as connection:
            earlier = connection.execute(select(R.state, R.owner).where(R.id == self._run_id)).one_or_none()
        if earlier is None or (earlier.state == RunState.RUNNING and is_at_work(earlier.owner)):
            return None
        now = utc_now()
        with self._store.write() as connection:
            to_running = update(workflow_runs).where(
                R.id == self._run_id, R.state.in_(_TAKEN), R.owner == earlier.owner
            )
            values: dict[str, Any] = {"state": RunState.RUNNING, "owner": self._owner, "executions": R.executions + 1}
            values |= {"started_at": func.coalesce(R.started_at, now), "reason": "", "wake_at": now + LOST_AFTER}
            if connection.execute(to_running.values(**values)).rowcount == 0:
                return None
            row = connection.execute(select(workflow_runs).where(R.id == self._run_id)).mappings().one()
            self.signals = row["signals"]
            self.is_sealed = row["is_sealed"]
            return build_run(Seals(self._data_key, is_sealed=self.is_sealed).open_run(row))

    def read_pinned(self) -> Mapping[str, Any]:
        """Outputs that stand in for steps of a test."""
        with self._store.read() as connection:
            return dict(connection.scalar(select(R.pinned).where(R.id == self._run_id)) or {})

    def load_steps(self) -> dict[str, Step]:
        """All steps of the run by path."""
        return load_steps(self._store, self._run_id, Seals(self._data_key, is_sealed=self.is_sealed))

    def load_actions(self) -> None:
        """Read all actions of the run into `actions`, by key."""
        query = select(workflow_actions).where(A.run_id == self._run_id)
        with self._store.read() as connection:
            rows = connection.execute(query).mappings().all()
        names = ("key", "state", "attempt", "input_hash", "call_id")
        read = (Action(**{n: row[n] for n in names}, result=self._open(row["result"])) for row in rows)
        self.actions = {action.key: action for action in read}

    def load_signal(self, name: str) -> Action | None:
        """A signal that has come, read afresh."""
        query = select(workflow_actions).where(A.run_id == self._run_id, A.key == f"signal:{name}")
        with self._store.read() as connection:
            row = connection.execute(query).mappings().first()
        if row is None:
            return None
        names = ("key", "state", "attempt", "input_hash", "call_id")
        return Action(**{name: row[name] for name in names}, result=self._open(row["result"]))

    def write_step(self, step: Step, done: int = 0, usage_before: StepUsage | None = None) -> None:
        """Write a step as it stands now; `done` is added to the run's count, its new usage to the run's sums."""
        row = {f"new_{name}": getattr(step, name) for name in _STEP_COLUMNS}
        row |= {f"new_{name}": self._seal(getattr(step, name)) for name in ("input", "output", "changes")}
        row |= {"new_error": self._seal_text(step.error), "new_port": make_storable(step.port[:40])}
        row |= {"new_run_id": self._run_id, "new_calls": [*step.calls]}
        amounts = _compute_amounts(step, usage_before or StepUsage(), done)
        with self._store.write() as connection, pipeline_statements(connection):
            _WRITE_STEP[connection.dialect.name].run(connection, [row])
            self._fence_adding(connection, amounts)

    def start_action(
        self,
        key: str,
        attempt: int,
        input_hash: str,
        call_id: str | None,
        path: str = "",
        calls: Sequence[str] = (),
    ) -> None:
        """Note that an action begins, and with it the calls of its step so far."""
        row = {"run_id": self._run_id, "key": key, "attempt": attempt, "state": "started", "input_hash": input_hash}
        row |= {"call_id": call_id, "result": None, "started_at": utc_now(), "finished_at": None}
        with self._store.write() as connection, pipeline_statements(connection):
            _START_ACTION[connection.dialect.name].run(
                connection, [{f"new_{name}": value for name, value in row.items()}]
            )
            if path:
                noted_calls = {"of_run": self._run_id, "of_path": path, "new_calls": [*calls]}
                _NOTE_CALLS.run(connection, [noted_calls])
            self._fence_adding(connection)
        self.actions[key] = Action(key, "started", attempt, input_hash, call_id, None)

    def end_action(self, key: str, state: str, result: Any) -> None:
        """Keep an action's result."""
        values = {"of_run": self._run_id, "of_key": key, "new_state": state, "new_result": self._seal(result)}
        with self._store.write() as connection, pipeline_statements(connection):
            _END_ACTION.run(connection, [values | {"new_finished_at": utc_now()}])
            self._fence_adding(connection)
        self.actions[key] = replace(self.actions[key], state=state, result=result)

    def spoil_actions(self, path: str) -> None:
        """Mark what a step was answered as of no use, so that it is asked anew."""
        keys = [key for key in self.actions if key.startswith(f"{path}#")]
        with self._store.write() as connection:
            self._fence(connection)
            spoilt = update(workflow_actions).where(A.run_id == self._run_id, A.key.in_(keys))
            connection.execute(spoilt.values(state="failed"))
        for key in keys:
            self.actions[key] = replace(self.actions[key], state="failed")

    def note_orphan(self, key: str) -> None:
        """Count a call that was cut in flight by the end of a process and is made again; each once."""
        with self._store.write() as connection:
            self._fence(connection, orphaned_calls=R.orphaned_calls + 1)
            cut = update(workflow_actions).where(A.run_id == self._run_id, A.key == key)
            connection.execute(cut.values(state="failed", finished_at=utc_now()))
        self.actions[key] = replace(self.actions[key], state="failed")

    def read_usage(self, calls: Sequence[str]) -> StepUsage:
        """Sum what all attempts of calls cost; a cost that is unknown makes the sum unknown."""
        if not calls:
            return StepUsage()
        with self._store.read() as connection:
            [(rows, priced, cost, prompt, completion, partial)] = _READ_USAGE.all(connection, {"call_ids": calls})
        known_cost = int(cost or 0) if rows == priced else None
        return StepUsage([*calls], known_cost, int(prompt or 0), int(completion or 0), partial > 0)

    def park(self, reason: str, wake_at: datetime | None) -> bool:
        """Let the run wait; False when a decision or a signal has come meanwhile, so that it goes on at once."""
        values = {"state": RunState.WAITING, "reason": make_storable(reason[:1_000]), "wake_at": wake_at, "owner": ""}
        with self._store.write() as connection:
            parked = update(workflow_runs).where(
                R.id == self._run_id, R.owner == self._owner, R.signals == self.signals, R.stop_asked == ""
            )
            if connection.execute(parked.values(**values)).rowcount:
                return True
            self._fence(connection)
            self.signals = connection.scalar(select(R.signals).where(R.id == self._run_id)) or 0
            return False

    def end(self, state: RunState, reason: str = "", failed_step: str = "", output: Any = None) -> None:
        """End this execution with the run done, failed, cancelled or paused."""
        kept_reason = self._seal_text(reason[:2_000]) if state is RunState.FAILED else make_storable(reason[:2_000])
        values: dict[str, Any] = {"state": state, "reason": kept_reason, "failed_step": failed_step, "owner": ""}
        values |= {"stop_asked": "", "output": self._seal(output), "wake_at": None}
        if state.is_over:
            values["finished_at"] = utc_now()
        with self._store.write() as connection:
            self._fence(connection, **values)
            if self.is_sealed and state is RunState.DONE:
                _erase(connection, self._run_id)

    def _fence(self, connection: Connection, **values: Any) -> None:
        """Change the run as its owner; RunLost when it has another one."""
        changed = update(workflow_runs).where(R.id == self._run_id, R.owner == self._owner)
        if connection.execute(changed.values(**(values or {"owner": self._owner}))).rowcount == 0:
            raise RunLost

    def _fence_adding(self, connection: Connection, amounts: Mapping[str, Any] | None = None) -> None:
        """Add to the run's sums as its owner; RunLost when it has another one."""
        params = {**_NO_AMOUNTS, **(amounts or {}), "of_run": self._run_id, "of_owner": self._owner}
        if not _FENCE.all(connection, params):
            raise RunLost

    def _seal(self, value: Any) -> Any:
        return seal_value(self._data_key, value) if self.is_sealed else value

    def _seal_text(self, text: str) -> str:
        """A text as a column takes it: tools and models are strangers, and say NULs and halves of letters."""
        text = make_storable(text)
        return self._data_key.encrypt(text) if self.is_sealed and text else text

    def _open(self, value: Any) -> Any:
        return Seals(self._data_key, is_sealed=self.is_sealed).open_value(value)


_STEP_COLUMNS = (
    *("path", "position", "kind", "state", "port", "attempts", "error", "input_hash", "reused_from"),
    *("cost_nano_usd", "prompt_tokens", "completion_tokens", "started_at", "finished_at", "has_partial_cost"),
)


_WRITE_STEP = compile_upserts(workflow_steps, ("run_id", "path"), unchanged=("started_at",))
_START_ACTION = compile_upserts(workflow_actions, ("run_id", "key"))
_NOTE_CALLS = CompiledStatement(
    update(workflow_steps)
    .where(S.run_id == bindparam("of_run"), S.path == bindparam("of_path"))
    .values(calls=bindparam("new_calls"))
)
_END_ACTION = CompiledStatement(
    update(workflow_actions)
    .where(A.run_id == bindparam("of_run"), A.key == bindparam("of_key"))
    .values({name: bindparam(f"new_{name}") for name in ("state", "result", "finished_at")})
)
_READ_USAGE = CompiledStatement(
    select(
        func.count().label("calls"),
        func.count(usage_logs.c.cost_nano_usd).label("priced"),
        func.sum(usage_logs.c.cost_nano_usd).label("cost"),
        func.sum(usage_logs.c.prompt_tokens).label("prompt"),
        func.sum(usage_logs.c.completion_tokens).label("completion"),
        func.count().filter(usage_logs.c.cost_status == "partial").label("partial"),
    ).where(usage_logs.c.call_id.in_(bindparam("call_ids", expanding=True)))
)
_AMOUNTS = ("steps_done", "prompt_tokens", "completion_tokens", "cost_nano_usd", "orphaned_calls")
_NO_AMOUNTS: Mapping[str, Any] = {**{f"more_{name}": 0 for name in _AMOUNTS}, "is_partial": False}
_FENCE = CompiledStatement(
    update(workflow_runs)
    .where(R.id == bindparam("of_run"), R.owner == bindparam("of_owner"))
    .values(
        {name: R[name] + bindparam(f"more_{name}", type_=R[name].type) for name in _AMOUNTS}
        | {"has_partial_cost": or_(R.has_partial_cost, bindparam("is_partial", type_=Boolean))}
    )
    .returning(R.id)
)


def _compute_amounts(step: Step, earlier_usage: StepUsage, done: int) -> dict[str, Any]:
    """Compute what a step adds to the run's sums, without what it had added before.

    A cost of None makes the sum NULL, which stays NULL: what is unknown once is unknown.
    """
    cost = step.cost_nano_usd
    return {
        "more_steps_done": done,
        "more_prompt_tokens": step.prompt_tokens - earlier_usage.prompt_tokens,
        "more_completion_tokens": step.completion_tokens - earlier_usage.completion_tokens,
        "more_cost_nano_usd": None if cost is None else cost - (earlier_usage.cost_nano_usd or 0),
        "is_partial": step.has_partial_cost,
    }


def seal_value(data_key: DataKey, value: Any, within: Connection | None = None) -> Any:
    """Seal a value of a run whose words are not kept; None stays None."""
    return None if value is None else {_SEALED: data_key.encrypt(json.dumps(value), within)}


@dataclass(frozen=True)
class Seals:
    """Opens what a run's rows hold. Only rows of a run that is sealed hold ciphertexts: in those of any other a value
    may look like one and is somebody's own. With `shows_content` False there are no words.
    """

    data_key: DataKey
    is_sealed: bool
    shows_content: bool = True

    def open_value(self, value: Any) -> Any:
        """Open a value that was sealed; any other as it is; None for who may not read it."""
        if not self.shows_content:
            return None
        is_ciphertext = self.is_sealed and isinstance(value, dict) and value.keys() == {_SEALED}
        if is_ciphertext and self.data_key.seals(value[_SEALED]):
            return json.loads(self.data_key.decrypt(value[_SEALED]))
        return value

    def open_text(self, text: str, *, is_words: bool) -> str:
        """Open a text that was sealed; who may not read words gets none where it `is_words`."""
        if not self.shows_content and is_words:
            return NOT_SHOWN if text else ""
        return self.data_key.decrypt(text) if self.is_sealed and self.data_key.seals_own(text) else text

    def open_run(self, row: Mapping[Any, Any]) -> dict[str, Any]:
        """The row of a run with what is sealed opened: why it failed may repeat its words."""
        reason = self.open_text(row["reason"], is_words=row["state"] == RunState.FAILED)
        inputs = self.open_value(row["inputs"])
        opened = {"inputs": {} if inputs is None else inputs, "output": self.open_value(row["output"])}
        return {**row, **opened, "reason": reason}

    def open_step(self, row: Mapping[Any, Any]) -> dict[str, Any]:
        """The row of a step with what is sealed opened."""
        opened = {name: self.open_value(row[name]) for name in ("input", "output", "changes")}
        return {**row, **opened, "error": self.open_error(row["error"], row["state"])}

    def open_error(self, error: str, state: str) -> str:
        """A step's error with what is sealed opened: it may repeat words, unless the step only waits."""
        return self.open_text(error, is_words=state not in (StepState.WAITING, StepState.CANCELLED))


def _erase(connection: Connection, run_id: str) -> None:
    """Erase the words of a run whose configurations keep none, once nothing needs them."""
    withheld = {_WITHHELD: True}
    values = {"input": withheld, "output": withheld, "changes": None, "error": ""}
    connection.execute(update(workflow_steps).where(S.run_id == run_id).values(**values))
    connection.execute(update(workflow_actions).where(A.run_id == run_id).values(result=None))


def load_steps(store: Store, run_id: str, seals: Seals) -> dict[str, Step]:
    """Load the steps of a run by path, in the order in which they began."""
    query = select(workflow_steps).where(S.run_id == run_id).order_by(S.started_at, S.position, S.path)
    with store.read() as connection:
        rows = connection.execute(query).mappings().all()
    return {row["path"]: build_step(seals.open_step(row)) for row in rows}


def build_step(row: Mapping[Any, Any]) -> Step:
    """Build the value of a step's row whose seals are open."""
    names = (*_STEP_COLUMNS, "input", "output", "changes")
    columns = {name: row[name] for name in names if name != "state"}
    return Step(**columns, state=StepState(row["state"]), calls=tuple(row["calls"]))


OUTLINE_COLUMNS = (*_STEP_COLUMNS, "calls")


def build_outline_step(row: Any, seals: Seals) -> Step:
    """Build the value of a row of OUTLINE_COLUMNS: a step without input and output, at a third of the whole's price."""
    values = dict(zip(OUTLINE_COLUMNS, row, strict=True))
    values["state"] = StepState(values["state"])
    values["calls"] = tuple(values["calls"])
    if values["error"]:
        values["error"] = seals.open_error(values["error"], values["state"])
    return Step(input=None, output=None, changes=None, **values)


_RUN_COLUMNS = (
    *("id", "workflow_id", "version", "reason", "failed_step", "user_id", "api_key_id", "team_id", "inputs", "output"),
    *("cost_cap_nano_usd", "cost_nano_usd", "prompt_tokens", "completion_tokens", "orphaned_calls", "steps_done"),
    *("executions", "stop_asked", "wake_at", "reuses_run_id", "rerun_from", "created_at", "started_at", "finished_at"),
    "has_partial_cost",
)


def build_run(row: Mapping[Any, Any], **further_fields: Any) -> Run:
    """Build the value of a run's row."""
    return Run(
        **{name: row[name] for name in _RUN_COLUMNS},
        state=RunState(row["state"]),
        trigger=Trigger(row["trigger"]),
        pins={slug: (pin[0], pin[1]) for slug, pin in row["pins"].items()},
        **further_fields,
    )


def build_run_row(**values: Any) -> dict[str, Any]:
    """Build the row of a run that has not begun."""
    return {
        "state": RunState.QUEUED,
        "reason": "",
        "failed_step": "",
        "output": None,
        "cost_nano_usd": 0,
        "has_partial_cost": False,
        "prompt_tokens": 0,
        "completion_tokens": 0,
        "orphaned_calls": 0,
        "steps_done": 0,
        "owner": "",
        "executions": 0,
        "stop_asked": "",
        "signals": 0,
        "is_sealed": False,
        "wake_at": None,
        "reuses_run_id": None,
        "rerun_from": "",
        "batch_id": None,
        "batch_row": None,
        "pinned": {},
        "created_at": utc_now(),
        "started_at": None,
        "finished_at": None,
        **values,
    }


def is_lost(now: datetime) -> ColumnElement[bool]:
    """Runs that are at work and whose process gives no sign of life any more."""
    unmarked = R.wake_at.is_(None) & (R.started_at < now - LOST_AFTER)
    return (R.state == RunState.RUNNING) & ((R.wake_at <= now) | unmarked)


def keep_runs(connection: Connection, owners: Sequence[str]) -> None:
    """Give a sign of life for the runs of these executions."""
    own_runs = update(workflow_runs).where(R.state == RunState.RUNNING, R.owner.in_(owners))
    connection.execute(own_runs.values(wake_at=utc_now() + LOST_AFTER))


def insert_run(connection: Connection, row: Mapping[str, Any]) -> bool:
    """Write the row of a new run; False where there is one of this id."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    statement = dialect.insert(workflow_runs).values(**row).on_conflict_do_nothing().returning(R.id)
    return connection.scalar(statement) is not None
