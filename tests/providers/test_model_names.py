"""A price is found by every name its model is called by, and never by the name of another model."""

import re
from datetime import UTC, datetime

import pytest

from lib.providers.adapters.via_litellm import load_litellm
from lib.providers.models import Catalogue
from lib.providers.prices.price_book import PriceBook
from lib.providers.prices.rates import Price, Rates, build_plain_price

NOW = datetime(2026, 11, 22, tzinfo=UTC)
LISTED = [
    ("openai", "gpt-4.1"),
    ("openai", "gpt-4o-mini"),
    ("openai", "gpt-4o-mini-2024-07-18"),
    ("openai", "ft:gpt-4o-mini-2024-07-18"),
    ("openai", "ft:gpt-3.5-turbo"),
    ("openai", "gpt-audio-2025-08-28"),
    ("anthropic", "claude-x"),
    ("gemini", "gemini-2.0-flash"),
    ("gemini", "gemini-2.5-flash-preview-09-2025"),
    ("gemini", "gemini-embedding-001"),
    ("mistral", "mistral-small"),
    ("mistral", "devstral-latest"),
    ("deepseek", "deepseek-chat"),
    ("groq", "openai/gpt-oss-120b"),
    ("openrouter", "openai/gpt-4o"),
    ("litellm", "bedrock/anthropic.claude-x-20250929-v1:0"),
    ("litellm", "bedrock/us.anthropic.claude-x-20250929-v1:0"),
    ("litellm", "bedrock/amazon.titan-embed-text-v2:0"),
    ("litellm", "bedrock/eu-west-1/meta.llama3-8b-instruct-v1:0"),
    ("litellm", "bedrock/us-gov-west-1/amazon.nova-pro-v1:0"),
    ("litellm", "bedrock/amazon.nova-pro-v1:0"),
    ("litellm", "vertex_ai/claude-x"),
    ("litellm", "vertex_ai/gemini-2.0-flash"),
    ("litellm", "cohere/command-r-08-2024"),
    ("litellm", "azure/gpt-4o"),
    ("litellm", "azure/us/gpt-4o"),
    ("litellm", "fireworks_ai/accounts/fireworks/models/qwen3-8b"),
    ("litellm", "replicate/meta/llama-3-8b"),
]
BOOK = PriceBook([build_plain_price(kind, name, NOW, Rates(1, 1)) for kind, name in LISTED])


@pytest.mark.feature("COST-1")
@pytest.mark.parametrize(
    ("kind", "called", "listed"),
    [
        ("openai", "openai/gpt-4.1", "gpt-4.1"),
        ("openai", "responses/gpt-4.1-2025-04-14", "gpt-4.1"),
        ("openai", "ft:gpt-4o-mini-2024-07-18:acme:support:Abc12345", "ft:gpt-4o-mini-2024-07-18"),
        ("openai", "ft:gpt-4o-mini-2024-07-18:acme::Abc12345", "ft:gpt-4o-mini-2024-07-18"),
        ("openai", "ft:gpt-4o-mini-2024-07-18:acme::Abc12345:ckpt-step-90", "ft:gpt-4o-mini-2024-07-18"),
        ("openai", "ft:gpt-3.5-turbo:acme::Abc12345", "ft:gpt-3.5-turbo"),
        ("openai", "gpt-audio", "gpt-audio-2025-08-28"),
        ("anthropic", "claude-x-20250929", "claude-x"),
        ("anthropic", "claude-x-latest", "claude-x"),
        ("gemini", "models/gemini-2.0-flash-001", "gemini-2.0-flash"),
        ("gemini", "gemini-2.5-flash-preview", "gemini-2.5-flash-preview-09-2025"),
        ("gemini", "gemini/gemini-2.0-flash", "gemini-2.0-flash"),
        ("mistral", "mistral-small-latest", "mistral-small"),
        ("mistral", "devstral", "devstral-latest"),
        ("openrouter", "openai/gpt-4o:nitro", "openai/gpt-4o"),
        ("openrouter", "openai/gpt-4o:online", "openai/gpt-4o"),
        ("openrouter", "openrouter/openai/gpt-4o:floor", "openai/gpt-4o"),
        ("openrouter", "openai/gpt-4o-2024-08-06", "openai/gpt-4o"),
        ("litellm", "openai/gpt-4.1", "gpt-4.1"),
        ("litellm", "gpt-4.1-2025-04-14", "gpt-4.1"),
        ("litellm", "openrouter/openai/gpt-4o:nitro", "openai/gpt-4o"),
        ("litellm", "bedrock/converse/anthropic.claude-x-20250929-v1:0", "bedrock/anthropic.claude-x-20250929-v1:0"),
        ("litellm", "bedrock_converse/anthropic.claude-x-20250929-v1:0", "bedrock/anthropic.claude-x-20250929-v1:0"),
        ("litellm", "anthropic.claude-x-20250929-v1:0", "bedrock/anthropic.claude-x-20250929-v1:0"),
        ("litellm", "bedrock/global.anthropic.claude-x-20250929-v1:0", "bedrock/anthropic.claude-x-20250929-v1:0"),
        ("litellm", "bedrock/eu.anthropic.claude-x-20250929-v1:0", "bedrock/us.anthropic.claude-x-20250929-v1:0"),
        (
            "litellm",
            "bedrock/arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-x-20250929-v1:0",
            "bedrock/us.anthropic.claude-x-20250929-v1:0",
        ),
        ("litellm", "bedrock/amazon.titan-embed-text-v2:0:8k", "bedrock/amazon.titan-embed-text-v2:0"),
        ("litellm", "bedrock/us-east-1/amazon.titan-embed-text-v2:0", "bedrock/amazon.titan-embed-text-v2:0"),
        ("litellm", "bedrock/us-gov.amazon.nova-pro-v1:0", "bedrock/us-gov-west-1/amazon.nova-pro-v1:0"),
        ("litellm", "vertex_ai/claude-x@20250929", "vertex_ai/claude-x"),
        ("litellm", "vertex_ai/claude-x@default", "vertex_ai/claude-x"),
        ("litellm", "vertex_ai_beta/gemini-2.0-flash-001", "vertex_ai/gemini-2.0-flash"),
        ("litellm", "vertex_ai/publishers/google/models/gemini-2.0-flash", "vertex_ai/gemini-2.0-flash"),
        ("litellm", "cohere_chat/command-r-08-2024", "cohere/command-r-08-2024"),
        ("litellm", "command-r-08-2024", "cohere/command-r-08-2024"),
        ("litellm", "azure/responses/gpt-4o", "azure/gpt-4o"),
        ("litellm", "azure/global/gpt-4o-2024-08-06", "azure/gpt-4o"),
        ("litellm", "azure/eu/gpt-4o", "azure/us/gpt-4o"),
        ("litellm", "fireworks_ai/qwen3-8b", "fireworks_ai/accounts/fireworks/models/qwen3-8b"),
        ("litellm", f"replicate/meta/llama-3-8b:{'0a' * 32}", "replicate/meta/llama-3-8b"),
    ],
)
def test_a_model_is_found_by_every_form_of_its_name(kind: str, called: str, listed: str) -> None:
    price = BOOK.price(kind, called, NOW)
    assert price is not None
    assert price.model == listed


@pytest.mark.feature("COST-1")
@pytest.mark.parametrize(
    ("kind", "called"),
    [
        ("openai", "ft:gpt-4.1:acme::Abc12345"),  # a fine-tune without an entry is not its base
        ("openai", "gpt-4.1:ft-acme-2024-01-01"),
        ("openai", "gpt-4.1-mini"),
        ("openai", "gpt-audio-2027-01-01"),  # another snapshot than those listed
        ("mistral", "ft:mistral-small:acme:20240531:x"),
        ("gemini", "tunedModels/gemini-2.0-flash"),
        ("gemini", "gemini-2.5-flash-preview-04-17"),
        ("gemini", "gemini-embedding-002"),
        ("groq", "gpt-oss-120b"),
        ("openrouter", "openai/gpt-4o:extended"),
        ("openrouter", "openai/gpt-4o@preset/mine"),
        ("openrouter", "@preset/mine"),
        ("litellm", "azure/my-deployment"),
        ("litellm", "azure/gpt-4o.ft-0e208cf33a6a466994aff31a08aba678"),
        ("litellm", "bedrock/arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc"),
        ("litellm", "bedrock/us-east-1/1-month-commitment/amazon.nova-pro-v1:0"),
        ("litellm", "bedrock/amazon.titan-embed-text-v1"),
        ("litellm", "bedrock/us-gov.anthropic.claude-x-20250929-v1:0"),
        ("litellm", "vertex_ai/gemini/1234567890"),
        ("litellm", "fireworks_ai/accounts/acme/models/qwen3-8b"),
        ("litellm", "cohere/command-r"),
        ("custom", "gpt-4.1"),
    ],
)
def test_what_is_another_model_has_no_price(kind: str, called: str) -> None:
    assert BOOK.price(kind, called, NOW) is None


@pytest.mark.feature("COST-1")
@pytest.mark.parametrize(
    ("kind", "called"),
    [
        ("openrouter", "openai/gpt-4o:free"),
        ("openrouter", "openai/gpt-4o:free:online"),
        ("openrouter", "openrouter/free"),
        ("litellm", "openrouter/openai/gpt-4o:free"),
    ],
)
def test_what_is_named_free_is_free(kind: str, called: str) -> None:
    price = BOOK.price(kind, called, NOW)
    assert price is not None
    assert price.is_free


@pytest.mark.feature("COST-1")
def test_a_models_facts_are_found_by_the_same_names() -> None:
    catalogue = Catalogue()
    for called in ("bedrock/converse/anthropic.claude-opus-5", "bedrock/us-east-1/anthropic.claude-opus-5"):
        facts = catalogue.find("litellm", called)
        assert facts is not None
        assert facts.context_tokens
        assert facts.model == called


def _written(price: Price) -> list[str]:
    """The ways a program may write a listed name; a plain reading of the providers' documents."""
    names = [price.model]
    if price.kind != "litellm":
        names.append(f"{price.kind}/{price.model}")
    if price.model.startswith("ft:"):
        names += [f"{price.model}:acme::AbC123", f"{price.model}:acme:suffix:AbC123"]
    if price.kind == "gemini":
        names.append(f"models/{price.model}")
    if re.match(r"bedrock/(?!us-gov-|[a-z]{2}-[a-z]+-\d/)", price.model):
        names.append(price.model.replace("bedrock/", "bedrock/converse/"))
    return names


@pytest.mark.feature("COST-1")
def test_every_shipped_price_stands_under_a_name_that_programs_write() -> None:
    book, litellm = PriceBook(), load_litellm()
    from litellm.llms.openai_like.json_loader import JSONProviderRegistry

    known = {str(getattr(provider, "value", provider)) for provider in litellm.provider_list} | set(
        JSONProviderRegistry.list_providers()
    )
    for kind, model in book.shipped:
        if model.startswith("tool:"):
            continue  # a fee, no model
        price = book.shipped[kind, model][-1]
        assert kind != "litellm" or model.partition("/")[0] in known, model
        for name in _written(price):
            assert book.price(kind, name, NOW) == price, name
        if kind != "litellm":
            assert book.price("litellm", f"{kind}/{model}", NOW) == price
