"""`/metrics`: the day's figures for Prometheus, to any key whose scope holds the endpoint `metrics`."""

import asyncio

from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from lib import services as service_root
from lib.access.grants import Endpoint
from lib.errors import LLMManagerError
from lib.gateway import prometheus, refusals


async def metrics(request: Request) -> Response:
    """The text that Prometheus reads."""
    services = service_root.current()
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    key = await services.api_keys.authenticate_async(token.strip() if scheme.lower() == "bearer" else "")
    if key is None:
        return PlainTextResponse(refusals.UNKNOWN_KEY.message, 401, dict(refusals.UNKNOWN_KEY.headers))
    try:
        key.grant.require_endpoint(Endpoint.METRICS)
        snapshot = await asyncio.to_thread(services.counters.snapshot)
    except (LLMManagerError, SQLAlchemyError) as error:
        if not isinstance(error, LLMManagerError):
            return PlainTextResponse("The database does not answer.", 503)
        refusal = refusals.of_error(error)
        return PlainTextResponse(refusal.message, refusal.status)
    return PlainTextResponse(prometheus.text(snapshot), media_type=prometheus.CONTENT_TYPE)


routes = [Route("/metrics", metrics)]
