"""The register of servers of others: added, approved, switched on and off, watched, their tools approved.

Nobody but who may manage tools of the whole installation changes anything here: a command runs as this program does, so
a role that a team has given is not enough. A server belongs to a team or to all, as a tool does: for who acts in
another team it is not there. A command runs only as an administrator has approved it: the whole argument vector, and
the names of the variables it is given. Listings come from SQL alone and never wait for a server.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from lib.access import audit
from lib.access.permissions import Actor, Permission
from lib.access.team_scope import filter_changeable, filter_usable, is_usable, make_shared_refusal, require_team
from lib.clock import make_id, utc_now
from lib.db.engine import Store
from lib.db.tables import approval_grants, mcp_pins, mcp_servers, mcp_states
from lib.db.vault import Vault
from lib.errors import Conflict, NotFound
from lib.mcp import pins, records, sign_in_records, socket_protocol
from lib.mcp.pins import Drift, PinnedTool
from lib.mcp.secrets import forget_secrets, write_secrets
from lib.mcp.server import McpServer, ServerDraft

_S = mcp_servers.c
_T = mcp_states.c
_P = mcp_pins.c
_MOST_SERVERS = 200


class Servers:
    """The servers of the installation."""

    def __init__(self, store: Store, vault: Vault, on_want: Callable[[], None]) -> None:
        self._store = store
        self._vault = vault
        self._on_want = on_want
        self._known: tuple[Any, list[McpServer]] = (None, [])

    def list(self, actor: Actor) -> Sequence[McpServer]:
        """List the servers by name, with their state and tools."""
        actor.require(Permission.MANAGE_TOOLS)
        with self._store.read() as connection:
            return records.read_servers(connection, filter_usable(actor, _S.team_id))

    def get(self, actor: Actor, name: str) -> McpServer:
        """Get a server by its name; raises NotFound."""
        actor.require(Permission.MANAGE_TOOLS)
        with self._store.read() as connection:
            return _find(connection, actor, name)

    def offered(self, actor: Actor) -> Sequence[McpServer]:
        """List the servers for who may use tools: as they last were, from memory while nothing has changed."""
        actor.require(Permission.TEST_CONFIGS)
        with self._store.read() as connection:
            stamp = _read_stamp(connection)
            stamped = self._known
            if stamp != stamped[0]:
                stamped = self._known = (stamp, records.read_servers(connection))
        return [server for server in stamped[1] if is_usable(actor, server.team_id)]

    def get_known(self, actor: Actor) -> Sequence[McpServer]:
        """Get the servers as they were when `offered` was last asked; what runs waits for no database."""
        actor.require(Permission.TEST_CONFIGS)
        return [server for server in self._known[1] if is_usable(actor, server.team_id)]

    def add(self, actor: Actor, draft: ServerDraft) -> McpServer:
        """Add a server, switched off and not approved; raises InvalidInput or Conflict."""
        actor.require_of_installation(Permission.MANAGE_TOOLS)
        draft.check()
        now = utc_now()
        row = {
            "id": make_id(),
            "name": draft.name,
            "wanted": "off",
            "revision": 1,
            "user_id": actor.user_id,
            "team_id": require_team(actor),
            "created_at": now,
            **_build_columns(draft),
        }
        with self._store.write() as connection:
            if connection.scalar(select(_S.id).where(_S.name == draft.name)) is not None:
                raise Conflict(f"There is a server {draft.name} already.", "", "Choose another name.")
            if (connection.scalar(select(func.count()).select_from(mcp_servers)) or 0) >= _MOST_SERVERS:
                raise Conflict(f"There are {_MOST_SERVERS} servers already.", "", "Remove one first.")
            connection.execute(insert(mcp_servers).values(**row))
            write_secrets(connection, self._vault, str(row["id"]), draft.secrets)
            sign_in_records.write_client_secret(connection, self._vault, str(row["id"]), draft.client_secret)
            audit.record(connection, actor, "mcp.add", draft.name, **_tell(draft))
            return _find(connection, actor, draft.name)

    def update(self, actor: Actor, draft: ServerDraft) -> McpServer:
        """Change a server; what is approved of it holds only where command, address and names stay the same."""
        actor.require_of_installation(Permission.MANAGE_TOOLS)
        draft.check()
        with self._store.write() as connection:
            server = _find_to_change(connection, actor, draft.name)
            _change(connection, server, revision=server.revision + 1, **_build_columns(draft))
            write_secrets(connection, self._vault, server.id, draft.secrets)
            if (draft.url, draft.issuer, draft.client_id) != (server.url, server.issuer, server.client_id):
                sign_in_records.forget_server(connection, server.id)
            if draft.client_secret:
                sign_in_records.write_client_secret(connection, self._vault, server.id, draft.client_secret)
            audit.record(connection, actor, "mcp.change", draft.name, **_tell(draft))
            changed = _find(connection, actor, draft.name)
        self._wake()
        return changed

    def approve(self, actor: Actor, name: str, approval_hash: str) -> McpServer:
        """Approve the command or address that was shown (its `approval_hash`); raises Conflict when it has changed."""
        actor.require_of_installation(Permission.MANAGE_TOOLS)
        with self._store.write() as connection:
            server = _find_to_change(connection, actor, name)
            if server.approval_hash != approval_hash:
                raise Conflict(f"{name} has changed meanwhile.", "", "Look at its command again.")
            _change(connection, server, approved_hash=approval_hash, approved_by=actor.user_id, approved_at=utc_now())
            audit.record(connection, actor, "mcp.approve", name, command=list(server.command), url=server.url)
            return _find(connection, actor, name)

    def start(self, actor: Actor, name: str) -> McpServer:
        """Want a server on; raises Conflict where its command is not approved."""
        return self._want(actor, name, "on")

    def stop(self, actor: Actor, name: str) -> McpServer:
        """Want a server off: it ends within five seconds."""
        return self._want(actor, name, "off")

    def restart(self, actor: Actor, name: str) -> McpServer:
        """Start a server anew, also one that was given up."""
        return self._want(actor, name, "on", action="mcp.restart")

    def stop_all(self, actor: Actor) -> int:
        """Want every server that the actor may change off; how many were on."""
        actor.require_of_installation(Permission.MANAGE_TOOLS)
        with self._store.write() as connection:
            values = {"wanted": "off", "updated_at": utc_now()}
            in_reach = filter_changeable(actor, _S.team_id)
            count = connection.execute(update(mcp_servers).where(_S.wanted == "on", in_reach).values(**values)).rowcount
            audit.record(connection, actor, "mcp.stop", "every server", count=count)
        self._wake()
        return count

    def remove(self, actor: Actor, name: str) -> None:
        """Forget a server, its pins and its secrets; raises Conflict while it is switched on."""
        actor.require_of_installation(Permission.MANAGE_TOOLS)
        with self._store.write() as connection:
            server = _find_to_change(connection, actor, name)
            if server.wanted == "on" or server.state.pid is not None:
                raise Conflict(f"{name} is on.", "", "Stop it first.")
            for table, column in ((mcp_pins, _P.server_id), (mcp_states, _T.server_id), (mcp_servers, _S.id)):
                connection.execute(delete(table).where(column == server.id))
            _revoke_grants(connection, server.tools)
            forget_secrets(connection, server.id)
            sign_in_records.forget_server(connection, server.id)
            audit.record(connection, actor, "mcp.remove", name)

    def approve_tools(self, actor: Actor, name: str, tools: Sequence[str] | None = None) -> McpServer:
        """Pin tools as they are listed now (all without names), and forget those that have vanished.

        A tool whose name another server's tool has is left out.
        """
        actor.require_of_installation(Permission.MANAGE_TOOLS)
        with self._store.write() as connection:
            server = _find_to_change(connection, actor, name)
            tool_names = None if tools is None else set(tools)
            if tool_names is not None and (unknown := tool_names - {tool.tool for tool in server.tools}):
                raise NotFound(f"{name} has no tool {sorted(unknown)[0][:80]}.")
            approved = [tool for tool in server.tools if tool_names is None or tool.tool in tool_names]
            _revoke_grants(connection, [tool for tool in approved if tool.drift is not Drift.APPROVED])
            for tool in approved:
                _pin(connection, actor, server.id, tool)
            if server.state.server_version:
                _change(connection, server, pinned_version=server.state.server_version)
            names = [tool.tool for tool in approved]
            audit.record(connection, actor, "mcp.tools.approve", name, tools=names[:100], count=len(names))
            return _find(connection, actor, name)

    def reject_tools(self, actor: Actor, name: str, tools: Sequence[str]) -> McpServer:
        """Take the approval of tools back; raises NotFound."""
        actor.require_of_installation(Permission.MANAGE_TOOLS)
        with self._store.write() as connection:
            server = _find_to_change(connection, actor, name)
            named_pins = (_P.server_id == server.id) & _P.tool.in_(tools)
            if connection.execute(delete(mcp_pins).where(named_pins)).rowcount == 0:
                raise NotFound("None of these tools is approved.")
            _change(connection, server)
            audit.record(connection, actor, "mcp.tools.reject", name, tools=list(tools)[:100])
            return _find(connection, actor, name)

    async def ask(self, actor: Actor, server: McpServer, do: str, **question: Any) -> Any:
        """Ask a running server on this machine (call, resource, prompt); raises ServerUnreachable."""
        actor.require(Permission.TEST_CONFIGS)
        if not is_usable(actor, server.team_id):
            raise NotFound(f"There is no server {server.name}.")
        asking = {"do": do, "server_id": server.id, "user_id": actor.user_id}
        return await socket_protocol.ask(self._store, {**asking, **question})

    def read_resource(self, actor: Actor, name: str, uri: str) -> dict[str, Any]:
        """Read a resource of a running server, as the protocol writes it."""
        return dict(self._ask_now(actor, name, "resource", uri=uri))

    def fill_prompt(self, actor: Actor, name: str, prompt: str, arguments: Mapping[str, str]) -> dict[str, Any]:
        """Fill in a prompt of a running server, as the protocol writes it."""
        return dict(self._ask_now(actor, name, "prompt", prompt=prompt, arguments=dict(arguments)))

    def _ask_now(self, actor: Actor, name: str, do: str, **question: Any) -> Any:
        server = next((server for server in self.offered(actor) if server.name == name), None)
        if server is None:
            raise NotFound(f"There is no server {name[:40]}.")
        return asyncio.run(self.ask(actor, server, do, **question))

    def _want(self, actor: Actor, name: str, target_state: str, action: str = "") -> McpServer:
        actor.require_of_installation(Permission.MANAGE_TOOLS)
        with self._store.write() as connection:
            server = _find_to_change(connection, actor, name)
            if target_state == "on" and not server.is_approved:
                why = "An administrator approves the whole command before it runs."
                raise Conflict(f"The command of {name} is not approved.", why, "Look at it and approve it.")
            _change(connection, server, wanted=target_state, revision=server.revision + 1)
            action = action or ("mcp.start" if target_state == "on" else "mcp.stop")
            audit.record(connection, actor, action, name)
            changed = _find(connection, actor, name)
        self._wake()
        return changed

    def _wake(self) -> None:
        self._on_want()
        socket_protocol.wake(self._store)


def _build_columns(draft: ServerDraft) -> dict[str, Any]:
    return {
        "title": draft.title[:200],
        "transport": draft.transport,
        "command": list(draft.command),
        "url": draft.url,
        "allow_private": draft.allow_private,
        "issuer": draft.issuer,
        "client_id": draft.client_id,
        "secret_names": sorted(draft.secrets),
        "limits": {"DATA": draft.memory_mb * 1024 * 1024},
        "updated_at": utc_now(),
    }


def _tell(draft: ServerDraft) -> dict[str, Any]:
    told: dict[str, Any] = {"command": list(draft.command), "url": draft.url, "secrets": sorted(draft.secrets)}
    return {**told, "issuer": draft.issuer, "client_id": draft.client_id} if draft.issuer else told


def _pin(connection: Connection, actor: Actor, server_id: str, tool: PinnedTool) -> None:
    connection.execute(delete(mcp_pins).where(_P.server_id == server_id, _P.tool == tool.tool))
    if tool.drift in (Drift.VANISHED, Drift.COLLISION):
        return
    values = {
        "fingerprint": pins.compute_fingerprint(tool.definition),
        "definition": dict(tool.definition),
        "approved_by": actor.user_id,
        "approved_at": utc_now(),
    }
    connection.execute(insert(mcp_pins).values(server_id=server_id, tool=tool.tool, **values))


def _revoke_grants(connection: Connection, tools: Sequence[PinnedTool]) -> None:
    """Let tools ask again: what was granted for good was granted to another tool of the name."""
    subjects = [f"tool:{tool.name}" for tool in tools]
    connection.execute(delete(approval_grants).where(approval_grants.c.subject.in_(subjects)))


def _find(connection: Connection, actor: Actor, name: str) -> McpServer:
    is_named = (_S.name == name) & filter_usable(actor, _S.team_id)
    if not (servers := records.read_servers(connection, is_named)):
        raise NotFound(f"There is no server {name[:40]}.", "", "See the page MCP servers.")
    return servers[0]


def _find_to_change(connection: Connection, actor: Actor, name: str) -> McpServer:
    """Find a server that the actor may change; PermissionDenied for one of all teams."""
    is_changeable = (_S.name == name) & filter_changeable(actor, _S.team_id)
    if not (servers := records.read_servers(connection, is_changeable)):
        raise make_shared_refusal(_find(connection, actor, name).name)
    return servers[0]


def _change(connection: Connection, server: McpServer, **values: Any) -> None:
    connection.execute(update(mcp_servers).where(_S.id == server.id).values(**{"updated_at": utc_now(), **values}))


def _read_stamp(connection: Connection) -> Any:
    """Read a value that changes whenever a server, its state or a pin does."""
    servers = connection.execute(select(_S.id, _S.updated_at)).all()
    states = connection.execute(select(_T.server_id, _T.machine, _T.actual, _T.since, _T.tools_at, _T.reason)).all()
    pinned = connection.execute(select(func.count(), func.max(_P.approved_at))).all()
    return tuple(map(tuple, (*servers, *states, *pinned, *sign_in_records.read_stamp(connection))))
