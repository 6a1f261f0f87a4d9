"""What a door asks for, and what it becomes: `CallRequest` → `resolve` → `Plan`.

Permission, configuration, effective parameters and the messages are settled here, before anything is written or sent;
whatever is wrong with the request is an error in the asker's hands, not a row of the ledger.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from lib.access.permissions import Actor, Permission
from lib.calls.lookups import Lookups
from lib.configs.configuration import Configuration
from lib.configs.effective import REQUEST, Effective, effective, settled
from lib.configs.overrides import judged
from lib.configs.routing import Deadlines, Deployment, Routing
from lib.errors import InvalidInput, NotFound, UserError
from lib.providers.chunks import Endpoint, ModelRequest, Wire
from lib.providers.kinds import Protocol, speaks

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

    `model` is a `provider/model` to call past every configuration. With `texts` they are turned into vectors, and
    there are no messages. `wire` is the question as a program wrote it: where the provider speaks the same protocol,
    its bytes go there and come back; `extra` are its fields that nobody here knows, which only travel that way.
    Deadlines and attempts (for one target) are the configuration's unless given here. `routed` False asks for the
    configuration's own provider and model alone, also past an open circuit.
    """

    actor: Actor
    messages: Sequence[Mapping[str, Any]]
    configuration: str | None = None
    model: str | None = None
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
    texts: tuple[str, ...] | None = None
    wire: Wire | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Target:
    """One model at one provider, and what it is asked."""

    endpoint: Endpoint
    model_request: ModelRequest
    weight: int = 1
    dropped: tuple[str, ...] = ()  # parameters the model does not take, left out
    longest_answer: int | None = None  # tokens, where it is known

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


def resolve(request: CallRequest, lookups: Lookups) -> Plan:
    """The plan of a request; PermissionDenied, NotFound or InvalidInput when it can't be sent."""
    actor, key = request.actor, request.actor.key
    actor.require(Permission.TEST_CONFIGS)
    if key is not None:  # the key alone says which app spends
        request = replace(request, app=key.app)
    configuration = _configuration(request, lookups)
    if key is not None:
        key.require_model(configuration.slug)
    if configuration.provider_id is None:
        raise InvalidInput(
            f"The configuration {configuration.slug} has no provider.", "", "Choose one on the Configurations page."
        )
    app = request.app or configuration.app
    matching = lookups.overrides(actor, app, request.context, configuration.id)
    found = effective(configuration.parameters, matching, request.parameters)
    system = configuration.system_prompt if request.system_prompt is None else request.system_prompt
    asked = ModelRequest(configuration.model, _messages(request, system), {}, request.stream, texts=request.texts)
    routing = Routing.from_record(configuration.routing)
    judge = _Judge(request, lookups, found, configuration.unsupported_parameters, system)
    deployments, fallbacks = _targets(request, configuration, routing, asked, judge)
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
        app=app,
        dropped=dropped,
    )


def _targets(
    request: CallRequest, configuration: Configuration, routing: Routing, asked: ModelRequest, judge: "_Judge"
) -> tuple[tuple[Target, ...], tuple[Target, ...]]:
    """Deployments and fallbacks that can be used now; the first reason why not when there is none."""
    refusals: list[UserError] = []

    def usable(wanted: Sequence[Deployment]) -> tuple[Target, ...]:
        found: dict[str, Target] = {}
        for one in wanted:
            try:
                target = judge.target(one, asked)
            except (InvalidInput, NotFound) as error:  # off, without its key, deleted, or it can't: the others serve
                refusals.append(error)
                continue
            found.setdefault(target.id, target)
        return tuple(found.values())

    own = Deployment(str(configuration.provider_id), configuration.model, routing.weight)
    deployments = usable([own, *(routing.deployments if request.routed else ())])
    fallbacks = usable(routing.fallbacks) if request.routed and routing.fallbacks else ()
    if not deployments and not fallbacks:
        raise refusals[0]
    known = {target.id for target in deployments}
    return deployments, tuple(target for target in fallbacks if target.id not in known)


@dataclass(frozen=True)
class _Judge:
    """Makes the targets: parameters a model does not take are refused or dropped; and in which lane it goes."""

    request: CallRequest
    lookups: Lookups
    found: Effective
    policy: str
    system: str

    def target(self, deployment: Deployment, asked: ModelRequest) -> Target:
        """What one model is asked; InvalidInput for a parameter it does not take, unless those are dropped."""
        endpoint, model = self.lookups.endpoint(deployment.provider_id), deployment.model
        facts = self.lookups.limits(endpoint.kind, model, endpoint.provider_id)
        effective = settled(judged(self.found, endpoint.kind, facts), self.policy, model)
        dropped = tuple(effective.dropped)
        wire = self._wire(endpoint, model, effective)
        if wire is None:
            _check_extra(self.request.extra, model)
            dropped += tuple(name for name in self.request.extra if name not in _SILENT)
        parameters: Mapping[str, Any] = effective.parameters
        if asked.texts is not None:  # what shapes an answer's words shapes no vector
            parameters, dropped = dict(self.request.extra), ()
        model_request = replace(asked, model=model, parameters=parameters, wire=wire)
        return Target(endpoint, model_request, deployment.weight, dropped, facts.output_tokens)

    def _wire(self, endpoint: Endpoint, model: str, effective: Effective) -> Wire | None:
        """The program's own request, if the endpoint speaks its protocol and what we add can be said in it."""
        wire = self.request.wire
        if wire is None or not speaks(endpoint.kind, wire.protocol) or model.startswith("responses/"):
            return None
        given = {name: value for name, value in effective.parameters.items() if effective.sources.get(name) != REQUEST}
        if wire.protocol != Protocol.CHAT and (effective.dropped or not _SHARED.issuperset(given)):
            return None
        return replace(wire, system=self.system, given=given)


def _check_extra(extra: Mapping[str, Any], model: str) -> None:
    if extra.get("n") not in (None, 1):
        why = f"{model} gives one answer at a time."
        raise InvalidInput("n must be 1.", why, "Ask again for more answers.", field="n")


_SHARED = frozenset({"temperature", "top_p", "max_tokens"})  # parameters that every protocol has
_SILENT = frozenset({"n", "store", "metadata", "stream_options"})  # left out without a word: they change no answer


def _tagged(request: CallRequest, dropped: Sequence[str]) -> CallRequest:
    """The request, whose tags say what was left out: they are stored with the call."""
    return replace(request, tags={**request.tags, "dropped_parameters": list(dropped)}) if dropped else request


def _configuration(request: CallRequest, lookups: Lookups) -> Configuration:
    if request.model is not None:
        return lookups.of_model(request.actor, request.model)
    if request.configuration is None:
        return lookups.default_for(request.actor, request.app or "playground")
    configuration = lookups.configuration(request.actor, request.configuration)
    if not configuration.is_active and request.origin is not Origin.SYSTEM:
        raise InvalidInput(
            f"The configuration {configuration.slug} is switched off.", "", "Switch it on, or choose another one."
        )
    return configuration


def _messages(request: CallRequest, system: str) -> list[dict[str, Any]]:
    if request.texts is not None:
        system, messages = "", [{"role": "user", "content": text} for text in request.texts]
    else:
        messages = [dict(message) for message in request.messages]
    if not any(_says_something(message) for message in messages):
        raise InvalidInput("The prompt is empty.", "", "Write what you want to ask.", field="prompt")
    if (length := sum(len(text_of(message)) for message in messages)) > MAX_PROMPT_CHARACTERS:
        raise InvalidInput(
            "The prompt is too long.",
            f"It has {length:,} characters; the limit is {MAX_PROMPT_CHARACTERS:,}.",
            "Shorten it, or send it in parts.",
            field="prompt",
        )
    return ([{"role": "system", "content": system}] if system.strip() else []) + messages


def _says_something(message: Mapping[str, Any]) -> bool:
    """Text, or a part that is none: an image, a file."""
    content = message.get("content")
    parts = content if isinstance(content, list) else []
    return bool(text_of(message).strip()) or any(
        isinstance(part, Mapping) and part.get("type") != "text" for part in parts
    )


def text_of(message: Mapping[str, Any]) -> str:
    """The text of a chat message, whose content is a string or a list of typed parts."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else ()
    return "\n".join(
        str(part.get("text", "")) for part in parts if isinstance(part, Mapping) and part.get("type") == "text"
    )
