"""What a door asks for, and what it becomes: `CallRequest` → `resolve` → `Plan`.

Permission, configuration, effective parameters and the messages are settled here, before anything is written or sent;
whatever is wrong with the request is an error in the asker's hands, not a row of the ledger.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from lib.access.permissions import Actor, Permission
from lib.configs.configurations import Configuration, Configurations
from lib.configs.effective import Effective, settled
from lib.configs.overrides import Overrides
from lib.configs.routing import Deadlines, Deployment, Routing
from lib.errors import InvalidInput, NotFound, UserError
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
class CallRequest:
    """A model call as a door wants it. `configuration` is a slug or id; None means the default of `app`.

    Deadlines and attempts (for one target) are the configuration's unless given here. `routed` False asks for the
    configuration's own provider and model alone, also past an open circuit.
    """

    actor: Actor
    messages: Sequence[Mapping[str, Any]]
    configuration: str | None = None
    app: str | None = None
    context: str | None = None  # what the call is for, within its app: overrides may name it
    origin: Origin = Origin.PLAYGROUND
    system_prompt: str | None = None  # None: the configuration's; empty: none
    parameters: Mapping[str, Any] = field(default_factory=dict)  # on top of all others; None removes one
    tags: Mapping[str, Any] = field(default_factory=dict)
    conversation_id: str | None = None
    deadlines: Deadlines | None = None
    max_attempts: int | None = None
    routed: bool = True
    stream: bool = True


@dataclass(frozen=True)
class Target:
    """One model at one provider, and what it is asked."""

    endpoint: Endpoint
    model_request: ModelRequest
    weight: int = 1
    dropped: tuple[str, ...] = ()  # parameters the model does not take, left out

    @property
    def id(self) -> str:
        """Names the provider and the model."""
        return f"{self.endpoint.provider_id}/{self.model_request.model}"


@dataclass(frozen=True)
class Plan:
    """A request that may be sent: everything resolved. `routing` holds the limits in force for this call."""

    request: CallRequest
    configuration: Configuration
    deployments: tuple[Target, ...]
    fallbacks: tuple[Target, ...]
    routing: Routing
    app: str
    dropped: tuple[str, ...] = ()  # parameters the model does not take, left out

    @property
    def first(self) -> Target:
        """What stands for the call before it is sent: the configuration's own model where it can be used."""
        return (*self.deployments, *self.fallbacks)[0]


def resolve(request: CallRequest, configurations: Configurations, providers: Providers, overrides: Overrides) -> Plan:
    """The plan of a request; PermissionDenied, NotFound or InvalidInput when it can't be sent."""
    request.actor.require(Permission.TEST_CONFIGS)
    if (key := request.actor.key) is not None:  # the key alone says which app spends
        request = replace(request, app=key.app)
    configuration = _configuration(request, configurations)
    if key is not None:
        key.require_model(configuration.slug)
    if configuration.provider_id is None:
        raise InvalidInput(
            f"The configuration {configuration.slug} has no provider.", "", "Choose one on the Configurations page."
        )
    found = overrides.effective(
        request.actor, configuration, request.parameters, app=request.app, context=request.context
    )
    asked = ModelRequest(configuration.model, _messages(request, configuration), {}, request.stream)
    routing = Routing.from_record(configuration.routing)
    judge = _Judge(overrides, found, configuration.unsupported_parameters)
    deployments, fallbacks = _targets(request, configuration, routing, asked, providers, judge)
    dropped = (*deployments, *fallbacks)[0].dropped
    return Plan(
        request=_tagged(request, dropped),
        configuration=configuration,
        deployments=deployments,
        fallbacks=fallbacks,
        routing=replace(
            routing,
            deadlines=request.deadlines or routing.deadlines,
            max_attempts=routing.max_attempts if request.max_attempts is None else request.max_attempts,
        ),
        app=request.app or configuration.app,
        dropped=dropped,
    )


def _targets(
    request: CallRequest,
    configuration: Configuration,
    routing: Routing,
    asked: ModelRequest,
    providers: Providers,
    judge: "_Judge",
) -> tuple[tuple[Target, ...], tuple[Target, ...]]:
    """Deployments and fallbacks that can be used now; the first reason why not when there is none."""
    refusals: list[UserError] = []

    def usable(wanted: Sequence[Deployment]) -> tuple[Target, ...]:
        found: dict[str, Target] = {}
        for one in wanted:
            try:
                endpoint = providers.endpoint(one.provider_id)
                effective = judge.effective(endpoint, one.model)
                model_request = replace(asked, model=one.model, parameters=effective.parameters)
                target = Target(endpoint, model_request, one.weight, tuple(effective.dropped))
            except (InvalidInput, NotFound) as error:  # off, without its key, deleted, or it can't: the others serve
                refusals.append(error)
                continue
            found.setdefault(target.id, target)
        return tuple(found.values())

    own = Deployment(str(configuration.provider_id), configuration.model, routing.weight)
    deployments = usable([own, *(routing.deployments if request.routed else ())])
    fallbacks = usable(routing.fallbacks) if request.routed else ()
    if not deployments and not fallbacks:
        raise refusals[0]
    known = {target.id for target in deployments}
    return deployments, tuple(target for target in fallbacks if target.id not in known)


@dataclass(frozen=True)
class _Judge:
    """Settles the parameters for one model: those it does not take are refused or dropped."""

    overrides: Overrides
    found: Effective
    policy: str

    def effective(self, endpoint: Endpoint, model: str) -> Effective:
        """The parameters to send; InvalidInput for one the model does not take, unless those are dropped."""
        judged = self.overrides.judged(self.found, endpoint.kind, model, endpoint.provider_id)
        return settled(judged, self.policy, model)


def _tagged(request: CallRequest, dropped: Sequence[str]) -> CallRequest:
    """The request, whose tags say what was left out: they are stored with the call."""
    return replace(request, tags={**request.tags, "dropped_parameters": list(dropped)}) if dropped else request


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
