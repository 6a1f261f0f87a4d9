"""How much words and meaning together find in each language, beside the better of the two.

Their `ratio` is to be at least .995.

    .venv/bin/python benchmarks/knowledge_languages.py FOLDER [--languages hi,th] [--questions 300]

FOLDER holds XQuAD's files, `xquad.LANGUAGE.json` (github.com/google-deepmind/xquad): 240 passages, and 1,190 questions
each of which one passage answers. The measure is nDCG@10 with the bundled embedding model.
"""

import argparse
import json
import math
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from lib import services as service_root
from lib.access.permissions import OPERATOR
from lib.knowledge import index as indexes
from lib.knowledge.embedding import BUNDLED, compute_sha256
from lib.knowledge.index import Index, IndexedPassage
from lib.knowledge.search import rank_passages
from lib.knowledge.settings import Mode, SearchSettings
from lib.knowledge.words import detect_language, join_stems
from lib.services import Services
from lib.settings import Settings

LEAST_RATIO, K, BATCH = 0.995, 10, 64


def read(path: Path) -> tuple[list[str], list[tuple[str, int]]]:
    """The passages of a file, and its questions with the number of the passage that answers."""
    passages: list[str] = []
    questions: list[tuple[str, int]] = []
    for article in json.loads(path.read_text(encoding="utf-8"))["data"]:
        for paragraph in article["paragraphs"]:
            questions += [(one["question"], len(passages)) for one in paragraph["qas"]]
            passages.append(paragraph["context"])
    return passages, questions


def embed(services: Services, texts: list[str]) -> np.ndarray:
    """Vectors of the bundled model."""
    parts = [
        services.knowledge.embedder.embed(OPERATOR, BUNDLED, texts[n : n + BATCH]) for n in range(0, len(texts), BATCH)
    ]
    return np.concatenate(parts)


def build(passages: list[str], vectors: np.ndarray) -> Index:
    """An index of the passages, one document each."""
    language = detect_language(passages)
    fresh = [
        IndexedPassage(n, str(n), compute_sha256(text), join_stems("", "", text, language), vector.tobytes())
        for n, (text, vector) in enumerate(zip(passages, vectors, strict=True))
    ]
    return indexes.build_next(indexes.make_empty_index(BUNDLED), 1, BUNDLED, np.arange(len(fresh)), fresh, language)


def measure(index: Index, questions: list[tuple[str, int]], vectors: np.ndarray, mode: Mode) -> float:
    """nDCG@10 where one passage is right."""
    gains = []
    for (text, right), vector in zip(questions, vectors, strict=True):
        rows = rank_passages(index, text, vector, SearchSettings(mode, K)).rows.tolist()
        gains.append(1 / math.log2(rows.index(right) + 2) if right in rows else 0.0)
    return sum(gains) / len(gains)


def main() -> int:
    """A line for each language; 1 when one is under the limit."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--languages", default="")
    parser.add_argument("--questions", type=int, default=1_190)
    given = parser.parse_args()
    files = sorted(given.folder.glob("xquad.*.json"))
    wanted = given.languages.split(",") if given.languages else [file.name.split(".")[1] for file in files]
    is_kept = True
    print("language  words  meaning  both   ratio")
    with tempfile.TemporaryDirectory() as name:
        settings = Settings(data_dir=Path(name), database_url=f"sqlite:///{Path(name) / 'bench.db'}")
        services = service_root.build(settings)
        try:
            for language in wanted:
                passages, questions = read(given.folder / f"xquad.{language}.json")
                questions = questions[:: max(1, len(questions) // given.questions)]
                index = build(passages, embed(services, passages))
                vectors = embed(services, [text for text, _ in questions])
                words, meaning, both = (
                    measure(index, questions, vectors, mode) for mode in (Mode.KEYWORD, Mode.VECTOR, Mode.HYBRID)
                )
                ratio = both / max(words, meaning)
                is_kept &= ratio >= LEAST_RATIO
                print(f"{language:<9} {words:.4f} {meaning:.4f}  {both:.4f} {ratio:.4f}", flush=True)
        finally:
            services.close()
    return 0 if is_kept else 1


if __name__ == "__main__":
    sys.exit(main())
