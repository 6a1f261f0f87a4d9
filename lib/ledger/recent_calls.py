"""Finding a call that began or ended a moment ago: where many calls run, the database has it a moment later."""

import time
from collections.abc import Callable
from typing import TypeVar

from lib.clock import parse_id_time
from lib.errors import NotFound

_LATELY_S = 5.0
_WAITS_S = (0.05, 0.25)  # an end is written after 0.03 s, a call that goes on after 0.15 s at most
_T = TypeVar("_T")


def find_recent(call_id: str, find: Callable[[], _T]) -> _T:
    """Run `find`; on NotFound for an id that is not five seconds old, twice more at most (after 0.3 s in all)."""
    for wait in _WAITS_S:
        try:
            return find()
        except NotFound:
            created_at = parse_id_time(call_id)
            if created_at is None or not 0 <= time.time() - created_at < _LATELY_S:
                raise
            time.sleep(wait)
    return find()
