"""Before an attempt is sent: its row of `open_calls`, and what it asks of budgets and limits."""

import asyncio
from typing import Any

from msgspec.structs import replace

from lib.access.limits import Claim
from lib.budgets.budget import CallFacts
from lib.budgets.estimate import CEILINGS, completion_ceiling, upper_bound_nano
from lib.calls.attempt_closing import fill_identity
from lib.calls.live_call import Listener, LiveCall
from lib.calls.observed_usage import ObservedUsage
from lib.calls.request import Plan
from lib.calls.request_choices import compute_most_nano, examine_choices, find_unbounded, limit_target
from lib.errors import Throttled
from lib.ledger import content_policy
from lib.ledger.admission import OpeningRequest
from lib.providers.hosted_tools import prompt_with_results
from lib.providers.kinds import ProviderKind
from lib.providers.prices.price_book import PriceBook
from lib.tokens.message_text import text_of
from lib.tokens.prompt_tokens import bound_prompt


async def make_call(plan: Plan, listener: Listener | None = None) -> LiveCall:
    """The call of a plan; where long words have to be masked, that is done in a thread, for others wait meanwhile."""
    characters = sum(len(text_of(message)) for message in plan.first.model_request.messages)
    if content_policy.takes_long(plan.configuration.content_policy, characters):
        return await asyncio.to_thread(LiveCall, plan, listener)
    return LiveCall(plan, listener)


def make_opening_row(call: LiveCall, owner: str) -> dict[str, Any]:
    """The row of `open_calls` for the current attempt."""
    return {**fill_identity(call), "owner": owner, "holds": [], "request": call.request_kept}


def make_opening_request(call: LiveCall, prices: PriceBook, observed: ObservedUsage) -> OpeningRequest:
    """The most the attempt can cost, under whose name; the first that passes is also a request that limits count."""
    attempt = call.attempt
    actor = call.plan.request.actor
    plan = call.plan
    target = attempt.target
    key = actor.key
    endpoint = target.endpoint
    model_request = target.model_request
    key_id = key.key_id if key else None
    facts = CallFacts(
        endpoint.name, plan.app, plan.configuration.id or None, call.user_id, key_id, team_id=actor.team_id
    )
    choices = examine_choices(target)
    at = attempt.started_at
    ceiling = completion_ceiling(model_request.parameters, target.longest_answer, choices.answers)
    ceiling = max(ceiling, choices.ceiling * choices.answers)
    has_ceiling = _has_ceiling(model_request.parameters)
    excess = observed.excess(endpoint.name, model_request.model)
    prompt = excess.of_prompt(bound_prompt(call.prompt_size, endpoint.kind, model_request.model, target.window))
    longest = excess.of_answer(ceiling)
    attempt.most = (prompt_with_results(choices.hosted, prompt), longest)
    attempt.is_bounded = has_ceiling
    size = call.prompt_size
    is_text = not (size.sounds or size.files or size.unseen)
    amount = compute_most_nano(target, choices, prices, at, (prompt, longest, call.images), is_text=is_text)
    wished = 0
    if amount is None and (dearest := prices.dearest(endpoint.kind, at)) is not None:
        wished = upper_bound_nano(dearest, prompt, longest, call.images) or 0
    is_counted_open = key is not None and key.limits.concurrency is not None
    if call.is_counted:
        return OpeningRequest(attempt.log_id, facts, amount, None, is_counted_open, wished)
    claim = Claim(plan.app, call.prompt_estimate + (ceiling if has_ceiling else 0), key, actor.team_id)
    return OpeningRequest(attempt.log_id, facts, amount, claim, is_counted_open, wished)


def bound_attempt(call: LiveCall, prices: PriceBook) -> Throttled | None:
    """Make the current attempt send the limits that its hold relies on; why it can't be bounded, or None."""
    attempt = call.attempt
    choices = examine_choices(call.attempt.target)
    if (refusal := find_unbounded(attempt.target, choices, prices, attempt.started_at)) is not None:
        return refusal
    attempt.target = limit_target(attempt.target, choices, prices, attempt.started_at)
    _set_ceiling(call)
    return None


def _set_ceiling(call: LiveCall) -> None:
    """Name the longest answer, unless the request does."""
    target = call.attempt.target
    model_request = target.model_request
    if _has_ceiling(model_request.parameters):
        return
    name = "max_completion_tokens" if target.endpoint.kind == ProviderKind.OPENAI else "max_tokens"
    each = completion_ceiling({}, target.longest_answer)
    bounded = replace(model_request, parameters={**model_request.parameters, name: each})
    call.attempt.identity["parameters"] = content_policy.parameters_to_keep(call.content_policy, bounded.parameters)
    call.attempt.target = replace(target, model_request=bounded)
    call.attempt.is_bounded = True


def _has_ceiling(parameters: Any) -> bool:
    return any(parameters.get(name) is not None for name in CEILINGS)
