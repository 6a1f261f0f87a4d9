"""Opening and closing rows: the only writer of `open_calls` and, for live calls, of `usage_logs`.

All calls that open or close while a transaction is under way share the next one (group commit). An opening that can't
be written is an error for its caller, and nothing is sent. A closing is in the spool first, so a database that is
locked, full or gone only delays it: it is tried again until it is in.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, delete, select, update
from sqlalchemy.exc import SQLAlchemyError

from lib.access.limits import Claim, RateLimits
from lib.budgets.holds import settle_many
from lib.calls import admission
from lib.calls.admission import Answer, Ask
from lib.calls.spool import Spool
from lib.clock import utc_now
from lib.db.bulk import insert_rows
from lib.db.engine import Store
from lib.db.tables import ledger_clock, open_calls, usage_logs, usage_payloads
from lib.errors import LLMManagerError

log = logging.getLogger(__name__)
_RETRY_S = 1.0
_MOST_AT_ONCE = 5_000  # rows a statement: databases bound its parameters
_MOMENTS = ("started_at", "finished_at")


@dataclass(slots=True)
class Closing:
    """The end of an attempt: the row of `usage_logs` (without its change_seq) and that of `usage_payloads`.

    `claim` is what the call took of the limits; it is not spooled: after a crash the estimate goes on to count.
    """

    row: dict[str, Any]
    payload: dict[str, Any] = field(default_factory=dict)
    claim: Claim | None = None

    def to_record(self) -> dict[str, Any]:
        """As JSON can hold it."""
        moments = {name: self.row[name].isoformat() for name in _MOMENTS}
        return {"row": self.row | moments, "payload": self.payload}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Closing":
        """Back from the spool."""
        row = dict(record["row"])
        for name in _MOMENTS:
            row[name] = datetime.fromisoformat(row[name])
        return cls(row, dict(record["payload"]))


class Ledger:
    """Batches of openings and closings, one transaction at a time; belongs to one event loop."""

    def __init__(self, store: Store, spool: Spool, limits: RateLimits) -> None:
        self._store, self._spool, self._limits = store, spool, limits
        self._opening: list[_Opening] = []
        self._closing: list[Closing] = []
        self._doubtful: list[str] = []  # openings that failed, perhaps after their commit: they must not stay open
        self._spent: list[Path] = []  # spool files whose records are all in this or an earlier batch
        self._flusher: asyncio.Task[None] | None = None

    async def open(self, row: dict[str, Any], ask: Ask) -> Answer:
        """Ask budgets and limits; unless they refuse, the row of `open_calls` is committed when this returns."""
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._opening.append(_Opening(row, ask, answered))
        self._wake()
        return await answered

    def close(self, closing: Closing) -> None:
        """Take the end of an attempt: on disk when this returns, in the database soon after."""
        try:
            self._spool.append(closing.to_record())
            self._spool.forget(closing.row["id"])
        except OSError:
            log.error("The spool can't be written: the end of call %s waits in memory.", closing.row["id"])
        self._closing.append(closing)
        self._wake()

    def checkpoint(self, log_id: str, record: dict[str, Any]) -> None:
        """Keep what an answer holds so far; a full disk only costs this safety net."""
        try:
            self._spool.checkpoint(log_id, record)
        except OSError:
            log.warning("The spool can't be written: call %s goes on without a checkpoint.", log_id)

    async def drain(self) -> None:
        """Return when everything taken so far has been written."""
        while self._flusher is not None and not self._flusher.done():
            await asyncio.shield(self._flusher)

    def _wake(self) -> None:
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.get_running_loop().create_task(self._flush())

    async def _flush(self) -> None:
        while self._opening or self._closing or self._doubtful:
            opening, self._opening = self._opening, []
            closing, self._closing = self._closing, []
            doubtful, self._doubtful = self._doubtful, []
            if (segment := self._spool.rotate()) is not None:
                self._spent.append(segment)
            answers, error = await asyncio.to_thread(self._commit, opening, closing, doubtful)
            if error is None:
                for path in self._spent:
                    path.unlink(missing_ok=True)
                self._spent.clear()
            else:
                self._closing[:0] = closing
                self._doubtful += doubtful + [one.row["id"] for one in opening]
            for number, one in enumerate(opening):
                if not one.answered.done():
                    if error is None:
                        one.answered.set_result(answers[number])
                    else:
                        one.answered.set_exception(error)
            if error is not None:
                await asyncio.sleep(_RETRY_S)

    def _commit(
        self, opening: list["_Opening"], closing: list[Closing], doubtful: list[str]
    ) -> tuple[list[Answer], Exception | None]:
        """Ended attempts first: what they give back may let the next ones pass."""
        answers: list[Answer] = []
        try:
            with self._store.write() as connection:
                insert_closings(connection, closing, self._limits)
                if doubtful:
                    connection.execute(delete(open_calls).where(open_calls.c.id.in_(doubtful)))
                    settle_many(connection, dict.fromkeys(doubtful, 0), utc_now())
                if opening:
                    answers = admission.admit(connection, [one.ask for one in opening], self._limits, utc_now())
                    rows = [one.row for one, answer in zip(opening, answers, strict=True) if answer.refusal is None]
                    if rows:
                        insert_rows(connection, open_calls, rows)
        except (SQLAlchemyError, LLMManagerError, OSError) as error:
            log.error("The ledger could not be written, %d closings wait: %s", len(closing), error)
            return [], error
        return answers, None


@dataclass(slots=True)
class _Opening:
    row: dict[str, Any]
    ask: Ask
    answered: asyncio.Future[Answer]


def insert_closings(connection: Connection, closings: Iterable[Closing], limits: RateLimits | None = None) -> int:
    """Move ended attempts into `usage_logs` and settle what was held for them, each once whatever is tried again.

    How many were new.
    """
    left = iter({closing.row["id"]: closing for closing in closings}.values())
    new = 0
    while batch := list(islice(left, _MOST_AT_ONCE)):
        new += _insert_batch(connection, batch, limits)
    return new


def _insert_batch(connection: Connection, closings: list[Closing], limits: RateLimits | None) -> int:
    ids = [closing.row["id"] for closing in closings]
    sequence = take_sequence(connection, len(ids))
    there = set(connection.scalars(select(usage_logs.c.id).where(usage_logs.c.id.in_(ids))))
    fresh = [closing for closing in closings if closing.row["id"] not in there]
    if fresh:
        rows = [dict(closing.row, change_seq=sequence + n) for n, closing in enumerate(fresh)]
        insert_rows(connection, usage_logs, rows)
        if payloads := [dict(c.payload, id=c.row["id"]) for c in fresh if c.payload]:
            insert_rows(connection, usage_payloads, payloads)
        spent = (admission.spent_by(closing.row, closing.claim) for closing in fresh)
        admission.settle(connection, spent, limits, utc_now())
    connection.execute(delete(open_calls).where(open_calls.c.id.in_(ids)))
    return len(fresh)


def take_sequence(connection: Connection, count: int) -> int:
    """Reserve `count` change numbers and return the first; the row's lock makes their order that of the commits."""
    taken = (
        update(ledger_clock)
        .where(ledger_clock.c.id == 1)
        .values(change_seq=ledger_clock.c.change_seq + count)
        .returning(ledger_clock.c.change_seq)
    )
    return int(connection.execute(taken).scalar_one()) - count + 1
