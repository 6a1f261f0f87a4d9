"""A lease in the database: of all processes one runs a job, and when it is killed another takes over.

The row says until when nobody else may run the job: some minutes ahead while it runs, renewed as it goes; once it is
done, until it is due again.
"""

from datetime import datetime, timedelta

from sqlalchemy import Connection, select

from lib.clock import utc_now
from lib.db import installation
from lib.db.engine import Store
from lib.db.tables import installation_settings

RUNNING = timedelta(minutes=10)


class JobLease:
    """The right of one process to run one job."""

    def __init__(self, store: Store, job: str, owner: str) -> None:
        self._store = store
        self._name = f"lease.{job}"
        self._owner = owner

    def take(self) -> bool:
        """Take the lease if the job is due and no other process holds it; say whether this process runs it now."""
        with self._store.read() as connection:
            if _is_taken(installation.read(connection, self._name)):
                return False
        with self._store.write() as connection:
            if _is_taken(self._read_locked(connection)):
                return False
            self._hold(connection, RUNNING)
        return True

    def renew(self) -> bool:
        """Extend the lease by some minutes; False when another process has taken over."""
        with self._store.write() as connection:
            if (self._read_locked(connection) or {}).get("owner") != self._owner:
                return False
            self._hold(connection, RUNNING)
        return True

    def done(self, every: timedelta) -> None:
        """Give the lease back until the job is due again, after `every`."""
        with self._store.write() as connection:
            if (self._read_locked(connection) or {}).get("owner") == self._owner:
                self._hold(connection, every)

    def _read_locked(self, connection: Connection) -> dict[str, str] | None:
        row = installation_settings.c
        if installation.read(connection, self._name) is None:
            installation.write(connection, self._name, {})  # so that there is a row to lock
        row_value: dict[str, str] | None = connection.scalar(
            select(row.value).where(row.name == self._name).with_for_update()
        )
        return row_value

    def _hold(self, connection: Connection, length: timedelta) -> None:
        value = {"owner": self._owner, "until": (utc_now() + length).isoformat()}
        installation.write(connection, self._name, value)


def _is_taken(value: dict[str, str] | None) -> bool:
    return bool(value) and datetime.fromisoformat((value or {})["until"]) > utc_now()
