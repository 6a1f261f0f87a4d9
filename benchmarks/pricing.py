"""Pricing a call: microseconds, with the ratio to litellm's own cost function in the same run.

    .venv/bin/python benchmarks/pricing.py

The exit status is 1 when a call takes longer than 50 µs to price.
"""

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lib.clock import utc_now
from lib.providers.adapters.via_litellm import load_litellm
from lib.providers.chunks import Usage
from lib.providers.prices.price_book import PriceBook

LIMIT_US, ROUNDS, CALLS = 50.0, 7, 2000
MODEL = "claude-sonnet-4-5-20250929"


def microseconds(act: Callable[[], object]) -> float:
    """The median of several rounds, per call."""
    act()
    rounds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(CALLS):
            act()
        rounds.append((time.perf_counter() - began) / CALLS * 1e6)
    return statistics.median(rounds)


def main() -> int:
    """Measure and print."""
    litellm, book, now = load_litellm(), PriceBook(), utc_now()
    usage = Usage(12_000, 800, cache_read_tokens=10_000, cache_write_tokens=500, cache_write_1h_tokens=100)

    def ours() -> object:
        return book.cost(book.price("anthropic", MODEL, now), usage)

    def theirs() -> object:
        return litellm.cost_per_token(
            model=MODEL,
            custom_llm_provider="anthropic",
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            cache_read_input_tokens=usage.cache_read_tokens,
            cache_creation_input_tokens=usage.cache_write_tokens,
        )

    mine, reference = microseconds(ours), microseconds(theirs)
    verdict = "ok" if mine <= LIMIT_US else "OVER"
    print(f"{'what':<24}{'value':>12}{'limit':>12}{'':>8}  {'ratio':>6}  to")
    print(f"{'pricing a call':<24}{mine:>9.1f} µs{LIMIT_US:>9.0f} µs{verdict:>8}  {mine / reference:>6.2f}  ", end="")
    print("litellm.cost_per_token")
    return 0 if mine <= LIMIT_US else 1


if __name__ == "__main__":
    sys.exit(main())
