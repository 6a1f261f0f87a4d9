"""`/v1/models`: the configurations that a key may call, by slug, in OpenAI's shape or Anthropic's."""

import asyncio

from lib import services as service_root
from lib.access.grants import Endpoint
from lib.access.permissions import Actor
from lib.errors import NotFound
from lib.gateway.anthropic import messages_answer
from lib.gateway.http.exchange import Exchange
from lib.gateway.models.completions import caller
from lib.gateway.openai import chat_completions

PATH = "/v1/models"


async def models(exchange: Exchange) -> None:
    """`GET /v1/models` and `GET /v1/models/{slug}`."""
    is_anthropic = bool(exchange.header("anthropic-version"))
    actor = await caller(exchange, service_root.current(), Endpoint.MODELS)
    usable = await asyncio.to_thread(_usable, actor, exchange.path.removeprefix(PATH).strip("/"))
    body = (messages_answer if is_anthropic else chat_completions).models_body(usable)
    await exchange.answer_json(200, body if exchange.path == PATH else body["data"][0], {})


def _usable(actor: Actor, wanted: str) -> list[tuple[str, str, int]]:
    """(slug, provider's name, made at in Unix seconds) of all, or of the one that is wanted."""
    found = [
        (one.slug, one.provider_name, int(one.created_at.timestamp()))
        for one in service_root.current().configurations.list(actor)
        if one.is_active and one.provider_id and (actor.key is None or actor.key.allows_model(one.slug))
    ]
    if wanted and not (found := [one for one in found if one[0] == wanted]):
        raise NotFound("There is no such model.", "", "Ask /v1/models for those there are.")
    return found
