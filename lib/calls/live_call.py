"""A call in flight: the buffer that doors read while the call's task fills it.

The task is the only writer; readers take a `CallView`, a frozen picture of the moment. The buffer outlives the page
that started the call, so leaving, reloading or a second tab changes nothing.
"""

import asyncio
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, assert_never

from msgspec import Struct, to_builtins
from msgspec import field as new
from msgspec.structs import replace

from lib.access.limits import Claim, LimitDecision
from lib.calls.billed_usage import complete_usage, count_cut_usage
from lib.calls.latch import Latch
from lib.calls.request import Plan, Target, measure_prompt
from lib.calls.sources import NO_CACHE
from lib.clock import make_id, utc_now
from lib.errors import ErrorKind, ProviderError
from lib.ledger import content_policy
from lib.ledger.usage_row import AttemptRow, UsageRow
from lib.providers.chunks import (
    AnswerId,
    Chunk,
    Finish,
    OmittedParameters,
    OtherAnswer,
    Piece,
    ReasoningDelta,
    ServedModel,
    TextDelta,
    ThoughtBlock,
    ToolCallDelta,
    Usage,
    UsageReport,
    UsesSoFar,
    Vectors,
)
from lib.providers.protocols.usage import count_images
from lib.providers.redaction import redact
from lib.tokens.message_text import read_message_text
from lib.tokens.prompt_tokens import estimate_prompt
from lib.tokens.text_estimate import estimate_tokens

MAX_EVENTS = 100
_LONGEST_REASON = 40  # as the ledger's columns
_LONGEST_MODEL = 200


class Listener(Protocol):
    """Passes an answer on as it comes; an exception that it raises ends the call."""

    def begin(self, call: "LiveCall") -> None:
        """The call is about to be sent."""
        ...

    async def take(self, piece: Piece) -> None:
        """A piece has come, and is in the call's attempt already."""
        ...


@dataclass(frozen=True)
class Event:
    """A line of the monitor: milliseconds since the call started, what happened, and a detail."""

    at_ms: int
    name: str
    detail: str = ""


@dataclass(frozen=True)
class CallView:
    """A call as pages and routes show it, running or ended. Tokens are estimates until `usage_source` is `provider`."""

    call_id: str
    log_id: str
    status: str
    started_at: datetime
    provider: str
    model: str
    configuration_id: str | None
    text: str
    reasoning: str
    messages: list[dict[str, Any]]
    parameters: dict[str, Any]
    prompt_tokens: int | None
    completion_tokens: int | None
    usage_source: str
    cost_nano_usd: int | None
    cost_status: str
    execution_time_ms: int | None
    first_token_ms: int | None
    chunks: int
    finish_reason: str | None
    served_model: str | None
    error_kind: str | None
    error_message: str | None
    attempt: int
    events: tuple[Event, ...] = ()
    tool_calls: tuple[dict[str, str], ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    cache_read_tokens: int = 0  # of the prompt's
    reasoning_tokens: int = 0  # of the completion's
    retry_after: float | None = None  # of a call here that was refused; as `LiveCall` has it
    cache: str = NO_CACHE  # which kind of remembered answer it is
    saved_nano_usd: int | None = None
    age_s: int | None = None  # of a remembered answer when it was served; None also for a call of the ledger

    @property
    def running(self) -> bool:
        """Whether more may come."""
        return self.status == "running"

    @property
    def tokens_per_second(self) -> float | None:
        """Completion tokens over the time since the first token (over the whole time when all came at once)."""
        if not self.completion_tokens or not self.execution_time_ms:
            return None
        span = self.execution_time_ms - (self.first_token_ms or 0)
        return self.completion_tokens * 1000 / max(span, 1) if span > 50 else None


class AttemptState(Struct):
    """The state of one attempt at its target: the answer and its counts so far; `started` is monotonic seconds."""

    number: int
    target: Target
    log_id: str = new(default_factory=make_id)
    started_at: datetime = new(default_factory=utc_now)
    started: float = new(default_factory=time.monotonic)
    text: list[str] = []
    reasoning: list[str] = []
    thoughts: list[dict[str, Any]] = []  # blocks that come back with the results of tools
    tool_calls: dict[int, dict[str, str]] = {}
    further_answers: dict[
        int, list[str]
    ] = {}  # what further answers say: counted where the provider does not, never kept
    usage: Usage | None = None
    usage_is_partial: bool = False
    most: tuple[int, int] = (0, 0)  # tokens of prompt and answer that its hold is for
    is_bounded: bool = False  # a ceiling is sent
    cache: str = NO_CACHE  # the column: which kind of remembered answer it reads
    age_s: int | None = None  # of that answer
    uses: dict[str, int] = {}  # charged by the piece, as the answer has shown so far
    reported_nano_usd: int | None = None
    finish_reason: str | None = None
    stop_sequence: str = ""  # that ended the answer, where the provider names it
    served_model: str | None = None
    answer_id: str = ""  # by which its provider may keep it
    vectors: tuple[tuple[float, ...], ...] = ()
    left_out: tuple[str, ...] = ()  # parameters that the adapter found not to be taken
    chunks: int = 0
    first_token_ms: int | None = None
    identity: AttemptRow | None = None  # its columns in both tables, once they are known
    checkpointed_ms: int = 0  # when the answer so far was last noted on disk, and how many pieces of it
    checkpointed_pieces: int = 0

    @property
    def elapsed_ms(self) -> int:
        """Milliseconds since the attempt was sent."""
        return round((time.monotonic() - self.started) * 1000)

    @property
    def dropped(self) -> tuple[str, ...]:
        """Names of the request's fields that did not go to the provider, each once."""
        return tuple(dict.fromkeys((*self.target.dropped, *self.left_out)))

    @property
    def has_content(self) -> bool:
        """Whether anything of the answer has come; from then on there is no second try."""
        return self.first_token_ms is not None

    @property
    def characters(self) -> int:
        """The length of all that the model has written so far."""
        return sum(map(len, self.text)) + sum(map(len, self.reasoning))

    @property
    def answer(self) -> str:
        """The text so far."""
        return make_storable("".join(self.text))

    def checkpoint(self) -> dict[str, Any]:
        """A record of the text since the last checkpoint, from which `lib.ledger.recovery` restores the answer."""
        pieces = self.text[self.checkpointed_pieces :]
        self.checkpointed_pieces = len(self.text)
        self.checkpointed_ms = self.elapsed_ms
        times = {"elapsed_ms": self.elapsed_ms, "first_token_ms": self.first_token_ms}
        return {"text": make_storable("".join(pieces)), "chunks": self.chunks, **times}

    def take(self, chunk: Chunk) -> None:
        """Add what a chunk says."""
        match chunk:
            case TextDelta(text):
                if text:
                    self._count_content()
                    self.text.append(text)
            case ReasoningDelta(text):
                if text:
                    self._count_content()
                    self.reasoning.append(text)
            case ThoughtBlock(block):
                self.thoughts.append(dict(block))
            case ToolCallDelta():
                self._count_content()
                call = self.tool_calls.setdefault(chunk.index, {"id": "", "name": "", "arguments": ""})
                call["id"] = chunk.id or call["id"]
                call["name"] = chunk.name or call["name"]
                call["arguments"] += chunk.arguments
            case OtherAnswer(index, text):
                self._count_content()
                self.further_answers.setdefault(index, []).append(text)
            case _:
                self._take_report(chunk)

    def _take_report(
        self, chunk: UsageReport | UsesSoFar | Finish | AnswerId | ServedModel | Vectors | OmittedParameters
    ) -> None:
        """Note what a provider reports of its answer beside the content."""
        match chunk:
            case UsageReport(usage, is_partial, cost):
                self.usage = usage
                self.usage_is_partial = is_partial
                self.reported_nano_usd = self.reported_nano_usd if cost is None else cost
            case UsesSoFar(uses):
                self.uses = uses
            case Finish(reason, sequence):
                self.finish_reason = make_storable(reason)[:_LONGEST_REASON]
                self.stop_sequence = sequence
            case AnswerId(identity):
                self.answer_id = identity
            case ServedModel(model):
                self.served_model = make_storable(model)[:_LONGEST_MODEL]
            case Vectors(vectors):
                self.vectors = vectors
            case OmittedParameters(names):
                self.left_out = names
            case _:
                assert_never(chunk)

    def _count_content(self) -> None:
        self.chunks += 1
        if self.first_token_ms is None:
            self.first_token_ms = self.elapsed_ms


class LiveCall:
    """The buffer of one call: its plan, its current attempt, its monitor and, at the end, its last row."""

    def __init__(self, plan: Plan, listener: Listener | None = None) -> None:
        self.plan = plan
        self.listener = listener
        self.is_watched = listener is None  # on a page
        self.call_id = plan.request.call_id or make_id()
        self.user_id = plan.request.actor.user_id
        self.attempt = AttemptState(1, first := plan.first)
        self.stop_requested = False
        self.ended = Latch()
        self.ended_at: float | None = None
        self.row: UsageRow | None = None
        self.claim: Claim | None = None  # what the current attempt took of the limits
        self.standing = LimitDecision()  # how the limits stood when the call opened
        self.is_counted = False  # by limits, whatever attempts follow
        self.retry_after: float | None = None  # seconds, where a refusal says; inf: no waiting helps
        messages = first.model_request.messages
        texts = [read_message_text(message) for message in messages]
        self.prompt_size = measure_prompt(plan)
        self.prompt_estimate = estimate_prompt(self.prompt_size, first.endpoint.kind, first.model_request.model)
        self.images = max(count_images(messages), len(self.prompt_size.images))
        self.content_policy = plan.configuration.content_policy
        self.prompt_kept = content_policy.sanitise_text(self.content_policy, _find_last_question(messages, texts))
        self.request_kept = content_policy.sanitise_request(self.content_policy, messages, self.prompt_estimate)
        self._started = time.monotonic()
        self._events: deque[tuple[float, str, str]] = deque(maxlen=MAX_EVENTS if self.is_watched else 0)
        if plan.dropped:
            self.note("left out", f"{', '.join(plan.dropped)}: not taken by {first.model_request.model}")

    def note(self, name: str, detail: str = "") -> None:
        """Add a line to the monitor, which pages show; only the last hundred stay."""
        if self.is_watched:
            self._events.append((time.monotonic(), name, detail))

    def vectors(self) -> tuple[tuple[float, ...], ...]:
        """The vectors of an ended embedding call; ProviderError when it failed."""
        row = self.row
        if row is None or row.status != "ok":
            kind = (row and row.error_kind) or ErrorKind.INTERNAL
            raise ProviderError(ErrorKind(kind), (row and row.error_message) or "The call was stopped.")
        return self.attempt.vectors

    @property
    def columns(self) -> dict[str, Any]:
        """The last row as the ledger has it; empty before the call's end."""
        return {} if self.row is None else self.row.to_columns()

    def finish(self, row: UsageRow) -> None:
        """The last attempt's row is on disk: the call has ended."""
        self.row = row
        self.ended_at = time.monotonic()
        self.ended.set()

    def current_usage(self) -> tuple[Usage, str]:
        """Tokens so far and where they come from: the provider, or an estimate where it has not counted to the end."""
        attempt = self.attempt
        counted = attempt.usage
        if counted is not None and not attempt.usage_is_partial:
            return counted, "provider"
        reasoning = estimate_tokens("".join(attempt.reasoning))
        tools = estimate_tokens("".join(call["arguments"] for call in attempt.tool_calls.values()))
        further_tokens = sum(estimate_tokens("".join(pieces)) for pieces in attempt.further_answers.values())
        written = estimate_tokens("".join(attempt.text)) + reasoning + tools + further_tokens
        if counted is None:
            return Usage(self.prompt_estimate, written, reasoning_tokens=reasoning), "estimated"
        floor = max(counted.completion_tokens, written)
        of_it = max(counted.reasoning_tokens, reasoning)
        return replace(counted, completion_tokens=floor, reasoning_tokens=of_it), "estimated"

    def checkpoint(self) -> dict[str, Any]:
        """A record of the answer since the last checkpoint, as far as the content policy lets it be stored."""
        attempt = self.attempt
        (usage, source) = self.current_usage()
        if source == "estimated":
            usage = count_cut_usage(attempt.target, usage, attempt.uses)
        billed = complete_usage(attempt.target, usage, attempt.served_model, attempt.dropped)
        note = attempt.checkpoint()
        if billed.service_tier or billed.details is not None:
            note["billed"] = {"service_tier": billed.service_tier, "details": to_builtins(billed.details)}
        return content_policy.sanitise_checkpoint(
            self.content_policy, note, (usage.prompt_tokens, usage.completion_tokens)
        )

    @property
    def events(self) -> tuple[Event, ...]:
        """The monitor's lines, oldest first."""
        events = list(self._events)
        return tuple(Event(round((at - self._started) * 1000), name, redact(detail)) for at, name, detail in events)


async def make_call(plan: Plan, listener: Listener | None = None) -> LiveCall:
    """The call of a plan; where long words have to be masked, that is done in a thread, for others wait meanwhile."""
    policy = plan.configuration.content_policy
    if policy == content_policy.REDACTED:
        characters = sum(len(read_message_text(message)) for message in plan.first.model_request.messages)
        if content_policy.is_masking_slow(policy, characters):
            return await asyncio.to_thread(LiveCall, plan, listener)
    return LiveCall(plan, listener)


def _find_last_question(messages: list[dict[str, Any]], texts: list[str]) -> str | None:
    """The text of the last message of the role user, storable; None when there is none."""
    for index in range(len(messages) - 1, -1, -1):
        if messages[index].get("role") == "user":
            return make_storable(texts[index])
    return None


def make_storable(text: str) -> str:
    """Text that every store accepts: no NUL, no lone surrogates."""
    if text.isascii():
        return text.replace("\x00", "")
    return text.replace("\x00", "").encode("utf-8", "replace").decode("utf-8")
