"""Retention of tools' runs: words go with the words of calls, rows with the calls.

The days are those of retention. Arguments, results and reasons of failures are words; hash and size stay until the row
goes. Turns have no words once they have ended, and go with the calls.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Delete, Update, delete, or_, select, update

from lib.clock import utc_now
from lib.db import installation
from lib.db.engine import Store
from lib.db.tables import tool_executions, tool_turns

_BATCH = 1_000
_E = tool_executions.c
_T = tool_turns.c


def forget_old_runs(store: Store, go_on: Callable[[], bool] = lambda: True) -> int:
    """Forget words and rows that are older than their days; how many rows that touched. Stops when told to."""
    with store.read() as connection:
        days = installation.read(connection, "retention.days") or {}
    touched = 0
    if (words := days.get("words")) is not None:
        has_words = or_(_E.arguments.is_not(None), _E.result.is_not(None), _E.error_message.is_not(None))
        old = (_E.started_at < _start_of(words), has_words)
        blank = update(tool_executions).values(arguments=None, result=None, error_message=None)
        touched += _repeat(store, blank, _E.id, old, go_on)
    if (calls := days.get("calls")) is not None:
        cutoff = _start_of(calls)
        touched += _repeat(store, delete(tool_executions), _E.id, (_E.started_at < cutoff,), go_on)
        ended = (_T.started_at < cutoff, _T.ended_at.is_not(None))
        touched += _repeat(store, delete(tool_turns), _T.id, ended, go_on)
    return touched


def _start_of(days: int) -> datetime:
    """The first moment that is kept: the beginning of a day in UTC."""
    return utc_now().replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=days)


def _repeat(
    store: Store,
    statement: Update | Delete,
    key: ColumnElement[Any],
    conditions: tuple[ColumnElement[bool], ...],
    go_on: Callable[[], bool],
) -> int:
    """Run a statement on matching rows, a thousand at a time, each batch a transaction of its own."""
    touched = 0
    while go_on():
        with store.write() as connection:
            ids = connection.scalars(select(key).where(*conditions).limit(_BATCH)).all()
            if ids:
                connection.execute(statement.where(key.in_(ids)))
        touched += len(ids)
        if len(ids) < _BATCH:
            break
    return touched
