"""The scripted provider does what its model's name says."""

import asyncio

import pytest

from lib.errors import ErrorKind, ProviderError
from lib.providers.adapters import select_adapter
from lib.providers.chunks import (
    Endpoint,
    Finish,
    ModelRequest,
    Piece,
    ReasoningDelta,
    ServedModel,
    TextDelta,
    Usage,
    UsageReport,
)

ENDPOINT = Endpoint("p1", "scripted", "scripted")


def play(model: str, text: str = "one two three", **parameters: object) -> list[Piece]:
    async def collect() -> list[Piece]:
        request = ModelRequest(model, [{"role": "user", "content": text}], parameters)
        return [chunk async for chunk in select_adapter("scripted").stream(ENDPOINT, request)]

    return asyncio.run(collect())


@pytest.mark.feature("CALL-2")
def test_echo_streams_words_usage_and_finish() -> None:
    assert play("echo") == [
        ServedModel("echo"),
        TextDelta("one "),
        TextDelta("two "),
        TextDelta("three"),
        UsageReport(Usage(3, 3)),
        Finish("stop"),
    ]


@pytest.mark.feature("CALL-4")
def test_cut_ends_without_a_finish_reason() -> None:
    assert [type(chunk) for chunk in play("lorem+cut:2")] == [ServedModel, TextDelta, TextDelta]


@pytest.mark.feature("CALL-5")
def test_usage_is_scripted_first_last_or_absent() -> None:
    assert UsageReport(Usage(12, 34, 5, 6, 7)) in play("echo+usage:12,34,5,6,7")
    assert isinstance(play("echo+usage-first+usage:0,0")[1], UsageReport)
    assert not [chunk for chunk in play("echo+no-usage") if isinstance(chunk, UsageReport)]
    assert UsageReport(Usage(3, 5, reasoning_tokens=2)) in play("echo+think:2")
    assert ReasoningDelta("Lorem ") in play("echo+think:2")


@pytest.mark.feature("CALL-4")
def test_max_tokens_ends_with_length() -> None:
    assert play("lorem", max_tokens=2)[-1] == Finish("length")


@pytest.mark.feature("CALL-4")
@pytest.mark.parametrize(
    ("model", "kind"),
    [
        ("error:429,2", ErrorKind.RATE_LIMIT),
        ("error:connection", ErrorKind.CONNECTION),
        ("lorem+error:500+after:3", ErrorKind.SERVER_ERROR),
        ("no-such-model", ErrorKind.MODEL_NOT_FOUND),
    ],
)
def test_failures_are_scripted(model: str, kind: ErrorKind) -> None:
    with pytest.raises(ProviderError) as caught:
        play(model)
    assert caught.value.kind is kind
    assert caught.value.retry_after == (2 if kind is ErrorKind.RATE_LIMIT else None)


@pytest.mark.feature("CALL-3")
@pytest.mark.parametrize("model", ["silent", "lorem+stall:3", "echo+wait:600s", "lorem+slow:600s"])
def test_every_pause_ends_when_cancelled(model: str) -> None:
    async def cancel_soon() -> None:
        request = ModelRequest(model, [{"role": "user", "content": "x"}])
        async with asyncio.timeout(0.05):
            async for _ in select_adapter("scripted").stream(ENDPOINT, request):
                pass

    with pytest.raises(TimeoutError):
        asyncio.run(cancel_soon())
