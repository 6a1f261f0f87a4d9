"""The twelve permissions, the four roles and the actor that every service function takes.

The check stands in the library: a function calls `actor.require(...)` before it does anything, so a page, a route and
a command are refused alike. Managing people belongs to the super-admin role alone; the twelve permissions, named as in
the original's seed, cover everything else.
"""

from dataclasses import dataclass, field, replace
from enum import StrEnum

from lib.access.grants import KeyGrant
from lib.errors import PermissionDenied


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
    DEVELOPER = "developer"
    ADMINISTRATOR = "administrator"


_P = Permission
ROLE_PERMISSIONS: dict[Role, frozenset[Permission]] = {
    Role.SUPER_ADMIN: frozenset(Permission),
    Role.MASTER_DEVELOPER: frozenset(Permission),
    Role.DEVELOPER: frozenset(Permission)
    - {_P.DELETE_CONFIGS, _P.MANAGE_PROVIDERS, _P.MANAGE_ENCRYPTION_KEYS, _P.MANAGE_TOOLS},
    Role.ADMINISTRATOR: frozenset(
        {_P.VIEW_CONFIGS, _P.VIEW_STATS, _P.TEST_CONFIGS, _P.VIEW_CONVERSATIONS, _P.MANAGE_KNOWLEDGE_BASE}
    ),
}


@dataclass(frozen=True)
class Actor:
    """Who asks. `user_id` is None for the machine's own operator (command line, jobs), who may do everything.

    `key` is set when a program asks with an API key: it fixes the app and narrows models and endpoints. `came_from`
    is set by the door, for the audit log: `page 192.0.2.7`, `gateway 192.0.2.7`, `command line ben@host`, `job`.
    """

    user_id: str | None
    name: str
    role: Role
    permissions: frozenset[Permission] = field(default=frozenset(), repr=False)
    key: KeyGrant | None = None
    came_from: str | None = field(default=None, compare=False)

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

    def require_super_admin(self, action: str = "manage people") -> None:
        """Raise PermissionDenied unless the actor is a super-admin; `action` completes "You can't …"."""
        if self.role is not Role.SUPER_ADMIN:
            raise PermissionDenied(f"You can't {action}.", "Only the role super-admin can.", "Ask one of them.")

    @property
    def sees_all_calls(self) -> bool:
        """Whether the actor may see figures and state of other people's calls; their words need `reads_content_of`."""
        return self.can(Permission.VIEW_STATS)

    def reads_content_of(self, user_id: str | None) -> bool:
        """Whether the actor may read the prompt and answer of a call made by `user_id`."""
        return self.role is Role.SUPER_ADMIN or (user_id is not None and user_id == self.user_id)


def make_actor(user_id: str | None, name: str, role: Role) -> Actor:
    """Make the actor of a user with a role."""
    return Actor(user_id, name, role, ROLE_PERMISSIONS[role])


OPERATOR = make_actor(None, "operator", Role.SUPER_ADMIN)
