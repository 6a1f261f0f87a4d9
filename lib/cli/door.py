"""The services as a command sees them: opened, and closed at its end; and who asks, a person of this machine."""

import getpass
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lib.access import permissions

if TYPE_CHECKING:
    from lib.services import Services


def _place() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = "?"
    return f"command line {user}@{socket.gethostname()}"


OPERATOR = permissions.OPERATOR.coming_from(_place())


@contextmanager
def opened_services() -> Iterator["Services"]:
    """The process's services; calls that run are given time to end when the block does."""
    from lib import services

    current = services.current()
    try:
        yield current
    finally:
        current.close()
