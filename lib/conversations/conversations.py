"""One's own conversations: the list, and what is set on each; what is said in them is `lib.conversations.talk`.

Deleting removes messages and files for good; the calls stay in the ledger, as everything that was paid for does.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Text, cast, delete, func, insert, or_, select, update

from lib.access.permissions import Actor
from lib.access.team_scope import require_team
from lib.clock import make_id, utc_now
from lib.configs.configuration import Configuration
from lib.configs.configurations import Configurations
from lib.configs.scope import find_in_scope
from lib.conversations.conversation import (
    Conversation,
    Status,
    check_fields,
    make_conversation_not_found,
    require_owner,
)
from lib.conversations.rows import C, build_conversation, compute_expiry, filter_own, find
from lib.conversations.strategy import ContextStrategy
from lib.db.engine import Store
from lib.db.tables import conversation_files, conversation_summaries, conversations, messages

PAGE_SIZE = 30


@dataclass(frozen=True)
class ConversationQuery:
    """Filters of the list of conversations; None does not filter."""

    status: Status | None = None
    folder: str | None = None
    tag: str | None = None
    archived: bool = False


class Conversations:
    """Reads and changes of one owner's; nobody sees or changes another's, whatever their role."""

    def __init__(self, store: Store, configurations: Configurations) -> None:
        self._store = store
        self._configurations = configurations

    def create(
        self,
        actor: Actor,
        *,
        configuration: str | None = None,
        title: str = "",
        system_prompt: str | None = None,
        ttl_s: int | None = None,
        strategy: ContextStrategy | None = None,
        folder: str = "",
        tags: Sequence[str] = (),
    ) -> Conversation:
        """Begin one with a configuration (slug or id; None: the app's default); nothing is sent."""
        owner = require_owner(actor)
        active = find_in_scope(actor, configuration, lambda: self._find_configuration(actor, configuration))
        now = utc_now()
        fields = check_fields(
            {
                "title": title,
                "system_prompt": system_prompt,
                "ttl_s": ttl_s,
                "strategy": strategy or ContextStrategy(),
                "folder": folder,
                "tags": tags,
            }
        )
        row = build_conversation_row(owner, actor.key.app if actor.key else active.app, now) | fields
        row |= {"configuration_id": active.id, "title_source": "own" if row["title"] else ""}
        row["expires_at"] = compute_expiry(row["ttl_s"], now)
        row["team_id"] = require_team(actor)
        with self._store.write() as connection:
            connection.execute(insert(conversations).values(**row))
            return find(connection, actor, row["id"])

    def get(self, actor: Actor, conversation_id: str) -> Conversation:
        """Return one of the actor's conversations; raises NotFound for any other."""
        with self._store.read() as connection:
            return find(connection, actor, conversation_id)

    def list(
        self, actor: Actor, query: ConversationQuery | None = None, page: int = 1
    ) -> tuple[list[Conversation], bool]:
        """A page, pinned first, then by the last message; and whether there are more."""
        conditions = [filter_own(actor), *_list_conditions(query or ConversationQuery())]
        statement = (
            select(conversations)
            .where(*conditions)
            .order_by(C.is_pinned.desc(), C.last_at.desc(), C.id.desc())
            .limit(PAGE_SIZE + 1)
            .offset((max(page, 1) - 1) * PAGE_SIZE)
        )
        with self._store.read() as connection:
            rows = connection.execute(statement).mappings().all()
        return [build_conversation(row) for row in rows[:PAGE_SIZE]], len(rows) > PAGE_SIZE

    def count(self, actor: Actor) -> int:
        """Count the actor's conversations, archived ones included."""
        with self._store.read() as connection:
            return int(connection.execute(select(func.count()).where(filter_own(actor))).scalar_one())

    def folders(self, actor: Actor) -> Sequence[str]:
        """Names of the folders in use."""
        query = select(C.folder).where(filter_own(actor), C.folder != "").distinct().order_by(C.folder)
        with self._store.read() as connection:
            return [*connection.scalars(query)]

    def tags(self, actor: Actor) -> Sequence[str]:
        """Names of the tags in use."""
        with self._store.read() as connection:
            tag_lists = connection.scalars(select(C.tags).where(filter_own(actor)))
            return sorted({tag for tags in tag_lists for tag in tags})

    def _find_configuration(self, actor: Actor, configuration: str | None) -> Configuration:
        if configuration is None:
            return self._configurations.default_for(actor, actor.key.app if actor.key else "playground")
        return self._configurations.get(actor, configuration)

    def update(self, actor: Actor, conversation_id: str, **fields: Any) -> Conversation:
        """Change title, folder, tags, is_pinned, is_archived, ttl_s, system_prompt, strategy or configuration."""
        if (slug := fields.pop("configuration", None)) is not None:
            new_configuration = find_in_scope(actor, slug, lambda: self._configurations.get(actor, slug))
            fields["configuration_id"] = new_configuration.id
        values = check_fields(fields)
        if "title" in values:
            values |= {"title_source": "own" if values["title"] else "", "title_call_id": None}
        with self._store.write() as connection:
            conversation = find(connection, actor, conversation_id)
            if "ttl_s" in values:  # from now on: a shorter one does not end what is being read
                values["expires_at"] = compute_expiry(values["ttl_s"], utc_now())
            if values:
                connection.execute(
                    update(conversations).where(C.id == conversation.id, filter_own(actor)).values(**values)
                )
            return find(connection, actor, conversation_id)

    def end(self, actor: Actor, conversation_id: str) -> Conversation:
        """Nothing more is said in it until it is opened again."""
        return self._set(actor, conversation_id, ended_at=utc_now())

    def reopen(self, actor: Actor, conversation_id: str) -> Conversation:
        """Go on with one that was ended or has expired."""
        conversation = self.get(actor, conversation_id)
        return self._set(
            actor, conversation_id, ended_at=None, expires_at=compute_expiry(conversation.ttl_s, utc_now())
        )

    def delete(self, actor: Actor, conversation_id: str) -> None:
        """Remove it with its messages, files and summaries."""
        with self._store.write() as connection:
            gone = connection.execute(delete(conversations).where(C.id == conversation_id, filter_own(actor)))
            if gone.rowcount == 0:
                raise make_conversation_not_found()
            for table in (messages, conversation_files, conversation_summaries):
                mine_too = (table.c.conversation_id == conversation_id, table.c.owner_id == require_owner(actor))
                connection.execute(delete(table).where(*mine_too))

    def _set(self, actor: Actor, conversation_id: str, **values: Any) -> Conversation:
        with self._store.write() as connection:
            done = connection.execute(
                update(conversations).where(C.id == conversation_id, filter_own(actor)).values(**values)
            )
            if done.rowcount == 0:
                raise make_conversation_not_found()
            return find(connection, actor, conversation_id)


def build_conversation_row(owner: str, app: str, now: Any) -> dict[str, Any]:
    """The row of an empty conversation."""
    return {
        "id": make_id(),
        "owner_id": owner,
        "app": app,
        "title": "",
        "title_source": "",
        "folder": "",
        "tags": [],
        "is_pinned": False,
        "is_archived": False,
        "context": {},
        "source": "",
        "source_id": "",
        "created_at": now,
        "last_at": now,
    }


def _list_conditions(query: ConversationQuery) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [C.is_archived == query.archived]
    if query.folder is not None:
        conditions.append(C.folder == query.folder)
    if query.tag is not None:
        conditions.append(_has_tag(query.tag))
    alive = or_(C.expires_at.is_(None), C.expires_at > utc_now())
    match query.status:
        case Status.ACTIVE:
            conditions += [C.ended_at.is_(None), alive]
        case Status.ENDED:
            conditions.append(C.ended_at.is_not(None))
        case Status.EXPIRED:
            conditions += [C.ended_at.is_(None), ~alive]
        case None:
            pass
    return conditions


def _has_tag(tag: str) -> ColumnElement[bool]:
    """Whether the JSON list holds the tag, as it stands in the stored text."""
    spelled = [json.dumps(tag, ensure_ascii=ascii_only) for ascii_only in (True, False)]
    return or_(*(cast(C.tags, Text).contains(text, autoescape=True) for text in spelled))
