"""A process that is killed in mid-answer leaves no words on the disk that its configuration does not let be kept."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import select

from lib.db.tables import usage_logs, usage_payloads
from lib.ledger import content_policy
from lib.services import build
from lib.settings import PROJECT, Settings

MAIL = "amira.k@example.org"
_CHILD = """
import sys, threading
sys.path.insert(0, {project!r})
from pathlib import Path
from tests.calls.rig import AMIRA, Rig
from lib.calls.request import CallRequest
from tests.waiting import notes_on_disk, until
from lib.settings import Settings
rig = Rig(Settings(data_dir=Path({folder!r}), database_url={url!r}))
rig.services.configurations.create(
    AMIRA, slug="c", app="tests", provider="scripted", model="echo+slow:50ms+priced", content_policy={policy!r}
)
prompt = " ".join([{mail!r}, *["word"] * 900])
call_id = rig.services.calls.start(CallRequest(AMIRA, [{{"role": "user", "content": prompt}}], "c"))
until(lambda: {mail!r} in rig.services.calls.view(AMIRA, call_id).text)
if {noted}:
    until(lambda: any(note["tokens"][1] > 10 for note in notes_on_disk(Path({folder!r}))))
print(call_id, flush=True)
threading.Event().wait()
"""


@pytest.mark.feature("CALL-8")
@pytest.mark.parametrize("noted", [False, True], ids=["before a note", "after a note"])
@pytest.mark.parametrize("policy", ["metadata", "redacted"])
def test_a_killed_call_keeps_no_private_word_and_its_tokens(
    database_url: str, tmp_path: Path, policy: str, noted: bool
) -> None:
    given = {"project": str(PROJECT), "folder": str(tmp_path)}
    code = _CHILD.format(**given, url=database_url, policy=policy, mail=MAIL, noted=noted)
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    call_id = child.stdout.readline().strip()
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert call_id
    on_disk = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    services = build(Settings(data_dir=tmp_path, database_url=database_url))
    with services.store.read() as connection:
        row = connection.execute(select(usage_logs).where(usage_logs.c.call_id == call_id)).mappings().one()
        kept = connection.execute(select(usage_payloads).where(usage_payloads.c.id == row["id"])).mappings().one()
    services.close()
    assert MAIL.encode() not in on_disk
    assert MAIL not in str(dict(kept))
    assert (row["status"], content_policy.read_stored_policy(kept["request"])) == ("orphaned", policy)
    assert kept["response_text"] is None
    assert (kept["prompt_text"] or "").startswith("[e-mail] word") is (policy == "redacted")
    assert row["prompt_tokens"] > 500
    assert row["completion_tokens"] > 10 if noted else row["completion_tokens"] is not None
    assert row["cost_nano_usd"] > 0
