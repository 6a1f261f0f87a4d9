"""The row of an attempt that ended: the one place where status, usage and cost are decided.

A provider that never said it had finished is `truncated`, however cleanly the connection closed. Tokens are the
provider's, or an estimate that says so. What was refused before an answer began costs an explicit zero; what is
unknown stays NULL.
"""

import asyncio
from typing import Any

from msgspec import Struct, to_builtins
from msgspec.structs import asdict

from lib.calls.billed_usage import complete_usage, count_cut_usage
from lib.calls.live_call import AttemptState, LiveCall, make_storable
from lib.calls.sources import NO_CACHE
from lib.clock import utc_now
from lib.errors import ErrorKind, LLMManagerError, ProviderError
from lib.ledger import content_policy
from lib.ledger.closing import Closing
from lib.ledger.usage_row import AttemptRow, UsageRow
from lib.money import format_cost
from lib.providers.chunks import Usage
from lib.providers.circuits import Circuit
from lib.providers.prices.price_book import PriceBook
from lib.providers.prices.rates import Cost
from lib.providers.redaction import redact

_TIMEOUTS = {ErrorKind.TIMEOUT_FIRST_TOKEN, ErrorKind.TIMEOUT_IDLE, ErrorKind.TIMEOUT_TOTAL}
_MAY_BE_CHARGED = _TIMEOUTS | {ErrorKind.STREAM_CUT, ErrorKind.PROCESS_ENDED}


class Ending(Struct, frozen=True):
    """Status and reason of an attempt; `sent` is False when nothing went upstream."""

    status: str
    error_kind: str | None = None
    error_message: str | None = None
    sent: bool = True


def make_ending(attempt: AttemptState, failure: BaseException | None) -> Ending:
    """The ending of an attempt whose stream ended with `failure`, or without one."""
    if isinstance(failure, asyncio.CancelledError):
        return Ending("cancelled")
    if isinstance(failure, ProviderError):
        if failure.kind in _TIMEOUTS:
            status = "timeout"
        else:
            is_cut = failure.kind is ErrorKind.STREAM_CUT or (
                failure.kind is ErrorKind.CONNECTION and attempt.has_content
            )
            status = "truncated" if is_cut else "error"
        return Ending(status, failure.kind.value, redact(make_storable(str(failure))))
    if isinstance(failure, LLMManagerError):
        return Ending("error", ErrorKind.INTERNAL.value, redact(make_storable(str(failure))))
    if failure is not None:
        why = f"An unexpected {type(failure).__name__} in LLM Manager. The server's log has the details."
        return Ending("error", ErrorKind.INTERNAL.value, why)
    if attempt.finish_reason is None:
        why = "The stream ended before the provider said it was finished. What had arrived is kept."
        return Ending("truncated", ErrorKind.STREAM_CUT.value, why)
    return Ending("ok")


def make_circuit_ending(circuit: Circuit, provider: str) -> Ending:
    """The ending of a call that was not sent because the circuit of its only target is open."""
    why = (
        f"{provider} is left alone for {circuit.model} until {circuit.open_until:%H:%M:%S} UTC. It failed "
        f"{circuit.failures} times in a row, the last time with: {circuit.reason} "
        "Try again then, add a fallback to the configuration, or close the circuit on the Providers page."
    )
    return Ending("refused", ErrorKind.CIRCUIT_OPEN.value, make_storable(why), sent=False)


def can_be_charged(ending: Ending, attempt: AttemptState) -> bool:
    """Whether the provider may bill the attempt: not when it refused, or never answered, before anything came."""
    if not ending.sent or attempt.cache != NO_CACHE:
        return False
    if attempt.has_content or attempt.usage is not None or ending.status in ("ok", "cancelled", "truncated"):
        return True
    return ending.error_kind in _MAY_BE_CHARGED


_REMEMBERED = Cost(0, "free", None)


def price_usage(call: LiveCall, prices: PriceBook, usage: Usage, source: str) -> tuple[Cost, str]:
    """The cost of what a call is billed by (`usage_billed`), and the row's cost_status."""
    attempt = call.attempt
    if attempt.cache != NO_CACHE:
        return _REMEMBERED, _REMEMBERED.status
    kind = attempt.target.endpoint.kind
    model = attempt.target.model_request.model
    cost = prices.charge(kind, model, attempt.started_at, usage, attempt.reported_nano_usd)
    return cost, "estimated" if source == "estimated" and cost.status == "priced" else cost.status


def make_closing(
    call: LiveCall, ending: Ending, prices: PriceBook, *, is_final: bool, saved_nano: int | None = None
) -> Closing:
    """The row of `usage_logs` and its payload for the current attempt, which was opened."""
    attempt = call.attempt
    assert attempt.identity is not None  # noqa: S101 (its opening made it)
    charged = can_be_charged(ending, call.attempt)
    usage, source = compute_billed_usage(call, prices)
    cost, cost_status = price_usage(call, prices, usage, source)
    row = UsageRow(
        **asdict(attempt.identity),
        is_final=is_final,
        finished_at=max(utc_now(), attempt.started_at),
        served_model=attempt.served_model,
        status=ending.status,
        error_kind=ending.error_kind,
        error_message=content_policy.sanitise_error(call.content_policy, ending.error_message),
        prompt_tokens=usage.prompt_tokens if charged else None,
        completion_tokens=usage.completion_tokens if charged else None,
        total_tokens=usage.total_tokens if charged else None,
        cache_read_tokens=usage.cache_read_tokens if charged else None,
        cache_write_tokens=usage.cache_write_tokens if charged else None,
        cache_write_1h_tokens=usage.cache_write_1h_tokens if charged else None,
        reasoning_tokens=usage.reasoning_tokens if charged else None,
        images=usage.images if charged else None,
        reported_nano_usd=attempt.reported_nano_usd if attempt.cache == NO_CACHE else None,
        usage_source=source if charged else "none",
        cost_nano_usd=cost.nano if charged else 0,
        cost_status=cost_status if charged else "free",
        fees_nano_usd=cost.fees_nano if charged else 0,
        service_tier=usage.service_tier if charged else "",
        usage_details=to_builtins(usage.details) if charged and usage.details is not None else None,
        dropped_fields=", ".join(attempt.dropped),
        price_id=cost.price_id if charged else None,
        saved_nano_usd=saved_nano,
        cache=attempt.cache,
        execution_time_ms=attempt.elapsed_ms,
        first_token_ms=attempt.first_token_ms,
        chunks=attempt.chunks,
        finish_reason=attempt.finish_reason,
    )
    return Closing(row, make_payload(call), call.claim)


def compute_billed_usage(call: LiveCall, prices: PriceBook) -> tuple[Usage, str]:
    """The usage that the current attempt is billed by so far, and where its tokens come from."""
    attempt = call.attempt
    (usage, source) = call.current_usage()
    target = attempt.target
    if source == "estimated":
        kind = target.endpoint.kind
        model = target.model_request.model
        usage = count_cut_usage(
            target, usage, attempt.uses, lambda use: prices.use_fee(kind, model, use, attempt.started_at)
        )
    return complete_usage(target, usage, attempt.served_model, attempt.dropped), source


def make_payload(call: LiveCall) -> dict[str, Any]:
    """The row of `usage_payloads`: what the content policy lets stay."""
    policy = call.content_policy
    attempt = call.attempt
    response: dict[str, Any] = {}
    if attempt.reasoning or attempt.tool_calls:
        reasoning = make_storable("".join(attempt.reasoning))
        response = content_policy.sanitise_response(policy, reasoning, list(attempt.tool_calls.values()))
    return {
        "prompt_text": call.prompt_kept,
        "response_text": content_policy.sanitise_text(policy, attempt.answer),
        "request": call.request_kept,
        "response": response,
    }


def format_summary(row: UsageRow) -> str:
    """The monitor's last line."""
    return f"{row.status}, {row.execution_time_ms} ms, {format_cost(row.cost_nano_usd, row.cost_status)}"


def fill_identity(call: LiveCall, lane: str) -> AttemptRow:
    """Note and return the columns that the current attempt's rows of `open_calls` and `usage_logs` share."""
    request = call.plan.request
    attempt = call.attempt
    endpoint = attempt.target.endpoint
    model_request = attempt.target.model_request
    within = request.within
    identity = attempt.identity = AttemptRow(
        id=attempt.log_id,
        call_id=call.call_id,
        attempt=attempt.number,
        started_at=attempt.started_at,
        app=call.plan.app,
        user_id=call.user_id,
        api_key_id=request.actor.key.key_id if request.actor.key else None,
        configuration_id=call.plan.configuration.id or None,
        origin=request.origin.value,
        conversation_id=request.conversation_id,
        session_id=within.session_id or None,
        parent_call_id=within.parent_call_id or None,
        workflow_run_id=within.workflow_run_id or None,
        workflow_step=within.workflow_step or None,
        provider=endpoint.name,
        model=model_request.model,
        streamed=model_request.stream,
        parameters=content_policy.sanitise_parameters(call.content_policy, model_request.parameters),
        tags=dict(request.tags),
        team_id=request.actor.team_id,
        lane=lane,
    )
    return identity
