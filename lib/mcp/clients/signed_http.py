"""Requests to a server of tools with a person's token: read before each one, renewed once when it is due or refused.

A token goes to the one address that it was given for. One process at a time renews it, since a refresh token may count
once; the others take what that one has stored. Where there is no token, or none that is taken, the answer is a 401
like the server's own, so that an open connection lives on for the next sign-in.
"""

import asyncio
from dataclasses import replace
from datetime import timedelta

import httpx2

from lib.clock import utc_now
from lib.db.engine import Store
from lib.db.vault import Vault
from lib.mcp import sign_in_records
from lib.mcp.clients.authorization import AuthorizationFailed, TokensRefused, open_http, refresh_tokens
from lib.mcp.clients.guarded_http import GuardedTransport
from lib.mcp.server import McpServer
from lib.mcp.sign_in_records import Credentials, RegisteredClient
from lib.patterns import compile_pattern

_EARLY = timedelta(seconds=30)  # before a token ends it is renewed
_LOOK_S = 0.1  # while another process renews
_SCOPE = compile_pattern(r'scope="([^"]{1,300})"')


class PersonTokens:
    """The tokens of one person for one server, as they are stored."""

    def __init__(self, store: Store, vault: Vault, server: McpServer, user_id: str) -> None:
        self.url = server.url
        self._store = store
        self._vault = vault
        self._server = server
        self._user_id = user_id

    async def get(self) -> str | None:
        """The token to send, renewed when it is about to end; None where the person is not signed in."""
        credentials = await self._read()
        if credentials is None:
            return None
        remaining = _EARLY if credentials.expires_at is None else credentials.expires_at - utc_now()
        if remaining >= _EARLY:
            return credentials.access_token
        try:
            return await self.renew(credentials.access_token)
        except httpx2.ConnectError:
            if remaining > timedelta():  # it still counts, and the next request tries again
                return credentials.access_token
            raise

    async def renew(self, old_token: str) -> str | None:
        """The token that comes after one that is due or refused; None where the person has to sign in again.

        Raises httpx2.ConnectError while the authorization server can't be asked.
        """
        while (credentials := await self._read()) is not None:
            if credentials.access_token != old_token:
                return credentials.access_token
            if not credentials.refresh_token:
                await self.end("It has run out, and can't be renewed.")
            elif await asyncio.to_thread(sign_in_records.claim_refresh, self._store, self._server.id, self._user_id):
                await self._refresh(old_token)
            else:
                await asyncio.sleep(_LOOK_S)
        return None

    async def end(self, reason: str, scope: str = "") -> None:
        """Forget the tokens, since they are refused."""
        await asyncio.to_thread(sign_in_records.end_sign_in, self._store, self._server.id, self._user_id, reason, scope)

    async def _refresh(self, old_token: str) -> None:
        """Renew what is stored, unless another process just has."""
        credentials = await self._read()
        if credentials is None or credentials.access_token != old_token:
            await self._release()
            return
        try:
            client = await asyncio.to_thread(self._read_client, credentials)
            async with open_http(self._server.private_places) as http:
                renewed = await refresh_tokens(http, replace(credentials, client=client))
        except TokensRefused as error:
            await self.end(error.why or error.title)
        except AuthorizationFailed as error:
            raise httpx2.ConnectError(str(error)) from error
        else:
            await asyncio.to_thread(self._write, renewed)
        finally:
            await self._release()

    async def _read(self) -> Credentials | None:
        return await asyncio.to_thread(
            sign_in_records.read_credentials, self._store, self._vault, self._server.id, self._user_id, self.url
        )

    def _read_client(self, credentials: Credentials) -> RegisteredClient:
        """The client that renews: one registered by hand with its newest secret, since that may have been changed."""
        client = credentials.client
        if client.client_id != self._server.client_id or not client.client_secret:
            return client
        secret = sign_in_records.read_client_secret(self._store, self._vault, self._server.id)
        return replace(client, client_secret=secret or client.client_secret)

    async def _release(self) -> None:
        await asyncio.to_thread(sign_in_records.release_refresh, self._store, self._server.id, self._user_id)

    def _write(self, credentials: Credentials) -> None:
        with self._store.write() as connection:
            sign_in_records.write_credentials(connection, self._vault, self._server.id, self._user_id, credentials)


class SignedTransport(GuardedTransport):
    """Sends a person's requests to one server; nothing goes to another address."""

    def __init__(self, tokens: PersonTokens, *, allow_private: bool) -> None:
        super().__init__(allow_private=allow_private)
        self._tokens = tokens
        self._origin = _find_origin(httpx2.URL(tokens.url))

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """The answer to the request with the newest token; a 401 where there is none."""
        if _find_origin(request.url) != self._origin:
            raise httpx2.ConnectError("The server sends its requests elsewhere.", request=request)
        await request.aread()
        token = await self._tokens.get()
        response = await self._send(request, token)
        if token is not None and response.status_code == 401:
            token = await self._tokens.renew(token)
            await response.aclose()
            response = await self._send(request, token)
            if token is not None and response.status_code == 401:
                await self._tokens.end("The server refuses it.")
        if response.status_code == 403 and "insufficient_scope" in (challenge := _read_challenge(response)):
            scope = _SCOPE.search(challenge)
            await self._tokens.end("The server wants more to be allowed.", scope[1] if scope else "")
        return response

    async def _send(self, request: httpx2.Request, token: str | None) -> httpx2.Response:
        if token is None:
            self.refusal = 401
            return httpx2.Response(401, request=request)
        request.headers["authorization"] = f"Bearer {token}"
        return await super().handle_async_request(request)


def _find_origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _read_challenge(response: httpx2.Response) -> str:
    return response.headers.get("www-authenticate", "")[:2_000]
