"""Opening and closing rows: the only writer of `open_calls` and, for live calls, of `usage_logs`.

All calls that open or close while a transaction is under way share the next one (group commit). An opening that can't
be written is an error for its caller, and nothing is sent. A closing is in the spool first, so a database that is
locked, full or gone only delays it: it is tried again until it is in. When many alike calls open, a transaction holds
money for the next ones ahead (`lib.budgets.leases`), and their openings, too, are in the spool first.
"""

import asyncio
import logging
import math
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import takewhile
from typing import Any

from lib.access.limits import RateLimits
from lib.budgets.holds import Charged
from lib.budgets.leases import LASTS_S, Leases
from lib.db.engine import Busy, NonBlockingConnection, Store
from lib.db.failures import was_lost
from lib.errors import LLMManagerError
from lib.ledger.admission import Answer, Ask
from lib.ledger.closing import Closing
from lib.ledger.row_repair import made_writable
from lib.ledger.spool import Spool
from lib.ledger.spool_queue import Unspooled
from lib.ledger.write_batch import Batch, Opening, SettleFirst, Uncancelled, Unwritten, Written, write

log = logging.getLogger(__name__)
_RETRY_S = 1.0
_BATCH = 64  # closings that are written together, and how long one waits for others
_LATER_S = 0.03
_LASTING_S = 0.05  # a call that runs longer gets its row of `open_calls`
_BUSY_S = 0.001  # tries while another process writes
_MOST_BUSY = 25
_CHECKPOINT_EVERY = 2_000  # rows committed here


class Ledger:
    """Batches of openings and closings, one transaction at a time; belongs to one event loop.

    On SQLite a batch is committed in the loop itself, since handing it to a thread costs more than the commit: at once
    for openings, all of one turn of the loop together, and after some milliseconds for closings. When another process
    holds the database it is tried again in a moment; when that goes on, and on PostgreSQL always, a thread waits.
    """

    def __init__(self, store: Store, spool: Spool, limits: RateLimits) -> None:
        self._store = store
        self._spool = spool
        self._limits = limits
        self._direct = store.open_nonblocking() if store.is_sqlite else None
        self._leases = Leases(spool.owner)
        self._thread = ThreadPoolExecutor(1, "ledger")  # its own: the loop's may all wait for what is written here
        self._opening: list[Opening] = []
        self._closing: list[Closing] = []
        self._unwritten: dict[str, Unwritten] = {}  # by log id, in the order in which they opened
        self._doubtful: list[str] = []  # openings that failed, perhaps after their commit: they must not stay open
        self._flusher: asyncio.Task[None] | None = None
        self._turn: asyncio.Handle | None = None
        self._later: asyncio.TimerHandle | None = None
        self._look: asyncio.TimerHandle | None = None
        self._busy = self._rows = self._draining = 0
        self._taken = self._written = 0  # endings, ever
        self._unspooled = Unspooled(spool)
        self.trouble: str | None = None  # why nothing can be written at the moment

    def open_at_once(self, row: dict[str, Any], ask: Ask) -> Answer | None:
        """Let an attempt through by what is held ahead, its row in the spool; None when it has to be asked for."""
        if ask.is_counted_open or (ask.claim is not None and not self._limits.meets_none(ask.claim)):
            return None
        if (taken := self._leases.take(ask.facts, ask.amount_nano, ask.wished_nano)) is None:
            return None
        try:
            order = self._spool.append({"opened": row, "charges": taken.charges})
        except BaseException as error:
            self._leases.undo(taken)
            if isinstance(error, OSError):  # the disk refuses: the database decides
                return None
            raise
        self._unwritten[row["id"]] = Unwritten(row, taken, order, time.monotonic())
        self._look_again()
        return Answer(is_bounded=bool(taken.leases))

    def open(self, row: dict[str, Any], ask: Ask) -> asyncio.Future[Answer]:
        """Ask budgets and limits: unless they refuse, the row is committed when this is done, if cancelled, too."""
        answered = Uncancelled(loop=asyncio.get_running_loop())
        self._opening.append(Opening(row, ask, answered))
        self._wake()
        return answered

    def close(self, closing: Closing) -> asyncio.Future[None] | None:
        """Take the end of an attempt: on disk now (None), or in the database when the future is done."""
        unwritten = self._unwritten.get(closing.row["id"])
        if unwritten is not None and unwritten.taken.charges is not None:
            closing.charged = Charged(unwritten.taken.facts, unwritten.taken.charges)
        written = self._unspooled.spool(closing)
        self._closing.append(closing)
        self._taken += 1
        if written is not None or len(self._closing) >= _BATCH:
            self._make_due()
            self._wake()
        elif self._later is None:
            self._later = asyncio.get_running_loop().call_later(_LATER_S, self._wake_late)
        return written

    def checkpoint(self, log_id: str, record: dict[str, Any]) -> None:
        """Keep what an answer holds so far; a full disk only costs this safety net."""
        try:
            self._spool.checkpoint(log_id, record)
        except OSError:
            log.warning("The spool can't be written: call %s goes on without a checkpoint.", log_id)

    async def drain(self) -> None:
        """Return when everything taken so far has been written, and nothing is held ahead."""
        taken = self._taken
        self._draining = self._draining + 1
        try:
            while self._written < taken or self._opening or self._doubtful or self._unwritten or self._leases.is_there:
                self._make_due()
                self._hand_over()
                assert self._flusher is not None  # noqa: S101 (it was just made)
                await asyncio.shield(self._flusher)
        finally:
            self._draining -= 1

    def end(self) -> None:
        """Give the connection back; everything has been drained."""
        for handle in (self._turn, self._later, self._look):
            if handle is not None:
                handle.cancel()
        self._thread.shutdown(wait=False)
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

    def _look_around(self) -> None:
        """Calls that last get their rows, and what is held ahead for nothing is given back."""
        self._look = None
        self._make_due()
        self._wake()

    def _look_again(self) -> None:
        if self._look is None and (self._unwritten or self._leases.is_there):
            self._look = asyncio.get_running_loop().call_later(LASTS_S, self._look_around)

    def _make_due(self) -> None:
        if self._later is not None:
            self._later.cancel()
            self._later = None

    def _hand_over(self) -> None:
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.get_running_loop().create_task(self._flush())

    @property
    def _is_due(self) -> bool:
        """Whether endings have waited long enough for others."""
        return self._later is None or len(self._closing) >= _BATCH

    def _batch(self, *, give_up: bool = False) -> Batch:
        """What is to be written now. `give_up`: everything that is known, and nothing is held ahead."""
        give_up = give_up or self._draining > 0
        kinds = {} if give_up else self._leases.kinds()
        takes_all = self._leases.keep(kinds) or give_up
        closing = list[Closing]()
        ended = dict[str, Unwritten]()
        lasting = dict[str, Unwritten]()
        is_due = takes_all or self._is_due
        if is_due:
            closing = self._closing.copy()
            ids = [closing.row["id"] for closing in closing]
            ended = {log_id: self._unwritten[log_id] for log_id in ids if log_id in self._unwritten}
            young = time.monotonic() - (0 if takes_all else _LASTING_S)
            old = takewhile(lambda one: one[1].opened_at <= young, self._unwritten.items())
            lasting = {log_id: one for log_id, one in old if log_id not in ended}
            self._spool.rotate()
        wanted = self._leases.wanted(kinds, [one.taken for group in (ended, lasting) for one in group.values()])
        return Batch(self._opening.copy(), closing, ended, lasting, self._doubtful.copy(), wanted, is_due, give_up)

    def _commit_here(self) -> None:
        """One commit in the loop; without waiting for anybody."""
        self._turn = None
        if self._direct is None or (self._flusher is not None and not self._flusher.done()):
            return
        batch = self._batch()
        if batch.is_empty:
            self._look_again()
            return
        try:
            try:
                written = self._try_here(self._direct, batch)
            except SettleFirst:
                batch = self._batch(give_up=True)
                written = self._try_here(self._direct, batch)
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
        self._busy = 0
        self._wrote(batch, written)
        self._rows += 1 + len(batch.opening) + len(batch.closing) + len(batch.lasting)
        if self._rows >= _CHECKPOINT_EVERY:
            self._rows = 0
            asyncio.get_running_loop().run_in_executor(None, self._store.checkpoint)

    def _try_here(self, direct: NonBlockingConnection, batch: Batch) -> Written:
        with direct as connection:
            return self._checked(batch, write(connection, batch, self._limits))

    async def _flush(self) -> None:
        """Commits in a thread, until nothing waits that is due."""
        is_due = True
        run = asyncio.get_running_loop().run_in_executor
        while is_due:
            batch = self._batch()
            if batch.is_empty:
                self._look_again()
                break
            try:
                written = await run(self._thread, self._commit, batch)
            except SettleFirst:
                self._doubtful = list(batch.doubtful)  # with what a lost connection left in doubt
                batch = self._batch(give_up=True)
                written = await run(self._thread, self._commit, batch)
            if isinstance(written, Written):
                self._wrote(batch, written)
            else:
                self._failed(batch, written)
                await asyncio.sleep(_RETRY_S)
            is_due = bool(self._opening or self._doubtful or (self._closing and self._is_due))
        self._busy = 0

    def _commit(self, batch: Batch) -> Written | Exception:
        """Once more when the connection was lost (openings may be committed then), or when a row was refused."""
        try:
            try:
                return self._try_there(batch)
            except SettleFirst:
                raise
            except Exception as error:
                if was_lost(error):
                    batch.doubtful = batch.in_doubt
                elif not made_writable(self._store, batch.closing, [one.row for one in batch.lasting.values()], error):
                    raise
                return self._try_there(batch)
        except SettleFirst:
            raise
        except Exception as error:  # the boundary: whoever waits for an answer has to get one
            log.error("The ledger could not be written, %d closings wait: %s", len(batch.closing), error)
            return error

    def _try_there(self, batch: Batch) -> Written:
        with self._store.write() as connection:
            return self._checked(batch, write(connection, batch, self._limits))

    def _checked(self, batch: Batch, written: Written) -> Written:
        """Nothing is written that says no too early."""
        if batch.refuses_too_early(written, more=len(self._closing) > len(batch.closing)):
            raise SettleFirst
        return written

    def _wrote(self, batch: Batch, written: Written) -> None:
        """It is committed."""
        del self._opening[: len(batch.opening)], self._closing[: len(batch.closing)]
        self._doubtful.clear()
        self._written += len(batch.closing)
        self.trouble = None
        self._unspooled.wrote(batch.closing)
        for group in (batch.ended, batch.lasting):
            for log_id in group:
                self._leases.written(self._unwritten.pop(log_id).taken)
        if batch.wanted is not None and written.renewed is not None:
            self._leases.renewed(batch.wanted, written.renewed)
        for one, answer in zip(batch.opening, written.answers, strict=True):
            if not one.answered.done():
                one.answered.set_result(answer)
        if batch.is_due:  # what was rotated before it is in the database, but for what is not written yet
            self._spool.drop_before(next((one.order for one in self._unwritten.values()), math.inf))
        self._look_again()

    def _failed(self, batch: Batch, error: Exception) -> None:
        """It may be committed or not."""
        self.trouble = error.title if isinstance(error, LLMManagerError) else "The ledger can't be written."
        del self._opening[: len(batch.opening)]
        self._doubtful = list(dict.fromkeys([*self._doubtful, *batch.in_doubt]))
        for one in batch.opening:
            if not one.answered.done():
                one.answered.set_exception(error)
        self._look_again()
