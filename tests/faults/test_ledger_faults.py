"""The ledger's database is locked, restarted, full or gone with the process when calls end: each row arrives once."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, func, select, text

from lib.db.engine import Store
from lib.db.tables import open_calls, usage_logs
from lib.errors import LLMManagerError
from lib.ledger import admission
from lib.services import build
from lib.settings import PROJECT, Settings
from tests.calls.rig import AMIRA, Rig
from tests.waiting import CEILING_S

pytestmark = pytest.mark.feature("CALL-4")


@pytest.fixture
def rig(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    monkeypatch.setattr("lib.db.engine.BUSY_TIMEOUT_S", 0.2)
    made = Rig(Settings(data_dir=tmp_path, database_url=database_url))
    made.services.calls.write_retry_s = 0.05
    yield made
    made.services.close()


@contextmanager
def locked(url: str) -> Iterator[None]:
    """Hold the ledger's table as another process might."""
    engine = create_engine(url)
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            connection.connection.driver_connection.isolation_level = None  # type: ignore[union-attr]
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            connection.execute(text("LOCK TABLE usage_logs, open_calls IN ACCESS EXCLUSIVE MODE"))
        yield
        connection.rollback()
    engine.dispose()


def counts(store: Store, call_id: str) -> tuple[int, int]:
    """Rows of a call that have ended, and all rows still open."""
    with store.read() as connection:
        ended = connection.scalar(select(func.count()).where(usage_logs.c.call_id == call_id))
        return int(ended or 0), int(connection.scalar(select(func.count()).select_from(open_calls)) or 0)


def test_a_lock_delays_the_row_and_neither_the_answer_nor_its_end(rig: Rig, database_url: str) -> None:
    calls = rig.services.calls
    call_id = calls.start(rig.request("lorem:20+slow:20ms"))
    with locked(database_url):
        call = calls._calls[call_id]
        assert call.ended.wait(CEILING_S), "the end of the call must not wait for the database"
        assert calls.view(AMIRA, call_id).status == "ok"
        threading.Event().wait(0.5)  # several tries fail meanwhile
    calls.flush()
    assert counts(rig.services.store, call_id) == (1, 0)


def test_a_call_that_cannot_be_logged_is_not_sent(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lib.db.engine.BUSY_TIMEOUT_S", 0.2)
    rig = Rig(settings)
    try:
        request = rig.request("echo")
        with locked(settings.database_url), pytest.raises(LLMManagerError, match="busy"):
            rig.services.calls.start(request)
        assert rig.services.calls.running(AMIRA) == []
    finally:
        rig.services.close()


def test_connections_cut_under_load_lose_and_double_nothing(rig: Rig, database_kind: str) -> None:
    calls, done = rig.services.calls, threading.Event()
    sent = list[str]()
    refused = list[Exception]()

    def cut() -> None:
        engine = create_engine(rig.services.settings.database_url, isolation_level="AUTOCOMMIT")
        others = "datname = current_database() AND pid <> pg_backend_pid()"
        kill = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}"
        with engine.connect() as connection:
            while not done.wait(0.05):
                connection.execute(text(kill))
                begun = len(sent) + len(refused)
                while len(sent) + len(refused) < begun + 3 and not done.wait(0.01):
                    pass  # on a busy machine, too, some get through between two cuts
        engine.dispose()

    def wait() -> None:
        while not done.wait(0.05):
            with locked(rig.services.settings.database_url):
                done.wait(0.1)

    request = rig.request("lorem:10+slow:5ms")
    other = threading.Thread(target=cut if database_kind == "postgresql" else wait)
    other.start()
    try:
        for _ in range(40):
            try:
                sent.append(calls.start(request))
            except Exception as error:  # an opening that met the cut: refused, never sent
                refused.append(error)
    finally:
        done.set()
        other.join()
    for call_id in sent:
        assert calls._calls[call_id].ended.wait(CEILING_S)
    calls.flush()
    assert sent, refused
    assert {counts(rig.services.store, call_id) for call_id in sent} == {(1, 0)}
    with rig.services.store.read() as connection:
        assert connection.scalar(select(func.count()).select_from(usage_logs)) == len(sent)


@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_a_call_does_not_hear_of_connections_that_the_database_ended(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    others = "datname = current_database() AND pid <> pg_backend_pid()"
    end = text(f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE {others}")
    operator = create_engine(rig.services.settings.database_url, isolation_level="AUTOCOMMIT")
    admit, calls = admission.admit, rig.services.calls
    asked: list[int] = []

    def cut_once(connection: Connection, *rest: Any) -> list[admission.OpeningDecision]:
        answers = admit(connection, *rest)
        if not asked:
            asked.append(1)
            other.execute(end)
        return answers

    with operator.connect() as other:
        for _ in range(5):  # connections that were used a moment ago
            other.execute(end)
            assert calls.wait(AMIRA, calls.start(rig.request("echo")), 10).status == "ok"
        monkeypatch.setattr(admission, "admit", cut_once)  # the connection that opens a call, half-way
        last = calls.start(rig.request("echo+priced"))
        assert calls.wait(AMIRA, last, CEILING_S).status == "ok"
    operator.dispose()
    calls.flush()
    assert asked == [1]
    assert counts(rig.services.store, last) == (1, 0)


_CHILD = """
import resource, sys, threading
sys.path.insert(0, {project!r})
from pathlib import Path
from tests.calls.rig import AMIRA, Rig
from tests.waiting import CEILING_S
from lib.settings import Settings
import lib.db.engine
lib.db.engine.BUSY_TIMEOUT_S = 0.2
rig = Rig(Settings(data_dir=Path({folder!r}), database_url={url!r}))
calls = rig.services.calls
call_id = calls.start(rig.request("lorem:20+slow:20ms"))
{rest}
"""
_FULL = """
resource.setrlimit(resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
assert calls._calls[call_id].ended.wait(CEILING_S)
threading.Event().wait(1.5)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
calls.flush()
rig.services.close()
print(call_id, flush=True)
"""
_KILLED = """
from tests.faults.test_ledger_faults import locked
with locked({url!r}):
    assert calls._calls[call_id].ended.wait(CEILING_S)
    print(call_id, flush=True)
    threading.Event().wait()
"""


def child(rest: str, folder: Path, url: str) -> Any:
    """A process that makes one call and then does `rest`."""
    rest = rest.format(url=url) if "{url" in rest else rest
    code = _CHILD.format(project=str(PROJECT), folder=str(folder), url=url, rest=rest)
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


def test_a_full_disk_delays_the_row(database_url: str, tmp_path: Path) -> None:
    process = child(_FULL, tmp_path, database_url)
    call_id = process.communicate(timeout=CEILING_S)[0].strip()
    assert process.returncode == 0
    store = Store(database_url)
    assert counts(store, call_id) == (1, 0)
    store.dispose()


@pytest.mark.feature("CALL-3")
def test_a_process_killed_before_its_ending_is_in_the_database_loses_it_not(database_url: str, tmp_path: Path) -> None:
    process = child(_KILLED, tmp_path, database_url)
    assert process.stdout is not None
    call_id = process.stdout.readline().strip()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    for _ in range(2):  # a second start finds nothing left to do
        services = build(Settings(data_dir=tmp_path, database_url=database_url))
        assert counts(services.store, call_id) == (1, 0)
        with services.store.read() as connection:
            assert connection.scalar(select(usage_logs.c.status).where(usage_logs.c.call_id == call_id)) == "ok"
        services.close()
