"""Values of a call before it is sent: `CallRequest`, as a page or a route asks, and the `Plan` made of it."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from lib.access.permissions import Actor
from lib.configs.configuration import Configuration
from lib.configs.routing import Deadlines, Routing
from lib.providers.chunks import Endpoint, ModelRequest, Wire
from lib.providers.kinds import Protocol
from lib.tokens.prompt_size import FORMS, PromptSize, measure, measure_texts

MAX_PROMPT_CHARACTERS = 4_000_000


class Origin(StrEnum):
    """The part of the product that made a call, as stored in `usage_logs.origin`: a label, nothing depends on it."""

    PLAYGROUND = "playground"
    CONVERSATION = "conversation"
    EXPERIMENT = "experiment"
    GATEWAY = "gateway"
    RAG = "rag"
    WORKFLOW = "workflow"
    TOOL = "tool"
    SYSTEM = "system"


class Within(Struct, frozen=True):
    """What a call is part of, as its row says it; an empty text: of nothing such.

    `session_id` is a program's own name (at most 120 characters) for calls that belong together, `parent_call_id` the
    call for whose sake this one is made, as a title is for the sake of its answer.
    """

    session_id: str = ""
    workflow_run_id: str = ""
    workflow_step: str = ""
    parent_call_id: str = ""


class CachePolicy(Struct, frozen=True):
    """How a call may use remembered answers; None: as its configuration says. `ttl_s` is the age of the oldest."""

    reads: bool | None = None
    writes: bool | None = None
    ttl_s: float | None = None


NOT_REMEMBERED = CachePolicy(reads=False, writes=False)  # for calls that measure or judge
ASKED_AGAIN = CachePolicy(reads=False)  # another answer is wanted


class CallRequest(Struct, frozen=True):
    """A model call as a page or a route wants it. `configuration` is a slug or id; None means the default of `app`.

    `model` is a `provider/model` to call past every configuration. With `texts` they are turned into vectors, and
    there are no messages. `wire` is the question as a program wrote it: where the provider speaks the same protocol,
    its bytes go there and come back; `extra` are its fields that nobody here knows, which only travel that way, and
    `native` names what else can't be said in another protocol: with it a call that can't go that way is refused, while
    what `unsaid` names (parts of messages and tools) is left out then.
    `within` says what the call is part of, `even_if_off` that a switched-off configuration may be asked: only the test
    of a connection does so.
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
    parameters: Mapping[str, Any] = {}  # on top of all others; None removes one
    tags: Mapping[str, Any] = {}
    conversation_id: str | None = None
    within: Within = Within()
    call_id: str | None = None  # a new one unless the door has written it down already
    deadlines: Deadlines | None = None
    max_attempts: int | None = None
    routed: bool = True
    stream: bool = True
    texts: tuple[str, ...] | None = None
    wire: Wire | None = None
    extra: Mapping[str, Any] = {}
    native: str = ""
    unsaid: tuple[str, ...] = ()
    even_if_off: bool = False
    cache_policy: CachePolicy | None = None  # None: the configuration's
    earlier_tokens: int | None = None  # of the turns that the provider keeps and the request names, where known
    bounded: bool = False  # send a ceiling for the answer, as a hard budget makes every call do


class Target(Struct, frozen=True):
    """One model at one provider, and what it is asked."""

    endpoint: Endpoint
    model_request: ModelRequest
    weight: int = 1
    dropped: tuple[str, ...] = ()  # fields of the request that don't go there
    longest_answer: int | None = None  # tokens, where it is known
    window: int | None = None  # of the model's context, in tokens, where it is known

    @property
    def id(self) -> str:
        """Names the provider and the model."""
        return f"{self.endpoint.provider_id}/{self.model_request.model}"


class Plan(Struct, frozen=True):
    """A request that may be sent: everything resolved. `routing` holds the limits in force for this call."""

    request: CallRequest
    configuration: Configuration
    deployments: tuple[Target, ...]
    fallbacks: tuple[Target, ...]
    routing: Routing
    app: str
    dropped: tuple[str, ...] = ()  # parameters the model does not take, left out
    system: str = ""  # the system prompt that goes before the request's own

    @property
    def first(self) -> Target:
        """The target that stands for the call before it is sent: the configuration's own model where it can be used."""
        return (*self.deployments, *self.fallbacks)[0]


def measure_prompt(plan: Plan) -> PromptSize:
    """The size of a plan's prompt: of the request as its program wrote it, where that is relayed, else of the messages.

    A program's own form says more: thoughts that come back, files by their ids, tools of the provider's.
    """
    request = plan.request
    inside = plan.first.model_request
    wire = request.wire
    parameters = inside.parameters
    if request.texts is not None:
        return measure_texts(request.texts) if wire is None else replace(measure(wire.body), messages=0)
    if wire is None:
        return measure({"messages": inside.messages}, parameters)
    if wire.protocol == Protocol.CHAT:
        return measure({"messages": inside.messages}, parameters, wire.body)
    if not FORMS.isdisjoint(wire.body):
        parameters = {name: value for name, value in parameters.items() if name not in FORMS}
    size = measure(wire.body, parameters, system=plan.system)
    if request.earlier_tokens is None:
        return size
    return replace(size, unseen=size.unseen - 1, ids=size.ids + request.earlier_tokens)
