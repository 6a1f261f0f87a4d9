"""Make `data/prices/prices.csv` from the price list bundled with the pinned litellm: `python scripts/build_prices.py`.

Run when litellm's pin moves. Prices become integers (nano-dollars per million tokens) by exact decimal arithmetic.
A model listed with both prices at zero is left out: in that list zero mostly stands for "not known".
"""

import importlib.metadata
import os
import re
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

TARGET = Path(__file__).resolve().parent.parent / "data" / "prices" / "prices.csv"
OWN_KINDS = {"openai", "anthropic", "gemini", "groq", "mistral", "deepseek", "openrouter"}
ALIASES = {"text-completion-openai": "openai"}
MODES = {"chat", "completion", "responses", "embedding"}
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
}
_PER_MILLION = {name for name in RATES if name not in ("image", "request")}
_TIER = re.compile(r"input_cost_per_token_above_(\d+)k_tokens$")


def main() -> None:
    """Write the list."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    import litellm

    from lib.providers.price_list import write
    from lib.providers.prices import Price

    day = sys.argv[1] if len(sys.argv) > 1 else datetime.now(UTC).date().isoformat()
    valid_from = datetime.fromisoformat(day).replace(tzinfo=UTC)
    source = f"litellm-{importlib.metadata.version('litellm')}"
    found: dict[tuple[str, str], Price] = {}
    for name, entry in litellm.model_cost.items():
        if (key := key_of(name, entry)) is not None:
            found[key] = Price(*key, valid_from, tiers_of(entry), source)
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(write(found[key] for key in sorted(found)), encoding="utf-8")
    print(f"{len(found)} prices in {TARGET}")


def key_of(name: str, entry: dict[str, Any]) -> tuple[str, str] | None:
    """Kind and model, or None when the model is not priced by the token."""
    provider = ALIASES.get(entry.get("litellm_provider", ""), entry.get("litellm_provider", ""))
    cost_in, cost_out = entry.get("input_cost_per_token"), entry.get("output_cost_per_token")
    if entry.get("mode") not in MODES or cost_in is None or provider == "ollama":
        return None
    if (cost_out is None and entry["mode"] != "embedding") or not (cost_in or cost_out):
        return None
    prefixed = name if name.startswith(f"{provider}/") else f"{provider}/{name}"
    return (provider, prefixed.removeprefix(f"{provider}/")) if provider in OWN_KINDS else ("litellm", prefixed)


def tiers_of(entry: dict[str, Any]) -> tuple[Any, ...]:
    """The plain rates, then those of each longer prompt."""
    from lib.providers.prices import Rates, Tier

    plain = {name: nano(name, entry.get(key)) for name, key in RATES.items()}
    plain["output"] = plain["output"] or 0
    tiers = [Tier(0, Rates(**plain))]
    for above in sorted(int(match[1]) for key in entry if (match := _TIER.match(key))):
        rates = {name: nano(name, entry.get(f"{key}_above_{above}k_tokens")) for name, key in RATES.items()}
        stated = {name: value for name, value in rates.items() if value is not None}
        tiers.append(Tier(above * 1000, Rates(**(plain | stated))))
    return tuple(tiers)


def nano(name: str, dollars: float | None) -> int | None:
    """Nano-dollars per million tokens, or each; None stays None."""
    if dollars is None:
        return None
    scale = 10**15 if name in _PER_MILLION else 10**9
    return int((Decimal(repr(dollars)) * scale).to_integral_value())


if __name__ == "__main__":
    main()
