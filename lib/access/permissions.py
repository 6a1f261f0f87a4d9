"""The twelve permissions, the five roles and the actor that every service function takes.

The check stands in the library: a function calls `actor.require(...)` before it does anything, so a page, a route and
a command are refused alike. Managing people belongs to the super-admin role alone; the twelve permissions, named as in
the original's seed, cover everything else.

An actor acts in one team, the chosen one, with the role that they have in it. Permissions reach as far as that team's
things and those of all teams; only super-admins reach every team. What is of the installation and no team's (providers,
prices, the encryption key) needs the role of the account itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType

from lib.access.grants import KeyGrant
from lib.db.team_ids import FIRST_TEAM
from lib.errors import PermissionDenied

NO_TEAM = -1  # of whom no team has as a member


class Permission(StrEnum):
    VIEW_CONFIGS = "view-llm-configs"
    CREATE_CONFIGS = "create-llm-configs"
    EDIT_CONFIGS = "edit-llm-configs"
    DELETE_CONFIGS = "delete-llm-configs"
    MANAGE_PROVIDERS = "manage-llm-providers"
    VIEW_STATS = "view-llm-stats"
    TEST_CONFIGS = "test-llm-configs"
    MANAGE_ENCRYPTION_KEYS = "manage-llm-encryption-keys"
    VIEW_CONVERSATIONS = "view-llm-conversations"
    MANAGE_KNOWLEDGE_BASE = "manage-llm-knowledge-base"
    MANAGE_WORKFLOWS = "manage-llm-workflows"
    MANAGE_TOOLS = "manage-llm-tools"


class Role(StrEnum):
    SUPER_ADMIN = "super-admin"
    MASTER_DEVELOPER = "master-developer"
    TEAM_ADMINISTRATOR = "team-administrator"
    DEVELOPER = "developer"
    ADMINISTRATOR = "administrator"


_P = Permission
INSTALLATION_WIDE = frozenset({_P.MANAGE_PROVIDERS, _P.MANAGE_ENCRYPTION_KEYS})
ROLE_PERMISSIONS: dict[Role, frozenset[Permission]] = {
    Role.SUPER_ADMIN: frozenset(Permission),
    Role.MASTER_DEVELOPER: frozenset(Permission),
    Role.TEAM_ADMINISTRATOR: frozenset(Permission) - INSTALLATION_WIDE,
    Role.DEVELOPER: frozenset(Permission)
    - {_P.DELETE_CONFIGS, _P.MANAGE_PROVIDERS, _P.MANAGE_ENCRYPTION_KEYS, _P.MANAGE_TOOLS},
    Role.ADMINISTRATOR: frozenset(
        {_P.VIEW_CONFIGS, _P.VIEW_STATS, _P.TEST_CONFIGS, _P.VIEW_CONVERSATIONS, _P.MANAGE_KNOWLEDGE_BASE}
    ),
}


@dataclass(frozen=True)
class Actor:
    """Who asks. `user_id` is None for the machine's own operator (command line, jobs), who may do everything.

    `role` and `permissions` hold in the team `team_id`, the chosen one of `team_ids`. `key` is set when a program asks
    with an API key: it fixes the app and the team, and narrows models and endpoints. `came_from` is set by the door,
    for the audit log: `page 192.0.2.7`, `gateway 192.0.2.7`, `command line ben@host`, `job`.
    """

    user_id: str | None
    name: str
    role: Role
    permissions: frozenset[Permission] = field(default=frozenset(), repr=False)
    key: KeyGrant | None = None
    came_from: str | None = field(default=None, compare=False)
    team_id: int = FIRST_TEAM
    team_ids: tuple[int, ...] = (FIRST_TEAM,)

    def with_origin(self, origin: str) -> "Actor":
        """Return the actor with `came_from` set, for the audit log."""
        return replace(self, came_from=origin)

    def can(self, permission: Permission) -> bool:
        """Whether the actor holds the permission."""
        return permission in self.permissions

    def require(self, permission: Permission) -> None:
        """Raise PermissionDenied unless the actor holds the permission."""
        if not self.can(permission):
            raise PermissionDenied(
                "You can't do this.",
                f"It needs the permission {permission.value}, which the role {self.role.value} does not have.",
                "Ask an administrator for another role.",
            )

    def require_of_installation(self, permission: Permission) -> None:
        """Raise PermissionDenied unless the actor holds the permission for what is every team's and the machine's.

        A role that a team has given does not reach there: it needs the account's own, as providers do.
        """
        self.require(permission)
        self.require(Permission.MANAGE_PROVIDERS)

    def require_super_admin(self, action: str = "manage people") -> None:
        """Raise PermissionDenied unless the actor is a super-admin; `action` completes "You can't …"."""
        if self.role is not Role.SUPER_ADMIN:
            raise PermissionDenied(f"You can't {action}.", "Only the role super-admin can.", "Ask one of them.")

    @property
    def sees_every_team(self) -> bool:
        """Whether the actor reaches the things of all teams."""
        return self.role is Role.SUPER_ADMIN

    @property
    def rules_team(self) -> bool:
        """Whether the actor administers the chosen team: its people, budget, limits and keys."""
        return self.role in (Role.SUPER_ADMIN, Role.TEAM_ADMINISTRATOR) and self.key is None

    def require_team_administrator(self, team_id: int, action: str = "manage this team") -> None:
        """Raise PermissionDenied unless the actor administers the team; `action` completes "You can't …"."""
        if not (self.rules_team and (self.sees_every_team or team_id == self.team_id)):
            why = "Only a team's own administrators and super-admins can."
            raise PermissionDenied(f"You can't {action}.", why, "Ask one of them, or choose the team you administer.")

    @property
    def sees_all_calls(self) -> bool:
        """Whether the actor may see figures and state of the team's calls; words of others need `reads_content_of`."""
        return self.can(Permission.VIEW_STATS)

    def reads_content_of(self, user_id: str | None) -> bool:
        """Whether the actor may read the prompt and answer of a call made by `user_id`."""
        return self.role is Role.SUPER_ADMIN or (user_id is not None and user_id == self.user_id)


def make_actor(
    user_id: str | None,
    name: str,
    role: Role,
    memberships: Mapping[int, Role | None] = MappingProxyType({FIRST_TEAM: None}),
    chosen_team: int = FIRST_TEAM,
) -> Actor:
    """Make the actor of a user whose account has a role, in one of the teams of `memberships`.

    A membership's role (None: the account's) decides what the actor may do with the team's things; what is of the
    whole installation needs the account's own. Without any team an actor may do nothing. A super-admin acts in any.
    """
    team_ids = tuple(sorted(memberships))
    if role is Role.SUPER_ADMIN:
        return Actor(user_id, name, role, ROLE_PERMISSIONS[role], team_id=chosen_team, team_ids=team_ids)
    if not team_ids:
        return Actor(user_id, name, role, team_id=NO_TEAM, team_ids=())
    team_id = chosen_team if chosen_team in memberships else team_ids[0]
    team_role = memberships[team_id] or role
    if team_role is Role.SUPER_ADMIN:  # of the installation alone
        team_role = Role.TEAM_ADMINISTRATOR
    permissions = (ROLE_PERMISSIONS[team_role] - INSTALLATION_WIDE) | (ROLE_PERMISSIONS[role] & INSTALLATION_WIDE)
    return Actor(user_id, name, team_role, permissions, team_id=team_id, team_ids=team_ids)


OPERATOR = make_actor(None, "operator", Role.SUPER_ADMIN)
