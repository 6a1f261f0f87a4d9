"""Full-text search over one's own conversations: FTS5 on SQLite, a GIN index over tsvector on PostgreSQL.

Every word must occur; of the last one, which may still be being written, three letters are enough for its beginning.
What the searcher writes is never read as an operator. The newest messages come first.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, literal_column, select, text

from lib.access.permissions import Actor
from lib.conversations.conversation import require_owner
from lib.conversations.rows import C, M, filter_own
from lib.db.engine import Store
from lib.db.tables import conversations, messages
from lib.patterns import compile_pattern

MOST_HITS = 30
_MOST_WORDS = 12
_AROUND = 70
_SHORTEST_BEGINNING = 3
_WORD = compile_pattern(r"\w+")
# Whose a message is stands in an index beside its number, so that those of others are passed over unread.
_FTS5 = text(
    "SELECT messages.seq FROM message_words JOIN messages INDEXED BY ix_messages_owner_id_seq "
    "ON messages.seq = message_words.rowid "
    "WHERE messages.owner_id = :owner AND message_words MATCH :asked ORDER BY message_words.rowid DESC LIMIT :most"
)


@dataclass(frozen=True)
class MessageHit:
    """A message that was found, and the words around the first one searched for."""

    conversation_id: str
    title: str
    message_id: str
    role: str
    excerpt: str
    created_at: datetime


class Search:
    """Reads the index; the owner stands in the statement."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def messages(self, actor: Actor, words: str, limit: int = MOST_HITS) -> list[MessageHit]:
        """Messages of one's own conversations that hold all the words; none for an empty search."""
        owner = require_owner(actor)
        searched = _WORD.findall(words)[:_MOST_WORDS]
        if not searched:
            return []
        columns = (M.conversation_id, C.title, M.id, M.role, M.content, M.created_at)
        query = (
            select(*columns)
            .join(conversations, C.id == M.conversation_id)
            .where(M.owner_id == owner, filter_own(actor))
        )
        if self._store.is_sqlite:
            terms = " ".join(f'"{word}"{"*" if begins else ""}' for word, begins in _build_terms(searched))
            matches = _FTS5.bindparams(owner=owner, asked=terms, most=10 * limit).columns(M.seq)
            query = query.where(M.seq.in_(matches))
        else:
            terms = " & ".join(f"'{word}'{':*' if begins else ''}" for word, begins in _build_terms(searched))
            indexed = func.to_tsvector(
                literal_column("'simple'"), func.left(messages.c.content, literal_column("200000"))
            )
            query = query.where(indexed.op("@@")(func.to_tsquery(literal_column("'simple'"), terms)))
        with self._store.read() as connection:
            rows = connection.execute(query.order_by(M.seq.desc()).limit(limit)).all()
        return [MessageHit(row[0], row[1], row[2], row[3], _cut_excerpt(row[4], searched), row[5]) for row in rows]


def _build_terms(searched: list[str]) -> list[tuple[str, bool]]:
    """Words, and whether a beginning is enough."""
    last = len(searched) - 1
    return [(word, n == last and len(word) >= _SHORTEST_BEGINNING) for n, word in enumerate(searched)]


def _cut_excerpt(content: str, searched: list[str]) -> str:
    """Cut the words around the first match out of a message, on one line."""
    lowered = content.lower()
    starts = [at for word in searched if (at := lowered.find(word.lower())) >= 0]
    start = max(0, min(starts, default=0) - _AROUND)
    piece = " ".join(content[start : start + 3 * _AROUND].split())
    return ("…" if start else "") + piece + ("…" if start + 3 * _AROUND < len(content) else "")
