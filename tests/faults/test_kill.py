"""kill -9 in mid-answer: the next start closes the call once, with what had arrived."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import func, select

from lib.db.tables import open_calls, usage_logs, usage_payloads
from lib.services import build
from lib.settings import PROJECT, Settings

_CHILD = """
import sys, threading
sys.path.insert(0, {project!r})
from pathlib import Path
from tests.calls.rig import AMIRA, Rig
from tests.waiting import notes_on_disk, until
from lib.settings import Settings
rig = Rig(Settings(data_dir=Path({folder!r}), database_url={url!r}))
done = rig.run("say:This one ended")
call_id = rig.services.calls.start(rig.request("lorem:9000+slow:10ms+priced"))
until(lambda: any(note["text"] and note["chunks"] > 20 for note in notes_on_disk(Path({folder!r}))))
print(done.call_id, call_id, flush=True)
threading.Event().wait()
"""


@pytest.mark.feature("CALL-3")
@pytest.mark.feature("CALL-4")
def test_a_killed_process_loses_no_row_and_no_text(database_url: str, tmp_path: Path) -> None:
    code = _CHILD.format(project=str(PROJECT), folder=str(tmp_path), url=database_url)
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    ended_id, cut_id = child.stdout.readline().split()
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()

    for _ in range(2):  # a second start finds nothing left to do
        services = build(Settings(data_dir=tmp_path, database_url=database_url))
        with services.store.read() as connection:
            ended = connection.execute(select(usage_logs).where(usage_logs.c.call_id == ended_id)).mappings().one()
            cut = connection.execute(select(usage_logs).where(usage_logs.c.call_id == cut_id)).mappings().one()
            text = connection.scalar(select(usage_payloads.c.response_text).where(usage_payloads.c.id == cut["id"]))
            assert connection.scalar(select(func.count()).select_from(open_calls)) == 0
        services.close()
    assert ended["status"] == "ok"
    assert (cut["status"], cut["error_kind"]) == ("orphaned", "process_ended")
    assert text
    assert cut["completion_tokens"] > 10
    assert (cut["cost_status"], cut["usage_source"]) == ("estimated", "estimated")
    assert cut["cost_nano_usd"] > 0
