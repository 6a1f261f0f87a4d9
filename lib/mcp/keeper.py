"""Sees to it that one process of this machine runs the servers that are wanted, while this process serves.

Every serving process looks every few seconds; where no runner beats and one is needed, it starts one and gives it the
installation on standard input. The first to take the machine's row runs; another ends at once. When this process ends,
its runner's standard input does, and the runner ends its servers.
"""

import json
import logging
import subprocess
import sys
import threading
from contextlib import suppress

from lib.db.engine import Store
from lib.mcp import records
from lib.mcp.processes import name_machine
from lib.mcp.server import ActualState, McpServer
from lib.settings import PROJECT, Settings

log = logging.getLogger(__name__)
_STOP_S = 15.0


class Keeper:
    """This process's runner, where it has started one. Thread-safe."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._is_closed = False
        self._lock = threading.Lock()

    def look(self) -> None:
        """Start the runner if one is needed and none lives."""
        with self._lock:
            if self._is_closed or (self._process is not None and self._process.poll() is None):
                return
            if self._is_needed():
                self._start()

    def stop(self) -> None:
        """End the runner that this process has started, with its servers."""
        with self._lock:
            self._is_closed = True
            process = self._process
            self._process = None
        if process is None:
            return
        with suppress(OSError):
            if process.stdin is not None:
                process.stdin.close()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            log.warning("The runner of servers did not end by itself.")
            process.kill()
            process.wait()

    def _is_needed(self) -> bool:
        with self._store.read() as connection:
            runner = records.read_runner(connection)
            if runner is not None and runner.is_fresh:
                return False
            servers = records.read_servers(connection)
        is_wanted = any(server.wanted == "on" and server.is_approved for server in servers)
        return is_wanted or bool(records.read_processes(self._store)) or any(map(_looks_alive, servers))

    def _start(self) -> None:
        settings = self._settings
        installation = {
            "data_dir": str(settings.data_dir),
            "database_url": settings.database_url,
            "master_key": settings.master_key,
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "lib.mcp.runner"], cwd=PROJECT, stdin=subprocess.PIPE, start_new_session=True
        )
        self._process = process
        if process.stdin is not None:
            process.stdin.write(json.dumps(installation).encode() + b"\n")
            process.stdin.flush()


def _looks_alive(server: McpServer) -> bool:
    """Whether the row says that a server runs here although nobody is there to run it."""
    is_here = server.state.machine == name_machine()
    return is_here and server.state.actual in (ActualState.READY, ActualState.NO_TOOLS, ActualState.STARTING)
