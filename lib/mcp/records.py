"""Rows of servers, their states and their runner, read and written; whoever calls has checked who may.

A state is written by the runner of its machine alone. A list of tools is replaced in one statement, and only by a list
that came whole: a failed listing leaves the last good one where it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, insert, select, true, update
from sqlalchemy.exc import IntegrityError

from lib.approvals.approval import make_storable
from lib.clock import utc_now
from lib.db.engine import Store
from lib.db.tables import ALL_TEAMS, mcp_pins, mcp_runners, mcp_servers, mcp_states
from lib.mcp import processes, sign_in_records
from lib.mcp.pins import Pin, compare, join_names
from lib.mcp.processes import ProcessMark, name_machine
from lib.mcp.server import ActualState, McpServer, ServerState
from lib.mcp.sign_in_records import SignIn

BEAT_S = 2.0
FRESH = timedelta(seconds=10)  # after which a runner that has not beaten is gone
_S = mcp_servers.c
_T = mcp_states.c
_P = mcp_pins.c
_R = mcp_runners.c


@dataclass(frozen=True)
class RunnerRecord:
    """The process that runs servers on a machine."""

    machine: str
    owner: str
    pid: int
    address: str
    beat_at: datetime

    @property
    def is_fresh(self) -> bool:
        """Whether it is taken to be alive: it has just beaten, and on this machine its process is there."""
        is_here = self.machine == name_machine()
        return utc_now() - self.beat_at < FRESH and not (is_here and processes.is_gone(self.pid))


def read_servers(
    connection: Connection, condition: ColumnElement[bool] | None = None, machine: str | None = None
) -> list[McpServer]:
    """The servers that meet a condition on `mcp_servers` (without one every server) by name.

    Each has its state on a machine (this one) or, where it has none there, on another. Whether the names of tools meet
    is judged over all servers, also those that are left out.
    """
    machine_name = machine or name_machine()
    states = dict[str, ServerState]()
    for row in connection.execute(select(mcp_states)).mappings():
        if row["server_id"] not in states or row["machine"] == machine_name:
            states[row["server_id"]] = _build_state(row)
    signed_in = dict[str, list[SignIn]]()
    for sign_in in sign_in_records.read_sign_ins(connection):
        signed_in.setdefault(sign_in.server_id, []).append(sign_in)
    pins = dict[str, list[Pin]]()
    for row in connection.execute(select(mcp_pins)).mappings():
        pins.setdefault(row["server_id"], []).append(Pin(row["tool"], row["fingerprint"], row["definition"]))
    rows = connection.execute(select(mcp_servers).order_by(_S.created_at, _S.id)).mappings().all()
    server_ids = set(connection.scalars(select(_S.id).where(true() if condition is None else condition)))
    names = dict[str, tuple[int, str]]()
    servers = list[McpServer]()
    for row in rows:
        people = (sign_in.user_id for sign_in in signed_in.get(row["id"], []) if sign_in.is_good_for(row["url"]))
        server = _build_server(row, states.get(row["id"]), pins.get(row["id"], []), _name_owners(names, row["team_id"]))
        server = replace(server, signed_in=frozenset(people))
        for tool in server.tools:
            names.setdefault(tool.name, (server.team_id, f"{server.name}'s {tool.tool}"))
        servers.append(server)
    return sorted((server for server in servers if server.id in server_ids), key=lambda server: server.name)


def _name_owners(names: Mapping[str, tuple[int, str]], team_id: int) -> dict[str, str]:
    """Whose each name of a tool is, in words for a server's team: other teams' servers are not told."""
    return {
        name: owner if owner_team in (ALL_TEAMS, team_id) else "a tool of another team's server"
        for name, (owner_team, owner) in names.items()
    }


def read_marks(connection: Connection) -> Any:
    """Read a value that changes whenever a server's wanted state, approval or settings do; runners compare it."""
    query = select(_S.id, _S.wanted, _S.revision, _S.approved_hash).order_by(_S.id)
    return [tuple(row) for row in connection.execute(query)]


def _build_server(row: Any, state: ServerState | None, pins: Sequence[Pin], names: Mapping[str, str]) -> McpServer:
    state = state or ServerState("", ActualState.OFF, "", row["created_at"])
    command = tuple(row["command"])
    server = McpServer(
        row["id"],
        row["name"],
        row["title"],
        row["transport"],
        command,
        row["url"],
        row["allow_private"],
        tuple(row["secret_names"]),
        row["limits"],
        row["wanted"],
        row["revision"],
        False,
        row["approved_at"],
        row["pinned_version"],
        row["user_id"],
        row["team_id"],
        row["created_at"],
        state,
        (),
        issuer=row["issuer"],
        client_id=row["client_id"],
    )
    is_same = row["pinned_version"] in (None, state.server_version) or not state.server_version
    tools = compare(server.name, pins, _select_last_list(state, pins), is_same_server=is_same, foreign_names=names)
    fields = {**vars(server), "is_approved": row["approved_hash"] == server.approval_hash, "tools": tools}
    return McpServer(**fields)


def _select_last_list(state: ServerState, pins: Sequence[Pin]) -> Sequence[Mapping[str, Any]]:
    """The last good list; before there was one here, what was approved stands for it."""
    return [pin.definition for pin in pins] if state.tools is None else state.tools


def _build_state(row: Any) -> ServerState:
    return ServerState(
        row["machine"],
        ActualState(row["actual"]),
        row["reason"],
        row["since"],
        row["protocol"],
        row["server_version"],
        row["tools"],
        row["resources"] or (),
        row["prompts"] or (),
        row["tools_at"],
        row["error_text"],
        row["pid"],
        row["listed_as"],
    )


def find_server_of(servers: Sequence[McpServer], name: str) -> tuple[McpServer, str] | None:
    """Find the server and its own name of a tool that models call by `name`."""
    for server in servers:
        for tool in server.tools:
            if tool.name == name and join_names(server.name, tool.tool) == name:
                return server, tool.tool
    return None


def write_state(store: Store, server_id: str, **values: Any) -> None:
    """Write columns of a server's state on this machine; `since` moves when `actual` does."""
    machine = name_machine()
    own_row = (_T.server_id == server_id) & (_T.machine == machine)
    values = {name: make_storable(text) if isinstance(text, str) else text for name, text in values.items()}
    with store.write() as connection:
        row = connection.execute(select(_T.actual).where(own_row)).first()
        if "actual" in values and (row is None or row.actual != values["actual"]):
            values["since"] = utc_now()
        if row is not None:
            connection.execute(update(mcp_states).where(own_row).values(**values))
            return
        first = {"actual": ActualState.OFF, "reason": "", "since": utc_now(), "revision": 0, "boot_id": "", "token": ""}
        cleared = {"protocol": "", "server_version": "", "error_text": ""}
        connection.execute(
            insert(mcp_states).values(server_id=server_id, machine=machine, **{**first, **cleared, **values})
        )


def raise_revision(connection: Connection, server_id: str) -> None:
    """Have the runner connect to a server anew."""
    anew = {"revision": _S.revision + 1, "updated_at": utc_now()}
    connection.execute(update(mcp_servers).where(_S.id == server_id).values(**anew))


def note_process(store: Store, server_id: str, mark: ProcessMark | None) -> None:
    """Note the process of a server before anything is said to it; None when it is gone."""
    if mark is None:
        write_state(store, server_id, pid=None, process_started=None)
    else:
        write_state(
            store, server_id, pid=mark.pid, process_started=mark.started, token=mark.token, boot_id=mark.boot_id
        )


def read_processes(store: Store) -> dict[str, ProcessMark]:
    """Processes that are noted for this machine, by the server's id."""
    machine = name_machine()
    with store.read() as connection:
        rows = connection.execute(select(mcp_states).where(_T.machine == machine, _T.pid.is_not(None))).all()
    return {
        row.server_id: ProcessMark(machine, row.boot_id, row.pid, row.process_started or 0, row.token) for row in rows
    }


def read_runner(connection: Connection) -> RunnerRecord | None:
    """The runner of this machine, alive or not."""
    row = connection.execute(select(mcp_runners).where(_R.machine == name_machine())).mappings().first()
    return None if row is None else RunnerRecord(**row)


def take_machine(store: Store, owner: str, pid: int, address: str) -> bool:
    """Become the runner of this machine; False while another is alive."""
    machine = name_machine()
    values = {"owner": owner, "pid": pid, "address": address, "beat_at": utc_now()}
    try:
        with store.write() as connection:
            row = (
                connection.execute(select(mcp_runners).where(_R.machine == machine).with_for_update())
                .mappings()
                .first()
            )
            if row is not None and row["owner"] != owner and RunnerRecord(**row).is_fresh:
                return False
            if row is None:
                connection.execute(insert(mcp_runners).values(machine=machine, **values))
            else:
                connection.execute(update(mcp_runners).where(_R.machine == machine).values(**values))
    except IntegrityError:  # another was first
        return False
    return True


def write_heartbeat(store: Store, owner: str) -> bool:
    """Say that the runner lives; False when another has taken the machine over."""
    with store.write() as connection:
        own_row = (_R.machine == name_machine()) & (_R.owner == owner)
        return connection.execute(update(mcp_runners).where(own_row).values(beat_at=utc_now())).rowcount == 1


def leave_machine(store: Store, owner: str) -> None:
    """Let another become the runner at once."""
    with store.write() as connection:
        connection.execute(delete(mcp_runners).where(_R.machine == name_machine(), _R.owner == owner))
