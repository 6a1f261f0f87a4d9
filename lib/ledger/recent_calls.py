"""Finding a call that began or ended a moment ago: where many calls run, the database has it a moment later."""

import time
from collections.abc import Callable
from typing import TypeVar

from lib.clock import made_at
from lib.errors import NotFound

_LATELY_S = 5.0
_WAITS_S = (0.05, 0.25)  # an end is written after 0.03 s, a call that goes on after 0.15 s at most
_T = TypeVar("_T")


def found_soon(call_id: str, find: Callable[[], _T]) -> _T:
    """What `find` returns; when it raises NotFound and the id was made just now, it is asked again in a moment."""
    for wait in _WAITS_S:
        try:
            return find()
        except NotFound:
            made = made_at(call_id)
            if made is None or not 0 <= time.time() - made < _LATELY_S:
                raise
            time.sleep(wait)
    return find()
