"""What tokens cost: the price of a model as a value, and the exact cost of a call.

Prices are integers: nano-dollars per million tokens, per image and per request. A call's cost is summed exactly and
rounded once. A model nobody has a price for is `unpriced`: its cost is None, never zero. What runs on the team's own
machine is `free`: an explicit zero.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

from msgspec import Struct

from lib.money import per_million, tokens_cost_nano
from lib.providers.chunks import Usage

ALWAYS = datetime(1970, 1, 1, tzinfo=UTC)
PROVIDER_SAID = "provider"  # the price_id of a cost that the provider itself reported
_LONGEST_ID = 120


@dataclass(frozen=True)
class Rates:
    """Nano-dollars per million tokens (`image`, `request`: each); None where none is stated.

    Without a rate of its own a cached or written token costs what a fresh one does, a token written for an hour what
    one for five minutes does, and reasoning what other output does.
    """

    input: int
    output: int
    cache_read: int | None = None
    cache_write: int | None = None
    cache_write_1h: int | None = None
    reasoning: int | None = None
    image: int | None = None
    request: int | None = None

    def cost_nano(self, usage: Usage) -> int:
        """The cost of a call; cached tokens are part of the prompt, reasoning of the completion, each priced apart."""
        read, write, long = usage.cache_read_tokens, usage.cache_write_tokens, usage.cache_write_1h_tokens
        if not (read or write or long or usage.reasoning_tokens or usage.images or self.request):
            return per_million(usage.prompt_tokens * self.input + usage.completion_tokens * self.output)
        cache_write = _first(self.cache_write, self.input)
        tokens = tokens_cost_nano(
            [
                (max(0, usage.prompt_tokens - read - write), self.input),
                (read, _first(self.cache_read, self.input)),
                (max(0, write - long), cache_write),
                (long, _first(self.cache_write_1h, cache_write)),
                (max(0, usage.completion_tokens - usage.reasoning_tokens), self.output),
                (usage.reasoning_tokens, _first(self.reasoning, self.output)),
            ]
        )
        return tokens + usage.images * (self.image or 0) + (self.request or 0)

    def bound_nano(self, prompt_tokens: int, completion_tokens: int, images: int) -> int:
        """The most a call of so many tokens can cost, each charged in the dearest way there is for it."""
        prompt = max(self.input, self.cache_read or 0, self.cache_write or 0, self.cache_write_1h or 0)
        answer = max(self.output, self.reasoning or 0)
        tokens = per_million(prompt_tokens * prompt + completion_tokens * answer)
        return tokens + images * (self.image or 0) + (self.request or 0)

    @property
    def is_free(self) -> bool:
        """Whether nothing in it costs anything."""
        return not any(vars(self).values())


@dataclass(frozen=True)
class Tier:
    """The rates of a whole call whose prompt has more than `above_tokens` tokens.

    The prompt's length decides for every token of the call, as Google, Anthropic and OpenAI charge their long contexts.
    """

    above_tokens: int
    rates: Rates


@dataclass(frozen=True)
class Price:
    """The price of one model from `valid_from` on. `tiers` are in order; the first is above 0 tokens.

    `id` is that of a team's own entry and empty for the shipped list; `model` may end in `*` in a team's own.
    """

    kind: str
    model: str
    valid_from: datetime
    tiers: tuple[Tier, ...]
    source: str = ""
    id: str = ""

    @cached_property
    def price_id(self) -> str:
        """Names the entry, as stored with every call."""
        if self.id:
            return self.id
        head = self.source if self.valid_from == ALWAYS else f"{self.valid_from:%Y-%m-%d}"
        return f"{head}:{self.kind}/{self.model}"[:_LONGEST_ID]

    @property
    def rates(self) -> Rates:
        """Those of a short prompt."""
        return self.tiers[0].rates

    @cached_property
    def is_free(self) -> bool:
        """Whether calls cost nothing, by nature rather than by ignorance."""
        return all(tier.rates.is_free for tier in self.tiers)

    def cost_nano(self, usage: Usage) -> int:
        """The exact cost of a call."""
        return self.rates_of(usage.prompt_tokens).cost_nano(usage)

    def rates_of(self, prompt_tokens: int) -> Rates:
        """Those of a prompt of that length."""
        rates = self.tiers[0].rates
        for tier in self.tiers[1:]:
            if prompt_tokens > tier.above_tokens:
                rates = tier.rates
        return rates


class Cost(Struct, frozen=True):
    """A call's cost in nano-dollars (None: unknown), `priced`, `free` or `unpriced`, and the price it came from."""

    nano: int | None
    status: str
    price_id: str | None


def cost_of(price: Price | None, usage: Usage, reported_nano: int | None = None) -> Cost:
    """What a call costs: by its price, else what the provider itself said, else unknown."""
    if price is not None:
        return Cost(price.cost_nano(usage), "free" if price.is_free else "priced", price.price_id)
    if reported_nano is not None:
        return Cost(reported_nano, "priced", PROVIDER_SAID)
    return Cost(None, "unpriced", None)


def plain(kind: str, model: str, valid_from: datetime, rates: Rates, source: str = "") -> Price:
    """A price without tiers."""
    return Price(kind, model, valid_from, (Tier(0, rates),), source)


def _first(rate: int | None, otherwise: int) -> int:
    return otherwise if rate is None else rate
