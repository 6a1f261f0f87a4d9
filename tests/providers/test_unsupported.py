"""What a model does not take is left out by name or refused in our words, whatever litellm says of it."""

import asyncio
import re
from typing import Any

import pytest
from msgspec.structs import replace

from lib.errors import ErrorKind, ProviderError
from lib.providers.adapters import failures, select_adapter
from lib.providers.adapters.claude import add_called_tools, fit_thinking
from lib.providers.adapters.via_litellm import close_connections
from lib.providers.chunks import Chunk, Endpoint, ModelRequest, OmittedParameters
from tests.providers.payloads import PAYLOADS
from tests.providers.test_wire import MODELS, endpoint, saying
from tests.providers.wire import serving

pytestmark = [pytest.mark.feature("CFG-5"), pytest.mark.filterwarnings("default")]
OF_LITELLM = re.compile("litellm|drop_params|allowed_openai_params", re.IGNORECASE)
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
ADAPTIVE = {"type": "adaptive"}
VALUES: dict[str, Any] = {
    "thinking": {"type": "adaptive"},
    "verbosity": "low",
    "service_tier": "flex",
    "reasoning_effort": "high",
    "logit_bias": {"1": 2},
    "logprobs": True,
    "top_logprobs": 2,
    "parallel_tool_calls": False,
    "seed": 7,
    "frequency_penalty": 0.5,
    "presence_penalty": 0.5,
    "temperature": 0.2,
    "user": "somebody",
    "top_k": 3,
    "min_p": 0.1,
    "response_format": {"type": "json_object"},
    "tool_choice": "required",
    "stop": ["a", "b"],
}
WHERE = [("openai", "m"), ("openai", "gpt-5-mini"), ("openai", "o3"), ("custom", "gpt-5"), ("anthropic", "claude-next")]
WHERE += [("gemini", "m"), ("groq", "m"), ("mistral", "m"), ("ollama", "m"), ("litellm", MODELS["cohere"])]


def ask(at: Endpoint, request: ModelRequest) -> list[Chunk]:
    async def run() -> list[Chunk]:
        try:
            return [chunk async for chunk in select_adapter(at.kind).stream(at, request)]  # type: ignore[misc]
        finally:
            await close_connections()

    return asyncio.run(run())


def refusal(at: Endpoint, request: ModelRequest) -> ProviderError | None:
    try:
        ask(at, request)
    except ProviderError as error:
        return error
    return None


@pytest.mark.parametrize(("kind", "model"), WHERE)
def test_no_advice_of_litellms_is_ever_told(kind: str, model: str) -> None:
    """Each parameter at each kind: sent, left out by name or refused by name; and all of them together."""
    payload = PAYLOADS.get(kind, PAYLOADS["cohere" if kind == "litellm" else "openai"])
    words = [{"role": "user", "content": "x"}]
    with serving(saying(payload.whole, "application/json")) as server:
        at = endpoint(kind, server.url)
        for name, value in VALUES.items():
            parameters = {name: value, "max_tokens": 9_000} | ({"tools": [TOOL]} if "tool" in name else {})
            if (error := refusal(at, ModelRequest(model, words, parameters, stream=False))) is not None:
                assert error.kind is ErrorKind.BAD_REQUEST
                assert name in error.title
                assert not OF_LITELLM.search(str(error))
        chunks = ask(at, ModelRequest(model, words, {**VALUES, "tools": [TOOL]}, stream=False, drops=True))
        left = {name for chunk in chunks if isinstance(chunk, OmittedParameters) for name in chunk.names}
        assert left <= set(VALUES)
        assert len(chunks) > 1


@pytest.mark.parametrize(
    "text",
    [
        "x is no. To drop it, set `litellm.drop_params=True`",
        "litellm.UnsupportedParamsError: x is no.\nsend allowed_openai_params=['x'] in your request.",
        "Use `LiteLLM_settings: drop_params: true`",
    ],
)
def test_a_text_of_litellms_is_cut_before_its_advice(text: str) -> None:
    at = endpoint("openai", "http://127.0.0.1:9")
    for error in (
        failures.explain_unsendable_request(at, ValueError(text)),
        failures.explain(ValueError(text), at, "m", has_content=False),
    ):
        assert not OF_LITELLM.search(str(error))
        assert ("x is no" in str(error)) == ("x is no" in text)


@pytest.mark.parametrize(
    ("parameters", "sent", "left"),
    [
        ({"temperature": 0.2}, {"temperature": 0.2}, []),
        ({"reasoning_effort": "none", "top_k": 3}, {"reasoning_effort": "none", "top_k": 3}, []),
        (
            {"reasoning_effort": "high", "temperature": 0.2, "max_tokens": 8_000},
            {"reasoning_effort": "high", "max_tokens": 8_000},
            ["temperature"],
        ),
        ({"reasoning_effort": "high", "temperature": 1}, {"reasoning_effort": "high", "temperature": 1}, []),
        ({"reasoning_effort": "high", "top_p": 0.5, "top_k": 3}, {"reasoning_effort": "high"}, ["top_p", "top_k"]),
        ({"reasoning_effort": "high", "max_tokens": 1_000}, {"max_tokens": 1_000}, ["reasoning_effort"]),
        (
            {"reasoning_effort": "high", "max_tokens": 2_000},
            {"thinking": {"type": "enabled", "budget_tokens": 1_999}, "max_tokens": 2_000},
            [],
        ),
        (
            {"reasoning_effort": "low", "tool_choice": "required", "temperature": 0.2},
            {"tool_choice": "required", "temperature": 0.2},
            ["reasoning_effort"],
        ),
        (
            {"thinking": ADAPTIVE, "tool_choice": {"type": "function"}},
            {"tool_choice": {"type": "function"}},
            ["thinking"],
        ),
        ({"thinking": ADAPTIVE, "tool_choice": "auto"}, {"thinking": ADAPTIVE, "tool_choice": "auto"}, []),
        ({"thinking": ADAPTIVE, "max_tokens": 10, "top_k": 1}, {"thinking": ADAPTIVE, "max_tokens": 10}, ["top_k"]),
    ],
)
def test_what_goes_with_the_thinking_of_claude(
    parameters: dict[str, Any], sent: dict[str, Any], left: list[str]
) -> None:
    def budget_of(effort: str) -> int | None:
        return {"low": 1_024, "high": 4_096}.get(effort)

    assert fit_thinking(parameters, budget_of, 64_000) == (sent, left)


def test_an_effort_reaches_claude_with_the_rules_of_thinking() -> None:
    request = {"reasoning_effort": "high", "temperature": 0.2, "max_tokens": 3_000}
    with serving(saying(PAYLOADS["anthropic"].whole, "application/json")) as server:
        at, words = endpoint("anthropic", server.url), [{"role": "user", "content": "x"}]
        chunks = ask(at, ModelRequest("claude-sonnet-4-5-20250929", words, request, stream=False, drops=True))
        assert chunks[0] == OmittedParameters(("temperature",))
        sent = server.requests[-1]["body"]
        assert (sent["thinking"], sent.get("temperature")) == ({"type": "enabled", "budget_tokens": 2_999}, None)
        with pytest.raises(ProviderError, match="does not take temperature"):
            ask(at, ModelRequest("claude-sonnet-4-5-20250929", words, request, stream=False))
        assert len(server.requests) == 1


CALL = {"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f"}}]}
RESULT = {"role": "tool", "tool_call_id": "c", "content": "r"}
SAYS = {"role": "user", "content": "hi"}


@pytest.mark.parametrize(
    ("messages", "is_left_out"),
    [
        ([SAYS, CALL, RESULT], True),
        ([SAYS, CALL, RESULT, CALL, RESULT], True),
        ([SAYS, {**CALL, "thinking_blocks": [{"type": "thinking"}]}, RESULT], False),
        ([SAYS, CALL, RESULT, {"role": "assistant", "content": "a"}, SAYS], False),
        ([SAYS, CALL, RESULT, SAYS], False),
        ([SAYS], False),
    ],
)
def test_claude_does_not_think_anew_among_calls_whose_thoughts_did_not_come_back(
    messages: list[dict[str, Any]], is_left_out: bool
) -> None:
    asked = {"reasoning_effort": "high", "max_tokens": 9_000, "temperature": 1}
    fitting, names = fit_thinking(asked, lambda _effort: 4_096, 64_000, messages)
    assert (names, "reasoning_effort" in fitting) == (["reasoning_effort"] if is_left_out else [], not is_left_out)
    assert fit_thinking(asked, lambda _effort: None, 64_000, messages) == (asked, [])  # it divides its tokens itself


def test_claude_is_told_the_tools_of_a_conversation_that_names_none_any_more() -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    assert add_called_tools({"seed": 1}, [SAYS, CALL, RESULT, CALL, SAYS]) == {
        "seed": 1,
        "tools": [tool],
        "tool_choice": "none",
    }
    assert add_called_tools({"tools": [TOOL]}, [SAYS, CALL, RESULT]) == {"tools": [TOOL]}
    assert add_called_tools({}, [SAYS]) == {}
    with serving(saying(PAYLOADS["anthropic"].whole, "application/json")) as server:
        ask(endpoint("anthropic", server.url), ModelRequest("claude-next", [SAYS, CALL, RESULT, SAYS], stream=False))
    sent = server.requests[-1]["body"]
    assert ([tool["name"] for tool in sent["tools"]], sent["tool_choice"]) == (["f"], {"type": "none"})


def test_json_without_a_schema_is_left_out_at_claude_by_name() -> None:
    request = ModelRequest("claude-next", [SAYS], {"response_format": {"type": "json_object"}}, stream=False)
    with serving(saying(PAYLOADS["anthropic"].whole, "application/json")) as server:
        at = endpoint("anthropic", server.url)
        refused = refusal(at, request)
        assert refused is not None
        assert "response_format" in refused.title
        assert ask(at, replace(request, drops=True))[0] == OmittedParameters(("response_format",))
