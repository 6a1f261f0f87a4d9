"""Make `data/prices/prices.csv` from the price list bundled with the pinned litellm: `python scripts/build_prices.py`.

Run when litellm's pin moves. Prices become integers (nano-dollars per million tokens) by exact decimal arithmetic.
A model listed with both prices at zero is left out: in that list zero mostly stands for "not known".
"""

import csv
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
COLUMNS = [
    "kind",
    "model",
    "input",
    "output",
    "cache_read",
    "cache_write",
    "tier_tokens",
    "tier_input",
    "tier_output",
    "tier_cache_read",
    "tier_cache_write",
]
_TIER = re.compile(r"input_cost_per_token_above_(\d+)k_tokens$")


def main() -> None:
    """Write the list."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    import litellm

    rows = sorted({row[:2]: row for name, entry in litellm.model_cost.items() if (row := row_of(name, entry))}.values())
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    day = sys.argv[1] if len(sys.argv) > 1 else datetime.now(UTC).date().isoformat()
    with TARGET.open("w", newline="", encoding="utf-8") as file:
        file.write(f"# valid_from={day} source=litellm-{importlib.metadata.version('litellm')}\n")
        file.write(
            "# Nano-dollars per million tokens; empty = not stated. tier_*: the whole call, once its prompt has\n"
        )
        file.write("# more than tier_tokens tokens.\n")
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows)
    print(f"{len(rows)} prices in {TARGET}")


def row_of(name: str, entry: dict[str, Any]) -> tuple[str, ...] | None:
    """The line of one model, or None when it is not priced by the token."""
    provider = ALIASES.get(entry.get("litellm_provider", ""), entry.get("litellm_provider", ""))
    cost_in, cost_out = entry.get("input_cost_per_token"), entry.get("output_cost_per_token")
    if entry.get("mode") not in MODES or cost_in is None or provider == "ollama":
        return None
    if cost_out is None and entry["mode"] != "embedding":
        return None
    if not cost_in and not cost_out:
        return None
    prefixed = name if name.startswith(f"{provider}/") else f"{provider}/{name}"
    kind, model = (provider, prefixed.removeprefix(f"{provider}/")) if provider in OWN_KINDS else ("litellm", prefixed)
    tiers = sorted(int(match[1]) for key in entry if (match := _TIER.match(key)))
    suffix = f"_above_{tiers[0]}k_tokens" if tiers else None
    return (
        kind,
        model,
        *(nano(entry.get(key)) for key in ("input_cost_per_token", "output_cost_per_token")),
        *(nano(entry.get(key)) for key in ("cache_read_input_token_cost", "cache_creation_input_token_cost")),
        str(tiers[0] * 1000) if tiers else "",
        *(
            nano(entry.get(key + suffix)) if suffix else ""
            for key in (
                "input_cost_per_token",
                "output_cost_per_token",
                "cache_read_input_token_cost",
                "cache_creation_input_token_cost",
            )
        ),
    )


def nano(per_token: float | None) -> str:
    """Dollars per token as nano-dollars per million tokens; empty for None."""
    return "" if per_token is None else str(int((Decimal(repr(per_token)) * 10**15).to_integral_value()))


if __name__ == "__main__":
    main()
