"""Where the ledger's copy lives: DuckDB files of a folder, each claimed by one process while it runs.

A DuckDB file has one writing process and no other reader, so every process takes the first file that is free
(`copy-0.duckdb`, `copy-1.duckdb`…) and brings it up to date by itself: nothing is shared but the ledger. DuckDB's own
lock tells whether a file is free; it falls with its process. A file of another shape or one that can't be read is
thrown away and filled again; one that only lacks the newest columns (`ADDED`) gets them, for its rows have the
constant that the ledger's older rows have.

DuckDB is locked down: no other files, no network, no settings.
"""

import hashlib
import json
import logging
import threading
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from lib.statistics.copy import copy_columns

log = logging.getLogger(__name__)
_MOST_FILES = 16
_CONFIG: dict[str, Any] = {"threads": 1, "memory_limit": "512MB", "allocator_background_threads": True}
_LOCKED = "lock"  # DuckDB's message has it: Could not set lock on file
ADDED = {"team_id": "DEFAULT '1'"}  # columns of `calls`, the oldest first: what older rows have in them
_claimed: set[Path] = set()
_claiming = threading.Lock()


@dataclass(frozen=True)
class CopyFile:
    """A file that belongs to this process until it is released."""

    path: Path
    connection: duckdb.DuckDBPyConnection

    def release(self) -> None:
        """Let other processes have the file."""
        self.connection.close()
        _claimed.discard(self.path)

    def discard(self) -> None:
        """Release it and remove it."""
        self.release()
        _remove(self.path)


def claim(folder: Path, tables: Mapping[str, str]) -> CopyFile | None:
    """The first free file with these tables (name → columns), or None where none can be had."""
    with _claiming:
        for number in range(_MOST_FILES):
            path = (folder / f"copy-{number}.duckdb").absolute()
            if path in _claimed:
                continue
            try:
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                connection = _open_file(path, tables)
            except duckdb.Error as error:
                if _LOCKED in str(error):
                    continue  # another process has it
                log.warning("No file for the statistics' copy of the ledger; it stays in memory: %s", error)
                return None
            except OSError as error:
                log.warning("No folder for the statistics' copy of the ledger; it stays in memory: %s", error)
                return None
            with suppress(OSError):
                path.chmod(0o600)  # it holds what the ledger holds
            _claimed.add(path)
            return CopyFile(path, connection)
    return None


def open_in_memory(tables: Mapping[str, str]) -> duckdb.DuckDBPyConnection:
    """Empty tables that end with the process."""
    return _prepare(duckdb.connect(":memory:", config=_CONFIG), tables)


def _open_file(path: Path, tables: Mapping[str, str]) -> duckdb.DuckDBPyConnection:
    """The file with its tables; one that is damaged or of another shape is made anew."""
    is_new = not path.exists()
    try:
        connection = duckdb.connect(path, config=_CONFIG)
        if is_new or _read_shape(connection) == _describe_shape(tables) or _add_columns(connection, tables):
            return _prepare(connection, tables)
        connection.close()
    except duckdb.Error as error:
        if is_new or _LOCKED in str(error):
            raise
        log.warning("The statistics' copy of the ledger was damaged and is made anew: %s", error)
    _remove(path)
    return _prepare(duckdb.connect(path, config=_CONFIG), tables)


def _prepare(connection: duckdb.DuckDBPyConnection, tables: Mapping[str, str]) -> duckdb.DuckDBPyConnection:
    for name, columns in {"shape": "digest VARCHAR", **tables}.items():
        connection.execute(f"CREATE TABLE IF NOT EXISTS {name} ({columns})")
    if _read_shape(connection) is None:
        connection.execute("INSERT INTO shape VALUES (?)", [_describe_shape(tables)])
    connection.execute("SET autoinstall_known_extensions = false")
    connection.execute("SET autoload_known_extensions = false")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def _add_columns(connection: duckdb.DuckDBPyConnection, tables: Mapping[str, str]) -> bool:
    """Give a file its missing `ADDED` columns and let go of what is summed up; False for a file of another shape."""
    shape = _read_shape(connection)
    for count in range(1, len(ADDED) + 1):
        missing = list(ADDED)[-count:]
        if shape == _describe_shape({name: _leave_out(columns, missing) for name, columns in tables.items()}):
            break
    else:
        return False
    connection.execute("BEGIN")
    for name in missing:
        connection.execute(f"ALTER TABLE calls ADD COLUMN {name} VARCHAR {ADDED[name]}")
    for name in tables.keys() - {"calls", "seen"}:
        connection.execute(f"DROP TABLE {name}")
    connection.execute("UPDATE shape SET digest = ?", [_describe_shape(tables)])
    connection.execute("COMMIT")
    return True


def _leave_out(columns: str, names: Collection[str]) -> str:
    return ", ".join(column for column in columns.split(", ") if column.split(" ")[0] not in names)


def _read_shape(connection: duckdb.DuckDBPyConnection) -> str | None:
    row = connection.execute("SELECT digest FROM shape").fetchone()
    return str(row[0]) if row else None


def _describe_shape(tables: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps([duckdb.__version__, dict(tables), copy_columns.describe()]).encode()).hexdigest()


def _remove(path: Path) -> None:
    for file in (path, path.with_name(path.name + ".wal")):
        file.unlink(missing_ok=True)
