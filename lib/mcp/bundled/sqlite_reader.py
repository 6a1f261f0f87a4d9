"""One SQLite file, read-only by the engine: opened with `mode=ro`, `query_only`, and an authorizer that knows SELECT.

The authorizer is asked for every action of a statement while it is compiled, so no way of writing it matters: ATTACH,
PRAGMA, transactions, changes and functions that load code or read files are denied. A progress handler ends a statement
after its time. `immutable` is not used: it would not see what a live file's write-ahead log holds.
"""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

from lib.errors import InvalidInput, NotFound
from lib.mcp.bundled.tabular import LONGEST_CELL, STATEMENT_S, Rows, take_rows

_ALLOWED = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE}
_DENIED_FUNCTIONS = {"load_extension", "readfile", "writefile", "edit", "fts3_tokenizer", "zeroblob", "randomblob"}
_LONGEST_VALUE = 1_000_000  # bytes of one value, also of those made on the way
_LIMITS = {
    sqlite3.SQLITE_LIMIT_LENGTH: _LONGEST_VALUE,
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 100_000,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_COLUMN: 500,
    sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 200,
    sqlite3.SQLITE_LIMIT_COMPOUND_SELECT: 100,
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 1_000,
    sqlite3.SQLITE_LIMIT_WORKER_THREADS: 0,
}
_STEPS = 2_000  # of the engine between two looks at the clock


class SqliteReader:
    """Opens a connection for each question, so that nothing is kept between two."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    def describe(self) -> dict[str, list[str]]:
        """Columns with their types, by table or view."""
        with self._connect() as connection:
            names = connection.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view') ORDER BY name")
            return {name: _list_columns(connection, name) for (name,) in names.fetchmany(1_000)}

    def query(self, sql: str) -> Rows:
        """The rows of one statement; raises InvalidInput with the engine's own words."""
        with self._connect() as connection:
            connection.text_factory = _read_text
            connection.set_authorizer(_authorise)
            try:
                cursor = connection.execute(sql)
                return take_rows([column[0] for column in cursor.description or ()], cursor)
            except MemoryError:
                why = "It takes more memory than a statement may."
                raise InvalidInput("The statement was stopped.", why, "Ask for less.") from None
            except sqlite3.Error as error:
                raise _explain(error) from None
            except sqlite3.Warning as error:  # more than one statement
                raise InvalidInput("The statement can't be run.", f"{error}", "Send one statement.") from None

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        if not self._path.is_file():
            raise NotFound(f"{self._path.name} is not there.", "The file was moved or deleted.", "Register it again.")
        try:
            connection = sqlite3.connect(f"file:{quote(str(self._path))}?mode=ro", uri=True, timeout=5)
        except sqlite3.Error as error:
            raise _explain(error) from None
        with closing(connection):
            for limit, value in _LIMITS.items():
                connection.setlimit(limit, value)
            try:
                connection.execute("PRAGMA query_only=ON")
                connection.execute("PRAGMA trusted_schema=OFF")
            except sqlite3.Error as error:
                raise _explain(error) from None
            ends_at = time.monotonic() + STATEMENT_S
            connection.set_progress_handler(lambda: int(time.monotonic() > ends_at), _STEPS)
            yield connection


def _list_columns(connection: sqlite3.Connection, table: str) -> list[str]:
    try:
        rows = connection.execute("SELECT name, type FROM pragma_table_info(?)", (table,)).fetchmany(1_000)
    except sqlite3.Error:  # a view of what is gone
        return []
    return [f"{name} {kind}".strip() for name, kind in rows]


def _read_text(data: bytes) -> str:
    """A text of a cell, as far as it is told, and one character more, by which it is seen to be cut."""
    return data[: 4 * (LONGEST_CELL + 1)].decode("utf-8", "replace")[: LONGEST_CELL + 1]


def _authorise(action: int, first: str | None, second: str | None, _database: str | None, _inner: str | None) -> int:
    """Allow reading; a table named `pragma_…` is a PRAGMA by another name, and asks for one itself."""
    if action == sqlite3.SQLITE_FUNCTION:
        return sqlite3.SQLITE_DENY if (second or "").lower() in _DENIED_FUNCTIONS else sqlite3.SQLITE_OK
    return sqlite3.SQLITE_OK if action in _ALLOWED else sqlite3.SQLITE_DENY


def _explain(error: sqlite3.Error) -> InvalidInput:
    words = str(error)
    if "interrupted" in words:
        why = f"It took longer than {STATEMENT_S} s."
        return InvalidInput("The statement was stopped.", why, "Ask for less, or add a condition.")
    if "not authorized" in words or "prohibited" in words:
        return InvalidInput("The statement can't be run.", f"Only reading is allowed ({words}).", "Send one SELECT.")
    return InvalidInput("The statement can't be run.", f"{words[:300]}.", "Correct it.")
