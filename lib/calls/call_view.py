"""A call in flight as a door may show it."""

from typing import Any

from lib.calls.live import CallView, LiveCall
from lib.calls.outcome import cost_of, usage_billed
from lib.providers.prices.price_book import PriceBook


def picture(call: LiveCall, prices: PriceBook) -> CallView:
    """The moment; tokens and cost are estimates until the provider has counted."""
    row = call.row
    attempt = call.attempt
    endpoint = attempt.target.endpoint
    asked = attempt.target.model_request
    usage, source = usage_billed(call, prices)
    cost, cost_status = cost_of(call, prices, usage, source)
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
    shown = {name: row[name] for name in live} if row is not None else live
    return CallView(
        call_id=call.call_id,
        log_id=attempt.log_id,
        started_at=attempt.started_at,
        provider=endpoint.name,
        model=asked.model,
        configuration_id=call.plan.configuration.id or None,
        text=attempt.answer,
        reasoning="".join(attempt.reasoning),
        messages=asked.messages,
        parameters=dict(asked.parameters),
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
        tool_calls=tuple(dict(tool) for tool in attempt.tool_calls.values()),
        **shown,
    )
