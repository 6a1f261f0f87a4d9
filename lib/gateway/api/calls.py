"""The product's own interface: `/api/generate` and `/api/stream` make a call; the rest reads the ledger and adds to it.

Programs ask with an API key whose scope holds the endpoint `api`. Its app spends; its owner's permissions say whose
figures may be seen. Every error is `{"error": {code, message, param}}`.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
from starlette.routing import BaseRoute

from lib.access.limits import LimitDecision
from lib.calls.live_call import LiveCall
from lib.calls.request import CallRequest, Origin, Within
from lib.gateway.api import (
    approvals,
    conversations,
    knowledge,
    native_protocol,
    reads,
    teams,
    tools,
    workflow_batches,
    workflows,
)
from lib.gateway.api.bodies import AnswerBody, Nothing, QuestionBody
from lib.gateway.api.operation import Asking, Operation, Types, build_routes, read
from lib.gateway.http import error_boundary
from lib.gateway.http.answers import AnswerSender
from lib.gateway.http.exchange import Exchange
from lib.gateway.http.limit_headers import build_openai_headers
from lib.gateway.http.refusals import Refusal
from lib.gateway.models import prompt_field
from lib.gateway.models.program_turn import begin_tool_turn
from lib.gateway.openai.chat_completions import read_messages_field
from lib.prompts.template import FilledPrompt
from lib.providers import parameter_rules


class _CallForm:
    """Our protocol as an answer needs it."""

    def writer(self, call: LiveCall) -> native_protocol.NativeWriter:
        return native_protocol.NativeWriter(call)

    def error(self, refusal: Refusal) -> bytes:
        return error_boundary.API.body(refusal)

    def limit_headers(self, verdict: LimitDecision) -> Any:
        return build_openai_headers(verdict)


_FORM = _CallForm()


@dataclass(frozen=True)
class Generation(Operation):
    """Makes a call and answers with the whole, or with events as it comes."""

    types = Types(Nothing, QuestionBody, AnswerBody)

    def read_body(self, raw: dict[str, Any]) -> msgspec.Struct:
        """Nothing yet: a prompt template is filled first."""
        return Nothing()

    async def answer(self, exchange: Exchange, asking: Asking[Any, Any]) -> None:
        """Answer a request that was read."""
        services = asking.services
        raw = asking.raw
        filled = await prompt_field.fill_prompt(services, asking.actor, raw, "messages")
        answer = AnswerSender(exchange, _FORM, services.calls, streams=self.streams)
        request = self._request(asking, read(QuestionBody, raw), filled)
        try:
            call = await services.calls.answer(request, answer, partial(begin_tool_turn, services, request, answer))
        finally:
            answer.stop_watching()
        await answer.finish(call)

    def _request(self, asking: Asking[Any, Any], question: QuestionBody, filled: FilledPrompt | None) -> CallRequest:
        parameters = parameter_rules.check(question.parameters or {})
        system = question.system
        tags = question.tags or {}
        if filled is not None:
            system = filled.system_prompt if system is None else system
            parameters = {**filled.parameters, **parameters}
            tags = {**tags, **filled.tags}
        by_words = [{"role": "user", "content": question.prompt}]
        return CallRequest(
            actor=asking.actor,
            messages=by_words if question.prompt is not None else read_messages_field(asking.raw),
            configuration=question.configuration,
            model=question.model,
            context=question.context,
            origin=Origin.GATEWAY,
            system_prompt=system if question.model is None else system or "",
            parameters=parameters,
            tags=tags,
            within=Within(question.session_id or "", parent_call_id=question.parent_call_id or ""),
            stream=self.streams,
        )


_EVENTS = "Events `chunk` {content, reasoning?, tokens}; then `done` (an answer without its words) or `error`."
OPERATIONS: dict[str, dict[str, Operation]] = {
    "/api/generate": {"POST": Generation("generate", "Ask a model")},
    "/api/stream": {"POST": Generation("stream", f"Ask a model and read as it answers. {_EVENTS}", streams=True)},
    **reads.OPERATIONS,
    **teams.OPERATIONS,
    **conversations.OPERATIONS,
    **knowledge.OPERATIONS,
    **approvals.OPERATIONS,
    **workflows.OPERATIONS,
    **workflow_batches.OPERATIONS,
    **tools.OPERATIONS,
}
routes: list[BaseRoute] = build_routes(OPERATIONS)
