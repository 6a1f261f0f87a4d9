"""The store: one engine, `read()` and `write()` transactions, the same for SQLite and PostgreSQL.

SQLite runs in WAL with synchronous=NORMAL and a busy timeout; every write transaction starts with BEGIN IMMEDIATE,
because a transaction that reads first and writes later fails at once under a second writer, whatever the timeout.
Nobody holds a transaction across a provider call.
"""

import math
import select
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, DisconnectionError, SQLAlchemyError

from lib.db.failures import explain_message, translate_error
from lib.errors import InstallationError
from lib.fast_json import decode, encode_text

BUSY_TIMEOUT_S = 15
_TRUSTED_S = 1.0  # for so long a connection to PostgreSQL is taken to be alive
_PAGES = 1_000  # of 4 KiB in SQLite's write-ahead log before it is folded into the file
_BULK_PAGES = 20_000


class Store:
    """Transactions on the one database. Thread-safe; connections come from a pool."""

    def __init__(self, url: str) -> None:
        try:
            self.url = make_url(url)
        except ArgumentError as error:
            raise InstallationError(
                "DATABASE_URL can't be read.", "", "Write it as postgresql+psycopg://user:password@host/database."
            ) from error
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.engine = _create_sqlite_engine(url) if self.is_sqlite else _create_postgres_engine(url)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a connection whose statements see one snapshot; nothing is written."""
        with _translate_errors(self.url.database), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self, *, bulk: bool = False) -> Iterator[Connection]:
        """Open a transaction that holds the write lock from its start (SQLite) and commits at the end.

        `bulk`: one of many large ones; the write-ahead log is folded into the file less often, which halves their time.
        """
        with _translate_errors(self.url.database), self.engine.connect() as connection:
            connection = connection.execution_options(immediate=True)
            if bulk and self.is_sqlite:
                _set_autocheckpoint(connection, _BULK_PAGES)
            try:
                with connection.begin():
                    yield connection
            finally:
                if bulk and self.is_sqlite:
                    _set_autocheckpoint(connection, _PAGES)

    def open_nonblocking(self) -> "NonBlockingConnection":
        """Open a connection for an event loop to write with (SQLite)."""
        return NonBlockingConnection(self.engine, self.url.database)

    def checkpoint(self) -> None:
        """Fold the write-ahead log into the file as far as readers let it (SQLite)."""
        with self.engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)")

    def dispose(self) -> None:
        """Close the pool; on SQLite fold the write-ahead log into the file first."""
        if self.is_sqlite:
            try:
                with self.engine.connect() as connection:
                    connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("PRAGMA optimize"))
            except DatabaseError:
                pass
        close_connections(self.engine)


def close_connections(engine: Engine) -> None:
    """Close an engine's connections: the idle ones now, those that a thread still uses when they come back.

    `Engine.dispose` alone forgets the latter: they stay open until the garbage collector meets them.
    """
    event.listen(engine.pool, "checkin", lambda _connection, record: record.close())
    engine.dispose()


def _set_autocheckpoint(connection: Connection, pages: int) -> None:
    driver: Any = connection.connection.dbapi_connection
    driver.execute(f"PRAGMA wal_autocheckpoint={pages:d}")


class Busy(Exception):
    """Another connection writes; nothing was done."""


class NonBlockingConnection:
    """A connection of one's own whose transactions never wait: Busy when another connection writes.
    It leaves the write-ahead log's checkpoints to `Store.checkpoint`, in a thread.
    """

    def __init__(self, engine: Engine, database: str | None) -> None:
        self._connection = engine.connect().execution_options(by_hand=True)
        self._database = database
        self._connection.detach()
        self._connection.begin()  # for SQLAlchemy one transaction that lasts; the driver's are begun here
        driver: Any = self._connection.connection.dbapi_connection
        self._driver = driver
        for pragma in ("busy_timeout=0", "wal_autocheckpoint=0"):
            self._driver.execute(f"PRAGMA {pragma}")

    def __enter__(self) -> Connection:
        """Begin a transaction that holds the write lock; it is committed at the end of the block."""
        try:
            self._driver.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise Busy from None
            raise explain_message(str(error), self._database) or error from error
        return self._connection

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._driver.execute("COMMIT")
        except BaseException:
            self._roll_back()
            raise
        if error is not None:
            self._roll_back()
            if (
                isinstance(error, DatabaseError)
                and (explained := explain_message(str(error.orig), self._database)) is not None
            ):
                raise explained from error

    def _roll_back(self) -> None:
        if self._driver.in_transaction:
            self._driver.execute("ROLLBACK")

    @property
    def reader(self) -> Connection:
        """The connection for single statements that only read: each sees what is committed, and waits for no writer."""
        return self._connection

    def close(self) -> None:
        """Close the connection; a transaction that is open is rolled back."""
        self._connection.close()


def _create_sqlite_engine(url: str) -> Engine:
    engine = create_engine(
        url,
        connect_args={"timeout": BUSY_TIMEOUT_S, "check_same_thread": False},
        pool_size=8,
        json_serializer=encode_text,
        json_deserializer=decode,
    )

    @event.listens_for(engine, "connect")
    def on_connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # SQLAlchemy's begin event, below, starts transactions
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "temp_store=MEMORY"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        if not options.get("by_hand", False):
            connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("immediate", False) else "BEGIN")

    return engine


def _create_postgres_engine(url: str) -> Engine:
    """Create an engine whose connections are pinged before they are used again, unless they just were.

    A server that ends a connection says so on it at once, so one that has nothing to read has not been ended.
    """
    engine = create_engine(url, pool_size=8)

    @event.listens_for(engine, "checkin")
    def on_checkin(_driver: Any, record: Any) -> None:
        record.info["used_at"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def on_checkout(driver: Any, record: Any, _proxy: Any) -> None:
        if time.monotonic() - record.info.get("used_at", -math.inf) < _TRUSTED_S and _is_silent(driver):
            return
        try:
            engine.dialect.do_ping(driver)
        except engine.dialect.loaded_dbapi.Error as error:
            raise DisconnectionError("the database has closed the connection") from error

    return engine


def _is_silent(driver: Any) -> bool:
    """Whether nothing waits to be read on an idle connection to PostgreSQL."""
    if driver.closed:
        return False
    socket = select.poll()
    socket.register(driver.fileno(), select.POLLIN)
    return not socket.poll(0)


@contextmanager
def _translate_errors(database: str | None) -> Iterator[None]:
    """Raise what an operator or a caller can repair as an error that says how; other database errors pass."""
    try:
        yield
    except (SQLAlchemyError, UnicodeEncodeError, OverflowError) as error:
        if (translated := translate_error(error, database)) is not None:
            raise translated from error
        raise
