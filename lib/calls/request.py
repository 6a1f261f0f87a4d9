"""What a door asks for, and what it becomes: `CallRequest` → `resolve` → `Plan`.

Permission, configuration, effective parameters and the messages are settled here, before anything is written or sent;
whatever is wrong with the request is an error in the asker's hands, not a row of the ledger.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from lib.access.permissions import Actor, Permission
from lib.configs.configurations import Configuration, Configurations
from lib.errors import InvalidInput
from lib.providers import parameter_rules
from lib.providers.chunks import Endpoint, ModelRequest
from lib.providers.registry import Providers

MAX_PROMPT_CHARACTERS = 4_000_000


class Origin(StrEnum):
    """Which door a call came through, as stored in `usage_logs.origin`."""

    PLAYGROUND = "playground"
    CONVERSATION = "conversation"
    GATEWAY = "gateway"
    RAG = "rag"
    WORKFLOW = "workflow"
    TOOL = "tool"
    SYSTEM = "system"


@dataclass(frozen=True)
class Deadlines:
    """Seconds: until the first token, between two chunks, in all."""

    first_token_s: float = 120.0
    idle_s: float = 60.0
    total_s: float = 900.0


@dataclass(frozen=True)
class CallRequest:
    """A model call as a door wants it. `configuration` is a slug or id; None means the default of `app`."""

    actor: Actor
    messages: Sequence[Mapping[str, Any]]
    configuration: str | None = None
    app: str | None = None
    origin: Origin = Origin.PLAYGROUND
    system_prompt: str | None = None  # None: the configuration's; empty: none
    parameters: Mapping[str, Any] = field(default_factory=dict)  # on top of the configuration's; None removes one
    tags: Mapping[str, Any] = field(default_factory=dict)
    conversation_id: str | None = None
    deadlines: Deadlines = Deadlines()
    max_attempts: int = 3


@dataclass(frozen=True)
class Plan:
    """A request that may be sent: everything resolved."""

    request: CallRequest
    configuration: Configuration
    endpoint: Endpoint
    model_request: ModelRequest
    app: str


def resolve(request: CallRequest, configurations: Configurations, providers: Providers) -> Plan:
    """The plan of a request; PermissionDenied, NotFound or InvalidInput when it can't be sent."""
    request.actor.require(Permission.TEST_CONFIGS)
    configuration = _configuration(request, configurations)
    if (key := request.actor.key) is not None:
        key.require_model(configuration.slug)
    if configuration.provider_id is None:
        raise InvalidInput(
            f"The configuration {configuration.slug} has no provider.", "", "Choose one on the Configurations page."
        )
    parameters = parameter_rules.check({**configuration.parameters, **request.parameters})
    return Plan(
        request=request,
        configuration=configuration,
        endpoint=providers.endpoint(configuration.provider_id),
        model_request=ModelRequest(configuration.model, _messages(request, configuration), parameters),
        app=key.app if key else request.app or configuration.app,
    )


def _configuration(request: CallRequest, configurations: Configurations) -> Configuration:
    if request.configuration is None:
        return configurations.default_for(request.actor, request.app or "playground")
    configuration = configurations.get(request.actor, request.configuration)
    if not configuration.is_active and request.origin is not Origin.SYSTEM:
        raise InvalidInput(
            f"The configuration {configuration.slug} is switched off.", "", "Switch it on, or choose another one."
        )
    return configuration


def _messages(request: CallRequest, configuration: Configuration) -> list[dict[str, Any]]:
    messages = [dict(message) for message in request.messages]
    if not any(text_of(message).strip() for message in messages if message.get("role") == "user"):
        raise InvalidInput("The prompt is empty.", "", "Write what you want to ask.", field="prompt")
    if (length := sum(len(text_of(message)) for message in messages)) > MAX_PROMPT_CHARACTERS:
        raise InvalidInput(
            "The prompt is too long.",
            f"It has {length:,} characters; the limit is {MAX_PROMPT_CHARACTERS:,}.",
            "Shorten it, or send it in parts.",
            field="prompt",
        )
    system = configuration.system_prompt if request.system_prompt is None else request.system_prompt
    return ([{"role": "system", "content": system}] if system.strip() else []) + messages


def text_of(message: Mapping[str, Any]) -> str:
    """The text of a chat message, whose content is a string or a list of typed parts."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    return "\n".join(str(part.get("text", "")) for part in content or [] if part.get("type") == "text")
