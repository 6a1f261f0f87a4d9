"""`/v1/models`: the configurations that a key may call, by slug, in OpenAI's shape or Anthropic's."""

import asyncio

from starlette.types import Receive, Scope, Send

from lib import services as service_root
from lib.access.grants import Endpoint
from lib.access.permissions import Actor
from lib.errors import LLMManagerError, NotFound
from lib.gateway.completions import CHAT, MESSAGES, caller
from lib.gateway.exchange import Exchange, Refused
from lib.gateway.protocols import anthropic_messages, openai_chat

PATH = "/v1/models"


async def models(scope: Scope, receive: Receive, send: Send) -> None:
    """`GET /v1/models` and `GET /v1/models/{slug}`."""
    exchange, services = Exchange(scope, receive, send), service_root.current()
    is_anthropic = bool(exchange.header("anthropic-version"))
    try:
        actor = await caller(exchange, services, Endpoint.MODELS)
        found = await asyncio.to_thread(_usable, actor, scope["path"].removeprefix(PATH).strip("/"))
        body = (anthropic_messages if is_anthropic else openai_chat).models_body(found)
        await exchange.answer_json(200, body if scope["path"] == PATH else body["data"][0], {})
    except (LLMManagerError, Refused) as error:
        await (MESSAGES if is_anthropic else CHAT).refuse(exchange, error)


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
