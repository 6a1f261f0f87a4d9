"""The one road to a model: `start` a call, `view` it, `stop` it, or `run` it to its end.

All calls of a process run on one event loop: the server's where there is one (`adopt`), else that of a thread of their
own. A call that a page starts is a background task, so it lives on when the page is reloaded, left or closed; its
buffer stays for ten minutes after the end, later views come from the ledger. A call that a gateway's route makes
(`answer`) runs inside the route's own task and hands every piece to a listener; when its client leaves it ends.
"""

import asyncio
import concurrent.futures
import logging
import os
import random
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

from lib.access.limits import RateLimits
from lib.access.permissions import Actor, Permission
from lib.access.stop_switch import StopSwitch
from lib.calls.attempt import CallPath
from lib.calls.attempts import run_call
from lib.calls.call_view import view_call
from lib.calls.live_call import CallView, Listener, LiveCall, make_call
from lib.calls.observed_usage import ExceededBound, ObservedUsage
from lib.calls.past_call import PastCalls
from lib.calls.plan_sources import CachedPlanSources, NotCached, PlanSources
from lib.calls.plans import Plans, make_plan
from lib.calls.quote import Quote, quote
from lib.calls.request import CallRequest, Plan
from lib.calls.routing import Route
from lib.calls.sources import AnswerMemory
from lib.calls.upstream import Upstream
from lib.clock import make_id
from lib.configs.configurations import Configurations
from lib.configs.overrides import Overrides
from lib.db.engine import Store
from lib.db.vault import Vault
from lib.errors import Conflict, LLMManagerError, NotFound, Throttled
from lib.ledger import recovery
from lib.ledger.kept_messages import KeptMessages, load_kept_messages
from lib.ledger.readiness import Readiness, make_spool_error
from lib.ledger.spool import Spool
from lib.ledger.step_results import StepResults
from lib.ledger.writer import Ledger
from lib.providers import adapters
from lib.providers.adapters.router import Pools
from lib.providers.chunks import Piece
from lib.providers.circuits import Circuits
from lib.providers.prices.price_book import PriceBook
from lib.providers.registry import Providers

ToolTurn = Callable[[Plan], Awaitable[LiveCall] | None]
log = logging.getLogger(__name__)
_KEEP_S = 600.0
_SIGN_OF_LIFE_S = 15.0
_STOPS_EVERY_S = 2.0
_STOP_S = 5.0  # within which a call that is cancelled writes its row
MAX_RUNNING_PER_USER = 32  # of calls started on pages
MAX_ANSWERING = 1_000  # calls of the gateway at once in this process


class Calls:
    """All calls of this process. Thread-safe; the loop's thread starts with the first call."""

    def __init__(
        self,
        store: Store,
        spool_root: Path,
        configurations: Configurations,
        providers: Providers,
        prices: PriceBook,
        circuits: Circuits,
        overrides: Overrides,
        limits: RateLimits,
        vault: Vault,
        stops: StopSwitch | None = None,
    ) -> None:
        self._store = store
        self._vault = vault
        self._kept: KeptMessages | None = None
        self._stops = stops or StopSwitch(store)
        self._spool_root = spool_root
        self._prices = prices
        self._limits = limits
        self._lookups = PlanSources(configurations, providers, overrides)
        self.plans = Plans(CachedPlanSources(configurations, providers, overrides))
        self._circuits = circuits
        self._pools = Pools()
        self._runs = PastCalls(store)
        self._observed = ObservedUsage()
        self._upstream = Upstream(prices, self._observed)
        self.results: StepResults | None = None  # keeps what steps of runs are answered, set there, too
        self.recall: AnswerMemory | None = None  # who remembers answers, set where services are put together
        self.jitter: Callable[[], float] = random.random  # by which pauses before another try are multiplied
        self.write_retry_s = 1.0  # before the ledger's rows are written again
        self._answering = 0
        self._calls: dict[str, LiveCall] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._starting = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._ledger: Ledger | None = None
        self._spool: Spool | None = None
        self._owner = make_id()
        self._readiness = Readiness()

    def start(self, request: CallRequest) -> str:
        """Open the call and let it run; its id. Nothing has been sent when this raises. Not from the calls' loop."""
        plan = make_plan(request, self._lookups)
        self._stops.refresh()
        self._stops.check(request.actor)
        self._ensure_loop()
        self._forget_old()
        running = sum(1 for c in list(self._calls.values()) if c.user_id == request.actor.user_id and c.row is None)
        if running >= MAX_RUNNING_PER_USER:
            raise Conflict(f"{running} calls of yours are running.", "", "Wait for one to end, or stop one.")
        call = LiveCall(plan)
        self._run_in_loop(self._launch(call))
        return call.call_id

    def quote(self, request: CallRequest, more_tokens: int = 0) -> Quote:
        """The least and the most that a call may cost, its prompt `more_tokens` longer; raises as `start` does."""
        return quote(self.plans.plan(request, reading=True), self._prices, self._observed, more_tokens)

    def beyond_holds(self, actor: Actor) -> list[ExceededBound]:
        """Models whose providers counted more than was held for, in this process or another."""
        actor.require(Permission.VIEW_STATS)
        self._observed.sync(self._store)
        return self._observed.listed()

    async def answer(self, request: CallRequest, listener: Listener, tool_turn: ToolTurn | None = None) -> LiveCall:
        """Make the call in the caller's task, on the calls' loop; the listener takes every piece as it comes.

        Where the configuration has tools, `tool_turn` may make a turn of several calls of it and returns the last.

        Returns when the call has ended, however it ended: `row` says how. Nothing has been sent when this raises.
        Cancelling the task ends the call as cancelled; its row is written all the same.
        """
        if self._answering >= MAX_ANSWERING:
            raise Throttled(f"{self._answering} calls are running.", "", "Try again in a second.", retry_after=1)
        self._answering += 1
        try:
            try:
                plan = self.plans.plan(request)
            except NotCached:
                plan = await asyncio.to_thread(self.plans.plan, request, reading=True)
            if not self._stops.is_fresh:
                await asyncio.to_thread(self._stops.refresh)
            self._stops.check(request.actor)
            if self._ledger is None:
                await self.adopt()
            if plan.configuration.tools and tool_turn is not None and (turn := tool_turn(plan)) is not None:
                return await turn
            call = await make_call(plan, listener)
            listener.begin(call)
            task = asyncio.current_task()
            assert task is not None  # noqa: S101 (a coroutine that runs has a task)
            self._calls[call.call_id] = call
            self._tasks[call.call_id] = task
            try:
                await self._run(call)
            finally:
                del self._calls[call.call_id], self._tasks[call.call_id]
                call.listener = None  # it knows the call: without this, both would wait for the garbage collector
            return call
        finally:
            self._answering -= 1

    async def answer_elsewhere(self, request: CallRequest) -> CallView:
        """Make the call on the calls' loop for a task of any loop; return the call as it ended, however it ended.

        Nothing has been sent when this raises. Cancelling the task ends the call as cancelled, and waits for its row.
        """
        await asyncio.to_thread(self._ensure_loop)
        assert self._loop is not None  # noqa: S101 (it was ensured)
        listener = _Onlooker()
        future = asyncio.run_coroutine_threadsafe(self.answer(request, listener), self._loop)
        answering = asyncio.wrap_future(future)
        try:
            call = await asyncio.shield(answering)
        except asyncio.CancelledError:
            if listener.call is None:
                future.cancel()
            else:
                self._loop.call_soon_threadsafe(self._cancel, listener.call)
                await asyncio.wait({answering}, timeout=_STOP_S)
            raise
        return view_call(call, self._prices)

    def leave(self, call: LiveCall) -> None:
        """The client of an `answer` has gone: end the call. On the calls' loop."""
        self._cancel(call)

    async def adopt(self) -> None:
        """Make the running event loop that of the calls; at a server's start, before anybody makes one."""
        if self._loop is asyncio.get_running_loop():
            return
        if self._loop is not None:
            raise RuntimeError("the calls run on another event loop already")
        await asyncio.to_thread(self._prepare)
        self._loop = asyncio.get_running_loop()
        self._start_housekeeping()

    @property
    def process_id(self) -> str:
        """The id under which this process gives its sign of life, once a call has been made."""
        return self._owner

    def spawn(self, work: Coroutine[Any, Any, None]) -> "concurrent.futures.Future[None]":
        """Run something longer that makes calls, on the calls' loop. From any thread."""
        self._ensure_loop()
        assert self._loop is not None  # noqa: S101 (just ensured)
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def open(self, request: CallRequest, listener: Listener | None = None) -> LiveCall:
        """Open a call as `start` does and let it run, on the calls' loop; a listener takes every piece as it comes."""
        plan = await asyncio.to_thread(make_plan, request, self._lookups)
        await asyncio.to_thread(self._stops.refresh)
        self._stops.check(request.actor)
        call = await make_call(plan, listener)
        if listener is not None:
            listener.begin(call)
        await self._launch(call)
        return call

    async def follow(self, call: LiveCall) -> None:
        """Wait for the end of a call that `open` began; cancelling this ends the call."""
        task = self._tasks.get(call.call_id)
        if task is None:
            return
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            self._cancel(call)
            await asyncio.wait({task})
            raise

    def view(self, actor: Actor, call_id: str) -> CallView:
        """The call as it stands; NotFound when it is not the actor's."""
        call = self._calls.get(call_id)
        if call is None:
            return self._runs.view(actor, call_id)
        _check_owner(actor, call)
        return view_call(call, self._prices)

    def stop(self, actor: Actor, call_id: str) -> None:
        """End the call now; what came so far is kept. No effect on a call that has ended."""
        call = self._calls.get(call_id)
        if call is None:
            raise NotFound("The call is not running here.", "It has ended, or it belongs to somebody else.")
        _check_owner(actor, call)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._cancel, call)

    def wait(self, actor: Actor, call_id: str, timeout_s: float | None = None) -> CallView:
        """Wait for the end of the call and its row in the ledger; the view after that, or after the time."""
        call = self._calls.get(call_id)
        if call is not None:
            _check_owner(actor, call)
            if call.ended.wait(timeout_s):
                self.flush()
        return self.view(actor, call_id)

    def run(self, request: CallRequest) -> CallView:
        """Start a call and wait for its end."""
        return self.wait(request.actor, self.start(request))

    def embed(self, request: CallRequest) -> tuple[tuple[float, ...], ...]:
        """Turn the request's texts into vectors and wait for them; ProviderError when the call failed."""
        call = self._calls[self.start(request)]
        call.ended.wait()
        self._calls.pop(call.call_id, None)  # its vectors are the caller's now
        return call.vectors()

    def running(self, actor: Actor) -> list[str]:
        """Ids of the actor's calls in flight here, newest first."""
        running = [c for c in list(self._calls.values()) if c.row is None and c.user_id == actor.user_id]
        return [call.call_id for call in sorted(running, key=lambda call: call.call_id, reverse=True)]

    def flush(self) -> None:
        """Return when every ending so far is in the database."""
        if self._ledger is not None and self._loop is not None and self._loop.is_running():
            self._run_in_loop(self._ledger.drain())

    def recover(self) -> int:
        """Close what dead processes left open; how many calls that were."""
        return recovery.recover(self._store, self._spool_root, self._prices, self._load_kept())

    def check_writes(self) -> None:
        """LLMManagerError tells what of database and spool can't be written."""
        self._readiness.check(self._store, self._owner, self._spool, self._ledger)

    def close(self, grace_s: float = 5.0) -> None:
        """Let running calls end for `grace_s` seconds, stop the rest, write all of it. Not from the calls' loop."""
        if self._loop is None:
            return
        deadline = time.monotonic() + grace_s
        for call in list(self._calls.values()):
            call.ended.wait(max(0.0, deadline - time.monotonic()))
        self._run_in_loop(self._finish())
        if self._thread is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
        self._loop = self._thread = self._ledger = None

    def _load_kept(self) -> KeptMessages:
        if self._kept is None:
            self._kept = load_kept_messages(self._store, self._vault)
        return self._kept

    def _prepare(self) -> None:
        recovery.renew_lease_of_life(self._store, self._owner, os.getpid())
        try:
            self._spool = Spool(self._spool_root, self._owner)
        except OSError as error:
            raise make_spool_error(self._spool_root, error) from error
        if self.results is not None:
            self.results.prepare()
        self._ledger = Ledger(self._store, self._spool, self._limits, self._load_kept(), self.write_retry_s)

    def _ensure_loop(self) -> None:
        with self._starting:
            if self._loop is not None:
                return
            self._prepare()
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=self._loop.run_forever, name="calls", daemon=True)
            self._thread.start()
            self._loop.call_soon_threadsafe(self._start_housekeeping)

    def _run_in_loop(self, work: Coroutine[Any, Any, None]) -> None:
        assert self._loop is not None  # noqa: S101 (callers have ensured the loop)
        asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _launch(self, call: LiveCall) -> None:
        """Start the task and return when its row is open; an error in opening is the caller's."""
        opened = asyncio.Event()
        work = self._run(call, opened.set)
        task = asyncio.get_running_loop().create_task(work, name=f"call {call.call_id}")
        waiting = asyncio.get_running_loop().create_task(opened.wait())
        self._calls[call.call_id] = call
        self._tasks[call.call_id] = task
        task.add_done_callback(lambda done: self._tasks.pop(call.call_id, None))
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if not opened.is_set():
            self._calls.pop(call.call_id)
            await task

    async def _run(self, call: LiveCall, opened: Callable[[], None] = lambda: None) -> None:
        route = Route(call.plan, self._circuits, self._pools, self._prices, self.recall, self.jitter)
        path = CallPath(self._open_ledger, self._prices, self._observed, self._upstream, self._owner, self.results)
        try:
            await run_call(call, route, path, opened)
        finally:
            if call.row is None:
                route.note_end(call)

    @property
    def _open_ledger(self) -> Ledger:
        assert self._ledger is not None  # noqa: S101 (there is one as long as there is a loop)
        return self._ledger

    def _cancel(self, call: LiveCall) -> None:
        task = self._tasks.get(call.call_id)
        if task is not None and not call.stop_requested:
            call.stop_requested = True
            task.cancel()

    async def _finish(self) -> None:
        for call in list(self._calls.values()):
            self._cancel(call)
        if self._tasks:
            await asyncio.wait(list(self._tasks.values()))
        assert self._spool is not None  # noqa: S101
        for background in (self._house, self._watch):
            background.cancel()
            with suppress(asyncio.CancelledError):
                await background
        with suppress(TimeoutError):
            await asyncio.wait_for(self._open_ledger.drain(), 10)
        self._open_ledger.end()
        with suppress(LLMManagerError):
            await asyncio.to_thread(recovery.sign_out, self._store, self._owner)
        self._spool.close()
        await adapters.close()

    def _start_housekeeping(self) -> None:
        self._house = asyncio.get_running_loop().create_task(self._keep_house_forever())
        self._watch = asyncio.get_running_loop().create_task(self._watch_stops_forever())

    async def _keep_house_forever(self) -> None:
        """Every few seconds: renew this process's sign of life and close what others left."""
        while True:
            await asyncio.sleep(_SIGN_OF_LIFE_S)
            try:
                await asyncio.to_thread(recovery.renew_lease_of_life, self._store, self._owner, os.getpid())
                await asyncio.to_thread(self.recover)
                await asyncio.to_thread(self._observed.sync, self._store)
            except Exception as error:  # the boundary of a background job: it must go on
                log.warning("Housekeeping failed and is tried again: %s", error)

    async def _watch_stops_forever(self) -> None:
        """End the running calls of what has been stopped, within seconds and in every process."""
        while True:
            await asyncio.sleep(_STOPS_EVERY_S)
            await self._end_stopped_calls()  # on its own, so that no call is held while it sleeps

    async def _end_stopped_calls(self) -> None:
        running = [call for call in list(self._calls.values()) if call.row is None]
        if running:
            await asyncio.to_thread(self._stops.refresh)
        for call in running:
            if self._stops.find_refusal(call.plan.request.actor) is not None:
                self._cancel(call)

    def _forget_old(self) -> None:
        limit = time.monotonic() - _KEEP_S
        for call_id, call in list(self._calls.items()):
            if call.ended_at is not None and call.ended_at < limit:
                self._calls.pop(call_id, None)


class _Onlooker:
    """The listener of a call whose pieces nobody takes as they come."""

    def __init__(self) -> None:
        self.call: LiveCall | None = None

    def begin(self, call: LiveCall) -> None:
        """Remember the call, to end it by."""
        self.call = call

    async def take(self, piece: Piece) -> None:
        """Nothing: the call keeps what has come."""


def _check_owner(actor: Actor, call: LiveCall) -> None:
    is_elsewhere = actor.key is not None and call.plan.request.actor.team_id != actor.team_id
    if call.user_id != actor.user_id or is_elsewhere:
        raise NotFound("There is no such call.", "It does not exist, or it belongs to somebody else.")
