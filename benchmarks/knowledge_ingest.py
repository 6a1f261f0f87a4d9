"""A thousand pages taken in by the server while others ask it: how fast, how much the others wait, how much memory.

    .venv/bin/python benchmarks/knowledge_ingest.py [--pages 1000] [--idle 15]

Serves from a temporary folder and uploads PDF and Markdown files (their words are those of docs/) over HTTP. Beside
that one asker after another times /readyz, a collection's documents (what its page lists) and a search by words, first
while nothing is taken in. The reference is the bundled model in a bare sentence-transformers loop, on as many threads
and in batches of the library's own size, in turns with the product's embedding of the same passages. Prints a table
with its limits; the exit status is 1 when one is passed.
"""

import argparse
import base64
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import psutil
from sqlalchemy import func, select

from benchmarks.startup import free_port, wait_for
from lib import services as service_root
from lib.access.permissions import OPERATOR, Role, make_actor
from lib.db.tables import chunks, usage_logs
from lib.knowledge.embedding import BATCH, BUNDLED
from lib.services import Services
from lib.settings import PROJECT, Settings

PAGE_LIMIT_MS, THROUGHPUT_LIMIT, MEMORY_LIMIT_MB = 300, 0.9, 1200
FILES, WORDS_A_PAGE, SAMPLE, ROUNDS = 20, 480, 256, 3
BARE = """
import json, sys, time
sys.path.insert(0, {project!r})
from lib.providers.adapters.embedding_worker import load
import torch
torch.set_num_threads({threads})
texts, model = json.load(sys.stdin), load()
model.encode(texts[:32])
began = time.perf_counter()
for start in range(0, len(texts), 64):
    model.encode(texts[start : start + 64], normalize_embeddings=True, show_progress_bar=False)
print(len(texts) / (time.perf_counter() - began))
"""


@dataclass
class Waits:
    """Milliseconds that others waited, by what they asked for; memory in MB by process."""

    ms: dict[str, list[float]] = field(default_factory=dict)
    memory: dict[str, float] = field(default_factory=dict)

    def told(self, what: str) -> tuple[float, float]:
        """Median and p95."""
        cuts = statistics.quantiles(self.ms[what], n=20)
        return statistics.median(self.ms[what]), cuts[18]


@dataclass(frozen=True)
class Door:
    """The server's HTTP interface with a key."""

    root: str
    key: str

    def ask(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """What it answers, read."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"authorization": f"Bearer {self.key}", "content-type": "application/json"}
        request = urllib.request.Request(self.root + path, data, headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)


def say(step: str) -> None:
    print(f"measuring: {step}", file=sys.stderr, flush=True)


def lines_of_docs() -> list[str]:
    """Sentences of the project's own documents, in ASCII."""
    text = " ".join(path.read_text() for path in sorted((PROJECT / "docs").rglob("*.md")))
    words = "".join(sign if sign.isascii() and sign not in "()\\|#*`" else " " for sign in text).split()
    return [" ".join(words[start : start + 12]) for start in range(0, len(words) - 12, 12)]


def pdf(pages: list[list[str]]) -> bytes:
    """A file with lines of text on each page."""
    kids = " ".join(f"{4 + 2 * n} 0 R" for n in range(len(pages)))
    objects = ["<</Type/Catalog/Pages 2 0 R>>", f"<</Type/Pages/Kids[{kids}]/Count {len(pages)}>>"]
    objects.append("<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>")
    for n, lines in enumerate(pages):
        words = "BT /F1 9 Tf 40 800 Td 14 TL " + " ".join(f"({line}) Tj T*" for line in lines) + " ET"
        fonts = "/Resources<</Font<</F1 3 0 R>>>>"
        objects.append(f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents {5 + 2 * n} 0 R{fonts}>>")
        objects.append(f"<</Length {len(words)}>>stream\n{words}\nendstream")
    body, places = bytearray(b"%PDF-1.4\n"), []
    for number, one in enumerate(objects, start=1):
        places.append(len(body))
        body += f"{number} 0 obj{one}endobj\n".encode()
    table, size, place = "".join(f"{at:010} 00000 n \n" for at in places), len(objects) + 1, len(body)
    body += f"xref\n0 {size}\n0000000000 65535 f \n{table}trailer<</Size {size}/Root 1 0 R>>\n".encode()
    return bytes(body) + f"startxref\n{place}\n%%EOF".encode()


def files(pages: int) -> Iterator[tuple[str, bytes]]:
    """So many pages in half as many PDF as Markdown files, no two pages alike."""
    lines, draw = lines_of_docs(), random.Random(7)
    for number in range(FILES):
        mine = range(number * pages // FILES, (number + 1) * pages // FILES)
        written = [[f"Page {page}", *draw.sample(lines, WORDS_A_PAGE // 12)] for page in mine]
        if number % 2:
            yield f"file{number}.md", "\n\n".join("# " + "\n".join(page) for page in written).encode()
        else:
            yield f"file{number}.pdf", pdf(written)


def installation(folder: Path) -> tuple[str, str]:
    """An account with a key and two collections; the key, and the collection that is asked meanwhile."""
    with opened(folder) as services:
        services.users.create(OPERATOR, "bench", "a long bench password 1", Role.DEVELOPER)
        (user,) = services.users.list(OPERATOR)
        actor = make_actor(user.id, user.name, Role.DEVELOPER)
        key, _ = services.api_keys.create(actor, app="bench", endpoints=["api"])
        asked = services.knowledge.collections.create(actor, "asked").id
        for number, line in enumerate(lines_of_docs()[:50]):
            services.knowledge.documents.add(actor, asked, f"note{number}.txt", line.encode())
        services.knowledge.ingest.run_due()
    return key, asked


@contextmanager
def opened(folder: Path) -> Iterator[Services]:
    """The installation's services in this process."""
    services = service_root.build(Settings(data_dir=folder, database_url=f"sqlite:///{folder / 'llm_manager.db'}"))
    try:
        yield services
    finally:
        services.close()


@contextmanager
def serving(folder: Path, key: str) -> Iterator[tuple[Door, psutil.Process]]:
    """`python -m lib serve` while the block runs."""
    port = free_port()
    environment = {**os.environ, "LLM_MANAGER_DATA": str(folder)}
    environment.pop("DATABASE_URL", None)
    command = [sys.executable, "-m", "lib", "serve", "--port", str(port)]
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, cwd=PROJECT, env=environment, **quiet)
    try:
        wait_for(f"http://127.0.0.1:{port}/readyz", process)
        yield Door(f"http://127.0.0.1:{port}", key), psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(20)


def note_memory(process: psutil.Process, most: dict[str, float]) -> None:
    """Raise the most megabytes that the server, or the model's process, was seen to use."""
    try:
        line = " ".join(process.cmdline())
        if "parsing.py" not in line:  # it lives for a moment, within a limit of its own
            name = "worker" if "embedding_worker" in line else "server"
            most[name] = max(most.get(name, 0), process.memory_info().rss / 1e6)
    except psutil.Error:
        pass  # it ended while we looked


@contextmanager
def others(door: Door, asked: str, server: psutil.Process) -> Iterator[Waits]:
    """Somebody asks for one thing after another, twenty times a second, while the block runs."""
    waits, ended = Waits(), threading.Event()
    search = {"question": "How is a budget kept?", "mode": "keyword", "k": 5}
    asks: dict[str, Callable[[], Any]] = {
        "/readyz": lambda: door.ask("/readyz"),
        "a collection's documents": lambda: door.ask(f"/api/collections/{asked}/documents"),
        "a search by words": lambda: door.ask(f"/api/collections/{asked}/search", search),
    }

    def go_on() -> None:
        while not ended.is_set():
            for what, ask in asks.items():
                began = time.perf_counter()
                ask()
                waits.ms.setdefault(what, []).append((time.perf_counter() - began) * 1000)
                ended.wait(0.05)

    def weigh() -> None:
        while not ended.wait(0.25):
            for process in [server, *server.children(recursive=True)]:
                note_memory(process, waits.memory)

    threads = [threading.Thread(target=work) for work in (go_on, weigh)]
    for thread in threads:
        thread.start()
    try:
        yield waits
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def bare_rate(texts: list[str], threads: int) -> float:
    """Texts a second in a loop of nothing but the model."""
    code = BARE.format(project=str(PROJECT), threads=threads)
    done = subprocess.run(
        [sys.executable, "-c", code], input=json.dumps(texts), capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def in_turns(folder: Path, texts: list[str], threads: int) -> tuple[float, float]:
    """Texts a second through the product's calls and in the bare loop, one after the other, with nothing beside."""
    ours, bare = [], []
    with opened(folder) as services:
        services.knowledge.embedder.embed(OPERATOR, BUNDLED, texts[:1])
        for _ in range(ROUNDS):
            began = time.perf_counter()
            for start in range(0, len(texts), BATCH):
                services.knowledge.embedder.embed(OPERATOR, BUNDLED, texts[start : start + BATCH])
            ours.append(len(texts) / (time.perf_counter() - began))
            bare.append(bare_rate(texts, threads))
    return statistics.median(ours), statistics.median(bare)


def take_in(door: Door, made: str, given: list[tuple[str, bytes]]) -> float:
    """Upload everything and wait until it can be found; the seconds."""
    began = time.perf_counter()
    for name, data in given:
        body = {"file_name": name, "base64": base64.b64encode(data).decode()}
        door.ask(f"/api/collections/{made}/documents", body)
    while True:
        found = door.ask(f"/api/collections/{made}/documents")["documents"]
        if failed := [one for one in found if one["state"] == "failed"]:
            raise SystemExit(f"{failed[0]['title']} failed: {failed[0]['error']}")
        if all(one["state"] == "ready" for one in found):
            return time.perf_counter() - began
        time.sleep(0.5)


def embedded(folder: Path, collection_id: str) -> tuple[list[str], float]:
    """The passages, and the seconds that calls for their vectors took."""
    with opened(folder) as services, services.store.read() as connection:
        wanted = select(chunks.c.text).where(chunks.c.collection_id == collection_id).order_by(chunks.c.id)
        took = select(func.sum(usage_logs.c.execution_time_ms)).where(usage_logs.c.origin == "rag")
        return [*connection.scalars(wanted)], float(connection.scalar(took)) / 1000


def told(name: str, value: str, limit: str = "", *, kept: bool = True) -> bool:
    """A line of the table."""
    print(f"{name:<48} {value:>18}   {limit:<12} {'' if kept else 'MISSED'}")
    return kept


def measure(folder: Path, pages: int, idle_s: float) -> bool:
    """Serve, ask, take in; whether every limit was kept."""
    say("an installation")
    key, asked = installation(folder)
    given, threads = [*files(pages)], max(1, (os.cpu_count() or 1) // 2)
    with serving(folder, key) as (door, server):
        door.ask(f"/api/collections/{asked}/search", {"question": "Is the model loaded?", "mode": "vector"})
        say("the others alone")
        with others(door, asked, server) as before:
            time.sleep(idle_s)
        made = door.ask("/api/collections", {"name": "taken in"})["id"]
        say(f"{pages:,} pages")
        _, so_far = embedded(folder, made)
        with others(door, asked, server) as during:
            took = take_in(door, made, given)
    texts, embedding = embedded(folder, made)
    say("the bare loop and the product's in turns")
    ours, bare = in_turns(folder, random.Random(7).sample(texts, min(len(texts), SAMPLE)), threads)
    kept = told("taken in", f"{pages / took:.1f} pages/s")
    told("  passages", f"{len(texts):,} in {took:.0f} s")
    told("embedding meanwhile, through calls", f"{len(texts) / (embedding - so_far):.1f} /s")
    told("embedding with nothing beside, through calls", f"{ours:.1f} /s")
    share = ours / bare
    told(f"  a bare loop, threads: {threads}, in turns", f"{bare:.1f} /s")
    kept &= told("  to it", f"{share:.2f}", f">= {THROUGHPUT_LIMIT}", kept=share >= THROUGHPUT_LIMIT)
    for what in before.ms:
        told(f"{what}, alone, p50 / p95", "{:.0f} / {:.0f} ms".format(*before.told(what)))
        median, p95 = during.told(what)
        within = p95 <= PAGE_LIMIT_MS
        kept &= told(
            "  while pages are taken in", f"{median:.0f} / {p95:.0f} ms", f"p95 <= {PAGE_LIMIT_MS}", kept=within
        )
    whole = sum(during.memory.values())
    for name, most in during.memory.items():
        told(f"memory of the {name}, at most", f"{most:.0f} MB")
    return kept & told("  server and worker", f"{whole:.0f} MB", f"<= {MEMORY_LIMIT_MB}", kept=whole <= MEMORY_LIMIT_MB)


def main() -> int:
    """Measure in a folder that is thrown away."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=1_000)
    parser.add_argument("--idle", type=float, default=15.0, metavar="S", help="seconds of the others alone")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return 0 if measure(Path(folder), given.pages, given.idle) else 1


if __name__ == "__main__":
    raise SystemExit(main())
