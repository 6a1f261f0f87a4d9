"""Each kind's listing becomes facts: what it states is kept exactly, the rest is None, nothing is unbounded."""

from collections.abc import Callable
from typing import Any

import pytest

from lib.errors import ErrorKind, ProviderError
from lib.providers import listings
from lib.providers.chunks import Endpoint
from lib.providers.models import Catalogue, ModelFacts, build_facts
from tests.providers.list_server import ListServer, listing

pytestmark = pytest.mark.feature("CFG-4")
CATALOGUE = Catalogue()


def endpoint(kind: str, url: str, **more: Any) -> Endpoint:
    return Endpoint("p1", "house", kind, url, api_key="sk-house-0123456789", **{"allow_private": True} | more)


def fetch(kind: str, answers: dict[str, Any], base: str = "", **more: Any) -> tuple[list[ModelFacts], ListServer]:
    with listing(answers) as server:
        return listings.fetch(endpoint(kind, server.url + base, **more), CATALOGUE), server


def test_openai_lists_names_under_its_key_and_organisation() -> None:
    answer = {"object": "list", "data": [{"id": "o3", "object": "model"}, {"id": "gpt-4.1"}, {"id": "gpt-4.1"}]}
    found, server = fetch("openai", {"/v1/models": answer}, "/v1", organisation="org-1", headers={"X-Team": "support"})
    assert found == [ModelFacts("gpt-4.1"), ModelFacts("o3")]
    headers = server.asked[0][1]
    assert headers["authorization"] == "Bearer sk-house-0123456789"
    assert (headers["openai-organization"], headers["x-team"]) == ("org-1", "support")


@pytest.mark.parametrize("base", ["", "/v1"])
def test_anthropic_lists_page_after_page(base: str) -> None:
    limits = {"max_input_tokens": 200_000, "max_tokens": 64_000}
    able = {"image_input": {"supported": True}, "structured_outputs": {"supported": True}}
    able |= {"thinking": {"supported": False}}
    first = {"data": [{"id": "claude-b", **limits, "capabilities": able}], "has_more": True, "last_id": "claude b"}
    second = {"data": [{"id": "claude-a"}], "has_more": False, "last_id": "claude-a"}
    answers = {"/v1/models?limit=1000": first, "/v1/models?limit=1000&after_id=claude%20b": second}
    found, server = fetch("anthropic", answers, base)
    assert found == [ModelFacts("claude-a"), ModelFacts("claude-b", 200_000, 64_000, ("streaming", "vision", "json"))]
    assert server.asked[0][1]["x-api-key"] == "sk-house-0123456789"
    assert "authorization" not in server.asked[0][1]


def test_ollama_tells_window_and_capabilities_of_each_model() -> None:
    shown = {"capabilities": ["completion", "tools", "thinking"], "model_info": {"qwen3.context_length": 40_960}}
    tags = {"models": [{"name": "qwen3:4b", "model": "qwen3:4b"}, {"name": "all-minilm:latest"}]}
    with listing({"/api/tags": tags, "/api/show": shown}) as server:
        found = listings.fetch(endpoint("ollama", server.url), CATALOGUE)
    assert found[1] == ModelFacts("qwen3:4b", 40_960, None, ("streaming", "tools", "reasoning"))
    assert [body for path, _, body in server.asked if path == "/api/show"] == [
        {"model": "qwen3:4b"},
        {"model": "all-minilm:latest"},
    ]


def test_ollama_without_details_still_lists_what_is_installed() -> None:
    found, _ = fetch("ollama", {"/api/tags": {"models": [{"name": "qwen3:4b"}]}})
    assert found == [ModelFacts("qwen3:4b")]


def test_openrouter_tells_prices_exactly_and_the_parameters_a_model_takes() -> None:
    entry = {
        "id": "maker/model",
        "context_length": 1_000_000,
        "architecture": {"input_modalities": ["text", "image"]},
        "pricing": {"prompt": "0.0000001", "completion": "0.00000125"},
        "top_provider": {"max_completion_tokens": 64_000},
        "supported_parameters": ["max_tokens", "tools", "reasoning", "response_format"],
    }
    varying = {"id": "openrouter/auto", "pricing": {"prompt": "-1", "completion": "1e999999"}}
    found, _ = fetch("openrouter", {"/api/v1/models": {"data": [entry, varying]}}, "/api/v1")
    able = ("streaming", "tools", "vision", "json", "reasoning")
    prices = (100_000_000, 1_250_000_000)  # $0.10 and $1.25 per million tokens
    takes = ("max_tokens", "tools", "reasoning", "response_format")
    assert found == [ModelFacts("maker/model", 1_000_000, 64_000, able, *prices, takes), ModelFacts("openrouter/auto")]


def test_gemini_lists_page_after_page_without_the_prefix() -> None:
    chat = {"name": "models/gemini-2.5-flash", "inputTokenLimit": 1_048_576, "outputTokenLimit": 65_536}
    chat["supportedGenerationMethods"] = ["generateContent"]
    embed = {"name": "models/embed-1", "inputTokenLimit": 2048, "supportedGenerationMethods": ["embedContent"]}
    answers = {"/v1beta/models?pageSize=1000": {"models": [chat], "nextPageToken": "n/2"}}
    answers["/v1beta/models?pageSize=1000&pageToken=n%2F2"] = {"models": [embed]}
    found, server = fetch("gemini", answers, "/v1beta")
    assert found[0] == ModelFacts("embed-1", 2048, None, ("embeddings",))
    assert found[1] == ModelFacts("gemini-2.5-flash", 1_048_576, 65_536)
    assert server.asked[0][1]["x-goog-api-key"] == "sk-house-0123456789"
    assert "sk-house" not in server.asked[0][0]


@pytest.mark.parametrize(
    ("kind", "entry", "facts"),
    [
        (
            "groq",
            {"id": "m", "context_window": 131_072, "max_completion_tokens": 32_768},
            ModelFacts("m", 131_072, 32_768),
        ),
        (
            "mistral",
            {
                "id": "m",
                "max_context_length": 32_768,
                "capabilities": {"completion_chat": True, "function_calling": True, "vision": False},
            },
            ModelFacts("m", 32_768, None, ("streaming", "tools")),
        ),
        ("deepseek", {"id": "m", "owned_by": "deepseek"}, ModelFacts("m")),
        ("custom", {"id": "m", "max_model_len": 8192}, ModelFacts("m", 8192)),
        ("custom", {"id": "m", "context_length": "8192", "max_model_len": -1}, ModelFacts("m")),
    ],
)
def test_openais_shape_with_what_others_add(kind: str, entry: dict[str, Any], facts: ModelFacts) -> None:
    for answer in ({"data": [entry]}, [entry]):
        assert fetch(kind, {"/models": answer})[0] == [facts]


def test_entries_that_are_no_models_are_left_out() -> None:
    entries = [{"id": "ok"}, {"id": ""}, {"id": 7}, {"id": "x" * 201}, {"id": "a\nb"}, "text", None, {}]
    assert fetch("custom", {"/models": {"data": entries}})[0] == [ModelFacts("ok")]


def test_kinds_in_this_process_list_what_ships() -> None:
    assert [facts.model for facts in listings.fetch(endpoint("local", ""), CATALOGUE)] == [
        "smollm2-135m-instruct",
        "all-MiniLM-L6-v2",
    ]
    assert "echo" in {facts.model for facts in listings.fetch(endpoint("scripted", ""), CATALOGUE)}
    assert len(listings.fetch(endpoint("litellm", ""), CATALOGUE)) > 1000


def failure(kind: str, answers: dict[str, Any], status: int = 200, **more: Any) -> ProviderError:
    with listing(answers) as server:
        server.status = status
        with pytest.raises(ProviderError) as raised:
            listings.fetch(endpoint(kind, server.url, **more), CATALOGUE)
    return raised.value


def test_a_refused_key_says_so_and_is_not_repeated() -> None:
    error = failure("openai", {"/models": {"error": {"message": "Incorrect API key: sk-house-0123456789"}}}, 401)
    assert error.kind is ErrorKind.AUTHENTICATION
    assert "sk-house-0123456789" not in str(error)


@pytest.mark.parametrize("answer", [b"<!doctype html><p>hello", b"", b"[[[", {"data": 7}, "text", b"[" * 100_000])
def test_anything_but_a_list_is_refused(answer: Any) -> None:
    assert failure("custom", {"/models": answer}).kind is ErrorKind.NOT_A_MODEL_SERVER


def test_a_server_without_a_list_says_that_names_can_be_typed() -> None:
    error = failure("custom", {})
    assert error.kind is ErrorKind.NOT_A_MODEL_SERVER
    assert "typed" in error.fix


def redirecting(to: str) -> Callable[[Any], None]:
    def answer(handler: Any) -> None:
        handler.send_response(302)
        handler.send_header("location", to)
        handler.end_headers()

    return answer


def test_no_redirect_is_followed() -> None:
    with listing({"/secret": {"data": [{"id": "stolen"}]}}) as inside:
        error = failure("custom", {"/models": redirecting(f"{inside.url}/secret")})
        assert inside.asked == []
    assert "redirect" in error.why


def test_a_private_address_is_refused_before_anything_is_sent() -> None:
    with listing({"/models": {"data": []}}) as server:
        with pytest.raises(ProviderError) as raised:
            listings.fetch(endpoint("custom", server.url, allow_private=False), CATALOGUE)
        assert server.asked == []
    assert raised.value.kind is ErrorKind.REFUSED


def test_a_list_without_end_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    def endless(handler: Any) -> None:
        handler.send_response(200)
        handler.end_headers()
        while True:
            handler.wfile.write(b"[" * 65_536)

    monkeypatch.setattr(listings, "LARGEST", 1_000_000)
    assert "1 MB" in failure("custom", {"/models": _until_closed(endless)}).why


def test_a_list_that_drips_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def dripping(handler: Any) -> None:
        handler.send_response(200)
        handler.end_headers()
        while True:
            handler.wfile.write(b" ")
            handler.wfile.flush()

    monkeypatch.setattr(listings, "LONGEST_S", 0.5)
    assert failure("custom", {"/models": _until_closed(dripping)}).kind is ErrorKind.TIMEOUT_TOTAL


def _until_closed(script: Callable[[Any], None]) -> Callable[[Any], None]:
    def answer(handler: Any) -> None:
        try:
            script(handler)
        except OSError:
            handler.close_connection = True

    return answer


def test_facts_survive_their_record() -> None:
    facts = ModelFacts("m", 8192, None, ("tools",), 1, 0, None, ("seed",))
    assert build_facts(facts.as_record()) == facts


def test_the_shipped_list_is_dated_and_names_its_source() -> None:
    assert CATALOGUE.source.startswith("date=20")
    assert "source=litellm-" in CATALOGUE.source
    known = CATALOGUE.find("openai", "gpt-4.1-mini")
    assert known is not None
    assert known.context_tokens == 1_047_576
    assert CATALOGUE.find("openai", "gpt-4.1-mini-2099-01-01") is not None
    assert CATALOGUE.find("openai", "no-such-model") is None
