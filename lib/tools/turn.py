"""A turn: a question, and every round of model and tools until the answer. Values only.

Each round is a call of its own in the ledger; the turn has the id of the first one, and the later ones name it as
their parent. `TurnState` is all that is needed to go on, also in another process.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from lib.calls.live_call import CallView
from lib.calls.request import CachePolicy, CallRequest
from lib.configs.tool_rules import ToolRules
from lib.providers.adapters.claude import THOUGHTS
from lib.tools.tool import ToolExecution, ToolImage, ToolOutput
from lib.tools.toolset import Toolset

RUNNING = "running"
WAITING = "waiting"  # for a person
MOST_AT_ONCE = 5
TOOL_TAG = "tool"  # on a call that reads results of tools: their names
_LONGEST_TAG = 200
_STATUSES = {"stopped": "cancelled", "orphaned": "orphaned"}  # a call's by its turn's


class TurnRequest(Struct, frozen=True):
    """A question with tools. `outside` names text from outside that is in the messages already; empty: none is.

    `client_tools` are tools that whoever asks runs itself: a round that asks for one of them ends the turn.
    """

    call: CallRequest
    toolset: Toolset
    rules: ToolRules
    outside: str = ""
    client_tools: tuple[Mapping[str, Any], ...] = ()


class ToolResult(Struct):
    """What the model is told of one tool call."""

    tool_call_id: str
    name: str
    text: str
    images: tuple[ToolImage, ...] = ()


class PendingTool(Struct):
    """A tool call that waits for a person: for a decision, or, with `state`, for the answer to the tool's question."""

    tool_call_id: str
    name: str
    arguments: dict[str, Any]
    execution_id: str
    approval_id: str
    call_id: str
    is_question: bool = False
    state: str = ""


class TurnState(Struct):
    """The state of a turn. `messages` begin with those that were asked with; `results` are of the current round."""

    turn_id: str
    user_id: str | None
    team_id: int
    configuration: str | None
    model: str | None
    app: str | None
    context: str | None
    origin: str
    system_prompt: str | None
    parameters: dict[str, Any]
    tags: dict[str, Any]
    conversation_id: str | None
    session_id: str
    rules: dict[str, Any]
    messages: list[dict[str, Any]]
    tool_names: list[str] = field(default_factory=list)  # of the toolset
    configuration_id: str | None = None
    content_policy: str = "full"
    sees_images: bool = False
    calls: list[str] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)  # tools that were found by the search of tools
    outside: str = ""
    seconds: float = 0.0
    cost_nano_usd: int = 0
    results: list[ToolResult] = field(default_factory=list)
    pending: list[PendingTool] = field(default_factory=list)


class TurnStep(Struct, frozen=True):
    """One round: what the model said, and the runs of the tools that it asked for."""

    call: CallView
    executions: tuple[ToolExecution, ...] = ()


class TurnView(Struct, frozen=True):
    """A turn as pages show it. `reason` says why it waits or did not come to an answer."""

    id: str
    state: str
    reason: str
    steps: tuple[TurnStep, ...]

    @property
    def is_running(self) -> bool:
        """Whether more comes by itself."""
        return self.state == RUNNING

    @property
    def is_waiting(self) -> bool:
        """Whether a person has to decide first."""
        return self.state == WAITING

    @property
    def executions(self) -> tuple[ToolExecution, ...]:
        """All runs of tools, in their order."""
        return tuple(execution for step in self.steps for execution in step.executions)


def join_outputs(output: ToolOutput) -> str:
    """Write a tool's output as the text that the model is sent."""
    text = output.text or ("" if output.structured is None else str(output.structured))
    return text or ("Done." if not output.images else "A picture.")


def build_tool_messages(results: list[ToolResult], *, sees_images: bool) -> list[dict[str, Any]]:
    """Write results as messages: one of the role tool each, and pictures in a user message for models that see."""
    sent: list[dict[str, Any]] = [
        {"role": "tool", "tool_call_id": tool_result.tool_call_id, "content": tool_result.text}
        for tool_result in results
    ]
    pictures: list[dict[str, Any]] = []
    for tool_result in results:
        if tool_result.images and sees_images:
            pictures.append({"type": "text", "text": f"Pictures that the tool {tool_result.name} returned:"})
            pictures += [{"type": "image_url", "image_url": {"url": image.data_url}} for image in tool_result.images]
    return [*sent, {"role": "user", "content": pictures}] if pictures else sent


def build_asking_message(
    text: str, tool_calls: list[dict[str, str]], thoughts: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    """Write the round in which a model asked for tools as a message of the assistant.

    `thoughts` are blocks of thinking, signed, without which Claude thinks no further after the results.
    """
    thinking = {THOUGHTS: [dict(block) for block in thoughts]} if thoughts else {}
    return {
        **thinking,
        "role": "assistant",
        "content": text or None,
        "tool_calls": [
            {
                "id": call["id"],
                "type": "function",
                "function": {"name": call["name"], "arguments": call["arguments"] or "{}"},
            }
            for call in tool_calls
        ],
    }


def combine_views(turn: TurnView) -> CallView:
    """Make one view of a turn's calls: the last one's words, the counts and costs of all, running while it does."""
    views = [step.call for step in turn.steps]
    last = views[-1]
    tokens: dict[str, Any] = {
        name: _sum([getattr(view, name) for view in views]) for name in ("prompt_tokens", "completion_tokens")
    }
    costs = [view.cost_nano_usd for view in views]
    known_costs = [cost for cost in costs if cost is not None]
    status = last.cost_status
    if known_costs and len(known_costs) < len(costs):
        status = "partial"
    elif any(view.cost_status != last.cost_status for view in views):
        statuses = {view.cost_status for view in views}
        status = "partial" if "partial" in statuses or "unpriced" in statuses else "estimated"
    ending: dict[str, Any] = {"status": RUNNING} if turn.is_running or turn.is_waiting else {}
    if not ending and turn.reason and last.status == "ok":
        ending = {"status": _STATUSES.get(turn.state, "error"), "error_message": turn.reason}
    return dataclasses.replace(
        last,
        call_id=turn.id,
        text="\n\n".join(view.text for view in views if view.text.strip()),
        reasoning="\n\n".join(view.reasoning for view in views if view.reasoning.strip()),
        messages=views[0].messages,
        started_at=views[0].started_at,
        execution_time_ms=_sum([view.execution_time_ms for view in views]),
        first_token_ms=views[0].first_token_ms,
        chunks=sum(view.chunks for view in views),
        cost_nano_usd=sum(known_costs) if known_costs else None,
        cost_status=status,
        cache_read_tokens=sum(view.cache_read_tokens for view in views),
        reasoning_tokens=sum(view.reasoning_tokens for view in views),
        tool_calls=() if turn.executions else last.tool_calls,
        **tokens,
        **ending,
    )


def translate_status(state: str) -> str:
    """The status of an answer, in the ledger's words, by how its turn ended."""
    return state if state in ("ok", "timeout", "truncated", "refused", "cancelled") else _STATUSES.get(state, "error")


def _sum(counts: list[int | None]) -> int | None:
    known_counts = [count for count in counts if count is not None]
    return sum(known_counts) if known_counts else None


def build_request(state: TurnState, request: CallRequest, tools: list[dict[str, Any]], call_id: str) -> CallRequest:
    """Make the request of the next round."""
    parameters = {**state.parameters, "tools": tools} if tools else dict(state.parameters)
    is_first = call_id == state.turn_id
    within = request.within if is_first else replace(request.within, parent_call_id=state.turn_id)
    tags = dict(state.tags) if is_first else {**state.tags, TOOL_TAG: _name_last_tools(state.messages)}
    return replace(
        request,
        messages=state.messages,
        parameters=parameters,
        call_id=call_id,
        within=within,
        tags=tags,
        wire=None,
        extra={},
        cache_policy=CachePolicy(reads=False, writes=False),  # what tools tell holds for this time
    )


def _name_last_tools(messages: list[dict[str, Any]]) -> str:
    """Name the tools whose results a round reads, each once, as its tag: what is spent on them is told by that."""
    asking: dict[str, Any] = next((message for message in reversed(messages) if message.get("tool_calls")), {})
    names = dict.fromkeys(str(call["function"]["name"]) for call in asking.get("tool_calls", ()))
    return ", ".join(sorted(names))[:_LONGEST_TAG]
