"""Would this call pass? From a configuration and a size to the most it can cost and what every budget says.

A call that a budget stops goes to the configuration's other deployments and its fallbacks: they are asked about, too.
"""

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
from lib.configs.routing import Routing
from lib.providers.price_book import PriceBook
from lib.providers.registry import Providers


@dataclass(frozen=True)
class Place:
    """Where a call may go. `amount_nano`: the most it can cost there; 0 free, None unpriced."""

    provider: str
    model: str
    amount_nano: int | None
    verdicts: Sequence[Verdict]

    @property
    def passes(self) -> bool:
        """Whether every budget would let it through."""
        return all(verdict.refusal is None for verdict in self.verdicts)


@dataclass(frozen=True)
class DryRun:
    """`own`: the configuration's provider and model; `others` in the order in which they would be asked.

    `completion_tokens`: the answer's ceiling.
    """

    completion_tokens: int
    own: Place
    others: Sequence[Place]

    @property
    def instead(self) -> Place | None:
        """Where the call would go because a budget stops it at its own model."""
        return None if self.own.passes else next((place for place in self.others if place.passes), None)

    @property
    def passes(self) -> bool:
        """Whether the call would be made."""
        return self.own.passes or self.instead is not None


def dry_run(
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

    `user` is a name or an id. `prompt_tokens` is a guess, so a quarter is added.
    """
    moment = now or utc_now()
    ceiling = max_tokens or completion_ceiling(configuration.parameters)
    user_id = budgets.subject(actor, Scope.USER, user) if user else None

    def place(provider: str, kind: str, model: str) -> Place:
        facts = CallFacts(provider, app or configuration.app, configuration.id, user_id, api_key_id)
        price = prices.price(kind, model, moment)
        amount = upper_bound_nano(price, prompt_tokens + -(-prompt_tokens // 4), ceiling)
        return Place(provider, model, amount, budgets.check(actor, facts, amount, moment))

    own = place(configuration.provider_name, configuration.provider_kind, configuration.model)
    routing = Routing.from_record(configuration.routing)
    usable = {one.id: one for one in providers.list(actor) if one.is_active} if routing != Routing() else {}
    others = [
        place(provider.name, provider.kind, target.model)
        for target in (*routing.deployments, *routing.fallbacks)
        if (provider := usable.get(target.provider_id)) is not None
    ]
    return DryRun(ceiling, own, others)
