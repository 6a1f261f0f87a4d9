"""Threads of tools alone: what a tool waits for holds up other tools, and nobody else.

The event loop's own threads are few (two cores: six), and every request needs one for its reads: half a dozen slow
queries of models would stop the whole process.
"""

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")
MOST_AT_ONCE = 32
_POOL = ThreadPoolExecutor(MOST_AT_ONCE, thread_name_prefix="tool")


async def run_in_thread(function: Callable[..., T], *arguments: Any, **keywords: Any) -> T:
    """Run a function of a tool in one of its threads, as `asyncio.to_thread` would; a full house waits for its turn."""
    work = partial(contextvars.copy_context().run, function, *arguments, **keywords)
    return await asyncio.get_running_loop().run_in_executor(_POOL, work)
