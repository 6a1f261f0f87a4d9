"""Statements of strangers, run in a limited child (`statement_program`): each is a program in the engine's language.

A few lines of SQL make thousands of values of a megabyte, or a plan of a gigabyte; here they end a child. It may write
small temporary files alone, which a sort needs, and two run at once in a process.
"""

import json
import threading
from pathlib import Path

from lib.errors import InvalidInput, LLMManagerError, NotFound, PermissionDenied
from lib.limited.child import NotComputed, ProcessLimits, run
from lib.mcp.bundled.tabular import STATEMENT_S, Rows

_PROGRAM = Path(__file__).with_name("statement_program.py")
_GRACE_S = 10
_MEMORY = 400 * 1024 * 1024
_MOST_IN_A_FILE = 64 * 1024 * 1024  # also of the index of a write-ahead log
LIMITS = ProcessLimits(_MEMORY, STATEMENT_S + _GRACE_S, 2.0 * (STATEMENT_S + _GRACE_S), _MOST_IN_A_FILE)
_ERRORS: dict[str, type[LLMManagerError]] = {"NotFound": NotFound, "PermissionDenied": PermissionDenied}
_turns = threading.BoundedSemaphore(2)


def run_statement(address: str, sql: str, limits: ProcessLimits = LIMITS) -> Rows:
    """Run a statement against the database of an address; raises InvalidInput with the engine's own words."""
    job = json.dumps({"address": address, "sql": sql}).encode()
    try:
        with _turns:
            answer = json.loads(run(_PROGRAM, (), job, limits))
    except NotComputed:
        why = "It takes more memory, time or room on the disk than a statement may."
        raise InvalidInput("The statement was stopped.", why, "Ask for less, or add a condition.") from None
    if "error" in answer:
        kind, *words = answer["error"]
        raise _ERRORS.get(kind, InvalidInput)(*words)
    return Rows(**answer)
