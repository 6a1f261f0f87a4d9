"""Ends of attempts on their way to the spool; those that it refuses are in memory alone until the database has them."""

import asyncio
import logging
from collections.abc import Iterable
from contextlib import suppress

from lib.ledger.closing import Closing
from lib.ledger.spool import Spool

log = logging.getLogger(__name__)


class Unspooled:
    """Tells who waits for such an end when it is committed; belongs to one event loop."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._waiting: dict[str, asyncio.Future[None]] = {}  # by log id

    def spool(self, closing: Closing) -> asyncio.Future[None] | None:
        """None when the end is in the spool; else it is on disk when the future is done: in the database, then."""
        log_id = closing.row.id
        try:
            self._spool.append(closing.to_record())
        except Exception as error:  # the boundary of a call: its end must not get lost, whatever it holds
            log.error("The end of call %s can't be spooled and waits in memory: %s", log_id, error)
            written = self._waiting[log_id] = asyncio.get_running_loop().create_future()
            return written
        with suppress(OSError):
            self._spool.forget(log_id)
        return None

    def wrote(self, closings: Iterable[Closing]) -> None:
        """These are committed."""
        if self._waiting:
            for closing in closings:
                if (written := self._waiting.pop(closing.row.id, None)) is not None:
                    written.set_result(None)
