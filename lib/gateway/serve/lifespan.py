"""From start to stop of the serving process: services first, then what runs beside them, then a clean end."""

import asyncio
import ctypes
import gc
import logging
import os
import socket
import stat
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from lib import services
from lib.errors import InstallationError, LLMManagerError
from lib.gateway.mcp import door as mcp_door
from lib.gateway.serve.stopping import drain_on_stop
from lib.gateway.site.session_guard import watch_sessions
from lib.providers import adapters

log = logging.getLogger(__name__)
_DRAIN_S = 5.0
_FIRST_PAGE_S = 4.0
_SWITCH_S = 0.001  # after which a page that computes lets the calls go on; Python's own is five times as long


@asynccontextmanager
async def lifespan(_app: Any) -> AsyncIterator[None]:
    """Build the services, warm litellm in the background, watch sessions; stop without leaving a call open."""
    try:
        current = await asyncio.to_thread(services.current)
    except InstallationError as error:
        print(f"\n{error.title}\n{error.body}\n", file=sys.stderr, flush=True)
        os._exit(1)  # the server would print a trace and go on trying
    set_nodelay()
    sys.setswitchinterval(_SWITCH_S)
    await current.calls.adopt()
    if current.setup.is_needed():
        print(f"\nCreate the administrator in the browser. Set-up code: {current.setup.read_code()}\n", flush=True)
    threading.Thread(target=_warm, args=(current,), name="warm", daemon=True).start()
    launching = threading.Thread(target=_launch_work, args=(current,), name="work", daemon=True)
    launching.start()
    schedulers = [current.jobs(), *current.long_jobs()]
    for scheduler in schedulers:
        scheduler.start()
    watcher = asyncio.create_task(watch_sessions(current))
    try:
        with drain_on_stop(current.calls):
            yield
    finally:
        watcher.cancel()
        await mcp_door.close()
        with suppress(asyncio.CancelledError):
            await watcher
        await asyncio.to_thread(launching.join)
        await asyncio.to_thread(current.work.close)
        current.knowledge.close()
        for scheduler in schedulers:
            await asyncio.to_thread(scheduler.stop)
        await asyncio.to_thread(current.calls.close, _DRAIN_S)
        await asyncio.to_thread(current.close)


def _warm(current: services.Services) -> None:
    """First the statistics' copy of the ledger, which the first page shows; then litellm, which the first call needs.

    One after the other, and litellm only when a first page has had its time: imported at once they would all take
    twice as long. A call that comes sooner imports it itself. What stands then stays for good: frozen, it no longer
    takes part in the collection of garbage with which Streamlit ends every run of a page.
    """
    try:
        current.statistics.refresh()
        import lib.statistics.charts.figure_charts  # noqa: F401 - altair
    except LLMManagerError as error:
        log.warning("The statistics are not ready: %s", error)
    time.sleep(_FIRST_PAGE_S)
    adapters.warm().join()
    gc.collect()
    gc.freeze()
    _give_memory_back()


def _launch_work(current: services.Services) -> None:
    """Launch the engine of work once the first page has had its time, for it takes half a second of a processor."""
    time.sleep(_FIRST_PAGE_S / 2)
    try:
        current.launch_work()
    except (LLMManagerError, SQLAlchemyError) as error:
        log.error("Work can't be run by this process: %s", error)


def _give_memory_back() -> None:
    """Return what the imports left free to the system, where the C library can (glibc)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def set_nodelay() -> None:
    """Switch Nagle's algorithm off on this process's listening sockets; accepted connections inherit it.

    Under plain asyncio a keep-alive answer otherwise waits 40 ms for the client's acknowledgement.
    """
    try:
        numbers = [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError:
        return
    for number in numbers:
        with suppress(OSError):  # the number of the folder just read is closed already
            if stat.S_ISSOCK(os.fstat(number).st_mode):
                with socket.socket(fileno=os.dup(number)) as listening_socket:
                    if listening_socket.family in (socket.AF_INET, socket.AF_INET6) and _is_listening(listening_socket):
                        listening_socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _is_listening(checked_socket: socket.socket) -> bool:
    return checked_socket.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) != 0
