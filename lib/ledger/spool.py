"""The spool: files from which the calls of a killed process are recovered, so that nothing acknowledged is lost.

Each process has a folder under `data/spool/`, held by a file lock that the kernel releases when it dies. A call's
closing record is appended to `calls-*.jsonl` in one write before its last byte leaves, and the opening of one that did
not wait for the database before its first; once the database has them, the file is emptied. A stream that lasts longer
than half a second also keeps its text so far in `<log id>.part`. Whoever can lock another process's folder knows it is
dead, and may recover it (`lib.ledger.recovery`).
"""

import errno
import fcntl
import json
import logging
import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from lib.fast_json import encode

log = logging.getLogger(__name__)
_LOCK = "lock"
_UNBORN = "."
_PAGE = 4096  # bytes
_UNBORN_S = 3600.0  # no process takes so long to give its folder a name


class Segment(NamedTuple):
    """A file of records: how many were begun before it, and its descriptor."""

    order: int
    file: int


class Spool:
    """This process's folder; used from the call loop only."""

    def __init__(self, root: Path, owner: str) -> None:
        self.owner = owner
        self.folder = root / owner
        self._lock = _make_own_folder(self.folder)
        self._begun = self._files = 0
        self._segment: Segment | None = None
        self._rotated: list[Segment] = []  # files that are not written into any more, oldest first
        self._clean: list[int] = []  # files that are empty again
        self._is_torn = False  # the last record was cut off by a full disk
        self._checkpointed: set[str] = set()  # calls with checkpoints

    def append(self, record: dict[str, Any]) -> int:
        """Add a record in one write, and return the order of its segment; OSError when the disk refuses."""
        segment = self._segment
        if segment is None:
            self._begun += 1
            segment = self._segment = Segment(self._begun, self._clean.pop() if self._clean else self._new_file())
        line = b"\n\n" + _encode_line(record) if self._is_torn else _encode_line(record)
        self._is_torn = os.write(segment.file, line) < len(line)
        if self._is_torn:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return segment.order

    def rotate(self) -> None:
        """Write no more into the file that holds the records so far."""
        if self._segment is not None:
            self._rotated.append(self._segment)
            self._segment = None

    def drop_before(self, order: float) -> None:
        """Everything in the files before that one is in the database: empty them, to be written again."""
        while self._rotated and self._rotated[0].order < order:
            file = self._rotated.pop(0).file
            os.ftruncate(file, 0)
            self._clean.append(file)

    def checkpoint(self, log_id: str, record: dict[str, Any]) -> None:
        """Add to what is known of a call in flight."""
        self._checkpointed.add(log_id)
        file = _open_append(self.folder / f"{log_id}.part")
        try:
            os.write(file, _encode_line(record))
        finally:
            os.close(file)

    def forget(self, log_id: str) -> None:
        """The call has its closing record; its checkpoints are not needed."""
        if log_id in self._checkpointed:
            (self.folder / f"{log_id}.part").unlink(missing_ok=True)
            self._checkpointed.discard(log_id)

    def probe(self) -> None:
        """Write a page and take it away again; OSError when the disk refuses."""
        file = os.open(self.folder / "probe", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            written = os.write(file, bytes(_PAGE))
            os.ftruncate(file, 0)
        finally:
            os.close(file)
        if written < _PAGE:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def close(self) -> None:
        """Give the folder up; it is removed when nothing waits in it."""
        self.rotate()
        for file in (*self._clean, *(segment.file for segment in self._rotated)):
            os.close(file)
        if not any(path.name != _LOCK and path.stat().st_size for path in self.folder.iterdir()):
            shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self._lock)

    def _new_file(self) -> int:
        self._files += 1
        return _open_append(self.folder / f"calls-{self._files:06d}.jsonl")


@dataclass(frozen=True)
class DeadSpool:
    """A folder whose process is gone, held while it is being recovered."""

    owner: str
    folder: Path

    def records(self) -> list[dict[str, Any]]:
        """Openings and closings that may not have reached the database."""
        return [record for path in sorted(self.folder.glob("*.jsonl")) for record in _read_records(path)]

    @property
    def is_damaged(self) -> bool:
        """Whether a line in the middle of a file is no record: no kill does that, a disk or a hand does."""
        return any(_has_damage(path) for path in self.folder.glob("*.jsonl"))

    def put_aside(self) -> Path:
        """Keep it out of the way, for somebody to look at; where."""
        damaged_folder = self.folder.parent.with_name("spool-damaged") / self.owner
        damaged_folder.parent.mkdir(mode=0o700, exist_ok=True)
        if damaged_folder.exists():
            damaged_folder = damaged_folder.with_name(f"{self.owner}-{time.time_ns()}")
        return self.folder.rename(damaged_folder)

    def checkpoints(self, log_id: str) -> list[dict[str, Any]]:
        """The checkpoints of a call in flight, oldest first."""
        path = self.folder / f"{log_id}.part"
        return _read_records(path) if path.exists() else []

    def remove(self) -> None:
        """Everything in it is in the database now."""
        shutil.rmtree(self.folder, ignore_errors=True)


def iterate_dead_spools(root: Path) -> Iterator[DeadSpool]:
    """The folders of dead processes, each locked while the caller handles it."""
    for folder in sorted(root.iterdir()) if root.is_dir() else []:
        if folder.name.startswith(_UNBORN):
            _remove_unborn(folder)
            continue
        try:
            if not folder.is_dir() or (lock := _try_lock(folder)) is None:
                continue
        except OSError as error:
            log.error("What a process left in %s can't be read (%s): correct its owner.", folder, error.strerror)
            continue
        try:
            yield DeadSpool(folder.name, folder)
        finally:
            os.close(lock)


def _remove_unborn(unborn: Path) -> None:
    """Remove the folder of a process that died before it began; a young one is left, for it is about to begin."""
    with suppress(FileNotFoundError):
        if time.time() - unborn.stat().st_mtime > _UNBORN_S:
            shutil.rmtree(unborn, ignore_errors=True)


def read_host_name() -> str:
    """The name of the machine, as written in `processes.host`."""
    return socket.gethostname()[:255]


def _make_own_folder(folder: Path) -> int:
    """Make a folder that is locked from the moment it has its name: nobody can take it for a dead process's."""
    unborn = folder.with_name(_UNBORN + folder.name)
    unborn.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = _try_lock(unborn)
    if lock is None:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    unborn.rename(folder)
    return lock


def _try_lock(folder: Path) -> int | None:
    try:
        file = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        return None
    return file


def _open_append(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def _encode_line(record: dict[str, Any]) -> bytes:
    return encode(record) + b"\n"


def _has_damage(path: Path) -> bool:
    """An empty line follows one that a full disk cut off, which its process knew of."""
    lines = path.read_bytes().split(b"\n")
    return any(line and following and _parse_record(line) is None for line, following in pairwise(lines))


def _parse_record(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line.decode("utf-8", "surrogatepass"))
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _read_records(path: Path) -> list[dict[str, Any]]:
    """Whole lines only: a kill in mid-write leaves at most one torn line at the end."""
    lines = path.read_bytes().split(b"\n")
    return [record for line in lines if line and (record := _parse_record(line)) is not None]
