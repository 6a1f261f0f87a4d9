"""The messages of requests, each stored once: a conversation of n turns keeps n messages, and not n of each.

A request is a chain: each link names the one before it and a message, so a request that goes on from an earlier one
shares all of its links and adds its own. `usage_payloads.messages_id` names the last link; short requests of one or two
messages stay in the payload whole, and so do those that were stored before there were chains: readers take both
(`restore_request`). What is stored is what the content policy lets be stored, in that form.

Links and messages are named by an HMAC under a key of the vault, within their owner: whoever reads the database can't
find out from a name whether somebody wrote a certain text, and nobody's messages are shared with another's. They are
counted by the indexes of what refers to them, and go with the last reference (`drop_unused`). Writers hold the lock of
the ledger's clock, so none refers to what another one deletes.
"""

import hmac
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, bindparam, delete, exists, literal, select

from lib.db import installation
from lib.db.bulk import insert_rows
from lib.db.compiled_statements import CompiledStatement
from lib.db.engine import Store
from lib.db.tables import ledger_clock, message_links, stored_messages, usage_payloads
from lib.db.vault import Vault, get_sealed_value
from lib.fast_json import encode
from lib.ledger.content_policy import FULL, read_stored_messages, read_stored_policy
from lib.ledger.usage_row import UsageRow

_KEY = "messages.key"  # the setting that holds the sealed key
_SHORT = 2  # messages, and bytes of JSON: such a request is stored whole
_SMALL = 4_096
_TAIL = 8  # links of a chain that are looked for first: a turn adds two or three
_MOST_AT_ONCE = 5_000  # ids a statement
_L = message_links.c
_IDS: Any = bindparam("ids", expanding=True)
_LINKS = CompiledStatement(select(_L.id).where(_L.id.in_(_IDS)))
_MESSAGES = CompiledStatement(select(stored_messages.c.id).where(stored_messages.c.id.in_(_IDS)))


class _Link(Struct, frozen=True):
    """A message of a request after those before it."""

    id: str
    parent_id: str | None
    message_id: str
    owner_id: str
    team_id: int
    message: Mapping[str, Any]


class KeptMessages:
    """Stores the messages of payloads; `key` are 32 secret bytes, the same for all processes of an installation."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def fold(self, connection: Connection, payloads: Sequence[dict[str, Any]], rows: Iterable[UsageRow]) -> None:
        """Move the messages of payloads, which are to be inserted for these rows, into rows of their own.

        Each payload gets `messages_id`. In the transaction that inserts them, which holds the ledger's clock.
        """
        chains = list[list[_Link]]()
        for payload, row in zip(payloads, rows, strict=True):
            payload["messages_id"] = None
            messages = read_stored_messages(payload.get("request"))
            if len(messages) <= _SHORT and (not messages or len(encode(messages)) <= _SMALL):
                continue
            chain = self._build_chain(row.user_id or "", row.team_id, messages)
            payload["messages_id"] = chain[-1].id
            payload["request"] = _strip_messages(payload["request"])
            chains.append(chain)
        if chains:
            _insert_links(connection, _find_missing(connection, chains))

    def _build_chain(self, owner_id: str, team_id: int, messages: Iterable[Mapping[str, Any]]) -> list[_Link]:
        chain = list[_Link]()
        parent_id: str | None = None
        for message in messages:
            message_id = self._name("message", owner_id, encode(message))
            link_id = self._name("link", owner_id, f"{parent_id or ''} {message_id}".encode())
            chain.append(_Link(link_id, parent_id, message_id, owner_id, team_id, message))
            parent_id = link_id
        return chain

    def _name(self, kind: str, owner_id: str, content: bytes) -> str:
        """The keyed name of a content: 43 characters."""
        digest = hmac.digest(self._key, f"{kind} {owner_id} ".encode() + content, "sha256")
        return urlsafe_b64encode(digest)[:43].decode()


def load_kept_messages(store: Store, vault: Vault) -> KeptMessages:
    """The keeper of an installation's messages; its key is made when there is none, and sealed by the vault."""
    with store.read() as connection:
        sealed = get_sealed_value(installation.read(connection, _KEY))
    if sealed is None:
        with store.write() as connection:
            connection.execute(select(ledger_clock.c.id).with_for_update())
            sealed = get_sealed_value(installation.read(connection, _KEY))  # another process may have been first
            if sealed is None:
                sealed = vault.encrypt(secrets.token_hex(32), within=connection)
                installation.write(connection, _KEY, {"sealed": sealed})
    return KeptMessages(bytes.fromhex(vault.decrypt(sealed)))


def restore_request(connection: Connection, row: Mapping[Any, Any]) -> Any:
    """The request of a payload's row (its columns `request` and `messages_id`) as if it were stored whole."""
    request = row["request"]
    if row["messages_id"] is None:
        return request
    messages = read_messages(connection, row["messages_id"])
    return messages if read_stored_policy(request) == FULL else {**request, "messages": messages}


def read_messages(connection: Connection, messages_id: str) -> list[dict[str, Any]]:
    """The messages of a chain by its last link, in their order; empty when there is no such link."""
    path = select(_L.parent_id, _L.message_id, literal(0).label("depth")).where(_L.id == messages_id)
    links = path.cte("path", recursive=True)
    earlier = select(_L.parent_id, _L.message_id, links.c.depth + 1).join(links, _L.id == links.c.parent_id)
    links = links.union_all(earlier)
    joined = select(stored_messages.c.message).join(links, links.c.message_id == stored_messages.c.id)
    return list(connection.scalars(joined.order_by(links.c.depth.desc())))


def drop_unused(connection: Connection, messages_ids: Collection[str]) -> None:
    """Delete of these chains, whose payloads have been deleted, what no other payload or chain refers to."""
    if not messages_ids:
        return
    connection.execute(select(ledger_clock.c.id).with_for_update())
    following = message_links.alias("following")
    is_used = exists().where(usage_payloads.c.messages_id == _L.id)
    is_followed = exists().where(following.c.parent_id == _L.id)
    going = set(messages_ids)
    while going:
        unused = select(_L.id, _L.parent_id, _L.message_id).where(_L.id.in_(going), ~is_used, ~is_followed)
        links = connection.execute(unused).all()
        connection.execute(delete(message_links).where(_L.id.in_([link.id for link in links])))
        has_link = exists().where(_L.message_id == stored_messages.c.id)
        unnamed = stored_messages.c.id.in_({link.message_id for link in links})
        connection.execute(delete(stored_messages).where(unnamed, ~has_link))
        going = {link.parent_id for link in links if link.parent_id is not None}


def _strip_messages(request: Any) -> dict[str, Any]:
    """Return a stored request without its messages."""
    if not isinstance(request, Mapping):
        return {"content_policy": FULL}
    return {name: value for name, value in request.items() if name != "messages"}


def _find_missing(connection: Connection, chains: Sequence[Sequence[_Link]]) -> dict[str, _Link]:
    """The links that are not stored, by id. Where a link is stored, all before it are."""
    stored = _find_stored(connection, _LINKS, {link.id for chain in chains for link in chain[-_TAIL:]})
    unmet = [chain for chain in chains if len(chain) > _TAIL and stored.isdisjoint(link.id for link in chain[-_TAIL:])]
    stored |= _find_stored(connection, _LINKS, {link.id for chain in unmet for link in chain[:-_TAIL]})
    missing: dict[str, _Link] = {}
    for chain in chains:
        new = list[_Link]()
        for link in reversed(chain):
            if link.id in stored:
                break
            new.append(link)
        missing.update((link.id, link) for link in reversed(new))
    return missing


def _find_stored(connection: Connection, query: CompiledStatement, ids: Collection[str]) -> set[str]:
    listed = list(ids)
    parts = (listed[start : start + _MOST_AT_ONCE] for start in range(0, len(listed), _MOST_AT_ONCE))
    return {row.id for part in parts for row in query.all(connection, {"ids": part})}


def _insert_links(connection: Connection, links: Mapping[str, _Link]) -> None:
    messages = {link.message_id: link for link in links.values()}
    stored = _find_stored(connection, _MESSAGES, messages.keys())
    new = [link for message_id, link in messages.items() if message_id not in stored]
    rows = [
        {"id": link.message_id, "owner_id": link.owner_id, "team_id": link.team_id, "message": dict(link.message)}
        for link in new
    ]
    insert_rows(connection, stored_messages, rows)
    columns = ("id", "parent_id", "message_id", "owner_id", "team_id")
    insert_rows(connection, message_links, [{name: getattr(link, name) for name in columns} for link in links.values()])
