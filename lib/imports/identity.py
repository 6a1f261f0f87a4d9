"""What tells imported rows apart: numbers of what they say, how often it came, and parts of what one row can't hold."""

import hashlib
import sqlite3
from typing import Any

from lib.clock import make_id_at
from lib.usage_files import values
from lib.usage_files.table import TOKENS, SkippedRow

_COLUMNS_OF_COUNTS = (*TOKENS, "calls")
_MOST_PARTS = 500


def compute_hash(text: str) -> int:
    """Compute a number of 62 bits that follows from a text."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest()) >> 2


def split_huge_counts(ledger_row: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the row, or rows with equal parts of its figures where a count is more than a column holds."""
    largest = max((ledger_row[name] for name in _COLUMNS_OF_COUNTS if ledger_row[name] is not None), default=0)
    count = -(-largest // values.LARGEST)
    if count <= 1:
        return [ledger_row]
    if count > _MOST_PARTS:
        raise SkippedRow("a count is more than the ledger holds")
    rows = []
    for part in range(count):
        row = dict(ledger_row)
        for name in (*_COLUMNS_OF_COUNTS, "cost_nano_usd"):
            if (whole_figure := ledger_row[name]) is not None:
                share, remainder = divmod(whole_figure, count)
                row[name] = share + (part < remainder)
        if part:
            row["id"] = row["call_id"] = make_id_at(
                int(ledger_row["started_at"].timestamp() * 1000), 0xFFF, compute_hash(f"{ledger_row['id']}\x1f{part}")
            )
        rows.append(row)
    return rows


class Occurrences:
    """Counts how often a key has come, in a temporary file: memory stays flat."""

    def __init__(self) -> None:
        self._file = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._file.execute("CREATE TABLE seen (key INTEGER PRIMARY KEY, number INTEGER)")
        self._file.execute("BEGIN")

    def count(self, key: int) -> int:
        """Count the key and return how often it has come, this time included."""
        query = "INSERT INTO seen VALUES (?, 1) ON CONFLICT (key) DO UPDATE SET number = number + 1 RETURNING number"
        return int(self._file.execute(query, (key,)).fetchone()[0])
