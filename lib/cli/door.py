"""The services as a command sees them: opened, and closed at its end."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lib.services import Services


@contextmanager
def opened_services() -> Iterator["Services"]:
    """The process's services; calls that run are given time to end when the block does."""
    logging.disable(logging.WARNING)  # hashing passwords imports Streamlit, which warns that no server runs
    from lib import services

    current = services.current()
    try:
        yield current
    finally:
        current.close()
