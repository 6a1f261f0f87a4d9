"""A background call passed on to a program while it runs."""

import asyncio
from typing import Any

from lib.access.permissions import Actor
from lib.gateway.http.exchange import Exchange
from lib.gateway.models.program_request import encode_event
from lib.services import Services
from lib.tokens.text_estimate import estimate_tokens

EVENTS = {"cache-control": "no-store", "x-accel-buffering": "no"}
_LOOK_EVERY_S = 0.05


async def follow(exchange: Exchange, services: Services, actor: Actor, call_id: str, *, streams: bool) -> None:
    """Look at the call until it ends; with `streams`, write what is new as events `chunk`."""
    attempt = 1
    text = 0
    reasoning = 0
    while True:
        view = services.calls.view(actor, call_id)
        if streams:
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
        if not view.running:
            return
        await asyncio.sleep(_LOOK_EVERY_S)
