"""Nothing without a session: the middleware before every page, asset, upload and websocket.

A navigation without a session goes to the login page (to the set-up page while nobody has an account) and comes back
to its address afterwards; anything else is a 401. Streamlit's own files, the login pages and the health routes are
open. Requests that change something must come from our own pages. A websocket whose session ends is told to go to the
login page and closed, so that every tab ends at once, the idle ones too.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from urllib.parse import quote, urlsplit

from sqlalchemy.exc import SQLAlchemyError
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketDisconnected

from lib.access.session_cookie import drop_other_session, is_https, parse_token
from lib.errors import LLMManagerError
from lib.gateway.site.security_headers import build_security_headers
from lib.services import Services

log = logging.getLogger(__name__)
OPEN_PATHS = frozenset(
    {
        "/login",
        "/setup",
        "/link",
        "/logout",
        "/healthz",
        "/readyz",
        "/favicon.png",
        "/oauth/client.json",  # who we are, for authorization servers
        "/_stcore/health",
        "/_stcore/host-config",
    }
)
OPEN_FOLDERS = ("/static/",)
CLOSED_FOLDERS = ("/_stcore/", "/media/", "/component/", "/app/")
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_SWEEP_EVERY_S = 3600.0
_STORE_FAILURES = (LLMManagerError, SQLAlchemyError)


class Sockets:
    """The open websockets by session token, so that a session's end reaches them."""

    def __init__(self) -> None:
        self._by_token: dict[str, set[asyncio.Event]] = {}

    def add(self, token: str) -> asyncio.Event:
        """A new websocket; the event is set when it has to end."""
        event = asyncio.Event()
        self._by_token.setdefault(token, set()).add(event)
        return event

    def remove(self, token: str, event: asyncio.Event) -> None:
        """The websocket has closed."""
        events = self._by_token.get(token, set())
        events.discard(event)
        if not events:
            self._by_token.pop(token, None)

    def tokens(self) -> list[str]:
        """Tokens with an open websocket."""
        return list(self._by_token)

    def end(self, tokens: Iterable[str]) -> None:
        """Close the websockets of these tokens."""
        for token in tokens:
            for event in self._by_token.get(token, set()):
                event.set()


sockets = Sockets()


class Guard:
    """The ASGI middleware."""

    def __init__(self, app: ASGIApp, services: Callable[[], Services], farewell: Callable[[], bytes]) -> None:
        self._app = app
        self._services = services
        self._farewell = farewell

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request through, or answer it here."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *build_security_headers()]
            await send(message)

        path = scope["path"]
        headers = _decode_headers(scope)
        if scope["method"] not in SAFE_METHODS and not _is_same_origin(headers):
            await _answer(send_secured, 403, "This request came from another site.")
        elif path in OPEN_PATHS or path.startswith(OPEN_FOLDERS):
            await self._app(scope, receive, send_secured)
        else:
            door = None if await self._has_session(scope, headers) else await self._find_login_page(scope)
            if door is None:
                await self._app(scope, receive, send_secured)
            elif scope["method"] in SAFE_METHODS and not path.startswith(CLOSED_FOLDERS):
                await _redirect(send_secured, door)
            else:
                await _answer(send_secured, 401, "Sign in first.")

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = _decode_headers(scope)
        token = _read_token(scope, headers)
        if token is None or not _is_same_origin(headers) or not await self._may_connect(scope, headers):
            await receive()
            await send({"type": "websocket.close", "code": 4401, "reason": "Sign in first."})
            return
        scope = {**scope, "headers": drop_other_session(scope["headers"], secure=_is_https(scope, headers))}
        ended = sockets.add(token)

        async def send_until_ended(message: Message) -> None:
            if not ended.is_set():
                await send(message)

        serving = asyncio.ensure_future(self._app(scope, receive, send_until_ended))
        ending = asyncio.ensure_future(ended.wait())
        try:
            await asyncio.wait({serving, ending}, return_when=asyncio.FIRST_COMPLETED)
            if not serving.done():
                await send({"type": "websocket.send", "bytes": self._farewell()})
                await send({"type": "websocket.close", "code": 4401, "reason": "The session has ended."})
            await serving
        except WebSocketDisconnected:
            log.debug("A page went away while it was being written to.")
        finally:
            ending.cancel()
            serving.cancel()
            sockets.remove(token, ended)

    async def _may_connect(self, scope: Scope, headers: dict[str, str]) -> bool:
        try:
            return await self._has_session(scope, headers)
        except _STORE_FAILURES as error:
            log.error("No session could be checked: %s", error)
            return False

    async def _has_session(self, scope: Scope, headers: dict[str, str]) -> bool:
        token = _read_token(scope, headers)
        return token is not None and await asyncio.to_thread(self._services().sessions.find_actor, token) is not None

    async def _find_login_page(self, scope: Scope) -> str:
        if await asyncio.to_thread(self._services().setup.is_needed):
            return "/setup"
        query = scope.get("query_string", b"").decode("latin-1")
        address = scope["path"] + (f"?{query}" if query else "")
        return "/login" if address == "/" else f"/login?next={quote(address, safe='')}"


async def watch_sessions(services: Services, every_s: float = 1.0) -> None:
    """Close the websockets of sessions that have ended, whichever process ended them; forget old sessions hourly.

    A database that does not answer for a while must not end the watch.
    """
    swept = time.monotonic()
    failing = False
    while True:
        await asyncio.sleep(every_s)
        try:
            if tokens := sockets.tokens():
                sockets.end(await asyncio.to_thread(services.sessions.find_revoked, tokens))
            if time.monotonic() - swept > _SWEEP_EVERY_S:
                swept = time.monotonic()
                await asyncio.to_thread(services.sessions.sweep)
            failing = False
        except _STORE_FAILURES as error:
            if not failing:
                log.error("Sessions are not watched while the database does not answer: %s", error)
            failing = True


def _read_token(scope: Scope, headers: dict[str, str]) -> str | None:
    return parse_token(headers.get("cookie", ""), secure=_is_https(scope, headers))


def _is_https(scope: Scope, headers: dict[str, str]) -> bool:
    return is_https(scope.get("scheme", "http"), headers.get("x-forwarded-proto", ""))


def _decode_headers(scope: Scope) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


def _is_same_origin(headers: dict[str, str]) -> bool:
    """Whether a browser says the request comes from our own pages; programs that are no browser send no Origin."""
    if (origin := headers.get("origin")) is None:
        return True
    try:
        return urlsplit(origin).netloc.casefold() == headers.get("host", "").casefold()
    except ValueError:  # no address at all
        return False


async def _redirect(send: Send, address: str) -> None:
    lines = [(b"location", address.encode("latin-1")), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": 303, "headers": lines})
    await send({"type": "http.response.body", "body": b""})


async def _answer(send: Send, status: int, text: str) -> None:
    lines = [(b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": status, "headers": lines})
    await send({"type": "http.response.body", "body": text.encode()})
