"""Time and identity: UTC now, and UUIDv7 ids that sort by the moment they were made (RFC 9562, section 5.7)."""

import os
import random
import threading
import time
from datetime import UTC, datetime

_lock = threading.Lock()
_random = random.Random(os.urandom(32))  # noqa: S311 (an id has to be unique, not secret)
os.register_at_fork(after_in_child=lambda: _random.seed(os.urandom(32)))
_last = 0


def utc_now() -> datetime:
    """The current moment, aware, in UTC, to the microsecond."""
    return datetime.now(UTC)


def new_id() -> str:
    """A new UUIDv7: 48 bits of milliseconds, a 12-bit counter that keeps one process's ids in order, 62 random bits."""
    global _last
    with _lock:
        moment = (time.time_ns() // 1_000_000) << 12
        _last = stamp = moment if moment > _last else _last + 1
    return _written(stamp >> 12, stamp, _random.getrandbits(62))


def id_at(milliseconds: int, counter: int = 0, entropy: int | None = None) -> str:
    """The UUIDv7 of a given moment (Unix milliseconds); `entropy` (62 bits) makes it repeatable."""
    return _written(milliseconds, counter, _random.getrandbits(62) if entropy is None else entropy)


def _written(milliseconds: int, counter: int, tail: int) -> str:
    high, low = 0x8000 | (tail >> 48) & 0x3FFF, tail & 0xFFFFFFFFFFFF
    return f"{milliseconds >> 16:08x}-{milliseconds & 0xFFFF:04x}-7{counter & 0xFFF:03x}-{high:04x}-{low:012x}"
