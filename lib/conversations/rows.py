"""Statements that every part of conversations uses. The owner, and a key's app, stand in each of them."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, select, true

from lib.access.permissions import Actor
from lib.conversations.conversation import (
    Conversation,
    Message,
    MessageNode,
    make_conversation_not_found,
    require_owner,
)
from lib.conversations.strategy import ContextStrategy
from lib.db.tables import conversations, messages

C = conversations.c
M = messages.c
_SAME = tuple(name for name in Conversation.__dataclass_fields__ if name not in ("strategy", "tags"))
_MESSAGE = ("id", "parent_id", "role", "content", "tokens", "status", "error_message", "call_id", "configuration_id")


def filter_own(actor: Actor) -> ColumnElement[bool]:
    """The conversations that the actor may see."""
    in_reach = true() if actor.key is None else C.app == actor.key.app
    return (C.owner_id == require_owner(actor)) & (C.team_id == actor.team_id) & in_reach


def find(connection: Connection, actor: Actor, conversation_id: str) -> Conversation:
    """Return the actor's conversation; raises NotFound for one of somebody else or none."""
    query = select(conversations).where(C.id == conversation_id, filter_own(actor))
    row = connection.execute(query).mappings().first() if conversation_id.isprintable() else None
    if row is None:
        raise make_conversation_not_found()
    return build_conversation(row)


def build_conversation(row: RowMapping) -> Conversation:
    """Make a conversation of its row."""
    values = {name: row[name] for name in _SAME}
    return Conversation(**values, tags=tuple(row["tags"]), strategy=ContextStrategy.from_record(row["context"]))


def build_message(row: RowMapping, **extra: Any) -> Message:
    """Make a message of its row; `extra` are fields that the row does not have."""
    values = {name: row[name] for name in (*_MESSAGE, "model", "created_at")}
    return Message(**values, parts=tuple(row["parts"]), **extra)


def load_tree(connection: Connection, conversation_id: str, owner_id: str) -> dict[str, MessageNode]:
    """The tree without its words, by id, in the order in which the messages were written."""
    columns = (M.id, M.parent_id, M.role, M.status, M.tokens)
    query = select(*columns).where(M.conversation_id == conversation_id, M.owner_id == owner_id).order_by(M.seq)
    return {row.id: MessageNode(*row) for row in connection.execute(query)}


def trace_path(tree: Mapping[str, MessageNode], leaf_id: str | None) -> list[MessageNode]:
    """The branch from the first message to a leaf."""
    path: list[MessageNode] = []
    while leaf_id is not None and (node := tree.get(leaf_id)) is not None:
        path.append(node)
        leaf_id = node.parent_id
    return path[::-1]


def find_newest_leaf(tree: Mapping[str, MessageNode], node_id: str) -> str:
    """The leaf that is reached from a message by following the newest branch each time."""
    newest_child = {node.parent_id: node.id for node in tree.values()}  # later ones take the place of earlier ones
    while (child := newest_child.get(node_id)) is not None:
        node_id = child
    return node_id


def compute_expiry(ttl_s: int | None, last_at: datetime) -> datetime | None:
    """When a conversation expires."""
    return None if ttl_s is None else last_at + timedelta(seconds=ttl_s)
