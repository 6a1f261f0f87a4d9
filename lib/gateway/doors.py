"""Which requests are for programs: `/v1`, `/api`, `/metrics` and `/openapi.json`, by API key; all else is for people.

It stands before the guard of the pages, since a key is not a session and a cookie opens none of these. The doors to a
model are bare ASGI; the rest are ordinary routes.
"""

from collections.abc import Awaitable, Callable, Sequence

from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from lib.gateway import models
from lib.gateway.completions import DOORS, count_tokens
from lib.gateway.exchange import Exchange
from lib.gateway.heads import fault_of
from lib.gateway.protocols import anthropic_messages, native, openai_chat

_Handler = Callable[[Scope, Receive, Send], Awaitable[None]]
_MODEL_DOORS: dict[str, tuple[str, _Handler]] = {
    **{path: ("POST", door) for path, door in DOORS.items()},
    "/v1/messages/count_tokens": ("POST", count_tokens),
    models.PATH: ("GET", models.models),
}
_FOLDERS = ("/v1/", "/api/")


class Doors:
    """The ASGI middleware; `routes` are those of programs that are no door to a model."""

    def __init__(self, app: ASGIApp, routes: Sequence[BaseRoute]) -> None:
        self._app = app
        self._routes = Router(routes, default=_nothing_here, redirect_slashes=False)
        self._paths = frozenset(getattr(route, "path", "") for route in routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a program's request, or let the request through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        raw = scope.get("raw_path") or path.encode("utf-8", "surrogateescape")
        if (fault := fault_of(scope["headers"], raw, scope.get("http_version", "1.1"))) is not None:
            await _refuse(scope, receive, send, 400, fault)
            return
        if (door := _MODEL_DOORS.get(path)) is not None:
            method, handler = door
            if scope["method"] == method:
                await handler(scope, receive, send)
            else:
                await _refuse(scope, receive, send, 405, f"{path} takes {method} alone.", {"allow": method})
        elif path.startswith(f"{models.PATH}/"):
            await models.models(scope, receive, send)
        elif path in self._paths or path.startswith(_FOLDERS):
            try:
                await self._routes({**scope, "app": self}, receive, send)  # with an app a wrong method is an exception
            except HTTPException as error:
                allowed = dict(error.headers or {})
                message = f"{path} takes {allowed.get('Allow', 'other methods')} alone."
                await _refuse(scope, receive, send, error.status_code, message, allowed)
        else:
            await self._app(scope, receive, send)


async def _nothing_here(scope: Scope, receive: Receive, send: Send) -> None:
    await _refuse(scope, receive, send, 404, "There is nothing at this address. See /openapi.json for those there are.")


async def _refuse(
    scope: Scope, receive: Receive, send: Send, status: int, message: str, headers: dict[str, str] | None = None
) -> None:
    code = {400: "invalid_request", 404: "not_found"}.get(status, "method_not_allowed")
    if scope["path"].startswith("/v1/messages"):
        body = anthropic_messages.error_body(status, code, message)
    elif scope["path"].startswith("/v1/"):
        body = openai_chat.error_body(status, code, message)
    else:
        body = native.error_body(status, code, message)
    await Exchange(scope, receive, send).answer_json(status, body, headers or {})
