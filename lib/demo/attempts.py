"""A sample call as rows: one attempt or two, how each ends, how long it takes, what it costs.

The rules of tokens and money are those of a live call (`calls.outcome`): what was refused before an answer costs an
explicit zero, what is cut or stopped is estimated, what has no price stays unknown.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from lib.clock import id_at
from lib.demo.catalogue import BATCH, DemoApp, DemoModel
from lib.providers.chunks import Usage
from lib.providers.price_book import PriceBook

_FAILURES = {"error": 0.5, "timeout": 0.18, "cancelled": 0.18, "truncated": 0.09, "refused": 0.05}
_ERRORS = {
    "rate_limit": "{} is limiting requests. It answered 429 (requests per minute).",
    "overloaded": "{} is overloaded. It answered 529.",
    "server_error": "{} had an internal error. It answered 500.",
    "context_length": "The prompt is too long for the model. {} refused it.",
}
_RETRIED = ("rate_limit", "overloaded", "server_error", "timeout_first_token")
_TOKENS = (
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
)


@dataclass(frozen=True)
class Draw:
    """The dice of one call."""

    started_at: datetime
    app: DemoApp
    model: DemoModel
    user_id: str
    prompt: int
    completion: int
    slowness: float
    luck: float  # decides failure
    kind: float  # decides which failure
    second: float  # decides retry, cache and cached share
    entropy: int


def attempts(draw: Draw, prices: PriceBook) -> Iterator[dict[str, Any]]:
    """One row, or two when the first attempt failed in a way that is tried again."""
    status, kind = _ending(draw)
    call_id = id_at(_milliseconds(draw.started_at), 0, draw.entropy)
    if kind in _RETRIED and draw.second < 0.62:
        first = _row(draw, prices, call_id, 1, status, kind, is_final=False)
        yield first
        recovered = draw.second < 0.54
        ending = ("ok", None) if recovered else (status, kind)
        yield _row(draw, prices, call_id, 2, *ending, is_final=True, after=first["finished_at"])
    else:
        yield _row(draw, prices, call_id, 1, status, kind, is_final=True)


def _ending(draw: Draw) -> tuple[str, str | None]:
    if draw.luck >= draw.model.failure_share * 1.6:
        return "ok", None
    rest, status, part = draw.kind, "error", 0.0
    for status, weight in _FAILURES.items():  # noqa: B007 - the one it stops at
        part = rest / weight
        if rest < weight:
            break
        rest -= weight
    if status == "error":
        return status, list(_ERRORS)[int(min(part, 0.999) * len(_ERRORS))]
    return status, {"timeout": "timeout_first_token", "truncated": "stream_cut", "refused": "refused"}.get(status)


def _row(
    draw: Draw,
    prices: PriceBook,
    call_id: str,
    attempt: int,
    status: str,
    kind: str | None,
    *,
    is_final: bool,
    after: datetime | None = None,
) -> dict[str, Any]:
    started_at = after + timedelta(seconds=1) if after else draw.started_at
    hit = status == "ok" and attempt == 1 and draw.second > 1 - draw.app.cache_share
    duration_ms, first_ms, completion = _timing(draw, status, hit)
    finished_at = started_at + timedelta(milliseconds=duration_ms)
    return {
        "id": id_at(_milliseconds(started_at), attempt, draw.entropy),
        "call_id": call_id,
        "attempt": attempt,
        "started_at": started_at,
        "finished_at": finished_at,
        "app": draw.app.name,
        "user_id": draw.user_id,
        "api_key_id": None,
        "configuration_id": None,
        "origin": draw.app.origin,
        "conversation_id": None,
        "workflow_run_id": None,
        "workflow_step": "extract" if draw.app.origin == "workflow" else None,
        "provider": draw.model.provider,
        "model": draw.model.model,
        "served_model": draw.model.model if status == "ok" else None,
        "streamed": True,
        "parameters": {"temperature": 0.2},
        "tags": {"sample": "yes"},
        "is_final": is_final,
        "status": status,
        "error_kind": kind,
        "error_message": _message(draw.model.provider, kind),
        "execution_time_ms": duration_ms,
        "first_token_ms": first_ms,
        "chunks": completion if status in ("ok", "truncated", "cancelled") and not hit else None,
        "finish_reason": "stop" if status == "ok" else None,
        "batch_id": BATCH,
        "cache": "exact" if hit else "none",
        **_money(draw, prices, status, completion, hit),
    }


def _timing(draw: Draw, status: str, hit: bool) -> tuple[int, int | None, int]:
    """Milliseconds in all and to the first token, and completion tokens that arrived."""
    model = draw.model
    if hit:
        return 6, 4, draw.completion
    if status == "refused":
        return 2, None, 0
    if status == "timeout":
        return 60_000, None, 0
    if status == "error":
        return int(280 * draw.slowness), None, 0
    first = int(model.first_token_ms * draw.slowness)
    completion = draw.completion if status == "ok" else max(1, draw.completion // 3)
    return first + int(completion / model.tokens_per_s * 1000 * draw.slowness), first, completion


def _money(draw: Draw, prices: PriceBook, status: str, completion: int, hit: bool) -> dict[str, Any]:
    """Tokens, cost and how they are known, by the rules of a live call."""
    cached = int(draw.prompt * (0.4 + draw.second / 2)) if draw.model.caches_prompts and draw.second < 0.45 else 0
    usage = Usage(draw.prompt, completion, cached)
    cost = prices.cost(prices.price(draw.model.provider, draw.model.model, draw.started_at), usage)
    saved = cost.nano if hit else None
    if hit or status in ("error", "refused"):
        tokens: dict[str, Any] = dict.fromkeys(_TOKENS)
        return tokens | {
            "usage_source": "none",
            "cost_nano_usd": 0,
            "cost_status": "free",
            "price_id": None,
            "saved_nano_usd": saved,
        }
    estimated = status != "ok"
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "cache_read_tokens": cached,
        "cache_write_tokens": 0,
        "reasoning_tokens": 0,
        "usage_source": "estimated" if estimated else "provider",
        "cost_nano_usd": cost.nano,
        "cost_status": "estimated" if estimated and cost.status == "priced" else cost.status,
        "price_id": cost.price_id,
        "saved_nano_usd": None,
    }


def _message(provider: str, kind: str | None) -> str | None:
    name = provider.capitalize()
    if kind in _ERRORS:
        return _ERRORS[kind].format(name)
    return {
        "timeout_first_token": f"{name} did not answer. No first token came within 60 s.",
        "stream_cut": "The stream ended before the provider said it was finished. What had arrived is kept.",
        "refused": "The call was refused before it was sent.",
    }.get(kind or "")


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
