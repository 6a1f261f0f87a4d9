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
from lib.budgets.windows import WindowMemory
from lib.db.engine import Busy, NonBlockingConnection, Store
from lib.db.failures import is_lost_connection
from lib.errors import LLMManagerError
from lib.ledger.admission import OpeningDecision, OpeningRequest
from lib.ledger.closing import Closing
from lib.ledger.kept_messages import KeptMessages
from lib.ledger.row_repair import make_writable
from lib.ledger.spool import Spool
from lib.ledger.spool_queue import Unspooled
from lib.ledger.write_batch import Batch, Opening, SettleFirst, Uncancelled, Unwritten, Written, write

log = logging.getLogger(__name__)
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
    holds the database it is tried again in a moment; when that goes on, and on PostgreSQL always, a thread waits. It is
    so on SQLite, too, without `commits_in_loop`.
    """

    def __init__(
        self,
        store: Store,
        spool: Spool,
        limits: RateLimits,
        stored_messages: KeptMessages | None = None,
        retry_s: float = 1.0,
        *,
        commits_in_loop: bool = True,
    ) -> None:
        self._retry_s = retry_s
        self._kept = stored_messages
        self._memory = WindowMemory()
        self._store = store
        self._spool = spool
        self._limits = limits
        self._direct = store.open_nonblocking() if commits_in_loop and store.is_sqlite else None
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
        self._closings_taken = self._closings_written = 0  # endings, ever
        self._unspooled = Unspooled(spool)
        self.trouble: str | None = None  # why nothing can be written at the moment

    def open_at_once(self, row: dict[str, Any], ask: OpeningRequest) -> OpeningDecision | None:
        """Let an attempt through by what is held ahead, its row in the spool; None when it has to be asked for."""
        if ask.is_counted_open or (ask.claim is not None and not self._limits.meets_none(ask.claim)):
            return None
        if (lease_taken := self._leases.take(ask.facts, ask.amount_nano, ask.wished_nano)) is None:
            return None
        try:
            order = self._spool.append({"opened": row, "charges": lease_taken.charges})
        except BaseException as error:
            self._leases.undo(lease_taken)
            if isinstance(error, OSError):  # the disk refuses: the database decides
                return None
            raise
        self._unwritten[row["id"]] = Unwritten(row, lease_taken, order, time.monotonic())
        self._schedule_lasting()
        return OpeningDecision(is_bounded=bool(lease_taken.leases))

    def open(self, row: dict[str, Any], ask: OpeningRequest) -> asyncio.Future[OpeningDecision]:
        """Ask budgets and limits: unless they refuse, the row is committed when this is done, if cancelled, too."""
        answered = Uncancelled(loop=asyncio.get_running_loop())
        self._opening.append(Opening(row, ask, answered))
        self._schedule_commit()
        return answered

    def close(self, closing: Closing) -> asyncio.Future[None] | None:
        """Take the end of an attempt: on disk now (None), or in the database when the future is done."""
        unwritten = self._unwritten.get(closing.row.id)
        if unwritten is not None and unwritten.draw.charges is not None:
            closing.charged = Charged(unwritten.draw.facts, unwritten.draw.charges)
        written = self._unspooled.spool(closing)
        self._closing.append(closing)
        self._closings_taken += 1
        if written is not None or len(self._closing) >= _BATCH:
            self._make_due()
            self._schedule_commit()
        elif self._later is None:
            self._later = asyncio.get_running_loop().call_later(_LATER_S, self._commit_late_closings)
        return written

    def checkpoint(self, log_id: str, record: dict[str, Any]) -> None:
        """Keep what an answer holds so far; a full disk only costs this safety net."""
        try:
            self._spool.checkpoint(log_id, record)
        except OSError:
            log.warning("The spool can't be written: call %s goes on without a checkpoint.", log_id)

    async def drain(self) -> None:
        """Return when everything taken so far has been written, and nothing is held ahead."""
        closings_taken = self._closings_taken
        self._draining = self._draining + 1
        try:
            while (
                self._closings_written < closings_taken
                or self._opening
                or self._doubtful
                or self._unwritten
                or self._leases.is_there
            ):
                self._make_due()
                self._start_flusher()
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

    def _schedule_commit(self) -> None:
        """Commit what waits: in the next turn of the loop, so that all that opens in this one goes with it."""
        if self._flusher is not None and not self._flusher.done():
            return  # it takes everything with it
        if self._direct is None:
            self._start_flusher()
        elif self._turn is None:
            self._turn = asyncio.get_running_loop().call_soon(self._commit_in_loop)

    def _commit_late_closings(self) -> None:
        self._later = None
        self._schedule_commit()

    def _write_lasting(self) -> None:
        """Calls that last get their rows, and what is held ahead for nothing is given back."""
        self._look = None
        self._make_due()
        self._schedule_commit()

    def _schedule_lasting(self) -> None:
        if self._look is None and (self._unwritten or self._leases.is_there):
            self._look = asyncio.get_running_loop().call_later(LASTS_S, self._write_lasting)

    def _make_due(self) -> None:
        if self._later is not None:
            self._later.cancel()
            self._later = None

    def _start_flusher(self) -> None:
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.get_running_loop().create_task(self._flush())

    @property
    def _is_due(self) -> bool:
        """Whether endings have waited long enough for others."""
        return self._later is None or len(self._closing) >= _BATCH

    def _collect_batch(self, *, give_up: bool = False) -> Batch:
        """Collect the rows to be written now. `give_up`: everything that is known, and nothing is held ahead."""
        give_up = give_up or self._draining > 0
        kinds = {} if give_up else self._leases.kinds()
        takes_all = self._leases.keep(kinds) or give_up
        closing = list[Closing]()
        ended = dict[str, Unwritten]()
        lasting = dict[str, Unwritten]()
        is_due = takes_all or self._is_due
        if is_due:
            closing = self._closing.copy()
            ids = [closing.row.id for closing in closing]
            ended = {log_id: self._unwritten[log_id] for log_id in ids if log_id in self._unwritten}
            young = time.monotonic() - (0 if takes_all else _LASTING_S)
            old = takewhile(lambda unwritten: unwritten[1].opened_at <= young, self._unwritten.items())
            lasting = {log_id: unwritten for log_id, unwritten in old if log_id not in ended}
            self._spool.rotate()
        lease_request = self._leases.wanted(
            kinds, [unwritten.draw for group in (ended, lasting) for unwritten in group.values()]
        )
        return Batch(
            self._opening.copy(), closing, ended, lasting, self._doubtful.copy(), lease_request, is_due, give_up
        )

    def _commit_in_loop(self) -> None:
        """One commit in the loop; without waiting for anybody."""
        self._turn = None
        if self._direct is None or (self._flusher is not None and not self._flusher.done()):
            return
        batch = self._collect_batch()
        if batch.is_empty:
            self._schedule_lasting()
            return
        try:
            try:
                written = self._write_in_loop(self._direct, batch)
            except SettleFirst:
                batch = self._collect_batch(give_up=True)
                written = self._write_in_loop(self._direct, batch)
        except Busy:
            self._busy += 1
            if self._busy > _MOST_BUSY:
                self._start_flusher()
            else:
                self._turn = asyncio.get_running_loop().call_later(_BUSY_S, self._commit_in_loop)
            return
        except Exception:  # nothing was written: a thread tries again, and says what is wrong
            self._start_flusher()
            return
        self._busy = 0
        self._confirm_written(batch, written)
        self._rows += 1 + len(batch.opening) + len(batch.closing) + len(batch.lasting)
        if self._rows >= _CHECKPOINT_EVERY:
            self._rows = 0
            asyncio.get_running_loop().run_in_executor(None, self._store.checkpoint)

    def _write_in_loop(self, direct: NonBlockingConnection, batch: Batch) -> Written:
        try:
            with direct as connection:
                written = write(connection, batch, self._limits, self._kept, self._memory)
                return self._check_refusals(batch, written)
        except Busy:
            raise
        except BaseException:
            self._memory.forget()
            raise

    async def _flush(self) -> None:
        """Commits in a thread, until nothing waits that is due."""
        is_due = True
        run = asyncio.get_running_loop().run_in_executor
        while is_due:
            batch = self._collect_batch()
            if batch.is_empty:
                self._schedule_lasting()
                break
            try:
                written = await run(self._thread, self._commit, batch)
            except SettleFirst:
                self._doubtful = list(batch.doubtful)  # with what a lost connection left in doubt
                batch = self._collect_batch(give_up=True)
                written = await run(self._thread, self._commit, batch)
            if isinstance(written, Written):
                self._confirm_written(batch, written)
            else:
                self._report_failed(batch, written)
                await asyncio.sleep(self._retry_s)
            is_due = bool(self._opening or self._doubtful or (self._closing and self._is_due))
        self._busy = 0

    def _commit(self, batch: Batch) -> Written | Exception:
        """Once more when the connection was lost (openings may be committed then), or when a row was refused."""
        try:
            try:
                return self.write_in_thread(batch)
            except SettleFirst:
                raise
            except Exception as error:
                if is_lost_connection(error):
                    batch.doubtful = batch.in_doubt
                elif not make_writable(
                    self._store, batch.closing, [unwritten.row for unwritten in batch.lasting.values()], error
                ):
                    raise
                return self.write_in_thread(batch)
        except SettleFirst:
            raise
        except Exception as error:  # the boundary: whoever waits for an answer has to get one
            log.error("The ledger could not be written, %d closings wait: %s", len(batch.closing), error)
            return error

    def write_in_thread(self, batch: Batch) -> Written:
        """Write and commit a batch, waiting for the database; what goes wrong is raised."""
        # On SQLite the memory is the other connection's.
        memory = None if self._store.is_sqlite else self._memory
        with self._store.write() as connection:
            return self._check_refusals(batch, write(connection, batch, self._limits, self._kept, memory))

    def _check_refusals(self, batch: Batch, written: Written) -> Written:
        """The outcome of a write; SettleFirst, before its commit, where it refuses something too early."""
        if batch.refuses_too_early(written, has_more=len(self._closing) > len(batch.closing)):
            raise SettleFirst
        return written

    def _confirm_written(self, batch: Batch, written: Written) -> None:
        """Tell the waiters of a committed batch, and empty the spool of it."""
        del self._opening[: len(batch.opening)], self._closing[: len(batch.closing)]
        self._doubtful.clear()
        self._closings_written += len(batch.closing)
        self.trouble = None
        self._unspooled.wrote(batch.closing)
        for group in (batch.ended, batch.lasting):
            for log_id in group:
                self._leases.written(self._unwritten.pop(log_id).draw)
        if batch.lease_request is not None and written.renewed is not None:
            self._leases.renewed(batch.lease_request, written.renewed)
        for opening, answer in zip(batch.opening, written.answers, strict=True):
            if not opening.answered.done():
                opening.answered.set_result(answer)
        if batch.is_due:  # what was rotated before it is in the database, but for what is not written yet
            self._spool.drop_before(next((opening.order for opening in self._unwritten.values()), math.inf))
        self._schedule_lasting()

    def _report_failed(self, batch: Batch, error: Exception) -> None:
        """Tell the waiters of a batch that failed; it may be committed or not."""
        self.trouble = error.title if isinstance(error, LLMManagerError) else "The ledger can't be written."
        del self._opening[: len(batch.opening)]
        self._doubtful = list(dict.fromkeys([*self._doubtful, *batch.in_doubt]))
        for opening in batch.opening:
            if not opening.answered.done():
                opening.answered.set_exception(error)
        self._schedule_lasting()
