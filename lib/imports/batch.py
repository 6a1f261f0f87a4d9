"""What is chosen for an import, what it would bring, and what one brought."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class Wishes:
    """What the person chooses; empty is as it is recognised. `mapping`: our fields and the file's columns."""

    format: str | None = None
    mapping: Mapping[str, str] | None = None
    zone: str = "UTC"
    app: str = ""
    provider: str = ""
    price: bool = False


@dataclass
class ImportPreview:
    """What a file would bring: rows (the first ones as they will be), sums, and what is left out and why."""

    format: str
    label: str
    columns: list[str]
    mapping: dict[str, str]
    is_sum: bool
    rows: int = 0
    calls: int = 0
    uncounted: int = 0  # rows of an unknown number of calls
    unpriced: int = 0
    total_tokens: int | None = None
    cost_nano_usd: int | None = None
    first_at: datetime | None = None
    last_at: datetime | None = None
    left_out: Counter[str] = field(default_factory=Counter)
    sample: list[dict[str, Any]] = field(default_factory=list)
    overlaps: Sequence[str] = ()  # files of earlier imports of this source and time

    def add(self, row: Mapping[str, Any]) -> None:
        """Add a row to the sums."""
        self.rows += 1
        self.calls += (row["calls"] or 0) * row["is_final"]
        self.uncounted += row["calls"] is None
        self.unpriced += row["cost_nano_usd"] is None or row["cost_status"] == "partial"
        if row["total_tokens"] is not None:
            self.total_tokens = (self.total_tokens or 0) + row["total_tokens"]
        if row["cost_nano_usd"] is not None:
            self.cost_nano_usd = (self.cost_nano_usd or 0) + row["cost_nano_usd"]
        at: datetime = row["started_at"]
        self.first_at = min(self.first_at or at, at)
        self.last_at = max(self.last_at or at, at)


@dataclass(frozen=True)
class ImportBatch:
    """An import that was made. `state`: running, done, undoing."""

    id: str
    at: datetime
    user_name: str
    file_name: str
    format: str
    state: str
    rows: int
    calls: int
    left_out: dict[str, int]
    first_at: datetime | None
    last_at: datetime | None
    total_tokens: int | None
    cost_nano_usd: int | None
    unpriced: int
