"""What stands at the address of a page that one's role does not open."""

from dataclasses import replace

from lib.access.permissions import ROLE_PERMISSIONS, Actor, Permission
from lib.ui import blocks


def draw_page(actor: Actor, title: str, permission: Permission | None) -> None:
    """Draw the reason and who can help; nothing of the page itself."""
    with blocks.show_empty_state("lock", f"{title} is not open to you", explain(actor, permission), wide=True):
        pass


def explain(actor: Actor, permission: Permission | None) -> str:
    """Say which roles open a page (None: who administers a team), and which one the actor has."""
    roles = [
        role.value
        for role, permissions in ROLE_PERMISSIONS.items()
        if (permission in permissions if permission is not None else replace(actor, role=role, key=None).rules_team)
    ]
    names = f"{', '.join(roles[:-1])} and {roles[-1]}"
    return f"It opens for the roles {names}; yours is {actor.role.value}. Ask a super-admin for another role."
