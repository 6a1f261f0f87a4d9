"""Token counts as each protocol tells them → `Usage`, in one place.

Always: the prompt includes what came from a cache and what went into one, the completion includes reasoning, None is
"not told" and 0 is a zero that was told. OpenAI's family counts cached tokens inside the prompt, Anthropic outside;
Gemini counts thoughts outside the answer; DeepSeek, Groq and others have names of their own.
"""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from lib.money import nano_from_usd
from lib.providers.chunks import Usage

_MOST = 10**9  # tokens: a larger count is none
_MOST_NANO = 10**15  # a million dollars
_PLAIN = frozenset({"prompt_tokens", "completion_tokens", "total_tokens"})


def of_openai(told: Any, images: int = 0) -> Usage | None:
    """From the `usage` of a chat completion, embedding or response: OpenAI's and everybody's who followed."""
    if not isinstance(told, Mapping):
        return None
    if _PLAIN.issuperset(told):
        plain, answer = told.get("prompt_tokens"), told.get("completion_tokens")
        if type(plain) is int and type(answer) is int and 0 <= plain <= _MOST and 0 <= answer <= _MOST:
            return Usage(plain, answer, images=images)
    prompt = _count(told, "prompt_tokens", "input_tokens")
    completion = _count(told, "completion_tokens", "output_tokens")
    if prompt is None:
        return None
    read_in = _parts(told, "prompt_tokens_details", "input_tokens_details", "prompt_token_details")
    written = _parts(told, "completion_tokens_details", "output_tokens_details")
    completion = completion or 0
    read = _largest(read_in, "cached_tokens") or _largest(
        told, "prompt_cache_hit_tokens", "cached_tokens", "num_cached_tokens", "cache_read_input_tokens"
    )
    write = _largest(read_in, "cache_write_tokens", "cache_creation_tokens", "cached_creation_tokens") or _largest(
        told, "cache_creation_input_tokens"
    )
    reasoning = _largest(written, "reasoning_tokens") or _largest(told, "reasoning_tokens")
    if reasoning and _count(told, "total_tokens") == prompt + completion + reasoning:
        completion += reasoning  # xAI and Google's OpenAI door count reasoning beside the answer
    long_write = _largest(_mapping(read_in, "cache_creation_token_details"), "ephemeral_1h_input_tokens")
    return Usage(prompt, completion, read, write, reasoning, min(long_write, write), images)


def of_anthropic(told: Mapping[str, Any], images: int = 0) -> Usage | None:
    """From the `usage` of a message; the cached parts stand beside `input_tokens`."""
    fresh, completion = _count(told, "input_tokens"), _count(told, "output_tokens")
    if fresh is None and completion is None:
        return None
    read, write = _largest(told, "cache_read_input_tokens"), _largest(told, "cache_creation_input_tokens")
    kept = _mapping(told, "cache_creation")
    short, long = _largest(kept, "ephemeral_5m_input_tokens"), _largest(kept, "ephemeral_1h_input_tokens")
    write = max(write, short + long)
    reasoning = _largest(_parts(told, "output_tokens_details"), "thinking_tokens", "reasoning_tokens")
    completion = completion or 0
    return Usage((fresh or 0) + read + write, completion, read, write, reasoning, long, images)


def of_gemini(told: Any, images: int = 0) -> Usage | None:
    """From `usageMetadata`; what tools put into the prompt counts as prompt, thoughts as completion."""
    if not isinstance(told, Mapping) or _count(told, "promptTokenCount", "totalTokenCount") is None:
        return None
    prompt = _largest(told, "promptTokenCount") + _largest(told, "toolUsePromptTokenCount")
    answer, thoughts = (
        _largest(told, "candidatesTokenCount", "responseTokenCount"),
        _largest(told, "thoughtsTokenCount"),
    )
    counted_within = _count(told, "totalTokenCount") == prompt + answer and thoughts <= answer
    completion = answer if counted_within else answer + thoughts
    return Usage(prompt, completion, _largest(told, "cachedContentTokenCount"), 0, thoughts, 0, images)


def of_ollama(told: Mapping[str, Any], images: int = 0) -> Usage | None:
    """From the last line of a chat; a prompt that was wholly in its cache is not counted there, so not told."""
    prompt, completion = _count(told, "prompt_eval_count"), _count(told, "eval_count")
    if prompt is None:
        return None
    return Usage(prompt, completion or 0, images=images)


def cost_nano_usd(told: Any) -> int | None:
    """What the provider says the call costs in dollars (OpenRouter's `cost`), exactly; None where it does not say."""
    cost = told.get("cost") if isinstance(told, Mapping) else None
    if isinstance(cost, bool) or not isinstance(cost, int | str | Decimal):
        return None
    try:
        nano = nano_from_usd(Decimal(cost))
        return nano if abs(nano) <= _MOST_NANO else None
    except (InvalidOperation, ValueError):
        return None


def images_in(messages: list[dict[str, Any]]) -> int:
    """How many images a conversation in OpenAI's shape holds."""
    images = 0
    for message in messages:
        content = message.get("content")
        for part in content if isinstance(content, list) else ():
            images += isinstance(part, Mapping) and part.get("type") in ("image_url", "input_image", "image")
    return images


def _count(told: Mapping[str, Any], *names: str) -> int | None:
    for name in names:
        value = told.get(name)
        if isinstance(value, int | Decimal) and not isinstance(value, bool) and value <= _MOST:
            return max(0, int(value))
    return None


def _largest(told: Mapping[str, Any], *names: str) -> int:
    return max((_count(told, name) or 0 for name in names), default=0)


def _mapping(told: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = told.get(name)
    return value if isinstance(value, Mapping) else {}


def _parts(told: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    return next((parts for name in names if (parts := _mapping(told, name))), {})
