"""kill -9 in the middle of taking a document in, and of keeping an index: nothing is lost, nothing is done twice."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, update

from lib.access.permissions import OPERATOR, Actor
from lib.clock import utc_now
from lib.db.tables import chunk_vectors, chunks, documents
from lib.knowledge import indexes as indexes_module
from lib.knowledge.documents.chunking import Chunking
from lib.services import Services, build
from lib.settings import PROJECT, Settings
from tests.counts import FULL
from tests.providers.wire import Wire, serving
from tests.waiting import until

pytestmark = pytest.mark.feature("RAG-1")
MODEL = "scripted/words:64+wait:100ms"
_CHILD = """
import sys, threading
sys.path.insert(0, {project!r})
from pathlib import Path
from lib import services as root
from lib.access.permissions import OPERATOR
from lib.settings import Settings
services = root.build(Settings(data_dir=Path({folder!r}), database_url={url!r}))
services.providers.create(OPERATOR, name="scripted", kind="scripted")
from lib.knowledge.documents.chunking import Chunking
cut = Chunking(size=200, overlap=0)
made = services.knowledge.collections.create(OPERATOR, "docs", embedding_model={model!r}, chunking=cut)
services.knowledge.documents.add(OPERATOR, made.id, "a.txt", b"The lighthouse stands on a rock.")
services.knowledge.ingest.run_due()
text = "\\n\\n".join(f"Windmill {{n}} stands on hill {{n * 7}}. " * 5 for n in range(400))
added, _ = services.knowledge.documents.add(OPERATOR, made.id, "a.txt", text.encode())
threading.Thread(target=services.knowledge.ingest.run_due).start()
while services.knowledge.documents.get(OPERATOR, added.id).chunks_done < 128:
    threading.Event().wait(0.01)
print(made.id, added.id, flush=True)
threading.Event().wait()
"""


def counted(services: Services, table: object) -> int:
    with services.store.read() as connection:
        return connection.scalar(select(func.count()).select_from(table)) or 0  # type: ignore[arg-type]


def test_a_killed_process_leaves_a_document_that_another_takes_in(database_url: str, tmp_path: Path) -> None:
    code = _CHILD.format(project=str(PROJECT), folder=str(tmp_path), url=database_url, model=MODEL)
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    collection_id, document_id = child.stdout.readline().split()
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()

    services = build(Settings(data_dir=tmp_path, database_url=database_url))
    try:
        cut = services.knowledge.documents.get(OPERATOR, document_id)
        assert (cut.state, cut.version, cut.serving_version) == ("embedding", 2, 1)
        assert [hit.text for hit in services.knowledge.passages.search(OPERATOR, collection_id, "lighthouse").hits] == [
            "The lighthouse stands on a rock."
        ]
        before = counted(services, chunk_vectors)
        assert before >= 128
        assert services.knowledge.ingest.run_due() == 0, "what another process may still hold is left alone"
        with services.store.write() as connection:
            connection.execute(update(documents).values(worker_until=utc_now() - timedelta(seconds=1)))
        asked = services.knowledge.embedder.embed
        sent: list[str] = []

        def embed(actor: Actor, model: str, texts: Sequence[str]) -> Any:
            sent.extend(texts)
            return asked(actor, model, texts)

        services.knowledge.embedder.embed = embed  # type: ignore[method-assign]
        assert services.knowledge.ingest.run_due() == 1
        whole = services.knowledge.documents.get(OPERATOR, document_id)
        assert (whole.state, whole.serving_version) == ("ready", 2)
        assert counted(services, chunks) == whole.chunks_total > 300
        assert len(sent) == counted(services, chunk_vectors) - before, "what had its vector is not sent again"
    finally:
        services.close()


_TAKING_IN = """
import sys, threading
sys.path.insert(0, {project!r})
from pathlib import Path
from lib import services as root
from lib.settings import Settings
services = root.build(Settings(data_dir=Path({folder!r}), database_url={url!r}))
while True:
    services.knowledge.ingest.run_due()
    threading.Event().wait(0.05)
"""


@pytest.mark.skipif(not FULL, reason="a proof")
def test_killed_at_random_moments_no_text_that_has_its_vector_is_sent_again(
    database_url: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    moments = random.Random(28)
    sent: Counter[str] = Counter()
    lock = threading.Lock()

    def embed(wire: Wire) -> None:
        texts = wire.received["body"]["input"]
        with lock:
            sent.update(hashlib.sha256(text.encode()).hexdigest() for text in texts)
        time.sleep(0.05)  # a model thinks
        data = [{"index": number, "embedding": [1.0, len(text) / 100]} for number, text in enumerate(texts)]
        wire.begin("application/json")
        wire.say(json.dumps({"object": "list", "model": "m", "data": data, "usage": {"prompt_tokens": 1}}))

    kills = 20
    services = build(Settings(data_dir=tmp_path, database_url=database_url))
    with serving(embed) as server:
        services.providers.create(
            OPERATOR, name="witness", kind="custom", base_url=f"{server.url}/v1", allow_private=True
        )
        cutting = Chunking(size=200, overlap=0)
        made = services.knowledge.collections.create(OPERATOR, "docs", embedding_model="witness/m", chunking=cutting)
        for letter in "abcdefghij":
            text = "\n\n".join(f"Windmill {letter}{n} stands on hill {n * 7}. " * 5 for n in range(300))
            services.knowledge.documents.add(OPERATOR, made.id, f"{letter}.txt", text.encode())
        code = _TAKING_IN.format(project=str(PROJECT), folder=str(tmp_path), url=database_url)
        has_vector: Counter[str] = Counter()  # how often a text had been sent when its vector stood in the database
        for _ in range(kills):
            child = subprocess.Popen([sys.executable, "-c", code])
            goal = sent.total() + moments.randint(1, 250)
            until(lambda goal=goal: sent.total() >= goal or not count_left(services))  # type: ignore[misc]
            with services.store.read() as connection:
                embedded = connection.scalars(select(chunk_vectors.c.text_sha256)).all()
            has_vector.update({sha: sent[sha] for sha in embedded if sha not in has_vector})
            child.kill()
            child.wait()
            with services.store.write() as connection:
                lost = {"worker_until": utc_now() - timedelta(seconds=1), "interruptions": 0}
                connection.execute(update(documents).values(**lost))
        services.knowledge.ingest.run_due()
        assert not count_left(services)
        assert {sha: sent[sha] for sha in has_vector} == dict(has_vector)
        assert counted(services, chunk_vectors) == len(sent)
        services.close()
    record_property("counted", ("kills of processes that take documents in", kills))
    record_property("counted", ("texts with their vectors before a kill", len(has_vector)))
    record_property("counted", ("texts sent again, for they were in flight", sent.total() - len(sent)))


def count_left(services: Services) -> int:
    """Count the documents that are not ready yet."""
    with services.store.read() as connection:
        left = select(func.count()).select_from(documents).where(documents.c.state != "ready")
        return connection.scalar(left) or 0


_SAVING = """
import os, signal, sys
sys.path.insert(0, {project!r})
from pathlib import Path
import numpy as np
from lib import services as root
from lib.access.permissions import OPERATOR
from lib.knowledge import indexes
from lib.settings import Settings
indexes.KEPT_FROM = 1
services = root.build(Settings(data_dir=Path({folder!r}), database_url={url!r}))
save, saved = np.save, []
def killing(path, *given, **more):
    save(path, *given, **more)
    saved.append(path)
    if len(saved) == 4:
        os.kill(os.getpid(), signal.SIGKILL)
np.save = killing
services.knowledge.passages.search(OPERATOR, {collection!r}, "rock")
"""


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_process_killed_while_it_keeps_an_index_leaves_the_one_before(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(indexes_module, "KEPT_FROM", 1)
    settings = Settings(data_dir=tmp_path, database_url=database_url)
    services = build(settings)
    services.providers.create(OPERATOR, name="scripted", kind="scripted")
    made = services.knowledge.collections.create(OPERATOR, "docs", embedding_model="scripted/words:64")
    services.knowledge.documents.add(OPERATOR, made.id, "a.txt", b"The lighthouse stands on a rock.")
    services.knowledge.ingest.run_due()
    services.knowledge.passages.search(OPERATOR, made.id, "rock")
    home = tmp_path / "knowledge" / made.id
    kept = (home / "index.json").read_text()
    services.knowledge.documents.add(OPERATOR, made.id, "b.txt", b"The windmill stands on a hill.")
    services.knowledge.ingest.run_due()
    services.close()
    code = _SAVING.format(project=str(PROJECT), folder=str(tmp_path), url=database_url, collection=made.id)
    ended = subprocess.run([sys.executable, "-c", code], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert (home / "index.json").read_text() == kept
    assert len([one for one in home.iterdir() if one.is_dir()]) == 2

    services = build(settings)
    try:
        hits = services.knowledge.passages.search(OPERATOR, made.id, "windmill").hits
        assert hits[0].text == "The windmill stands on a hill."
        assert len([one for one in home.iterdir() if one.is_dir()]) == 1, "what the killed process left is cleared away"
        assert "can't be used" not in caplog.text
    finally:
        services.close()
