"""Rows of tools' runs: opened before a tool runs, closed at its end, read back with filters.

Words follow the content policy of the call; hashes and sizes are kept always. A row that is still open after its
deadline has lost its process and is closed as `orphaned`: whether the tool had its effect is not known.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from msgspec import convert, to_builtins
from msgspec.structs import replace
from sqlalchemy import ColumnElement, Integer, RowMapping, and_, cast, false, func, insert, select, true, update

from lib.access.permissions import Actor, Permission
from lib.calls.live_call import make_storable
from lib.clock import utc_now
from lib.db.engine import Store
from lib.db.tables import tool_executions
from lib.errors import NotFound
from lib.ledger.content_policy import FULL, METADATA, sanitise_parameters, sanitise_text
from lib.tools.checking import measure_json
from lib.tools.tool import ExecutionStatus, ToolContext, ToolDefinition, ToolExecution, ToolOutput

PAGE_SIZE = 50
_LOST = "The process that ran it ended before the tool did. Whether it had its effect is not known."
_GRACE = timedelta(seconds=30)
_OPEN = (ExecutionStatus.RUNNING.value, ExecutionStatus.WAITING.value)
_E = tool_executions.c
_SAME_NAMES = tuple(name for name in ToolExecution.__struct_fields__ if name in _E)


@dataclass(frozen=True)
class ExecutionFilter:
    """Which runs to list; None is any."""

    tool: str | None = None
    server: str | None = None
    status: str | None = None
    app: str | None = None
    user_id: str | None = None
    conversation_id: str | None = None
    call_id: str | None = None
    turn_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True)
class ToolFigures:
    """How a tool did over a period: runs that ended, those that failed, times in milliseconds, cost."""

    tool: str
    server: str
    runs: int
    failed: int
    mean_ms: float | None
    longest_ms: int | None
    cost_nano_usd: int | None
    last_at: datetime

    @property
    def failure_share(self) -> float:
        """The share of runs that did not bring a result."""
        return self.failed / self.runs if self.runs else 0.0


class ExecutionLog:
    """Writes and reads `tool_executions`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def open(
        self,
        execution_id: str,
        definition: ToolDefinition,
        arguments: Any,
        context: ToolContext,
        seconds: float,
        status: ExecutionStatus = ExecutionStatus.RUNNING,
        reason: str = "",
    ) -> ToolExecution:
        """Write the row of a run that begins."""
        measured = measure_json(arguments)
        now = utc_now()
        actor = context.actor
        row: dict[str, Any] = {
            "id": execution_id,
            "started_at": now,
            "deadline_at": now + timedelta(seconds=seconds),
            "tool": definition.name,
            "source": str(definition.source),
            "server": definition.server[:64],
            "status": status.value,
            "user_id": actor.user_id,
            "api_key_id": actor.key.key_id if actor.key else None,
            "team_id": actor.team_id,
            "app": context.app,
            "origin": context.origin,
            "configuration_id": context.configuration_id,
            "conversation_id": context.conversation_id,
            "call_id": context.call_id,
            "turn_id": context.turn_id,
            "tool_call_id": context.tool_call_id[:200],
            "session_id": context.within.session_id,
            "workflow_run_id": context.within.workflow_run_id or None,
            "workflow_step": context.within.workflow_step[:80],
            "approval_id": context.approval_id,
            "reason": reason,
            "content_policy": context.content_policy,
            "arguments": keep_json(context.content_policy, arguments),
            "arguments_hash": measured.hash,
            "arguments_bytes": measured.size,
        }
        row = {name: make_storable(text) if isinstance(text, str) else text for name, text in row.items()}
        with self._store.write() as connection:
            connection.execute(insert(tool_executions).values(**row))
        return _build_execution(row, arguments)

    def close(
        self,
        execution: ToolExecution,
        status: ExecutionStatus,
        output: ToolOutput | None,
        error_message: str | None = None,
        cost_nano_usd: int | None = None,
        duration_ms: int | None = None,
    ) -> ToolExecution:
        """Write the end of a run and return it with its whole output."""
        policy = execution.content_policy
        document = to_builtins(output) if output is not None else None
        measured = measure_json(document) if document is not None else None
        if document is not None and policy != FULL:
            document = {**document, "images": []}  # pictures can't be masked
        ending: dict[str, Any] = {
            "status": status.value,
            "result": None if document is None else keep_json(policy, document),
            "result_hash": measured.hash if measured else "",
            "result_bytes": measured.size if measured else 0,
            "error_message": sanitise_text(policy, None if error_message is None else make_storable(error_message)),
            "cost_nano_usd": cost_nano_usd,
            "duration_ms": duration_ms,
        }
        with self._store.write() as connection:
            connection.execute(update(tool_executions).where(_E.id == execution.id).values(**ending))
        ending.pop("result")
        return replace(execution, output=output, **(ending | {"error_message": error_message}))

    def begin(self, execution: ToolExecution, arguments: Any, seconds: float) -> ToolExecution:
        """Note that a run which waited for a person begins now, perhaps with arguments that they changed."""
        measured = measure_json(arguments)
        change = {
            "status": ExecutionStatus.RUNNING.value,
            "deadline_at": utc_now() + timedelta(seconds=seconds),
            "arguments": keep_json(execution.content_policy, arguments),
            "arguments_hash": measured.hash,
            "arguments_bytes": measured.size,
        }
        with self._store.write() as connection:
            connection.execute(update(tool_executions).where(_E.id == execution.id).values(**change))
        status = ExecutionStatus.RUNNING.value
        sizes = {"arguments_hash": measured.hash, "arguments_bytes": measured.size}
        return replace(execution, status=status, arguments=arguments, **sizes)

    def link_approval(self, execution_id: str, approval_id: str) -> None:
        """Note which question to a person a run waits for."""
        with self._store.write() as connection:
            connection.execute(update(tool_executions).where(_E.id == execution_id).values(approval_id=approval_id))

    def find_turn(self, approval_id: str) -> str | None:
        """Find the turn of the run that a question to a person is about; None where it has none."""
        query = select(_E.turn_id).where(_E.approval_id == approval_id).limit(1)
        with self._store.read() as connection:
            return connection.scalar(query)

    def stop_waiting(self, execution_ids: Sequence[str]) -> None:
        """Close the rows of runs that wait for a person and are no longer wanted."""
        ending = {"status": ExecutionStatus.STOPPED.value, "error_message": "It was stopped."}
        waiting = (_E.id.in_(execution_ids), _E.status.in_((ExecutionStatus.WAITING, ExecutionStatus.NEEDS_INPUT)))
        with self._store.write() as connection:
            connection.execute(update(tool_executions).where(*waiting).values(**ending))

    def recover(self) -> int:
        """Close the rows of runs that lost their process; how many those were."""
        lost = (_E.status == ExecutionStatus.RUNNING.value, _E.deadline_at < utc_now() - _GRACE)
        with self._store.read() as connection:  # nobody waits for the lock while there is nothing to do
            if connection.scalar(select(_E.id).where(*lost).limit(1)) is None:
                return 0
        with self._store.write() as connection:
            ending = {"status": ExecutionStatus.ORPHANED.value, "error_message": _LOST}
            return connection.execute(update(tool_executions).where(*lost).values(**ending)).rowcount

    def list(
        self, actor: Actor, criteria: ExecutionFilter | None = None, page: int = 1, size: int = PAGE_SIZE
    ) -> Sequence[ToolExecution]:
        """List runs, newest first: the actor's own, or the whole team's for who may view statistics.

        Arguments and results of other people's runs are left out unless the actor may read them.
        """
        actor.require(Permission.TEST_CONFIGS)
        query = (
            select(tool_executions)
            .where(*_list_conditions(actor, criteria or ExecutionFilter()))
            .order_by(_E.started_at.desc(), _E.id.desc())
            .limit(size)
            .offset((page - 1) * size)
        )
        with self._store.read() as connection:
            return [_read(row, actor) for row in connection.execute(query).mappings()]

    def get(self, actor: Actor, execution_id: str) -> ToolExecution:
        """Read one run; NotFound when the actor may not see it."""
        actor.require(Permission.TEST_CONFIGS)
        query = select(tool_executions).where(_E.id == execution_id, _is_visible(actor))
        with self._store.read() as connection:
            row = connection.execute(query).mappings().first()
        if row is None:
            raise NotFound("There is no such run of a tool.", "It does not exist, or it belongs to somebody else.")
        return _read(row, actor)

    def of_turn(self, actor: Actor, turn_id: str) -> Sequence[ToolExecution]:
        """List the runs of a turn in the order in which they began."""
        actor.require(Permission.TEST_CONFIGS)
        query = select(tool_executions).where(_E.turn_id == turn_id, _is_visible(actor)).order_by(_E.id)
        with self._store.read() as connection:
            return [_read(row, actor) for row in connection.execute(query).mappings()]

    def figures(self, actor: Actor, criteria: ExecutionFilter | None = None) -> Sequence[ToolFigures]:
        """Count runs, failures, times and costs by tool, over runs that have ended; the most used tool first."""
        actor.require(Permission.TEST_CONFIGS)
        failed = func.sum(cast(_E.status != ExecutionStatus.OK.value, Integer))
        ended = _E.status.notin_(_OPEN)
        query = (
            select(_E.tool, _E.server, func.count(), failed, func.avg(_E.duration_ms), func.max(_E.duration_ms))
            .add_columns(func.sum(_E.cost_nano_usd), func.max(_E.started_at))
            .where(*_list_conditions(actor, criteria or ExecutionFilter()), ended)
            .group_by(_E.tool, _E.server)
            .order_by(func.count().desc(), _E.tool)
        )
        with self._store.read() as connection:
            return [
                ToolFigures(
                    tool,
                    server,
                    runs,
                    int(failures or 0),
                    None if mean is None else float(mean),
                    longest,
                    None if cost is None else int(cost),
                    last_at,
                )
                for tool, server, runs, failures, mean, longest, cost, last_at in connection.execute(query)
            ]


def keep_json(policy: str, value: Any) -> Any:
    """Make of a JSON value what a content policy lets be kept: all of it, masked, or nothing."""
    if policy == METADATA or value is None:
        return None
    return value if policy == FULL else sanitise_parameters(policy, {"kept": value})["kept"]


def _list_conditions(actor: Actor, criteria: ExecutionFilter) -> list[ColumnElement[bool]]:
    equal = ("tool", "server", "status", "app", "user_id", "conversation_id", "call_id", "turn_id")
    conditions = [_E[name] == getattr(criteria, name) for name in equal if getattr(criteria, name) is not None]
    if criteria.since is not None:
        conditions.append(_E.started_at >= criteria.since)
    if criteria.until is not None:
        conditions.append(_E.started_at < criteria.until)
    return [_is_visible(actor), *conditions]


def _is_visible(actor: Actor) -> ColumnElement[bool]:
    """Runs that an actor sees: of the chosen team for who views statistics, else their own; with a key its app's."""
    if actor.sees_every_team:
        return true()
    of_team = _E.team_id == actor.team_id
    if actor.sees_all_calls:
        return of_team
    if actor.user_id is None:  # of nobody: no value is never equal to another
        return false()
    of_app = true() if actor.key is None else and_(of_team, _E.app == actor.key.app)
    return and_(_E.user_id == actor.user_id, of_app)


def _read(row: RowMapping, actor: Actor) -> ToolExecution:
    execution = _build_execution(row, row["arguments"])
    if actor.user_id is None or actor.reads_content_of(row["user_id"]):
        return execution
    return replace(execution, arguments=None, output=None, error_message=None)


def _build_execution(row: Mapping[Any, Any], arguments: Any) -> ToolExecution:
    columns = {name: row[name] for name in _SAME_NAMES if name in row}
    output = row.get("result")
    read_output = None if output is None else convert(output, ToolOutput, strict=False)
    return ToolExecution(**(columns | {"arguments": arguments, "output": read_output}))
