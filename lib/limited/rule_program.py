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
from collections.abc import Callable, Mapping
from typing import Any

import regex

from lib.limited import difference, expressions, python_source, schemas, yaml_text

_IDLE_S = 60
_REFUSALS = (
    schemas.UnusableSchema,
    python_source.UnreadableSource,
    expressions.ExpressionError,
    yaml_text.UnreadableYaml,
)


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
    try:
        job = json.loads(line)
        signal.setitimer(signal.ITIMER_PROF, job["cpu_s"])
        answer = json.dumps({"value": _RULES[job["rule"]](job)})
    except (*_REFUSALS, regex.error) as error:
        answer = json.dumps({"refused": f"{error}"})
    except RecursionError:
        answer = json.dumps({"refused": "It is nested too deeply."})
    except (MemoryError, OverflowError):
        answer = json.dumps({"refused": "It takes more memory than it may.", "is_last": True})
    signal.setitimer(signal.ITIMER_PROF, 0)
    sys.stdout.buffer.write(answer.encode() + b"\n")
    sys.stdout.buffer.flush()


_RULES: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "pattern": lambda job: regex.compile(job["pattern"]) is not None,
    "find": lambda job: regex.search(job["pattern"], job["text"]) is not None,
    "schema": lambda job: schemas.check_schema(job["schema"]),
    "fit": lambda job: schemas.list_errors(job["schema"], job["answer"]),
    "likeness": lambda job: difflib.SequenceMatcher(None, job["first"], job["second"], autojunk=False).ratio(),
    "difference": lambda job: difference.compute_rows(job["first"], job["second"]),
    "python": lambda job: python_source.analyse(job["source"]),
    "expression": lambda job: expressions.compute(job["source"], job["values"]),
    "yaml": lambda job: yaml_text.read_yaml(job["text"]),
    "unified": lambda job: difference.compute_unified(job["first"], job["second"], tuple(job["names"])),
}


if __name__ == "__main__":
    serve()
