"""The most a call can cost, known before it is sent: what a hard budget holds for it.

The prompt is bounded by what it holds (`lib.tokens.prompt_tokens`) and charged in the dearest way a prompt token can
be. The answer is bounded by the ceiling the provider is told; without one no bound holds, so a call under a hard budget
sends one: its own `max_tokens`, else the model's longest answer, else `DEFAULT_CEILING`.
"""

import math
from collections.abc import Mapping
from typing import Any

from lib.providers.prices.rates import Price

DEFAULT_CEILING = 4096
_MOST = 10**9  # tokens, or answers
_DEAREST = 10**15  # nano-dollars: a million; what is asked with absurd numbers must fit the columns all the same
CEILINGS = ("max_completion_tokens", "max_tokens", "max_output_tokens")


def compute_completion_ceiling(
    parameters: Mapping[str, Any], longest_answer: int | None = None, answers: Any = None
) -> int:
    """The most tokens all answers of a call may have together: as many as `answers` or the parameter `n` says."""
    ceiling = 0  # of several ceilings the highest: who knows which the server obeys
    for name in CEILINGS:
        if (value := parameters.get(name)) is not None:
            ceiling = max(ceiling, _round_up(value))
    many = parameters.get("n") if answers is None else answers
    each = ceiling or longest_answer or DEFAULT_CEILING
    return each if many is None else each * max(_round_up(many), 1)


def _round_up(value: Any) -> int:
    """A number as a server might read it, rounded up; 0 for what is none, and no more than anybody writes."""
    if not isinstance(value, int | float) or value != value or value == math.inf:
        return 0
    return math.ceil(min(max(value, 0), _MOST))


def compute_upper_bound_nano(
    price: Price | None,
    prompt_tokens: int,
    max_completion_tokens: int,
    images: int = 0,
    service_tier: str = "",
    *,
    is_text: bool = False,
) -> int | None:
    """Nano-dollars that a call of at most so many tokens can cost; None when the model has no price.

    `service_tier` is how the request wants to be served, as price lists name it: the dearer of that and the plain way.
    `is_text`: see `Rates.bound_nano`.
    """
    if price is None:
        return None
    most = max(
        rates.bound_nano(prompt_tokens, max_completion_tokens, images, is_text=is_text)
        for rates in price.dearest_rates(prompt_tokens, service_tier)
    )
    return min(most, _DEAREST)
