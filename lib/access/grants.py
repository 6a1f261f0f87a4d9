"""What an API key lets its bearer do: endpoints, models, one app, limits. Values only; `api_keys` keeps them.

A pattern with a slash names `provider/model`, one without names configurations; `*` stands for anything. What a request
asks for is compared as it was written, so a key for `support-bot` does not open the model behind it.
"""

from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import NoReturn

from lib.errors import PermissionDenied


class GatewayEndpoint(StrEnum):
    """A part of the HTTP interface that a key may be allowed to use."""

    CHAT = "chat"
    RESPONSES = "responses"
    EMBEDDINGS = "embeddings"
    MESSAGES = "messages"
    MODELS = "models"
    API = "api"
    METRICS = "metrics"
    MCP = "mcp"
    TEAMS = "teams"


MODEL_ENDPOINTS = (
    *(GatewayEndpoint.CHAT, GatewayEndpoint.RESPONSES, GatewayEndpoint.EMBEDDINGS),
    *(GatewayEndpoint.MESSAGES, GatewayEndpoint.MODELS),
)


@dataclass(frozen=True)
class Limits:
    """Ceilings of calls; None means no ceiling. Requests and tokens count over any 60 seconds, concurrency over calls
    in flight.
    """

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrency: int | None = None


NO_LIMITS = Limits()


@dataclass(frozen=True)
class KeyGrant:
    """The scope of a key. No models means every model that its owner may call."""

    key_id: str
    app: str
    models: tuple[str, ...] = ()
    endpoints: tuple[GatewayEndpoint, ...] = MODEL_ENDPOINTS
    limits: Limits = NO_LIMITS
    serves_many: bool = False  # people whom only the program knows: each request has to name whom it asks for

    def allows_model(self, name: str) -> bool:
        """Whether a configuration's slug or a `provider/model` is in scope."""
        return not self.models or any(
            fnmatchcase(name, pattern) for pattern in self.models if pattern == "*" or ("/" in pattern) == ("/" in name)
        )

    def require_model(self, name: str) -> None:
        """Raise PermissionDenied unless the model is in scope."""
        if not self.allows_model(name):
            self.refuse_model(name)

    def refuse_model(self, name: str) -> NoReturn:
        """Raise PermissionDenied for a model outside the key's scope."""
        raise PermissionDenied("This API key can't use the model.", f"{name} is not in its scope.", _ASK)

    def require_endpoint(self, endpoint: GatewayEndpoint) -> None:
        """Raise PermissionDenied unless the endpoint is in scope."""
        if endpoint not in self.endpoints:
            raise PermissionDenied("This API key can't be used here.", f"It is not for {endpoint.value}.", _ASK)


_ASK = "Widen the key's scope on the page API keys, or use another key."
