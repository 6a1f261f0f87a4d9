"""A turn in this process: what pages read while its task goes on."""

import asyncio
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from lib.access.permissions import Actor
from lib.calls.live_call import CallView, LiveCall
from lib.calls.request import CallRequest
from lib.configs.tool_rules import ToolRules
from lib.tools.tool import ExecutionStatus, ToolDefinition, ToolExecution
from lib.tools.tool_search import choose_described
from lib.tools.toolset import Toolset
from lib.tools.turn import RUNNING, PendingTool, ToolResult, TurnState, build_asking_message, build_tool_messages


class LiveTurn:
    """One turn. Its task is the only writer; `ended` is set when it has ended or waits for a person."""

    def __init__(
        self,
        state: TurnState,
        request: CallRequest,
        toolset: Toolset,
        rules: ToolRules,
        client_tools: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        self.state = state
        self.request = request
        self.toolset = toolset
        self.rules = rules
        self.client_tools = tuple(client_tools)
        self.status = RUNNING
        self.reason = ""
        self.executions: dict[str, ToolExecution] = {}
        self.ended = threading.Event()
        self.ended_at: float | None = None
        self.is_stopped = False
        self.task: asyncio.Task[None] | None = None
        self._began = time.monotonic()

    @property
    def actor(self) -> Actor:
        """The person for whom it runs."""
        return self.request.actor

    @property
    def app(self) -> str:
        """The app of its calls and tools."""
        return self.state.app or "general"

    @property
    def seconds_left(self) -> float:
        """The time that is left of the turn's; a person's thinking does not count."""
        return self.rules.max_seconds - self.state.seconds - (time.monotonic() - self._began)

    def count_time(self) -> None:
        """Add the time since the turn went on to its own, before it waits."""
        self.state.seconds += time.monotonic() - self._began
        self._began = time.monotonic()

    def describe_tools(self) -> list[dict[str, Any]]:
        """Describe the tools of the next round, and those that whoever asks runs itself."""
        described = choose_described(self.toolset.tools, self.rules.most_described, self.state.loaded)
        return [*(tool.to_model() for tool in described), *(dict(tool) for tool in self.client_tools)]

    def client_names(self) -> set[str]:
        """The names of the tools that whoever asks runs itself."""
        return {str(tool.get("function", tool).get("name", "")) for tool in self.client_tools}

    def take_asking(self, call: LiveCall, tool_calls: Sequence[dict[str, str]]) -> None:
        """Add the round in which the model asked for tools to the messages."""
        self.state.messages.append(build_asking_message(call.attempt.answer, list(tool_calls), call.attempt.thoughts))

    def take_results(self) -> None:
        """Add the results of the round to the messages, in the order in which they were asked for."""
        order = {call["id"]: number for number, call in enumerate(self.state.messages[-1]["tool_calls"])}
        results = sorted(self.state.results, key=lambda tool_result: order.get(tool_result.tool_call_id, len(order)))
        self.state.messages += build_tool_messages(results, sees_images=self.state.sees_images)
        self.state.results = []

    def note_outside(self, definition: ToolDefinition) -> None:
        """Note that what a tool returned is text from outside."""
        if definition.annotations.open_world and not self.state.outside:
            self.state.outside = f"what the tool {definition.name} returned"

    def add_cost(self, *costs: int | None) -> None:
        """Add what a call or a tool cost, where that is known."""
        self.state.cost_nano_usd += sum(cost for cost in costs if cost)

    def find_limit(self) -> str:
        """Say which limit of the turn is used up; empty while none is."""
        rules = self.rules
        if len(self.state.calls) >= rules.max_rounds:
            return f"It used all its {rules.max_rounds} rounds of tools and came to no answer."
        if rules.max_cost_nano_usd is not None and self.state.cost_nano_usd >= rules.max_cost_nano_usd:
            return f"It cost ${rules.max_cost_nano_usd / 1e9:.4f}, as much as a turn may, and came to no answer."
        return ""

    def finish(self, status: str, reason: str) -> None:
        """Note the end, or that a person has to decide, and let everybody go who waits."""
        self.status = status
        self.reason = reason
        self.ended_at = time.monotonic()
        self.ended.set()


def list_tool_calls(call: LiveCall) -> list[dict[str, str]]:
    """The tools that a call's answer asks for."""
    return [dict(tool_call) for _, tool_call in sorted(call.attempt.tool_calls.items())]


def describe_tool_run(tool_call_id: str, name: str, execution: ToolExecution, text: str) -> ToolResult:
    """Make of a run what the model is told."""
    images = execution.output.images if execution.output is not None else ()
    return ToolResult(tool_call_id, name, text, images)


def is_waiting_for_answer(execution: ToolExecution) -> bool:
    """Whether the tool asks back."""
    return execution.status == ExecutionStatus.NEEDS_INPUT


__all__ = ["CallView", "LiveTurn", "PendingTool", "describe_tool_run", "is_waiting_for_answer", "list_tool_calls"]
