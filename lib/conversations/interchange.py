"""Conversations as files, out and in. An import is whole or nothing, and what was imported before is left alone."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select

from lib.access import audit
from lib.access.permissions import Actor
from lib.access.team_scope import require_team
from lib.calls.calls import Calls
from lib.clock import make_id, utc_now
from lib.configs.configurations import Configurations
from lib.conversations import exports, figures, imports
from lib.conversations.answers import settle
from lib.conversations.conversation import Conversation, Message, check_fields, check_text, require_owner
from lib.conversations.conversations import build_conversation_row
from lib.conversations.exports import ExportFormat
from lib.conversations.imports import ImportedConversation, ImportedMessage
from lib.conversations.rows import C, build_conversation, filter_own, find, load_tree, trace_path
from lib.conversations.thread import read_messages
from lib.db.engine import Store
from lib.db.tables import conversations, messages
from lib.errors import InvalidInput
from lib.tokens.text_estimate import estimate_tokens

MOST_AT_ONCE = 5_000
_LONGEST_ID = 120


@dataclass(frozen=True)
class Report:
    """What became of a file's conversations; `ids` are of those that are new here."""

    ids: tuple[str, ...]
    messages: int
    already_imported: int
    unreadable: int


class Interchange:
    """Writes files of one's own conversations, and reads other programs'."""

    def __init__(self, store: Store, calls: Calls, configurations: Configurations) -> None:
        self._store = store
        self._calls = calls
        self._configurations = configurations

    def export(self, actor: Actor, conversation_ids: Sequence[str] | None, form: ExportFormat) -> bytes:
        """Conversations as a file; None for all of one's own."""
        owner = require_owner(actor)
        self._calls.flush()
        settle(self._store, owner)
        with self._store.read() as connection:
            if conversation_ids is None:
                query = select(conversations).where(filter_own(actor)).order_by(C.created_at, C.id)
                selected = [build_conversation(row) for row in connection.execute(query).mappings()]
            else:
                selected = [find(connection, actor, selected_id) for selected_id in conversation_ids]
            body = exports.write(form, [_read_whole(connection, conversation) for conversation in selected])
        with self._store.write() as connection:
            audit.record(connection, actor, "conversation.export", form, conversations=len(selected))
        return body

    def import_file(self, actor: Actor, data: bytes) -> Report:
        """Take the conversations of a file; those that came from there before are counted, not taken again."""
        owner = require_owner(actor)
        imported, unreadable = imports.read(data)
        if len(imported) > MOST_AT_ONCE:
            raise InvalidInput(f"{len(imported):,} conversations are too many.", f"The limit is {MOST_AT_ONCE:,}.")
        app = actor.key.app if actor.key else "playground"
        default = self._configurations.default_for(actor, app)
        ids: list[str] = []
        count = 0
        with self._store.write() as connection:
            stored = connection.execute(select(C.source, C.source_id).where(filter_own(actor), C.source != ""))
            imported_keys = {(source, source_id) for source, source_id in stored}
            for conversation in imported:
                key = (conversation.source, conversation.source_id[:_LONGEST_ID])
                if key in imported_keys and key[1]:
                    continue
                imported_keys.add(key)
                row, message_rows = _build_rows(
                    conversation, owner, actor.key.app if actor.key else default.app, default.id
                )
                connection.execute(insert(conversations).values(**row, team_id=require_team(actor)))
                connection.execute(insert(messages), message_rows)
                ids.append(row["id"])
                count += len(message_rows)
        return Report(tuple(ids), count, len(imported) - len(ids), unreadable)


def _read_whole(
    connection: Connection, conversation: Conversation
) -> tuple[Conversation, list[Message], list[Message]]:
    tree = load_tree(connection, conversation.id, conversation.owner_id)
    all_messages = read_messages(connection, conversation, [*tree])
    costs = figures.sum_by_call(connection, (message.call_id for message in all_messages))
    priced = [
        replace(
            message,
            cost_nano_usd=cost.cost_nano_usd,
            cost_status=cost.cost_status,
            prompt_tokens=cost.prompt_tokens,
            completion_tokens=cost.completion_tokens,
        )
        if (cost := costs.get(message.call_id or "")) is not None
        else message
        for message in all_messages
    ]
    on_it = {node.id for node in trace_path(tree, conversation.leaf_id)}
    return conversation, priced, [message for message in priced if message.id in on_it]


def _build_rows(
    imported: ImportedConversation, owner: str, app: str, configuration_id: str
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The rows of a conversation under ids of our own; parents come before their children."""
    at = imported.at or utc_now()
    ordered = _sort_parents_first(imported.messages)
    fields = {
        "title": imported.title,
        "folder": imported.folder,
        "tags": imported.tags,
        "system_prompt": imported.system_prompt,
    }
    row = build_conversation_row(owner, app, at) | check_fields(fields)
    row |= {
        "source": imported.source,
        "source_id": imported.source_id[:_LONGEST_ID],
        "configuration_id": configuration_id,
    }
    row["title_source"] = "own" if row["title"] else ""
    rows: list[dict[str, Any]] = []
    ids: dict[str, str] = {}
    last = at
    for message in ordered:
        last = message.at or last
        shared = {"parent_id": ids.get(message.parent_id or ""), "conversation_id": row["id"], "owner_id": owner}
        ids[message.id] = make_id()
        rows.append(_build_message_row(message, check_text(message.content), last) | shared | {"id": ids[message.id]})
    row["leaf_id"] = ids.get(imported.leaf_id or "") or rows[-1]["id"]
    row["last_at"] = max(message_row["created_at"] for message_row in rows)
    return row, rows


def _build_message_row(imported: ImportedMessage, text: str, at: datetime) -> dict[str, Any]:
    return {
        "role": imported.role,
        "content": text,
        "parts": [],
        "tokens": estimate_tokens(text),
        "status": "ok",
        "model": imported.model[:200],
        "created_at": at,
    }


def _sort_parents_first(messages: Sequence[ImportedMessage]) -> list[ImportedMessage]:
    """Each after the message it follows; of a circle, or below a missing parent, the first becomes a beginning."""
    by_id = {message.id: message for message in messages}
    ordered: dict[str, ImportedMessage] = {}
    for message in by_id.values():
        chain = []
        current = message
        while current.id not in ordered and current not in chain:
            chain.append(current)
            if current.parent_id not in by_id:
                break
            current = by_id[current.parent_id]
        ordered |= {link.id: link for link in reversed(chain)}
    return [*ordered.values()]
