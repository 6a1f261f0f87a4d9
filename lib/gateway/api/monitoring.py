"""`/metrics`: the day's figures for Prometheus, to any key whose scope holds the endpoint `metrics`.

A person's key reads those of its team; one without an owner, which only the operator makes, those of all teams.
"""

import asyncio

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from lib import services as service_root
from lib.access.grants import GatewayEndpoint
from lib.gateway.api import prometheus
from lib.gateway.http import refusals
from lib.gateway.http.exchange import RefusedRequest


async def serve_metrics(request: Request) -> Response:
    """The text that Prometheus reads."""
    services = service_root.current()
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    key = await services.api_keys.authenticate_async(token.strip() if scheme.lower() == "bearer" else "")
    if key is None:
        raise RefusedRequest(refusals.UNKNOWN_KEY)
    key.grant.require_endpoint(GatewayEndpoint.METRICS)
    team_id = None if key.user_id is None else key.team_id  # a monitor's own key, made by the operator, reads them all
    snapshot = await asyncio.to_thread(services.counters.snapshot, team_id)
    return PlainTextResponse(prometheus.format_metrics(snapshot), media_type=prometheus.CONTENT_TYPE)


routes = [Route("/metrics", serve_metrics)]
