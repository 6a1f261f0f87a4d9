"""Would this call pass? From a configuration and a size to the most it can cost and what every budget says.

A call that a budget stops goes to the configuration's other deployments and its fallbacks: they are asked about, too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lib.access.permissions import Actor, Permission
from lib.budgets.budget import BudgetScope, CallFacts
from lib.budgets.budgets import Budgets
from lib.budgets.estimate import CEILINGS, compute_completion_ceiling, compute_upper_bound_nano
from lib.budgets.state import BudgetVerdict
from lib.clock import utc_now
from lib.configs.configuration import Configuration
from lib.configs.routing import Routing
from lib.providers.hosted_tools import bound_prompt_tokens, bound_uses_nano, limit_uses
from lib.providers.prices.price_book import PriceBook
from lib.providers.prices.service_tiers import name_asked_tier, name_priced_tier
from lib.providers.registry import Providers
from lib.providers.request_fields import Choices, examine


@dataclass(frozen=True)
class Place:
    """Where a call may go. `amount_nano`: the most it can cost there; 0 free, None unpriced."""

    provider: str
    model: str
    amount_nano: int | None
    verdicts: Sequence[BudgetVerdict]

    @property
    def passes(self) -> bool:
        """Whether every budget would let it through."""
        return all(verdict.refusal is None for verdict in self.verdicts)


@dataclass(frozen=True)
class DryRun:
    """`own`: the configuration's provider and model; `fallbacks` in the order in which they would be asked.

    `completion_tokens`: the answer's ceiling.
    """

    completion_tokens: int
    own: Place
    fallbacks: Sequence[Place]

    @property
    def instead(self) -> Place | None:
        """Where the call would go because a budget stops it at its own model."""
        return None if self.own.passes else next((fallback for fallback in self.fallbacks if fallback.passes), None)

    @property
    def passes(self) -> bool:
        """Whether the call would be made."""
        return self.own.passes or self.instead is not None


def ask_budgets(
    actor: Actor,
    budgets: Budgets,
    prices: PriceBook,
    providers: Providers,
    configuration: Configuration,
    *,
    prompt_tokens: int,
    max_tokens: int | None = None,
    app: str | None = None,
    user: str | None = None,
    api_key_id: str | None = None,
    now: datetime | None = None,
) -> DryRun:
    """Ask every budget about a call of a configuration, as its app unless another is named; nothing is held.

    `user` is a name or an id. `prompt_tokens` is a guess, so a quarter is added; `max_tokens` is of one answer. The
    configuration's parameters say how many answers there are, how they are served and what the provider may run.
    """
    moment = now or utc_now()
    parameters = dict(configuration.parameters)
    if max_tokens:
        parameters = {name: value for name, value in parameters.items() if name not in CEILINGS}
        parameters["max_tokens"] = max_tokens
    routing = Routing.from_record(configuration.routing)
    is_listed = routing != Routing() or actor.can(Permission.VIEW_CONFIGS)
    visible = {provider.name: provider for provider in providers.list(actor)} if is_listed else {}
    prompt_most = prompt_tokens + -(-prompt_tokens // 4)
    user_id = budgets.subject(actor, BudgetScope.USER, user) if user else None

    def judge(provider: str, kind: str, model: str) -> Place:
        facts = CallFacts(provider, app or configuration.app, configuration.id, user_id, api_key_id, actor.team_id)
        base_url = visible[provider].base_url if provider in visible else ""
        amount = _compute_most_nano(prices, kind, model, base_url, parameters, prompt_most, moment)
        return Place(provider, model, amount, budgets.check(actor, facts, amount, moment))

    own_kind = configuration.provider_kind
    own = judge(configuration.provider_name, own_kind, configuration.model)
    usable = {provider.id: provider for provider in visible.values() if provider.is_active}
    alternatives = [
        judge(provider.name, provider.kind, target.model)
        for target in (*routing.deployments, *routing.fallbacks)
        if (provider := usable.get(target.provider_id)) is not None
    ]
    return DryRun(
        _compute_ceiling(examine(own_kind, None, configuration.model, parameters), parameters), own, alternatives
    )


def _compute_ceiling(choices: Choices, parameters: Mapping[str, Any]) -> int:
    return max(compute_completion_ceiling(parameters, None, choices.answers), choices.ceiling * choices.answers)


def _compute_most_nano(
    prices: PriceBook,
    kind: str,
    model: str,
    base_url: str,
    parameters: Mapping[str, Any],
    prompt_tokens: int,
    at: datetime,
) -> int | None:
    """The most a call with these parameters can cost; what the provider may run without a bound is not in it."""
    limited = limit_uses(kind, None, parameters)
    choices = examine(kind, None, model, limited)
    tier = name_priced_tier(kind, name_asked_tier(kind, limited, base_url))
    prompt = bound_prompt_tokens(choices.hosted, prompt_tokens)
    most = compute_upper_bound_nano(
        prices.price(kind, model, at), prompt, _compute_ceiling(choices, limited), service_tier=tier
    )
    if most is None or not choices.hosted:
        return most
    return most + (bound_uses_nano(choices.hosted, lambda use: prices.use_fee(kind, model, use, at)) or 0)
