"""A server's authorization server: found, told of this installation, asked for tokens and for newer ones.

As the protocol's authorization specification says: metadata of the protected resource (RFC 9728), then of its
authorization server (RFC 8414, or OpenID's), whose issuer has to be the one that was named; a client document or
dynamic registration (RFC 7591), or a client that was registered by hand; a code with PKCE by S256, bound to the
server's address (RFC 8707). All of it goes through the guarded transport, without the server's own headers, and answers
are bounded before they are parsed. What a server names may lead into the network only to the `places` that an
administrator has given: the server's own, and its authorization server's.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import httpx2
from mcp.client.auth import PKCEParameters
from mcp.client.auth.utils import (
    build_oauth_authorization_server_metadata_discovery_urls,
    build_protected_resource_metadata_discovery_urls,
    extract_resource_metadata_from_www_auth,
    extract_scope_from_www_auth,
    get_client_metadata_scopes,
    issuers_match,
    union_scopes,
)
from mcp.shared.auth import (
    OAuthClientInformationFull,
    OAuthMetadata,
    OAuthToken,
    ProtectedResourceMetadata,
)
from mcp.shared.auth_utils import check_resource_allowed, resource_url_from_server_url
from pydantic import BaseModel, ValidationError

from lib.clock import utc_now
from lib.errors import InvalidInput, LLMManagerError
from lib.mcp.clients.guarded_http import GuardedTransport
from lib.mcp.sign_in_records import Credentials, RegisteredClient
from lib.providers import hosts

CLIENT_NAME = "LLM Manager"
GRANTS = ["authorization_code", "refresh_token"]
_WITHIN_S = 30.0
_LARGEST_DOCUMENT = 256 * 1024  # bytes
_LONGEST_LIFE_S = 10 * 366 * 86_400  # of a token; one that lives longer outlives the calendar
_METHODS = ("none", "client_secret_post", "client_secret_basic")
_PROBE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "llm-manager", "version": "1"},
    },
}
M = TypeVar("M", bound=BaseModel)


class AuthorizationFailed(LLMManagerError):
    """The authorization server can't be used, or refused."""


class TokensRefused(AuthorizationFailed):
    """The refresh token does not count any more: the person has to sign in again."""


@dataclass(frozen=True)
class AuthorizationServer:
    """What is known of a server's authorization server. `scope` is what to ask for, empty for nothing special."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    registration_endpoint: str
    takes_document: bool
    names_itself: bool
    resource: str
    scope: str
    auth_methods: Sequence[str] = ()  # by which clients sign requests for tokens; empty where it does not say


@dataclass(frozen=True)
class AuthorizationRequest:
    """Where a person is sent, and the secret half of the proof that the code is for this installation."""

    address: str
    verifier: str


class _PlacesTransport(GuardedTransport):
    """Reaches public hosts and, inside the network, the places that were named."""

    def __init__(self, places: Collection[str]) -> None:
        super().__init__(allow_private=False)
        self._places = places

    def is_private_allowed(self, url: httpx2.URL) -> bool:
        return _is_among(str(url), self._places)


@asynccontextmanager
async def open_http(places: Collection[str]) -> AsyncIterator[httpx2.AsyncClient]:
    """Open the client for authorization servers, inside the network only those of `places`; AuthorizationFailed for
    whatever can't be reached.
    """
    async with httpx2.AsyncClient(transport=_PlacesTransport(places), timeout=_WITHIN_S, trust_env=False) as http:
        try:
            async with asyncio.timeout(_WITHIN_S):
                yield http
        except TimeoutError as error:
            raise AuthorizationFailed("The authorization server did not answer.", "", "Try again.") from error
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
            if isinstance(error.__cause__, InvalidInput):  # of the guard, in words that are meant for providers
                what = "An administrator names it as the authorization server on MCP servers."
                raise AuthorizationFailed("The sign-in leads into the network.", error.__cause__.title, what) from error
            raise AuthorizationFailed("The authorization server can't be reached.", f"{error}", "Try again.") from error


async def discover(
    http: httpx2.AsyncClient,
    url: str,
    headers: Mapping[str, str],
    *,
    places: Collection[str],
    issuer: str = "",
    earlier_scope: str = "",
) -> AuthorizationServer:
    """Find a server's authorization server, which has to be `issuer` where one is given; raises AuthorizationFailed
    where there is none that can be used.
    """
    probe_headers = {"Accept": "application/json, text/event-stream", **headers}
    async with http.stream("POST", url, json=_PROBE, headers=probe_headers) as probe:
        is_refused = probe.status_code in (401, 403)  # of the answer the head is enough
    resource = await _find_resource(http, url, extract_resource_metadata_from_www_auth(probe) if is_refused else None)
    metadata = await _find_metadata(http, _choose_issuer(resource, issuer), url)
    _check_metadata(metadata, places)
    challenged_scope = extract_scope_from_www_auth(probe) if is_refused else None
    scope = get_client_metadata_scopes(challenged_scope, resource, metadata, GRANTS)
    return AuthorizationServer(
        str(metadata.issuer),
        str(metadata.authorization_endpoint),
        str(metadata.token_endpoint),
        str(metadata.registration_endpoint or ""),
        bool(metadata.client_id_metadata_document_supported),
        bool(metadata.authorization_response_iss_parameter_supported),
        _choose_resource(url, resource),
        union_scopes(earlier_scope or None, scope) or "",
        tuple(metadata.token_endpoint_auth_methods_supported or ()),
    )


def choose_auth_method(server: AuthorizationServer, client_secret: str) -> str:
    """Choose how a client that was registered by hand signs requests for tokens; raises AuthorizationFailed."""
    if not client_secret:
        return "none"
    methods = server.auth_methods or ("client_secret_basic",)  # what stands for saying nothing (RFC 8414)
    for method in ("client_secret_basic", "client_secret_post"):
        if method in methods:
            return method
    raise AuthorizationFailed("The client's secret can't be used there.", f"It takes {', '.join(methods)[:200]}.")


async def register(http: httpx2.AsyncClient, server: AuthorizationServer, callback_url: str) -> RegisteredClient:
    """Register this installation dynamically; raises AuthorizationFailed where that is refused or not offered."""
    if not server.registration_endpoint:
        why = f"{server.issuer} registers no clients by itself."
        what = f"Register it there by hand with the address {callback_url}, and enter the client's id on MCP servers."
        raise AuthorizationFailed("This installation can't be registered there.", why, what)
    document = (
        {**describe_client(callback_url), "scope": server.scope} if server.scope else describe_client(callback_url)
    )
    response = await http.post(server.registration_endpoint, json=document)
    if response.status_code not in (200, 201):
        raise AuthorizationFailed("The authorization server did not register us.", await _read_refusal(response))
    client = await _parse(response, OAuthClientInformationFull)
    method = client.token_endpoint_auth_method or ("client_secret_basic" if client.client_secret else "none")
    if method not in _METHODS or (method != "none" and not client.client_secret):
        raise AuthorizationFailed("The registration can't be used.", f"It asks for {method[:40]!r}.")
    return RegisteredClient(client.client_id, client.client_secret or "", method)


def describe_client(callback_url: str) -> dict[str, Any]:
    """Describe this installation to an authorization server, in a registration or in the client's document."""
    is_local = urlsplit(callback_url).hostname in ("localhost", "127.0.0.1", "::1")
    return {
        "client_name": CLIENT_NAME,
        "redirect_uris": [callback_url],
        "grant_types": GRANTS,
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
        "application_type": "native" if is_local else "web",
    }


def write_request(
    server: AuthorizationServer, client: RegisteredClient, callback_url: str, state: str
) -> AuthorizationRequest:
    """Write the address to which a person is sent to sign in."""
    proof = PKCEParameters.generate()
    fields = {
        "response_type": "code",
        "client_id": client.client_id,
        "redirect_uri": callback_url,
        "state": state,
        "code_challenge": proof.code_challenge,
        "code_challenge_method": "S256",
        "resource": server.resource,
    }
    if server.scope:
        fields["scope"] = server.scope
        if "offline_access" in server.scope.split():
            fields["prompt"] = "consent"
    joint = "&" if urlsplit(server.authorization_endpoint).query else "?"
    return AuthorizationRequest(f"{server.authorization_endpoint}{joint}{urlencode(fields)}", proof.code_verifier)


async def exchange_code(
    http: httpx2.AsyncClient, pending: Credentials, callback_url: str, code: str, verifier: str
) -> Credentials:
    """Exchange a code for tokens; `pending` is what they are added to. Raises AuthorizationFailed."""
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": callback_url, "code_verifier": verifier}
    form["resource"] = pending.audience
    response = await _ask_for_tokens(http, pending.token_endpoint, pending.client, form)
    if response.status_code != 200:
        raise AuthorizationFailed("The sign-in was not completed.", await _read_refusal(response), "Sign in again.")
    return build_credentials(await _parse(response, OAuthToken), pending)


async def refresh_tokens(http: httpx2.AsyncClient, credentials: Credentials) -> Credentials:
    """Get newer tokens; raises TokensRefused where the person has to sign in again, AuthorizationFailed in passing."""
    form = {"grant_type": "refresh_token", "refresh_token": credentials.refresh_token}
    form["resource"] = credentials.audience
    response = await _ask_for_tokens(http, credentials.token_endpoint, credentials.client, form)
    if response.status_code in (400, 401, 403):
        raise TokensRefused("The sign-in has ended.", await _read_refusal(response), "Sign in again.")
    if response.status_code != 200:
        raise AuthorizationFailed("The sign-in can't be renewed now.", await _read_refusal(response), "Try again.")
    return build_credentials(await _parse(response, OAuthToken), credentials)


def build_credentials(token: OAuthToken, earlier: Credentials) -> Credentials:
    """The credentials of a token response; what it leaves out stays as it was."""
    seconds = None if token.expires_in is None else min(max(token.expires_in, 0), _LONGEST_LIFE_S)
    expires_at = None if seconds is None else utc_now() + timedelta(seconds=seconds)
    return replace(
        earlier,
        access_token=token.access_token,
        refresh_token=token.refresh_token or earlier.refresh_token,
        scope=token.scope or earlier.scope,
        expires_at=expires_at,
    )


async def _find_resource(http: httpx2.AsyncClient, url: str, named_url: str | None) -> ProtectedResourceMetadata | None:
    for address in build_protected_resource_metadata_discovery_urls(named_url, url):
        response = await http.get(address)
        if response.status_code >= 500 or response.status_code == 429:
            raise AuthorizationFailed("The server's sign-in can't be looked up.", await _read_refusal(response))
        if response.status_code == 200:
            try:
                return await _parse(response, ProtectedResourceMetadata)
            except AuthorizationFailed:
                continue
    return None


def _choose_issuer(resource: ProtectedResourceMetadata | None, expected: str) -> str | None:
    """The authorization server to ask: the expected one, which the server has to name where it names any."""
    named = [str(address) for address in resource.authorization_servers] if resource else []
    if not expected:
        return named[0] if named else None
    if named and not any(issuers_match(address, expected) for address in named):
        why = f"It names {named[0][:200]}, and an administrator has set {expected[:200]}."
        raise AuthorizationFailed("The server names another authorization server.", why, "Ask an administrator.")
    return expected


def _is_among(address: str, places: Collection[str]) -> bool:
    """Whether an address is at one of the places, by scheme, host and port."""
    try:
        return hosts.parse_host(address.partition("?")[0]) in places
    except InvalidInput:
        return False


def _choose_resource(url: str, metadata: ProtectedResourceMetadata | None) -> str:
    """The address that tokens are bound to: the server's, or the folder above it that it names."""
    own = resource_url_from_server_url(url)
    if metadata is None or not metadata.resource:
        return own
    resource = str(metadata.resource)
    if not check_resource_allowed(requested_resource=own, configured_resource=resource):
        raise AuthorizationFailed("The server's sign-in is for another address.", f"It is for {resource[:200]}.")
    return resource


async def _find_metadata(http: httpx2.AsyncClient, issuer: str | None, url: str) -> OAuthMetadata:
    parts = urlsplit(url)
    expected = issuer or f"{parts.scheme}://{parts.netloc}"
    for address in build_oauth_authorization_server_metadata_discovery_urls(issuer, url):
        response = await http.get(address)
        if response.status_code == 200:
            try:
                metadata = await _parse(response, OAuthMetadata)
            except AuthorizationFailed:
                continue
            if not issuers_match(str(metadata.issuer), expected):
                why = f"It says that it is {str(metadata.issuer)[:200]}, and was named {expected[:200]}."
                raise AuthorizationFailed("The authorization server is another one.", why)
            return metadata
    why = f"{parts.netloc} says nothing of how to sign in."
    raise AuthorizationFailed("The server offers no sign-in.", why, "Give it a header with its credentials.")


def _check_metadata(metadata: OAuthMetadata, places: Collection[str]) -> None:
    if "S256" not in (metadata.code_challenge_methods_supported or []):
        why = "It does not say that it proves codes by S256 (PKCE)."
        raise AuthorizationFailed("The authorization server can't be used.", why)
    endpoints = (metadata.authorization_endpoint, metadata.token_endpoint, metadata.registration_endpoint)
    for endpoint in filter(None, endpoints):
        address = str(endpoint)
        if urlsplit(address).scheme != "https" and not _is_among(address, places):
            why = f"{address[:200]} is not encrypted, and no place inside the network that an administrator has named."
            raise AuthorizationFailed("The authorization server can't be used.", why)


async def _ask_for_tokens(
    http: httpx2.AsyncClient, endpoint: str, client: RegisteredClient, form: Mapping[str, str]
) -> httpx2.Response:
    fields = {**form, "client_id": client.client_id}
    headers = {"Accept": "application/json"}
    if client.auth_method == "client_secret_post":
        fields["client_secret"] = client.client_secret
    if client.auth_method == "client_secret_basic":
        pair = (quote(client.client_id, safe=""), quote(client.client_secret, safe=""))
        return await http.post(endpoint, data=fields, headers=headers, auth=pair)
    return await http.post(endpoint, data=fields, headers=headers)


async def _parse(response: httpx2.Response, model: type[M]) -> M:
    content = await response.aread()
    if len(content) > _LARGEST_DOCUMENT:
        raise AuthorizationFailed("The authorization server's answer is too large.", f"It has {len(content):,} bytes.")
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        raise AuthorizationFailed("The authorization server's answer can't be read.", f"{response.url}.") from error


async def _read_refusal(response: httpx2.Response) -> str:
    """Read why a request was refused, as a sentence: the error and its description, or the status alone."""
    try:
        document = response.json() if len(await response.aread()) <= _LARGEST_DOCUMENT else {}
    except (ValueError, RecursionError):
        document = {}
    fields = document if isinstance(document, dict) else {}
    words = (str(fields.get(name) or "") for name in ("error", "error_description"))
    explanation = ": ".join(word for word in words if word)[:300].rstrip(".")
    return f"It answered {response.status_code}" + (f", {explanation}." if explanation else ".")
