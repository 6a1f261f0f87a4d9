"""Before an attempt is sent: its row of `open_calls`, and what it asks of budgets and limits."""

from typing import Any

from msgspec.structs import replace

from lib.access.limits import Claim
from lib.budgets.budget import CallFacts
from lib.budgets.estimate import CEILINGS, completion_ceiling, upper_bound_nano
from lib.calls.live import LiveCall
from lib.calls.observed_usage import Observed
from lib.calls.outcome import identity_of
from lib.calls.request_choices import choices_of, limit_target, most_nano, unbounded_by
from lib.errors import Throttled
from lib.ledger import content_policy
from lib.ledger.admission import Ask
from lib.providers.hosted_tools import prompt_with_results
from lib.providers.kinds import ProviderKind
from lib.providers.prices.price_book import PriceBook
from lib.tokens.prompt_tokens import bound_prompt


def opening_row(call: LiveCall, owner: str) -> dict[str, Any]:
    """The row of `open_calls` for the current attempt."""
    return {**identity_of(call), "owner": owner, "holds": [], "request": call.request_kept}


def ask_of(call: LiveCall, prices: PriceBook, observed: Observed) -> Ask:
    """The most the attempt can cost, under whose name; the first that passes is also a request that limits count."""
    attempt = call.attempt
    actor = call.plan.request.actor
    plan = call.plan
    target = attempt.target
    key = actor.key
    endpoint = target.endpoint
    asked = target.model_request
    facts = CallFacts(endpoint.name, plan.app, plan.configuration.id or None, call.user_id, key.key_id if key else None)
    choices = choices_of(target)
    at = attempt.started_at
    ceiling = completion_ceiling(asked.parameters, target.longest_answer, choices.answers)
    ceiling = max(ceiling, choices.ceiling * choices.answers)
    has_ceiling = _has_ceiling(asked.parameters)
    excess = observed.excess(endpoint.name, asked.model)
    prompt = excess.of_prompt(bound_prompt(call.prompt_size, endpoint.kind, asked.model, target.window))
    longest = excess.of_answer(ceiling)
    attempt.most = (prompt_with_results(choices.hosted, prompt), longest)
    attempt.is_bounded = has_ceiling
    size = call.prompt_size
    is_text = not (size.sounds or size.files or size.unseen)
    amount = most_nano(target, choices, prices, at, (prompt, longest, call.images), is_text=is_text)
    wished = 0
    if amount is None and (dearest := prices.dearest(endpoint.kind, at)) is not None:
        wished = upper_bound_nano(dearest, prompt, longest, call.images) or 0
    is_counted_open = key is not None and key.limits.concurrency is not None
    if call.is_counted:
        return Ask(attempt.log_id, facts, amount, None, is_counted_open, wished)
    claim = Claim(plan.app, call.prompt_estimate + (ceiling if has_ceiling else 0), key)
    return Ask(attempt.log_id, facts, amount, claim, is_counted_open, wished)


def bound(call: LiveCall, prices: PriceBook) -> Throttled | None:
    """Make the current attempt send the limits that its hold relies on; why it can't be bounded, or None."""
    attempt = call.attempt
    choices = choices_of(call.attempt.target)
    if (refusal := unbounded_by(attempt.target, choices, prices, attempt.started_at)) is not None:
        return refusal
    attempt.target = limit_target(attempt.target, choices, prices, attempt.started_at)
    _set_ceiling(call)
    return None


def _set_ceiling(call: LiveCall) -> None:
    """Name the longest answer, unless the request does."""
    target = call.attempt.target
    asked = target.model_request
    if _has_ceiling(asked.parameters):
        return
    name = "max_completion_tokens" if target.endpoint.kind == ProviderKind.OPENAI else "max_tokens"
    each = completion_ceiling({}, target.longest_answer)
    bounded = replace(asked, parameters={**asked.parameters, name: each})
    call.attempt.identity["parameters"] = content_policy.parameters_to_keep(call.content_policy, bounded.parameters)
    call.attempt.target = replace(target, model_request=bounded)
    call.attempt.is_bounded = True


def _has_ceiling(parameters: Any) -> bool:
    return any(parameters.get(name) is not None for name in CEILINGS)
