"""The registered providers as configurations see them: names and kinds to ids."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, select

from lib.db.tables import providers
from lib.errors import InvalidInput


def known_providers(connection: Connection) -> list[tuple[str, str, str]]:
    """Id, name and kind of each."""
    query = select(providers.c.id, providers.c.name, providers.c.kind).order_by(providers.c.name)
    return [(row.id, row.name, row.kind) for row in connection.execute(query)]


def check_targets(connection: Connection, routing: Mapping[str, Any]) -> None:
    """Every provider that a routing names is registered."""
    named = {target["provider_id"] for part in ("deployments", "fallbacks") for target in routing.get(part, ())}
    if named - {provider_id for provider_id, _, _ in known_providers(connection)}:
        raise InvalidInput(
            "The routing names a provider that does not exist.", "", "Choose a registered one.", field="routing"
        )


def provider_id_of(connection: Connection, id_or_name: str | None) -> str:
    """The id of a registered provider; InvalidInput where there is none."""
    query = select(providers.c.id).where((providers.c.id == id_or_name) | (providers.c.name == id_or_name))
    found = connection.scalar(query) if id_or_name else None
    if found is None:
        raise InvalidInput(
            f"There is no provider {(id_or_name or '')[:80]}.",
            "",
            "Choose one of the registered ones.",
            field="provider",
        )
    return str(found)
