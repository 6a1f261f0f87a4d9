"""Guessing is slowed down: a few free tries, then pauses that double and end by themselves, so nobody is locked out.

A try is counted before the password is checked, in one transaction with the question whether it may be made, so a
hundred guesses at once are counted like a hundred in a row. Success gives the try back. A user name pauses for a
minute at most, because anybody can make somebody else's name pause; a network address for a quarter of an hour.
Names that nobody has are counted alike, so a pause does not tell which users exist.
"""

import hashlib
import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, case, delete, update
from sqlalchemy.dialects import postgresql, sqlite

from lib.clock import utc_now
from lib.db.engine import Store
from lib.db.tables import login_failures
from lib.errors import Throttled

_FIRST_PAUSE_S = 2
_FORGET = timedelta(hours=24)


@dataclass(frozen=True)
class Subject:
    """What tries are counted for; the text itself is not stored."""

    digest: str
    free_tries: int
    longest_pause_s: int


def build_name_subject(name: str) -> Subject:
    """Tries at one user name, from wherever."""
    return Subject(_hash_text("name:" + name.strip().casefold()), 5, 60)


def build_address_subject(address: str) -> Subject:
    """Tries from one network address, at whatever name."""
    return Subject(_hash_text("address:" + address), 20, 900)


class Throttle:
    """Counts of wrong tries, shared by all processes."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def spend(self, *subjects: Subject) -> None:
        """Count a try, or raise Throttled while one of the subjects has to wait; a refused try is not counted."""
        now = utc_now()
        with self._store.write() as connection:
            waits = [self._count_try(connection, subject, now) for subject in sorted(subjects, key=lambda s: s.digest)]
            if (wait := max(waits)) > 0:
                why = "There were too many wrong tries."
                raise Throttled("Signing in is paused.", why, f"Try again in {wait} s.", retry_after=wait)
            spent = login_failures.c.subject.in_([subject.digest for subject in subjects])
            connection.execute(update(login_failures).where(spent).values(last_failed_at=now))

    def forgive(self, connection: Connection, name: Subject, address: Subject) -> None:
        """After a success forget the name's tries and give the address one back."""
        connection.execute(delete(login_failures).where(login_failures.c.subject == name.digest))
        self.refund(connection, address)

    def refund(self, connection: Connection, subject: Subject) -> None:
        """Give a try back that was not wrong."""
        is_subject = login_failures.c.subject == subject.digest
        connection.execute(update(login_failures).where(is_subject).values(failures=login_failures.c.failures - 1))
        connection.execute(delete(login_failures).where(is_subject, login_failures.c.failures <= 0))

    def sweep(self) -> None:
        """Delete counts that are older than a day."""
        with self._store.write() as connection:
            connection.execute(delete(login_failures).where(login_failures.c.last_failed_at <= utc_now() - _FORGET))

    def _count_try(self, connection: Connection, subject: Subject, now: datetime) -> int:
        """Count one more try and return the seconds it has to wait. The row stays locked until the transaction ends."""
        table = login_failures
        dialect = sqlite if self._store.is_sqlite else postgresql
        row = {"subject": subject.digest, "failures": 1, "last_failed_at": now - _FORGET}
        failures_now = case((table.c.last_failed_at <= now - _FORGET, 1), else_=table.c.failures + 1)
        counted = (
            dialect.insert(table)
            .values(row)
            .on_conflict_do_update(index_elements=["subject"], set_={"failures": failures_now})
        )
        failures, last = connection.execute(counted.returning(table.c.failures, table.c.last_failed_at)).one()
        return _compute_wait_s(failures - 1 - subject.free_tries, subject.longest_pause_s, (now - last).total_seconds())


def _compute_wait_s(over: int, longest_pause_s: int, passed_s: float) -> int:
    """Seconds still to wait: nothing for the free tries, then 2, 4, 8 … up to the longest pause."""
    pause_s = min(_FIRST_PAUSE_S * 2 ** min(over, 20), longest_pause_s) if over >= 0 else 0
    return math.ceil(pause_s - passed_s) if passed_s < pause_s else 0


def _hash_text(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
