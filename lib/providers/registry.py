"""Registered providers: who a model call may be sent to, under which key; keys are sealed by the vault.

A key is bound to the host it was entered for: when the address moves to another host the key must be entered again,
and a row whose address and key disagree is never sent. `endpoint` is the only way to a decrypted key.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, Text, cast, delete, insert, select, update

from lib.access import audit
from lib.access.permissions import Actor, Permission
from lib.clock import make_id, utc_now
from lib.db.engine import Store
from lib.db.tables import configurations, providers
from lib.db.vault import Vault, get_sealed_value
from lib.errors import Conflict, InvalidInput, NotFound
from lib.providers import hosts, seeding
from lib.providers.chunks import Endpoint
from lib.providers.kinds import ProviderKind, look_up_facts
from lib.providers.provider import (
    Provider,
    check_base_url,
    check_headers,
    check_key,
    check_kind,
    check_name,
    is_own_address,
)
from lib.providers.redaction import remember

__all__ = ["Provider", "Providers"]


class Providers:
    """The registry."""

    def __init__(self, store: Store, vault: Vault) -> None:
        self._store = store
        self._vault = vault

    def list(self, actor: Actor) -> list[Provider]:
        """Every provider, by name."""
        actor.require(Permission.VIEW_CONFIGS)
        with self._store.read() as connection:
            return [self._provider(row) for row in connection.execute(select(providers).order_by(providers.c.name))]

    def get(self, actor: Actor, id_or_name: str) -> Provider:
        """One provider by id or name."""
        actor.require(Permission.VIEW_CONFIGS)
        with self._store.read() as connection:
            return self._provider(_find(connection, id_or_name))

    def used_by(self, actor: Actor, provider_id: str) -> Sequence[str]:
        """Slugs of the configurations that use a provider."""
        actor.require(Permission.VIEW_CONFIGS)
        with self._store.read() as connection:
            return _select_slugs(connection, provider_id)

    def create(
        self,
        actor: Actor,
        *,
        name: str,
        kind: str,
        base_url: str = "",
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        organisation: str = "",
        allow_private: bool = False,
    ) -> Provider:
        """Register a provider; its key is encrypted before it is stored."""
        actor.require(Permission.MANAGE_PROVIDERS)
        provider_kind = check_kind(kind)
        row: dict[str, Any] = {
            "id": make_id(),
            "name": check_name(name),
            "kind": provider_kind.value,
            "base_url": check_base_url(provider_kind, base_url, allow_private=allow_private),
            "organisation": organisation.strip()[:120],
            "allow_private": allow_private,
            "is_active": True,
            "created_at": (now := utc_now()),
            "updated_at": now,
        }
        with self._store.write() as connection:
            row |= self._sealed_key(connection, provider_kind, row["base_url"], check_key(api_key))
            row["headers"] = self._sealed_headers(connection, headers)
            _refuse_taken_name(connection, row["name"])
            connection.execute(insert(providers).values(**row))
            audit.record(connection, actor, "provider.create", row["name"], kind=row["kind"], **_describe_changes(row))
        return self.get(actor, row["id"])

    def update(
        self,
        actor: Actor,
        provider_id: str,
        *,
        name: str | None = None,
        base_url: str | None = None,
        api_key: str | None = None,
        remove_key: bool = False,
        headers: Mapping[str, str] | None = None,
        organisation: str | None = None,
        allow_private: bool | None = None,
    ) -> Provider:
        """Change what is given; None leaves a field as it is. A new host needs the key again."""
        actor.require(Permission.MANAGE_PROVIDERS)
        current = self.get(actor, provider_id)
        kind = ProviderKind(current.kind)
        private = current.allow_private if allow_private is None else allow_private
        url = current.base_url if base_url is None else base_url
        changed: dict[str, Any] = {
            "base_url": check_base_url(kind, url, allow_private=private),
            "allow_private": private,
            "updated_at": utc_now(),
        }
        if name is not None:
            changed["name"] = check_name(name)
        if organisation is not None:
            changed["organisation"] = organisation.strip()[:120]
        key = check_key(api_key)
        moved = current.has_key and _find_host(kind, changed["base_url"]) != current.key_host
        if moved and key is None and not remove_key:
            raise InvalidInput(
                "The key belongs to another host.",
                f"It was entered for {current.key_host}, and is not sent anywhere else.",
                "Enter the key for the new address.",
                field="api_key",
            )
        with self._store.write() as connection:
            _refuse_taken_name(connection, changed.get("name"), but=current.id)
            if key is not None or remove_key:
                changed |= self._sealed_key(connection, kind, changed["base_url"], key)
            if headers is not None:
                changed["headers"] = self._sealed_headers(connection, headers)
            connection.execute(update(providers).where(providers.c.id == current.id).values(**changed))
            audit.record(connection, actor, "provider.edit", current.name, **_describe_changes(changed))
        return self.get(actor, current.id)

    def set_active(self, actor: Actor, provider_id: str, is_active: bool) -> None:
        """Switch a provider on or off; calls to one that is off are refused."""
        actor.require(Permission.MANAGE_PROVIDERS)
        with self._store.write() as connection:
            row = self._change(connection, provider_id, is_active=is_active, updated_at=utc_now())
            audit.record(connection, actor, "provider.on" if is_active else "provider.off", row.name)

    def delete(self, actor: Actor, provider_id: str) -> None:
        """Remove a provider and its key; Conflict while configurations use it. Its calls stay in the ledger."""
        actor.require(Permission.MANAGE_PROVIDERS)
        with self._store.write() as connection:
            row = _find(connection, provider_id)
            if slugs := _select_slugs(connection, row.id):
                raise Conflict(
                    f"{row.name} is in use.",
                    f"These configurations use it: {', '.join(slugs[:5])}{' …' if len(slugs) > 5 else ''}.",
                    "Give them another provider or delete them first.",
                )
            connection.execute(delete(providers).where(providers.c.id == row.id))
            audit.record(connection, actor, "provider.delete", row.name)

    def remember_secrets(self) -> None:
        """Let every stored key and header be hidden from now on (internal: at the start)."""
        with self._store.read() as connection:
            rows: Sequence[Row[Any]] = connection.execute(select(providers)).all()
        for row in rows:
            remember(self._vault.decrypt(row.key_ciphertext) if row.key_ciphertext else None)
            self._headers(row)

    def record_check(self, provider_id: str, check: Mapping[str, Any]) -> None:
        """Remember the newest connection test (internal: the tester has checked who asks)."""
        with self._store.write() as connection:
            self._change(connection, provider_id, last_check=dict(check))

    def endpoint(self, provider_id: str) -> Endpoint:
        """Where and with what key to call a provider (internal: for the call path); InvalidInput when it can't be."""
        with self._store.read() as connection:
            row = _find(connection, provider_id)
        provider = self._provider(row)
        if provider.state != "ready":
            why = "It is switched off." if provider.state == "off" else "Its API key is missing."
            fix = "Switch it on" if provider.state == "off" else "Enter its key"
            raise InvalidInput(f"{provider.name} can't be used.", why, f"{fix} on the Providers page.")
        if provider.has_key and _find_host(provider.kind, provider.base_url) != provider.key_host:
            raise InvalidInput(
                f"{provider.name} can't be used.", "Its key was entered for another host.", "Enter its key again."
            )
        key = self._vault.decrypt(row.key_ciphertext) if row.key_ciphertext else None
        remember(key)
        return Endpoint(
            provider_id=provider.id,
            name=provider.name,
            kind=provider.kind,
            base_url=provider.address,
            api_key=key,
            headers=self._headers(row),
            organisation=provider.organisation,
            allow_private=provider.allow_private or is_own_address(provider.kind, provider.base_url),
        )

    def seed(self) -> None:
        """Register the examples, once in an installation's life."""
        seeding.seed(self._store)

    def _change(self, connection: Connection, provider_id: str, **values: Any) -> Row[Any]:
        row = _find(connection, provider_id)
        connection.execute(update(providers).where(providers.c.id == row.id).values(**values))
        return row

    def _sealed_key(
        self, connection: Connection, kind: ProviderKind, base_url: str, key: str | None
    ) -> dict[str, str | None]:
        if key is None or look_up_facts(kind).in_process:
            return {"key_ciphertext": None, "key_last4": None, "key_host": None}
        remember(key)
        last4 = key[-4:] if len(key) >= 12 else ""
        sealed = self._vault.encrypt(key, within=connection)
        return {"key_ciphertext": sealed, "key_last4": last4, "key_host": _find_host(kind, base_url)}

    def _sealed_headers(self, connection: Connection, headers: Mapping[str, str] | None) -> dict[str, Any]:
        checked = check_headers(headers or {})
        if not checked:
            return {}
        for value in checked.values():
            remember(value)
        return {"sealed": self._vault.encrypt(json.dumps(checked), within=connection), "names": list(checked)}

    def _headers(self, row: Row[Any]) -> dict[str, str]:
        sealed = get_sealed_value(row.headers)
        values: dict[str, str] = json.loads(self._vault.decrypt(sealed)) if sealed else {}
        for value in values.values():
            remember(value)
        return values

    def _provider(self, row: Row[Any]) -> Provider:
        return Provider(
            id=row.id,
            name=row.name,
            kind=row.kind,
            base_url=row.base_url,
            key_last4=row.key_last4,
            key_host=row.key_host,
            header_names=tuple((row.headers or {}).get("names", ())),
            organisation=row.organisation,
            allow_private=row.allow_private,
            is_active=row.is_active,
            last_check=row.last_check,
            created_at=row.created_at,
            updated_at=row.updated_at,
        )


def _find(connection: Connection, id_or_name: str) -> Row[Any]:
    query = select(providers).where((providers.c.id == id_or_name) | (providers.c.name == id_or_name))
    row = connection.execute(query).first()
    if row is None:
        raise NotFound(f"There is no provider {id_or_name[:80]}.", "", "Look at the Providers page for the names.")
    return row


def _refuse_taken_name(connection: Connection, name: str | None, but: str = "") -> None:
    if name is not None and connection.scalar(
        select(providers.c.id).where(providers.c.name == name, providers.c.id != but)
    ):
        raise Conflict(f"The name {name} is taken.", "", "Choose another one.")


def _describe_changes(changed: Mapping[str, Any]) -> dict[str, Any]:
    """Describe changed fields for the audit log without secrets.

    A key is told by its last signs, or that there is none; headers are told by their names.
    """
    fields = {name: changed[name] for name in ("name", "base_url", "allow_private") if name in changed}
    if "key_last4" in changed:
        fields["key"] = changed["key_last4"]
    if "headers" in changed:
        fields["headers"] = list(changed["headers"].get("names", ()))
    return fields


def _select_slugs(connection: Connection, provider_id: str) -> list[str]:
    in_routing = cast(configurations.c.routing, Text).contains(provider_id, autoescape=True)
    query = select(configurations.c.slug).where((configurations.c.provider_id == provider_id) | in_routing)
    return list(connection.scalars(query.order_by(configurations.c.slug)))


def _find_host(kind: str, base_url: str) -> str:
    """Return the server that a key is bound to: scheme, host and port of its address.

    Where only litellm knows the address, the kind stands for it, as `litellm:<kind>`.
    """
    url = base_url or look_up_facts(kind).base_url
    return hosts.parse_host(url) if url else f"litellm:{kind}"
