"""`/v1/models`: the configurations that a key may call, by slug, in OpenAI's shape or Anthropic's."""

import asyncio

from lib import services as service_root
from lib.access.grants import GatewayEndpoint
from lib.access.permissions import Actor
from lib.errors import NotFound
from lib.gateway.anthropic import messages_answer
from lib.gateway.http.exchange import Exchange
from lib.gateway.models import workflow_model
from lib.gateway.models.completions import authenticate
from lib.gateway.openai import chat_completions

PATH = "/v1/models"


async def list_models(exchange: Exchange) -> None:
    """`GET /v1/models` and `GET /v1/models/{slug}`."""
    is_anthropic = bool(exchange.header("anthropic-version"))
    actor = await authenticate(exchange, service_root.current(), GatewayEndpoint.MODELS)
    usable = await asyncio.to_thread(_list_usable, actor, exchange.path.removeprefix(PATH).strip("/"))
    body = (messages_answer if is_anthropic else chat_completions).build_models_body(usable)
    await exchange.answer_json(200, body if exchange.path == PATH else body["data"][0], {})


def _list_usable(actor: Actor, slug: str) -> list[tuple[str, str, int]]:
    """(slug, provider's name, made at in Unix seconds) of all, or of the one that is wanted."""
    models = [
        (configuration.slug, configuration.provider_name, int(configuration.created_at.timestamp()))
        for configuration in service_root.current().configurations.list(actor)
        if configuration.is_active
        and configuration.provider_id
        and (actor.key is None or actor.key.allows_model(configuration.slug))
    ]
    models += workflow_model.list_workflow_models(service_root.current(), actor)
    if slug and not (models := [configuration for configuration in models if configuration[0] == slug]):
        raise NotFound("There is no such model.", "", "Ask /v1/models for those there are.")
    return models
