"""What conversations cost, by message and in sum: read from the ledger, which alone knows."""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from lib.db.tables import tool_turns, usage_logs

_L = usage_logs.c


@dataclass(frozen=True)
class CallFigures:
    """Of the calls of a message or conversation, all attempts; None is unknown.

    The cost of `unpriced` ones is not, or not wholly, in the sum.
    """

    calls: int
    prompt_tokens: int | None
    completion_tokens: int | None
    cost_nano_usd: int | None
    unpriced: int
    estimated: int
    remembered: int = 0  # answers from memory
    saved_nano_usd: int | None = None

    @property
    def cost_status(self) -> str:
        """How far the cost is known, in the ledger's words: unpriced, partial, estimated or priced."""
        if self.cost_nano_usd is None:
            return "unpriced"
        return "partial" if self.unpriced else "estimated" if self.estimated else "priced"


_COLUMNS = (
    func.count().filter(_L.is_final),
    func.sum(_L.prompt_tokens),
    func.sum(_L.completion_tokens),
    func.sum(_L.cost_nano_usd),
    func.count().filter(_L.cost_status.in_(("unpriced", "partial"))),
    func.count().filter(_L.cost_status == "estimated"),
    func.count().filter(_L.cache != "none"),
    func.sum(_L.saved_nano_usd),
)


def sum_by_call(connection: Connection, call_ids: Iterable[str | None]) -> dict[str, CallFigures]:
    """Figures of each call that has ended, by its id; of a turn with tools those of all its rounds together."""
    known_ids = [call_id for call_id in call_ids if call_id is not None]
    if not known_ids:
        return {}
    turns = connection.execute(select(tool_turns.c.id, tool_turns.c.calls).where(tool_turns.c.id.in_(known_ids))).all()
    first_of = {call_id: turn_id for turn_id, rounds in turns for call_id in rounds}
    every_id = {*known_ids, *first_of}
    query = select(_L.call_id, *_COLUMNS).where(_L.call_id.in_(every_id)).group_by(_L.call_id)
    sums: dict[str, list[int | None]] = {}
    for call_id, *counts in connection.execute(query):
        first_id = first_of.get(call_id, call_id)
        earlier = sums.get(first_id)
        sums[first_id] = counts if earlier is None else list(map(_add, earlier, counts))
    return {call_id: _build_figures(counts) for call_id, counts in sums.items()}


def _add(first: int | None, second: int | None) -> int | None:
    """Add two sums, of which one may be of nothing known."""
    return second if first is None else first if second is None else first + second


def sum_conversation(connection: Connection, conversation_id: str) -> CallFigures:
    """Figures of all calls of a conversation: every branch, titles and summaries included."""
    row = connection.execute(select(*_COLUMNS).where(_L.conversation_id == conversation_id)).one()
    return _build_figures(row)


def _build_figures(row: Iterable[int | None]) -> CallFigures:
    columns = [None if value is None else int(value) for value in row]
    calls, prompt, completion, cost, unpriced, estimated, remembered, saved = columns
    counts = (unpriced or 0, estimated or 0, remembered or 0)
    return CallFigures(calls or 0, prompt, completion, cost, *counts, saved)
