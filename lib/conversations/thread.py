"""What is shown of a conversation: the last messages of a branch with their figures and siblings, older on demand."""

from collections import defaultdict
from dataclasses import dataclass, replace

from sqlalchemy import Connection, select

from lib.conversations import figures
from lib.conversations.context import Summary
from lib.conversations.conversation import Conversation, Message, MessageNode
from lib.conversations.figures import CallFigures
from lib.conversations.rows import M, build_message, load_tree, trace_path
from lib.db.tables import conversation_summaries, messages

_S = conversation_summaries.c


@dataclass(frozen=True)
class Thread:
    """A branch. `path` is all of it, without words; `messages` its last ones, `older` how many come before them."""

    conversation: Conversation
    path: tuple[MessageNode, ...]
    messages: tuple[Message, ...]
    older: int
    summaries: dict[str, Summary]
    figures: CallFigures

    @property
    def running(self) -> Message | None:
        """The answer that is being written."""
        last = self.messages[-1] if self.messages else None
        return last if last is not None and last.running else None


def read_thread(connection: Connection, conversation: Conversation, limit: int) -> Thread:
    """The last `limit` messages of the branch that is shown."""
    tree = load_tree(connection, conversation.id, conversation.owner_id)
    path = trace_path(tree, conversation.leaf_id)
    tail = path[-limit:] if limit else path
    children: dict[str | None, list[str]] = defaultdict(list)
    for node in tree.values():
        children[node.parent_id].append(node.id)
    read = read_messages(connection, conversation, [node.id for node in tail])
    costs = figures.sum_by_call(connection, (message.call_id for message in read))
    return Thread(
        conversation=conversation,
        path=tuple(path),
        messages=tuple(_add_figures(message, tuple(children[message.parent_id]), costs) for message in read),
        older=len(path) - len(tail),
        summaries=read_summaries(connection, conversation),
        figures=figures.sum_conversation(connection, conversation.id),
    )


def read_messages(connection: Connection, conversation: Conversation, ids: list[str]) -> list[Message]:
    """Messages with their words, in the order of `ids`."""
    by_id: dict[str, Message] = {}
    for start in range(0, len(ids), 5_000):  # databases bound a statement's parameters
        query = select(messages).where(
            M.id.in_(ids[start : start + 5_000]),
            M.conversation_id == conversation.id,
            M.owner_id == conversation.owner_id,
        )
        by_id |= {row["id"]: build_message(row) for row in connection.execute(query).mappings()}
    return [by_id[message_id] for message_id in ids if message_id in by_id]


def read_summaries(connection: Connection, conversation: Conversation) -> dict[str, Summary]:
    """Read a conversation's summaries, keyed by the last message each stands for; of two the newer."""
    query = (
        select(_S.id, _S.until_id, _S.text, _S.tokens, _S.call_id, _S.error_message, _S.created_at)
        .where(_S.conversation_id == conversation.id, _S.owner_id == conversation.owner_id)
        .order_by(_S.id)
    )
    return {row.until_id: Summary(*row) for row in connection.execute(query)}


def _add_figures(message: Message, siblings: tuple[str, ...], costs: dict[str, CallFigures]) -> Message:
    call_figures = costs.get(message.call_id or "")
    if call_figures is None:
        return replace(message, siblings=siblings)
    return replace(
        message,
        siblings=siblings,
        cost_nano_usd=call_figures.cost_nano_usd,
        cost_status=call_figures.cost_status,
        prompt_tokens=call_figures.prompt_tokens,
        completion_tokens=call_figures.completion_tokens,
        is_remembered=call_figures.remembered > 0,
        saved_nano_usd=call_figures.saved_nano_usd,
    )
