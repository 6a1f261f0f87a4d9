"""Which messages of a branch go to the model with the next question: pure functions over the branch's nodes.

The system prompt is apart: it always goes. A summary stands for everything up to its last message, whatever the
strategy; what follows it goes word for word. An answer that never brought a word is not sent.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from lib.conversations.conversation import RUNNING, MessageNode
from lib.conversations.strategy import ContextStrategy, StrategyKind

TURN_TOKENS = 4  # that a message's frame costs


@dataclass(frozen=True)
class Summary:
    """What stands for the older part of a branch; without `text` that part is left out."""

    id: str
    until_id: str
    text: str | None
    tokens: int
    call_id: str | None
    error_message: str | None
    created_at: datetime


@dataclass(frozen=True)
class Selection:
    """The messages that go, in order, the summary before them, and how many tokens all are thought to be."""

    nodes: tuple[MessageNode, ...]
    summary: Summary | None
    left_out: int
    tokens: int

    @property
    def ids(self) -> frozenset[str]:
        """The ids of the selected messages."""
        return frozenset(node.id for node in self.nodes)


def choose_context(
    path: Sequence[MessageNode], strategy: ContextStrategy, summaries: Mapping[str, Summary], system_tokens: int = 0
) -> Selection:
    """Select the messages of a branch (`path`) to send with the question that follows it.

    `summaries` are keyed by the id of the last message each stands for; `system_tokens` are spent before any message.
    """
    sendable = [node for node in path if node.status != RUNNING and (node.role != "assistant" or node.tokens)]
    summary, following = split_at_summary(path, sendable, summaries)
    spent = system_tokens + (summary.tokens if summary and summary.text else 0)
    turns = split_turns(following)
    match strategy.kind:
        case StrategyKind.LAST:
            turns = turns[-strategy.last :]
        case StrategyKind.BUDGET:
            turns = _select_fitting_turns(turns, strategy.tokens - spent)
        case StrategyKind.ALL | StrategyKind.SUMMARY:
            pass
    nodes = tuple(node for turn in turns for node in turn)
    return Selection(nodes, summary, len(sendable) - len(nodes), spent + sum_tokens(nodes))


def split_at_summary(
    path: Sequence[MessageNode], candidates: Sequence[MessageNode], summaries: Mapping[str, Summary]
) -> tuple[Summary | None, list[MessageNode]]:
    """The newest summary on the branch, and what was said after it."""
    positions = {node.id: number for number, node in enumerate(path)}
    ends = [positions[until] for until in summaries if until in positions]
    if not ends:
        return None, [*candidates]
    end = max(ends)
    return summaries[path[end].id], [node for node in candidates if positions[node.id] > end]


def split_turns(nodes: Sequence[MessageNode]) -> list[list[MessageNode]]:
    """Split messages into turns: a question and everything up to the next one."""
    turns: list[list[MessageNode]] = []
    for node in nodes:
        if node.role == "user" or not turns:
            turns.append([])
        turns[-1].append(node)
    return turns


def sum_tokens(nodes: Sequence[MessageNode]) -> int:
    """Estimated tokens of messages with their frames."""
    return sum(node.tokens + TURN_TOKENS for node in nodes)


def _select_fitting_turns(turns: list[list[MessageNode]], tokens: int) -> list[list[MessageNode]]:
    count = 0
    for turn in reversed(turns):
        tokens -= sum_tokens(turn)
        if tokens < 0:
            break
        count += 1
    return turns[len(turns) - count :]
