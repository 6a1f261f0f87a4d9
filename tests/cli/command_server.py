"""Commands as processes of their own, without loading the library anew for each.

The server has imported what commands use and waits. For each request, one line of JSON on its standard input, it forks;
the child has the environment, the folder and the standard streams it was told, and runs `lib.cli.main`. The server
answers with the child's exit status, a line each.
"""

import atexit
import gc
import json
import os
import runpy
import signal
import sys
import threading
import traceback
from typing import NoReturn

# ruff: noqa: F401 (what is imported here is not loaded again by each command)


def load() -> None:
    """Import what most commands use."""
    import alembic.command
    import alembic.config
    import duckdb
    import pandas
    import psycopg

    import lib.cli.main
    import lib.mcp.sources
    import lib.services
    import lib.statistics.queries
    import lib.tools.registry
    import lib.work.engine

    lib.cli.main.build_parser()  # compiles argparse's patterns
    gc.collect()
    gc.freeze()  # a child's collections leave these pages shared


def wait_for_request() -> list[str]:
    """Fork a child for each line that comes; returns the command's words, in the child alone."""
    while line := sys.stdin.readline():
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            become(request)
            return list(request["words"])
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
    os._exit(0)


def become(request: dict[str, object]) -> None:
    """Take the environment, the working folder and the standard streams of the request."""
    os.environ.clear()
    os.environ.update(request["environment"])  # type: ignore[call-overload]
    os.chdir(str(request["folder"]))
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        mode = os.O_RDONLY if number == 0 else os.O_WRONLY
        file = os.open(str(request[name]), mode)
        os.dup2(file, number)
        os.close(file)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def end(status: object) -> NoReturn:
    """End as an interpreter does, but for tearing down what was imported: that took most of a command's time."""
    if isinstance(status, str):
        print(status, file=sys.stderr)
    threading._shutdown()  # type: ignore[attr-defined]  # waits for the threads that are no daemons
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        status = 120
    sys.stderr.flush()
    os._exit(status if isinstance(status, int) else int(status is not None))


if __name__ == "__main__":
    load()
    sys.argv = ["python -m lib", *wait_for_request()]
    try:
        runpy.run_module("lib", run_name="__main__")
    except SystemExit as ending:
        end(ending.code)
    except BaseException:
        traceback.print_exc()
        end(1)
    end(None)
