"""The doors to a model: OpenAI's chat completions, responses and embeddings, Anthropic's messages.

Each reads its protocol into `Asked`; the one call the library knows is made of it; `lib.gateway.http.answers` writes
what comes back. The app and the person in the ledger come from the key alone.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from msgspec import Struct

from lib import services as service_root
from lib.access.grants import Endpoint
from lib.access.limits import LimitDecision
from lib.access.permissions import Actor
from lib.calls.live import LiveCall
from lib.calls.request import CallRequest, Origin
from lib.configs.scope import find_in_scope
from lib.errors import LLMManagerError
from lib.gateway.anthropic import messages_answer, messages_request
from lib.gateway.http import error_boundary, refusals
from lib.gateway.http.answers import Answer, Writer
from lib.gateway.http.error_boundary import ErrorForm
from lib.gateway.http.exchange import Exchange, Refused
from lib.gateway.http.limit_headers import anthropic_headers, openai_headers
from lib.gateway.http.refusals import Refusal
from lib.gateway.models import prompt_field
from lib.gateway.models.program_request import Asked, read_json
from lib.gateway.openai import chat_completions, embedding_answers, item_references, responses_answer, responses_request
from lib.prompts.template import FilledPrompt
from lib.providers.chunks import Wire
from lib.providers.kinds import Protocol, ProviderKind
from lib.providers.parameter_rules import ALLOWED
from lib.services import Services
from lib.tokens.prompt_size import measure
from lib.tokens.prompt_tokens import estimate_prompt

_LONG = 100_000  # bytes of a body that is read in a thread
_TRAVELS = (b"anthropic-version", b"anthropic-beta", b"openai-beta")  # headers that belong to a protocol


@dataclass(frozen=True)
class Door:
    """A protocol at an address: how it reads, and how it answers."""

    endpoint: Endpoint
    protocol: Protocol
    read: Callable[[dict[str, Any]], Asked]
    make_writer: Callable[[LiveCall, Asked], Writer]
    errors: ErrorForm = error_boundary.OPENAI
    limit_headers: Callable[[LimitDecision], Mapping[str, str]] = openai_headers
    words: str = ""  # the field that a prompt template's text goes into

    async def answer(self, exchange: Exchange) -> None:
        """Answer a request; what can't be answered is raised."""
        services = service_root.current()
        actor = await caller(exchange, services, self.endpoint)
        body = read_json(await exchange.body())
        filled = await prompt_field.take(services, actor, body, self.words) if self.words else None
        if self.protocol is Protocol.RESPONSES:
            await item_references.resolve(services, actor, body)
        asked = self.read(body)
        answer = Answer(exchange, _Form(self, asked), services.calls, streams=asked.stream)
        try:
            call = await services.calls.answer(_call(actor, asked, self.protocol, exchange, filled), answer)
        finally:
            answer.stop_watching()
        await answer.finish(call)


class _Form(Struct, frozen=True):
    """A door's protocol, for one question."""

    door: Door
    asked: Asked

    def writer(self, call: LiveCall) -> Writer:
        return self.door.make_writer(call, self.asked)

    def error(self, refusal: Refusal) -> bytes:
        return self.door.errors.body(refusal)

    def limit_headers(self, verdict: LimitDecision) -> Mapping[str, str]:
        return self.door.limit_headers(verdict)


async def caller(exchange: Exchange, services: Services, endpoint: Endpoint) -> Actor:
    """Who asks, by the key in the request's head; Refused for any key that is not valid, without saying why."""
    key = await services.api_keys.authenticate_async(exchange.token)
    if key is None or key.actor is None:
        raise Refused(refusals.UNKNOWN_KEY)
    key.grant.require_endpoint(endpoint)
    return key.actor


def _call(
    actor: Actor, asked: Asked, protocol: Protocol, exchange: Exchange, filled: FilledPrompt | None = None
) -> CallRequest:
    """The call of a question: `provider/model` past the configurations, else a configuration's slug."""
    by_model = "/" in asked.model
    parameters = {name: value for name, value in asked.parameters.items() if name in ALLOWED}
    system = "" if by_model else None
    if filled is not None:
        parameters = {**filled.parameters, **parameters}
        system = system if filled.system_prompt is None else filled.system_prompt
    headers = {n.decode(): exchange.headers[n].decode("latin-1") for n in _TRAVELS if exchange.headers.get(n)}
    return CallRequest(
        actor=actor,
        messages=asked.messages,
        configuration=None if by_model else asked.model,
        model=asked.model if by_model else None,
        origin=Origin.GATEWAY,
        system_prompt=system,
        parameters=parameters,
        tags=filled.tags if filled else {},
        stream=asked.stream,
        texts=asked.texts,
        wire=Wire(protocol, asked.body, headers) if filled is None else None,
        extra={name: value for name, value in asked.parameters.items() if name not in ALLOWED},
        native=asked.native,
        unsaid=asked.unsaid,
    )


CHAT = Door(
    Endpoint.CHAT,
    Protocol.CHAT,
    chat_completions.read,
    lambda call, asked: chat_completions.Writer(call.call_id, asked.model, asked.include_usage),
    words="messages",
)
RESPONSES = Door(
    Endpoint.RESPONSES,
    Protocol.RESPONSES,
    responses_request.read,
    lambda call, asked: responses_answer.Writer(call.call_id, asked.model),
    words="input",
)
EMBEDDINGS = Door(
    Endpoint.EMBEDDINGS,
    Protocol.EMBEDDINGS,
    embedding_answers.read,
    lambda call, asked: embedding_answers.Writer(asked.model, call.attempt.vectors, asked.parameters),
)
MESSAGES = Door(
    Endpoint.MESSAGES,
    Protocol.MESSAGES,
    messages_request.read,
    lambda call, asked: messages_answer.Writer(call.call_id, asked.model, call.prompt_estimate),
    error_boundary.ANTHROPIC,
    anthropic_headers,
    words="messages",
)
DOORS = {
    "/v1/chat/completions": CHAT,
    "/v1/responses": RESPONSES,
    "/v1/embeddings": EMBEDDINGS,
    "/v1/messages": MESSAGES,
}


def _asked(body: bytes) -> Asked:
    return MESSAGES.read(read_json(body))


async def count_tokens(exchange: Exchange) -> None:
    """`POST /v1/messages/count_tokens`: an estimate for the model it would go to; nothing is sent upstream.

    A model that nobody here knows, or that could not be asked this, is counted as Anthropic's.
    """
    services = service_root.current()
    actor = await caller(exchange, services, Endpoint.MESSAGES)
    body = await exchange.body()
    asked = await asyncio.to_thread(_asked, body) if len(body) > _LONG else _asked(body)
    model = asked.model
    if actor.key is not None and not actor.key.allows_model(model):  # by an id, perhaps
        await asyncio.to_thread(find_in_scope, actor, model, lambda: services.configurations.get(actor, model))
    try:
        told = await asyncio.to_thread(services.calls.quote, _call(actor, asked, Protocol.MESSAGES, exchange))
        tokens = told.prompt_tokens
    except LLMManagerError:
        tokens = estimate_prompt(measure(asked.body), ProviderKind.ANTHROPIC, model)
    await exchange.answer_json(200, {"input_tokens": tokens}, {})
