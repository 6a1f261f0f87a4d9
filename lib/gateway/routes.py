"""The HTTP doors as `app.py` mounts them: our routes, and the guard before everything."""

from collections.abc import Callable

from starlette.middleware import Middleware
from starlette.routing import BaseRoute

from lib import services
from lib.gateway import health, login
from lib.gateway.guard import Guard

routes: list[BaseRoute] = [*health.routes, *login.routes]


def middleware(farewell: Callable[[], bytes]) -> list[Middleware]:
    """The guard; `farewell` is the last message to a page whose session has ended."""
    return [Middleware(Guard, services=services.current, farewell=farewell)]
