"""Which requests are for programs: `/v1`, `/api`, `/mcp`, `/metrics`, `/openapi.json` by API key, `/hooks` by a
webhook's secret; all others are for people.

It stands before the guard of the pages, since a key is not a session and a cookie opens none of these. The doors to a
model are bare ASGI; the rest are ordinary routes.
"""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from lib.gateway.api import webhooks
from lib.gateway.http import error_boundary
from lib.gateway.http.exchange import Exchange, RefusedRequest
from lib.gateway.http.refusals import Refusal
from lib.gateway.http.request_head import find_fault
from lib.gateway.mcp import door as mcp_door
from lib.gateway.models import model_list
from lib.gateway.models.completions import MODEL_ROUTES, count_tokens

_Handler = Callable[[Exchange], Awaitable[None]]
_MODEL_HANDLERS: dict[str, tuple[str, _Handler]] = {
    **{path: ("POST", door.answer) for path, door in MODEL_ROUTES.items()},
    "/v1/messages/count_tokens": ("POST", count_tokens),
    model_list.PATH: ("GET", model_list.list_models),
}
_FOLDERS = ("/v1/", "/api/")


class ProgramRoutes:
    """The ASGI middleware; `routes` are those of programs that are no door to a model."""

    def __init__(self, app: ASGIApp, routes: Sequence[BaseRoute]) -> None:
        self._app = app
        self._routes = Router(routes, default=_answer_not_found, redirect_slashes=False)
        self._paths = frozenset(getattr(route, "path", "") for route in routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a program's request, or let the request through; either way no exception leaves."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = Exchange(scope, receive, send)
        form = error_boundary.find_form(scope["path"], exchange.headers)
        await error_boundary.answer_request(exchange, form, partial(self._route, exchange, scope, receive))

    async def _route(self, exchange: Exchange, scope: Scope, receive: Receive) -> None:
        path = scope["path"]
        raw = scope.get("raw_path") or path.encode("utf-8", "surrogateescape")
        if (fault := find_fault(scope["headers"], raw, scope.get("http_version", "1.1"))) is not None:
            raise RefusedRequest(Refusal(400, "invalid_request", fault))
        if (door := _MODEL_HANDLERS.get(path)) is not None:
            method, handler = door
            if scope["method"] != method:
                raise HTTPException(405, headers={"allow": method})
            await handler(exchange)
        elif path == mcp_door.PATH:
            await mcp_door.answer(exchange, scope, receive)
        elif path.startswith(webhooks.FOLDER):
            await webhooks.answer(exchange, scope["method"])
        elif path.startswith(mcp_door.NO_OAUTH):
            mcp_door.refuse_oauth()
        elif path.startswith(f"{model_list.PATH}/"):
            await model_list.list_models(exchange)
        elif path in self._paths or path.startswith(_FOLDERS):
            await self._routes({**scope, "app": self}, receive, exchange.send)  # with an app a wrong method is raised
        else:
            await self._app(scope, receive, exchange.send)


async def _answer_not_found(_scope: Scope, _receive: Receive, _send: Send) -> None:
    raise HTTPException(404, "There is nothing at this address. See /openapi.json for those there are.")
