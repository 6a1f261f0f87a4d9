"""The routes to a model: OpenAI's chat completions, responses and embeddings, Anthropic's messages.

Each reads its protocol into a `ProgramRequest`, from which a `CallRequest` is made; `lib.gateway.http.answers` writes
what comes back. The app and the person in the ledger come from the key alone.
"""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from lib import services as service_root
from lib.access.grants import GatewayEndpoint
from lib.access.limits import Claim, LimitDecision
from lib.access.permissions import Actor
from lib.calls.live_call import LiveCall
from lib.calls.request import CallRequest, Origin
from lib.configs.scope import find_in_scope
from lib.errors import InvalidInput, LLMManagerError
from lib.gateway.anthropic import messages_answer, messages_request
from lib.gateway.http import error_boundary, refusals
from lib.gateway.http.answers import AnswerSender, AnswerWriter
from lib.gateway.http.error_boundary import ErrorForm
from lib.gateway.http.exchange import Exchange, RefusedRequest
from lib.gateway.http.limit_headers import build_anthropic_headers, build_openai_headers
from lib.gateway.http.refusals import Refusal
from lib.gateway.models import prompt_field, workflow_model
from lib.gateway.models.cache_control import read_cache_policy
from lib.gateway.models.program_request import ProgramRequest, read_json
from lib.gateway.models.program_session import read_within
from lib.gateway.models.program_turn import begin_tool_turn
from lib.gateway.openai import (
    chat_completions,
    earlier_turns,
    embedding_answers,
    item_references,
    responses_answer,
    responses_request,
)
from lib.prompts.template import FilledPrompt
from lib.providers.chunks import Wire
from lib.providers.kinds import Protocol, ProviderKind
from lib.providers.parameter_rules import ALLOWED
from lib.services import Services
from lib.tokens.prompt_size import measure
from lib.tokens.prompt_tokens import estimate_prompt

_FORWARDED_HEADERS = (b"anthropic-version", b"anthropic-beta", b"openai-beta")  # headers that belong to a protocol


@dataclass(frozen=True)
class ModelRoute:
    """An address of a model: the protocol that it reads and answers in."""

    endpoint: GatewayEndpoint
    protocol: Protocol
    read: Callable[[dict[str, Any]], ProgramRequest]
    make_writer: Callable[[LiveCall, ProgramRequest], AnswerWriter]
    errors: ErrorForm = error_boundary.OPENAI
    limit_headers: Callable[[LimitDecision], Mapping[str, str]] = build_openai_headers
    words: str = ""  # the field that a prompt template's text goes into

    async def answer(self, exchange: Exchange) -> None:
        """Answer a request; what can't be answered is raised."""
        services = service_root.current()
        actor = await authenticate(exchange, services, self.endpoint)
        body = read_json(await exchange.body())
        filled = await prompt_field.fill_prompt(services, actor, body, self.words) if self.words else None
        if self.protocol is Protocol.RESPONSES:
            await earlier_turns.restore(services, actor, body)
            await item_references.resolve(services, actor, body)
        question = self.read(body)
        if workflow_model.is_workflow(question.model):
            await self._answer_workflow(exchange, services, actor, question)
            return
        answer = AnswerSender(exchange, _RouteForm(self, question), services.calls, streams=question.stream)
        request = _make_call(actor, question, self.protocol, exchange, filled)
        try:
            if (earlier := body.get(earlier_turns.FIELD)) is not None:
                request = replace(request, earlier_tokens=services.kept_turns.find(earlier))
            call = await services.calls.answer(request, answer, partial(begin_tool_turn, services, request, answer))
        finally:
            answer.stop_watching()
        earlier_turns.note(services, call)
        await answer.finish(call)

    async def _answer_workflow(
        self, exchange: Exchange, services: Services, actor: Actor, question: ProgramRequest
    ) -> None:
        if self.protocol is not Protocol.CHAT:
            why = "Workflows are asked over /v1/chat/completions, or begun at /api/workflows."
            raise InvalidInput(f"{question.model[:120]} can't be asked here.", why, "Use one of them.", field="model")
        await workflow_model.answer_chat(exchange, services, actor, question)


class _RouteForm(Struct, frozen=True):
    """A route's protocol, for one question."""

    door: ModelRoute
    question: ProgramRequest

    def writer(self, call: LiveCall) -> AnswerWriter:
        return self.door.make_writer(call, self.question)

    def error(self, refusal: Refusal) -> bytes:
        return self.door.errors.body(refusal)

    def limit_headers(self, verdict: LimitDecision) -> Mapping[str, str]:
        return self.door.limit_headers(verdict)


async def authenticate(exchange: Exchange, services: Services, endpoint: GatewayEndpoint) -> Actor:
    """The actor of the key in the request's head; RefusedRequest for any key that is not valid, without saying why.

    PermissionDenied for a key that is not for the endpoint, or is stopped.
    """
    key = await services.api_keys.authenticate_async(exchange.token)
    if key is None or key.actor is None:
        raise RefusedRequest(refusals.UNKNOWN_KEY)
    key.grant.require_endpoint(endpoint)
    if not services.stops.is_fresh:
        await asyncio.to_thread(services.stops.refresh)
    if (refusal := services.stops.find_key_refusal(key.id)) is not None:
        raise refusal
    return key.actor


def _make_call(
    actor: Actor, question: ProgramRequest, protocol: Protocol, exchange: Exchange, filled: FilledPrompt | None = None
) -> CallRequest:
    """The call of a question: `provider/model` past the configurations, else a configuration's slug."""
    by_model = "/" in question.model
    parameters = {name: value for name, value in question.parameters.items() if name in ALLOWED}
    system = "" if by_model else None
    if filled is not None:
        parameters = {**filled.parameters, **parameters}
        system = system if filled.system_prompt is None else filled.system_prompt
    headers = {n.decode(): exchange.headers[n].decode("latin-1") for n in _FORWARDED_HEADERS if exchange.headers.get(n)}
    return CallRequest(
        actor=actor,
        messages=question.messages,
        configuration=None if by_model else question.model,
        model=question.model if by_model else None,
        origin=Origin.GATEWAY,
        system_prompt=system,
        parameters=parameters,
        tags=filled.tags if filled else {},
        within=read_within(exchange.headers, question.body),
        cache_policy=read_cache_policy(exchange.headers),
        stream=question.stream,
        texts=question.texts,
        wire=Wire(protocol, question.body, headers) if filled is None else None,
        extra={name: value for name, value in question.parameters.items() if name not in ALLOWED},
        native=question.native,
        unsaid=question.unsaid,
    )


CHAT_ROUTE = ModelRoute(
    GatewayEndpoint.CHAT,
    Protocol.CHAT,
    chat_completions.read,
    lambda call, question: chat_completions.ChatWriter(
        call.call_id,
        question.model,
        question.include_usage,
        says_functions="functions" in question.parameters and "tools" not in question.parameters,
    ),
    words="messages",
)
RESPONSES_ROUTE = ModelRoute(
    GatewayEndpoint.RESPONSES,
    Protocol.RESPONSES,
    responses_request.read,
    lambda call, question: responses_answer.ResponsesWriter(call.call_id, question.model),
    words="input",
)
EMBEDDINGS_ROUTE = ModelRoute(
    GatewayEndpoint.EMBEDDINGS,
    Protocol.EMBEDDINGS,
    embedding_answers.read,
    lambda call, question: embedding_answers.EmbeddingsWriter(
        question.model, call.attempt.vectors, question.parameters
    ),
)
MESSAGES_ROUTE = ModelRoute(
    GatewayEndpoint.MESSAGES,
    Protocol.MESSAGES,
    messages_request.read,
    lambda call, question: messages_answer.MessagesWriter(
        call.call_id, question.model, call.prompt_estimate, call.attempt.stop_sequence
    ),
    error_boundary.ANTHROPIC,
    build_anthropic_headers,
    words="messages",
)
MODEL_ROUTES = {
    "/v1/chat/completions": CHAT_ROUTE,
    "/v1/responses": RESPONSES_ROUTE,
    "/v1/embeddings": EMBEDDINGS_ROUTE,
    "/v1/messages": MESSAGES_ROUTE,
}


_LONGEST_COUNTED = 8 * 1024 * 1024  # bytes: far more than any model reads
_COUNTERS = ThreadPoolExecutor(2, thread_name_prefix="count_tokens")  # more at once would hold up everybody else


def count_prompt(services: Services, actor: Actor, body: bytes, exchange: Exchange) -> int:
    """The prompt's tokens, for the model it would go to; Anthropic's where nobody here knows that one.

    Refused for a body that is longer than any model reads.
    """
    if len(body) > _LONGEST_COUNTED:
        why = f"The body is larger than the {_LONGEST_COUNTED:,} bytes that are counted. Send less."
        raise RefusedRequest(Refusal(413, "request_too_large", why))
    question = MESSAGES_ROUTE.read(read_json(body))
    if actor.key is not None and not actor.key.allows_model(question.model):  # by an id, perhaps
        find_in_scope(actor, question.model, lambda: services.configurations.get(actor, question.model))
    try:
        return services.calls.quote(_make_call(actor, question, Protocol.MESSAGES, exchange)).prompt_tokens
    except LLMManagerError:
        return estimate_prompt(measure(question.body), ProviderKind.ANTHROPIC, question.model)


async def count_against_limits(services: Services, actor: Actor) -> None:
    """Count the request against the limits of its key and app; Throttled where one is reached."""
    if actor.key is None:
        return
    claim = Claim(actor.key.app, 0, actor.key)
    if not services.limits.meets_none(claim):
        await asyncio.to_thread(services.limits.take, claim)


async def count_tokens(exchange: Exchange) -> None:
    """`POST /v1/messages/count_tokens`: an estimate for the model it would go to; nothing is sent upstream.

    A model that nobody here knows, or that could not be asked this, is counted as Anthropic's. It counts as a request
    of its key.
    """
    services = service_root.current()
    actor = await authenticate(exchange, services, GatewayEndpoint.MESSAGES)
    await count_against_limits(services, actor)
    body = await exchange.body()
    loop = asyncio.get_running_loop()
    tokens = await loop.run_in_executor(_COUNTERS, count_prompt, services, actor, body, exchange)
    await exchange.answer_json(200, {"input_tokens": tokens}, {})
