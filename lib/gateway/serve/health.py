"""`/healthz`: the process answers. `/readyz`: it can serve: its database answers and has this
version's schema, and both database and spool take what is written.

A process that is stopping is not ready, so that a balancer leaves it alone.
"""

import asyncio
import threading

from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from lib import services
from lib.db import schema
from lib.errors import LLMManagerError

stopping = threading.Event()


def drain() -> None:
    """From now on not ready: the process is stopping."""
    stopping.set()


async def serve_healthz(_request: Request) -> Response:
    """200 while the process lives."""
    return JSONResponse({"status": "ok"}, headers={"cache-control": "no-store"})


async def serve_readyz(_request: Request) -> Response:
    """200 when calls can be logged, else 503 with the reason."""
    reason = await asyncio.to_thread(_find_unready_reason)
    body = {"status": "ready"} if reason is None else {"status": "not ready", "reason": reason}
    return JSONResponse(body, status_code=200 if reason is None else 503, headers={"cache-control": "no-store"})


def _find_unready_reason() -> str | None:
    if stopping.is_set():
        return "The server is stopping."
    try:
        current = services.current()
        if not schema.is_current(current.store):
            return "The database has another version's schema."
        current.calls.check_writes()
        return None
    except LLMManagerError as error:
        return error.title
    except SQLAlchemyError:
        return "The database does not answer."


routes = [Route("/healthz", serve_healthz), Route("/readyz", serve_readyz)]
