"""What a call can cost, told before it is sent: from an estimate of its prompt, its ceiling and today's prices.

The most is what a hard budget would hold: the prompt's bound, at the dearest rates of the ways in which it may be
served, the longest answer the model is asked for, and what tools of the provider's can cost, at the dearer of all
targets. The least is a prompt a quarter shorter than estimated and an answer of one token, at the cheapest target, all
of the prompt read from its cache.
"""

from dataclasses import dataclass

from lib.budgets.estimate import compute_completion_ceiling
from lib.calls.observed_usage import ObservedUsage
from lib.calls.request import Plan, Target, measure_prompt
from lib.calls.request_choices import compute_most_nano, examine_choices, name_requested_tier
from lib.clock import utc_now
from lib.providers.chunks import Usage
from lib.providers.prices.price_book import PriceBook
from lib.providers.prices.service_tiers import name_priced_tier
from lib.tokens.prompt_tokens import bound_prompt, estimate_prompt


@dataclass(frozen=True)
class Quote:
    """Nano-dollars; None where a target has no known price. Tokens are of the prompt, and the answer's ceiling."""

    prompt_tokens: int
    ceiling: int
    low_nano: int | None
    high_nano: int | None
    model: str


def quote(plan: Plan, prices: PriceBook, observed: ObservedUsage, more_tokens: int = 0) -> Quote:
    """The bounds of a plan whose prompt may get so many tokens more."""
    size = measure_prompt(plan)
    now = utc_now()
    images = len(size.images)
    is_text = not (size.sounds or size.files or size.unseen)

    def ceiling(target: Target) -> int:
        choices = examine_choices(target)
        answer_ceiling = compute_completion_ceiling(
            target.model_request.parameters, target.longest_answer, choices.answers
        )
        return max(answer_ceiling, choices.ceiling * choices.answers)

    lows: list[int | None] = []
    highs: list[int | None] = []
    for target in (*plan.deployments, *plan.fallbacks):
        kind = target.endpoint.kind
        model = target.model_request.model
        price = prices.price(kind, model, now)
        excess = observed.excess(target.endpoint.name, model)
        most = excess.of_prompt(bound_prompt(size, kind, model, target.window)) + more_tokens + more_tokens // 4
        tokens = most, excess.of_answer(ceiling(target)), images
        highs.append(compute_most_nano(target, examine_choices(target), prices, now, tokens, is_text=is_text))
        least = estimate_prompt(size, kind, model) * 3 // 4
        usage = Usage(least, 1, cache_read_tokens=least, images=images)
        tier = name_priced_tier(kind, name_requested_tier(target))
        lows.append(None if price is None else min(rate.cost_nano(usage) for rate in price.dearest_rates(least, tier)))
    prompt = estimate_prompt(size, plan.first.endpoint.kind, plan.first.model_request.model)
    known_lows, known_highs = ([rate for rate in amounts if rate is not None] for amounts in (lows, highs))
    is_known = len(known_highs) == len(highs)
    low, high = (min(known_lows), max(known_highs)) if is_known else (None, None)
    return Quote(prompt, ceiling(plan.first), low, high, plan.first.model_request.model)
