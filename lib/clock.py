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
_VARIANT = 1 << 63  # two bits, 10: RFC 9562's


def utc_now() -> datetime:
    """The current moment, aware, in UTC, to the microsecond."""
    return datetime.now(UTC)


def make_id() -> str:
    """Make a UUIDv7: 48 bits of milliseconds, a 12-bit counter that orders one process's ids, 62 random bits."""
    global _last
    with _lock:
        moment = (time.time_ns() // 1_000_000) << 12
        _last = stamp = moment if moment > _last else _last + 1
    return _format_id(stamp, _random.getrandbits(62))


def make_id_at(milliseconds: int, counter: int = 0, entropy: int | None = None) -> str:
    """Make the UUIDv7 of a given moment (Unix milliseconds); `entropy` (62 bits) makes it repeatable."""
    return _format_id(milliseconds << 12 | counter & 0xFFF, _random.getrandbits(62) if entropy is None else entropy)


def shorten_id(written: str) -> str:
    """An id's last eight characters, as people read it: its first ones are its time, which neighbours share."""
    return written[-8:]


def parse_id_time(written: str) -> float | None:
    """Read the moment an id was made, in Unix seconds; None for what is no UUIDv7."""
    digits = written.replace("-", "")
    if len(written) != 36 or len(digits) != 32 or digits[12] != "7":
        return None
    try:
        return int(digits[:12], 16) / 1000
    except ValueError:
        return None


def _format_id(stamp: int, tail: int) -> str:
    """Write an id; `stamp` is the milliseconds and, in its last 12 bits, the counter."""
    digits = f"{stamp:015x}{_VARIANT | tail:016x}"
    return f"{digits[:8]}-{digits[8:12]}-7{digits[12:15]}-{digits[15:19]}-{digits[19:]}"
