"""kill -9 while an answer is being remembered: it is kept whole or not at all, and the next one is served right."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import func, select

from lib.db.tables import cache_entries
from lib.settings import PROJECT, Settings
from tests.cache.rig import AMIRA, CacheRig

_CHILD = """
import os, signal, sys
sys.path.insert(0, {project!r})
from pathlib import Path
from sqlalchemy import event
from lib.settings import Settings
from tests.cache.rig import CacheRig
rig = CacheRig(Settings(data_dir=Path({folder!r}), database_url={url!r}))
rig.tiers("What was kept before?")

@event.listens_for(rig.services.store.engine, "after_cursor_execute")
def kill(connection, cursor, statement, *_):
    if statement.lstrip().startswith("INSERT INTO cache_entries"):
        os.kill(os.getpid(), signal.SIGKILL)

rig.tiers("What is being kept now?")
"""


@pytest.mark.feature("CACHE-3")
def test_an_answer_is_remembered_whole_or_not_at_all(database_url: str, tmp_path: Path) -> None:
    code = _CHILD.format(project=str(PROJECT), folder=str(tmp_path), url=database_url)
    child = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert child.returncode == -signal.SIGKILL, child.stderr
    rig = object.__new__(CacheRig)
    from lib import services as service_root

    rig.services = service_root.build(Settings(data_dir=tmp_path, database_url=database_url))
    rig.slug = "remembers"
    with rig.services.store.read() as connection:
        assert connection.scalar(select(func.count()).select_from(cache_entries)) == 1
    assert rig.tiers("What is being kept now?", "What is being kept now?") == ["none", "exact"]
    assert rig.tiers("What was kept before?") == ["exact"]
    assert rig.services.cache.purge_own(AMIRA) == 2
    rig.services.close()
