"""Would this call pass? From a configuration and a size to the most it can cost and what every budget says."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from lib.access.permissions import Actor
from lib.budgets.budget import CallFacts, Scope
from lib.budgets.budgets import Budgets
from lib.budgets.estimate import completion_ceiling, upper_bound_nano
from lib.budgets.state import Verdict
from lib.clock import utc_now
from lib.configs.configuration import Configuration
from lib.providers.price_book import PriceBook


@dataclass(frozen=True)
class DryRun:
    """`amount_nano`: the most the call can cost; 0 free, None unpriced. `completion_tokens`: its answer's ceiling."""

    amount_nano: int | None
    completion_tokens: int
    verdicts: Sequence[Verdict]

    @property
    def passes(self) -> bool:
        """Whether every budget would let it through."""
        return all(verdict.refusal is None for verdict in self.verdicts)


def dry_run(
    actor: Actor,
    budgets: Budgets,
    prices: PriceBook,
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

    `user` is a name or an id.
    """
    moment = now or utc_now()
    ceiling = max_tokens or completion_ceiling(configuration.parameters)
    price = prices.price(configuration.provider_kind, configuration.model, moment)
    amount = upper_bound_nano(price, prompt_tokens, ceiling)
    user_id = budgets.subject(actor, Scope.USER, user) if user else None
    facts = CallFacts(configuration.provider_name, app or configuration.app, configuration.id, user_id, api_key_id)
    return DryRun(amount, ceiling, budgets.check(actor, facts, amount, moment))
