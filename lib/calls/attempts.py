"""Sending a call: attempts under deadlines, each its own row, until one ends it.

A failure that may pass (rate limit, overload, server error, no connection) is tried again after a pause, as long as
nothing of an answer has come; after the first token there is no second try, so no text is ever doubled. Pauses grow
from half a second, carry jitter, and honour Retry-After up to a cap.
"""

import asyncio
import logging
import random
import traceback
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from typing import Any, cast

from lib.calls.ledger import Ledger
from lib.calls.live import AttemptState, LiveCall
from lib.calls.outcome import Ending, closing_of, ending_of, opening_row, summary
from lib.calls.request import Deadlines
from lib.errors import ErrorKind, ProviderError
from lib.providers.adapters import adapter_for
from lib.providers.chunks import Chunk
from lib.providers.prices import PriceBook
from lib.providers.redaction import redact

log = logging.getLogger(__name__)

_RETRIED = {ErrorKind.RATE_LIMIT, ErrorKind.OVERLOADED, ErrorKind.SERVER_ERROR, ErrorKind.CONNECTION}
_FIRST_PAUSE_S, _LONGEST_PAUSE_S, _LONGEST_RETRY_AFTER_S = 0.5, 8.0, 30.0
_CHECKPOINT_MS = 500
_NEVER_SENT = Ending("cancelled", None, "Stopped before it was sent.", sent=False)


async def run_call(call: LiveCall, ledger: Ledger, prices: PriceBook, owner: str, opened: asyncio.Event) -> None:
    """Send the call to its end; every attempt is opened, closed once, and the last one ends the call.

    `opened` is set when the first row is written. An opening that can't be written is raised and nothing is sent.
    """
    last = call.plan.request.max_attempts
    for number in range(1, last + 1):
        call.attempt = AttemptState(number)
        unsent = await _open(call, ledger, owner)
        opened.set()
        failure = await _attempt(call, ledger) if unsent is None else None
        ending = unsent or ending_of(call.attempt, failure)
        again = number < last and may_retry(call.attempt, failure) and not call.stop_requested
        closing = closing_of(call, ending, prices, is_final=not again)
        ledger.close(closing)
        call.note("closed", summary(closing.row))
        if not again:
            call.finish(closing.row)
            return
        await _pause(call, cast(ProviderError, failure), number)


async def _open(call: LiveCall, ledger: Ledger, owner: str) -> Ending | None:
    """Write the opening row even if Stop comes meanwhile; why nothing may be sent, or None when it may."""
    writing = asyncio.ensure_future(ledger.open(opening_row(call, owner)))
    try:
        await asyncio.wait({writing})
    except asyncio.CancelledError:
        await asyncio.wait({writing})
    if (error := writing.exception()) is not None:
        if call.attempt.number == 1:
            raise error
        return Ending(
            "error", ErrorKind.INTERNAL.value, "The next attempt could not be logged, so it was not sent.", False
        )
    call.note("opened", f"attempt {call.attempt.number}, log {call.attempt.log_id[:8]}")
    return _NEVER_SENT if call.stop_requested else None


async def _attempt(call: LiveCall, ledger: Ledger) -> BaseException | None:
    """One upstream request; what ended it, or None when the stream ran to its end. Cancellation is an ending too."""
    try:
        stream = adapter_for(call.plan.endpoint.kind).stream(call.plan.endpoint, call.plan.model_request)
        call.note("sent", f"{call.plan.endpoint.name} · {call.plan.model_request.model}")
        await _consume(stream, call, ledger)
    except asyncio.CancelledError as stop:
        call.note("stopped")
        return stop
    except ProviderError as error:
        call.note("failed", f"{error.kind.value}: {error}")
        return error
    except Exception as bug:  # the call's boundary: the row must close whatever happens
        log.error("call %s failed:\n%s", call.call_id, redact("".join(traceback.format_exception(bug))))
        call.note("failed", type(bug).__name__)
        return bug
    return None


async def _consume(stream: AsyncIterator[Chunk], call: LiveCall, ledger: Ledger) -> None:
    """Read the stream under its three deadlines; passing one closes the stream and raises ProviderError."""
    limits, attempt, clock = call.plan.request.deadlines, call.attempt, asyncio.get_running_loop().time
    end = clock() + limits.total_s
    try:
        async with (
            asyncio.timeout_at(min(clock() + limits.first_token_s, end)) as deadline,
            aclosing(cast(Any, stream)),
        ):
            async for chunk in stream:
                _take(call, chunk, ledger)
                if attempt.has_content:
                    deadline.reschedule(min(clock() + limits.idle_s, end))
    except TimeoutError as error:
        raise _timed_out(attempt, limits, total=clock() >= end) from error


def _take(call: LiveCall, chunk: Chunk, ledger: Ledger) -> None:
    attempt, waiting = call.attempt, not call.attempt.has_content
    attempt.take(chunk)
    if not attempt.has_content:
        return
    if waiting:
        call.note("first token", f"{attempt.first_token_ms} ms")
        attempt.checkpointed_ms = attempt.elapsed_ms
    elif attempt.chunks % 25 == 0:
        call.note("chunks", str(attempt.chunks))
    if attempt.elapsed_ms - attempt.checkpointed_ms >= _CHECKPOINT_MS:
        ledger.checkpoint(attempt.log_id, call.checkpoint())


def _timed_out(attempt: AttemptState, limits: Deadlines, *, total: bool) -> ProviderError:
    fix = "Try again, choose a faster model, or raise the deadline."
    if total:
        why = f"The answer was not complete after {limits.total_s:g} s."
        return ProviderError(ErrorKind.TIMEOUT_TOTAL, "The call took too long.", why, fix)
    if not attempt.has_content:
        why = f"Nothing arrived within {limits.first_token_s:g} s."
        return ProviderError(ErrorKind.TIMEOUT_FIRST_TOKEN, "The provider did not begin to answer.", why, fix)
    why = f"Nothing arrived for {limits.idle_s:g} s."
    return ProviderError(ErrorKind.TIMEOUT_IDLE, "The provider stopped in mid-answer.", why, fix)


def may_retry(attempt: AttemptState, failure: BaseException | None) -> bool:
    """Whether a failed attempt may be followed by another."""
    return isinstance(failure, ProviderError) and failure.kind in _RETRIED and not attempt.has_content


def pause_s(failure: ProviderError, number: int, spread: float) -> float:
    """Seconds before attempt `number + 1`; `spread` in [0, 1) is the jitter's throw."""
    if failure.retry_after is not None:
        return min(failure.retry_after, _LONGEST_RETRY_AFTER_S)
    return float(min(_FIRST_PAUSE_S * 2 ** (number - 1), _LONGEST_PAUSE_S) * (0.5 + spread / 2))


async def _pause(call: LiveCall, failure: ProviderError, number: int) -> None:
    """Wait before the next attempt; Stop ends the wait."""
    seconds = pause_s(failure, number, random.random())  # noqa: S311 (jitter, not a secret)
    call.note("waiting", f"{seconds:.1f} s before attempt {number + 1}")
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(seconds)
