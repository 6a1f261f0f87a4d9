"""Where each attempt of a call goes: one deployment until it is given up, then the next, then the fallback chain.

A failure that may pass (rate limit, overload, server error, no connection) is tried again at the same target after a
pause that grows, with full jitter, or as long as the provider asks. Where it asks for more than a minute, or than the
call has left, a second try would be a sure failure. What another target may do better (that, a refused key, an unknown
model, no credit, silence) moves on without one; what is wrong with the
request itself (400, 422, a filter) ends the call, and so does anything after the first piece of an answer: no text is
ever doubled or swapped. Targets whose circuit is open are passed over, and so are those that a budget stands against.
"""

import asyncio
import logging
import random
from collections.abc import Callable

from msgspec import Struct

from lib.calls.live_call import AttemptState, LiveCall
from lib.calls.request import Plan, Target
from lib.calls.sources import AnswerMemory, AnswerSource
from lib.clock import utc_now
from lib.errors import ErrorKind, ProviderError
from lib.providers.adapters.router import Pool, Pools, RouterDeployment
from lib.providers.chunks import Usage
from lib.providers.circuits import Admission, AttemptVerdict, Circuits, judge_attempt
from lib.providers.prices.price_book import PriceBook

log = logging.getLogger(__name__)
_RETRIED = {
    ErrorKind.RATE_LIMIT,
    ErrorKind.OVERLOADED,
    ErrorKind.SERVER_ERROR,
    ErrorKind.CONNECTION,
    ErrorKind.STREAM_CUT,
}
_MOVED_ON = _RETRIED | {
    ErrorKind.AUTHENTICATION,
    ErrorKind.PERMISSION,
    ErrorKind.MODEL_NOT_FOUND,
    ErrorKind.QUOTA,
    ErrorKind.NOT_A_MODEL_SERVER,
    ErrorKind.REFUSED,
    ErrorKind.TIMEOUT_FIRST_TOKEN,
}
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 8.0
_LONGEST_RETRY_AFTER_S = 60.0
_TYPICAL = Usage(1000, 1000)
_NO_CIRCUIT = Admission("", "")  # nobody is asked


class NextAttempt(Struct, frozen=True):
    """The next attempt: its target, the leave to send it, and seconds to wait before.

    `source` None is the upstream that the target names; a remembered answer stands for the target instead.
    """

    target: Target
    admission: Admission
    pause_s: float = 0.0
    source: AnswerSource | None = None


class Route:
    """The way of one call; belongs to its task. `first` starts the clock of the total deadline."""

    def __init__(
        self,
        plan: Plan,
        circuits: Circuits,
        pools: Pools,
        prices: PriceBook,
        recall: AnswerMemory | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._jitter = jitter
        self._recall = recall
        self._plan = plan
        self._circuits = circuits
        self._pools = pools
        self._prices = prices
        self._untried = list(plan.deployments)
        self._chain = list(plan.fallbacks)
        self._pool: Pool | None = None
        self._refused: NextAttempt | None = None
        self._tries = self._sent = 0
        self.ends_at = 0.0

    async def first(self) -> NextAttempt:
        """The first attempt; when every circuit is open, one whose admission is refused."""
        self.ends_at = asyncio.get_running_loop().time() + self._plan.routing.deadlines.total_s
        if self._recall is not None and (source := await self._find_remembered(self._recall)) is not None:
            return NextAttempt(self._plan.first, _NO_CIRCUIT, source=source)
        return await self._find_first_upstream()

    async def _find_remembered(self, recall: AnswerMemory) -> AnswerSource | None:
        """A remembered answer; whatever is wrong with memory, the model can be asked."""
        try:
            return await recall.find(self._plan)
        except Exception:  # the boundary of a cache
            log.exception("No remembered answer could be looked for.")
            return None

    def note_end(self, call: LiveCall) -> None:
        """Tell who remembers answers that the call has ended."""
        if self._recall is None:
            return
        try:
            self._recall.take(call)
        except Exception:  # the boundary of a cache
            log.exception("An answer could not be remembered.")

    async def _find_first_upstream(self) -> NextAttempt:
        step = await self._try_next_target() or self._refused
        assert step is not None  # noqa: S101 (a plan has a target)
        return step

    def ended_well(self, step: NextAttempt) -> bool:
        """The short way of `after` for an answer that came to its end; False where `after` has more to write."""
        return step.source is not None or (self._pool is None and self._circuits.answered(step.admission))

    async def after(
        self, step: NextAttempt, attempt: AttemptState, failure: BaseException | None
    ) -> NextAttempt | None:
        """Report how an admitted attempt ended, and what comes next; None when the call is at its end."""
        if step.source is not None:
            fell_short = isinstance(failure, ProviderError) and not attempt.has_content and self._seconds > 0
            return await self._find_first_upstream() if fell_short else None
        await self._circuits.report(step.admission, judge_attempt(failure), str(failure or ""))
        await self._report_ended(step, None if attempt.first_token_ms is None else attempt.first_token_ms / 1000)
        self._sent += 1
        if not may_go_on(attempt, failure) or self._sent >= self._plan.routing.total_attempts or self._seconds <= 0:
            return None
        assert isinstance(failure, ProviderError)  # noqa: S101 (may_go_on)
        return await self._retry(step.target, failure) or await self._try_next_target()

    async def skip_target(self, step: NextAttempt) -> NextAttempt | None:
        """Where a call goes that a budget stops at a step: to a target that costs less, or is another budget's."""
        await self.give_up(step)
        return await self._try_next_target() if self._seconds > 0 else None

    async def give_up(self, step: NextAttempt) -> None:
        """Report an admitted attempt that is not sent after all."""
        if step.source is not None:
            return
        await self._circuits.report(step.admission, AttemptVerdict.NOTHING)
        if step.admission.refused_by is None:
            await self._report_ended(step, None)

    async def _report_ended(self, step: NextAttempt, first_token_s: float | None) -> None:
        if self._pool is not None and step.target in self._plan.deployments:
            await self._pool.ended(step.target.id, first_token_s)

    @property
    def _seconds(self) -> float:
        return self.ends_at - asyncio.get_running_loop().time()

    async def _retry(self, target: Target, failure: ProviderError) -> NextAttempt | None:
        """Another try at the same target, when the failure may pass, tries and time are left and its circuit holds."""
        if failure.kind not in _RETRIED or self._tries >= self._plan.routing.max_attempts:
            return None
        pause = pause_s(failure, self._tries, self._jitter())
        return await self._admit(target, pause) if pause is not None and pause < self._seconds else None

    async def _try_next_target(self) -> NextAttempt | None:
        """A first try at the next target whose circuit lets it pass."""
        self._tries = 0
        while self._untried:
            target = await self._choose()
            self._untried.remove(target)
            if (step := await self._admit(target)) is not None:
                return step
        while self._chain:
            if (step := await self._admit(self._chain.pop(0))) is not None:
                return step
        return None

    async def _choose(self) -> Target:
        if len(self._plan.deployments) == 1:
            return self._untried[0]
        if self._pool is None:
            candidates = tuple(self._candidate(target) for target in self._plan.deployments)
            self._pool = await self._pools.get(self._plan.routing.strategy.value, candidates)
        target_id = await self._pool.choose([target.id for target in self._untried])
        return next(target for target in self._untried if target.id == target_id)

    def _candidate(self, target: Target) -> RouterDeployment:
        price = self._prices.price(target.endpoint.kind, target.model_request.model, utc_now())
        nano = self._prices.cost(price, _TYPICAL).nano
        return RouterDeployment(target.id, target.weight, None if nano is None else nano / 1e12)

    async def _admit(self, target: Target, pause: float = 0.0) -> NextAttempt | None:
        endpoint = target.endpoint
        anyway = not self._plan.request.routed
        admission = await self._circuits.admit(endpoint.provider_id, target.model_request.model, anyway=anyway)
        step = NextAttempt(target, admission, pause)
        if admission.refused_by is not None:
            self._refused = self._refused or step
            return None
        self._tries += 1
        if self._pool is not None and target in self._plan.deployments:
            self._pool.started(target.id)
        return step


def may_go_on(attempt: AttemptState, failure: BaseException | None) -> bool:
    """Whether a failed attempt may be followed by another one, here or elsewhere."""
    return isinstance(failure, ProviderError) and failure.kind in _MOVED_ON and not attempt.has_content


def pause_s(failure: ProviderError, tries: int, spread: float) -> float | None:
    """Seconds before the next try after `tries` at a target; None where the provider asks for too many.

    `spread` in [0, 1) is the jitter's throw.
    """
    if failure.retry_after:
        return failure.retry_after if failure.retry_after <= _LONGEST_RETRY_AFTER_S else None
    return float(min(_FIRST_PAUSE_S * 2 ** (tries - 1), _LONGEST_PAUSE_S) * spread)
