"""The HTTP doors as `app.py` mounts them: our routes, and the guard before everything."""

from collections.abc import Callable

from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from lib import services
from lib.gateway import health, login
from lib.gateway.guard import Guard


async def dashboard(request: Request) -> Response:
    """The landing page has no path of its own in Streamlit; people write one all the same."""
    return RedirectResponse(f"/?{request.url.query}" if request.url.query else "/")


door_routes: list[BaseRoute] = []  # what programs call, with an API key
routes: list[BaseRoute] = [*health.routes, *login.routes, Route("/dashboard", dashboard)]


def middleware(farewell: Callable[[], bytes]) -> list[Middleware]:
    """The guard; `farewell` is the last message to a page whose session has ended."""
    return [Middleware(Guard, services=services.current, farewell=farewell)]
