"""One attempt of a call: `open` writes its row and holds its money, `read` passes its pieces on, `close` ends it.

Each is called at most once, in this order; an attempt that was opened is closed whatever happens in between.
"""

import asyncio
import logging
import traceback
from collections.abc import Coroutine
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar, cast

from msgspec.structs import asdict

from lib.access.limits import Claim
from lib.budgets.budget import CallFacts
from lib.calls.attempt_closing import Ending, fill_identity, format_summary, make_circuit_ending, make_closing
from lib.calls.deadline import Deadline
from lib.calls.live_call import AttemptState, LiveCall
from lib.calls.observed_usage import ObservedUsage
from lib.calls.routing import NextAttempt
from lib.calls.sources import AnswerSource
from lib.calls.step_answer import make_step_row
from lib.clock import shorten_id, utc_now
from lib.configs.routing import Deadlines
from lib.errors import ErrorKind, ProviderError
from lib.ledger.admission import OpeningDecision, OpeningRequest
from lib.ledger.closing import Closing
from lib.ledger.content_policy import REDACTED, is_masking_slow
from lib.ledger.step_results import StepResults
from lib.ledger.usage_row import UsageRow
from lib.ledger.writer import Ledger
from lib.providers.chunks import Passed, Piece
from lib.providers.circuits import Circuit
from lib.providers.prices.price_book import PriceBook
from lib.providers.redaction import redact

log = logging.getLogger(__name__)

_T = TypeVar("_T")
_CHECKPOINT_MS = 500
WRITTEN_WITHIN_S = 5.0  # what a closing may take to the disk before its call is told of an error
_UNRECORDED = (
    "The answer came, but its end could not be written: the disk is full, or the data folder can't be written. "
    "Free some space, then try again."
)
_NEVER_SENT = Ending("cancelled", None, "Stopped before it was sent.", sent=False)
_NOT_LOGGED = Ending(
    "error", ErrorKind.INTERNAL.value, "The next attempt could not be logged, so it was not sent.", False
)


@dataclass(frozen=True, slots=True)
class CallPath:
    """What the attempts of a process share; `owner` is the process, as rows of `open_calls` name it.

    `results` keeps what steps of runs are answered.
    """

    ledger: Ledger
    prices: PriceBook
    observed: ObservedUsage
    upstream: AnswerSource
    owner: str
    results: StepResults | None = None


class Attempt:
    """The attempt that `call.attempt` is the buffer of."""

    __slots__ = ("_call", "_path", "_source")

    def __init__(self, call: LiveCall, step: NextAttempt, number: int, path: CallPath) -> None:
        self._call = call
        self._path = path
        self._source = step.source or path.upstream
        if number > 1 or call.attempt.target is not step.target:
            call.attempt = AttemptState(number, step.target)
            call.claim = None
        call.attempt.cache = self._source.cache
        call.attempt.age_s = self._source.age_s
        call.retry_after = None

    async def open(self, circuit: Circuit | None) -> Ending | None:
        """Write the opening row even if Stop comes meanwhile; why nothing may be sent, or None when it may.

        `circuit` is the open one of a target that would have to be left alone.
        """
        call = self._call
        ask = self._make_request()
        lane = self._source.find_lane(call)
        row = {
            **asdict(fill_identity(call, lane)),
            "owner": self._path.owner,
            "holds": [],
            "request": call.request_kept,
        }
        answer = self._path.ledger.open_at_once(row, ask)
        if answer is None:
            try:
                answer = await _await_opening(self._path.ledger.open(row, ask))
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
        call.note("opened", f"attempt {call.attempt.number}, log {shorten_id(call.attempt.log_id)}")
        return self._find_obstacle(circuit, is_bounded=answer.is_bounded or call.plan.request.bounded)

    def _find_obstacle(self, circuit: Circuit | None, *, is_bounded: bool) -> Ending | None:
        """Why an attempt that is open is not sent, or None."""
        call = self._call
        if circuit is not None:
            call.note("refused", "its circuit is open")
            call.retry_after = (circuit.open_until - utc_now()).total_seconds()
            return make_circuit_ending(circuit, call.attempt.target.endpoint.name)
        if is_bounded and (refusal := self._source.limit(call)) is not None:
            call.note("refused", refusal.title)
            call.retry_after = refusal.wait_s
            return Ending("refused", ErrorKind.BUDGET.value, str(refusal), sent=False)
        return _NEVER_SENT if call.stop_requested or _is_being_cancelled() else None

    def _make_request(self) -> OpeningRequest:
        """Build the request to budgets for this attempt, and to limits where no attempt of the call was counted yet."""
        call = self._call
        attempt = call.attempt
        plan = call.plan
        key = plan.request.actor.key
        bound = self._source.bound(call)
        attempt.most = (bound.prompt_tokens, bound.answer_tokens)
        attempt.is_bounded = bound.has_ceiling
        key_id = key.key_id if key else None
        facts = CallFacts(
            attempt.target.endpoint.name,
            plan.app,
            plan.configuration.id or None,
            call.user_id,
            key_id,
            team_id=plan.request.actor.team_id,
        )
        claim = None if call.is_counted else Claim(plan.app, bound.claimed_tokens, key, plan.request.actor.team_id)
        is_counted_open = key is not None and key.limits.concurrency is not None
        return OpeningRequest(attempt.log_id, facts, bound.amount_nano, claim, is_counted_open, bound.wished_nano)

    async def read(self, end: float) -> BaseException | None:
        """Read the answer to its end, at the latest until `end` (loop time).

        What ended it early, a cancellation too, or None when it came to its end.
        """
        call = self._call
        target = call.attempt.target
        try:
            stream = self._source.read(call)
            call.note("sent", f"{target.endpoint.name} · {target.model_request.model}")
            await self._consume(stream, end)
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

    async def _consume(self, stream: Any, end: float) -> None:
        """Read the stream under its three deadlines; passing one closes the stream and raises ProviderError."""
        call = self._call
        limits = call.plan.routing.deadlines
        attempt = call.attempt
        loop = asyncio.get_running_loop()
        clock = loop.time
        try:
            with Deadline(min(clock() + limits.first_token_s, end), loop) as deadline:
                async with aclosing(cast(Any, stream)):
                    async for piece in stream:
                        self._take(attempt, piece)
                        if call.listener is not None:
                            deadline.due = end  # a slow client is not a slow provider
                            await call.listener.take(piece)
                        if attempt.has_content:
                            deadline.due = min(clock() + limits.idle_s, end)
        except TimeoutError as error:
            raise _make_timeout_error(attempt, limits, total=clock() >= end) from error

    def _take(self, attempt: AttemptState, piece: Piece) -> None:
        waiting = not attempt.has_content
        for chunk in piece.chunks if isinstance(piece, Passed) else (piece,):
            attempt.take(chunk)
        if not attempt.has_content:
            return
        if waiting:
            self._call.note("first token", f"{attempt.first_token_ms} ms")
            attempt.checkpointed_ms = attempt.elapsed_ms
        elif attempt.chunks % 25 == 0:
            self._call.note("chunks", str(attempt.chunks))
        if attempt.elapsed_ms - attempt.checkpointed_ms >= _CHECKPOINT_MS:
            self._path.ledger.checkpoint(attempt.log_id, self._call.checkpoint())

    async def close(self, ending: Ending, *, is_final: bool) -> UsageRow:
        """Price the attempt and hand its row to the ledger; a call's last one is on disk, or says so, after that."""
        call = self._call
        attempt = call.attempt
        saved = self._source.compute_saved_nano(call) if ending.status == "ok" else None
        make = partial(make_closing, call, ending, self._path.prices, is_final=is_final, saved_nano=saved)
        if call.content_policy == REDACTED and is_masking_slow(REDACTED, attempt.characters):
            closing = await finish_uncancelled(asyncio.to_thread(make))
        else:
            closing = make()
        closing.step = make_step_row(call, closing.row, self._path.results)
        self._path.observed.take(call, closing.row)
        in_memory = self._path.ledger.close(closing)
        if in_memory is not None and is_final:
            await _wait_until_written(closing, in_memory)
        if call.is_watched:
            call.note("closed", format_summary(closing.row))
        return closing.row


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


async def finish_uncancelled(work: Coroutine[Any, Any, _T]) -> _T:
    """The result of something short that must not be left half done; a Stop meanwhile is in `stop_requested`."""
    future = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        await asyncio.wait({future})
        return future.result()


def _check_began(attempt: AttemptState) -> None:
    """A stream that ended without a word and without saying that it had finished never began."""
    if not attempt.has_content and attempt.finish_reason is None:
        raise ProviderError(
            ErrorKind.STREAM_CUT,
            f"{attempt.target.endpoint.name} ended before it began to answer.",
            "The connection closed without a word.",
            "Try again.",
        )


def _make_timeout_error(attempt: AttemptState, limits: Deadlines, *, total: bool) -> ProviderError:
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
    await finish_uncancelled(asyncio.wait({written}, timeout=WRITTEN_WITHIN_S))
    if not written.done() and closing.row.status == "ok":
        closing.row.status = "error"
        closing.row.error_kind = ErrorKind.UNRECORDED.value
        closing.row.error_message = _UNRECORDED
