"""Opening and closing rows: the only writer of `open_calls` and, for live calls, of `usage_logs`.

All calls that open or close while a transaction is under way share the next one (group commit). An opening that can't
be written is an error for its caller, and nothing is sent. A closing is in the spool first, so a database that is
locked, full or gone only delays it: it is tried again until it is in.
"""

import asyncio
import logging
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from lib.access.limits import RateLimits
from lib.calls import admission
from lib.calls.admission import Answer, Ask
from lib.calls.closing import Closing, insert_closings, never_opened
from lib.calls.spool import Segment, Spool
from lib.clock import utc_now
from lib.db.bulk import insert_rows
from lib.db.engine import Busy, Direct, Store
from lib.db.tables import open_calls

log = logging.getLogger(__name__)
_RETRY_S = 1.0
_BATCH, _LATER_S = 64, 0.03  # closings that are written together, and how long one waits for others
_BUSY_S, _MOST_BUSY = 0.001, 25  # tries while another process writes
_CHECKPOINT_EVERY = 500  # commits here


class Ledger:
    """Batches of openings and closings, one transaction at a time; belongs to one event loop.

    On SQLite a batch is committed in the loop itself, since handing it to a thread costs more than the commit: at once
    for openings, all of one turn of the loop together, and after some milliseconds for closings. When another process
    holds the database it is tried again in a moment; when that goes on, and on PostgreSQL always, a thread waits.
    """

    def __init__(self, store: Store, spool: Spool, limits: RateLimits) -> None:
        self._store, self._spool, self._limits = store, spool, limits
        self._direct = store.direct() if store.is_sqlite else None
        self._opening: list[_Opening] = []
        self._closing: list[Closing] = []
        self._doubtful: list[str] = []  # openings that failed, perhaps after their commit: they must not stay open
        self._spent: list[Segment] = []  # spool files whose records are all in this or an earlier batch
        self._flusher: asyncio.Task[None] | None = None
        self._turn: asyncio.Handle | None = None
        self._later: asyncio.TimerHandle | None = None
        self._busy = self._commits = 0
        self._taken = self._written = 0  # endings, ever

    def open(self, row: dict[str, Any], ask: Ask) -> asyncio.Future[Answer]:
        """Ask budgets and limits; unless they refuse, the row of `open_calls` is committed when this is done.

        Who waits for it and is cancelled goes on waiting, and hears of that afterwards.
        """
        answered = _Uncancelled(loop=asyncio.get_running_loop())
        self._opening.append(_Opening(row, ask, answered))
        self._wake()
        return answered

    def close(self, closing: Closing) -> None:
        """Take the end of an attempt: on disk when this returns, in the database soon after."""
        try:
            self._spool.append(closing.to_record())
            self._spool.forget(closing.row["id"])
        except OSError:
            log.error("The spool can't be written: the end of call %s waits in memory.", closing.row["id"])
        self._closing.append(closing)
        self._taken += 1
        if len(self._closing) >= _BATCH:
            self._wake()
        elif self._later is None:
            self._later = asyncio.get_running_loop().call_later(_LATER_S, self._wake_late)

    def checkpoint(self, log_id: str, record: dict[str, Any]) -> None:
        """Keep what an answer holds so far; a full disk only costs this safety net."""
        try:
            self._spool.checkpoint(log_id, record)
        except OSError:
            log.warning("The spool can't be written: call %s goes on without a checkpoint.", log_id)

    async def drain(self) -> None:
        """Return when everything taken so far has been written."""
        taken = self._taken
        while self._opening or self._doubtful or self._written < taken:
            if self._later is not None:
                self._later.cancel()
                self._later = None
            self._hand_over()
            assert self._flusher is not None  # noqa: S101 (it was just made)
            await asyncio.shield(self._flusher)

    def end(self) -> None:
        """Give the connection back; everything has been drained."""
        for handle in (self._turn, self._later):
            if handle is not None:
                handle.cancel()
        if self._direct is not None:
            self._direct.close()

    def _wake(self) -> None:
        """Commit what waits: in the next turn of the loop, so that all that opens in this one goes with it."""
        if self._flusher is not None and not self._flusher.done():
            return  # it takes everything with it
        if self._direct is None:
            self._hand_over()
        elif self._turn is None:
            self._turn = asyncio.get_running_loop().call_soon(self._commit_here)

    def _wake_late(self) -> None:
        self._later = None
        self._wake()

    def _hand_over(self) -> None:
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.get_running_loop().create_task(self._flush())

    def _commit_here(self) -> None:
        """One commit in the loop; without waiting for anybody."""
        self._turn = None
        if self._direct is None or (self._flusher is not None and not self._flusher.done()):
            return
        opening, closing = self._opening, self._closing if self._is_due else []
        if not opening and not closing:
            return
        try:
            try:
                answers = self._try_here(self._direct, opening, closing)
            except _SettleFirst:
                closing = self._closing
                answers = self._try_here(self._direct, opening, closing)
        except Busy:
            self._busy += 1
            if self._busy > _MOST_BUSY:
                self._hand_over()
            else:
                self._turn = asyncio.get_running_loop().call_later(_BUSY_S, self._commit_here)
            return
        except Exception:  # nothing was written: a thread tries again, and says what is wrong
            self._hand_over()
            return
        self._busy, self._opening = 0, []
        if closing:
            self._closing = []
            self._written += len(closing)
            self._drop_spent()
        _answer(opening, answers, None)
        self._commits += 1
        if self._commits % _CHECKPOINT_EVERY == 0:
            asyncio.get_running_loop().run_in_executor(None, self._store.checkpoint)

    def _try_here(self, direct: Direct, opening: list["_Opening"], closing: list[Closing]) -> list[Answer]:
        """A refusal only counts when everything that has ended is settled: _SettleFirst, and nothing is written."""
        if closing:
            self._rotate()
        with direct as connection:
            answers = self._write(connection, opening, closing, [])
            if len(closing) < len(self._closing) and any(answer.refusal is not None for answer in answers):
                raise _SettleFirst
        return answers

    async def _flush(self) -> None:
        """Commits in a thread, until nothing waits that is due."""
        while self._opening or self._doubtful or (self._closing and self._is_due):
            opening, self._opening = self._opening, []
            doubtful, self._doubtful = self._doubtful, []
            closing = self._take_closing() if self._is_due else []
            try:
                answers, error = await asyncio.to_thread(self._commit, opening, closing, doubtful)
            except _SettleFirst:
                closing += self._take_closing()
                answers, error = await asyncio.to_thread(self._commit, opening, closing, doubtful, settled=True)
            if error is None:
                self._written += len(closing)
                self._drop_spent()
            else:
                self._closing[:0] = closing
                self._doubtful += doubtful + [one.row["id"] for one in opening]
            _answer(opening, answers, error)
            if error is not None:
                await asyncio.sleep(_RETRY_S)
        self._busy = 0

    @property
    def _is_due(self) -> bool:
        """Whether endings have waited long enough for others."""
        return self._later is None or len(self._closing) >= _BATCH

    def _take_closing(self) -> list[Closing]:
        closing, self._closing = self._closing, []
        self._rotate()
        return closing

    def _commit(
        self, opening: list["_Opening"], closing: list[Closing], doubtful: list[str], *, settled: bool = False
    ) -> tuple[list[Answer], Exception | None]:
        """Once more when the connection was lost: openings that it may have committed are doubtful then."""
        try:
            try:
                return self._try_there(opening, closing, doubtful, settled), None
            except DBAPIError as error:
                if not error.connection_invalidated:
                    raise
                doubtful += [one.row["id"] for one in opening]
                return self._try_there(opening, closing, doubtful, settled), None
        except _SettleFirst:
            raise
        except Exception as error:  # the boundary: whoever waits for an answer has to get one
            log.error("The ledger could not be written, %d closings wait: %s", len(closing), error)
            return [], error

    def _try_there(
        self, opening: list["_Opening"], closing: list[Closing], doubtful: list[str], settled: bool
    ) -> list[Answer]:
        """_SettleFirst, and nothing written, when something is refused while endings wait that may make room."""
        with self._store.write() as connection:
            answers = self._write(connection, opening, closing, doubtful)
            if not settled and self._closing and any(answer.refusal is not None for answer in answers):
                raise _SettleFirst
        return answers

    def _write(
        self, connection: Connection, opening: list["_Opening"], closing: list[Closing], doubtful: list[str]
    ) -> list[Answer]:
        """Ended attempts first: what they give back may let the next ones pass."""
        if closing:
            insert_closings(connection, closing, self._limits)
        if doubtful:
            never_opened(connection, doubtful)
        if not opening:
            return []
        answers = admission.admit(connection, [one.ask for one in opening], self._limits, utc_now())
        rows = [one.row for one, answer in zip(opening, answers, strict=True) if answer.refusal is None]
        if rows:
            insert_rows(connection, open_calls, rows)
        return answers

    def _rotate(self) -> None:
        if (segment := self._spool.rotate()) is not None:
            self._spent.append(segment)

    def _drop_spent(self) -> None:
        for segment in self._spent:
            self._spool.clear(segment)
        self._spent.clear()


class _SettleFirst(Exception):
    pass


class _Uncancelled(asyncio.Future[Answer]):
    def cancel(self, msg: Any = None) -> bool:
        return False


def _answer(opening: list["_Opening"], answers: list[Answer], error: Exception | None) -> None:
    for number, one in enumerate(opening):
        if one.answered.done():
            continue
        if error is None:
            one.answered.set_result(answers[number])
        else:
            one.answered.set_exception(error)


@dataclass(slots=True)
class _Opening:
    row: dict[str, Any]
    ask: Ask
    answered: asyncio.Future[Answer]
