"""What an answer says that it used → `Usage`, in one place, for every protocol.

Always: the prompt includes what came from a cache and what went into one, the completion includes reasoning, None is
"not told" and 0 is a zero that was told. OpenAI's family counts cached tokens inside the prompt, Anthropic outside;
Gemini counts thoughts outside the answer; DeepSeek, Groq and others have names of their own. What is billed beside
plain text (tokens of sound and pictures, uses of tools that the provider runs, rounds that the top-level counts leave
out) goes into `Usage.details`.
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal, DecimalException
from typing import Any

from msgspec.structs import replace

from lib.money import convert_usd_to_nano
from lib.providers.chunks import ModelUsage, Usage, UsageDetails
from lib.providers.prices.service_tiers import name_service_tier

_MOST = 10**9  # tokens: a larger count is none
_MOST_NANO = 10**15  # a million dollars
_LONGEST_NUMBER = 40  # characters of a number that is money
_LEAST_EXPONENT = -30
_GREATEST_EXPONENT = 7
_PLAIN = frozenset({"prompt_tokens", "completion_tokens", "total_tokens"})
_READ_DETAILS = ("prompt_tokens_details", "input_tokens_details", "prompt_token_details", "input_token_details")
_WRITTEN_DETAILS = ("completion_tokens_details", "output_tokens_details", "output_token_details")
_MODALITIES = ("audio", "image", "video")
_MOST_ROUNDS = 200
# Perplexity, OpenAI's own rounding aside: one field or an object of parts (docs.perplexity.ai); DeepInfra's
# `estimated_cost`; xAI's ticks of 10^-10 dollars.
_WHOLE_COSTS = ("total_cost", "total")
_TICKS_PER_USD = 10**10


def read_openai(reported: Any, images: int = 0, service_tier: Any = None) -> Usage | None:
    """From the `usage` of a chat completion, embedding or response: OpenAI's and everybody's who followed."""
    if not isinstance(reported, Mapping):
        return None
    if _PLAIN.issuperset(reported):
        plain = reported.get("prompt_tokens")
        answer = reported.get("completion_tokens")
        if type(plain) is int and type(answer) is int and 0 <= plain <= _MOST and 0 <= answer <= _MOST:
            return Usage(plain, answer, images=images, service_tier=name_service_tier(service_tier))
    prompt = _count(reported, "prompt_tokens", "input_tokens")
    completion = _count(reported, "completion_tokens", "output_tokens")
    if prompt is None:
        return None
    read_in = _find_parts(reported, *_READ_DETAILS)
    written = _find_parts(reported, *_WRITTEN_DETAILS)
    completion = completion or 0
    read = _read_largest(read_in, "cached_tokens") or _read_largest(
        reported, "prompt_cache_hit_tokens", "cached_tokens", "num_cached_tokens", "cache_read_input_tokens"
    )
    write = _read_largest(
        read_in, "cache_write_tokens", "cache_creation_tokens", "cached_creation_tokens"
    ) or _read_largest(reported, "cache_creation_input_tokens")
    reasoning = _read_largest(written, "reasoning_tokens") or _read_largest(reported, "reasoning_tokens")
    if reasoning and _count(reported, "total_tokens") == prompt + completion + reasoning:
        completion += reasoning  # xAI and Google's OpenAI door count reasoning beside the answer
    long_write = min(
        _read_largest(_read_mapping(read_in, "cache_creation_token_details"), "ephemeral_1h_input_tokens"), write
    )
    tier = name_service_tier(service_tier, reported.get("service_tier"))
    details = _build_details(_count_openai_modalities(read_in, written), _count_openai_uses(reported))
    return Usage(prompt, completion, read, write, reasoning, long_write, images, tier, details)


def read_anthropic(reported: Mapping[str, Any], images: int = 0) -> Usage | None:
    """From the `usage` of a message; the cached parts stand beside `input_tokens`.

    The top-level counts leave out what the entries of `iterations` say of compaction, and of other models that were
    consulted (platform.claude.com, context compaction, "understanding usage"): they are added, the others as rounds of
    their own. A fallback that was declined is not billed.
    """
    usage = _read_anthropic_counts(reported, images)
    if usage is None:
        return None
    tier = name_service_tier(reported.get("service_tier"), reported.get("speed"), reported.get("inference_geo"))
    rounds = tuple(_yield_rounds(reported))
    counts = _read_mapping(reported, "server_tool_use")
    uses = {
        name.removesuffix("_requests"): _read_largest(counts, name) for name in counts if name.endswith("_requests")
    }
    details = _build_details({}, uses, rounds)
    within = [usage] + [part.usage for part in rounds if not part.model]
    return Usage(
        sum(part.prompt_tokens for part in within),
        sum(part.completion_tokens for part in within),
        sum(part.cache_read_tokens for part in within),
        sum(part.cache_write_tokens for part in within),
        usage.reasoning_tokens,
        sum(part.cache_write_1h_tokens for part in within),
        images,
        tier,
        details,
    )


def _read_anthropic_counts(reported: Mapping[str, Any], images: int = 0) -> Usage | None:
    """The counts of a message, or of one of its iterations."""
    fresh = _count(reported, "input_tokens")
    completion = _count(reported, "output_tokens")
    if fresh is None and completion is None:
        return None
    read = _read_largest(reported, "cache_read_input_tokens")
    write = _read_largest(reported, "cache_creation_input_tokens")
    by_age = _read_mapping(reported, "cache_creation")
    short = _read_largest(by_age, "ephemeral_5m_input_tokens")
    long = _read_largest(by_age, "ephemeral_1h_input_tokens")
    write = max(write, short + long)
    reasoning = _read_largest(_find_parts(reported, "output_tokens_details"), "thinking_tokens", "reasoning_tokens")
    completion = completion or 0
    return Usage((fresh or 0) + read + write, completion, read, write, reasoning, long, images)


def _yield_rounds(reported: Mapping[str, Any]) -> Iterator[ModelUsage]:
    """The rounds that the top-level counts leave out; the model's name is empty for the answering one."""
    entries = reported.get("iterations")
    for entry in entries[:_MOST_ROUNDS] if isinstance(entries, list) else ():
        if not isinstance(entry, Mapping):
            continue
        kind = str(entry.get("type") or "message")
        model = entry.get("model") if kind.startswith("advisor") else ""
        if kind.startswith(("message", "fallback")) or (usage := _read_anthropic_counts(entry)) is None:
            continue
        yield ModelUsage(model if isinstance(model, str) else "", usage)


def read_gemini(reported: Any, images: int = 0, uses: Mapping[str, int] | None = None) -> Usage | None:
    """From `usageMetadata`; what tools put into the prompt counts as prompt, thoughts as completion."""
    if not isinstance(reported, Mapping) or _count(reported, "promptTokenCount", "totalTokenCount") is None:
        return None
    prompt = _read_largest(reported, "promptTokenCount") + _read_largest(reported, "toolUsePromptTokenCount")
    answer = _read_largest(reported, "candidatesTokenCount", "responseTokenCount")
    thoughts = _read_largest(reported, "thoughtsTokenCount")
    counted_within = _count(reported, "totalTokenCount") == prompt + answer and thoughts <= answer
    completion = answer if counted_within else answer + thoughts
    tier = name_service_tier(reported.get("serviceTier"), reported.get("trafficType"))
    details = _build_details(_count_gemini_modalities(reported), uses or {})
    return Usage(
        prompt, completion, _read_largest(reported, "cachedContentTokenCount"), 0, thoughts, 0, images, tier, details
    )


def read_ollama(reported: Mapping[str, Any], images: int = 0) -> Usage | None:
    """From the last line of a chat; a prompt that was wholly in its cache is not counted there, so not told."""
    prompt = _count(reported, "prompt_eval_count")
    completion = _count(reported, "eval_count")
    if prompt is None:
        return None
    return Usage(prompt, completion or 0, images=images)


def add_uses(usage: Usage, uses: Mapping[str, int]) -> Usage:
    """A usage with what an answer shows to have been used beside its tokens; a count that was told holds."""
    details = usage.details or UsageDetails()
    counted = {name[:40]: count for name, count in uses.items() if count}
    return replace(usage, details=replace(details, uses=counted | details.uses)) if counted else usage


def read_cost_nano(reported: Any) -> int | None:
    """Read the exact cost of a call that the provider reports, in nano-dollars; None where there is none, or nonsense.

    A number, a text or an object of parts, in the fields of OpenRouter (`cost`; with a key of one's own the upstream's
    `cost_details.upstream_inference_cost` is charged beside it), Perplexity, DeepInfra and xAI.
    """
    if not isinstance(reported, Mapping):
        return None
    cost = reported.get("cost")
    if isinstance(cost, Mapping):
        cost = next((cost[name] for name in _WHOLE_COSTS if cost.get(name) is not None), None)
    nano = convert_to_nano(cost)
    if reported.get("is_byok") is True:
        upstream = convert_to_nano(_read_mapping(reported, "cost_details").get("upstream_inference_cost"))
        return (nano or 0) + upstream if upstream is not None else nano or None
    if nano is None:
        nano = convert_to_nano(reported.get("estimated_cost"))
    ticks = reported.get("cost_in_usd_ticks")
    if nano is None and type(ticks) is int and 0 <= ticks <= _MOST_NANO * 10:
        nano = convert_usd_to_nano(Decimal(ticks) / _TICKS_PER_USD)
    return nano


def convert_to_nano(amount: Any) -> int | None:
    """Dollars as nano-dollars; None for what is no number, negative or beyond any call's cost."""
    if isinstance(amount, bool) or not isinstance(amount, int | str | Decimal):
        return None
    if isinstance(amount, int):
        return amount * 10**9 if 0 <= amount * 10**9 <= _MOST_NANO else None
    if isinstance(amount, str) and len(amount) > _LONGEST_NUMBER:
        return None
    try:
        usd = Decimal(amount)
        if not usd.is_finite() or usd < 0 or not _LEAST_EXPONENT <= usd.adjusted() <= _GREATEST_EXPONENT:
            return 0 if usd.is_finite() and usd == 0 else None
        nano = convert_usd_to_nano(usd)
    except (DecimalException, ValueError):
        return None
    return nano if nano <= _MOST_NANO else None


def count_images(messages: list[dict[str, Any]]) -> int:
    """How many images a conversation in OpenAI's shape holds."""
    images = 0
    for message in messages:
        content = message.get("content")
        for part in content if isinstance(content, list) else ():
            images += isinstance(part, Mapping) and part.get("type") in ("image_url", "input_image", "image")
    return images


def _build_details(
    modality_tokens: Mapping[str, int], uses: Mapping[str, int], rounds: tuple[ModelUsage, ...] = ()
) -> UsageDetails | None:
    """Gather what is billed beside plain text: tokens by modality, uses by name, other models; None if nothing is."""
    tokens = {name: count for name, count in modality_tokens.items() if count}
    counted = {name[:40]: count for name, count in uses.items() if count}
    return UsageDetails(tokens, {}, counted, rounds) if tokens or counted or rounds else None


def _count_openai_modalities(read_in: Mapping[str, Any], written: Mapping[str, Any]) -> dict[str, int]:
    """Tokens that are no text, by the name of their rate."""
    cached = _read_mapping(read_in, "cached_tokens_details")
    counts: dict[str, int] = {}
    for kind in _MODALITIES:
        for details, name in ((read_in, "input"), (cached, "cache_read"), (written, "output")):
            if count := _read_largest(details, f"{kind}_tokens"):
                counts[f"{kind}_{name}"] = count
    return counts


def _count_openai_uses(reported: Mapping[str, Any]) -> dict[str, int]:
    """Count what the reported usage says is charged by the piece, by the fee's name.

    Among them are the searches of OpenRouter and xAI and the connectors of Mistral.
    """
    counts = _read_mapping(reported, "server_tool_use")
    uses = {
        name.removesuffix("_requests"): _read_largest(counts, name) for name in counts if name.endswith("_requests")
    }
    uses |= {
        str(name): _read_largest(_read_mapping(reported, "connectors"), name)
        for name in _read_mapping(reported, "connectors")
    }
    for field, use in (("num_search_queries", "web_search"), ("num_sources_used", "live_search")):
        if count := _read_largest(reported, field):
            uses[use] = count
    if count := _read_largest(reported, "search_units") or _read_largest(
        _read_mapping(reported, "billed_units"), "search_units"
    ):
        uses["search_unit"] = count
    return uses


def _count_gemini_modalities(reported: Mapping[str, Any]) -> dict[str, int]:
    """Tokens that are no text, by the name of their rate."""
    counts: dict[str, int] = {}
    for field, name in (
        ("promptTokensDetails", "input"),
        ("toolUsePromptTokensDetails", "input"),
        ("cacheTokensDetails", "cache_read"),
        ("candidatesTokensDetails", "output"),
        ("responseTokensDetails", "output"),
    ):
        entries = reported.get(field)
        for entry in entries if isinstance(entries, list) else ():
            if isinstance(entry, Mapping) and (kind := str(entry.get("modality")).lower()) in _MODALITIES:
                rate = f"{kind}_{name}"
                counts[rate] = counts.get(rate, 0) + _read_largest(entry, "tokenCount")
    return counts


def _count(counts: Mapping[str, Any], *names: str) -> int | None:
    for name in names:
        value = counts.get(name)
        if isinstance(value, int | Decimal) and not isinstance(value, bool) and value <= _MOST:
            return max(0, int(value))
    return None


def _read_largest(counts: Mapping[str, Any], *names: str) -> int:
    return max((_count(counts, name) or 0 for name in names), default=0)


def _read_mapping(counts: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = counts.get(name)
    return value if isinstance(value, Mapping) else {}


def _find_parts(counts: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    return next((parts for name in names if (parts := _read_mapping(counts, name))), {})
