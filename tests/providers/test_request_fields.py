"""What a request's fields choose, run or multiply at the provider is seen in every spelling."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.providers.hosted_tools import USES, bound_prompt_tokens, bound_uses_nano, limit_uses, parse_whole_number
from lib.providers.kinds import Protocol
from lib.providers.request_fields import FIELDS, NOTHING, examine

LEAF = st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["", "m", "off", "7", "mcp"])
WORDS = st.sampled_from(["type", "id", "model", "mode", "tools", "max_uses", "name", "function", "n", "container"])
JSON = st.recursive(LEAF, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3))

FUNCTION = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}


def hosted(kind: str, body: dict[str, Any], protocol: str = Protocol.CHAT, model: str = "m") -> list[str]:
    return [one.use for one in examine(kind, protocol, model, body).hosted]


@pytest.mark.feature("COST-2")
@pytest.mark.parametrize(
    "tool",
    [
        FUNCTION,
        {"name": "look_up", "input_schema": {"type": "object"}},
        {"type": "custom", "name": "look_up", "input_schema": {}, "cache_control": {"type": "ephemeral"}},
        {"type": "bash_20250124", "name": "bash"},
        {"type": "text_editor_20250728", "name": "edit", "max_characters": 10_000},
        {"type": "memory_20250818", "name": "memory"},
        {"type": "computer_20250124", "name": "computer", "display_width_px": 1, "display_height_px": 1},
        {"type": "local_shell"},
        {"type": "apply_patch"},
        {"type": "tool_search"},
        {"type": "tool_search_tool_bm25_20251119", "name": "tool_search_tool_bm25"},
        {"type": "namespace", "name": "crm", "description": "x", "tools": [{"type": "function", "name": "look_up"}]},
        {"functionDeclarations": [{"name": "look_up"}]},
    ],
)
def test_tools_that_the_program_runs_cost_nothing_beside(tool: dict[str, Any]) -> None:
    for kind in ("openai", "anthropic", "gemini", "openrouter", "custom", "litellm"):
        assert hosted(kind, {"tools": [tool]}) == [], kind


@pytest.mark.feature("COST-2")
@pytest.mark.parametrize(
    ("tool", "use"),
    [
        ({"googleSearch": {}}, "google_search"),
        ({"google_search": {}}, "google_search"),
        ({"googleSearchRetrieval": {}}, "google_search_retrieval"),
        ({"googleMaps": {}}, "google_maps"),
        ({"enterpriseWebSearch": {}}, "enterprise_web_search"),
        ({"urlContext": {}}, "url_context"),
        ({"codeExecution": {}}, "code_execution"),
        ({"code_execution": {}}, "code_execution"),
        ({"fileSearch": {}}, "file_search"),
        ({"type": "function", "googleSearch": {}}, "google_search"),
        ({**FUNCTION, "googleSearch": {}}, "google_search"),
        ({"type": "web_search"}, "web_search"),
        ({"type": "web_search_preview_2025_03_11"}, "web_search_preview"),
        ({"type": "web_search_20250305", "name": "web_search"}, "web_search"),
        ({"type": "code_execution_20250825", "name": "code_execution"}, "code_execution"),
        ({"type": "mcp", "server_url": "https://mcp.test"}, "mcp"),
        ({"type": "image_generation"}, "image_generation"),
        ({"type": "browser_search"}, "browser_search"),
        ({"type": "openrouter:web_search"}, "openrouter:web_search"),
        ({"type": "builtin_function", "function": {"name": "$web_search"}}, "builtin_function"),
        ({"type": "function", "function": {"name": "$web_search"}}, "function"),
        ({"type": "namespace", "tools": [{"type": "web_search"}]}, "web_search"),
        ("web_search", "tool"),
    ],
)
def test_whatever_else_stands_in_tools_is_the_providers(tool: Any, use: str) -> None:
    for kind in ("gemini", "openrouter", "custom", "litellm", "groq", "mistral"):
        choices = examine(kind, None, "m", {"tools": [FUNCTION, tool]})
        assert [one.use for one in choices.hosted] == [use], kind
        assert bound_uses_nano(choices.hosted, lambda _: 10) is None, kind


@pytest.mark.feature("COST-2")
@pytest.mark.parametrize(
    ("body", "use"),
    [
        ({"web_search_options": {}}, "web_search"),
        ({"plugins": [{"id": "web"}]}, "plugins"),
        ({"plugins": "web"}, "plugins"),
        ({"search_parameters": {"mode": "auto"}}, "live_search"),
        ({"enable_search": True}, "web_search"),
        ({"enable_search": "true"}, "web_search"),
        ({"mcp_servers": [{"url": "https://mcp.test"}]}, "mcp"),
        ({"connectors": [{"id": "web-search"}]}, "web_search"),
    ],
)
def test_fields_that_let_the_provider_run_something(body: dict[str, Any], use: str) -> None:
    choices = examine("custom", Protocol.CHAT, "m", body)
    assert [one.use for one in choices.hosted] == [use]
    assert bound_uses_nano(choices.hosted, lambda _: 10) is None


@pytest.mark.feature("COST-2")
@pytest.mark.parametrize(
    "body",
    [
        {"enable_search": False, "plugins": [], "search_parameters": {"mode": "off"}},
        {"plugins": [{"id": "response-healing"}], "web_search_options": None, "route": "fallback"},
        {"temperature": 1, "messages": [], "max_tokens": 9, "n": 1, "models": ["m"], "tools": []},
    ],
)
def test_what_is_switched_off_or_usual_chooses_nothing(body: dict[str, Any]) -> None:
    choices = examine("openrouter", Protocol.CHAT, "m", body)
    assert (choices.hosted, choices.models, choices.hidden, choices.answers) == ((), (), (), 1)
    assert examine("openrouter", Protocol.CHAT, "m", {"messages": [], "max_tokens": 9}) is NOTHING


@pytest.mark.feature("GATE-3")
@pytest.mark.parametrize(
    ("body", "models"),
    [
        ({"models": ["a", "m", "b"]}, ("a", "b")),
        ({"models": "a, b"}, ("a", "b")),
        ({"fallbacks": [{"model": "a"}, "b"]}, ("a", "b")),
        ({"fallbacks": [{"m": ["a", "b"]}]}, ("a", "b")),
        ({"fallback_model": "a"}, ("a",)),
        ({"engine": "a"}, ("a",)),
        ({"tools": [{"type": "advisor_20260301", "name": "advisor", "model": "a"}]}, ("a",)),
        ({"plugins": [{"id": "fusion", "model": "a"}]}, ("a",)),
    ],
)
def test_models_are_named_by_many_fields(body: dict[str, Any], models: tuple[str, ...]) -> None:
    assert examine("openrouter", Protocol.CHAT, "m", body).models == models


@pytest.mark.feature("GATE-3")
@pytest.mark.parametrize(
    "body",
    [
        {"preset": "mine"},
        {"route": "auto"},
        {"prompt": {"id": "pmpt_1"}},
        {"extra_body": {"models": ["a"]}},
        {"models": [{"slug": "a"}]},
        {"models": {"a": 1}},
        {"providerOptions": {"gateway": {"models": ["a"]}}},
        {"compound_custom": {"models": {"answering_model": "a"}}},
        {"litellm_params": {"model": "a"}},
    ],
)
def test_a_choice_that_cannot_be_seen_is_named(body: dict[str, Any]) -> None:
    assert examine("openrouter", Protocol.CHAT, "m", body).hidden == tuple(body)


@pytest.mark.feature("COST-2")
@pytest.mark.parametrize(
    ("body", "answers", "ceiling", "unbounded"),
    [
        ({"n": 3}, 3, 0, ()),
        ({"n": "3"}, 3, 0, ()),
        ({"n": " 2.5 "}, 3, 0, ()),
        ({"n": 2, "best_of": 4}, 4, 0, ()),
        ({"n": 2, "num_beams": 3}, 6, 0, ()),
        ({"candidateCount": 2}, 2, 0, ()),
        ({"generationConfig": {"candidateCount": 2, "maxOutputTokens": 9}}, 2, 9, ()),
        ({"options": {"num_predict": 900}}, 1, 900, ()),
        ({"max_new_tokens": "700"}, 1, 700, ()),
        ({"num_predict": -1}, 1, 0, ("num_predict",)),
        ({"n": "many"}, 1, 0, ("n",)),
        ({"n": [3]}, 1, 0, ("n",)),
        ({"n": 10**30}, 10**9, 0, ()),
    ],
)
def test_what_multiplies_answers_is_counted(
    body: dict[str, Any], answers: int, ceiling: int, unbounded: tuple[str, ...]
) -> None:
    choices = examine("custom", Protocol.CHAT, "m", body)
    assert (choices.answers, choices.ceiling, choices.unbounded) == (answers, ceiling, unbounded)


@pytest.mark.feature("COST-2")
def test_uses_are_limited_where_a_limit_can_be_said() -> None:
    def most(kind: str, protocol: str, body: dict[str, Any]) -> tuple[dict[str, Any], int | None]:
        limited = limit_uses(kind, protocol, body)
        return limited, bound_uses_nano(
            examine(kind, protocol, "m", limited).hosted, {"web_search": 10, "file_search": 3}.get
        )

    search, fetch = {"type": "web_search_20250305"}, {"type": "web_fetch_20250910"}
    body, nano = most("anthropic", Protocol.MESSAGES, {"tools": [search]})
    assert (body["tools"][0]["max_uses"], nano) == (USES, 10 * USES)
    body, nano = most("anthropic", Protocol.MESSAGES, {"tools": [search | {"max_uses": 2}]})
    assert (body["tools"][0]["max_uses"], nano) == (2, 20)
    body, _ = most("anthropic", Protocol.MESSAGES, {"tools": [fetch]})
    assert body["tools"][0]["max_content_tokens"] > 0
    tools = [{"type": "web_search"}, {"type": "file_search"}, FUNCTION]
    body, nano = most("openai", Protocol.RESPONSES, {"tools": tools})
    assert (body["max_tool_calls"], nano) == (USES, 10 * USES)
    body, nano = most("openai", Protocol.RESPONSES, {"tools": tools, "max_tool_calls": 1})
    assert (body["max_tool_calls"], nano) == (1, 10)
    assert "max_tool_calls" not in most("openai", Protocol.RESPONSES, {"tools": [FUNCTION]})[0]
    large = {"type": "code_interpreter", "container": {"type": "auto", "memory_limit": "64g"}}
    assert most("openai", Protocol.RESPONSES, {"tools": [large]})[1] is None
    assert most("openai", Protocol.RESPONSES, {"tools": [{"type": "image_generation"}]})[1] is None


@pytest.mark.feature("COST-2")
def test_a_prompt_is_read_again_after_each_use() -> None:
    body = {"tools": [{"type": "web_search_20250305", "max_uses": 2}]}
    choices = examine("anthropic", Protocol.MESSAGES, "m", body)
    each = choices.hosted[0].tokens
    assert bound_prompt_tokens(choices.hosted, 100) == 100 + (100 + each) + (100 + 2 * each)
    assert bound_prompt_tokens((), 100) == 100


@pytest.mark.feature("COST-2")
def test_a_models_name_runs_things_too() -> None:
    assert hosted("openrouter", {}, model="openai/gpt-4o:online") == ["plugins"]
    assert hosted("openrouter", {}, model="openai/gpt-4o:free:online") == ["plugins"]
    assert hosted("litellm", {}, model="openrouter/openai/gpt-4o:online") == ["plugins"]
    assert hosted("openai", {"web_search_options": {}}, model="gpt-4o-search-preview") == ["web_search_preview"]
    assert hosted("groq", {}, model="groq/compound") == ["compound"]
    assert examine("openrouter", Protocol.CHAT, "m@preset/mine", {}).hidden == ("model",)
    assert examine("ollama", None, "m", {"tools": [{"type": "web_search"}], "n": 3}) is NOTHING


@given(st.dictionaries(st.sampled_from(sorted(FIELDS)), JSON, max_size=4))
def test_no_body_is_too_strange(body: dict[str, Any]) -> None:
    for kind, protocol in (("openai", Protocol.RESPONSES), ("anthropic", Protocol.MESSAGES), ("custom", Protocol.CHAT)):
        choices = examine(kind, protocol, "m", limit_uses(kind, protocol, body))
        assert bound_prompt_tokens(choices.hosted, 10) >= 10
        assert choices.answers >= 1


@pytest.mark.parametrize(
    ("value", "count"), [(True, 1), (0, 0), ("7", 7), (float("nan"), None), ("inf", None), (None, None), (-1, None)]
)
def test_counts_are_read_as_servers_might(value: Any, count: int | None) -> None:
    assert parse_whole_number(value) == count
