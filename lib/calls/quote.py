"""What a call can cost, told before it is sent: from an estimate of its prompt, its ceiling and today's prices.

The most is what a hard budget would hold: a prompt a quarter longer than estimated, at the dearest rates, and the
longest answer the model is asked for, at the dearer of all targets. The least is a prompt a quarter shorter and an
answer of one token, at the cheapest target, all of the prompt read from its cache.
"""

from dataclasses import dataclass

from lib.budgets.estimate import completion_ceiling, upper_bound_nano
from lib.calls.estimate import estimate_tokens
from lib.calls.request import Plan, Target, text_of
from lib.clock import utc_now
from lib.providers.chunks import Usage
from lib.providers.price_book import PriceBook
from lib.providers.protocols.usage import images_in


@dataclass(frozen=True)
class Quote:
    """Nano-dollars; None where a target has no known price. Tokens are of the prompt, and the answer's ceiling."""

    prompt_tokens: int
    ceiling: int
    low_nano: int | None
    high_nano: int | None
    model: str


def quote(plan: Plan, prices: PriceBook, more_tokens: int = 0) -> Quote:
    """The bounds of a plan whose prompt may get so many tokens more."""
    messages = plan.first.model_request.messages
    prompt = estimate_tokens("\n".join(text_of(message) for message in messages))
    images, now = images_in([dict(message) for message in messages]), utc_now()

    def ceiling(target: Target) -> int:
        return completion_ceiling(target.model_request.parameters, target.longest_answer)

    lows: list[int | None] = []
    highs: list[int | None] = []
    for target in (*plan.deployments, *plan.fallbacks):
        price = prices.price(target.endpoint.kind, target.model_request.model, now)
        highs.append(upper_bound_nano(price, prompt + more_tokens, ceiling(target), images))
        least = Usage(prompt * 4 // 5, 1, cache_read_tokens=prompt * 4 // 5, images=images)
        lows.append(None if price is None else price.cost_nano(least))
    known_lows, known_highs = ([one for one in found if one is not None] for found in (lows, highs))
    is_known = len(known_highs) == len(highs)
    low, high = (min(known_lows), max(known_highs)) if is_known else (None, None)
    return Quote(prompt, ceiling(plan.first), low, high, plan.first.model_request.model)
