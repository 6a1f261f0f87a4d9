"""Whatever a provider bills for is priced, or the cost says that it is not whole."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from lib.fast_json import decode
from lib.money import format_cost
from lib.providers.chunks import Chunk, ModelUsage, Usage, UsageDetails, UsageReport
from lib.providers.prices.price_book import PriceBook
from lib.providers.prices.rates import Cost, Rates, build_plain_price
from lib.providers.prices.service_tiers import find_region, name_asked_tier, name_priced_tier, name_service_tier
from lib.providers.protocols import usage
from lib.providers.protocols.anthropic import AnthropicMessages
from lib.providers.protocols.gemini import Gemini
from lib.providers.protocols.openai_chat import OpenAIChat
from lib.providers.protocols.responses import Responses

NOW = datetime(2026, 11, 25, tzinfo=UTC)
BOOK = PriceBook()
MILLION = 10**6


def charge(kind: str, model: str, told: Usage | None, reported: int | None = None) -> Cost:
    assert told is not None
    return BOOK.charge(kind, model, NOW, told, reported)


def last_report(chunks: list[Chunk]) -> UsageReport:
    return [chunk for chunk in chunks if isinstance(chunk, UsageReport)][-1]


@pytest.mark.feature("COST-13")
@pytest.mark.parametrize(
    ("kind", "model", "tier", "dollars"),
    [
        ("openai", "gpt-5-nano-2025-08-07", "", "0.45"),
        ("openai", "gpt-5-nano-2025-08-07", "default", "0.45"),
        ("openai", "gpt-5-nano-2025-08-07", "flex", "0.225"),
        ("openai", "gpt-5", "priority", "22.5"),
        ("openai", "gpt-5", "fast", "22.5"),  # OpenAI's newer word for priority
        ("openai", "gpt-5", "batch", "5.625"),
        ("openai", "gpt-5.4", "eu", "30.25"),  # 1M > 272k: $5 and $22.50, a tenth more
        ("openai", "gpt-4o", "eu", "12.5"),  # older models cost no more in a region
        ("anthropic", "claude-opus-5", "fast", "60"),
        ("anthropic", "claude-opus-5", "us", "33"),
        ("anthropic", "claude-opus-5", "fast+us", "66"),
        ("anthropic", "claude-opus-5", "batch", "15"),
        ("groq", "openai/gpt-oss-120b", "flex", "0.75"),
        ("gemini", "gemini-2.5-flash", "flex", "1.4"),
        ("gemini", "gemini-2.5-flash", "priority", "5.04"),
        ("openai", "gpt-5", "scale", None),
        ("anthropic", "claude-opus-5", "priority", None),
        ("openai", "gpt-4-turbo", "priority", None),
    ],
)
def test_how_a_call_was_served_changes_its_price(kind: str, model: str, tier: str, dollars: str | None) -> None:
    cost = charge(kind, model, Usage(MILLION, MILLION, service_tier=tier))
    expected = None if dollars is None else int(Decimal(dollars) * 10**9)
    assert (cost.nano, cost.status) == (expected, "unpriced" if expected is None else "priced")


@pytest.mark.feature("COST-13")
def test_the_words_of_providers_for_a_tier_have_one_form() -> None:
    assert name_service_tier(None, "") == ""
    assert name_service_tier("standard", "global") == name_service_tier("on_demand") == "default"
    assert name_service_tier("FLEX") == name_service_tier("ON_DEMAND_FLEX") == "flex"
    assert name_service_tier("standard", "fast", "us") == "fast+us"
    assert len(name_service_tier("x" * 100)) == 32
    assert name_asked_tier("anthropic", {"speed": "fast", "extra_body": {"inference_geo": "us"}}) == "fast+us"
    assert name_asked_tier("openai", {}, "https://eu.api.openai.com/v1") == "eu"
    assert find_region("custom", "https://eu.api.openai.com/v1") == ""
    assert name_priced_tier("openai", "fast") == "priority"
    assert name_priced_tier("anthropic", "fast") == "fast"


@pytest.mark.feature("COST-13")
@pytest.mark.parametrize(
    ("reader", "document", "expected"),
    [
        (
            OpenAIChat,
            {
                "model": "m",
                "service_tier": "flex",
                "choices": [{"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
            },
            Usage(3, 4, service_tier="flex"),
        ),
        (
            Responses,
            {
                "object": "response",
                "status": "completed",
                "service_tier": "priority",
                "output": [
                    {"type": "web_search_call", "action": {"type": "search"}},
                    {"type": "web_search_call", "action": {"type": "open_page"}},
                    {"type": "code_interpreter_call", "container_id": "a"},
                    {"type": "code_interpreter_call", "container_id": "a"},
                    {"type": "file_search_call"},
                ],
                "usage": {"input_tokens": 3, "output_tokens": 4},
            },
            Usage(
                3,
                4,
                service_tier="priority",
                details=UsageDetails(uses={"web_search": 1, "file_search": 1, "code_interpreter": 1}),
            ),
        ),
        (
            AnthropicMessages,
            {
                "type": "message",
                "content": [],
                "stop_reason": "end_turn",
                "usage": {
                    "input_tokens": 3,
                    "output_tokens": 4,
                    "speed": "fast",
                    "service_tier": "standard",
                    "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 0},
                },
            },
            Usage(3, 4, service_tier="fast", details=UsageDetails(uses={"web_search": 2})),
        ),
        (
            Gemini,
            {
                "modelVersion": "gemini-2.5-flash",
                "candidates": [
                    {
                        "content": {"parts": [{"text": "ok"}]},
                        "finishReason": "STOP",
                        "groundingMetadata": {"webSearchQueries": ["a", "b"]},
                    }
                ],
                "usageMetadata": {
                    "promptTokenCount": 10,
                    "candidatesTokenCount": 5,
                    "totalTokenCount": 15,
                    "serviceTier": "flex",
                    "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 8}],
                },
            },
            Usage(
                10,
                5,
                service_tier="flex",
                details=UsageDetails(modality_tokens={"audio_input": 8}, uses={"google_search": 1}),
            ),
        ),
    ],
)
def test_an_answer_tells_how_it_was_served_and_what_was_used(reader: Any, document: Any, expected: Usage) -> None:
    whole = reader().read_whole(json.dumps(document).encode())
    assert last_report(whole).usage == expected


@pytest.mark.feature("COST-13")
def test_newer_gemini_models_are_charged_for_each_query() -> None:
    grounding = {"webSearchQueries": ["a", "b"]}
    document = {
        "modelVersion": "gemini-3.1-pro-preview",
        "candidates": [{"content": {"parts": [{"text": "x"}]}, "finishReason": "STOP", "groundingMetadata": grounding}],
        "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2},
    }
    told = last_report(Gemini().read_whole(json.dumps(document).encode())).usage
    assert charge("gemini", "gemini-3.1-pro-preview", told).fees_nano == 28_000_000


@pytest.mark.feature("COST-13")
def test_compaction_is_added_and_advisors_are_priced_as_themselves() -> None:
    told = usage.read_anthropic(
        {
            "input_tokens": 23_000,
            "output_tokens": 1000,
            "iterations": [
                {"type": "compaction", "input_tokens": 180_000, "output_tokens": 3500},
                {"type": "message", "input_tokens": 23_000, "output_tokens": 1000},
                {"type": "fallback", "input_tokens": 9, "output_tokens": 9},
                {"type": "advisor_message", "model": "claude-haiku-4-5", "input_tokens": 1000, "output_tokens": 100},
                "nonsense",
            ],
        }
    )
    assert told is not None
    assert (told.prompt_tokens, told.completion_tokens) == (203_000, 4500)
    cost = charge("anthropic", "claude-opus-4-6", told)
    assert (cost.nano, cost.status) == (1_127_500_000 + 1_500_000, "priced")
    unknown = Usage(1, 1, details=UsageDetails(other_models=(ModelUsage("nobody-knows", Usage(1, 1)),)))
    assert charge("anthropic", "claude-opus-4-6", unknown).status == "partial"


@pytest.mark.feature("COST-13")
def test_a_long_rounds_price_is_that_of_its_own_length() -> None:
    rounds = (ModelUsage("", Usage(150_000, 0)),)
    told = Usage(300_000, 0, details=UsageDetails(other_models=rounds))
    assert charge("gemini", "gemini-2.5-pro", told).nano == 300_000 * 1250


@pytest.mark.feature("COST-13")
def test_tokens_of_sound_and_pictures_have_rates_of_their_own() -> None:
    told = usage.read_openai(
        {
            "prompt_tokens": 17,
            "completion_tokens": 592,
            "prompt_tokens_details": {"text_tokens": 17, "audio_tokens": 0},
            "completion_tokens_details": {"text_tokens": 110, "audio_tokens": 482},
        }
    )
    cost = charge("openai", "gpt-audio-2025-08-28", told)
    assert (cost.nano, cost.status) == (31_990_500, "priced")
    in_text = charge("openai", "gpt-4.1", Usage(10, 10, details=UsageDetails({"audio_output": 4})))
    assert (in_text.nano, in_text.status) == (10 * 2000 + 6 * 8000, "partial")
    pictures = charge("openai", "gpt-4.1", Usage(10, 0, details=UsageDetails({"image_input": 4})))
    assert (pictures.nano, pictures.status) == (10 * 2000, "priced")


@pytest.mark.feature("COST-13")
def test_cached_sound_stands_in_one_count_alone() -> None:
    rates = Rates(1000, 9000, cache_read=100, audio_input=5000, audio_cache_read=500)
    told = Usage(1000, 0, cache_read_tokens=600, details=UsageDetails({"audio_input": 700, "audio_cache_read": 400}))
    # 300 fresh sound, 400 cached sound, 200 cached text, 100 fresh text
    assert rates.cost_nano(told) == round((300 * 5000 + 400 * 500 + 200 * 100 + 100 * 1000) / MILLION)
    assert rates.charge(told)[1] == ()


@pytest.mark.feature("COST-13")
def test_uses_are_charged_beside_tokens_and_unknown_ones_leave_the_cost_partial() -> None:
    plain_cost = charge("openai", "gpt-5", Usage(1000, 0)).nano
    searched = charge("openai", "gpt-5", Usage(1000, 0, details=UsageDetails(uses={"web_search": 3})))
    assert (searched.nano, searched.fees_nano, searched.status) == (
        (plain_cost or 0) + 30_000_000,
        30_000_000,
        "priced",
    )
    drawn = charge("openai", "gpt-5", Usage(1000, 0, details=UsageDetails(uses={"image_generation": 1})))
    assert (drawn.nano, drawn.fees_nano, drawn.status) == (plain_cost, 0, "partial")
    grounded = Usage(10, 5, details=UsageDetails(uses={"google_search": 1}))
    assert charge("gemini", "gemini-2.5-flash", grounded).nano == 35_015_500
    unlisted = charge("custom", "nobody-knows", Usage(10, 5, details=UsageDetails(uses={"web_search": 1})))
    assert (unlisted.nano, unlisted.status) == (None, "unpriced")
    local = charge("local", "m", Usage(10, 5, details=UsageDetails({"audio_output": 5})))
    assert (local.nano, local.status) == (0, "free")


@pytest.mark.feature("COST-13")
@pytest.mark.parametrize(
    ("told", "nano"),
    [
        ({"cost": Decimal("0.00633")}, 6_330_000),
        ({"cost": "0.00633"}, 6_330_000),
        ({"cost": {"input_tokens_cost": Decimal("0.00003"), "total_cost": Decimal("0.00633")}}, 6_330_000),
        ({"cost": 0, "is_byok": True, "cost_details": {"upstream_inference_cost": Decimal("0.0360795")}}, 36_079_500),
        ({"cost": Decimal("0.001"), "is_byok": True, "cost_details": {"upstream_inference_cost": "0.002"}}, 3_000_000),
        ({"cost": Decimal("0.001"), "is_byok": False, "cost_details": {"upstream_inference_cost": "0.001"}}, 1_000_000),
        ({"cost": 0, "is_byok": True, "cost_details": {}}, None),
        ({"estimated_cost": Decimal("0.0000012")}, 1200),
        ({"cost_in_usd_ticks": 37_756_000}, 3_775_600),
        ({"cost": "1e999999999"}, None),
        ({"cost": "-1"}, None),
        ({"cost": Decimal("-0.1")}, None),
        ({"cost": "9" * 5000}, None),
        ({"cost": Decimal("1e-999999")}, None),
        ({"cost": "NaN"}, None),
        ({"cost": True}, None),
        ({"cost": 2_000_000}, None),
        ({"cost": 0}, 0),
        ({"cost": "0e999999"}, 0),
        ({}, None),
        (None, None),
    ],
)
def test_the_providers_own_cost_is_read_in_every_form_and_nonsense_is_none(told: Any, nano: int | None) -> None:
    assert usage.read_cost_nano(told) == nano


@pytest.mark.feature("COST-13")
def test_a_cost_in_a_header_is_the_providers_word_and_its_zero_says_nothing() -> None:
    answer = {"choices": [{"index": 0, "message": {"content": "a"}, "finish_reason": "stop"}]}
    body = json.dumps(answer | {"usage": {"prompt_tokens": 1, "completion_tokens": 1}}).encode()
    for said, nano in (("0.0021", 2_100_000), ("0", None), ("nonsense", None), (None, None)):
        reader = OpenAIChat()
        reader.note_headers({} if said is None else {"x-litellm-response-cost": said})
        assert last_report(reader.read_whole(body)).cost_nano_usd == nano


@pytest.mark.feature("COST-13")
def test_what_the_provider_says_holds_before_the_shipped_list_but_not_before_a_teams_own_price() -> None:
    assert charge("openai", "gpt-4o", Usage(10, 10), 77).nano == 77
    assert charge("custom", "nobody-knows", Usage(10, 10), 0).nano is None
    assert charge("openrouter", "vendor/free-model", Usage(10, 10), 0).nano == 0


@pytest.mark.feature("COST-13")
def test_a_bound_covers_every_rate_that_a_token_may_be_charged_at() -> None:
    price = build_plain_price(
        "openai", "m", NOW, Rates(1, 2, cache_write=5, reasoning=7, audio_input=11, audio_output=13)
    )
    assert price.rates.bound_nano(MILLION, MILLION, 0) == 24
    assert len(price.dearest_rates(10, "auto")) == 1
    served = BOOK.price("openai", "gpt-5", NOW)
    assert served is not None
    assert {rates.input for rates in served.dearest_rates(10, "priority")} == {1_250_000_000, 2_500_000_000}
    assert len(served.dearest_rates(10, "scale")) == 4  # nobody knows: whatever the list holds


def test_numbers_with_fractions_arrive_exactly() -> None:
    assert usage.read_cost_nano(decode(b'{"cost": 0.00000034}', exact=True)) == 340


@pytest.mark.feature("COST-13")
def test_a_partly_known_cost_is_shown_as_the_least() -> None:
    shown = [format_cost(1_500_000_000, status) for status in ("priced", "estimated", "partial")]
    assert shown == ["$1.50", "≈ $1.50", "≥ $1.50"]
    assert format_cost(None, "unpriced") == "—"
