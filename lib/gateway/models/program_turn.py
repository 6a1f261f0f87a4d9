"""Tools that run here for a program: several rounds of a model, answered as one.

Only where the configuration says so. A request without tools gets those of the configuration (`run`, `mix`); one that
brings its own gets, with `mix`, those of them that only read, and a round that asks for one of the program's ends the
turn with the program's calls. Everything else goes its way untouched, as do requests that only their own protocol can
say. Words of every round are passed on as they come; calls of tools that run here are not. A stream tells of these in
comments, which clients of every protocol read over: `: tool {"id": …, "tool": …, "status": …}`. The first of them
begins the answer, so that no client sends a request again whose tools have run.
"""

import asyncio
import time
from collections.abc import Awaitable
from functools import partial
from typing import Any

from msgspec.structs import replace

from lib.calls.live_call import LiveCall
from lib.calls.request import CallRequest, Plan
from lib.configs.tool_rules import ProgramTools, ToolRules
from lib.fast_json import encode_text
from lib.gateway.http import refusals
from lib.gateway.http.answers import AnswerSender, WholeAnswer
from lib.gateway.http.refusals import Refusal
from lib.providers.chunks import Finish, Passed, Piece, TextDelta, ToolCallDelta, Usage, UsageReport
from lib.services import Services
from lib.tools.tool import ToolExecution
from lib.tools.toolset import Toolset
from lib.tools.turn import TurnRequest
from lib.tools.turns import ProgramAnswer, find_outside

BEAT_S = 15.0
_BETWEEN = "\n\n"
_LONGEST_REASON = 500


def begin_tool_turn(
    services: Services, request: CallRequest, answer: AnswerSender, plan: Plan
) -> Awaitable[LiveCall] | None:
    """Begin a turn with tools for a request whose configuration has some; None where it is passed on untouched."""
    rules = ToolRules.from_record(plan.configuration.tools)
    own = request.parameters.get("tools") or ()
    if rules.programs is ProgramTools.OFF or not rules.names or (own and rules.programs is ProgramTools.RUN):
        return None
    several = request.parameters.get("n") or 1
    if request.texts is not None or request.native or several != 1 or request.parameters.get("tool_choice") == "none":
        return None
    return _answer(services, replace(request, app=plan.app), answer, rules)


async def _answer(services: Services, request: CallRequest, answer: AnswerSender, rules: ToolRules) -> LiveCall:
    app = request.app or "general"
    toolset = await asyncio.to_thread(services.tools.toolset, request.actor, app, rules)
    client_tools = tuple(request.parameters.get("tools") or ())
    toolset = _leave_to_client(toolset, client_tools)
    side = _OpenRequest(answer, {str(tool.get("function", tool).get("name", "")) for tool in client_tools}, rules.waits)
    task = asyncio.current_task()
    if task is not None:
        answer.leave = partial(_cancel, task)
    turn = TurnRequest(request, toolset, rules, find_outside(request.messages), client_tools)
    ended = await services.turns.answer(turn, side)
    answer.whole = side.build_whole(ended)
    return ended.call


def _cancel(task: "asyncio.Task[object]") -> None:
    task.cancel()


def _leave_to_client(toolset: Toolset, client_tools: tuple[Any, ...]) -> Toolset:
    """Keep, beside a program's own tools, only tools of the set that read and have none of their names."""
    if not client_tools:
        return toolset
    names = {str(tool.get("function", tool).get("name", "")) for tool in client_tools}
    return toolset.read_only().chosen(lambda tool: tool.name not in names)


class _OpenRequest:
    """Takes every piece of every round and passes on what is for the program."""

    def __init__(self, answer: AnswerSender, client_names: set[str], waits: bool) -> None:
        self.waits = waits
        self._answer = answer
        self._client_names = client_names
        self._rounds: list[LiveCall] = []
        self._has_words = False
        self._is_new_round = False
        self._indices: dict[int, int] = {}  # of the program's calls: the model's number → the one that is passed on
        self._beat_at = time.monotonic()
        self._news: list[ToolExecution] = []
        self._told: dict[str, tuple[str, str | None]] = {}  # how each run was last told of

    def begin(self, call: LiveCall) -> None:
        """A round is about to be sent."""
        if self._rounds:
            self._answer.go_on(call)
        else:
            self._answer.begin(call)
        self._is_new_round = self._has_words
        self._indices = {}
        self._rounds.append(call)

    async def take(self, piece: Piece) -> None:
        """Pass on words, and the calls of the program's own tools; the end waits for the last round's."""
        match piece:
            case ToolCallDelta(index, _, name):
                if name in self._client_names and index not in self._indices:
                    self._indices[index] = len(self._indices)
                if index in self._indices:
                    await self._answer.take(replace(piece, index=self._indices[index]))
            case UsageReport() | Passed():
                return
            case Finish(reason):
                if reason != "tool_calls" or self._indices:
                    await self._answer.take(piece)
            case TextDelta(text) if text and self._is_new_round:
                self._is_new_round = False
                await self._answer.take(TextDelta(_BETWEEN + text))
            case _:
                self._has_words = self._has_words or isinstance(piece, TextDelta)
                await self._answer.take(piece)

    def note(self, execution: ToolExecution) -> None:
        """Keep how a run of a tool stands for the next beat."""
        self._news.append(execution)

    async def beat(self) -> None:
        """Send a comment for each run that stands otherwise than before; else one every 15 seconds."""
        news = self._news
        self._news = []
        for execution in news:
            state = (execution.status, execution.approval_id)
            if self._told.get(execution.id) != state:
                self._told[execution.id] = state
                self._beat_at = time.monotonic()
                await self._answer.comment(f"tool {write_tool_event(execution)}")
        if time.monotonic() - self._beat_at >= BEAT_S:
            self._beat_at = time.monotonic()
            await self._answer.comment("waiting")

    def build_whole(self, ended: ProgramAnswer) -> WholeAnswer:
        """Build the answer of all rounds."""
        attempts = [call.attempt for call in self._rounds]
        usages = [call.current_usage()[0] for call in self._rounds]
        calls = [dict(tool_call) for _, tool_call in sorted(ended.call.attempt.tool_calls.items())]
        refusal = refusals.refuse_call(ended.call)
        if refusal is None and ended.state != "ok":
            refusal = Refusal(422, "tools", ended.reason or "The turn was stopped.")
        return WholeAnswer(
            text=_BETWEEN.join(attempt.answer for attempt in attempts if attempt.answer.strip()),
            reasoning=_BETWEEN.join(filter(None, ("".join(attempt.reasoning) for attempt in attempts))),
            tool_calls=[tool_call for tool_call in calls if tool_call["name"] in self._client_names],
            usage=_sum(usages),
            refusal=refusal,
        )


def write_tool_event(execution: ToolExecution) -> str:
    """Write how a run of a tool stands as one line of JSON, without its arguments and its result."""
    event = {
        "id": execution.tool_call_id,
        "run": execution.id,
        "tool": execution.tool,
        "status": str(execution.status),
        "duration_ms": execution.duration_ms,
        "error": execution.error_message and execution.error_message[:_LONGEST_REASON],
        "approval": execution.approval_id and f"/approvals?id={execution.approval_id}",
    }
    return encode_text({name: part for name, part in event.items() if part is not None})


def _sum(usages: list[Usage]) -> Usage:
    """Add up the counts of every round; the whole prompt was read each time."""
    names = ("prompt_tokens", "completion_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")
    return Usage(**{name: sum(getattr(usage, name) for usage in usages) for name in names})
