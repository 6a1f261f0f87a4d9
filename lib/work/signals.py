"""Signals to runs and what runs wait for, as rows: a signal waits for its run, a parked run for its signal."""

import asyncio
import threading
from collections import defaultdict
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from lib.clock import utc_now
from lib.db.engine import Store
from lib.db.tables import work_signals, work_waits

_S = work_signals.c
_W = work_waits.c


class Wait(NamedTuple):
    """What came: a signal's payload, or that the deadline is over; both empty: neither yet."""

    payload: Any = None
    has_come: bool = False
    is_over: bool = False
    deadline: datetime | None = None


class Signals:
    """Sends signals, and lets this process's runs wait for them. Thread-safe."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._waiters: dict[tuple[str, str], list[tuple[asyncio.AbstractEventLoop, asyncio.Event]]] = defaultdict(list)

    def send(self, run_id: str, topic: str, payload: Any) -> bool:
        """Keep a signal for its run, the first of a topic; whether the run is parked, and has to be started again."""
        with self._store.write() as connection:
            row = {"run_id": run_id, "topic": topic, "payload": payload, "at": utc_now()}
            connection.execute(self._dialect().insert(work_signals).values(**row).on_conflict_do_nothing())
            parked = connection.scalar(select(_W.topic).where(_W.run_id == run_id, _W.is_parked).limit(1))
        self.notify([(run_id, topic)])
        return parked is not None

    def begin_wait(self, run_id: str, topic: str, deadline: datetime | None) -> Wait:
        """Note that a run waits, with the deadline of its first try, and look whether it is over already."""
        with self._store.write() as connection:
            row = {"run_id": run_id, "topic": topic, "deadline": deadline, "is_parked": False, "since": utc_now()}
            statement = self._dialect().insert(work_waits).values(**row)
            statement = statement.on_conflict_do_update(
                index_elements=["run_id", "topic"], set_={"is_parked": statement.excluded.is_parked}
            )
            connection.execute(statement)
            return _look(connection, run_id, topic)

    def look(self, run_id: str, topic: str) -> Wait:
        """Look for a signal, and whether the deadline is over."""
        with self._store.read() as connection:
            return _look(connection, run_id, topic)

    def end_wait(self, run_id: str, topic: str) -> None:
        """Note that a run waits no more."""
        with self._store.write() as connection:
            connection.execute(delete(work_waits).where(_W.run_id == run_id, _W.topic == topic))

    def park(self, run_id: str) -> bool:
        """Note that a run is about to be parked; False when a signal or a deadline has come in between."""
        with self._store.write() as connection:
            connection.execute(update(work_waits).where(_W.run_id == run_id).values(is_parked=True))
            if _list_ready(connection, utc_now(), run_id):
                connection.execute(update(work_waits).where(_W.run_id == run_id).values(is_parked=False))
                return False
        return True

    def list_ready(self) -> list[str]:
        """List parked runs for which a signal or the deadline has come."""
        with self._store.read() as connection:
            return _list_ready(connection, utc_now())

    def is_parked(self, run_id: str) -> bool:
        """Whether a run is parked."""
        with self._store.read() as connection:
            return connection.scalar(select(_W.run_id).where(_W.run_id == run_id, _W.is_parked).limit(1)) is not None

    def unpark(self, run_id: str) -> None:
        """Note that a run is at work again."""
        with self._store.write() as connection:
            connection.execute(update(work_waits).where(_W.run_id == run_id).values(is_parked=False))

    def forget(self, run_id: str) -> None:
        """Delete a run's waits and signals: it is over."""
        with self._store.write() as connection:
            connection.execute(delete(work_waits).where(_W.run_id == run_id))
            connection.execute(delete(work_signals).where(_S.run_id == run_id))

    def watch(self, run_id: str, topic: str) -> asyncio.Event:
        """Make an event of the running loop that is set when this process hears of the signal."""
        event = asyncio.Event()
        with self._lock:
            self._waiters[run_id, topic].append((asyncio.get_running_loop(), event))
        return event

    def unwatch(self, run_id: str, topic: str, event: asyncio.Event) -> None:
        """Forget an event of `watch`."""
        with self._lock:
            waiters = [waiter for waiter in self._waiters.pop((run_id, topic), []) if waiter[1] is not event]
            if waiters:
                self._waiters[run_id, topic] = waiters

    def notify(self, names: list[tuple[str, str]]) -> None:
        """Wake this process's waiters of these runs and topics."""
        with self._lock:
            waiters = [waiter for name in names for waiter in self._waiters.get(name, ())]
        for loop, event in waiters:
            loop.call_soon_threadsafe(event.set)

    def wake_watched(self) -> None:
        """Look once for the signals of everything that this process's runs wait for, and wake those that came."""
        with self._lock:
            watched = list(self._waiters)
        if not watched:
            return
        runs = sorted({run_id for run_id, _ in watched})
        came: list[tuple[str, str]] = []
        with self._store.read() as connection:
            for start in range(0, len(runs), 500):
                query = select(_S.run_id, _S.topic).where(_S.run_id.in_(runs[start : start + 500]))
                came += [(row.run_id, row.topic) for row in connection.execute(query)]
        self.notify(came)

    def _dialect(self) -> Any:
        return sqlite if self._store.is_sqlite else postgresql


def _look(connection: Connection, run_id: str, topic: str) -> Wait:
    signal = connection.execute(select(_S.payload).where(_S.run_id == run_id, _S.topic == topic)).one_or_none()
    if signal is not None:
        return Wait(payload=signal.payload, has_come=True)
    deadline = connection.scalar(select(_W.deadline).where(_W.run_id == run_id, _W.topic == topic))
    return Wait(is_over=deadline is not None and deadline <= utc_now(), deadline=deadline)


def _list_ready(connection: Connection, now: datetime, run_id: str | None = None) -> list[str]:
    same_topic = (_S.run_id == _W.run_id) & (_S.topic == _W.topic)
    query = select(_W.run_id).outerjoin(work_signals, same_topic).where(_W.is_parked)
    query = query.where(or_(_S.topic.is_not(None), _W.deadline <= now)).distinct()
    return list(connection.scalars(query if run_id is None else query.where(_W.run_id == run_id)))
