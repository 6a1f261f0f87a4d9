"""The product's own interface: `/api/generate` and `/api/stream` make a call; the rest reads the ledger and adds to it.

Programs ask with an API key whose scope holds the endpoint `api`. Its app spends; its owner's permissions say whose
figures may be seen. Every error is `{"error": {code, message, param}}`.
"""

from dataclasses import dataclass
from typing import Any

from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from lib import services as service_root
from lib.access.grants import Endpoint
from lib.access.limits import Verdict
from lib.access.permissions import Actor
from lib.calls.live import LiveCall
from lib.calls.request import CallRequest, Origin
from lib.gateway import api_reads, boundary, prompt_field
from lib.gateway.answers import Answer
from lib.gateway.api_reads import Resource
from lib.gateway.completions import caller
from lib.gateway.exchange import Exchange
from lib.gateway.limit_headers import openai_headers
from lib.gateway.protocols import native
from lib.gateway.protocols.asked import read_json
from lib.gateway.refusals import Refusal
from lib.prompts.template import Filled


class _Form:
    """Our protocol as an answer needs it."""

    def writer(self, call: LiveCall) -> native.Writer:
        return native.Writer(call)

    def error(self, refusal: Refusal) -> bytes:
        return boundary.API.body(refusal)

    def limit_headers(self, verdict: Verdict) -> Any:
        return openai_headers(verdict)


_FORM = _Form()


@dataclass(frozen=True)
class Generate:
    """Make a call and answer with the whole, or with events as it comes."""

    streams: bool

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        exchange, services = Exchange(scope, receive, send), service_root.current()
        actor = await caller(exchange, services, Endpoint.API)
        body = read_json(await exchange.body())
        filled = await prompt_field.take(services, actor, body, "messages")
        request = _call(actor, native.read(body), self.streams, filled)
        answer = Answer(exchange, _FORM, services.calls, streams=self.streams)
        try:
            call = await services.calls.answer(request, answer)
        finally:
            answer.stop_watching()
        await answer.finish(call)


def _call(actor: Actor, asked: native.Question, streams: bool, filled: Filled | None) -> CallRequest:
    system = asked.system if filled is None or asked.system is not None else filled.system_prompt
    return CallRequest(
        actor=actor,
        messages=asked.messages,
        configuration=asked.configuration,
        model=asked.model,
        context=asked.context,
        origin=Origin.GATEWAY,
        system_prompt=system if asked.model is None else system or "",
        parameters={**filled.parameters, **asked.parameters} if filled else asked.parameters,
        tags={**asked.tags, **filled.tags} if filled else asked.tags,
        stream=streams,
    )


routes: list[BaseRoute] = [
    Route("/api/generate", Generate(streams=False), methods=["POST"]),
    Route("/api/stream", Generate(streams=True), methods=["POST"]),
    Route("/api/calls/{call_id}", Resource(api_reads.call), methods=["GET"]),
    Route(
        "/api/calls/{call_id}/metrics",
        Resource(api_reads.metrics_of_call, api_reads.record_metrics),
        methods=["GET", "POST"],
    ),
    Route("/api/prompts", Resource(api_reads.prompts), methods=["GET"]),
    Route("/api/prompts/{slug}", Resource(api_reads.prompt), methods=["GET"]),
    Route("/api/metrics", Resource(api_reads.metrics), methods=["GET"]),
    Route("/api/usage", Resource(api_reads.usage), methods=["GET"]),
    Route("/api/budgets/check", Resource(api_reads.check_budgets), methods=["GET"]),
]
