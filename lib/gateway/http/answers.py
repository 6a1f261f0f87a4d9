"""How an answer leaves: as events while it comes, or whole at its end; in the provider's bytes or in ours.

The head waits for the first word of the answer, so that whatever fails before it has its own status. A client that
leaves ends its call; that is watched for from the moment a call takes longer than a short one does.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from lib.access.limits import LimitDecision
from lib.calls.calls import Calls
from lib.calls.deadline import Alarm, set_alarm
from lib.calls.live_call import AttemptState, LiveCall
from lib.calls.sources import NO_CACHE
from lib.gateway.http import refusals
from lib.gateway.http.exchange import Exchange
from lib.gateway.http.refusals import Refusal
from lib.providers.chunks import Chunk, Passed, Piece, Usage

_LAST = (b"[DONE]", b"message_stop", b"response.completed")  # an end is only told when it is on disk
DROPPED = "x-llm-manager-dropped"  # names of the request's fields that the provider did not get
_EVENTS = {"cache-control": "no-cache", "x-accel-buffering": "no"}


class AnswerWriter(Protocol):
    """A protocol's own form of an answer; `model` is the one that was asked for until the answer names its own."""

    model: str

    def begin(self) -> bytes:
        """The events that come before the first chunk."""
        ...

    def chunk(self, chunk: Chunk) -> bytes:
        """The events of a chunk, or nothing."""
        ...

    def end(self, usage: Usage | None) -> bytes:
        """The last events of an answer that came to its end."""
        ...

    def error(self, status: int, kind: str, message: str) -> bytes:
        """The event of an answer that broke off."""
        ...

    def whole(
        self, text: str, reasoning: str, tool_calls: list[dict[str, str]], finish: str | None, usage: Usage | None
    ) -> dict[str, Any]:
        """The body of a whole answer."""
        ...


class AnswerForm(Protocol):
    """A protocol's forms: its writers, errors and headers."""

    def writer(self, call: LiveCall) -> AnswerWriter:
        """A writer for one answer."""
        ...

    def error(self, refusal: Refusal) -> bytes:
        """The body of a refusal."""
        ...

    def limit_headers(self, verdict: LimitDecision) -> Mapping[str, str]:
        """The headers that say how the key's limits stand."""
        ...


@dataclass
class WholeAnswer:
    """An answer that several calls made: their words, what is left for the client to run, the sum of their counts."""

    text: str
    reasoning: str
    tool_calls: list[dict[str, str]]
    usage: Usage
    refusal: Refusal | None = None  # why there is none


class AnswerSender:
    """The listener of the calls of one request, one after the other; `finish` sends what is left at their end.

    `watch_after_s`: from then on it is seen when the client goes; most answers are over before.
    """

    watch_after_s = 0.05

    def __init__(self, exchange: Exchange, form: AnswerForm, calls: Calls, *, streams: bool) -> None:
        self._exchange = exchange
        self._form = form
        self._calls = calls
        self._streams = streams
        self._held: list[bytes] = []  # what came before the first word, or all of an answer that is sent whole
        self._attempt: AttemptState | None = None
        self._is_passed = self._has_left = False
        self._watching: asyncio.Task[None] | None = None
        self._watch: _Watch | None = None
        self._writer: AnswerWriter | None = None
        self._keeps_writer = False  # a call that follows others continues their answer
        self.whole: WholeAnswer | None = None  # of several calls; None: the one call's own
        self.leave: Callable[[], None] | None = None  # what ends the answer when its client goes; None: its call ends

    def begin(self, call: LiveCall) -> None:
        """The call is about to be sent."""
        self._call = call
        if self._watch is None:  # a turn may have several calls
            self._watch = _Watch(self, asyncio.get_running_loop())

    def go_on(self, call: LiveCall) -> None:
        """A further call of the same answer is about to be sent; what it says follows what was said."""
        self._call = call
        self._attempt = call.attempt
        self._keeps_writer = True

    async def comment(self, text: str) -> None:
        """Send a comment, a line that clients of events read over: what goes on, or that it is waited."""
        if self._streams and not self._has_left:
            await self._send_events(f": {text}\n\n".encode("utf-8", "replace"))

    async def take(self, piece: Piece) -> None:
        """Pass a piece on, once the answer has begun."""
        call = self._call
        if self._attempt is not call.attempt:  # what an attempt said before it failed is not the answer
            self._attempt = call.attempt
            self._held.clear()
            self._is_passed = False
            if not self._exchange.began and not self._keeps_writer:
                self._writer = None
        if isinstance(piece, Passed):
            self._is_passed = True
            data = piece.data
        elif not self._streams or self._is_passed:
            return
        else:
            data = self._write_chunk(piece)
        if not self._streams or not call.attempt.has_content or any(mark in data for mark in _LAST):
            self._held.append(data)
        elif data:
            await self._send_events(data)

    async def finish(self, call: LiveCall) -> None:
        """Send the end, or why there is none."""
        self.stop_watching()
        if self._has_left:
            return
        refusal = refusals.refuse_call(call) if self.whole is None else self.whole.refusal
        if refusal is not None and not self._exchange.began:
            headers = self._head() | dict(refusal.headers)
            await self._exchange.answer(refusal.status, self._form.error(refusal), headers)
        elif not self._streams:
            await self._finish_whole(call)
        elif refusal is not None:
            writer = self._writer or self._form.writer(call)
            await self._exchange.end(writer.error(refusal.status, refusal.code, refusal.message))
        else:
            usage = call.current_usage()[0] if self.whole is None else self.whole.usage
            last = b"" if self._is_passed else self._get_writer(call).end(usage)
            await self._begin_events()
            await self._exchange.end(self._join_held(last))

    def stop_watching(self) -> None:
        """Stop watching for the client to leave."""
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        if self._watching is not None:
            self._watching.cancel()
            self._watching = None  # a cancelled task knows where it was, and so this answer

    async def _finish_whole(self, call: LiveCall) -> None:
        if self._is_passed:
            await self._exchange.answer(200, b"".join(self._held), self._head())
            return
        attempt = call.attempt
        writer = self._form.writer(call)
        writer.model = attempt.served_model or writer.model
        tools = [dict(tool) for tool in attempt.tool_calls.values()]
        if self.whole is None:
            usage = call.current_usage()[0]
            body = writer.whole(attempt.answer, "".join(attempt.reasoning), tools, attempt.finish_reason, usage)
        else:
            whole = self.whole
            body = writer.whole(whole.text, whole.reasoning, whole.tool_calls, attempt.finish_reason, whole.usage)
        await self._exchange.answer_json(200, body, self._head())

    async def _send_events(self, data: bytes) -> None:
        await self._begin_events()
        await self._exchange.write(self._join_held(data))

    async def _begin_events(self) -> None:
        if not self._exchange.began:
            await self._exchange.begin(200, self._head() | _EVENTS, "text/event-stream; charset=utf-8")

    def _join_held(self, data: bytes) -> bytes:
        """The held bytes and these, in one piece."""
        if self._held:
            data = b"".join((*self._held, data))
            self._held.clear()
        return data

    def _write_chunk(self, chunk: Chunk) -> bytes:
        return (b"" if self._writer else self._get_writer(self._call).begin()) + self._get_writer(self._call).chunk(
            chunk
        )

    def _get_writer(self, call: LiveCall) -> AnswerWriter:
        if self._writer is None:
            self._writer = self._form.writer(call)
        return self._writer

    def _head(self) -> dict[str, str]:
        call = self._call
        head = {"x-request-id": call.call_id, **self._form.limit_headers(call.standing)}
        if call.attempt.cache != NO_CACHE:
            head["cache-status"] = f"llm-manager; hit; detail={call.attempt.cache}"  # RFC 9211
            head["age"] = str(call.attempt.age_s or 0)  # RFC 9111, 5.1
        return head | {DROPPED: ", ".join(call.attempt.dropped)} if call.attempt.dropped else head

    def start_watching(self) -> None:
        """See whether the client goes."""
        self._watching = asyncio.get_running_loop().create_task(self._end_with_client())

    async def _end_with_client(self) -> None:
        await self._exchange.gone()
        self._has_left = True
        if self.leave is not None:
            self.leave()
        else:
            self._calls.leave(self._call)


class _Watch(Alarm):
    __slots__ = ("_alarms", "_answer")

    def __init__(self, answer: AnswerSender, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop.time() + answer.watch_after_s)
        self._answer = answer
        self._alarms = set_alarm(self, loop)

    def ring(self) -> None:
        self._answer.start_watching()

    def cancel(self) -> None:
        self._alarms.discard(self)
