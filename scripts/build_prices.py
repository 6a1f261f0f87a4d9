"""Make `data/prices/prices.csv` from the price list bundled with the pinned litellm: `python scripts/build_prices.py`.

Run when litellm's pin moves. Prices become integers (nano-dollars per million tokens) by exact decimal arithmetic.
A model listed with both prices at zero is left out: in that list zero mostly stands for "not known". Every price stands
under the name that programs write (`litellm_names`).
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
