"""Thumbs for the answers of one's own conversations, kept as the custom metric `conversation_rating` of their calls.

So they stand beside every other figure: on the call, in the statistics by key and day, in exports. What is said last
counts; an answer that no call of the ledger made, like a workflow's, can't be rated.
"""

from sqlalchemy import select

from lib.access.permissions import Actor
from lib.activity.custom_metric import NewMetric
from lib.activity.custom_metrics import Metrics
from lib.calls.calls import Calls
from lib.conversations.rows import M, find
from lib.db.engine import Store
from lib.db.tables import custom_metrics
from lib.errors import InvalidInput

RATING = "conversation_rating"


class Ratings:
    """Writes and reads the ratings of one's own conversations."""

    def __init__(self, store: Store, calls: Calls, metrics: Metrics) -> None:
        self._store = store
        self._calls = calls
        self._metrics = metrics

    def rate(self, actor: Actor, conversation_id: str, message_id: str, *, is_good: bool) -> None:
        """Note on an answer's call whether it is good (1) or not (0); InvalidInput for what has no call."""
        with self._store.read() as connection:
            conversation = find(connection, actor, conversation_id)
            query = select(M.call_id).where(M.conversation_id == conversation.id, M.id == message_id)
            call_id = connection.scalar(query)
        if call_id is None:
            raise InvalidInput("This message has no call that could be rated.", field="message")
        self._calls.flush()
        note = NewMetric(RATING, float(is_good), "float", {"conversation": conversation_id, "message": message_id})
        self._metrics.record_many(actor, call_id, [note])

    def read(self, actor: Actor, conversation_id: str) -> dict[str, bool]:
        """Read the newest rating of each rated answer, by the message's id."""
        with self._store.read() as connection:
            conversation = find(connection, actor, conversation_id)
            query = (
                select(M.id, custom_metrics.c.number)
                .join(custom_metrics, custom_metrics.c.call_id == M.call_id)
                .where(M.conversation_id == conversation.id, custom_metrics.c.key == RATING)
                .order_by(custom_metrics.c.id)
            )
            return {message_id: number > 0 for message_id, number in connection.execute(query)}
