"""Sample calls as rows: one attempt or two, how each ends, how long it takes, what it costs; a column at a time.

The rules of tokens and money are those of a live call (`calls.outcome`): what was refused before an answer costs an
explicit zero, what is cut or stopped is estimated, what has no price stays unknown. Sums are exact integers, rounded
once, half to even, as in `money.tokens_cost_nano`; a test holds both against each other.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from lib.demo.catalogue import APPS, BATCH, MODELS, PEOPLE, demo_user_id
from lib.providers.price_book import PriceBook
from lib.providers.prices import Price

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
class Calls:
    """What was drawn for each call: arrays of one length; `app`, `person` and `model` are places in the catalogue."""

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


def columns(calls: Calls, prices: PriceBook) -> dict[str, list[Any]]:
    """Columns of `usage_logs` as stored, the rows of each call together."""
    status, kind = _endings(calls)
    is_retried = np.isin(kind, (1, 2, 3, 5)) & (calls.second < 0.62)
    recovers = is_retried & (calls.second < 0.54)
    call = np.repeat(np.arange(len(status)), 1 + is_retried)  # row → its call
    attempt = np.ones(len(call), dtype=np.int64)
    attempt[1:] += call[1:] == call[:-1]
    is_second = attempt == 2
    is_final = is_second | ~is_retried[call]
    status = np.where(is_second & recovers[call], _OK, status[call])
    kind = np.where(is_second & recovers[call], 0, kind[call])
    model, app, second = calls.model[call], calls.app[call], calls.second[call]
    hit = (status == _OK) & ~is_second & (second > 1 - np.array([one.cache_share for one in APPS])[app])
    took, first, completion = _timing(calls, call, status, hit)
    started = calls.start_ms[call]
    started[is_second] += took[np.flatnonzero(is_second) - 1] + 1000
    is_answer = np.isin(status, (_OK, _CANCELLED, _TRUNCATED))
    count = len(call)
    served = _names([one.model for one in MODELS])[model]
    return {
        "id": _ids(started, attempt, calls.entropy[call]),
        "call_id": _ids(calls.start_ms[call], np.zeros(count, dtype=np.int64), calls.entropy[call]),
        "attempt": attempt.tolist(),
        "is_final": is_final.tolist(),
        "started_at": _moments(started),
        "finished_at": _moments(started + took),
        "app": _names([one.name for one in APPS])[app].tolist(),
        "user_id": _names([demo_user_id(name) for name in PEOPLE])[calls.person[call]].tolist(),
        "origin": _names([one.origin for one in APPS])[app].tolist(),
        "workflow_step": _names(["extract" if one.origin == "workflow" else None for one in APPS])[app].tolist(),
        "provider": _names([one.provider for one in MODELS])[model].tolist(),
        "model": served.tolist(),
        "served_model": _known(served, status == _OK),
        "streamed": [True] * count,
        "parameters": ['{"temperature":0.2}'] * count,
        "tags": ['{"sample":"yes"}'] * count,
        "status": _names(_STATUSES)[status].tolist(),
        "error_kind": _names(_KINDS)[kind].tolist(),
        "error_message": _messages()[model, kind].tolist(),
        "execution_time_ms": took.tolist(),
        "first_token_ms": _known(first, is_answer),
        "chunks": _known(completion, is_answer & ~hit),
        "finish_reason": _known(_names(["stop"])[np.zeros_like(status)], status == _OK),
        "batch_id": [BATCH] * count,
        "cache": _names(["none", "exact"])[hit.astype(int)].tolist(),
        **_money(calls, call, status, hit, completion, prices),
    }


def _endings(calls: Calls) -> tuple[Any, Any]:
    """The first attempt's status and kind of error, as places in their lists."""
    share = np.array([one.failure_share for one in MODELS])[calls.model]
    failed = calls.luck < share * 1.6
    which = np.minimum(np.searchsorted(_FAILURES, calls.kind, side="right"), 4)
    status = np.where(failed, which + 1, _OK)
    error = 1 + np.minimum((calls.kind / _FAILURES[0] * 4).astype(int), 3)
    kind = np.select(
        [status == _ERROR, status == _TIMEOUT, status == _TRUNCATED, status == _REFUSED], [error, 5, 6, 7], 0
    )
    return status, kind


def _timing(calls: Calls, call: Any, status: Any, hit: Any) -> tuple[Any, Any, Any]:
    """Milliseconds in all and to the first token, and completion tokens that arrived."""
    model, slowness, asked = calls.model[call], calls.slowness[call], calls.completion[call]
    completion = np.where(status == _OK, asked, np.maximum(1, asked // 3))
    first = (np.array([one.first_token_ms for one in MODELS])[model] * slowness).astype(np.int64)
    pace = np.array([one.tokens_per_s for one in MODELS])[model]
    whole = first + (completion / pace * 1000 * slowness).astype(np.int64)
    broken = [hit, status == _REFUSED, status == _TIMEOUT, status == _ERROR]
    took = np.select(broken, [6, 2, 60_000, (280 * slowness).astype(np.int64)], whole)
    none = np.isin(status, (_REFUSED, _TIMEOUT, _ERROR))
    return took, np.where(hit, 4, first), np.where(none, 0, np.where(hit, asked, completion))


def _money(calls: Calls, call: Any, status: Any, hit: Any, completion: Any, prices: PriceBook) -> dict[str, list[Any]]:
    """Tokens, cost and how they are known, by the rules of a live call."""
    model, second, prompt = calls.model[call], calls.second[call], calls.prompt[call]
    caches = np.array([one.caches_prompts for one in MODELS])[model] & (second < 0.45)
    cached = np.where(caches, (prompt * (0.4 + second / 2)).astype(np.int64), 0)
    nano = np.zeros(len(call), dtype=np.int64)
    how, price_id = np.full(len(call), "unpriced", dtype=object), np.full(len(call), None, dtype=object)
    at = calls.start + timedelta(days=365 * float(calls.year_part[0]))
    for number, one in enumerate(MODELS):
        price = prices.price(one.provider, one.model, at.astimezone(UTC))
        was_dearer = (model == number) & (calls.year_part[call] < one.price_fell_at)
        for rows, factor in ((was_dearer, one.price_before), ((model == number) & ~was_dearer, 1)):
            if price is None or not rows.any():
                continue
            nano[rows] = factor * _cost(price, prompt[rows], completion[rows], cached[rows])
            how[rows] = "free" if price.is_free else "priced"
            price_id[rows] = price.price_id if factor == 1 else f"{price.price_id}, before it fell"
    is_known = how != "unpriced"
    is_free = hit | np.isin(status, (_ERROR, _REFUSED))
    is_told, estimated = ~is_free, (status != _OK) & ~is_free
    source = np.where(is_free, "none", np.where(estimated, "estimated", "provider"))
    return {
        "prompt_tokens": _known(prompt, is_told),
        "completion_tokens": _known(completion, is_told),
        "total_tokens": _known(prompt + completion, is_told),
        "cache_read_tokens": _known(cached, is_told),
        "cache_write_tokens": _known(np.zeros_like(cached), is_told),
        "reasoning_tokens": _known(np.zeros_like(cached), is_told),
        "usage_source": source.tolist(),
        "cost_nano_usd": _known(np.where(is_free, 0, nano), is_free | is_known),
        "cost_status": np.where(is_free, "free", np.where(estimated & (how == "priced"), "estimated", how)).tolist(),
        "price_id": _known(price_id, ~is_free),
        "saved_nano_usd": _known(nano, hit & is_known),
    }


def _cost(price: Price, prompt: Any, completion: Any, cached: Any) -> Any:
    """The exact cost of each call in nano-dollars."""
    total = np.zeros_like(prompt)
    for tier in price.plain_tiers:  # the prompt's length decides for the whole call
        rates = tier.rates
        read = rates.input if rates.cache_read is None else rates.cache_read
        tokens = (prompt - cached) * rates.input + cached * read + completion * rates.output
        exact = _half_even(tokens) + (rates.request or 0)
        total = np.where((prompt > tier.above_tokens) | (tier.above_tokens == 0), exact, total)
    return total


def _half_even(tokens: Any) -> Any:
    whole, rest = np.divmod(tokens, _MILLION)
    return whole + ((rest > _MILLION // 2) | ((rest == _MILLION // 2) & (whole % 2 == 1)))


def _ids(milliseconds: Any, counter: Any, entropy: Any) -> list[str]:
    """`clock.id_at` for many: UUIDv7 text."""
    high = (milliseconds.astype(np.uint64) << np.uint64(16)) | np.uint64(0x7000) | counter.astype(np.uint64)
    low = np.uint64(1 << 63) | entropy
    octets = np.stack([high, low], axis=1).astype(">u8").view(np.uint8)
    text = np.full((len(octets), 36), ord("-"), dtype=np.uint8)
    text[:, _DASHED] = np.stack([_DIGITS[octets >> 4], _DIGITS[octets & 15]], axis=2).reshape(len(octets), 32)
    found: list[str] = text.view("S36").ravel().astype("U36").tolist()
    return found


def _moments(milliseconds: Any) -> list[str]:
    """UTC as the store writes it."""
    text = np.datetime_as_string(milliseconds.astype("datetime64[ms]").astype("datetime64[us]")).astype("S26")
    signs = text.view(np.uint8).reshape(-1, 26)
    signs[:, 10] = ord(" ")
    found: list[str] = signs.view("S26").ravel().astype("U26").tolist()
    return found


def _messages() -> Any:
    """Words of each model and kind of error."""
    return np.array(
        [[kind and _MESSAGES[kind].format(one.provider.capitalize()) for kind in _KINDS] for one in MODELS],
        dtype=object,
    )


def _names(names: Any) -> Any:
    return np.array(names, dtype=object)


def _known(values: Any, where: Any) -> list[Any]:
    found = values.astype(object)
    found[~where] = None
    listed: list[Any] = found.tolist()
    return listed
