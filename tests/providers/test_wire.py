"""The adapter over real sockets, one request each: plain and streamed alike, no redirect, no second try, vectors."""

import asyncio
import base64
import json
import struct
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from lib.errors import ErrorKind, ProviderError
from lib.providers.adapters import exchange, select_adapter
from lib.providers.adapters.failures import LARGEST_ERROR
from lib.providers.adapters.via_litellm import close_connections, load_litellm
from lib.providers.chunks import (
    EmbeddingRequest,
    Embeddings,
    Endpoint,
    Finish,
    ModelRequest,
    Piece,
    TextDelta,
    Usage,
    UsageDetails,
    UsageReport,
)
from lib.providers.kinds import FACTS
from tests.providers.payloads import PAYLOADS, TEXT
from tests.providers.test_protocols import check
from tests.providers.wire import Script, Wire, WireServer, openai_delta, serving, sse

KEY = "test-canary-key-0123456789"
BASES = {"openai": "/v1", "custom": "/v1", "openrouter": "/api/v1", "groq": "/openai/v1", "mistral": "/v1"}
BASES |= {"gemini": "/v1beta", "litellm": "/v2/chat"}
MODELS = {"responses": "responses/m", "cohere": "cohere_chat/command-r"}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
HISTORY: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": [{"type": "text", "text": "Look."}, IMAGE]},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": f"call_{n}", "type": "function", "function": {"name": "weather", "arguments": '{"n": 1}'}}
            for n in range(2)
        ],
    },
    {"role": "tool", "tool_call_id": "call_0", "content": "sunny"},
    {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
    {"role": "user", "content": "So?"},
]
pytestmark = pytest.mark.filterwarnings("default")  # litellm's own deprecations are not ours to fix


def saying(body: bytes, content_type: str, status: int = 200, **headers: str) -> Script:
    def answer(wire: Wire) -> None:
        wire.begin(content_type, status, **headers)
        wire.say(body)

    return answer


def endpoint(kind: str, url: str) -> Endpoint:
    base = url + BASES.get(kind, "")
    return Endpoint("p", kind, kind, base, KEY, {"X-Team": "red"}, "org-1", allow_private=True)


def ask(kind: str, server: WireServer, request: ModelRequest, into: list[Piece] | None = None) -> list[Piece]:
    chunks: list[Piece] = [] if into is None else into

    async def run() -> None:
        try:
            async for chunk in select_adapter(kind).stream(endpoint(kind, server.url), request):
                chunks.append(chunk)
        finally:
            await close_connections()

    asyncio.run(run())
    return chunks


def embed(kind: str, server: WireServer, *texts: str, model: str = "e-1", **parameters: Any) -> Embeddings:
    async def run() -> Embeddings:
        try:
            return await select_adapter(kind).embed(
                endpoint(kind, server.url), EmbeddingRequest(model, texts, parameters)
            )
        finally:
            await close_connections()

    return asyncio.run(run())


def model_of(name: str) -> str:
    return MODELS.get(name, "m")


def with_image(usage: Usage) -> Usage:
    return replace(usage, images=1)


@pytest.mark.feature("CALL-5")
@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "plain"])
@pytest.mark.parametrize("name", PAYLOADS)
def test_an_answer_is_the_same_plain_and_streamed(name: str, stream: bool) -> None:
    payload = PAYLOADS[name]
    kind_of_lines = "application/x-ndjson" if name == "ollama" else "text/event-stream"
    script = saying(
        payload.streamed if stream else payload.whole, kind_of_lines if stream else "application/json; charset=utf-8"
    )
    with serving(script) as server:
        chunks = ask(payload.kind, server, ModelRequest(model_of(name), HISTORY, {"tools": [TOOL]}, stream))
    reports = [c for c in chunks if isinstance(c, UsageReport)]
    assert reports[-1].usage == with_image(payload.usage)
    plain = [UsageReport(payload.usage, c.is_partial, c.cost_nano_usd) if c is reports[-1] else c for c in chunks]
    check(payload, plain)
    assert len(server.requests) == 1
    sent = server.requests[0]
    assert sent["headers"]["x-team"] == "red"
    assert bool(sent["body"].get("stream")) is (stream and name != "gemini")
    text = json.dumps(sent["body"])
    assert all(word in text for word in ("Be brief.", "iVBORw0KGgo", "weather", "sunny", "rain", "So?"))


@pytest.mark.feature("CFG-1")
@pytest.mark.parametrize("kind", ["openai", "openrouter", "groq", "mistral", "deepseek", "custom"])
@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "plain"])
def test_every_kind_of_openais_family_is_spoken_to(kind: str, stream: bool) -> None:
    payload = PAYLOADS["openai"]
    answer = payload.streamed if stream else payload.whole
    with serving(saying(answer, "text/event-stream" if stream else "application/json")) as server:
        check(payload, ask(kind, server, ModelRequest("m", [{"role": "user", "content": "x"}], stream=stream)))
    headers = server.requests[0]["headers"]
    assert headers["authorization"] == f"Bearer {KEY}"
    assert headers.get("openai-organization") == ("org-1" if kind == "openai" else None)
    assert server.requests[0]["path"] == BASES.get(kind, "") + "/chat/completions"


@pytest.mark.feature("CFG-1")
@pytest.mark.parametrize("name", PAYLOADS)
@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "plain"])
def test_no_redirect_is_followed(name: str, stream: bool) -> None:
    payload = PAYLOADS[name]
    with serving(saying(payload.streamed, "text/event-stream")) as inside:
        with (
            serving(saying(b"", "text/plain", 307, location=inside.url + payload.path)) as server,
            pytest.raises(ProviderError) as caught,
        ):
            ask(payload.kind, server, ModelRequest(model_of(name), [{"role": "user", "content": "x"}], stream=stream))
        assert inside.requests == []
    assert caught.value.kind is ErrorKind.NOT_A_MODEL_SERVER
    assert "redirect" in caught.value.why


@pytest.mark.feature("CALL-4")
@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "plain"])
def test_a_connection_lost_before_the_answer_is_one_attempt(stream: bool) -> None:
    def hang_up(wire: Wire) -> None:
        wire.close_connection = True

    with serving(hang_up) as server, pytest.raises(ProviderError) as caught:
        ask("custom", server, ModelRequest("m", [{"role": "user", "content": "x"}], stream=stream))
    assert caught.value.kind is ErrorKind.CONNECTION
    assert len(server.requests) == 1


@pytest.mark.feature("CALL-4")
@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (openai_delta("Hel") + 'data: {"choices":[{"delta":{"conte\n\n' + openai_delta("lo"), ErrorKind.STREAM_CUT),
        (openai_delta("Hel") + sse({"error": {"message": "Overloaded", "code": 503}}), ErrorKind.OVERLOADED),
        (openai_delta("Hel") + sse({"error": {"message": "slow", "code": 429}}), ErrorKind.RATE_LIMIT),
    ],
)
def test_what_breaks_inside_a_good_answer(body: str, kind: ErrorKind) -> None:
    came: list[Piece] = []
    with serving(saying(body.encode(), "text/event-stream")) as server, pytest.raises(ProviderError) as caught:
        ask("custom", server, ModelRequest("m", [{"role": "user", "content": "x"}]), came)
    assert caught.value.kind is kind
    assert TextDelta("Hel") in came


@pytest.mark.feature("CALL-4")
@pytest.mark.parametrize("name", PAYLOADS)
def test_a_plain_answer_that_breaks_off(name: str) -> None:
    payload = PAYLOADS[name]
    with serving(saying(payload.whole[:-20], "application/json")) as server, pytest.raises(ProviderError) as caught:
        ask(payload.kind, server, ModelRequest(model_of(name), [{"role": "user", "content": "x"}], stream=False))
    assert caught.value.kind is ErrorKind.STREAM_CUT


@pytest.mark.feature("CALL-4")
@pytest.mark.parametrize("body", [b"", b"<html>Hi</html>", b'{"hello": 1}', b"[1]", b"nonsense"])
def test_a_plain_answer_that_is_none(body: bytes) -> None:
    with serving(saying(body, "application/json")) as server, pytest.raises(ProviderError) as caught:
        ask("custom", server, ModelRequest("m", [{"role": "user", "content": "x"}], stream=False))
    assert caught.value.kind is ErrorKind.NOT_A_MODEL_SERVER


@pytest.mark.feature("CALL-4")
@pytest.mark.parametrize(("status", "kind"), [(200, ErrorKind.NOT_A_MODEL_SERVER), (500, ErrorKind.SERVER_ERROR)])
def test_a_long_answer_that_is_none_never_gets_to_litellm(
    status: int, kind: ErrorKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its regular expressions would take minutes for an error of it."""
    longest = list[int]()
    whole = exchange.post

    async def watched(*what: Any, **more: Any) -> Any:
        try:
            answer = await whole(*what, **more)
        except Exception as error:
            longest.append(max(len(str(error)), len(getattr(getattr(error, "response", None), "content", b""))))
            raise
        longest.append(len(answer.content))
        return answer

    load_litellm()
    from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler

    monkeypatch.setattr(AsyncHTTPHandler, "post", watched)

    def script(wire: Wire) -> None:
        wire.begin("application/json", status)
        wire.say(b"x" * 3_000_000)

    with serving(script) as server, pytest.raises(ProviderError) as caught:
        ask("custom", server, ModelRequest("m", [{"role": "user", "content": "x"}], stream=False))
    assert caught.value.kind is kind
    assert longest == [LARGEST_ERROR] if status == 500 else longest[0] < 1_000


@pytest.mark.feature("CALL-4")
def test_an_answer_without_an_end_is_read_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "MAX_BYTES", 100_000)
    endless = saying(b"{" + b" " * 300_000 + b"}", "application/json")
    with serving(endless) as server, pytest.raises(ProviderError) as caught:
        ask("custom", server, ModelRequest("m", [{"role": "user", "content": "x"}], stream=False))
    assert caught.value.kind is ErrorKind.NOT_A_MODEL_SERVER


@pytest.mark.feature("CFG-1")
@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "plain"])
def test_json_that_litellm_asks_for_as_a_tool_call_is_text_again(stream: bool) -> None:
    tool = {"index": 0, "id": "t", "type": "function", "function": {"name": "json_tool_call", "arguments": '{"a": 1}'}}
    choice = {"index": 0, "delta" if stream else "message": {"tool_calls": [tool]}, "finish_reason": "tool_calls"}
    body = sse({"choices": [choice]}) if stream else json.dumps({"choices": [choice]})
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    wanted = {"response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}}
    with serving(saying(body.encode(), "text/event-stream" if stream else "application/json")) as server:
        chunks = ask("groq", server, ModelRequest("m", [{"role": "user", "content": "x"}], wanted, stream))
    assert server.requests[0]["body"]["tools"][0]["function"]["name"] == "json_tool_call"
    assert chunks == [TextDelta('{"a": 1}'), Finish("stop")]


@pytest.mark.feature("CFG-1")
def test_ollama_is_asked_once_and_gets_penalties_by_their_names() -> None:
    request = ModelRequest("m", [{"role": "user", "content": "x"}], {"frequency_penalty": 0.1, "presence_penalty": 0.2})
    with serving(saying(PAYLOADS["ollama"].streamed, "application/x-ndjson")) as server:
        assert "".join(c.text for c in ask("ollama", server, request) if isinstance(c, TextDelta)) == TEXT
    assert [sent["path"] for sent in server.requests] == ["/api/chat"]
    assert server.requests[0]["body"]["options"] == {"frequency_penalty": 0.1, "presence_penalty": 0.2}


def _openai_vectors(sent: dict[str, object]) -> object:
    packed = base64.b64encode(struct.pack("<2f", 0.5, -2)).decode()
    data = [{"index": 1, "embedding": packed}, {"index": 0, "embedding": [0.25, 1]}]
    return {"data": data, "model": "e-2", "usage": {"prompt_tokens": 4, "total_tokens": 4, "cost": 1.6e-07}}


VECTORS: dict[str, tuple[str, Callable[[dict[str, object]], object], Embeddings]] = {
    "openai": ("/v1/embeddings", _openai_vectors, Embeddings(((0.25, 1), (0.5, -2)), Usage(4, 0), "e-2", 160)),
    "ollama": (
        "/api/embed",
        lambda sent: {"model": "e-2", "embeddings": [[0.25, 1], [0.5, -2]], "prompt_eval_count": 4},
        Embeddings(((0.25, 1), (0.5, -2)), Usage(4, 0), "e-2"),
    ),
    "gemini": (
        "/v1beta/models/e-1:batchEmbedContents",
        lambda sent: {"embeddings": [{"values": [0.25, 1]}, {"values": [0.5, -2]}]},
        Embeddings(((0.25, 1), (0.5, -2))),
    ),
}


@pytest.mark.feature("CFG-1")
@pytest.mark.parametrize("kind", VECTORS)
def test_texts_become_vectors_in_their_order(kind: str) -> None:
    path, make, expected = VECTORS[kind]

    def answer(wire: Wire) -> None:
        wire.begin("application/json")
        wire.say(json.dumps(make(wire.server.requests[-1]["body"])))

    with serving(answer) as server:
        assert embed(kind, server, "one", "two") == expected
    assert server.requests[0]["path"].partition("?")[0] == path
    assert server.requests[0]["headers"]["x-team"] == "red"
    with serving(saying(b'{"error": {"message": "no such model"}}', "application/json", 404)) as server:
        with pytest.raises(ProviderError) as caught:
            embed(kind, server, "one")
        assert caught.value.kind is ErrorKind.MODEL_NOT_FOUND
    with serving(answer) as server, pytest.raises(ProviderError):
        embed(kind, server, "one", "two", "three")


@pytest.mark.feature("CFG-1")
@pytest.mark.parametrize("kind", ["anthropic", "groq", "deepseek", "local", "scripted"])
def test_kinds_without_embeddings_say_so(kind: str) -> None:
    with serving(saying(b"", "text/plain")) as server:
        with pytest.raises(ProviderError, match="no embedding models"):
            embed(kind, server, "one")
        assert server.requests == []
    assert kind in FACTS


SEARCHED = Usage(0, 0, details=UsageDetails(uses={"search_unit": 1}))
SCORES = {"results": [{"index": 1, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.1}]}


@pytest.mark.feature("RAG-4")
@pytest.mark.parametrize(
    ("kind", "model", "path", "more", "usage"),
    [
        ("custom", "r-1", "/v1/rerank", {"usage": {"total_tokens": 7}}, Usage(7, 0)),
        ("custom", "r-1", "/v1/rerank", {"meta": {"tokens": {"input_tokens": 5}}}, Usage(5, 0)),
        ("litellm", "cohere/r-1", "/v2/rerank", {"id": "a", "meta": {"billed_units": {"search_units": 1}}}, SEARCHED),
    ],
)
def test_a_reranking_model_scores_each_passage(
    kind: str, model: str, path: str, more: dict[str, Any], usage: Usage | None
) -> None:
    with serving(saying(json.dumps(SCORES | more).encode(), "application/json")) as server:
        found = embed(kind, server, "q?", "one", "two", model=model, task="rerank")
        assert found.vectors == ((0.0,), (0.1,), (0.9,))
        assert found.usage == usage
        (sent,) = server.requests
        assert sent["path"].endswith(path)
        assert (sent["body"]["query"], sent["body"]["documents"]) == ("q?", ["one", "two"])


@pytest.mark.feature("RAG-4")
def test_what_is_no_ranking_is_said() -> None:
    with serving(saying(b'{"results": [{"index": 5, "relevance_score": 1}]}', "application/json")) as server:
        with pytest.raises(ProviderError, match="did not answer like"):
            embed("custom", server, "q?", "one", task="rerank")
        with pytest.raises(ProviderError, match="no re-ranking models"):
            embed("openai", server, "q?", "one", task="rerank")
