"""Rows of people's sign-ins at servers of tools: one a person and server, with tokens that the vault has sealed.

Tokens belong to one issuer and to the address that they were given for: a server that has another address since has
none. Whoever calls has checked who may. `read_credentials` is asked before every request, so that a sign-out, an
erasure or a refresh by another process holds at once.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from lib.approvals.approval import make_storable
from lib.clock import utc_now
from lib.db import installation
from lib.db.engine import Store
from lib.db.tables import mcp_sign_ins, users
from lib.db.vault import Vault, get_sealed_value
from lib.providers.redaction import remember

ATTEMPT_LASTS = timedelta(minutes=15)
REFRESH_LASTS = timedelta(seconds=40)
_LONGEST_REASON = 600
_S = mcp_sign_ins.c


class SignInStatus(StrEnum):
    """Whether a person's tokens can be used. `started`: they were sent to sign in and are not back."""

    STARTED = "started"
    SIGNED_IN = "signed in"
    ENDED = "ended"


@dataclass(frozen=True)
class SignIn:
    """One person's sign-in at one server, without its tokens."""

    server_id: str
    user_id: str
    status: SignInStatus
    reason: str
    issuer: str
    resource: str
    scope: str
    expires_at: datetime | None
    updated_at: datetime

    def is_good_for(self, url: str) -> bool:
        """Whether its tokens may be sent to an address: they were given for this one, and have not ended."""
        return self.status is SignInStatus.SIGNED_IN and self.resource == url


@dataclass(frozen=True)
class RegisteredClient:
    """This installation as an authorization server knows it. `auth_method` is how it signs requests for tokens."""

    client_id: str
    client_secret: str = field(default="", repr=False)
    auth_method: str = "none"


@dataclass(frozen=True)
class Credentials:
    """Tokens, and what refreshes them. `refresh_token` is empty where none was given; `audience` is what the tokens
    are bound to, and `resource` the one address that they are sent to.
    """

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    audience: str
    token_endpoint: str
    client: RegisteredClient
    issuer: str
    resource: str
    scope: str
    expires_at: datetime | None


def hash_state(state: str) -> str:
    """The SHA-256 of an attempt's state, in hexadecimal: the state itself is not kept."""
    return hashlib.sha256(state.encode("utf-8", "surrogatepass")).hexdigest()


def read_sign_ins(connection: Connection, user_id: str | None = None) -> list[SignIn]:
    """Read everybody's sign-ins, or a person's, oldest first."""
    query = select(mcp_sign_ins).order_by(_S.created_at, _S.user_id)
    rows = connection.execute(query if user_id is None else query.where(_S.user_id == user_id)).mappings()
    return [_build(row) for row in rows]


def read_stamp(connection: Connection) -> Any:
    """Read a value that changes whenever a sign-in does."""
    query = select(_S.server_id, _S.user_id, _S.status, _S.updated_at)
    return [tuple(row) for row in connection.execute(query)]


def find_lister(connection: Connection, server_id: str, url: str) -> str | None:
    """Find whose sign-in lists a server's tools: the oldest one of an active person; None when nobody is signed in."""
    query = (
        select(mcp_sign_ins)
        .join(users, users.c.id == _S.user_id)
        .where(_S.server_id == server_id, users.c.is_active)
        .order_by(_S.created_at, _S.user_id)
    )
    sign_ins = map(_build, connection.execute(query).mappings())
    return next((sign_in.user_id for sign_in in sign_ins if sign_in.is_good_for(url)), None)


def begin_attempt(
    connection: Connection, vault: Vault, server_id: str, user_id: str, state: str, attempt: Mapping[str, Any]
) -> None:
    """Note an attempt in place of the person's last one; tokens that are there stay until it succeeds."""
    now = utc_now()
    noted = {
        "attempt_hash": hash_state(state),
        "attempt_sealed": vault.encrypt(json.dumps(dict(attempt)), connection),
        "attempt_until": now + ATTEMPT_LASTS,
        "updated_at": now,
    }
    first = {"status": SignInStatus.STARTED, "reason": "", "issuer": "", "resource": "", "scope": "", "created_at": now}
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    statement = dialect.insert(mcp_sign_ins).values(server_id=server_id, user_id=user_id, **first, **noted)
    connection.execute(statement.on_conflict_do_update(index_elements=["server_id", "user_id"], set_=noted))


def take_attempt(store: Store, vault: Vault, user_id: str, state: str) -> tuple[str, dict[str, Any]] | None:
    """Take the attempt that a state belongs to, once: the server's id and what completes it. None for a state that is
    unknown, somebody else's, or too old.
    """
    theirs = and_(_S.user_id == user_id, _S.attempt_hash == hash_state(state), _S.attempt_until > utc_now())
    with store.write() as connection:
        row = connection.execute(select(_S.server_id, _S.attempt_sealed).where(theirs).with_for_update()).first()
        if row is None or row.attempt_sealed is None:
            return None
        connection.execute(update(mcp_sign_ins).where(theirs).values(**_NO_ATTEMPT))
    return str(row.server_id), dict(json.loads(vault.decrypt(row.attempt_sealed)))


def write_credentials(
    connection: Connection, vault: Vault, server_id: str, user_id: str, credentials: Credentials
) -> None:
    """Store a person's tokens in place of those before."""
    _remember(credentials)
    fields = asdict(credentials)
    columns = {name: fields.pop(name) for name in ("issuer", "resource", "scope", "expires_at")}
    values = {
        **columns,
        "status": SignInStatus.SIGNED_IN,
        "reason": "",
        "sealed": vault.encrypt(json.dumps(fields), connection),
        "refreshing_until": None,
        "updated_at": utc_now(),
    }
    connection.execute(update(mcp_sign_ins).where(_select_row(server_id, user_id)).values(**values))


def read_credentials(store: Store, vault: Vault, server_id: str, user_id: str, url: str) -> Credentials | None:
    """Read a person's tokens for a server at an address; None where they are not signed in there."""
    active = select(users.c.id).where(users.c.id == user_id, users.c.is_active)
    with store.read() as connection:
        row = connection.execute(select(mcp_sign_ins).where(_select_row(server_id, user_id))).mappings().first()
        if row is None or not _build(row).is_good_for(url) or connection.scalar(active) is None:
            return None
    fields = json.loads(vault.decrypt(row["sealed"]))
    credentials = Credentials(
        **{**fields, "client": RegisteredClient(**fields["client"])},
        **{name: row[name] for name in ("issuer", "resource", "scope", "expires_at")},
    )
    _remember(credentials)
    return credentials


def claim_refresh(store: Store, server_id: str, user_id: str) -> bool:
    """Take it on to refresh a person's tokens; False while another process does."""
    now = utc_now()
    free = or_(_S.refreshing_until.is_(None), _S.refreshing_until < now)
    with store.write() as connection:
        claim = update(mcp_sign_ins).where(_select_row(server_id, user_id), free)
        return connection.execute(claim.values(refreshing_until=now + REFRESH_LASTS)).rowcount == 1


def release_refresh(store: Store, server_id: str, user_id: str) -> None:
    """Let another process try to refresh a person's tokens."""
    with store.write() as connection:
        connection.execute(update(mcp_sign_ins).where(_select_row(server_id, user_id)).values(refreshing_until=None))


def end_sign_in(store: Store, server_id: str, user_id: str, reason: str, scope: str = "") -> None:
    """Note that a person's tokens are refused, and forget them; `scope` is what the next sign-in has to ask for."""
    values: dict[str, Any] = {"status": SignInStatus.ENDED, "reason": make_storable(reason)[:_LONGEST_REASON]}
    if scope:
        values["scope"] = scope[:_LONGEST_REASON]
    with store.write() as connection:
        signed_in = and_(_select_row(server_id, user_id), _S.status == SignInStatus.SIGNED_IN)
        forgotten = {"sealed": None, "refreshing_until": None, "updated_at": utc_now()}
        connection.execute(update(mcp_sign_ins).where(signed_in).values(**values, **forgotten))


def forget_sign_in(connection: Connection, server_id: str, user_id: str) -> bool:
    """Delete a person's sign-in at a server with its tokens; False where there was none."""
    return connection.execute(delete(mcp_sign_ins).where(_select_row(server_id, user_id))).rowcount == 1


def forget_server(connection: Connection, server_id: str) -> None:
    """Delete everybody's sign-ins at a server, and what its authorization server knows this installation as."""
    connection.execute(delete(mcp_sign_ins).where(_S.server_id == server_id))
    installation.forget(connection, _name_client(server_id))
    installation.forget(connection, _name_secret(server_id))


def read_client(store: Store, vault: Vault, server_id: str, issuer: str, callback_url: str) -> RegisteredClient | None:
    """Read what an issuer has registered this installation as for a server, with this callback; None if it has not."""
    with store.read() as connection:
        sealed = get_sealed_value(installation.read(connection, _name_client(server_id)))
    if not sealed:
        return None
    stored = json.loads(vault.decrypt(sealed))
    if (stored["issuer"], stored["callback_url"]) != (issuer, callback_url):
        return None
    remember(stored["client"]["client_secret"])
    return RegisteredClient(**stored["client"])


def write_client(
    store: Store, vault: Vault, server_id: str, issuer: str, callback_url: str, client: RegisteredClient
) -> None:
    """Store what an issuer has registered this installation as for a server."""
    remember(client.client_secret)
    document = json.dumps({"issuer": issuer, "callback_url": callback_url, "client": asdict(client)})
    with store.write() as connection:
        installation.write(connection, _name_client(server_id), {"sealed": vault.encrypt(document, connection)})


def read_client_secret(store: Store, vault: Vault, server_id: str) -> str:
    """Read the secret of the client that was registered by hand for a server; empty where it has none."""
    with store.read() as connection:
        sealed = get_sealed_value(installation.read(connection, _name_secret(server_id)))
    secret = vault.decrypt(sealed) if sealed else ""
    remember(secret)
    return secret


def write_client_secret(connection: Connection, vault: Vault, server_id: str, secret: str) -> None:
    """Store the secret of the client that was registered by hand for a server; an empty one is none."""
    remember(secret)
    if secret:
        installation.write(connection, _name_secret(server_id), {"sealed": vault.encrypt(secret, connection)})


_NO_ATTEMPT = {"attempt_hash": None, "attempt_sealed": None, "attempt_until": None}


def _select_row(server_id: str, user_id: str) -> ColumnElement[bool]:
    return and_(_S.server_id == server_id, _S.user_id == user_id)


def _name_client(server_id: str) -> str:
    return f"mcp.client.{server_id}"


def _name_secret(server_id: str) -> str:
    return f"mcp.client_secret.{server_id}"


def _remember(credentials: Credentials) -> None:
    for secret in (credentials.access_token, credentials.refresh_token, credentials.client.client_secret):
        remember(secret)


def _build(row: Any) -> SignIn:
    return SignIn(
        row["server_id"],
        row["user_id"],
        SignInStatus(row["status"]),
        row["reason"],
        row["issuer"],
        row["resource"],
        row["scope"],
        row["expires_at"],
        row["updated_at"],
    )
