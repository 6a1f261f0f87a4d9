"""The litellm adapter against real sockets: what was sent is what is reported, and nothing that was not."""

import asyncio
import json

import pytest

from lib.errors import ErrorKind, ProviderError
from lib.providers.adapters import select_adapter
from lib.providers.adapters.via_litellm import close_connections
from lib.providers.chunks import (
    Endpoint,
    Finish,
    ModelRequest,
    Piece,
    ReasoningDelta,
    ServedModel,
    TextDelta,
    ToolCallDelta,
    Usage,
    UsageReport,
)
from lib.providers.redaction import remember
from tests.providers.wire import (
    ANTHROPIC_END,
    ANTHROPIC_START,
    OLLAMA_END,
    OPENAI_USAGE,
    Script,
    Wire,
    WireServer,
    anthropic_text,
    ollama_text,
    openai_delta,
    serving,
    sse,
)
from tests.waiting import CEILING_S

KEY = "test-canary-key-0123456789"
PATHS = {"openai": "/v1", "custom": "/v1", "anthropic": "", "ollama": ""}
pytestmark = pytest.mark.filterwarnings("default")  # litellm's own deprecations are not ours to fix


def script_of(kind: str, *pieces: str) -> Script:
    def answer(wire: Wire) -> None:
        wire.begin("application/x-ndjson" if kind == "ollama" else "text/event-stream")
        wire.say(*pieces)

    return answer


COMPLETE = {
    "openai": (openai_delta("Hel"), openai_delta("lo"), openai_delta(None, "stop"), OPENAI_USAGE, sse("[DONE]")),
    "anthropic": (ANTHROPIC_START, anthropic_text("Hel"), anthropic_text("lo"), ANTHROPIC_END),
    "ollama": (ollama_text("Hel"), ollama_text("lo"), OLLAMA_END),
}
USAGE = {
    "openai": Usage(100, 20, cache_read_tokens=64, reasoning_tokens=12),
    "anthropic": Usage(240, 7, cache_read_tokens=200, cache_write_tokens=30),
    "ollama": Usage(26, 9),
}


def ask(kind: str, url: str, into: list[Piece] | None = None, **parameters: object) -> list[Piece]:
    """Everything the adapter yields; `into` keeps what came before an error."""
    chunks: list[Piece] = [] if into is None else into

    async def run() -> None:
        endpoint = Endpoint("p", kind, kind, url + PATHS.get(kind, ""), KEY, allow_private=True)
        request = ModelRequest("m", [{"role": "user", "content": "Say hello"}], parameters)
        try:
            async for chunk in select_adapter(kind).stream(endpoint, request):
                chunks.append(chunk)
        finally:
            await close_connections()

    asyncio.run(run())
    return chunks


@pytest.fixture(params=["openai", "anthropic", "ollama"])
def kind(request: pytest.FixtureRequest) -> str:
    remember(KEY)
    return str(request.param)


@pytest.mark.feature("CALL-5")
def test_text_usage_parts_model_and_finish_come_through(kind: str) -> None:
    with serving(script_of(kind, *COMPLETE[kind])) as server:
        chunks = ask(kind, server.url, temperature=0.3)
    assert "".join(c.text for c in chunks if isinstance(c, TextDelta)) == "Hello"
    assert [c.usage for c in chunks if isinstance(c, UsageReport)][-1] == USAGE[kind]
    assert [c.reason for c in chunks if isinstance(c, Finish)] == ["stop"]
    assert ServedModel("m-served") in chunks
    assert len(server.requests) == 1
    body = server.requests[0]["body"]
    assert body.get("temperature", body.get("options", {}).get("temperature")) == 0.3


@pytest.mark.feature("CALL-4")
def test_a_stream_that_only_closes_has_neither_finish_nor_usage(kind: str) -> None:
    with serving(script_of(kind, *COMPLETE[kind][:2])) as server:
        chunks = ask(kind, server.url)
    assert any(isinstance(c, TextDelta) for c in chunks)
    assert not [c for c in chunks if isinstance(c, Finish)]
    assert all(c.is_partial for c in chunks if isinstance(c, UsageReport)), "a count so far is not the count"


@pytest.mark.feature("CALL-5")
def test_usage_is_always_asked_for() -> None:
    with serving(script_of("openai", *COMPLETE["openai"])) as server:
        ask("openai", server.url)
    assert server.requests[0]["body"]["stream_options"] == {"include_usage": True}
    assert server.requests[0]["headers"]["authorization"] == f"Bearer {KEY}"


@pytest.mark.feature("CALL-5")
def test_no_usage_is_none_and_zero_is_zero() -> None:
    with serving(script_of("openai", openai_delta("x", "stop"), sse("[DONE]"))) as server:
        assert not [c for c in ask("custom", server.url) if isinstance(c, UsageReport)]
    zero = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    with serving(script_of("openai", openai_delta("x", "stop", usage=zero), sse("[DONE]"))) as server:
        assert UsageReport(Usage(0, 0)) in ask("custom", server.url)


@pytest.mark.feature("CALL-2")
def test_reasoning_and_tool_calls_are_kept_apart() -> None:
    tool = {"index": 0, "id": "t1", "type": "function", "function": {"name": "look", "arguments": '{"q"'}}
    rest = {"index": 0, "function": {"arguments": ": 1}"}}
    choice = [
        {"index": 0, "delta": delta, "finish_reason": None}
        for delta in ({"reasoning_content": "Hm."}, {"tool_calls": [tool]}, {"tool_calls": [rest]})
    ]
    events = [
        sse({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [c]}) for c in choice
    ]
    with serving(script_of("openai", *events, openai_delta(None, "tool_calls"), sse("[DONE]"))) as server:
        chunks = ask("custom", server.url)
    assert ReasoningDelta("Hm.") in chunks
    assert [c for c in chunks if isinstance(c, ToolCallDelta)] == [
        ToolCallDelta(0, "t1", "look", '{"q"'),
        ToolCallDelta(0, "", "", ": 1}"),
    ]
    assert chunks[-1] == Finish("tool_calls")


@pytest.mark.feature("CALL-4")
@pytest.mark.parametrize(
    ("status", "message", "expected"),
    [
        (401, f"Incorrect API key provided: {KEY}", ErrorKind.AUTHENTICATION),
        (403, "not allowed", ErrorKind.PERMISSION),
        (404, "The model m does not exist", ErrorKind.MODEL_NOT_FOUND),
        (429, "Rate limit reached", ErrorKind.RATE_LIMIT),
        (429, "You exceeded your current quota", ErrorKind.QUOTA),
        (400, "maximum context length is 8192 tokens", ErrorKind.CONTEXT_LENGTH),
        (400, "temperature: wrong", ErrorKind.BAD_REQUEST),
        (500, "boom", ErrorKind.SERVER_ERROR),
        (503, "Service unavailable", ErrorKind.OVERLOADED),
    ],
)
def test_refusals_become_sentences_without_the_key(kind: str, status: int, message: str, expected: ErrorKind) -> None:
    def answer(wire: Wire) -> None:
        wire.begin("application/json", status, retry_after="7")
        body = {"error": message} if kind == "ollama" else {"type": "error", "error": {"type": "x", "message": message}}
        wire.say(json.dumps(body))

    with serving(answer) as server, pytest.raises(ProviderError) as caught:
        ask(kind, server.url)
    error = caught.value
    assert (error.kind, error.status_code) == (expected, status)
    assert error.retry_after == 7
    assert kind in error.title or "m" in error.title
    assert error.fix
    assert KEY not in str(error)
    assert len(server.requests) == 1, "the adapter never tries twice by itself"


@pytest.mark.feature("CFG-3")
def test_a_web_page_is_not_a_model_server() -> None:
    def page(wire: Wire) -> None:
        wire.begin("text/html")
        wire.say("<!doctype html><html><body>Welcome</body></html>")

    for kind in ("openai", "custom"):
        with serving(page) as server, pytest.raises(ProviderError) as caught:
            ask(kind, server.url)
        assert caught.value.kind is ErrorKind.NOT_A_MODEL_SERVER
        assert "web page" in caught.value.why


@pytest.mark.feature("CFG-3")
def test_nobody_listening_is_said_so(kind: str) -> None:
    with serving(lambda wire: None) as server:
        url = server.url
    with pytest.raises(ProviderError) as caught:
        ask(kind, url)
    assert caught.value.kind is ErrorKind.CONNECTION
    assert url in caught.value.why


@pytest.mark.feature("CALL-4")
def test_an_error_inside_a_stream_keeps_what_came() -> None:
    error = sse({"error": {"message": "The server had an error", "type": "server_error"}})
    came: list[Piece] = []
    with serving(script_of("openai", openai_delta("Hel"), error)) as server, pytest.raises(ProviderError) as caught:
        ask("custom", server.url, into=came)
    assert caught.value.kind is ErrorKind.SERVER_ERROR
    assert TextDelta("Hel") in came


@pytest.mark.feature("CALL-3")
def test_cancelling_closes_the_connection_upstream(kind: str) -> None:
    def stall(wire: Wire) -> None:
        wire.begin("application/x-ndjson" if kind == "ollama" else "text/event-stream")
        wire.say(*COMPLETE[kind][:2])
        wire.wait_for_the_client_to_go()

    async def cancel(server: WireServer) -> None:
        endpoint = Endpoint("p", kind, kind, server.url + PATHS[kind], KEY, allow_private=True)
        arrived = asyncio.Event()

        async def read() -> None:
            async for chunk in select_adapter(kind).stream(
                endpoint, ModelRequest("m", [{"role": "user", "content": "x"}])
            ):
                if isinstance(chunk, TextDelta):
                    arrived.set()

        task = asyncio.create_task(read())
        await asyncio.wait_for(arrived.wait(), CEILING_S)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(server.done.wait, 2), "the server must notice within two seconds"
        await close_connections()

    with serving(stall) as server:
        asyncio.run(cancel(server))
    assert server.gone == [True]


@pytest.mark.feature("CFG-1")
def test_private_hosts_are_refused_at_connect() -> None:
    async def run(url: str) -> None:
        async for _ in select_adapter("custom").stream(Endpoint("p", "c", "custom", url, KEY), ModelRequest("m", [])):
            pass

    with serving(script_of("openai")) as server:
        with pytest.raises(ProviderError) as caught:
            asyncio.run(run(server.url))
        assert server.requests == []
    assert caught.value.kind is ErrorKind.REFUSED


@pytest.mark.feature("CFG-6")
def test_parameters_cannot_redirect_a_key() -> None:
    with serving(script_of("openai", *COMPLETE["openai"])) as server, serving(script_of("openai")) as thief:
        ask("custom", server.url, api_base=thief.url, base_url=thief.url, extra_headers={"X": "y"}, mock_response="no")
        assert len(server.requests) == 1
        assert thief.requests == []
