"""Workflows as models: `workflow/<slug>` over OpenAI's chat completions, listed under `/v1/models`, scoped by keys.

The last message is the run's main input (the first text field of its form), `inputs` in the body are further ones, and
a field named `messages` gets the whole conversation. The answer is the run's output; streamed, its words come when the
output is there, and a comment keeps the line open while steps go. A run that waits for a person is an error that names
the inbox: no answer can come in this request.
"""

import asyncio
import time

from lib.access.permissions import Actor, Permission
from lib.gateway.http.exchange import Exchange, RefusedRequest
from lib.gateway.http.refusals import Refusal
from lib.gateway.models.background_call import EVENTS
from lib.gateway.models.program_request import ProgramRequest
from lib.gateway.openai.chat_completions import ChatWriter
from lib.limited.expressions import convert_to_text
from lib.providers.chunks import Finish, TextDelta, Usage
from lib.services import Services
from lib.workflows.form import fill_from_messages
from lib.workflows.run import Run, RunState, Trigger

PREFIX = "workflow/"
_LOOK_S = 0.1
_SIGN_OF_LIFE_S = 10.0
_LONGEST_S = 600.0
_PIECE = 400  # characters of the output in an event
_SIGN_OF_LIFE = b": the workflow runs\n\n"
_STATUS = {RunState.FAILED: 500, RunState.CANCELLED: 503, RunState.WAITING: 409, RunState.PAUSED: 409}


def is_workflow(model: str) -> bool:
    """Whether a model's name means a workflow."""
    return model.startswith(PREFIX)


def list_workflow_models(services: Services, actor: Actor) -> list[tuple[str, str, int]]:
    """(name, owner, made at in Unix seconds) of the workflows that the actor may run."""
    if not actor.can(Permission.TEST_CONFIGS):
        return []
    listed = services.workflows.definitions.list(actor)
    return [(PREFIX + w.slug, "workflow", int(w.created_at.timestamp())) for w in listed if w.is_active]


async def answer_chat(exchange: Exchange, services: Services, actor: Actor, question: ProgramRequest) -> None:
    """Run the workflow that a chat request names, and answer with its output."""
    slug = question.model.removeprefix(PREFIX)
    run = await asyncio.to_thread(_begin, services, actor, slug, question)
    writer = ChatWriter(run.id, question.model, question.include_usage)
    if question.stream:
        await exchange.begin(200, EVENTS, "text/event-stream; charset=utf-8")
        await exchange.write(writer.begin())
    run = await _follow(exchange, services, actor, run, streams=question.stream)
    refusal = refuse_run(run)
    usage = Usage(run.prompt_tokens, run.completion_tokens)
    text = convert_to_text(run.output)
    if not question.stream:
        if refusal is not None:
            raise RefusedRequest(refusal)
        await exchange.answer_json(200, writer.whole(text, "", [], "stop", usage), {"cache-control": "no-store"})
    elif refusal is not None:
        await exchange.end(writer.error(refusal.status, refusal.code, refusal.message))
    else:
        for start in range(0, len(text), _PIECE):
            await exchange.write(writer.chunk(TextDelta(text[start : start + _PIECE])))
        writer.chunk(Finish("stop"))
        await exchange.end(writer.end(usage))


def _begin(services: Services, actor: Actor, slug: str, question: ProgramRequest) -> Run:
    fields = services.workflows.definitions.version(actor, slug).definition.input_fields
    inputs = fill_from_messages(fields, question.messages, question.body.get("inputs"))
    run: Run = services.workflows.runs.start(actor, slug, inputs, trigger=Trigger.GATEWAY)
    return run


async def _follow(exchange: Exchange, services: Services, actor: Actor, run: Run, *, streams: bool) -> Run:
    began = reported_at = time.monotonic()
    while run.state.is_at_work and time.monotonic() - began < _LONGEST_S:
        await asyncio.sleep(_LOOK_S)
        if streams and time.monotonic() - reported_at > _SIGN_OF_LIFE_S:
            reported_at = time.monotonic()
            await exchange.write(_SIGN_OF_LIFE)
        run = await asyncio.to_thread(services.workflows.runs.get, actor, run.id)
    return run


def refuse_run(run: Run) -> Refusal | None:
    """Why a run has no answer to give now; None when it has."""
    if run.state is RunState.DONE:
        return None
    if run.state.is_at_work:
        return Refusal(504, "timeout", f"The run {run.id} goes on: it has taken longer than {_LONGEST_S:.0f} seconds.")
    inbox_hint = " Decide at /approvals." if run.state is RunState.WAITING else ""
    step = f" at {run.failed_step}" if run.failed_step else ""
    code = {RunState.WAITING: "waiting_for_approval", RunState.PAUSED: "paused"}.get(run.state, "workflow_failed")
    return Refusal(_STATUS[run.state], code, f"The run {run.id} is {run.state}{step}: {run.reason}{inbox_hint}")
