"""The forms that past usage comes in: how each is recognised, which of its columns are ours, and what is its own.

A format names, for each of our fields, the columns that may hold it (the first that is there counts), and the columns
by which its rows are told apart where they have no id. `adjust` sees the raw values and the whole row; it corrects what
a mapping can't say, or returns the reason why the row is left out. Where each form is described:

- LiteLLM: the table LiteLLM_SpendLogs in its schema.prisma, as exported by SQL or by /spend/logs;
- OpenAI: platform.openai.com/docs/api-reference/usage, completions and costs, and the dashboard's CSV of both;
- Anthropic: platform.claude.com/docs, Usage and Cost API, and the console's CSV of both;
- Langfuse: langfuse.com/docs, Blob storage export fields (snake case) and the observations of the public API and of the
  table's export (camel case).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from lib.db.tables import usage_logs
from lib.errors import InvalidInput
from lib.usage_files import adjust
from lib.usage_files.adjust import Adjust


@dataclass(frozen=True)
class UsageFileFormat:
    """One form. `is_sum`: a row adds up many calls; `said_by`: whose cost it is, as `price_id` names it."""

    name: str
    label: str
    needs: tuple[frozenset[str], ...]  # any of these sets of columns
    columns: Mapping[str, tuple[str, ...]]
    adjust: Adjust | None = None
    is_sum: bool = False
    in_utc: bool = True  # moments without a zone are UTC
    provider: str | None = None
    said_by: str | None = None
    told_apart_by: tuple[str, ...] = field(default=())  # beside the moment and the model

    def mapping(self, columns: Iterable[str]) -> dict[str, str]:
        """Our fields and the columns that hold them."""
        there = set(columns)
        matches = {name: next((c for c in names if c in there), None) for name, names in self.columns.items()}
        return {name: column for name, column in matches.items() if column is not None}


_NOT_TAKEN = ("id", "change_seq", "batch_id", "cost_nano_usd")
_LEDGER: dict[str, tuple[str, ...]] = {
    column.name: (column.name,) for column in usage_logs.columns if column.name not in _NOT_TAKEN
}
_OWN_HEADS: dict[str, tuple[str, ...]] = {
    "id": ("ID", "id"),
    "provider": ("Provider", "provider"),
    "model": ("Model", "model"),
    "user": ("User", "user_name"),
    "prompt_tokens": ("Prompt Tokens", "prompt_tokens"),
    "completion_tokens": ("Completion Tokens", "completion_tokens"),
    "total_tokens": ("Total Tokens", "total_tokens"),
    "cost_usd": ("Cost USD", "cost_usd"),
    "execution_time_ms": ("Duration (ms)", "execution_time_ms"),
    "status": ("Status", "status"),
    "error_message": ("Error Message", "error_message"),
}
_GROUPS = ("project_id", "project_name", "user_id", "user_email", "api_key_id", "batch", "service_tier")

FORMATS: dict[str, UsageFileFormat] = {
    usage_format.name: usage_format
    for usage_format in (
        UsageFileFormat(
            "llm-manager", "LLM Manager, Activity export",
            (frozenset({"ID", "Date/Time", "is_final"}), frozenset({"call_id", "is_final", "cost_nano_usd"})),
            _LEDGER | _OWN_HEADS,
            adjust.correct_own,
        ),
        UsageFileFormat(
            "litellm", "LiteLLM SpendLogs", (frozenset({"request_id", "spend", "startTime"}),),
            {
                "id": ("request_id",), "started_at": ("startTime",), "finished_at": ("endTime",),
                "first_token_at": ("completionStartTime",), "model": ("model",), "provider": ("custom_llm_provider",),
                "app": ("team_id",), "user": ("user",), "prompt_tokens": ("prompt_tokens",),
                "completion_tokens": ("completion_tokens",), "total_tokens": ("total_tokens",), "cost_usd": ("spend",),
            },
            adjust.correct_litellm, said_by="litellm",
        ),
        UsageFileFormat(
            "openai-usage", "OpenAI usage", (frozenset({"num_model_requests", "input_tokens", "start_time"}),),
            {
                "started_at": ("start_time",), "finished_at": ("end_time",), "model": ("model",),
                "app": ("project_name", "project_id"), "user": ("user_email", "user_id"),
                "calls": ("num_model_requests",),
                "prompt_tokens": ("input_tokens",), "completion_tokens": ("output_tokens",),
                "cache_read_tokens": ("input_cached_tokens",), "cache_write_tokens": ("input_cache_write_tokens",),
                "service_tier": ("service_tier",),
            },
            adjust.correct_openai_usage, is_sum=True, provider="openai", told_apart_by=_GROUPS,
        ),
        UsageFileFormat(
            "openai-costs", "OpenAI costs",
            (frozenset({"amount.value", "start_time"}), frozenset({"amount_value", "start_time"})),
            {
                "started_at": ("start_time",), "finished_at": ("end_time",), "model": ("line_item",),
                "app": ("project_name", "project_id"), "cost_usd": ("amount.value", "amount_value"),
            },
            adjust.correct_openai_costs, is_sum=True, provider="openai", said_by="provider",
            told_apart_by=("line_item", "project_id", "organization_id", "api_key_id"),
        ),
        UsageFileFormat(
            "anthropic-usage", "Anthropic usage",
            (
                frozenset({"uncached_input_tokens", "starting_at"}),
                frozenset({"usage_input_tokens_no_cache", "usage_date_utc"}),
            ),
            {
                "started_at": ("starting_at", "usage_date_utc"), "finished_at": ("ending_at",),
                "model": ("model", "model_version"), "app": ("workspace", "workspace_id"),
                "prompt_tokens": ("uncached_input_tokens", "usage_input_tokens_no_cache"),
                "cache_read_tokens": ("cache_read_input_tokens", "usage_input_tokens_cache_read"),
                "completion_tokens": ("output_tokens", "usage_output_tokens"), "service_tier": ("service_tier",),
            },
            adjust.correct_anthropic_usage, is_sum=True, provider="anthropic",
            told_apart_by=(
                "workspace_id", "workspace", "api_key_id", "api_key", "service_tier", "usage_type", "context_window",
                "inference_geo", "speed", "account_id", "service_account_id",
            ),
        ),
        UsageFileFormat(
            "anthropic-costs", "Anthropic costs",
            (frozenset({"amount", "currency", "starting_at"}), frozenset({"cost_usd", "usage_date_utc", "token_type"})),
            {
                "started_at": ("starting_at", "usage_date_utc"), "finished_at": ("ending_at",), "model": ("model",),
                "app": ("workspace", "workspace_id"), "cost_usd": ("cost_usd",),
            },
            adjust.correct_anthropic_costs, is_sum=True, provider="anthropic", said_by="provider",
            told_apart_by=(
                "workspace_id", "workspace", "api_key", "description", "cost_type", "token_type", "context_window",
                "service_tier", "usage_type", "inference_geo", "speed",
            ),
        ),
        UsageFileFormat(
            "langfuse", "Langfuse observations",
            (
                frozenset({"id", "traceId", "startTime"}),
                frozenset({"id", "trace_id", "start_time"}),
                frozenset({"id", "startTime", "usageDetails"}),
            ),
            {
                "id": ("id",), "started_at": ("startTime", "start_time"), "finished_at": ("endTime", "end_time"),
                "first_token_at": ("completionStartTime", "completion_start_time"),
                "model": ("model", "providedModelName", "provided_model_name"),
                "app": ("traceName", "trace_name", "name"), "user": ("userId", "user_id"),
                "prompt_tokens": ("promptTokens", "usage.input", "inputTokens"),
                "completion_tokens": ("completionTokens", "usage.output", "outputTokens"),
                "total_tokens": ("totalTokens", "usage.total"),
                "cost_usd": ("totalCost", "total_cost", "calculatedTotalCost"),
                "error_message": ("statusMessage", "status_message"),
            },
            adjust.correct_langfuse, said_by="langfuse",
        ),
    )
}  # fmt: skip

# A table of anybody's: the columns that look like ours are suggested.
GENERIC = UsageFileFormat(
    "csv", "Any table, columns mapped", (),
    {
        "id": ("id", "request_id", "call_id", "generation_id", "uuid"),
        "started_at": ("started_at", "start_time", "timestamp", "created_at", "time", "datetime", "date", "day",
            "usage_date", "usagedate", "charge_period_start"),
        "finished_at": ("finished_at", "end_time", "completed_at"),
        "model": ("model", "model_name", "model_id", "model_version", "engine", "line_item", "sku"),
        "provider": ("provider", "vendor", "provider_name"),
        "app": ("app", "application", "project", "team", "service"),
        "user": ("user", "user_name", "username", "email", "user_id"),
        "status": ("status", "state"),
        "error_message": ("error", "error_message"),
        "prompt_tokens": ("prompt_tokens", "input_tokens", "tokens_in", "tokens_prompt", "input"),
        "completion_tokens": ("completion_tokens", "output_tokens", "tokens_out", "tokens_completion", "output"),
        "total_tokens": ("total_tokens", "tokens"),
        "cache_read_tokens": ("cache_read_tokens", "cached_tokens", "input_cached_tokens"),
        "reasoning_tokens": ("reasoning_tokens",),
        "cost_usd": ("cost_usd", "cost", "cost_total", "total_cost", "spend", "usd", "amount"),
        "execution_time_ms": ("execution_time_ms", "latency_ms", "duration_ms", "latency", "duration"),
        "first_token_ms": ("first_token_ms", "ttft_ms"),
        "calls": ("calls", "requests", "num_requests", "request_count"),
    },
    adjust.correct_any_table, in_utc=False, said_by="file",
)  # fmt: skip
FIELDS = tuple(GENERIC.columns)


def recognise(columns: Iterable[str]) -> UsageFileFormat:
    """The format of a file with these columns; the generic one when it is none of the others'."""
    there = set(columns)
    return next(
        (usage_format for usage_format in FORMATS.values() if any(needed <= there for needed in usage_format.needs)),
        GENERIC,
    )


def suggest_columns(columns: Iterable[str]) -> dict[str, str]:
    """Our fields and the columns of an unknown table that look like them, each used once."""
    plain = {_normalise_column(column): column for column in reversed(list(columns))}
    matches = {name: next((plain[c] for c in names if c in plain), None) for name, names in GENERIC.columns.items()}
    return {name: column for name, column in matches.items() if column is not None}


def find_format(name: str) -> UsageFileFormat:
    """A format by its name; InvalidInput lists them."""
    if name == GENERIC.name:
        return GENERIC
    try:
        return FORMATS[name]
    except KeyError:
        names = ", ".join([*FORMATS, GENERIC.name])
        raise InvalidInput(f"There is no format {name}.", "", f"Choose of {names}.", field="format") from None


def _normalise_column(column: str) -> str:
    """A head without case and signs: `Input Tokens` → `input_tokens`."""
    return "_".join("".join(c if c.isalnum() else " " for c in column).lower().split())
