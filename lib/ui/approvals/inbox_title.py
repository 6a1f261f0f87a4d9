"""How many requests wait, for the navigation."""

from lib.access.permissions import Actor, Permission
from lib.services import Services


def add_count(services: Services, actor: Actor, title: str) -> str:
    """Add to a title how many requests wait for the actor: `Approvals (3)`."""
    waiting = services.approvals.count(actor) if actor.can(Permission.TEST_CONFIGS) else 0
    return f"{title} ({waiting})" if waiting else title
