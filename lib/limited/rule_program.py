"""The child's side of `rules`: reads a job a line, answers in a line, ends when idle or when its pipe closes.

A job is {"rule", "cpu_s", …}; an answer {"value"} or {"refused": why}, with `is_last` from a process that wants to be
replaced since it ran out of memory. The kernel ends the process when a job takes
more processor time than `cpu_s`, whatever it is doing.
"""

import difflib
import json
import select
import signal
import sys
from collections.abc import Mapping
from typing import Any

import regex

from lib.limited import difference, expressions, python_source, schemas

_IDLE_S = 60
_REFUSALS = (schemas.UnusableSchema, python_source.UnreadableSource, expressions.ExpressionError)


def serve() -> None:
    """Answer jobs until standard input closes or none comes for a while."""
    source = sys.stdin.buffer
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    while select.select([source], [], [], _IDLE_S)[0]:
        line = source.readline()
        if not line:
            return
        _answer(line)


def _answer(line: bytes) -> None:
    answer: dict[str, Any]
    try:
        job = json.loads(line)
        signal.setitimer(signal.ITIMER_PROF, job["cpu_s"])
        answer = {"value": _compute(job)}
    except (*_REFUSALS, regex.error) as error:
        answer = {"refused": f"{error}"}
    except RecursionError:
        answer = {"refused": "It is nested too deeply."}
    except (MemoryError, OverflowError):
        answer = {"refused": "It takes more memory than it may.", "is_last": True}
    signal.setitimer(signal.ITIMER_PROF, 0)
    sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
    sys.stdout.buffer.flush()


def _compute(job: Mapping[str, Any]) -> Any:
    match job["rule"]:
        case "pattern":
            return regex.compile(job["pattern"]) is not None
        case "find":
            return regex.search(job["pattern"], job["text"]) is not None
        case "schema":
            return schemas.check_schema(job["schema"])
        case "fit":
            return schemas.list_errors(job["schema"], job["answer"])
        case "likeness":
            return difflib.SequenceMatcher(None, job["first"], job["second"], autojunk=False).ratio()
        case "difference":
            return difference.compute_rows(job["first"], job["second"])
        case "python":
            return python_source.analyse(job["source"])
        case "expression":
            return expressions.compute(job["source"], job["values"])
        case "unified":
            return difference.compute_unified(job["first"], job["second"], tuple(job["names"]))
    raise ValueError(job["rule"])


if __name__ == "__main__":
    serve()
