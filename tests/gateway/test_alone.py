"""The gateway alone: several processes on one port and one database, without the pages; they are kept running."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import psutil
import pytest
from starlette.testclient import TestClient

from lib import services as service_root
from lib.access.permissions import OPERATOR
from lib.errors import InstallationError
from lib.gateway.serve import health, worker
from lib.gateway.serve.supervisor import WorkerSlot, bind_shared, reserve
from lib.services import Services, build
from lib.settings import PROJECT, Settings
from tests.waiting import CEILING_S

pytestmark = pytest.mark.feature("GATE-4")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(folder: Path, port: int, *more: str, **variables: str) -> subprocess.Popen[str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    environment = kept | {"LLM_MANAGER_DATA": str(folder)} | variables
    command = [sys.executable, "-W", "error", "-m", "lib", "gateway", "--port", str(port), *more]
    return subprocess.Popen(
        command, cwd=PROJECT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@contextmanager
def gateway(folder: Path, *more: str, **variables: str) -> Iterator[tuple[str, psutil.Process]]:
    """A gateway that serves: its address and its supervisor."""
    port = free_port()
    with start(folder, port, *more, **variables) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().strip() == f"LLM Manager gateway: http://127.0.0.1:{port}"
            yield f"http://127.0.0.1:{port}", psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait(CEILING_S)


def ask(url: str, **headers: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=CEILING_S) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def wait_until(holds: Callable[[], object], within_s: float = CEILING_S) -> None:
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def listening(supervisor: psutil.Process, port: int) -> set[int]:
    """Workers that listen on the port."""
    return {
        worker.pid
        for worker in supervisor.children()
        for one in worker.net_connections("tcp")
        if one.status == psutil.CONN_LISTEN and one.laddr.port == port
    }


@pytest.fixture
def services(settings: Settings) -> Iterator[Services]:
    made = build(settings)
    service_root.use(made)
    yield made
    service_root.use(None)
    made.close()


@pytest.mark.feature("GATE-5")
def test_a_requests_head_has_limits_and_no_second_request_in_its_body(tmp_path: Path) -> None:
    with gateway(tmp_path) as (address, _):
        port = int(address.rpartition(":")[2])

        def said(*parts: bytes) -> bytes:
            with socket.create_connection(("127.0.0.1", port), timeout=CEILING_S) as client:
                try:
                    for part in parts:
                        client.sendall(part)
                        time.sleep(0.05)
                except (ConnectionResetError, BrokenPipeError):
                    pass
                answer = b""
                while b"}" not in answer and (data := client.recv(65_536)):
                    answer += data
                return answer

        hidden = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"
        asked = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nUpgrade: h2c\r\n"
        asked += b"content-length: %d\r\n\r\n" % len(hidden)
        for parts in ((asked, hidden), (asked + hidden,)):
            answer = said(*parts)
            assert answer.startswith(b"HTTP/1.1 401 ")
            assert answer.count(b"HTTP/1.1 ") == 1
        long = b"x-much: " + b"y" * 50_000 + b"\r\n"
        endless = said(b"GET /healthz HTTP/1.1\r\nhost: x\r\n", *[long] * 5)
        assert endless.startswith(b"HTTP/1.1 400 ")
        assert said(hidden).startswith(b"HTTP/1.1 200 ")


def is_ready(address: str) -> bool:
    """What waited in a dead worker's queue is reset, once."""
    try:
        return ask(f"{address}/readyz")[0] == 200
    except ConnectionResetError:
        return False


def test_workers_serve_the_doors_on_one_database_and_one_that_dies_is_replaced(tmp_path: Path) -> None:
    with gateway(tmp_path, "--workers", "2") as (address, supervisor):
        port = int(address.rpartition(":")[2])
        wait_until(lambda: len(listening(supervisor, port)) == 2)
        made = build(Settings(data_dir=tmp_path, database_url=f"sqlite:///{tmp_path / 'llm_manager.db'}"))
        made.providers.create(OPERATOR, name="script", kind="scripted")
        made.configurations.create(OPERATOR, slug="hello", app="tests", provider="script", model="say:Good morning")
        key, _ = made.api_keys.create(OPERATOR, app="tests")
        made.close()
        for _ in range(6):  # new connections fall to either
            assert json.loads(ask(f"{address}/readyz")[1]) == {"status": "ready"}
            assert ask(f"{address}/healthz")[0] == 200
            status, body = ask(f"{address}/v1/models", authorization=f"Bearer {key}")
            assert (status, "hello" in body) == (200, True)
            assert ask(f"{address}/v1/models")[0] == 401
        assert ask(f"{address}/login")[0] == 404, "the pages are not here"
        before = listening(supervisor, port)
        os.kill(min(before), signal.SIGKILL)
        wait_until(lambda: len(listening(supervisor, port)) == 2 and listening(supervisor, port) != before)
        wait_until(lambda: is_ready(address))
        assert max(before) in listening(supervisor, port), "the other was left alone"
        supervisor.terminate()
        assert supervisor.wait(CEILING_S) == 0


def test_no_worker_loads_the_pages_framework(tmp_path: Path) -> None:
    code = (
        "import asyncio, sys\n"
        "from lib import services\n"
        "from lib.gateway.serve import worker\n"
        "async def serve():\n"
        "    services.current()\n"
        "    async with worker.lifespan(None):\n"
        "        worker.build_application()\n"
        "asyncio.run(serve())\n"
        "print('streamlit' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, env=dict(os.environ) | {"LLM_MANAGER_DATA": str(tmp_path)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "False"


def test_the_supervisor_loads_next_to_nothing() -> None:
    heavy = "('sqlalchemy', 'starlette', 'uvicorn')"
    code = f"import sys, lib.gateway.serve.supervisor; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_port_in_use_is_said_in_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with start(tmp_path, port) as process:
            said = process.communicate(timeout=CEILING_S)[1]
    assert process.returncode == 1
    assert said.startswith(f"Port {port} is in use.")
    assert len(said.splitlines()) == 1


def test_a_second_gateway_on_the_port_is_refused(tmp_path: Path) -> None:
    with gateway(tmp_path) as (address, _), start(tmp_path, int(address.rpartition(":")[2])) as second:
        assert "is in use" in second.communicate(timeout=CEILING_S)[1]
    assert second.returncode == 1


def test_an_installation_that_can_not_serve_says_why_and_ends(tmp_path: Path) -> None:
    (tmp_path / "llm_manager.db").write_bytes(b"not a database, but long enough to look like a file " * 50)
    with start(tmp_path, free_port()) as process:
        said = process.communicate(timeout=CEILING_S)[1]
    assert process.returncode == 1
    assert "is damaged" in said
    assert "Traceback" not in said


def test_an_address_that_is_not_this_machines_is_refused() -> None:
    with pytest.raises(InstallationError, match=r"192\.0\.2\.1:8700 can't be listened on"):
        reserve("192.0.2.1", 8700)


def test_workers_share_the_port_that_the_supervisor_reserves() -> None:
    with reserve("127.0.0.1", 0) as reserved:
        port = reserved.getsockname()[1]
        with bind_shared("127.0.0.1", port) as worker:
            with pytest.raises(ConnectionRefusedError):  # nobody listens: the reserved socket takes no connection
                socket.create_connection(("127.0.0.1", port), 1)
            worker.listen()
            with socket.create_connection(("127.0.0.1", port), 1), worker.accept()[0] as accepted:
                assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_the_pause_before_a_new_worker_grows_while_they_die_young() -> None:
    started: list[float] = []
    pipes: list[socket.socket] = []

    def start_and_die() -> tuple[subprocess.Popen[bytes], socket.socket]:
        started.append(clock)
        ours, its = socket.socketpair()
        its.close()
        pipes.append(ours)
        process = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])
        process.wait()
        return process, ours

    clock = 100.0
    slot = WorkerSlot(start_and_die, lambda: clock)
    while len(started) < 9:
        slot.look_after()
        clock += 0.05
    pauses = [later - earlier for earlier, later in pairwise(started)]
    assert pauses == pytest.approx([0.25, 0.5, 1, 2, 4, 8, 8, 8], abs=0.15)
    for pipe in pipes:
        pipe.close()


@pytest.mark.feature("GATE-5")
def test_a_process_that_is_stopping_is_alive_but_not_ready(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "stopping", threading.Event())
    client = TestClient(worker.build_application())
    assert client.get("/readyz").status_code == 200
    ours, its = socket.socketpair()
    with ours, its:
        serving = worker.Worker(its)
        serving.handle_exit(signal.SIGTERM, None)
        assert serving.should_exit
    assert client.get("/healthz").status_code == 200
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["reason"]) == (503, "The server is stopping.")


def test_not_ready_without_the_database(services: Services, tmp_path: Path) -> None:
    gone = replace(services.settings, data_dir=tmp_path / "gone", database_url=f"sqlite:///{tmp_path}/no/such.db")
    from lib.db.engine import Store

    services.store, whole = Store(gone.database_url), services.store
    try:
        assert TestClient(worker.build_application()).get("/readyz").status_code == 503
    finally:
        services.store.dispose()
        services.store = whole
