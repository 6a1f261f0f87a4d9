"""Values of tools, shared by the registry, the sources of tools and whoever runs them.

A `ToolSource` offers definitions and runs them; the registry asks all sources, checks arguments and results by their
JSON Schemas (2020-12), and writes a row for every run. Names have 1 to 64 of `[a-zA-Z0-9_-]`, since every provider
takes those; tools of servers are called `server__tool`.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

from msgspec import Struct, field

from lib.access.permissions import Actor
from lib.calls.request import Within
from lib.errors import InvalidInput
from lib.patterns import compile_pattern

LONGEST_NAME = 64
TOOL_NAME = compile_pattern(r"[a-zA-Z0-9_-]{1,64}")
NO_PARAMETERS: Mapping[str, Any] = {"type": "object", "properties": {}}


class SourceKind(StrEnum):
    """The kind of a tool, as `tool_executions.source` holds it."""

    NATIVE = "native"
    HTTP = "http"
    MCP = "mcp"
    WORKFLOW = "workflow"


class ToolAnnotations(Struct, frozen=True):
    """Hints on the effects of a tool. They come from its author: they choose what is asked, and grant nothing.

    The defaults are those of the Model Context Protocol: a tool that says nothing may change and destroy things, and
    deals with the world outside. `open_world` marks a tool whose results are text from outside.
    """

    read_only: bool = False
    destructive: bool = True
    idempotent: bool = False
    open_world: bool = True


class ToolDefinition(Struct, frozen=True):
    """A tool as models and people see it. Its two schemas are JSON Schemas, `parameters` of an object."""

    name: str
    description: str
    parameters: Mapping[str, Any] = field(default_factory=lambda: dict(NO_PARAMETERS))
    title: str = ""
    result_schema: Mapping[str, Any] | None = None
    annotations: ToolAnnotations = ToolAnnotations()
    source: str = SourceKind.NATIVE
    server: str = ""  # that offers it; empty for this installation's own

    @property
    def has_side_effects(self) -> bool:
        """Whether running it may change something."""
        return not self.annotations.read_only

    def to_model(self) -> dict[str, Any]:
        """Write it as the entry of `tools` in a request of OpenAI's chat completions."""
        return {
            "type": "function",
            "function": {"name": self.name, "description": self.description, "parameters": dict(self.parameters)},
        }


class ToolQuestion(Struct, frozen=True):
    """A question that a tool asks before it goes on. `state` is the tool's own, handed back with the answer."""

    message: str
    form_schema: Mapping[str, Any]
    state: str = ""


class ToolImage(Struct, frozen=True):
    """A picture that a tool returned; `base64` is its bytes as text."""

    media_type: str
    base64: str

    @property
    def data_url(self) -> str:
        """The picture as an address that models and pages read."""
        return f"data:{self.media_type};base64,{self.base64}"


class ToolOutput(Struct, frozen=True):
    """The answer of a tool. `structured` is any JSON; with `needs_input` it waits for the answer to a question."""

    text: str = ""
    structured: Any = None
    images: tuple[ToolImage, ...] = ()
    is_error: bool = False
    needs_input: ToolQuestion | None = None


class ToolContext(Struct, frozen=True):
    """For whom and within what a tool runs.

    `call_id` is the model's call that asked for it, `turn_id` the turn of that call, `tool_call_id` the model's own id
    of the request. `answer` is the form that a person filled in for the question of an earlier run, `answer_state` the
    state of that question. `content_policy` says what of arguments and result is kept.
    """

    actor: Actor
    app: str = "general"
    configuration_id: str | None = None
    conversation_id: str | None = None
    call_id: str | None = None
    within: Within = Within()
    turn_id: str | None = None
    tool_call_id: str = ""
    origin: str = "tool"
    content_policy: str = "full"
    approval_id: str | None = None
    answer: Mapping[str, Any] | None = None
    answer_state: str = ""


class ToolSource(Protocol):
    """Offers tools of one kind or server group. Listing never waits for a server: it tells the last known state."""

    @property
    def name(self) -> str:
        """The source's name, for messages."""
        ...

    def definitions(self, actor: Actor) -> Sequence[ToolDefinition]:
        """List the tools that the actor may see now."""
        ...

    def absences(self, actor: Actor) -> Mapping[str, str]:
        """List the servers whose tools can't be had now, each with the reason as a sentence."""
        ...

    async def run(self, name: str, arguments: Mapping[str, Any], context: ToolContext) -> ToolOutput:
        """Run a tool; cancelling the task ends it. An LLMManagerError's words are shown to the model and the person."""
        ...


@runtime_checkable
class NamedSource(Protocol):
    """A source that knows by the name alone whether a tool can be one of its own, without asking for all of them."""

    def may_offer(self, name: str) -> bool:
        """Whether a tool of this name can be of this source."""
        ...


@runtime_checkable
class AttendedSource(Protocol):
    """A source some of whose tools need what only a person can do, such as signing in at a server."""

    def explain_unattended(self, actor: Actor, names: Sequence[str]) -> Mapping[str, str]:
        """Say by server what these tools (names or patterns) need for runs of the actor without a person."""
        ...


class ExecutionStatus(StrEnum):
    """The state of a run, as `tool_executions.status` holds it."""

    RUNNING = "running"
    OK = "ok"
    ERROR = "error"  # the tool says so
    FAILED = "failed"  # it raised, or its server was lost
    INVALID_ARGUMENTS = "invalid_arguments"
    INVALID_RESULT = "invalid_result"
    UNKNOWN_TOOL = "unknown_tool"
    DENIED = "denied"
    TIMEOUT = "timeout"
    STOPPED = "stopped"
    NEEDS_INPUT = "needs_input"
    WAITING = "waiting"  # for a person's approval
    ORPHANED = "orphaned"  # its process ended; whether it had its effect is not known


class ToolExecution(Struct, frozen=True):
    """One run of a tool. `output` is what the model is told; None while it runs, or where its words were not kept.

    Sizes are bytes of JSON; hashes are SHA-256, in hexadecimal, of the JSON with sorted keys. `cost_nano_usd` is None
    where the tool has no price.
    """

    id: str
    tool: str
    source: str
    server: str
    status: str
    started_at: datetime
    arguments: Any = None
    output: ToolOutput | None = None
    error_message: str | None = None
    duration_ms: int | None = None
    arguments_hash: str = ""
    arguments_bytes: int = 0
    result_hash: str = ""
    result_bytes: int = 0
    cost_nano_usd: int | None = None
    user_id: str | None = None
    app: str = ""
    origin: str = ""
    configuration_id: str | None = None
    conversation_id: str | None = None
    call_id: str | None = None
    turn_id: str | None = None
    tool_call_id: str = ""
    approval_id: str | None = None
    content_policy: str = "full"
    reason: str = ""  # why a person was asked

    @property
    def is_ok(self) -> bool:
        """Whether the tool ran and did not report an error."""
        return self.status == ExecutionStatus.OK

    @property
    def is_open(self) -> bool:
        """Whether the run has not come to its end."""
        return self.status in (ExecutionStatus.RUNNING, ExecutionStatus.WAITING, ExecutionStatus.NEEDS_INPUT)


def check_name(name: str) -> str:
    """Return a tool's name; raises InvalidInput (field `name`) for one that a provider would refuse."""
    if TOOL_NAME.fullmatch(name):
        return name
    raise InvalidInput(
        "The tool's name can't be used.",
        f"{name[:40]!r} must be letters, digits, underscores or dashes, at most {LONGEST_NAME}.",
        "Write it like weather_today.",
        field="name",
    )
