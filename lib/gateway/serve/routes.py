"""The HTTP routes as `app.py` mounts them: our routes, and the guard before everything."""

from collections.abc import Callable

from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from lib import services
from lib.gateway.api import calls, monitoring, openapi
from lib.gateway.http.program_routes import ProgramRoutes
from lib.gateway.serve import health
from lib.gateway.site import canvas_files, login, server_sign_in
from lib.gateway.site.session_guard import Guard


async def redirect_dashboard(request: Request) -> Response:
    """The landing page has no path of its own in Streamlit; people write one all the same."""
    return RedirectResponse(f"/?{request.url.query}" if request.url.query else "/")


program_routes: list[BaseRoute] = [
    *calls.routes,
    *monitoring.routes,
    *openapi.routes,
]  # of programs, besides the doors to a model
routes: list[BaseRoute] = [
    *health.routes,
    *login.routes,
    *canvas_files.routes,
    *server_sign_in.routes,
    Route("/dashboard", redirect_dashboard),
]


def build_middleware(farewell: Callable[[], bytes]) -> list[Middleware]:
    """Programs' requests first, then the guard of the pages; `farewell` is the last message to a page that must end."""
    return [
        Middleware(ProgramRoutes, routes=program_routes),
        Middleware(Guard, services=services.current, farewell=farewell),
    ]
