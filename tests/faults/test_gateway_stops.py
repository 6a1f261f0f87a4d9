"""SIGTERM to the gateway: running answers end, or are ended long before they would, and every row is closed."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from sqlalchemy import func, select

from benchmarks.gateway_rig.load import Found, Load, measure
from benchmarks.gateway_rig.product import Installation, free_port, module, wait_for
from lib.db.engine import Store
from lib.db.tables import budget_holds, open_calls, processes, usage_logs
from lib.settings import PROJECT
from tests.waiting import CEILING_S, until

pytestmark = pytest.mark.feature("GATE-5")
STREAMS = 6
Rig = tuple[Installation, psutil.Process, Future[Found]]


@contextmanager
def streaming(folder: Path, pause_ms: int, url: str = "") -> Iterator[Rig]:
    """A gateway of two workers with streams under way that take a hundred times `pause_ms`."""
    upstream, port = free_port(), free_port()
    with module("upstream", upstream, pause_ms), ThreadPoolExecutor(1) as pool:
        installation = Installation(folder, upstream, url)
        with installation.gateway(port, workers=2) as gateway:
            load = Load(port, STREAMS, True, 60.0, installation.key, most=STREAMS, ids=True)
            found = pool.submit(measure, load)
            until(lambda: count(installation, open_calls) == STREAMS)
            yield installation, psutil.Process(gateway.pid), found


def count(installation: Installation, table: object, *where: object) -> int:
    """Rows now: no service is built, so nothing is recovered."""
    store = Store(installation.settings.database_url)
    try:
        with store.read() as connection:
            return int(connection.scalar(select(func.count()).select_from(table).where(*where)) or 0)  # type: ignore[arg-type]
    finally:
        store.dispose()


def gone(process: psutil.Process) -> int | None:
    """The exit status."""
    return process.wait(CEILING_S)  # type: ignore[no-any-return]


def refuses(port: int) -> bool:
    """Whether nobody listens any more."""
    try:
        socket.create_connection(("127.0.0.1", port), CEILING_S).close()
    except ConnectionRefusedError:
        return True
    return False


def port_of(process: psutil.Process) -> int:
    command = process.cmdline()
    return int(command[command.index("--port") + 1])


def test_answers_under_way_come_to_their_end(database_url: str, tmp_path: Path) -> None:
    with streaming(tmp_path, 25, database_url) as (installation, gateway, found):
        port = port_of(gateway)
        gateway.terminate()
        until(lambda: refuses(port))
        assert found.result().calls == STREAMS
        assert gone(gateway) == 0
        assert [count(installation, table) for table in (open_calls, budget_holds, processes)] == [0, 0, 0]
        assert installation.unwritten(found.result().ids) == set()


def test_answers_that_take_too_long_are_ended_with_their_rows(tmp_path: Path) -> None:
    with streaming(tmp_path, 400) as (installation, gateway, found):
        gateway.send_signal(signal.SIGINT)
        assert gone(gateway) == 0
        assert (found.result().calls, found.result().statuses) == (0, {"lost": STREAMS})
        assert count(installation, usage_logs, usage_logs.c.status == "cancelled") == STREAMS
        assert [count(installation, table) for table in (open_calls, budget_holds, processes)] == [0, 0, 0]
        assert installation.sums().faults(0) == []


def test_the_server_of_the_pages_stops_in_time_too(tmp_path: Path) -> None:
    upstream, port = free_port(), free_port()
    with module("upstream", upstream, 400), ThreadPoolExecutor(1) as pool:
        installation = Installation(tmp_path, upstream)
        environment = dict(os.environ) | {"LLM_MANAGER_DATA": str(tmp_path)}
        command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port)]
        with subprocess.Popen(
            [*command, "--server.headless", "true"], cwd=PROJECT, env=environment, stdout=subprocess.DEVNULL
        ) as server:
            try:
                wait_for(f"http://127.0.0.1:{port}/readyz", server)
                load = Load(port, STREAMS, True, 60.0, installation.key, most=STREAMS)
                found = pool.submit(measure, load)
                until(lambda: count(installation, open_calls) == STREAMS)
            finally:
                server.terminate()
            server.wait(CEILING_S)
        assert found.result().calls == 0
        assert count(installation, usage_logs, usage_logs.c.status == "cancelled") == STREAMS
        assert installation.sums().faults(0) == []


def test_a_second_signal_ends_at_once_and_the_rows_are_recovered(tmp_path: Path) -> None:
    with streaming(tmp_path, 400) as (installation, gateway, found):
        workers, port = gateway.children(), port_of(gateway)
        gateway.terminate()
        until(lambda: refuses(port))
        gateway.terminate()
        assert gone(gateway) == 1
        assert psutil.wait_procs(workers, CEILING_S)[1] == []
        assert found.result().calls == 0
        sums = installation.sums()
        assert (sums.orphaned, sums.faults(0)) == (STREAMS, [])


def test_workers_end_when_their_supervisor_is_killed(tmp_path: Path) -> None:
    with streaming(tmp_path, 25) as (installation, gateway, found):
        workers = gateway.children()
        gateway.kill()
        assert found.result().calls == STREAMS
        assert psutil.wait_procs(workers, CEILING_S)[1] == []
        assert count(installation, open_calls) == count(installation, processes) == 0
