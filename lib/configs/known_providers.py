"""The registered providers as configurations see them: names and kinds to ids."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, select

from lib.db.tables import providers
from lib.errors import InvalidInput


def list_known_providers(connection: Connection) -> list[tuple[str, str, str]]:
    """List (id, name, kind) of every registered provider, by name."""
    query = select(providers.c.id, providers.c.name, providers.c.kind).order_by(providers.c.name)
    return [(row.id, row.name, row.kind) for row in connection.execute(query)]


def check_targets(connection: Connection, routing: Mapping[str, Any]) -> None:
    """Raise InvalidInput unless every provider that a routing names is registered."""
    provider_ids = {target["provider_id"] for part in ("deployments", "fallbacks") for target in routing.get(part, ())}
    if provider_ids - {provider_id for provider_id, _, _ in list_known_providers(connection)}:
        raise InvalidInput(
            "The routing names a provider that does not exist.", "", "Choose a registered one.", field="routing"
        )


def find_provider_id(connection: Connection, id_or_name: str | None) -> str:
    """Find the id of a registered provider; raises InvalidInput where there is none."""
    query = select(providers.c.id).where((providers.c.id == id_or_name) | (providers.c.name == id_or_name))
    provider_id = connection.scalar(query) if id_or_name else None
    if provider_id is None:
        raise InvalidInput(
            f"There is no provider {(id_or_name or '')[:80]}.",
            "",
            "Choose one of the registered ones.",
            field="provider",
        )
    return str(provider_id)
