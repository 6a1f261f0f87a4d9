"""How a call is served, where that changes its price: one word or several joined by `+`, such as `flex` or `fast+us`.

Providers tell it in several fields and words: OpenAI's `service_tier` (auto, default, flex, priority, scale; `fast` is
another word for priority), Anthropic's `service_tier`, `speed` and `inference_geo`, Gemini's `serviceTier` and Vertex'
`trafficType`, Groq's `on_demand`. Here they are one canonical text. `default` means the plain price was told to hold,
the empty text that nobody told anything.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from lib.providers.kinds import ProviderKind

PLAIN = "default"
BATCH = "batch"
_PLAIN_WORDS = frozenset(
    [
        "default",
        "standard",
        "standard_only",
        "on_demand",
        "auto",
        "global",
        "not_available",
        "unspecified",
        "none",
        "null",
    ]
)
_SAME = {"batches": BATCH, "provisioned_throughput": "provisioned", "on_demand_priority": "priority"} | {
    "on_demand_flex": "flex",
    "performance": "priority",
}
KNOWN_TIERS = (PLAIN, BATCH, "flex", "priority", "scale", "fast", "us", "eu")  # the usual ones
_LONGEST = 32  # as the ledger's column
# Groq: flex has the price of on demand and other limits (console.groq.com/docs/flex-processing).
_SAME_PRICE = {ProviderKind.GROQ: frozenset({"flex"})}
_REGIONS = ("eu", "us")
_REGIONAL_HOST = "api.openai.com"


def name_service_tier(*words: Any) -> str:
    """The canonical text of what a provider's fields say, in any order and spelling; unknown words stay as they are."""
    canonical_names = {_standardise_word(word) for word in words if isinstance(word, str) and word.strip()}
    if not canonical_names:
        return ""
    return "+".join(sorted(canonical_names - {PLAIN}))[:_LONGEST] or PLAIN


def name_asked_tier(kind: str, parameters: Mapping[str, Any], base_url: str = "") -> str:
    """How a request wants to be served, for the bound of its cost; `auto` may be anything that the project allows."""
    words = [parameters.get("service_tier"), parameters.get("speed"), parameters.get("inference_geo")]
    extra = parameters.get("extra_body")
    if isinstance(extra, Mapping):
        words += [extra.get("service_tier"), extra.get("speed"), extra.get("inference_geo")]
    region = find_region(kind, base_url)
    return name_service_tier(*words, *([region] if region else []))


def find_region(kind: str, base_url: str) -> str:
    """`eu` or `us` where a regional address of OpenAI is called, which costs a tenth more for newer models."""
    if kind != ProviderKind.OPENAI or not base_url:
        return ""
    host = urlsplit(base_url).hostname or ""
    region, _, domain = host.partition(".")
    return region if domain == _REGIONAL_HOST and region in _REGIONS else ""


def name_priced_tier(kind: str, service_tier: str, region: str = "") -> str:
    """The tier whose rates hold for a call of a provider's kind: empty for the plain ones."""
    words = {word for word in service_tier.split("+") if word and word != PLAIN}
    if kind == ProviderKind.OPENAI and "fast" in words:
        words = words - {"fast"} | {"priority"}
    words -= _SAME_PRICE.get(ProviderKind(kind), frozenset()) if kind in set(ProviderKind) else frozenset()
    return "+".join(sorted(words | ({region} if region else set())))


def _standardise_word(word: str) -> str:
    lowered = word.strip().lower()
    return PLAIN if lowered in _PLAIN_WORDS else _SAME.get(lowered, lowered)
