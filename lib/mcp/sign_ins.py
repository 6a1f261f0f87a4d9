"""People's sign-ins at servers of tools: begun, completed when the browser comes back, ended.

Each person signs in for themselves, at servers at an address for which no header is set. The state that comes back is
one person's, of one attempt, and counts once; the tokens are sealed, go to that server's address alone and never into
a log, an export or a page. Programs act with the sign-in of the person whose key they have.
"""

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from lib.access import audit
from lib.access.permissions import Actor, Permission
from lib.access.team_scope import filter_usable
from lib.db.engine import Store
from lib.db.tables import mcp_servers
from lib.db.vault import Vault
from lib.errors import Conflict, InvalidInput, NotFound
from lib.mcp import records, sign_in_records, socket_protocol
from lib.mcp.secrets import read_secrets
from lib.mcp.server import SIGN_IN_PLACE, ActualState, McpServer
from lib.mcp.sign_in_records import Credentials, RegisteredClient, SignIn, SignInStatus

if TYPE_CHECKING:
    from lib.mcp.clients.authorization import AuthorizationServer

CALLBACK_PATH = "/oauth/callback"
CLIENT_PATH = "/oauth/client.json"
_LONGEST_WORDS = 200


@dataclass(frozen=True)
class ServerSignIn:
    """A server that people sign in at, and how one person's sign-in there is; None before the first."""

    server: McpServer
    sign_in: SignIn | None

    @property
    def is_signed_in(self) -> bool:
        """Whether the person's tokens count now."""
        return self.sign_in is not None and self.sign_in.is_good_for(self.server.url)

    @property
    def state(self) -> str:
        """The state in a word or two, for people."""
        if self.is_signed_in:
            return "signed in"
        has_ended = self.sign_in is not None and self.sign_in.status is not SignInStatus.STARTED
        return "ended" if has_ended else "not signed in"


@dataclass(frozen=True)
class SignInPage:
    """Where a person goes to sign in at a server."""

    address: str
    host: str
    scope: str


class SignIns:
    """The sign-ins of people at servers of tools."""

    def __init__(self, store: Store, vault: Vault, on_want: Callable[[], None]) -> None:
        self._store = store
        self._vault = vault
        self._on_want = on_want

    def list(self, actor: Actor) -> Sequence[ServerSignIn]:
        """List the servers that people sign in at, each with the actor's own sign-in."""
        actor.require(Permission.TEST_CONFIGS)
        with self._store.read() as connection:
            servers = records.read_servers(connection, filter_usable(actor, mcp_servers.c.team_id))
            own = {sign_in.server_id: sign_in for sign_in in self._read_own(connection, actor)}
        return [ServerSignIn(server, own.get(server.id)) for server in servers if _is_offered(server)]

    def begin(self, actor: Actor, name: str, base_url: str) -> SignInPage:
        """Find out where the actor signs in at a server; `base_url` is this installation's own address for the browser.

        Raises Conflict where people can't sign in there, and AuthorizationFailed.
        """
        actor.require(Permission.TEST_CONFIGS)
        user_id = _require_person(actor)
        with self._store.read() as connection:
            server = _find(connection, actor, name)
        if not server.is_approved:
            raise Conflict(f"The address of {name} is not approved.", "", "An administrator approves it first.")
        earlier = next((entry.sign_in for entry in self.list(actor) if entry.server.id == server.id), None)
        state = secrets.token_urlsafe(32)
        callback_url = base_url.rstrip("/") + CALLBACK_PATH
        page, attempt = asyncio.run(self._prepare(server, callback_url, state, earlier.scope if earlier else ""))
        with self._store.write() as connection:
            sign_in_records.begin_attempt(connection, self._vault, server.id, user_id, state, attempt)
            audit.record(connection, actor, "mcp.sign_in.begin", name, issuer=attempt["pending"]["issuer"])
        return page

    def complete(self, actor: Actor, answer: Mapping[str, str]) -> str:
        """Complete a sign-in with what the browser brought back (`code`, `state`, `iss`, `error`); the server's name.

        Raises InvalidInput for a state that is not of an attempt of this person, and AuthorizationFailed.
        """
        actor.require(Permission.TEST_CONFIGS)
        user_id = _require_person(actor)
        attempt = sign_in_records.take_attempt(self._store, self._vault, user_id, answer.get("state", ""))
        if attempt is None:
            why = "It belongs to nobody's last try, to somebody else's, or is older than a quarter of an hour."
            raise InvalidInput("The sign-in can't be completed.", why, SIGN_IN_PLACE)
        server_id, parts = attempt
        with self._store.read() as connection:
            is_usable = (mcp_servers.c.id == server_id) & filter_usable(actor, mcp_servers.c.team_id)
            server = next(iter(records.read_servers(connection, is_usable)), None)
        if server is None or server.url != parts["pending"]["resource"]:
            raise Conflict("The server has changed meanwhile.", "", SIGN_IN_PLACE)
        _check_answer(answer, parts)
        credentials = asyncio.run(self._exchange(server, parts, answer["code"]))
        with self._store.write() as connection:
            sign_in_records.write_credentials(connection, self._vault, server.id, user_id, credentials)
            if server.state.actual is ActualState.NEEDS_SIGN_IN and server.wanted == "on":
                records.raise_revision(connection, server.id)
            audit.record(
                connection, actor, "mcp.sign_in", server.name, issuer=credentials.issuer, scope=credentials.scope
            )
        self._on_want()
        socket_protocol.wake(self._store)
        return server.name

    def sign_out(self, actor: Actor, name: str) -> None:
        """Delete the actor's own tokens for a server; raises NotFound where there are none."""
        actor.require(Permission.TEST_CONFIGS)
        user_id = _require_person(actor)
        with self._store.write() as connection:
            server = _find(connection, actor, name)
            if not sign_in_records.forget_sign_in(connection, server.id, user_id):
                raise NotFound(f"You are not signed in at {name}.")
            audit.record(connection, actor, "mcp.sign_out", name)

    def _read_own(self, connection: Any, actor: Actor) -> Sequence[SignIn]:
        return sign_in_records.read_sign_ins(connection, actor.user_id) if actor.user_id is not None else ()

    async def _prepare(
        self, server: McpServer, callback_url: str, state: str, earlier_scope: str
    ) -> tuple[SignInPage, dict[str, Any]]:
        """Find the authorization server, be known to it, and write the address; with what completes the attempt."""
        from lib.mcp.clients import authorization

        headers = read_secrets(self._store, self._vault, server.id)
        places = server.private_places
        async with authorization.open_http(places) as http:
            authority = await authorization.discover(
                http, server.url, headers, places=places, issuer=server.issuer, earlier_scope=earlier_scope
            )
            client = self._read_own_client(server, authority)
            if client is None and authority.takes_document:
                client = _write_document_client(callback_url)
            client = client or sign_in_records.read_client(
                self._store, self._vault, server.id, authority.issuer, callback_url
            )
            if client is None:
                client = await authorization.register(http, authority, callback_url)
                sign_in_records.write_client(
                    self._store, self._vault, server.id, authority.issuer, callback_url, client
                )
        request = authorization.write_request(authority, client, callback_url, state)
        pending = {
            "audience": authority.resource,
            "token_endpoint": authority.token_endpoint,
            "issuer": authority.issuer,
            "resource": server.url,
            "scope": authority.scope,
        }
        attempt = {
            "pending": pending,
            "client": asdict(client),
            "callback_url": callback_url,
            "verifier": request.verifier,
            "names_itself": authority.names_itself,
        }
        host = urlsplit(request.address).hostname or ""
        return SignInPage(request.address, host, authority.scope), attempt

    def _read_own_client(self, server: McpServer, place: "AuthorizationServer") -> RegisteredClient | None:
        """The client that was registered by hand; None where there is none."""
        from lib.mcp.clients.authorization import choose_auth_method

        if not server.client_id:
            return None
        secret = sign_in_records.read_client_secret(self._store, self._vault, server.id)
        return RegisteredClient(server.client_id, secret, choose_auth_method(place, secret))

    async def _exchange(self, server: McpServer, parts: Mapping[str, Any], code: str) -> Credentials:
        from lib.mcp.clients import authorization

        pending = Credentials("", "", client=RegisteredClient(**parts["client"]), expires_at=None, **parts["pending"])
        async with authorization.open_http(server.private_places) as http:
            return await authorization.exchange_code(http, pending, parts["callback_url"], code, parts["verifier"])


def write_client_document(base_url: str) -> dict[str, Any]:
    """The document at CLIENT_PATH by which authorization servers know this installation without registering it."""
    from lib.mcp.clients.authorization import describe_client

    base = base_url.rstrip("/")
    return {"client_id": base + CLIENT_PATH, "client_uri": base, **describe_client(base + CALLBACK_PATH)}


def _write_document_client(callback_url: str) -> RegisteredClient | None:
    """Describe this installation as a client that is known by its document; None unless its address is encrypted."""
    base = callback_url.removesuffix(CALLBACK_PATH)
    is_public = base.startswith("https://") and urlsplit(base).hostname not in ("localhost", "127.0.0.1")
    return RegisteredClient(base + CLIENT_PATH) if is_public else None


def _check_answer(answer: Mapping[str, str], parts: Mapping[str, Any]) -> None:
    """Refuse an answer of another issuer, and one that brings an error."""
    issuer = answer.get("iss", "")
    if issuer != parts["pending"]["issuer"] and (issuer or parts["names_itself"]):
        raise InvalidInput("The sign-in can't be completed.", "It came back from another place.", SIGN_IN_PLACE)
    if not answer.get("code"):
        words = [answer.get(name, "")[:_LONGEST_WORDS] for name in ("error", "error_description")]
        explanation = ": ".join(word for word in words if word) or "no code"
        raise InvalidInput("You are not signed in.", f"The authorization server says: {explanation}.", SIGN_IN_PLACE)


def _is_offered(server: McpServer) -> bool:
    """Whether people are shown a server to sign in at: it asks for it, or somebody is signed in."""
    return server.is_approved and server.takes_sign_in and (server.requires_sign_in or bool(server.signed_in))


def _require_person(actor: Actor) -> str:
    if actor.user_id is None or actor.key is not None:
        why = "Neither a command nor a key has a browser to sign in with."
        raise InvalidInput("Only a person signs in at a server.", why, SIGN_IN_PLACE)
    return actor.user_id


def _find(connection: Any, actor: Actor, name: str) -> McpServer:
    is_named = (mcp_servers.c.name == name) & filter_usable(actor, mcp_servers.c.team_id)
    server = next(iter(records.read_servers(connection, is_named)), None)
    if server is None:
        raise NotFound(f"There is no server {name[:40]}.")
    if not server.takes_sign_in:
        why = "It is a program here, or a header has its credentials."
        raise Conflict(f"Nobody signs in at {name}.", why, "Its administrators look after that.")
    return server
