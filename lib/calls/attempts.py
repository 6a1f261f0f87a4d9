"""Sending a call: attempts under deadlines, each its own row, until one ends it.

`lib.calls.routing` says where each attempt goes and whether there is another; here one after the other is opened, read
and closed. A call that a remembered answer may answer is asked of that first.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from lib.calls.attempt import Attempt, CallPath, finish_uncancelled
from lib.calls.attempt_closing import Ending, make_ending
from lib.calls.live_call import LiveCall
from lib.calls.routing import NextAttempt, Route
from lib.errors import ErrorKind, ProviderError, Throttled


async def run_call(call: LiveCall, route: Route, path: CallPath, opened: Callable[[], None] = lambda: None) -> None:
    """Send the call to its end; every attempt is opened, closed once, and the last one ends the call.

    `opened` is called when the first row is written. An opening that can't be written is raised and nothing is sent.
    """
    step = await _take_first_step(call, route)
    number = 0
    while step is not None:
        number += 1
        attempt = Attempt(call, step, number, path)
        try:
            unsent = await attempt.open(step.admission.refused_by)
        except BaseException:
            await finish_uncancelled(route.give_up(step))
            raise
        opened()
        failure = await attempt.read(route.ends_at) if unsent is None else None
        following = await _find_next_step(call, route, step, unsent, failure)
        ending = unsent or make_ending(call.attempt, failure)
        row = await attempt.close(ending, is_final=following is None)
        if following is None:
            call.finish(row)
            route.note_end(call)
        elif following.pause_s:
            await _pause(call, following.pause_s, number)
        step = following


async def _find_next_step(
    call: LiveCall, route: Route, step: NextAttempt, unsent: Ending | None, failure: BaseException | None
) -> NextAttempt | None:
    """Report how an attempt ended; what comes after it, None at the call's end."""
    if unsent is not None:
        for_money = unsent.error_kind == ErrorKind.BUDGET
        following = await finish_uncancelled(route.skip_target(step) if for_money else route.give_up(step))
    elif failure is None and route.ended_well(step):
        return None
    else:
        if isinstance(failure, ProviderError):
            call.retry_after = failure.retry_after
        following = await finish_uncancelled(route.after(step, call.attempt, failure))
    if following is not None and call.stop_requested:
        await finish_uncancelled(route.give_up(following))
        return None
    return following


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


async def _pause(call: LiveCall, seconds: float, number: int) -> None:
    """Wait before the next attempt; Stop ends the wait."""
    call.note("waiting", f"{seconds:.1f} s before attempt {number + 1}")
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(seconds)
