"""What a model reads is counted, whatever protocol says it; and its bound is above what vocabularies make of it."""

import os
import random
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.providers.kinds import ProviderKind
from lib.tokens.prompt_size import measure, measure_texts
from lib.tokens.prompt_tokens import DEFAULT_WINDOW, bound_prompt, estimate_prompt
from lib.tokens.text_estimate import estimate_tokens, measure_text

pytestmark = [pytest.mark.feature("COST-2"), pytest.mark.feature("CALL-5")]
SCHEMA = {"type": "object", "properties": {"path": {"type": "string", "description": "An absolute path"}}}
FUNCTION = {"name": "look", "description": "Looks at a file and says what is in it.", "parameters": SCHEMA}
LONG = "The quick brown fox jumps over the lazy dog. " * 40  # 400 tokens
PNG = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAyAAAAJYCAYAAACadoJwAAAA"  # 800 × 600


def guess(body: dict[str, Any], kind: str = "anthropic", model: str = "claude-sonnet-4-6") -> int:
    return estimate_prompt(measure(body), kind, model)


@pytest.mark.parametrize(
    ("more", "least"),
    [
        ({"system": LONG}, 350),
        ({"system": [{"type": "text", "text": LONG, "cache_control": {"type": "ephemeral"}}]}, 350),
        ({"instructions": LONG}, 350),
        ({"tools": [{"name": "look", "description": LONG, "input_schema": SCHEMA}]}, 800),
        ({"tools": [{"type": "function", "function": {**FUNCTION, "description": LONG}}]}, 800),
        ({"functions": [{**FUNCTION, "description": LONG}]}, 350),
        ({"tools": [{"type": "text_editor_20250728", "name": "str_replace_based_edit_tool"}]}, 1_000),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": {"title": LONG}}}}, 350),
        ({"output_config": {"format": {"type": "json_schema", "schema": {"title": LONG}}}}, 350),
        ({"text": {"format": {"type": "json_schema", "schema": {"title": LONG}}}}, 350),
        ({"thinking": {"type": "enabled", "budget_tokens": 1_024}}, 20),
    ],
)
def test_every_field_that_a_model_reads_is_counted(more: dict[str, Any], least: int) -> None:
    body = {"messages": [{"role": "user", "content": "Hi"}]}
    assert guess(body | more) - guess(body) >= least
    both = measure(body, more)
    assert both == measure(body | more), "in one piece or two"


@pytest.mark.parametrize(
    "part",
    [
        {"type": "text", "text": LONG},
        {"type": "input_text", "text": LONG},
        {"type": "thinking", "thinking": LONG, "signature": "c2lnbmVk"},
        {"type": "tool_use", "id": "t1", "name": "look", "input": {"path": LONG}},
        {"type": "tool_result", "tool_use_id": "t1", "content": LONG},
        {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": LONG}]},
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": LONG}},
        {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": LONG}]}},
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "A" * 9_000}},
        {"type": "document", "source": {"type": "url", "url": "https://example.com/report.pdf"}},
        {"type": "file", "file": {"file_id": "file-1"}},
        {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
        {"type": "image_url", "image_url": {"url": PNG}},
        {"type": "nobody_knows", "words": [LONG]},
    ],
)
def test_every_kind_of_part_is_counted(part: dict[str, Any]) -> None:
    size = measure({"messages": [{"role": "user", "content": [part]}]})
    for kind in ProviderKind:
        assert 150 <= estimate_prompt(size, kind, "some-model") <= bound_prompt(size, kind, "some-model")


def test_calls_of_tools_and_their_results_are_counted_in_chat_and_responses() -> None:
    called = {"id": "c", "type": "function", "function": {"name": "look", "arguments": LONG}}
    chat = [{"role": "assistant", "content": None, "tool_calls": [called]}, {"role": "tool", "content": LONG}]
    items = [
        {"type": "function_call", "call_id": "c", "name": "look", "arguments": LONG},
        {"type": "function_call_output", "call_id": "c", "output": LONG},
    ]
    for body in ({"messages": chat}, {"input": items}):
        assert 700 <= guess(body, "openai", "gpt-4.1") <= 1_100


@pytest.mark.parametrize(
    ("kind", "model", "least", "most"),
    [
        ("openai", "gpt-4.1", 10, 14),  # 3 for the answer's beginning, 4 a message, 5 words
        ("openai", "gpt-3.5-turbo-instruct", 4, 6),  # a text that is gone on with
        ("openai", "o-embed/text-embedding-3-small", 4, 12),
        ("anthropic", "claude-sonnet-4-6", 12, 18),
        ("groq", "openai/gpt-oss-120b", 65, 80),  # Harmony's system message
        ("gemini", "gemini-2.5-flash", 5, 8),
        ("mistral", "mistral-small-latest", 14, 22),
        ("mistral", "mistral-large-latest", 8, 14),
        ("openrouter", "minimax/minimax-m2:free", 35, 50),
        ("deepseek", "deepseek-v4-flash", 80, 100),
        ("deepseek", "deepseek-chat", 10, 14),
    ],
)
def test_a_short_question_is_framed_as_its_family_frames_it(kind: str, model: str, least: int, most: int) -> None:
    body = {"messages": [{"role": "user", "content": "Where do rivers run to"}]}
    assert least <= guess(body, kind, model) <= most


def test_words_that_repeat_and_json_are_not_counted_by_their_letters_and_signs() -> None:
    assert 95 <= estimate_tokens("goodbye " * 100) <= 110
    assert 95 <= estimate_tokens('{"type": "object"}, ' * 17) <= 140  # six or seven tokens each


def test_schemas_that_refer_to_others_are_written_out_at_gemini() -> None:
    shape = {"type": "object", "properties": {"child": {"type": "object", "title": "a"}}}
    refers = {"type": "object", "properties": {"child": {"$ref": "#/$defs/Node"}}}

    def with_tool(parameters: dict[str, Any]) -> dict[str, Any]:
        tool = {"type": "function", "function": {"name": "f", "parameters": parameters}}
        return {"messages": [{"role": "user", "content": "hello"}], "tools": [tool]}

    told, written_out = (guess(with_tool(one), "gemini", "gemini-2.5-flash") for one in (shape, refers))
    assert written_out > 1.5 * told


def test_a_conversation_of_one_word_is_framed_and_texts_to_embed_are_not() -> None:
    hello = measure({"messages": [{"role": "user", "content": "Hello"}]})
    assert 7 <= estimate_prompt(hello, "openai", "gpt-4.1") <= 12
    assert bound_prompt(hello, "openai", "gpt-4.1") <= 100
    assert estimate_prompt(measure_texts(["Hello"]), "openai", "text-embedding-3-small") == 1
    assert measure({"input": [[1, 2, 3], [4]]}).ids == 4


def test_tools_weigh_what_the_provider_makes_of_them() -> None:
    body = {"messages": [{"role": "user", "content": "hello"}], "tools": [{"type": "function", "function": FUNCTION}]}
    assert 480 <= guess(body) <= 700, "Anthropic's own words about tools are some 420 tokens"
    assert 20 <= guess(body, "openai", "gpt-4.1") <= 80, "OpenAI shows types instead of a schema"


def test_an_image_is_counted_by_its_pixels_and_bounded_without_them() -> None:
    def image(url: str, kind: str, model: str) -> tuple[int, int]:
        content = [{"type": "image_url", "image_url": {"url": url}}]
        size = measure({"messages": [{"role": "user", "content": content}]})
        return estimate_prompt(size, kind, model), bound_prompt(size, kind, model)

    assert 600 <= image(PNG, "anthropic", "claude-sonnet-4-5")[0] <= 720, "800 × 600 / 750"
    assert 760 <= image(PNG, "openai", "gpt-4o")[0] <= 800, "85 and four tiles of 170"
    for kind, model in (("anthropic", "claude-opus-4-8"), ("openai", "gpt-5.4"), ("gemini", "gemini-3-pro")):
        unknown = image("https://example.com/a.png", kind, model)
        assert max(unknown[0], 2_000) <= unknown[1], model


def test_a_file_that_nobody_saw_is_bounded_by_the_window() -> None:
    size = measure({"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "file-1"}}]}]})
    assert DEFAULT_WINDOW <= bound_prompt(size, "openai", "gpt-4.1") <= DEFAULT_WINDOW + 500
    assert 32_000 <= bound_prompt(size, "openai", "gpt-4.1", 32_000) <= 32_500


@given(st.text(max_size=300))
def test_the_most_is_not_below_the_guess_and_a_token_has_a_byte(text: str) -> None:
    size = measure_text(text)
    assert size.estimate <= size.most
    assert size.estimate == estimate_tokens(text)
    assert size.most <= max(len(text.encode("utf-8", "replace")), size.estimate)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=9),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(st.sampled_from(["type", "content", "source", "image_url", "file", "input", "x"]), inner)
        ),
    )
)
def test_whatever_a_body_holds_is_measured(value: Any) -> None:
    size = measure({"messages": [{"role": "user", "content": value}], "tools": value, "text": value, "system": value})
    assert estimate_prompt(size, "openai", "m") >= 0


def _random_texts() -> dict[str, str]:
    shuffle = random.Random(7)
    alphabets = {
        "letters": "abcdefghijklmnopqrstuvwxyz",
        "base64": "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
        "words": "abcdefghijklmnopqrstuvwxyz    ",
        "blanks": " \t\n\r",
        "printable": "".join(map(chr, range(32, 127))),
        "ideographs": "".join(map(chr, range(0x4E00, 0x9FFF))),
        "two bytes": "".join(map(chr, range(0x80, 0x7FF))),
        "emoji": "".join(map(chr, range(0x1F300, 0x1F6FF))),
    }
    return {name: "".join(shuffle.choices(signs, k=2_000)) for name, signs in alphabets.items()}


@pytest.mark.parametrize("name", [*_random_texts(), "English", "code"])
def test_no_vocabulary_makes_more_of_a_text_than_the_most(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    litellm = find_spec("litellm")
    assert litellm is not None
    folder = Path(str(litellm.origin)).parent / "litellm_core_utils" / "tokenizers"
    monkeypatch.setitem(os.environ, "TIKTOKEN_CACHE_DIR", str(folder))
    import tiktoken

    read = {"English": Path("docs/gateway.md"), "code": Path("lib/calls/calls.py")}
    text = read[name].read_text() if name in read else _random_texts()[name]
    counts = [
        len(tiktoken.get_encoding(name).encode(text, disallowed_special=())) for name in ("cl100k_base", "o200k_base")
    ]
    size = measure_text(text)
    assert max(counts) <= size.most
    if name in read:
        assert size.most <= 3 * max(counts)
        assert 0.75 * max(counts) <= size.estimate <= 1.25 * max(counts)
