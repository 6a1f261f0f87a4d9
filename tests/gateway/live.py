"""The doors on a real port, before real providers on loopback that speak OpenAI's and Anthropic's protocols."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import Any

import uvicorn
from sqlalchemy import select
from starlette.applications import Starlette

from lib import services as service_root
from lib.access.permissions import OPERATOR, Role, make_actor
from lib.db.tables import usage_logs
from lib.gateway.http.fast_http import FastHttpProtocol
from lib.gateway.http.program_routes import ProgramRoutes
from lib.gateway.serve import health
from lib.gateway.serve.routes import program_routes
from lib.services import Services
from lib.settings import Settings
from tests.providers.wire import Script, WireServer, serving
from tests.waiting import CEILING_S

PASSWORD = "correct horse battery"


class Live:
    """A server with a developer's key for the app `bot`."""

    def __init__(self, services: Services, port: int, stack: ExitStack) -> None:
        self.services, self.port, self._stack = services, port, stack
        user = services.users.create(OPERATOR, "jonas", PASSWORD, Role.DEVELOPER)
        self.jonas = make_actor(user.id, "jonas", Role.DEVELOPER)
        self.key, _ = services.api_keys.create(self.jonas, app="bot")

    @property
    def url(self) -> str:
        """The server's address."""
        return f"http://127.0.0.1:{self.port}"

    def provider(self, name: str, kind: str, script: Script, base: str = "/v1") -> WireServer:
        """A provider of a kind, with a configuration of the same name."""
        server = self._stack.enter_context(serving(script))
        url = server.url + ("" if kind == "anthropic" else base)
        self.services.providers.create(
            OPERATOR, name=name, kind=kind, base_url=url, api_key="sk-upstream-0123456789", allow_private=True
        )
        self.services.configurations.create(OPERATOR, slug=name, app="bot", provider=name, model="m-asked")
        return server

    def at_end(self, work: Callable[[], object]) -> None:
        """Do something before the server stops."""
        self._stack.callback(work)

    def rows(self) -> list[dict[str, Any]]:
        """Every row of the ledger, oldest first."""
        self.services.calls.flush()
        with self.services.store.read() as connection:
            return [dict(row) for row in connection.execute(select(usage_logs).order_by(usage_logs.c.id)).mappings()]

    def row(self) -> dict[str, Any]:
        """The newest row."""
        return self.rows()[-1]

    def eventually(self, holds: Callable[[], bool], seconds: float = CEILING_S) -> None:
        """Wait for something that another thread brings about."""
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline
            time.sleep(0.02)


@contextmanager
def live(settings: Settings, http: Any = FastHttpProtocol) -> Iterator[Live]:
    """Services, a server in a thread, and the end of both; `http` "httptools" goes uvicorn's way, as the pages do."""
    services = service_root.build(settings)
    service_root.use(services)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        await services.calls.adopt()
        yield
        await asyncio.to_thread(services.calls.close, 0.5)

    app = ProgramRoutes(Starlette(routes=health.routes, lifespan=lifespan), program_routes)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", ws="none", http=http))
    thread = threading.Thread(target=server.run)
    thread.start()
    with ExitStack() as stack:
        try:
            deadline = time.monotonic() + CEILING_S
            while not server.started:
                assert thread.is_alive()
                assert time.monotonic() < deadline
                time.sleep(0.02)
            yield Live(services, server.servers[0].sockets[0].getsockname()[1], stack)
        finally:
            server.should_exit = True
            thread.join(CEILING_S)
            service_root.use(None)
            services.close()
