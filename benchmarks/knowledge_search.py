"""The search of a large collection: its time without embedding the question, its recall, memory, the index's making.

    .venv/bin/python benchmarks/knowledge_search.py [--chunks 100000] [--questions 200] [--clustered]

Chunks go straight into SQL (SQLite in a temporary folder): unit vectors of 384 dimensions, and words by Zipf's law.
Random directions have no neighbours, which is the hardest case for a graph; `--clustered` draws vectors around 1,000
centres, as texts are. Prints a table with its limits; the exit status is 1 when one is passed. A search's limit is on
its processor time, for it has one thread: on a machine that others use the clock tells less.
"""

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from sqlalchemy import insert, select

from lib import services as service_root
from lib.access.permissions import OPERATOR
from lib.clock import make_id, utc_now
from lib.db.tables import chunk_vectors, chunks, collections, documents
from lib.knowledge.embedding import BUNDLED, Embedder, compute_sha256
from lib.knowledge.index import Index
from lib.knowledge.indexes import Indexes
from lib.knowledge.search import Passages
from lib.knowledge.settings import Mode, SearchSettings
from lib.services import Services
from lib.settings import Settings

DIMENSIONS, WORDS, VOCABULARY, PER_DOCUMENT, STEP = 384, 120, 60_000, 20, 5_000
P95_LIMIT_MS, RECALL_LIMIT, MEMORY_LIMIT_MB = 50, 0.99, 800  # 1.2 GB with the model, which takes 400 MB
RNG = np.random.default_rng(7)


class GivenVectors(Embedder):
    """Questions have vectors already: what is measured is the search alone."""

    def __init__(self, services: Services, vectors: dict[str, np.ndarray]) -> None:
        super().__init__(services.store, services.calls)
        self._given = vectors

    def question(self, actor: Any, model: str, text: str) -> np.ndarray:
        """The vector that was drawn for it."""
        return self._given[text]


def unit(vectors: np.ndarray) -> np.ndarray:
    """Of length one, float32."""
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype("<f4")


def drawn(count: int, centres: np.ndarray | None) -> np.ndarray:
    """Vectors in all directions, or around centres."""
    noise = RNG.standard_normal((count, DIMENSIONS))
    if centres is None:
        return unit(noise)
    return unit(centres[RNG.integers(0, len(centres), count)] + 0.06 * noise)


def texts(count: int) -> list[str]:
    """Words by their rank, the first ones in nearly every text."""
    ranks = np.minimum(RNG.zipf(1.2, size=(count, WORDS)), VOCABULARY)
    return [" ".join(f"w{rank}" for rank in row) for row in ranks]


def fill(services: Services, count: int, centres: np.ndarray | None) -> str:
    """A collection of so many chunks; its id."""
    collection = services.knowledge.collections.create(OPERATOR, "large")
    about = {"kind": "manual", "source": "command", "media_type": "text/plain", "size": 1, "sha256": "0" * 64}
    about |= {"collection_id": collection.id, "state": "ready", "serving_version": 1, "language": "english"}
    moment = {"created_at": utc_now(), "updated_at": utc_now()}
    for start in range(0, count, STEP):
        size = min(STEP, count - start)
        ids = [make_id() for _ in range((size + PER_DOCUMENT - 1) // PER_DOCUMENT)]
        vectors, words = drawn(size, centres), texts(size)
        rows, kept = [], []
        for number, (vector, text) in enumerate(zip(vectors, words, strict=True)):
            text = f"{text} n{start + number}"
            place = {"document_id": ids[number // PER_DOCUMENT], "ordinal": number % PER_DOCUMENT, "version": 1}
            rows.append(
                {"collection_id": collection.id, **place, "start": 0, "end": len(text), "text": text, "words": text}
                | {"text_sha256": compute_sha256(text)}
            )
            kept.append({"embedding_model": BUNDLED, "text_sha256": compute_sha256(text), "vector": vector.tobytes()})
        with services.store.write(bulk=True) as connection:
            connection.execute(insert(documents), [{"id": one, "title": one, **about, **moment} for one in ids])
            connection.execute(insert(chunks), rows)
            connection.execute(insert(chunk_vectors), kept)
    return collection.id


def row_of(services: Services, collection_id: str) -> Any:
    """The collection's row."""
    with services.store.read() as connection:
        return connection.execute(select(collections).where(collections.c.id == collection_id)).mappings().one()


def resident_mb() -> float:
    """Memory of the process now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1024**2


def recall(index: Index, questions: np.ndarray, k: int = 10) -> float:
    """The share of the exact nearest k among the graph's first k."""
    found = 0
    for vector in questions:
        exact = np.argpartition(-(index.vectors @ vector), k)[:k]
        rows, cosines = index.nearest(vector, None)
        found += len(np.intersect1d(exact, rows[np.argsort(-cosines)][:k]))
    return found / (k * len(questions))


def times_ms(search: Passages, collection_id: str, asked: list[str], settings: SearchSettings) -> tuple[float, ...]:
    """Median and p95 of a whole search, SQL for its hits included: on the clock, then of the processor."""
    clock, processor = [], []
    for text in asked:
        began, used = time.perf_counter(), time.process_time()
        search.search(OPERATOR, collection_id, text, settings)
        clock.append((time.perf_counter() - began) * 1000)
        processor.append((time.process_time() - used) * 1000)
    return tuple(float(np.percentile(one, share)) for one in (clock, processor) for share in (50, 95))


def told(name: str, value: str, limit: str = "", *, kept: bool = True) -> bool:
    """A line of the table."""
    print(f"{name:<34} {value:>14}   {limit:<12} {'' if kept else 'MISSED'}")
    return kept


def measure(services: Services, folder: Path, count: int, many: int, *, clustered: bool) -> bool:
    """Fill, build, ask; whether every limit was kept."""
    centres = unit(RNG.standard_normal((1_000, DIMENSIONS))) if clustered else None
    collection_id = fill(services, count, centres)
    asked, vectors = [" ".join(one.split()[:12]) for one in texts(many)], drawn(many, centres)
    embedder = GivenVectors(services, dict(zip(asked, vectors, strict=True)))
    before, kept = resident_mb(), True
    for name in ("index built from SQL and written", "index read from its files"):
        began = time.perf_counter()
        indexes = Indexes(services.store, folder)
        index = indexes.of(row_of(services, collection_id))
        index.postings  # noqa: B018 (made when first used)
        kept &= told(name, f"{time.perf_counter() - began:.1f} s")
    search = Passages(services.store, embedder, indexes)
    for settings in (
        SearchSettings(),
        SearchSettings(rerank=False),
        SearchSettings(Mode.VECTOR),
        SearchSettings(Mode.KEYWORD),
    ):
        times_ms(search, collection_id, asked[:10], settings)
        median, p95, used, used_p95 = times_ms(search, collection_id, asked, settings)
        name = f"{settings.mode}{', re-ranked' if settings.rerank and settings.mode is Mode.HYBRID else ''}"
        within = used_p95 <= P95_LIMIT_MS
        kept &= told(f"search, {name}, p50 / p95", f"{median:.1f} / {p95:.1f} ms")
        kept &= told("  of the processor", f"{used:.1f} / {used_p95:.1f} ms", f"p95 <= {P95_LIMIT_MS}", kept=within)
    share = recall(index, vectors)
    kept &= told("recall@10 of the vectors", f"{share:.4f}", f">= {RECALL_LIMIT}", kept=share >= RECALL_LIMIT)
    took = resident_mb() - before
    return kept & told("memory of the index", f"{took:.0f} MB", f"<= {MEMORY_LIMIT_MB}", kept=took <= MEMORY_LIMIT_MB)


def main() -> int:
    """Measure in a folder that is thrown away."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--chunks", type=int, default=100_000)
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--clustered", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        services = service_root.build(Settings(data_dir=folder, database_url=f"sqlite:///{folder / 'bench.db'}"))
        try:
            kept = measure(services, folder / "index", given.chunks, given.questions, clustered=given.clustered)
        finally:
            services.close()
    return 0 if kept else 1


if __name__ == "__main__":
    raise SystemExit(main())
