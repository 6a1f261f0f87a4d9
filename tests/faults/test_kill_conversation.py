"""kill -9 in mid-answer: the conversation has what arrived, says so, and goes on."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lib.access.permissions import OPERATOR
from lib.services import build
from lib.settings import PROJECT, Settings
from tests.calls.rig import AMIRA
from tests.waiting import CEILING_S

_CHILD = """
import sys, threading
sys.path.insert(0, {project!r})
from pathlib import Path
from tests.calls.rig import AMIRA
from tests.conversations.talk_rig import TalkRig
from tests.waiting import notes_on_disk, until
from lib.settings import Settings
rig = TalkRig(Settings(data_dir=Path({folder!r}), database_url={url!r}))
talk = rig.begin("lorem:9000+slow:10ms+priced")
sent = rig.talk.send(AMIRA, talk.id, "Tell me everything")
until(lambda: any(note["text"] for note in notes_on_disk(Path({folder!r}))))
print(talk.id, flush=True)
threading.Event().wait()
"""


@pytest.mark.feature("PLAY-6")
def test_an_answer_cut_by_a_kill_is_in_the_conversation(database_url: str, tmp_path: Path) -> None:
    code = _CHILD.format(project=str(PROJECT), folder=str(tmp_path), url=database_url)
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    conversation_id = child.stdout.readline().strip()
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()

    services = build(Settings(data_dir=tmp_path, database_url=database_url))
    question, answer = services.talk.read(AMIRA, conversation_id).messages
    assert (question.content, question.status) == ("Tell me everything", "ok")
    assert answer.status == "orphaned"
    assert answer.content.startswith("Lorem ipsum")
    assert answer.error_message
    assert answer.cost_nano_usd
    services.configurations.create(OPERATOR, slug="echo", app="tests", provider="scripted", model="echo")
    sent = services.talk.send(AMIRA, conversation_id, "Go on", configuration="echo")
    assert services.talk.wait(AMIRA, conversation_id, sent.answer_id, CEILING_S).content == "Go on"
    services.close()
