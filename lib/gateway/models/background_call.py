"""A background call passed on to a program while it runs."""

import asyncio
from typing import Any

from lib.access.permissions import Actor
from lib.gateway.http.exchange import Exchange
from lib.gateway.models.program_request import encode_event
from lib.services import Services
from lib.tokens.text_estimate import estimate_tokens
from lib.tools.turn import TurnView, combine_views

EVENTS = {"cache-control": "no-store", "x-accel-buffering": "no"}
_LOOK_EVERY_S = 0.05


class ToolEvents:
    """Tells of each change of a tool's run once."""

    def __init__(self) -> None:
        self._told: dict[str, str] = {}

    def take(self, turn: TurnView | None) -> list[dict[str, Any]]:
        """The events of what has changed."""
        events = list[dict[str, Any]]()
        for run in turn.executions if turn is not None else ():
            if self._told.get(run.id) != run.status:
                self._told[run.id] = run.status
                event = {"id": run.id, "tool": run.tool, "status": run.status, "duration_ms": run.duration_ms}
                events.append(event | ({"approval_id": run.approval_id} if run.is_open else {}))
        return events


async def follow(exchange: Exchange, services: Services, actor: Actor, call_id: str, *, streams: bool) -> None:
    """Look at the call, or the turn that began with it, until it ends or waits for a person.

    With `streams`, write what is new as events `chunk`, and each change of a tool's run as an event `tool`.
    """
    attempt = 1
    text = 0
    reasoning = 0
    tools = ToolEvents()
    while True:
        turn = services.turns.view(actor, call_id)
        view = services.calls.view(actor, call_id) if turn is None or not turn.steps else combine_views(turn)
        if streams:
            for event in tools.take(turn):
                await exchange.write(encode_event(event, "tool"))
            if view.attempt != attempt:
                attempt = view.attempt
                text = 0
                reasoning = 0
            chunk: dict[str, Any] = {"content": view.text[text:]}
            if view.reasoning[reasoning:]:
                chunk["reasoning"] = view.reasoning[reasoning:]
            text = len(view.text)
            reasoning = len(view.reasoning)
            if any(chunk.values()):
                await exchange.write(encode_event(chunk | {"tokens": estimate_tokens(view.text)}, "chunk"))
        if not view.running or (turn is not None and turn.is_waiting):
            return
        await asyncio.sleep(_LOOK_EVERY_S)
