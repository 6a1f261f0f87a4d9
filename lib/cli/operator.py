"""The services as a command sees them: opened, and closed at its end; and who asks, a person of this machine."""

import getpass
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lib.access import permissions

if TYPE_CHECKING:
    from lib.services import Services


def _describe_operator() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = "?"
    return f"command line {user}@{socket.gethostname()}"


OPERATOR = permissions.OPERATOR.with_origin(_describe_operator())


@contextmanager
def open_services() -> Iterator["Services"]:
    """Open the process's services for a `with` block; at its end calls that still run get time to finish."""
    from lib import services

    current = services.current()
    try:
        yield current
    finally:
        current.close()
