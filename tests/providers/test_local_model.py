"""The bundled model really answers, stops when told, and says when a prompt is too long."""

import asyncio
import time

import pytest

from lib.errors import ErrorKind, ProviderError
from lib.providers.adapters import local, select_adapter
from lib.providers.chunks import Endpoint, Finish, ModelRequest, Piece, TextDelta, UsageReport
from lib.providers.kinds import LOCAL_MODEL

ENDPOINT = Endpoint("p", "local", "local")
pytestmark = pytest.mark.filterwarnings("default")  # litellm's own deprecations are not ours to fix


async def ask(prompt: str, **parameters: object) -> list[Piece]:
    request = ModelRequest(LOCAL_MODEL, [{"role": "user", "content": prompt}], parameters)
    return [chunk async for chunk in select_adapter("local").stream(ENDPOINT, request)]


@pytest.mark.feature("SET-1")
def test_it_answers_with_tokens_counted_by_its_own_tokenizer() -> None:
    chunks = asyncio.run(ask("Say hello", max_tokens=12, temperature=0))
    text = "".join(c.text for c in chunks if isinstance(c, TextDelta))
    usage = next(c.usage for c in chunks if isinstance(c, UsageReport))
    assert text.strip()
    assert 0 < usage.completion_tokens <= 12
    assert usage.prompt_tokens > 2
    assert isinstance(chunks[-1], Finish)
    assert chunks[-1].reason in ("stop", "length")
    assert asyncio.run(ask("Say hello", max_tokens=12, temperature=0))[0] == chunks[0], "temperature 0 repeats itself"


@pytest.mark.feature("CALL-3")
def test_cancelling_ends_the_generation_within_a_second() -> None:
    async def cancel() -> float:
        request = ModelRequest(
            LOCAL_MODEL, [{"role": "user", "content": "Tell a very long story"}], {"max_tokens": 1500}
        )
        stream = select_adapter("local").stream(ENDPOINT, request)
        came = asyncio.Event()

        async def read() -> None:
            async for _ in stream:
                came.set()

        task = asyncio.create_task(read())
        await came.wait()
        task.cancel()
        started = time.process_time()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.to_thread(local.wait_until_idle)
        return time.process_time() - started

    assert asyncio.run(cancel()) < 3  # seconds of two processors


@pytest.mark.feature("CALL-3")
def test_it_computes_beside_the_event_loop() -> None:
    async def computing() -> tuple[float, float]:
        """Seconds of a processor that the loop's thread used, and that the process used."""
        loop, process = time.thread_time(), time.process_time()
        await ask("Count to twenty", max_tokens=40)
        return time.thread_time() - loop, time.process_time() - process

    asyncio.run(ask("Hello", max_tokens=1))  # the model is loaded
    of_loop, of_process = asyncio.run(computing())
    assert of_loop < of_process / 4


@pytest.mark.feature("CALL-4")
def test_a_prompt_beyond_the_context_is_refused_in_words() -> None:
    with pytest.raises(ProviderError, match="too long for the bundled model") as caught:
        asyncio.run(ask("word " * 3000))
    assert caught.value.kind is ErrorKind.CONTEXT_LENGTH


@pytest.mark.feature("CALL-4")
def test_calls_queue_and_all_are_answered() -> None:
    async def three() -> list[list[Piece]]:
        return await asyncio.gather(*(ask(f"Say {number}", max_tokens=5) for number in ("one", "two", "three")))

    assert all(isinstance(chunks[-1], Finish) for chunks in asyncio.run(three()))
