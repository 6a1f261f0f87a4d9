"""What may be chosen of teams: roles in one, kinds of their things, what can be stopped; loads nothing of the store."""

from enum import StrEnum

from lib.access.permissions import Role

TEAM_ROLES = (Role.TEAM_ADMINISTRATOR, Role.MASTER_DEVELOPER, Role.DEVELOPER, Role.ADMINISTRATOR)
THING_KINDS = ("configuration", "prompt", "override", "collection", "workflow", "tool", "server")


class StopKind(StrEnum):
    """What can be stopped."""

    EVERYTHING = "everything"
    TOOLS = "tools"  # every run of a tool; models go on
    TEAM = "team"
    KEY = "key"
    TOOL = "tool"
    SERVER = "server"
