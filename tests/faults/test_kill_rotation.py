"""A rotation of the master key that is killed, at each of its steps: the next start opens every secret."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import select

from lib.access.permissions import OPERATOR
from lib.db.keyring import read_file
from lib.db.tables import audit_log, metadata, vault_keys
from lib.services import Services, build
from lib.settings import PROJECT, Settings

KEYS = {f"provider-{n}": f"sk-canary-{n:04d}-0123456789abcdef" for n in range(5)}
HEADERS = {"X-Team": "header-canary-0123456789"}
_CHILD = """
import os, signal, sys
sys.path.insert(0, {project!r})
from pathlib import Path
from lib.db import vault
from lib.services import build
from lib.access.permissions import OPERATOR
from lib.settings import Settings

def die(*args, **more):
    os.kill(os.getpid(), signal.SIGKILL)

calls = 0
def die_at(function, number, *, after=False):
    def wrapped(*args, **more):
        global calls
        calls += 1
        if calls == number and not after:
            die()
        result = function(*args, **more)
        if calls == number:
            die()
        return result
    return wrapped

services = build(Settings(data_dir=Path({folder!r}), database_url={url!r}))
{fault}
services.master_key.rotate(OPERATOR)
print("rotated", flush=True)
"""
FAULTS = {
    "before the new key is written": "vault.write_file = die",
    "after the new key is written": "vault.write_file = die_at(vault.write_file, 1, after=True)",
    "in the middle of re-encrypting": "vault._seal = die_at(vault._seal, 4)",
    "before the commit": "services.master_key._vault._reseal = "
    "(lambda reseal: lambda *given: (reseal(*given), die()))(services.master_key._vault._reseal)",
    "after the commit": "vault.Vault._make_durable = die",
    "before the old key is dropped": "vault.write_file = die_at(vault.write_file, 2)",
    "after the old key is dropped": "vault.write_file = die_at(vault.write_file, 2, after=True)",
}
COMMITTED = {"after the commit", "before the old key is dropped", "after the old key is dropped"}


def every_secret_opens(services: Services) -> None:
    for name, key in KEYS.items():
        endpoint = services.providers.endpoint(services.providers.get(OPERATOR, name).id)
        assert (endpoint.api_key, endpoint.headers) == (key, HEADERS)


@pytest.fixture
def installation(tmp_path: Path, database_url: str) -> Settings:
    settings = Settings(data_dir=tmp_path, database_url=database_url)
    services = build(settings)
    for name, key in KEYS.items():
        services.providers.create(OPERATOR, name=name, kind="openai", api_key=key, headers=HEADERS)
    services.close()
    return settings


def run_child(settings: Settings, fault: str) -> subprocess.CompletedProcess[str]:
    code = _CHILD.format(project=str(PROJECT), folder=str(settings.data_dir), url=settings.database_url, fault=fault)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.feature("CFG-6")
@pytest.mark.parametrize("point", FAULTS)
def test_a_rotation_killed_anywhere_loses_no_key(installation: Settings, point: str) -> None:
    before = read_file(installation.data_dir / "master.key")
    child = run_child(installation, FAULTS[point])
    assert child.returncode == -signal.SIGKILL, child.stderr
    services = build(installation)
    every_secret_opens(services)
    with services.store.read() as connection:
        used = set(connection.scalars(select(vault_keys.c.key_id)))
        noted = connection.scalars(select(audit_log.c.action).where(audit_log.c.action == "key.rotate")).all()
    assert (used != {before[0].id}) is (point in COMMITTED)
    assert len(noted) == (point in COMMITTED)
    services.master_key.rotate(OPERATOR)  # and the next rotation clears up
    every_secret_opens(services)
    services.close()
    (key,) = read_file(installation.data_dir / "master.key")
    assert key.id not in used | {before[0].id}
    assert not list(installation.data_dir.glob(".master-*"))


@pytest.mark.feature("CFG-6")
def test_nothing_stays_under_the_old_key(installation: Settings) -> None:
    """Whatever table a secret is kept in: after a rotation no cell of the database names the old key."""
    (old,) = read_file(installation.data_dir / "master.key")
    services = build(installation)
    services.master_key.rotate(OPERATOR)
    with services.store.read() as connection:
        cells = [
            str(cell) for table in metadata.sorted_tables for row in connection.execute(select(table)) for cell in row
        ]
    services.close()
    assert any("sealed" in cell for cell in cells)
    assert not [cell for cell in cells if old.id in cell]


@pytest.mark.feature("CFG-6")
def test_rotations_at_once_follow_one_another(installation: Settings) -> None:
    code = _CHILD.format(
        project=str(PROJECT), folder=str(installation.data_dir), url=installation.database_url, fault=""
    )
    children = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [child.communicate()[0] for child in children] == ["rotated\n"] * 3
    services = build(installation)
    every_secret_opens(services)
    services.close()
    assert len(read_file(installation.data_dir / "master.key")) == 1
    assert os.stat(installation.data_dir / "master.key").st_mode & 0o077 == 0
