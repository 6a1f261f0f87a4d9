"""What tells imported rows apart: numbers of what they say, how often it came, and parts of what one row can't hold."""

import hashlib
import sqlite3
from typing import Any

from lib.clock import id_at
from lib.usage_files import values
from lib.usage_files.table import TOKENS, LeftOut

_COLUMNS_OF_COUNTS = (*TOKENS, "calls")
_MOST_PARTS = 500


def hash_of(text: str) -> int:
    """A number that follows from a text, of 62 bits."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest()) >> 2


def split_huge_counts(made: dict[str, Any]) -> list[dict[str, Any]]:
    """The row, or rows with equal parts of its figures where a count is more than a column holds."""
    largest = max((made[name] for name in _COLUMNS_OF_COUNTS if made[name] is not None), default=0)
    count = -(-largest // values.LARGEST)
    if count <= 1:
        return [made]
    if count > _MOST_PARTS:
        raise LeftOut("a count is more than the ledger holds")
    rows = []
    for part in range(count):
        row = dict(made)
        for name in (*_COLUMNS_OF_COUNTS, "cost_nano_usd"):
            if (whole_figure := made[name]) is not None:
                share, rest = divmod(whole_figure, count)
                row[name] = share + (part < rest)
        if part:
            row["id"] = row["call_id"] = id_at(
                int(made["started_at"].timestamp() * 1000), 0xFFF, hash_of(f"{made['id']}\x1f{part}")
            )
        rows.append(row)
    return rows


class Occurrences:
    """How often a key has come, in a temporary file: memory stays flat."""

    def __init__(self) -> None:
        self._file = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._file.execute("CREATE TABLE seen (key INTEGER PRIMARY KEY, number INTEGER)")
        self._file.execute("BEGIN")

    def count(self, key: int) -> int:
        """Count the key in: 1 the first time."""
        query = "INSERT INTO seen VALUES (?, 1) ON CONFLICT (key) DO UPDATE SET number = number + 1 RETURNING number"
        return int(self._file.execute(query, (key,)).fetchone()[0])
