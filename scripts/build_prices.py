"""Make `data/prices/prices.csv` from the price list bundled with the pinned litellm: `python scripts/build_prices.py`.

Run when litellm's pin moves. Prices become integers (nano-dollars per million tokens) by exact decimal arithmetic.
A model listed with both prices at zero is left out: in that list zero mostly stands for "not known". Every price stands
under the name that programs write (`litellm_names`). Ways of serving (flex, priority, batch, fast, regions) become
tiers of their own; where the list names a factor (`us`: 1.1) the tier's rates are the plain ones times it.
"""

import importlib.metadata
import os
import re
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from litellm_names import key_of, known_providers

TARGET = Path(__file__).resolve().parent.parent / "data" / "prices" / "prices.csv"
sys.path.insert(0, str(TARGET.parents[2]))
RATES = {
    "input": "input_cost_per_token",
    "output": "output_cost_per_token",
    "cache_read": "cache_read_input_token_cost",
    "cache_write": "cache_creation_input_token_cost",
    "cache_write_1h": "cache_creation_input_token_cost_above_1hr",
    "reasoning": "output_cost_per_reasoning_token",
    "image": "input_cost_per_image",
    "request": "input_cost_per_request",
    "audio_input": "input_cost_per_audio_token",
    "audio_cache_read": "cache_read_input_audio_token_cost",
    "audio_output": "output_cost_per_audio_token",
    "image_input": "input_cost_per_image_token",
    "image_cache_read": "cache_read_input_image_token_cost",
    "image_output": "output_cost_per_image_token",
    "video_input": "input_cost_per_video_token",
    "video_output": "output_cost_per_video_token",
    "audio_second": "input_cost_per_audio_per_second",
    "video_second": "input_cost_per_video_per_second",
}
_EACH = ("image", "request", "audio_second", "video_second")  # the others are for a million tokens
# The list's suffix → our name of the tier; each of these has prices of its own.
SERVED = {"_batches": "batch", "_flex": "flex", "_priority": "priority", "_ultrafast": "ultrafast"}
_FACTORS = {"regional_processing_uplift_multiplier_eu": "eu", "regional_processing_uplift_multiplier_us": "us"}
_OWN_FACTORS = ("us", "fast")  # in `provider_specific_entry`
_MOST_TIMES = 10  # a tier that is dearer than the plain one by more is a slip of the list
_TIER = re.compile(r"input_cost_per_token_above_(\d+)k_tokens$")


def main() -> None:
    """Write the list."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    import litellm

    from lib.providers.prices.price_list import write
    from lib.providers.prices.rates import Price

    day = sys.argv[1] if len(sys.argv) > 1 else datetime.now(UTC).date().isoformat()
    valid_from = datetime.fromisoformat(day).replace(tzinfo=UTC)
    source = f"litellm-{importlib.metadata.version('litellm')}"
    known = known_providers(litellm)
    found: dict[tuple[str, str], Price] = {}
    for name, entry in litellm.model_cost.items():
        key = key_of(name, entry, known) if is_priced(entry) else None
        if key is not None and (
            key not in found or name in (key[1], "/".join(key))
        ):  # of two names the one that is written
            found[key] = Price(*key, valid_from, tiers_of(entry), source)
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(write(found[key] for key in sorted(found)), encoding="utf-8")
    print(f"{len(found)} prices in {TARGET}")


def is_priced(entry: dict[str, Any]) -> bool:
    """Whether an entry is priced by the token."""
    cost_in, cost_out = entry.get("input_cost_per_token"), entry.get("output_cost_per_token")
    if cost_in is None or (cost_out is None and entry.get("mode") != "embedding"):
        return False
    return bool(cost_in or cost_out)


def tiers_of(entry: dict[str, Any]) -> tuple[Any, ...]:
    """The plain rates, then those of each longer prompt; the same for each way of serving."""
    from lib.providers.prices.rates import Tier

    lengths = [0, *sorted(int(match[1]) for key in entry if (match := _TIER.match(key)))]
    plain: dict[int, dict[str, int | None]] = {}
    for above in lengths:
        stated = _rates(entry, f"_above_{above}k_tokens" if above else "")
        plain[above] = plain.get(0, {}) | stated
    plain[0]["output"] = plain[0].get("output") or 0
    if entry.get("litellm_provider") == "gemini" and entry.get("supports_audio_input"):
        for rates in plain.values():  # ai.google.dev names one price where sound costs what text does
            rates.setdefault("audio_input", rates["input"])
    tiers = {("", above): rates for above, rates in plain.items()}
    for suffix, name in SERVED.items():
        tiers |= _served(entry, suffix, name, plain)
    for name, factor in _factors(entry).items():
        for (tier, above), rates in list(tiers.items()):
            if name == "fast" and "batch" in tier:
                continue  # not to be had together
            tiers["+".join(sorted({*filter(None, tier.split("+")), name})), above] = _times(rates, factor)
    return tuple(Tier(above * 1000, _made(tiers[tier, above]), tier) for tier, above in sorted(tiers))


def _served(
    entry: dict[str, Any], suffix: str, name: str, plain: dict[int, dict[str, int | None]]
) -> dict[tuple[str, int], dict[str, int | None]]:
    """The tiers of a way of serving; a longer prompt without rates of its own costs what it does in the plain way."""
    served: dict[tuple[str, int], dict[str, int | None]] = {}
    first = _rates(entry, suffix)
    if first.get("input") is None or first.get("output") is None:
        return served
    if (first["input"] or 0) > _MOST_TIMES * (plain[0]["input"] or 0):
        return served
    for above, rates in plain.items():
        stated = _rates(entry, f"_above_{above}k_tokens{suffix}") if above else first
        rest = rates
        if entry.get("litellm_provider") == "anthropic":  # "multipliers stack": what the list leaves out, too
            rest = _times(rates, Decimal(first["input"] or 0) / Decimal(plain[0]["input"] or 1))
        served[name, above] = rest | stated
    return served


def _rates(entry: dict[str, Any], suffix: str) -> dict[str, int | None]:
    """Those that are stated."""
    rates = {name: nano(name, entry.get(f"{key}{suffix}")) for name, key in RATES.items()}
    return {name: value for name, value in rates.items() if value is not None}


def _factors(entry: dict[str, Any]) -> dict[str, Decimal]:
    """What a region or speed multiplies every rate by."""
    own = entry.get("provider_specific_entry") or {}
    named = {name: own[name] for name in _OWN_FACTORS if isinstance(own.get(name), int | float)}
    named |= {name: entry[key] for key, name in _FACTORS.items() if isinstance(entry.get(key), int | float)}
    return {name: Decimal(repr(factor)) for name, factor in named.items()}


def _times(rates: dict[str, int | None], factor: Decimal) -> dict[str, int | None]:
    return {name: None if value is None else int((value * factor).to_integral_value()) for name, value in rates.items()}


def _made(rates: dict[str, int | None]) -> Any:
    from lib.providers.prices.rates import Rates

    return Rates(**rates)  # type: ignore[arg-type]  # input and output are stated


def nano(name: str, dollars: float | None) -> int | None:
    """Nano-dollars per million tokens, or each; None stays None."""
    if dollars is None:
        return None
    scale = 10**9 if name in _EACH else 10**15
    return int((Decimal(repr(dollars)) * scale).to_integral_value())


if __name__ == "__main__":
    main()
