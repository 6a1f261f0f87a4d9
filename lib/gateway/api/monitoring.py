"""`/metrics`: the day's figures for Prometheus, to any key whose scope holds the endpoint `metrics`."""

import asyncio

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from lib import services as service_root
from lib.access.grants import GatewayEndpoint
from lib.gateway.api import prometheus
from lib.gateway.http import refusals
from lib.gateway.http.exchange import RefusedRequest


async def metrics(request: Request) -> Response:
    """The text that Prometheus reads."""
    services = service_root.current()
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    key = await services.api_keys.authenticate_async(token.strip() if scheme.lower() == "bearer" else "")
    if key is None:
        raise RefusedRequest(refusals.UNKNOWN_KEY)
    key.grant.require_endpoint(GatewayEndpoint.METRICS)
    snapshot = await asyncio.to_thread(services.counters.snapshot)
    return PlainTextResponse(prometheus.text(snapshot), media_type=prometheus.CONTENT_TYPE)


routes = [Route("/metrics", metrics)]
