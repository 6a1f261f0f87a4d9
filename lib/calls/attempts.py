"""Sending a call: attempts under deadlines, each its own row, until one ends it.

`lib.calls.routing` says where each attempt goes and whether there is another; here it is opened, sent, read and closed
exactly once, whatever happens in between.
"""

import asyncio
import logging
import traceback
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import aclosing, suppress
from typing import Any, TypeVar, cast

from lib.calls.attempt_closing import Ending, format_summary, make_circuit_ending, make_closing, make_ending
from lib.calls.attempt_opening import bound_attempt, make_opening_request, make_opening_row
from lib.calls.deadline import Deadline
from lib.calls.live_call import AttemptState, LiveCall
from lib.calls.observed_usage import ObservedUsage
from lib.calls.routing import NextAttempt, Route
from lib.clock import short_id, utc_now
from lib.configs.routing import Deadlines
from lib.errors import ErrorKind, ProviderError, Throttled
from lib.ledger.admission import OpeningDecision
from lib.ledger.closing import Closing
from lib.ledger.content_policy import takes_long
from lib.ledger.writer import Ledger
from lib.providers.adapters import adapter_for
from lib.providers.chunks import (
    Adapter,
    EmbeddingRequest,
    Endpoint,
    Finish,
    ModelRequest,
    OmittedParameters,
    Passed,
    Piece,
    ServedModel,
    UsageReport,
    Vectors,
)
from lib.providers.prices.price_book import PriceBook
from lib.providers.redaction import redact

log = logging.getLogger(__name__)

_T = TypeVar("_T")
_CHECKPOINT_MS = 500
_WRITTEN_WITHIN_S = 5.0
_UNRECORDED = (
    "The answer came, but its end could not be written: the disk is full, or the data folder can't be written. "
    "Free some space, then try again."
)
_NEVER_SENT = Ending("cancelled", None, "Stopped before it was sent.", sent=False)
_NOT_LOGGED = Ending(
    "error", ErrorKind.INTERNAL.value, "The next attempt could not be logged, so it was not sent.", False
)


async def run_call(
    call: LiveCall,
    route: Route,
    ledger: Ledger,
    prices: PriceBook,
    owner: str,
    observed: ObservedUsage,
    opened: Callable[[], None] = lambda: None,
) -> None:
    """Send the call to its end; every attempt is opened, closed once, and the last one ends the call.

    `opened` is called when the first row is written. An opening that can't be written is raised and nothing is sent.
    """
    step = await _take_first_step(call, route)
    number = 0
    while step is not None:
        number += 1
        call.retry_after = None
        if number > 1 or call.attempt.target is not step.target:
            call.attempt = AttemptState(number, step.target)
            call.claim = None
        try:
            unsent = await _open(call, step, ledger, prices, owner, observed)
        except BaseException:
            await _finish_uncancelled(route.give_up(step))
            raise
        opened()
        if unsent is None:
            failure = await _send_attempt(call, route, ledger)
            if isinstance(failure, ProviderError):
                call.retry_after = failure.retry_after
            if failure is None and route.ended_well(step):
                following = None
            else:
                following = await _finish_uncancelled(route.after(step, call.attempt, failure))
        else:
            failure = None
            for_money = unsent.error_kind == ErrorKind.BUDGET
            following = await _finish_uncancelled(route.skip_target(step) if for_money else route.give_up(step))
        if following is not None and call.stop_requested:
            await _finish_uncancelled(route.give_up(following))
            following = None
        ending = unsent or make_ending(call.attempt, failure)
        is_final = following is None
        characters = sum(map(len, call.attempt.text)) + sum(map(len, call.attempt.reasoning))
        if takes_long(call.content_policy, characters):
            closing_in_thread = asyncio.to_thread(make_closing, call, ending, prices, is_final=is_final)
            closing = await _finish_uncancelled(closing_in_thread)
        else:
            closing = make_closing(call, ending, prices, is_final=is_final)
        observed.take(call, closing.row)
        in_memory = ledger.close(closing)
        if in_memory is not None and following is None:
            await _wait_until_written(closing, in_memory)
        if call.is_watched:
            call.note("closed", format_summary(closing.row))
        if following is None:
            call.finish(closing.row)
        elif following.pause_s:
            await _pause(call, following.pause_s, number)
        step = following


async def _take_first_step(call: LiveCall, route: Route) -> NextAttempt | None:
    """The first attempt; a Stop meanwhile (the client went, the server ends) is an error, for nothing was opened."""
    try:
        return await route.first()
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or not call.stop_requested:
            raise
        task.uncancel()
        raise Throttled("The call was stopped before it was sent.", "", "Try again.", retry_after=1) from None


async def _open(
    call: LiveCall, step: NextAttempt, ledger: Ledger, prices: PriceBook, owner: str, observed: ObservedUsage
) -> Ending | None:
    """Write the opening row even if Stop comes meanwhile; why nothing may be sent, or None when it may."""
    ask = make_opening_request(call, prices, observed)
    row = make_opening_row(call, owner)
    answer = ledger.open_at_once(row, ask)
    if answer is None:
        try:
            answer = await _await_opening(ledger.open(row, ask))
        except Exception:
            if call.attempt.number == 1:
                raise
            return _NOT_LOGGED
    if ask.claim is not None:
        call.standing = answer.standing
    if answer.refusal is not None and answer.kind is not None:
        call.note("refused", answer.refusal.title)
        call.retry_after = answer.refusal.wait_s
        return Ending("refused", answer.kind.value, str(answer.refusal), sent=False)
    call.claim = ask.claim
    call.is_counted = True
    call.note("opened", f"attempt {call.attempt.number}, log {short_id(call.attempt.log_id)}")
    if (circuit := step.admission.refused_by) is not None:
        call.note("refused", "its circuit is open")
        call.retry_after = (circuit.open_until - utc_now()).total_seconds()
        return make_circuit_ending(circuit, step.target.endpoint.name)
    is_bounded = answer.is_bounded or call.plan.request.bounded
    if is_bounded and (refusal := bound_attempt(call, prices)) is not None:
        call.note("refused", refusal.title)
        call.retry_after = refusal.wait_s
        return Ending("refused", ErrorKind.BUDGET.value, str(refusal), sent=False)
    return _NEVER_SENT if call.stop_requested or _is_being_cancelled() else None


def _is_being_cancelled() -> bool:
    """Whether a cancellation came while something short was brought to its end."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _await_opening(answer: asyncio.Future[OpeningDecision]) -> OpeningDecision:
    """The decision about an opening; a Stop waits until the row is written or failed, cheaper than a shielded task."""
    try:
        return await answer
    except asyncio.CancelledError:
        return answer.result()


async def _finish_uncancelled(work: Coroutine[Any, Any, _T]) -> _T:
    """The result of something short that must not be left half done; a Stop meanwhile is in `stop_requested`."""
    future = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        await asyncio.wait({future})
        return future.result()


async def _send_attempt(call: LiveCall, route: Route, ledger: Ledger) -> BaseException | None:
    """Send one upstream request; return what ended it (also a cancellation), or None when the stream ran to its end."""
    try:
        endpoint = call.attempt.target.endpoint
        model_request = call.attempt.target.model_request
        adapter = adapter_for(endpoint.kind, model_request)
        embeds = model_request.texts is not None and model_request.wire is None
        stream = _embed(adapter, endpoint, model_request) if embeds else adapter.stream(endpoint, model_request)
        call.note("sent", f"{endpoint.name} · {model_request.model}")
        await _consume(stream, call, route.ends_at, ledger)
        _check_began(call.attempt)
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


async def _embed(adapter: Adapter, endpoint: Endpoint, model_request: ModelRequest) -> AsyncIterator[Piece]:
    """Vectors as a stream of one piece, so that they take the same way as every call."""
    texts = model_request.texts or ()
    embeddings = await adapter.embed(
        endpoint, EmbeddingRequest(model_request.model, texts, model_request.parameters, model_request.drops)
    )
    if embeddings.left_out:
        yield OmittedParameters(embeddings.left_out)
    if embeddings.served_model:
        yield ServedModel(embeddings.served_model)
    yield Vectors(embeddings.vectors)
    if embeddings.usage is not None:
        yield UsageReport(embeddings.usage, cost_nano_usd=embeddings.cost_nano_usd)
    yield Finish("stop")


async def _consume(stream: AsyncIterator[Piece], call: LiveCall, end: float, ledger: Ledger) -> None:
    """Read the stream under its three deadlines; passing one closes the stream and raises ProviderError."""
    limits = call.plan.routing.deadlines
    attempt = call.attempt
    loop = asyncio.get_running_loop()
    clock = loop.time
    try:
        with Deadline(min(clock() + limits.first_token_s, end), loop) as deadline:
            async with aclosing(cast(Any, stream)):
                async for piece in stream:
                    _take(call, piece, ledger)
                    if call.listener is not None:
                        deadline.due = end  # a slow client is not a slow provider
                        await call.listener.take(piece)
                    if attempt.has_content:
                        deadline.due = min(clock() + limits.idle_s, end)
    except TimeoutError as error:
        raise _timeout_error(attempt, limits, total=clock() >= end) from error


def _check_began(attempt: AttemptState) -> None:
    """A stream that ended without a word and without saying that it had finished never began."""
    if not attempt.has_content and attempt.finish_reason is None:
        raise ProviderError(
            ErrorKind.STREAM_CUT,
            f"{attempt.target.endpoint.name} ended before it began to answer.",
            "The connection closed without a word.",
            "Try again.",
        )


def _take(call: LiveCall, piece: Piece, ledger: Ledger) -> None:
    attempt = call.attempt
    waiting = not call.attempt.has_content
    for chunk in piece.said if isinstance(piece, Passed) else (piece,):
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


def _timeout_error(attempt: AttemptState, limits: Deadlines, *, total: bool) -> ProviderError:
    fix = "Try again, choose a faster model, or raise the deadline."
    if total:
        why = f"The answer was not complete after {limits.total_s:g} s."
        return ProviderError(ErrorKind.TIMEOUT_TOTAL, "The call took too long.", why, fix)
    if not attempt.has_content:
        why = f"Nothing arrived within {limits.first_token_s:g} s."
        return ProviderError(ErrorKind.TIMEOUT_FIRST_TOKEN, "The provider did not begin to answer.", why, fix)
    why = f"Nothing arrived for {limits.idle_s:g} s."
    return ProviderError(ErrorKind.TIMEOUT_IDLE, "The provider stopped in mid-answer.", why, fix)


async def _wait_until_written(closing: Closing, written: asyncio.Future[None]) -> None:
    """Nobody is told of an end that a killed process would forget: it is an error unless it gets to the disk soon.

    The answer was paid for, so tokens and cost stay in the row, which is written when there is room again.
    """
    await _finish_uncancelled(asyncio.wait({written}, timeout=_WRITTEN_WITHIN_S))
    if not written.done() and closing.row["status"] == "ok":
        closing.row["status"] = "error"
        closing.row["error_kind"] = ErrorKind.UNRECORDED.value
        closing.row["error_message"] = _UNRECORDED


async def _pause(call: LiveCall, seconds: float, number: int) -> None:
    """Wait before the next attempt; Stop ends the wait."""
    call.note("waiting", f"{seconds:.1f} s before attempt {number + 1}")
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(seconds)
