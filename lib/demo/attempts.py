"""Sample calls as rows: one attempt or two, how each ends, how long it takes, what it costs; a column at a time.

The rules of tokens and money are those of a live call (`calls.outcome`): what was refused before an answer costs an
explicit zero, what is cut or stopped is estimated, what has no price stays unknown. Sums are exact integers, rounded
once, half to even, as in `money.compute_token_cost_nano`; a test holds both against each other.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from lib.demo.catalogue import APPS, BATCH, MODELS, PEOPLE, derive_demo_user_id
from lib.ledger.usage_row import check_columns
from lib.providers.prices.price_book import PriceBook
from lib.providers.prices.rates import Price

_STATUSES = ("ok", "error", "timeout", "cancelled", "truncated", "refused")
_OK, _ERROR, _TIMEOUT, _CANCELLED, _TRUNCATED, _REFUSED = range(6)
_FAILURES = np.cumsum([0.5, 0.18, 0.18, 0.09, 0.05])
_KINDS = (
    *(None, "rate_limit", "overloaded", "server_error", "context_length"),
    *("timeout_first_token", "stream_cut", "refused"),
)
_MESSAGES = {
    "rate_limit": "{} is limiting requests. It answered 429 (requests per minute).",
    "overloaded": "{} is overloaded. It answered 529.",
    "server_error": "{} had an internal error. It answered 500.",
    "context_length": "The prompt is too long for the model. {} refused it.",
    "timeout_first_token": "{} did not answer. No first token came within 60 s.",
    "stream_cut": "The stream ended before the provider said it was finished. What had arrived is kept.",
    "refused": "The call was refused before it was sent.",
}
_MILLION = 1_000_000
_DIGITS = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)
_DASHED = [n for n in range(36) if n not in (8, 13, 18, 23)]


@dataclass(frozen=True)
class SampleCalls:
    """The draws for each call: arrays of one length; `app`, `person` and `model` are indexes in the catalogue."""

    start_ms: Any
    year_part: Any
    app: Any
    person: Any
    model: Any
    prompt: Any
    completion: Any
    slowness: Any
    luck: Any  # decides failure
    kind: Any  # decides which failure
    second: Any  # decides retry, cache and cached share
    entropy: Any
    start: datetime  # of the year


def build_columns(calls: SampleCalls, prices: PriceBook) -> dict[str, list[Any]]:
    """Build columns of `usage_logs` as stored, the rows of each call together."""
    status, kind = _draw_endings(calls)
    is_retried = np.isin(kind, (1, 2, 3, 5)) & (calls.second < 0.62)
    recovers = is_retried & (calls.second < 0.54)
    call = np.repeat(np.arange(len(status)), 1 + is_retried)  # row → its call
    attempt = np.ones(len(call), dtype=np.int64)
    attempt[1:] += call[1:] == call[:-1]
    is_second = attempt == 2
    is_final = is_second | ~is_retried[call]
    status = np.where(is_second & recovers[call], _OK, status[call])
    kind = np.where(is_second & recovers[call], 0, kind[call])
    model = calls.model[call]
    app = calls.app[call]
    second = calls.second[call]
    hit = (status == _OK) & ~is_second & (second > 1 - np.array([sample_app.cache_share for sample_app in APPS])[app])
    took, first, completion = _compute_timing(calls, call, status, hit)
    started = calls.start_ms[call]
    started[is_second] += took[np.flatnonzero(is_second) - 1] + 1000
    is_answer = np.isin(status, (_OK, _CANCELLED, _TRUNCATED))
    count = len(call)
    served = _build_array([sample_model.model for sample_model in MODELS])[model]
    columns = {
        "id": _build_ids(started, attempt, calls.entropy[call]),
        "call_id": _build_ids(calls.start_ms[call], np.zeros(count, dtype=np.int64), calls.entropy[call]),
        "attempt": attempt.tolist(),
        "is_final": is_final.tolist(),
        "started_at": _format_moments(started),
        "finished_at": _format_moments(started + took),
        "app": _build_array([sample_app.name for sample_app in APPS])[app].tolist(),
        "user_id": _build_array([derive_demo_user_id(name) for name in PEOPLE])[calls.person[call]].tolist(),
        "origin": _build_array([sample_app.origin for sample_app in APPS])[app].tolist(),
        "workflow_step": _build_array(["extract" if sample_app.origin == "workflow" else None for sample_app in APPS])[
            app
        ].tolist(),
        "provider": _build_array([sample_model.provider for sample_model in MODELS])[model].tolist(),
        "model": served.tolist(),
        "served_model": _blank_unknown(served, status == _OK),
        "streamed": [True] * count,
        "parameters": ['{"temperature":0.2}'] * count,
        "tags": ['{"sample":"yes"}'] * count,
        "status": _build_array(_STATUSES)[status].tolist(),
        "error_kind": _build_array(_KINDS)[kind].tolist(),
        "error_message": _build_messages()[model, kind].tolist(),
        "execution_time_ms": took.tolist(),
        "first_token_ms": _blank_unknown(first, is_answer),
        "chunks": _blank_unknown(completion, is_answer & ~hit),
        "finish_reason": _blank_unknown(_build_array(["stop"])[np.zeros_like(status)], status == _OK),
        "batch_id": [BATCH] * count,
        "cache": _build_array(["none", "exact"])[hit.astype(int)].tolist(),
        **_price_rows(calls, call, status, hit, completion, prices),
    }
    check_columns(columns)
    return columns


def _draw_endings(calls: SampleCalls) -> tuple[Any, Any]:
    """Draw the first attempt's status and kind of error, as indexes in their lists."""
    share = np.array([sample_model.failure_share for sample_model in MODELS])[calls.model]
    failed = calls.luck < share * 1.6
    which = np.minimum(np.searchsorted(_FAILURES, calls.kind, side="right"), 4)
    status = np.where(failed, which + 1, _OK)
    error = 1 + np.minimum((calls.kind / _FAILURES[0] * 4).astype(int), 3)
    kind = np.select(
        [status == _ERROR, status == _TIMEOUT, status == _TRUNCATED, status == _REFUSED], [error, 5, 6, 7], 0
    )
    return status, kind


def _compute_timing(calls: SampleCalls, call: Any, status: Any, hit: Any) -> tuple[Any, Any, Any]:
    """Compute milliseconds in all and to the first token, and the completion tokens that arrived."""
    model = calls.model[call]
    slowness = calls.slowness[call]
    drawn_completion = calls.completion[call]
    completion = np.where(status == _OK, drawn_completion, np.maximum(1, drawn_completion // 3))
    first = (np.array([sample_model.first_token_ms for sample_model in MODELS])[model] * slowness).astype(np.int64)
    pace = np.array([sample_model.tokens_per_s for sample_model in MODELS])[model]
    whole = first + (completion / pace * 1000 * slowness).astype(np.int64)
    broken = [hit, status == _REFUSED, status == _TIMEOUT, status == _ERROR]
    took = np.select(broken, [6, 2, 60_000, (280 * slowness).astype(np.int64)], whole)
    none = np.isin(status, (_REFUSED, _TIMEOUT, _ERROR))
    return took, np.where(hit, 4, first), np.where(none, 0, np.where(hit, drawn_completion, completion))


def _price_rows(
    calls: SampleCalls, call: Any, status: Any, hit: Any, completion: Any, prices: PriceBook
) -> dict[str, list[Any]]:
    """Compute tokens, cost and how they are known, by the rules of a live call."""
    model = calls.model[call]
    second = calls.second[call]
    prompt = calls.prompt[call]
    caches = np.array([sample_model.caches_prompts for sample_model in MODELS])[model] & (second < 0.45)
    cached = np.where(caches, (prompt * (0.4 + second / 2)).astype(np.int64), 0)
    nano = np.zeros(len(call), dtype=np.int64)
    how = np.full(len(call), "unpriced", dtype=object)
    price_id = np.full(len(call), None, dtype=object)
    at = calls.start + timedelta(days=365 * float(calls.year_part[0]))
    for number, sample_model in enumerate(MODELS):
        price = prices.price(sample_model.provider, sample_model.model, at.astimezone(UTC))
        was_dearer = (model == number) & (calls.year_part[call] < sample_model.price_fell_at)
        for rows, factor in ((was_dearer, sample_model.price_before), ((model == number) & ~was_dearer, 1)):
            if price is None or not rows.any():
                continue
            nano[rows] = factor * _compute_cost(price, prompt[rows], completion[rows], cached[rows])
            how[rows] = "free" if price.is_free else "priced"
            price_id[rows] = price.price_id if factor == 1 else f"{price.price_id}, before it fell"
    is_known = how != "unpriced"
    is_free = hit | np.isin(status, (_ERROR, _REFUSED))
    is_told = ~is_free
    estimated = (status != _OK) & ~is_free
    source = np.where(is_free, "none", np.where(estimated, "estimated", "provider"))
    return {
        "prompt_tokens": _blank_unknown(prompt, is_told),
        "completion_tokens": _blank_unknown(completion, is_told),
        "total_tokens": _blank_unknown(prompt + completion, is_told),
        "cache_read_tokens": _blank_unknown(cached, is_told),
        "cache_write_tokens": _blank_unknown(np.zeros_like(cached), is_told),
        "reasoning_tokens": _blank_unknown(np.zeros_like(cached), is_told),
        "usage_source": source.tolist(),
        "cost_nano_usd": _blank_unknown(np.where(is_free, 0, nano), is_free | is_known),
        "cost_status": np.where(is_free, "free", np.where(estimated & (how == "priced"), "estimated", how)).tolist(),
        "price_id": _blank_unknown(price_id, ~is_free),
        "saved_nano_usd": _blank_unknown(nano, hit & is_known),
    }


def _compute_cost(price: Price, prompt: Any, completion: Any, cached: Any) -> Any:
    """Compute the exact cost of each call in nano-dollars."""
    total = np.zeros_like(prompt)
    for tier in price.plain_tiers:  # the prompt's length decides for the whole call
        rates = tier.rates
        read = rates.input if rates.cache_read is None else rates.cache_read
        tokens = (prompt - cached) * rates.input + cached * read + completion * rates.output
        exact = _round_half_even(tokens) + (rates.request or 0)
        total = np.where((prompt > tier.above_tokens) | (tier.above_tokens == 0), exact, total)
    return total


def _round_half_even(tokens: Any) -> Any:
    whole, remainder = np.divmod(tokens, _MILLION)
    return whole + ((remainder > _MILLION // 2) | ((remainder == _MILLION // 2) & (whole % 2 == 1)))


def _build_ids(milliseconds: Any, counter: Any, entropy: Any) -> list[str]:
    """Build the UUIDv7 text of `clock.make_id_at` for many."""
    high = (milliseconds.astype(np.uint64) << np.uint64(16)) | np.uint64(0x7000) | counter.astype(np.uint64)
    low = np.uint64(1 << 63) | entropy
    octets = np.stack([high, low], axis=1).astype(">u8").view(np.uint8)
    text = np.full((len(octets), 36), ord("-"), dtype=np.uint8)
    text[:, _DASHED] = np.stack([_DIGITS[octets >> 4], _DIGITS[octets & 15]], axis=2).reshape(len(octets), 32)
    ids: list[str] = text.view("S36").ravel().astype("U36").tolist()
    return ids


def _format_moments(milliseconds: Any) -> list[str]:
    """Write moments in UTC as the store does."""
    text = np.datetime_as_string(milliseconds.astype("datetime64[ms]").astype("datetime64[us]")).astype("S26")
    signs = text.view(np.uint8).reshape(-1, 26)
    signs[:, 10] = ord(" ")
    moments: list[str] = signs.view("S26").ravel().astype("U26").tolist()
    return moments


def _build_messages() -> Any:
    """Build the error messages of each model and kind of error."""
    return np.array(
        [
            [kind and _MESSAGES[kind].format(sample_model.provider.capitalize()) for kind in _KINDS]
            for sample_model in MODELS
        ],
        dtype=object,
    )


def _build_array(names: Any) -> Any:
    return np.array(names, dtype=object)


def _blank_unknown(values: Any, mask: Any) -> list[Any]:
    cells = values.astype(object)
    cells[~mask] = None
    listed: list[Any] = cells.tolist()
    return listed
