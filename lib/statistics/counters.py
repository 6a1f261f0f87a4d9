"""Figures of the running day for a monitoring system: straight from the ledger, so every process tells the same.

They count from midnight UTC; a monitoring system takes the step back at midnight for a restart and goes on. The sums
read the day's rows by the index on `started_at` (about a second for a million of them), at most every ten seconds.
"""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import case, func, select

from lib.clock import utc_now
from lib.db.engine import Store
from lib.db.tables import circuits, open_calls, usage_logs

BOUNDS_S = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
TOKENS = ("prompt_tokens", "completion_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")
_MOST_AGE_S = 10.0
_U = usage_logs.c


@dataclass(frozen=True)
class Histogram:
    """Calls at or under each bound of `BOUNDS_S`, all of them, and the sum of their times in milliseconds."""

    at_most: tuple[int, ...]
    count: int
    sum_ms: int


@dataclass(frozen=True)
class ModelCounters:
    """A model's day. Calls are final rows by status; tokens and money count every attempt."""

    provider: str
    model: str
    status: str
    calls: int
    attempts: int
    tokens: dict[str, int]
    cost_nano_usd: int
    unpriced: int
    duration: Histogram
    first_token: Histogram


@dataclass(frozen=True)
class Snapshot:
    """Everything that is told."""

    models: tuple[ModelCounters, ...]
    refusals: dict[str, int]
    calls_in_flight: int
    open_circuits: int


class Counters:
    """The day's figures of one store. Thread-safe."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._snapshots: dict[int | None, tuple[float, Snapshot]] = {}

    def snapshot(self, team_id: int | None = None) -> Snapshot:
        """The figures of a team, or of all, at most ten seconds old."""
        with self._lock:
            at, snapshot = self._snapshots.get(team_id, (0.0, None))
            if snapshot is None or time.monotonic() - at > _MOST_AGE_S:
                read_at = time.monotonic()
                snapshot = self._read(team_id)
                self._snapshots[team_id] = (read_at, snapshot)
            return snapshot

    def _read(self, team_id: int | None) -> Snapshot:
        now = utc_now()
        today = (_U.started_at >= now.replace(hour=0, minute=0, second=0, microsecond=0)) & _U.batch_id.is_(None)
        in_flight = select(func.count()).select_from(open_calls)
        if team_id is not None:
            today &= _U.team_id == team_id
            in_flight = in_flight.where(open_calls.c.team_id == team_id)
        refused = today & (_U.status == "refused") & _U.is_final
        per_model = (
            select(
                _U.provider,
                _U.model,
                _U.status,
                func.sum(case((_U.is_final, 1), else_=0)),
                func.count(),
                *(func.coalesce(func.sum(_U[name]), 0) for name in TOKENS),
                func.coalesce(func.sum(_U.cost_nano_usd), 0),
                func.sum(case((_U.cost_nano_usd.is_(None) | (_U.cost_status == "partial"), 1), else_=0)),
                *_build_histogram_columns(_U.execution_time_ms, _U.is_final),
                *_build_histogram_columns(_U.first_token_ms, _U.is_final),
            )
            .where(today)
            .group_by(_U.provider, _U.model, _U.status)
            .order_by(_U.provider, _U.model, _U.status)
        )
        with self._store.read() as connection:
            models = tuple(_build_counters(row) for row in connection.execute(per_model))
            reasons = connection.execute(select(_U.error_kind, func.count()).where(refused).group_by(_U.error_kind))
            return Snapshot(
                models,
                {kind or "refused": count for kind, count in reasons},
                connection.scalar(in_flight) or 0,
                connection.scalar(select(func.count()).select_from(circuits).where(circuits.c.open_until > now)) or 0,
            )


def _build_histogram_columns(column: Any, counted: Any) -> list[Any]:
    is_timed = counted & column.is_not(None)
    at_most = [func.sum(case((is_timed & (column <= round(bound * 1000)), 1), else_=0)) for bound in BOUNDS_S]
    return [
        *at_most,
        func.sum(case((is_timed, 1), else_=0)),
        func.coalesce(func.sum(case((is_timed, column), else_=0)), 0),
    ]


def _build_counters(row: Sequence[Any]) -> ModelCounters:
    provider, model, status, calls, attempts, *sums = row
    tokens = sums[: len(TOKENS)]
    sums = sums[len(TOKENS) :]
    cost, unpriced, *times = sums
    wide = len(BOUNDS_S) + 2
    return ModelCounters(
        provider=provider,
        model=model,
        status=status,
        calls=int(calls),
        attempts=int(attempts),
        tokens=dict(zip(TOKENS, map(int, tokens), strict=True)),
        cost_nano_usd=int(cost),
        unpriced=int(unpriced),
        duration=_read_histogram(times[:wide]),
        first_token=_read_histogram(times[wide:]),
    )


def _read_histogram(values: Sequence[Any]) -> Histogram:
    *at_most, count, total = map(int, values)
    return Histogram(tuple(at_most), count, total)
