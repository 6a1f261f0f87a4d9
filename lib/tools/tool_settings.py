"""What is set on a tool beside its definition: on or off, who may use it where, when a person is asked, time, price."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, RowMapping, insert, select, true, update

from lib.access import audit
from lib.access.permissions import Actor, Permission, Role
from lib.access.team_scope import filter_usable, make_shared_refusal
from lib.clock import utc_now
from lib.configs.configuration import check_slug
from lib.configs.tool_rules import STRICTNESS, ApprovalPolicy
from lib.db.engine import Store
from lib.db.tables import ALL_TEAMS, mcp_servers, tools
from lib.errors import Conflict, InvalidInput
from lib.tools.tool import SourceKind, ToolDefinition

DEFAULT_TIMEOUT_S = 60
LONGEST_TIMEOUT_S = 600
_MOST_PRICE = 10**15
_T = tools.c


class ToolSettings(Struct, frozen=True):
    """The settings of one tool. `approval` None follows the tool's annotations; empty `roles` and `apps` are all."""

    is_enabled: bool = True
    approval: ApprovalPolicy | None = None
    role_approval: Mapping[str, ApprovalPolicy] = {}
    roles: tuple[Role, ...] = ()
    apps: tuple[str, ...] = ()
    timeout_s: int | None = None
    price_nano_usd: int | None = None
    revision: int = 0  # 0: nothing was ever set

    @property
    def seconds(self) -> int:
        """The time a run may take."""
        return self.timeout_s or DEFAULT_TIMEOUT_S

    def find_refusal(self, definition: ToolDefinition, actor: Actor, app: str) -> str | None:
        """Say why an actor may not use the tool in an app; None when they may."""
        if not self.is_enabled:
            return f"The tool {definition.name} is switched off."
        if self.roles and actor.role not in self.roles:
            return f"The tool {definition.name} is not for the role {actor.role.value}."
        if self.apps and app not in self.apps:
            return f"The tool {definition.name} is not for the app {app}."
        return None

    def policy_for(self, definition: ToolDefinition, role: Role, rule: ApprovalPolicy | None) -> ApprovalPolicy:
        """Choose what happens before a run: the strictest that is set on the tool, for the role, or by `rule`.

        Where nothing is set, a tool that only reads runs and any other asks.
        """
        policies = [p for p in (self.approval, self.role_approval.get(role.value), rule) if p is not None]
        if policies:
            return max(policies, key=STRICTNESS.index)
        return ApprovalPolicy.ASK if definition.has_side_effects else ApprovalPolicy.AUTO

    def to_columns(self) -> dict[str, Any]:
        """Check the settings and return the columns to store; raises InvalidInput with the field."""
        if self.timeout_s is not None and not 1 <= self.timeout_s <= LONGEST_TIMEOUT_S:
            raise InvalidInput(f"The time is 1 to {LONGEST_TIMEOUT_S} seconds.", field="timeout_s")
        if self.price_nano_usd is not None and not 0 <= self.price_nano_usd <= _MOST_PRICE:
            raise InvalidInput("The price of a use can't be that.", field="price_nano_usd")
        return {
            "is_enabled": self.is_enabled,
            "approval": self.approval.value if self.approval else "",
            "role_approval": {Role(role).value: policy.value for role, policy in self.role_approval.items()},
            "roles": [role.value for role in self.roles],
            "apps": [check_slug(app, "app") for app in self.apps],
            "timeout_s": self.timeout_s,
            "price_nano_usd": self.price_nano_usd,
        }


NO_SETTINGS = ToolSettings()


def read_settings(row: RowMapping) -> ToolSettings:
    """Read the settings of a row of `tools`."""
    return ToolSettings(
        is_enabled=row["is_enabled"],
        approval=ApprovalPolicy(row["approval"]) if row["approval"] else None,
        role_approval={role: ApprovalPolicy(policy) for role, policy in row["role_approval"].items()},
        roles=tuple(Role(role) for role in row["roles"]),
        apps=tuple(row["apps"]),
        timeout_s=row["timeout_s"],
        price_nano_usd=row["price_nano_usd"],
        revision=row["revision"],
    )


class SettingsOfTools:
    """Reads and writes the settings of tools of every source."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def load(self) -> dict[str, ToolSettings]:
        """Load all settings by the tool's name, for whoever has chosen the tools that an actor may use."""
        return self._load(true())

    def list(self, actor: Actor) -> dict[str, ToolSettings]:
        """Load the settings of the tools that are of the actor's team or of all, by the tool's name."""
        return self._load(filter_usable(actor, _T.team_id))

    def _load(self, condition: ColumnElement[bool]) -> dict[str, ToolSettings]:
        query = select(tools).where(condition)
        with self._store.read() as connection:
            return {row["name"]: read_settings(row) for row in connection.execute(query).mappings()}

    def save(self, actor: Actor, definition: ToolDefinition, settings: ToolSettings) -> ToolSettings:
        """Store a tool's settings; Conflict when somebody changed them since `settings.revision`.

        A tool that is of all teams (built in, of such a server) is set by super-admins alone.
        """
        actor.require(Permission.MANAGE_TOOLS)
        columns = settings.to_columns()
        with self._store.write() as connection:
            team_id = connection.scalar(select(_T.team_id).where(_T.name == definition.name))
            if team_id is None:
                team_id = _find_team(connection, definition)
            if not actor.sees_every_team and team_id != actor.team_id:
                raise make_shared_refusal(definition.name)
            write_settings(connection, actor, definition, columns, settings.revision)
            set_columns = {name: part for name, part in columns.items() if part not in ([], {}, None, "")}
            audit.record(connection, actor, "tool.settings", definition.name, **set_columns)
            row = connection.execute(select(tools).where(_T.name == definition.name)).mappings().one()
            return read_settings(row)


def write_settings(
    connection: Connection, actor: Actor, definition: ToolDefinition, columns: Mapping[str, Any], revision: int
) -> None:
    """Insert or update the row of a tool's settings; Conflict when it is no longer at `revision`."""
    now = utc_now()
    current = connection.scalar(select(_T.revision).where(_T.name == definition.name))
    if (current or 0) != revision:
        raise Conflict(f"{definition.name} was changed meanwhile.", "", "Reload to see how, then change it again.")
    if current is None:
        first: dict[str, Any] = {"name": definition.name, "source": str(definition.source), "definition": {}}
        first |= {
            "team_id": _find_team(connection, definition),
            "owner_id": actor.user_id,
            "created_at": now,
            "updated_at": now,
            "revision": 1,
        }
        connection.execute(insert(tools).values(**first, **columns))
        return
    change = {**columns, "revision": revision + 1, "updated_at": now}
    connection.execute(update(tools).where(_T.name == definition.name).values(**change))


def _find_team(connection: Connection, definition: ToolDefinition) -> int:
    """The team of a tool of which nothing was set yet: that of its server, or all."""
    query = select(mcp_servers.c.team_id).where(mcp_servers.c.name == definition.server)
    team_id = connection.scalar(query) if definition.source == SourceKind.MCP else None
    return ALL_TEAMS if team_id is None else team_id
