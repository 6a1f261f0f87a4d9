"""What programs send to `/api` and what comes back: each struct checks a body and is its part of `/openapi.json`.

A body's fields that nobody knows are passed over; null is what a missing field is, unless the field can't be null. A
struct is named in the document without the end of its name. Money is decimal text, unknown is null.
"""

import json
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import Annotated, Any, ClassVar, Literal, TypeVar, get_args, get_type_hints

from msgspec import UNSET, Meta, Struct, UnsetType

from lib.errors import InvalidInput
from lib.money import convert_nano_to_usd

T = TypeVar("T")
LONGEST_NAME = 300
LONGEST_TAGS = 4_000
_FIRST_YEAR = 1970
_LAST_YEAR = 2999
_ON_ONE_LINE = Meta(min_length=1, max_length=LONGEST_NAME)
Name = Annotated[str, _ON_ONE_LINE]
ModelName = Annotated[Name, Meta(extra_json_schema={"pattern": "/"})]
Words = Annotated[str, Meta(pattern=r"\S")]
Count = Annotated[int, Meta(ge=0)]
Tokens = Annotated[int, Meta(ge=1, le=100_000_000)]
Usd = Annotated[str, Meta(pattern=r"^\d+(\.\d+)?$", description="Decimal US dollars.")]
Moment = Annotated[datetime, Meta(tz=True)]
Object = dict[str, Any]
MetricKind = Literal["string", "integer", "float", "boolean", "json"]


def build_ref(name: str) -> dict[str, str]:
    """The place of a struct in the document."""
    return {"$ref": f"#/components/schemas/{name.removesuffix('Body')}"}


def list_of(name: str, **keywords: Any) -> dict[str, Any]:
    """A list of structs, or nothing, where a body keeps what was sent as it is."""
    return {"anyOf": [{"type": "array", "items": build_ref(name), **keywords}, {"type": "null"}]}


class Body(Struct, kw_only=True):
    """What a program sends. `SCHEMA` says in the document what types can't."""

    SCHEMA: ClassVar[dict[str, Any]] = {}

    def __post_init__(self) -> None:
        """InvalidInput for a name that can't be printed: nothing has one."""
        for field in _list_name_fields(type(self)):
            name = getattr(self, field)
            if name and not all(word.isprintable() for word in ([name] if isinstance(name, str) else name)):
                why = "It holds signs that no name has."
                raise InvalidInput(f"{field} can't be used.", why, f"Correct {field}.", field=field)


@cache
def _list_name_fields(kind: type[Struct]) -> tuple[str, ...]:
    hints = get_type_hints(kind, include_extras=True)
    return tuple(field for field in kind.__struct_fields__ if _holds_name(hints[field]))


def _holds_name(hint: Any) -> bool:
    return _ON_ONE_LINE in getattr(hint, "__metadata__", ()) or any(_holds_name(part) for part in get_args(hint))


def fill(kind: type[T], source: object, **overrides: Any) -> T:
    """An answer whose fields are a thing's attributes of the same names, but for those given."""
    fields: tuple[str, ...] = kind.__struct_fields__  # type: ignore[attr-defined]
    return kind(**{field: getattr(source, field) for field in fields if field not in overrides}, **overrides)


class Nothing(Body):
    """A body or a query that holds nothing."""


# A call


class PromptUseBody(Body, forbid_unknown_fields=True):
    """A template by label or version (production), and its variables."""

    slug: Name
    label: Name | None = None
    version: int | None = None
    variables: Object | None = None


class QuestionBody(Body):
    """A question: of a configuration, a model, or the app's default."""

    configuration: Annotated[
        Name | None, Meta(description="A configuration's name; without one the app's default.")
    ] = None
    model: Annotated[ModelName | None, Meta(description="provider/model, past every configuration.")] = None
    prompt: Annotated[
        Words | PromptUseBody | None, Meta(description="One question, or a template to fill; or send messages.")
    ] = None
    messages: Annotated[list[Object], Meta(min_length=1)] | None = None
    system: str | None = None
    parameters: Annotated[
        Object | None, Meta(description="Of the model, like temperature and max_tokens; null removes one.")
    ] = None
    tags: Annotated[
        Object | None, Meta(description="Labels, stored with the call: at most 4,000 characters as JSON.")
    ] = None
    context: Annotated[Name | None, Meta(description="What the call is for; overrides may name it.")] = None
    session_id: Annotated[Name | None, Meta(description="Calls of one session belong together.")] = None
    parent_call_id: Annotated[Name | None, Meta(description="The call for whose sake this one is made.")] = None

    def __post_init__(self) -> None:
        """InvalidInput for fields that exclude each other, and tags that are too long."""
        super().__post_init__()
        if self.configuration is not None and self.model is not None:
            raise InvalidInput("configuration and model stand together.", "", "Send one of the two.", field="model")
        if self.model is not None and "/" not in self.model:
            why = "It is a provider and its model. A configuration's name goes into configuration."
            raise InvalidInput("The model can't be used.", why, "Write it like openai/gpt-5.1.", field="model")
        if (self.prompt is None) == (self.messages is None):
            raise InvalidInput("The question is not clear.", "", "Send either prompt or messages.", field="prompt")
        for name, longest in (("session_id", 120), ("parent_call_id", 36)):
            if len(getattr(self, name) or "") > longest:
                raise InvalidInput(f"{name} is too long.", f"{longest} characters are the most.", field=name)
        if len(json.dumps(self.tags or {})) > LONGEST_TAGS:
            why = f"They have more than {LONGEST_TAGS:,} characters."
            raise InvalidInput("The tags can't be used.", why, field="tags")

    SCHEMA = {
        "properties": {"messages": list_of("MessageBody", minItems=1)},
        "anyOf": [{"required": ["prompt"]}, {"required": ["messages"]}],
    }


class UsageBody(Struct, kw_only=True):
    """The tokens of a call."""

    prompt_tokens: Count | None
    completion_tokens: Count | None
    total_tokens: Count | None
    cache_read_tokens: Count | None
    cache_write_tokens: Count | None
    reasoning_tokens: Count | None
    source: Literal["provider", "estimated", "none"] | None


class ToolCallBody(Struct, kw_only=True):
    """A tool that a model calls."""

    id: str
    name: str
    arguments: str


class OutcomeBody(Struct, kw_only=True):
    """What the ledger says of a call."""

    log_id: str
    call_id: str
    provider: str
    model: str
    served_model: str | None
    finish_reason: str | None
    usage: UsageBody
    cost_usd: Usd | None
    cost_status: str | None
    execution_time_ms: Count | None
    first_token_ms: Count | None


class AnswerBody(OutcomeBody):
    """An answer and its row of the ledger."""

    text: str
    reasoning: str | None
    tool_calls: list[ToolCallBody]


class CallBody(OutcomeBody):
    """A call; its words are null where the key may not read them."""

    status: str
    attempt: Count
    app: str
    configuration_id: str | None
    origin: str
    session_id: str | None
    parent_call_id: str | None
    cache: str | None
    streamed: bool
    error_kind: str | None
    error_message: str | None
    started_at: Moment
    finished_at: Moment | None
    parameters: Object
    tags: Object
    text: str | None
    reasoning: str | None
    tool_calls: list[ToolCallBody] | None
    messages: list[Object] | None


# Prompt templates


class PromptsQuery(Body):
    """Which templates."""

    category: Annotated[Name | None, Meta(description="Only of this one.")] = None


class PromptQuery(Body):
    """Which version."""

    label: Annotated[Name | None, Meta(description="Of the version.")] = None
    version: Annotated[Tokens | None, Meta(description="Its number.")] = None


class TemplateBody(Struct, kw_only=True):
    """A template, and which version each label points to."""

    slug: str
    app: str | None
    category: str
    description: str
    newest: Count
    labels: dict[str, Count]


class VariableBody(Struct, kw_only=True):
    """A variable of a template."""

    name: str
    type: Literal["text", "number", "choice", "boolean", "json"]
    description: str
    default: str | None
    example: str
    choices: list[str]


class PromptBody(TemplateBody):
    """A version of a template."""

    version: Count
    text: str
    system_prompt: str | None
    parameters: Object
    reason: str
    variables: list[VariableBody]


class PromptsBody(Struct):
    """Templates."""

    prompts: list[TemplateBody]


# Metrics, usage, budgets


class NewMetricBody(Struct, kw_only=True):
    """Something to note about a call; without a type it has that of its value."""

    key: Annotated[str, Meta(extra_json_schema={"pattern": r"^[A-Za-z0-9_.\-]{1,80}$"})]
    value: Any
    type: MetricKind | None = None
    metadata: Object | None = None


class NewMetricsBody(Body):
    """One metric, or several under `metrics`."""

    metrics: Annotated[list[NewMetricBody], Meta(min_length=1, max_length=50)] | UnsetType = UNSET
    key: str = ""
    value: Any | UnsetType = UNSET
    type: MetricKind | None = None
    metadata: Object | None = None

    SCHEMA = {"anyOf": [build_ref("NewMetricBody"), {"required": ["metrics"]}]}


class MetricBody(Struct, kw_only=True):
    """What was noted about a call."""

    id: str
    call_id: str
    key: str
    type: str
    value: Any
    metadata: Object
    created_at: Moment


class MetricsBody(Struct):
    """What was noted about a call."""

    metrics: list[MetricBody]


class SpanQuery(Body, rename={"from_": "from"}):
    """Days in UTC, both included."""

    from_: Annotated[date | None, Meta(description="First day (UTC).")] = None
    to: Annotated[date | None, Meta(description="Last day (UTC), included.")] = None

    def __post_init__(self) -> None:
        """InvalidInput for days of no use."""
        super().__post_init__()
        for name, day in (("from", self.from_), ("to", self.to)):
            if day is not None and not _FIRST_YEAR <= day.year <= _LAST_YEAR:
                raise InvalidInput(f"{name} can't be used.", "", "Write it like 2026-10-31.", field=name)
        if self.from_ and self.to and self.to < self.from_:
            raise InvalidInput("The range is empty.", f"from {self.from_} is after to {self.to}.", "Swap them.", "to")

    def moments(self) -> tuple[datetime | None, datetime | None]:
        """Start, and end (exclusive)."""
        start, end = (None if day is None else datetime.combine(day, time(), UTC) for day in (self.from_, self.to))
        return start, None if end is None else end + timedelta(days=1)


class MetricsQuery(SpanQuery):
    """Which metrics."""

    key: Annotated[Name | None, Meta(description="Only this one.")] = None
    app: Annotated[Name | None, Meta(description="Only these apps, parted by commas.")] = None


class ValueCountBody(Struct, kw_only=True):
    """A text and how often it was noted."""

    value: str
    count: Count


class KeyFiguresBody(Struct, kw_only=True):
    """Figures of what was noted under a key."""

    key: str
    count: Count
    calls: Count
    numbers: Count
    booleans: Count
    texts: Count
    mean: float | None
    min: float | None
    max: float | None
    p50: float | None
    p95: float | None
    sum: float | None
    true_share: float | None
    values: list[ValueCountBody]


class MetricFiguresBody(Struct):
    """Figures by key."""

    keys: list[KeyFiguresBody]


class UsageQuery(SpanQuery):
    """What of the ledger."""

    by: Annotated[
        Name | None,
        Meta(description="Dimensions, parted by commas: provider, model, app, user, hour, day, week, month and more."),
    ] = None


class UsageRowBody(Struct, kw_only=True):
    """Calls of a group, whose dimensions stand beside."""

    calls: Count
    prompt_tokens: Count | None
    completion_tokens: Count | None
    total_tokens: Count | None
    cost_usd: Usd | None
    unpriced_calls: Count


class UsageTableBody(Struct):
    """A row of each group."""

    rows: list[Object]

    SCHEMA = {"properties": {"rows": {"type": "array", "items": build_ref("UsageRowBody")}}}


class BudgetQuery(Body):
    """A call that might be made."""

    configuration: Annotated[Name, Meta(description="A configuration's name.")]
    prompt_tokens: Annotated[Tokens | None, Meta(description="Of the question.")] = None
    max_tokens: Annotated[Tokens | None, Meta(description="Of the answer.")] = None


class BudgetBody(Struct, kw_only=True):
    """How a budget stands; the cost of `unpriced_calls` is not, or not wholly, in what is spent."""

    scope: str
    subject: str
    period: str
    passes: bool
    spent_usd: Usd
    limit_usd: Usd
    unpriced_calls: int


class InsteadBody(Struct, kw_only=True):
    """Where a call would go."""

    provider: str
    model: str
    most_usd: Usd | None


class BudgetCheckBody(Struct, kw_only=True):
    """Whether a call would pass, or where it would go."""

    passes: bool
    most_usd: Usd | None
    budgets: list[BudgetBody]
    instead: InsteadBody | None


# Errors


class ErrorDetail(Struct, kw_only=True):
    """`code` is for programs, `message` for people, `param` the field that can't be used."""

    code: str
    message: str
    param: str | None


class ErrorBody(Struct):
    """Why there is no answer."""

    error: ErrorDetail


def format_dollars(nano: int) -> str:
    """Decimal text of nano-dollars."""
    return format(convert_nano_to_usd(nano), "f")


def format_usd(nano: int | None) -> str | None:
    """Decimal text of nano-dollars; None for what is not known."""
    return None if nano is None else format_dollars(nano)
