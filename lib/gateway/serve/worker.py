"""One gateway worker: the HTTP routes without the pages, in a process that a supervisor keeps running.

`python -m lib.gateway.serve.worker HOST PORT PIPE` builds the services, serves, and says so by one byte on the pipe.
SIGTERM, or the end of the pipe (the supervisor is gone), stops it: no new connection, /readyz says 503, running
answers have `DRAIN_S` to end, what is left is cancelled and every row closed. Streamlit is never imported here.
"""

import asyncio
import gc
import logging
import socket
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from types import FrameType

import uvicorn
from starlette.routing import Router

from lib import services
from lib.errors import InstallationError
from lib.gateway.http.fast_http import FastHttpProtocol
from lib.gateway.http.program_routes import ProgramRoutes
from lib.gateway.mcp import door as mcp_door
from lib.gateway.serve import health
from lib.gateway.serve.routes import program_routes
from lib.gateway.serve.stopping import DRAIN_S
from lib.gateway.serve.supervisor import bind_shared
from lib.providers import adapters

_KEEP_ALIVE_S = 65  # longer than clients keep a connection, so that none is closed while they send
_LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


@asynccontextmanager
async def lifespan(_app: Router) -> AsyncIterator[None]:
    """Jobs and the import of litellm beside the calls; at the end no call is left open."""
    current = services.current()
    await current.calls.adopt()
    threading.Thread(target=_warm, args=(current,), name="warm", daemon=True).start()
    jobs = current.jobs()
    jobs.start()
    try:
        yield
    finally:
        await mcp_door.close()
        await asyncio.to_thread(jobs.stop, 0.5)
        await asyncio.to_thread(current.calls.close, 0.0)
        await asyncio.to_thread(current.close)


def build_application() -> ProgramRoutes:
    """The routes of programs, and behind them the health routes."""
    return ProgramRoutes(
        Router(health.routes, lifespan=lifespan), program_routes
    )  # a Starlette would answer bugs by itself


class Worker(uvicorn.Server):
    """uvicorn's server, with a word to the supervisor at the start and an exit status of 0 at the end."""

    def __init__(self, pipe: socket.socket) -> None:
        super().__init__(
            uvicorn.Config(
                build_application(),
                loop="uvloop",
                http=FastHttpProtocol,
                ws="none",
                lifespan="on",
                access_log=False,
                log_config=None,
                server_header=False,
                timeout_keep_alive=_KEEP_ALIVE_S,
                timeout_graceful_shutdown=DRAIN_S,  # type: ignore[arg-type]  # a number, given to asyncio.wait_for
            )
        )
        self._pipe = pipe

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve, then say so, and listen for the end of the supervisor."""
        await super().startup(sockets)
        self._pipe.setblocking(False)
        with suppress(OSError):  # it is gone already: the reader, below, finds that out
            self._pipe.send(b"1")
        asyncio.get_running_loop().add_reader(self._pipe, self._supervisor_gone)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop; uvicorn would repeat the signal at the end, and the status would be its number."""
        health.drain()
        self.should_exit = True

    def _supervisor_gone(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pipe)
        health.drain()
        self.should_exit = True


def _warm(current: services.Services) -> None:
    """Load what the first calls need: prices and the relay, then litellm; what stands then is no garbage to look at.

    A call leaves a few hundred objects behind and hardly a cycle, so the collector looks less often than by default.
    """
    current.prices.warm()
    adapters.warm().join()
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def main(host: str, port: int, pipe: socket.socket) -> int:
    """Build the services and serve; the exit status."""
    logging.basicConfig(level=logging.WARNING, format=_LOG_FORMAT)
    logging.getLogger("lib").setLevel(logging.INFO)
    try:
        services.current()
    except InstallationError as error:
        print(error, file=sys.stderr)
        return 1
    Worker(pipe).run(sockets=[bind_shared(host, port)])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), socket.socket(fileno=int(sys.argv[3]))))
