"""What people call the things that the ledger knows by an id: names by id, as far as the actor may list them."""

from lib.access.permissions import Actor, Permission
from lib.services import Services


def name_configurations(services: Services, actor: Actor) -> dict[str, str]:
    """Slugs of configurations by id; empty for an actor who may not see configurations."""
    if not actor.can(Permission.VIEW_CONFIGS):
        return {}
    return {configuration.id: configuration.slug for configuration in services.configurations.list(actor)}


def name_api_keys(services: Services, actor: Actor) -> dict[str, str]:
    """Name and first characters of each API key, by id."""
    return {api_key.id: f"{api_key.name} ({api_key.prefix}…)" for api_key in services.api_keys.list(actor)}


def name_teams(services: Services, actor: Actor) -> dict[str, str]:
    """Names of teams by id, where the actor can see things of several: else nobody needs to be told the team."""
    names = {str(team.id): team.name for team in services.teams.list(actor)}
    return names if actor.sees_every_team and len(names) > 1 else {}
