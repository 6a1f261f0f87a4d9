"""Conversations as files, out and in. An import is whole or nothing, and what was imported before is left alone."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select

from lib.access import audit
from lib.access.permissions import Actor
from lib.calls.calls import Calls
from lib.clock import new_id, utc_now
from lib.configs.configurations import Configurations
from lib.conversations import exports, figures, imports
from lib.conversations.answers import settle
from lib.conversations.conversation import Conversation, Message, checked_fields, checked_text, owner_of
from lib.conversations.conversations import new_conversation
from lib.conversations.exports import Form
from lib.conversations.imports import Found, Said
from lib.conversations.rows import C, conversation_of, find, mine, nodes, path_to
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
    known: int
    unreadable: int


class Interchange:
    """Writes files of one's own conversations, and reads other programs'."""

    def __init__(self, store: Store, calls: Calls, configurations: Configurations) -> None:
        self._store = store
        self._calls = calls
        self._configurations = configurations

    def export(self, actor: Actor, conversation_ids: Sequence[str] | None, form: Form) -> bytes:
        """Conversations as a file; None for all of one's own."""
        owner = owner_of(actor)
        self._calls.flush()
        settle(self._store, owner)
        with self._store.read() as connection:
            if conversation_ids is None:
                query = select(conversations).where(mine(actor)).order_by(C.created_at, C.id)
                wanted = [conversation_of(row) for row in connection.execute(query).mappings()]
            else:
                wanted = [find(connection, actor, one) for one in conversation_ids]
            body = exports.write(form, [_whole(connection, one) for one in wanted])
        with self._store.write() as connection:
            audit.record(connection, actor, "conversation.export", form, conversations=len(wanted))
        return body

    def import_file(self, actor: Actor, data: bytes) -> Report:
        """Take the conversations of a file; those that came from there before are counted, not taken again."""
        owner = owner_of(actor)
        found, unreadable = imports.read(data)
        if len(found) > MOST_AT_ONCE:
            raise InvalidInput(f"{len(found):,} conversations are too many.", f"The limit is {MOST_AT_ONCE:,}.")
        app = actor.key.app if actor.key else "playground"
        chosen = self._configurations.default_for(actor, app)
        ids: list[str] = []
        count = 0
        with self._store.write() as connection:
            there = connection.execute(select(C.source, C.source_id).where(mine(actor), C.source != ""))
            known = {(source, source_id) for source, source_id in there}
            for one in found:
                key = (one.source, one.source_id[:_LONGEST_ID])
                if key in known and key[1]:
                    continue
                known.add(key)
                row, said = _rows(one, owner, actor.key.app if actor.key else chosen.app, chosen.id)
                connection.execute(insert(conversations).values(**row))
                connection.execute(insert(messages), said)
                ids.append(row["id"])
                count += len(said)
        return Report(tuple(ids), count, len(found) - len(ids), unreadable)


def _whole(connection: Connection, conversation: Conversation) -> tuple[Conversation, list[Message], list[Message]]:
    tree = nodes(connection, conversation.id, conversation.owner_id)
    every = read_messages(connection, conversation, [*tree])
    costs = figures.of_calls(connection, (message.call_id for message in every))
    told = [
        replace(
            message,
            cost_nano_usd=cost.cost_nano_usd,
            prompt_tokens=cost.prompt_tokens,
            completion_tokens=cost.completion_tokens,
        )
        if (cost := costs.get(message.call_id or "")) is not None
        else message
        for message in every
    ]
    on_it = {node.id for node in path_to(tree, conversation.leaf_id)}
    return conversation, told, [message for message in told if message.id in on_it]


def _rows(found: Found, owner: str, app: str, configuration_id: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The rows of a conversation under ids of our own; parents come before their children."""
    at = found.at or utc_now()
    ordered = _parents_first(found.messages)
    fields = {"title": found.title, "folder": found.folder, "tags": found.tags, "system_prompt": found.system_prompt}
    row = new_conversation(owner, app, at) | checked_fields(fields)
    row |= {"source": found.source, "source_id": found.source_id[:_LONGEST_ID], "configuration_id": configuration_id}
    row["title_source"] = "own" if row["title"] else ""
    rows: list[dict[str, Any]] = []
    ids: dict[str, str] = {}
    last = at
    for said in ordered:
        last = said.at or last
        same = {"parent_id": ids.get(said.parent_id or ""), "conversation_id": row["id"], "owner_id": owner}
        ids[said.id] = new_id()
        rows.append(_message(said, checked_text(said.content), last) | same | {"id": ids[said.id]})
    row["leaf_id"] = ids.get(found.leaf_id or "") or rows[-1]["id"]
    row["last_at"] = max(one["created_at"] for one in rows)
    return row, rows


def _message(said: Said, text: str, at: datetime) -> dict[str, Any]:
    return {
        "role": said.role,
        "content": text,
        "parts": [],
        "tokens": estimate_tokens(text),
        "status": "ok",
        "model": said.model[:200],
        "created_at": at,
    }


def _parents_first(messages: Sequence[Said]) -> list[Said]:
    """Each after the message it follows; of a circle, or below a missing parent, the first becomes a beginning."""
    by_id = {said.id: said for said in messages}
    ordered: dict[str, Said] = {}
    for said in by_id.values():
        chain = []
        one = said
        while one.id not in ordered and one not in chain:
            chain.append(one)
            if one.parent_id not in by_id:
                break
            one = by_id[one.parent_id]
        ordered |= {link.id: link for link in reversed(chain)}
    return [*ordered.values()]
