"""A stop that ends in time: `with drained(calls):` around the serving of the process of the pages.

The server waits for its open answers without a limit before it ends the lifespan. So the signal is noticed here first:
from then on the process is not ready, and answers that have not ended after `DRAIN_S` are ended, with their rows.
"""

import asyncio
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from lib.calls.calls import Calls
from lib.gateway.serve import health

DRAIN_S = 9.0  # what running answers get; closing their rows fits into the tenth second


@contextmanager
def drain_on_stop(calls: Calls) -> Iterator[None]:
    """Handle SIGTERM and SIGINT before the server's own handlers do. In a thread that takes no signals: nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    ending = list[asyncio.Task[None]]()

    def end_later() -> None:
        if not ending:
            ending.append(loop.create_task(_end(calls)))

    def on_signal(number: int, frame: FrameType | None) -> None:
        health.drain()
        loop.call_soon_threadsafe(end_later)
        if callable(handler := servers[number]):
            handler(number, frame)

    servers: dict[int, Any] = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in servers.items():
            signal.signal(number, handler)
        for task in ending:
            task.cancel()


async def _end(calls: Calls) -> None:
    await asyncio.sleep(DRAIN_S)
    await asyncio.to_thread(calls.close, 0.0)
