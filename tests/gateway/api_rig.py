"""The doors of programs without a server: services, a scripted provider, keys, and a client."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.testclient import TestClient

from lib import services as service_root
from lib.access.permissions import OPERATOR, Actor, Role, make_actor
from lib.calls.calls import Calls
from lib.gateway.http.program_routes import ProgramRoutes
from lib.gateway.serve import health
from lib.gateway.serve.routes import program_routes
from lib.services import Services
from lib.settings import Settings
from tests.waiting import CEILING_S

ANSWER = "Rivers run"
PASSWORD = "correct horse battery"


class ApiRig:
    """Jonas, a developer, has the key `of_jonas`; `of_nobody` has no owner; both are for the app `bot`."""

    def __init__(self, services: Services) -> None:
        self.services = services
        services.providers.create(OPERATOR, name="script", kind="scripted")
        for slug, model in (
            ("rivers", f"say:{ANSWER}"),
            ("broken", "error:500"),
            ("cut", "say:one two three four+cut:2"),
        ):
            services.configurations.create(OPERATOR, slug=slug, app="bot", provider="script", model=model)
        services.configurations.set_default(OPERATOR, services.configurations.get(OPERATOR, "rivers").id)
        self.jonas = self.person("jonas", Role.DEVELOPER)
        self.of_jonas = self.key(self.jonas)
        self.of_nobody = self.key(OPERATOR)

    def person(self, name: str, role: Role) -> Actor:
        """Somebody with an account."""
        return make_actor(self.services.users.create(OPERATOR, name, PASSWORD, role).id, name, role)

    def key(self, actor: Actor, **more: Any) -> dict[str, str]:
        """The head of a request with a new key."""
        secret, _ = self.services.api_keys.create(actor, **({"app": "bot", "endpoints": ["api", "models"]} | more))
        return {"authorization": f"Bearer {secret}"}


def application(calls: Calls) -> ProgramRoutes:
    """The doors, whose calls run on the server's loop."""

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        await calls.adopt()
        yield
        await asyncio.to_thread(calls.close)

    return ProgramRoutes(Starlette(routes=health.routes, lifespan=lifespan), program_routes)


@contextmanager
def opened(settings: Settings) -> Iterator[tuple[ApiRig, TestClient]]:
    """A rig and its client."""
    services = service_root.build(settings)
    service_root.use(services)
    try:
        rig = ApiRig(services)
        with TestClient(application(services.calls)) as client:
            yield rig, client
    finally:
        service_root.use(None)
        services.close()


@contextmanager
def live(settings: Settings) -> Iterator[tuple[str, ApiRig]]:
    """A server on a free port: its address, and what is behind it."""
    services = service_root.build(settings)
    service_root.use(services)
    rig = ApiRig(services)
    server = uvicorn.Server(uvicorn.Config(application(services.calls), port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            thread.join(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", rig
    finally:
        server.should_exit = True
        thread.join(CEILING_S)
        service_root.use(None)
        services.close()
