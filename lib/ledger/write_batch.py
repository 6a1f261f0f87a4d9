"""One transaction of the ledger: endings, openings, and what is held ahead for calls to come."""

import asyncio
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from lib.access.limits import RateLimits
from lib.budgets.leases import Renewed, Taken, Wanted, hold_apart, renew
from lib.budgets.windows import WindowMemory, lock
from lib.clock import utc_now
from lib.db.bulk import insert_rows
from lib.db.tables import open_calls
from lib.errors import ErrorKind
from lib.ledger import admission
from lib.ledger.admission import OpeningDecision, OpeningRequest
from lib.ledger.closing import Closing, insert_closings, withdraw_openings
from lib.ledger.kept_messages import KeptMessages


class SettleFirst(Exception):
    """Something was refused that may have room when everything else that is known is written, too."""


class Uncancelled(asyncio.Future[OpeningDecision]):
    """A future that can't be cancelled: its waiter is told of the decision in any case."""

    def cancel(self, msg: Any = None) -> bool:
        """Refuse to be cancelled."""
        return False


@dataclass(slots=True)
class Opening:
    """An attempt that waits for the database to let it through."""

    row: dict[str, Any]
    ask: OpeningRequest
    answered: Uncancelled


@dataclass(slots=True)
class Unwritten:
    """An attempt that a lease let through: its row of `open_calls` is in the spool alone, in the segment `order`."""

    row: dict[str, Any]
    draw: Taken
    order: int
    opened_at: float  # time.monotonic()


@dataclass(slots=True)
class Batch:
    """One transaction. `ended`: ids of closings whose openings were never written; `lasting`: openings to write now.

    `doubtful`: openings that failed, perhaps after their commit. `is_due`: all that had ended is in it. `is_final`:
    and nothing is held ahead any more, so a refusal is true.
    """

    opening: list[Opening]
    closing: list[Closing]
    ended: dict[str, Unwritten]
    lasting: dict[str, Unwritten]
    doubtful: list[str]
    lease_request: Wanted | None
    is_due: bool
    is_final: bool

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to write."""
        return not (self.opening or self.closing or self.lasting or self.doubtful or self.lease_request)

    @property
    def holds_ahead(self) -> bool:
        """Whether money is leased that a refused call might have had."""
        if self.lease_request is None:
            return False
        has_leased = any(unwritten.draw.amount for group in (self.ended, self.lasting) for unwritten in group.values())
        return has_leased or any(leased for leased, _ in self.lease_request.leases.values())

    def refuses_too_early(self, written: "Written", *, has_more: bool) -> bool:
        """Whether something was refused that may have room when all that has ended is settled, too (`has_more`).

        For want of money: or when nothing is held ahead any more.
        """
        refused = {answer.kind for answer in written.answers if answer.refusal is not None}
        return bool(refused) and not self.is_final and (has_more or (ErrorKind.BUDGET in refused and self.holds_ahead))

    @property
    def in_doubt(self) -> list[str]:
        """Ids of rows of `open_calls` that nobody knows of when its commit fails."""
        return [*self.doubtful, *(opening.row["id"] for opening in self.opening), *self.lasting]


@dataclass(slots=True)
class Written:
    """The decisions about the openings, and the leases that are held now."""

    answers: list[OpeningDecision]
    renewed: Renewed | None


def write(
    connection: Connection,
    batch: Batch,
    limits: RateLimits,
    stored_messages: KeptMessages | None = None,
    memory: WindowMemory | None = None,
) -> Written:
    """Ended attempts first: what they give back may let the next ones pass. `memory`: of budgets, for this thread."""
    now = utc_now()
    lease_request = batch.lease_request
    if lease_request is not None or batch.lasting:
        lock(connection)  # before the limits' rows are: who ends calls takes them in this order
    if batch.closing:
        never_open = batch.ended.keys() - set(batch.doubtful)
        insert_closings(connection, batch.closing, limits, never_open, stored_messages, memory)
    if batch.doubtful:
        withdraw_openings(connection, batch.doubtful, memory)
    if batch.lasting:
        insert_rows(connection, open_calls, [waiting.row for waiting in batch.lasting.values()])
        hold_apart(connection, {log_id: waiting.draw for log_id, waiting in batch.lasting.items()}, now, memory)
    renewed: Renewed | None = None
    if lease_request is not None and not lease_request.kinds:
        renewed = renew(connection, lease_request, now, memory)
    asks = [waiting.ask for waiting in batch.opening]
    answers = admission.admit(connection, asks, limits, now, memory) if asks else []
    rows = [waiting.row for waiting, answer in zip(batch.opening, answers, strict=True) if answer.refusal is None]
    if rows:
        insert_rows(connection, open_calls, rows)
    if lease_request is not None and lease_request.kinds:
        renewed = renew(connection, lease_request, now, memory)
    return Written(answers, renewed)
