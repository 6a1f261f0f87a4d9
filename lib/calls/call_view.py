"""The view of a call in flight, for pages and routes."""

from typing import Any

from lib.calls.attempt_closing import compute_billed_usage, price_usage
from lib.calls.live_call import CallView, LiveCall
from lib.providers.prices.price_book import PriceBook


def view_call(call: LiveCall, prices: PriceBook) -> CallView:
    """The call as it stands now; tokens and cost are estimates until the provider has counted."""
    row = call.row
    attempt = call.attempt
    endpoint = attempt.target.endpoint
    model_request = attempt.target.model_request
    usage, source = compute_billed_usage(call, prices)
    cost, cost_status = price_usage(call, prices, usage, source)
    live: dict[str, Any] = {
        "status": "running",
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "usage_source": source,
        "cost_nano_usd": cost.nano,
        "cost_status": cost_status,
        "execution_time_ms": attempt.elapsed_ms,
        "error_kind": None,
        "error_message": None,
    }
    outcome = {name: getattr(row, name) for name in live} if row is not None else live
    return CallView(
        call_id=call.call_id,
        log_id=attempt.log_id,
        started_at=attempt.started_at,
        provider=endpoint.name,
        model=model_request.model,
        configuration_id=call.plan.configuration.id or None,
        text=attempt.answer,
        reasoning="".join(attempt.reasoning),
        messages=model_request.messages,
        parameters=dict(model_request.parameters),
        first_token_ms=attempt.first_token_ms,
        chunks=attempt.chunks,
        finish_reason=attempt.finish_reason,
        served_model=attempt.served_model,
        attempt=attempt.number,
        events=call.events,
        tags=call.plan.request.tags,
        cache_read_tokens=usage.cache_read_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        retry_after=call.retry_after,
        cache=attempt.cache,
        age_s=attempt.age_s,
        saved_nano_usd=row.saved_nano_usd if row is not None else None,
        tool_calls=tuple(dict(tool) for tool in attempt.tool_calls.values()),
        **outcome,
    )
