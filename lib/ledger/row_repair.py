"""Rows that the database refuses are made such that it takes them: one must not keep all others waiting.

What providers and programs send is cleaned and cut before it gets here. This is for what nobody thought of: each ended
attempt of a batch that was refused is tried by itself and taken back; one that can't be written loses its words and
what no column can hold, and keeps what it is about.
"""

import logging
from collections.abc import Iterable
from typing import Any

from sqlalchemy.exc import DBAPIError

from lib.db.bulk import insert_rows
from lib.db.engine import Store
from lib.db.tables import open_calls
from lib.errors import LLMManagerError
from lib.ledger.closing import Closing, insert_closings
from lib.ledger.usage_row import UsageRow

log = logging.getLogger(__name__)
_OFFENCES = {"DataError", "IntegrityError", "ProgrammingError", "OverflowError", "ValueError", "TypeError"} | {
    "RecursionError"  # of what makes JSON
}
_NOT_KEPT = "What came with this call could not be kept: the database refused it."
_LARGEST = 2**31 - 1  # of a whole number; money may be larger
_LARGEST_MONEY = 2**63 - 1


class _TakenBack(Exception):
    """It could have been written."""


def is_refusal(error: Exception) -> bool:
    """Whether the database, or its driver, took offence at a value; not when it can't be reached or is full."""
    cause: BaseException | None = error.__cause__ if isinstance(error, LLMManagerError) else error
    if isinstance(cause, DBAPIError):
        cause = cause.orig
    return any(kind.__name__ in _OFFENCES for kind in type(cause).__mro__)


def make_writable(
    store: Store, closings: Iterable[Closing], openings: Iterable[dict[str, Any]], error: Exception
) -> bool:
    """Whether something was found that the database refuses, and made writable in place."""
    if not is_refusal(error):
        return False
    repaired = 0
    for closing in closings:
        bare = Closing(_strip_row(closing.row), {}, closing.claim, closing.charged)
        if _can_write(store, closing) or not _can_write(store, bare):  # it is well, or not to blame
            continue
        log.error("The end of call %s can't be kept whole: %s", closing.row.id, error)
        closing.row = bare.row
        closing.payload = bare.payload
        repaired += 1
    for row in openings:
        bare_row = row | {"request": [], "parameters": {}, "tags": {}}
        if not _can_write(store, row) and _can_write(store, bare_row):
            row |= bare_row
            repaired += 1
    return repaired > 0


def _can_write(store: Store, entry_row: Closing | dict[str, Any]) -> bool:
    """Whether the database takes the end of an attempt, or a row of `open_calls`: tried and taken back."""
    try:
        with store.write() as connection:
            if isinstance(entry_row, Closing):
                insert_closings(connection, [entry_row])
            else:
                insert_rows(connection, open_calls, [entry_row])
            raise _TakenBack
    except _TakenBack:
        return True
    except Exception as error:
        if not is_refusal(error):
            raise
        return False


def _strip_row(row: UsageRow) -> UsageRow:
    columns = row.to_columns()
    bare: dict[str, Any] = {
        "parameters": {},
        "tags": {},
        "served_model": None,
        "finish_reason": None,
        "error_message": _NOT_KEPT,
    }
    for name, value in columns.items():
        most = _LARGEST_MONEY if name.endswith("_nano_usd") else _LARGEST
        if isinstance(value, int) and name != "change_seq" and not 0 <= value <= most:
            bare[name] = None
    bare |= {"usage_details": None, "fees_nano_usd": bare.get("fees_nano_usd", row.fees_nano_usd) or 0}
    stripped = UsageRow(**(columns | bare))
    if stripped.cost_nano_usd is None:
        stripped.cost_status = "unpriced"
    return stripped
