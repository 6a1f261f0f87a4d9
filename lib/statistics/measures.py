"""What figures are split by and what is measured: enums, and the only names that stand in SQL.

A measure is an expression over parts (`PARTS`): sums and counts that can be added up again, so a roll-up of days
answers like the rows do; or it looks at the rows themselves (`direct`): percentiles and distinct counts, always exact.
Requests are counted over final rows, money and tokens over every attempt; questions are the calls that were made for no
other call's sake (rounds of tools, titles and judges are). Unknown is NULL, never 0. A row is a call; an
imported sum is as many as it says, and none where it does not say.
"""
# ruff: noqa: S105 - a first token is no password

from dataclasses import dataclass
from enum import StrEnum

from lib.errors import InvalidInput
from lib.patterns import compile_pattern
from lib.statistics.periods import Cycle, PeriodStep

_PERCENTILE = compile_pattern(r"(latency|first_token)_p(\d\d)")
_WORD = compile_pattern(r"\w+")


class Dimension(StrEnum):
    """What figures can be split by."""

    PROVIDER = "provider"
    MODEL = "model"
    APP = "app"
    USER = "user"
    TEAM = "team"
    API_KEY = "api_key"
    CONFIGURATION = "configuration"
    ORIGIN = "origin"
    STATUS = "status"
    SERVED_MODEL = "served_model"
    ERROR_KIND = "error_kind"
    LANE = "lane"
    SERVICE_TIER = "service_tier"
    CACHE = "cache"
    SESSION = "session"
    PARENT_CALL = "parent_call"
    WORKFLOW_RUN = "workflow_run"
    WORKFLOW_STEP = "workflow_step"

    @property
    def column(self) -> str:
        """Its column in the ledger."""
        return f"{self.value}_id" if self in _IDS else self.value


_IDS: tuple[Dimension, ...] = (Dimension.USER, Dimension.API_KEY, Dimension.CONFIGURATION, Dimension.WORKFLOW_RUN)
_IDS += (Dimension.SESSION, Dimension.PARENT_CALL, Dimension.TEAM)


@dataclass(frozen=True)
class Tag:
    """A label that callers give, by its name: split by its values, which are text."""

    name: str

    @property
    def value(self) -> str:
        """Its name as a column of a frame."""
        return f"tag.{self.name}"


Axis = Dimension | PeriodStep | Cycle | Tag
TOOL = Tag("tool")  # the tools whose results a call read

FAILED = "status IN ('error', 'timeout', 'truncated', 'orphaned')"
SEVERAL = "NOT is_final OR attempt > 1"  # rows of calls that have more than one
UNKNOWN_COST = "(cost_nano_usd IS NULL OR has_partial_cost)"  # nothing of it is known, or a part is missing
UNPRICED_SEVERAL = f"{UNKNOWN_COST} AND ({SEVERAL})"
PARTS = {
    "attempts": "count(*)",
    "final": "count(*) FILTER (is_final)",
    "called": "coalesce(sum(calls) FILTER (is_final), 0)",
    "asked": "coalesce(sum(calls) FILTER (is_final AND parent_call_id IS NULL), 0)",
    "failed": f"coalesce(sum(calls) FILTER (is_final AND {FAILED}), 0)",
    "prompt": "sum(prompt_tokens)",
    "completion": "sum(completion_tokens)",
    "total": "sum(total_tokens)",
    "cache_read": "sum(cache_read_tokens)",
    "cache_write": "sum(cache_write_tokens)",
    "reasoning": "sum(reasoning_tokens)",
    "money": "sum(cost_nano_usd)",
    "priced": "count(cost_nano_usd)",
    "counted_money": "sum(cost_nano_usd) FILTER (calls IS NOT NULL)",
    "priced_final": "coalesce(sum(calls) FILTER (is_final AND cost_nano_usd IS NOT NULL), 0)",
    "priced_total": "sum(total_tokens) FILTER (cost_nano_usd IS NOT NULL)",
    "unpriced_once": f"coalesce(sum(coalesce(calls, 1)) FILTER ({UNKNOWN_COST} AND NOT ({SEVERAL})), 0)",
    "saved": "sum(saved_nano_usd)",
    "fees": "sum(fees_nano_usd)",
    "wasted": "sum(cost_nano_usd) FILTER (status <> 'ok' OR NOT is_final)",
    "timed_tokens": "sum(completion_tokens) FILTER (execution_time_ms - coalesce(first_token_ms, 0) > 50)",
    "timed_ms": "sum(execution_time_ms - coalesce(first_token_ms, 0)) FILTER "
    "(completion_tokens IS NOT NULL AND execution_time_ms - coalesce(first_token_ms, 0) > 50)",
}  # each a whole number; `timed` are the answers that took long enough after their first token to have a speed

MONEY = ("money", "counted_money", "saved", "wasted", "fees")
PRICED = ("priced", "priced_final", "priced_total")  # in another currency only what has a rate on its day
COUNTED = tuple(name for name, sql in PARTS.items() if sql.startswith(("count", "coalesce")))  # 0 of nothing

# Unknown added to nothing but zeros (failed attempts are free) is unknown, not zero.
_COST = "CASE WHEN money = 0 AND attempts > priced THEN NULL ELSE money END"


@dataclass(frozen=True)
class RowAggregate:
    """An aggregate that has to see the rows, of those that meet a condition; `share` makes it a percentile."""

    column: str
    condition: str
    share: float | None = None


class Unit(StrEnum):
    """What a measure's numbers are."""

    COUNT = "count"
    NANO_USD = "nano_usd"
    MS = "ms"
    SHARE = "share"
    PER_SECOND = "per_second"
    NUMBER = "number"


class Measure(StrEnum):
    """What is added up, or measured. Its value is the name of its column in a frame, but for `figure`s."""

    COST = "cost"
    TOKENS = "tokens"
    CALLS = "calls"
    QUESTIONS = "questions"
    PROMPT_TOKENS = "prompt_tokens"
    COMPLETION_TOKENS = "completion_tokens"
    CACHE_READ_TOKENS = "cache_read_tokens"
    CACHE_WRITE_TOKENS = "cache_write_tokens"
    REASONING_TOKENS = "reasoning_tokens"
    UNPRICED = "unpriced"
    SAVED = "saved"
    WASTED = "wasted"
    FEES = "fees"
    FAILED = "failed"
    RETRIES = "retries"
    ERROR_RATE = "error_rate"
    LATENCY_P50 = "latency_p50"
    LATENCY_P90 = "latency_p90"
    LATENCY_P95 = "latency_p95"
    LATENCY_P99 = "latency_p99"
    FIRST_TOKEN_P50 = "first_token_p50"
    FIRST_TOKEN_P90 = "first_token_p90"
    FIRST_TOKEN_P95 = "first_token_p95"
    FIRST_TOKEN_P99 = "first_token_p99"
    TOKENS_PER_SECOND = "tokens_per_second"
    USERS = "users"
    COST_PER_CALL = "cost_per_call"
    COST_PER_1K_TOKENS = "cost_per_1k_tokens"

    @property
    def direct(self) -> RowAggregate | None:
        """How it looks at the rows; None when parts are enough."""
        if (match := _PERCENTILE.fullmatch(self.value)) is None:
            return _DISTINCT.get(self)
        column = "execution_time_ms" if match[1] == "latency" else "first_token_ms"
        final = "is_final AND " if match[1] == "latency" else ""
        return RowAggregate(column, f"{final}{column} IS NOT NULL", int(match[2]) / 100)

    @property
    def sql(self) -> str:
        """The expression over parts, plus what `direct` counts. Money is whole nano-dollars, halves rounded up."""
        return _EXPRESSIONS.get(self, "")

    @property
    def parts(self) -> list[str]:
        """The parts of its expression."""
        return [name for name in PARTS if name in _WORD.findall(self.sql)]

    @property
    def unit(self) -> Unit:
        """The unit of the measure's numbers."""
        return _UNITS.get(self, Unit.MS if self.direct and self.direct.share else Unit.COUNT)

    @property
    def is_sum(self) -> bool:
        """Whether the figures of the parts of a whole add up to the whole's (a chart may stack them)."""
        return self.direct is None and self not in _RATIOS


class Fold(StrEnum):
    """What is made of the numbers of a custom metric. Percentiles are by nearest rank: values that were recorded."""

    MEAN = "mean"
    SUM = "sum"
    P50 = "p50"
    P95 = "p95"
    VALUES = "values"


@dataclass(frozen=True)
class MetricMeasure:
    """A custom metric, by its key: truths are 1 and 0, texts and JSON have no figure."""

    key: str
    fold: Fold

    @property
    def value(self) -> str:
        """Its name as a column of a frame."""
        return f"metric.{self.fold}.{self.key}"

    @property
    def unit(self) -> Unit:
        """The unit of the metric's numbers."""
        return Unit.COUNT if self.fold is Fold.VALUES else Unit.NUMBER

    @property
    def is_sum(self) -> bool:
        """Whether the figures of the parts of a whole add up to the whole's."""
        return self.fold in (Fold.SUM, Fold.VALUES)


class Shape(StrEnum):
    """How a cross is shown."""

    TABLE = "table"
    HEAT = "heat"
    AREA = "area"
    BARS = "bars"
    MULTIPLES = "multiples"


_DISTINCT = {
    Measure.UNPRICED: RowAggregate("call_id", UNPRICED_SEVERAL),
    Measure.USERS: RowAggregate("user_id", "user_id IS NOT NULL"),
}
_EXPRESSIONS = {
    Measure.UNPRICED: "unpriced_once",  # and the distinct calls among the others
    Measure.USERS: "0",
    Measure.COST: _COST,
    Measure.TOKENS: "total",
    Measure.CALLS: "called",
    Measure.QUESTIONS: "asked",
    Measure.PROMPT_TOKENS: "prompt",
    Measure.COMPLETION_TOKENS: "completion",
    Measure.CACHE_READ_TOKENS: "cache_read",
    Measure.CACHE_WRITE_TOKENS: "cache_write",
    Measure.REASONING_TOKENS: "reasoning",
    Measure.SAVED: "saved",
    Measure.WASTED: "wasted",
    Measure.FEES: "fees",
    Measure.FAILED: "failed",
    Measure.RETRIES: "attempts - final",
    Measure.ERROR_RATE: "failed / nullif(called, 0)",
    Measure.TOKENS_PER_SECOND: "timed_tokens * 1000 / nullif(timed_ms, 0)",
    Measure.COST_PER_CALL: "(2 * counted_money + priced_final) // nullif(2 * priced_final, 0)",
    Measure.COST_PER_1K_TOKENS: "(2000 * CAST(money AS HUGEINT) + priced_total) // nullif(2 * priced_total, 0)",
}
_RATIOS = (Measure.ERROR_RATE, Measure.TOKENS_PER_SECOND, Measure.COST_PER_CALL, Measure.COST_PER_1K_TOKENS)
_UNITS = {
    **dict.fromkeys(
        (Measure.COST, Measure.SAVED, Measure.WASTED, Measure.FEES, Measure.COST_PER_CALL, Measure.COST_PER_1K_TOKENS),
        Unit.NANO_USD,
    ),
    Measure.ERROR_RATE: Unit.SHARE,
    Measure.TOKENS_PER_SECOND: Unit.PER_SECOND,
}


def parse_axis(name: str) -> Axis:
    """The axis of a name; InvalidInput lists those there are."""
    for kind in (Dimension, PeriodStep, Cycle):
        if name in set(kind):
            return kind(name)
    if name == TOOL.name:
        return TOOL
    if name.startswith("tag.") and len(name) > len("tag."):
        return Tag(name.removeprefix("tag."))
    choices = ", ".join([*Dimension, TOOL.name, *PeriodStep, *Cycle, "tag.NAME"])
    raise InvalidInput(f"There is no dimension {name}.", "", f"Choose of {choices}.", field="by")


def parse_measure(name: str) -> Measure | MetricMeasure:
    """The measure of a name; InvalidInput lists those there are."""
    if name in set(Measure):
        return Measure(name)
    kind, _, suffix = name.partition(".")
    fold, _, key = suffix.partition(".")
    if kind == "metric" and fold in set(Fold) and key:
        return MetricMeasure(key, Fold(fold))
    choices = ", ".join([*Measure, *(f"metric.{fold_choice}.KEY" for fold_choice in Fold)])
    raise InvalidInput(f"There is no measure {name}.", "", f"Choose of {choices}.", field="measure")
