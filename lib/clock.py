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
        _last = max(_last + 1, moment)
        stamp = _last
    return id_at(stamp >> 12, stamp & 0xFFF)


def id_at(milliseconds: int, counter: int = 0, entropy: int | None = None) -> str:
    """The UUIDv7 of a given moment (Unix milliseconds); `entropy` (62 bits) makes it repeatable."""
    tail = _random.getrandbits(62) if entropy is None else entropy & ((1 << 62) - 1)
    digits = f"{(milliseconds << 80) | (0x7 << 76) | ((counter & 0xFFF) << 64) | (0b10 << 62) | tail:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
