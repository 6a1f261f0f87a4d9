"""What a call costs: the price of a model as a value, and the exact cost of what a call used.

Prices are integers: nano-dollars per million tokens, per image, per request, per second or per use. A call's cost is
summed exactly and rounded once a rate list. A model nobody has a price for is `unpriced`: its cost is None, never zero.
Where a part of what was used has no known rate, the cost is what is known and its status `partial`. What runs on the
team's own machine is `free`: an explicit zero.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import cached_property

from msgspec import Struct

from lib.money import compute_token_cost_nano, divide_by_million
from lib.providers.chunks import ModelUsage, Usage, UsageDetails
from lib.providers.prices.service_tiers import BATCH

ALWAYS = datetime(1970, 1, 1, tzinfo=UTC)
PROVIDER_SAID = "provider"  # the price_id of a cost that the provider itself reported
_LONGEST_ID = 120
_REGIONS = frozenset({"eu", "us", "apac"})  # a model without a surcharge for a region costs the same in it


@dataclass(frozen=True)
class Rates:
    """Nano-dollars per million tokens (`image`, `request`: each; `…_second`: a second); None where none is stated.

    Without a rate of its own a cached or written token costs what a fresh one does, a token written for an hour what
    one for five minutes does, reasoning what other output does, and a token of a picture or video that the model reads
    what a token of text does. Sound, and pictures that a model makes, have no cost that could be told from others'.
    """

    input: int
    output: int
    cache_read: int | None = None
    cache_write: int | None = None
    cache_write_1h: int | None = None
    reasoning: int | None = None
    image: int | None = None
    request: int | None = None
    audio_input: int | None = None
    audio_cache_read: int | None = None
    audio_output: int | None = None
    image_input: int | None = None
    image_cache_read: int | None = None
    image_output: int | None = None
    video_input: int | None = None
    video_cache_read: int | None = None
    video_output: int | None = None
    audio_second: int | None = None
    video_second: int | None = None

    def cost_nano(self, usage: Usage) -> int:
        """The known cost of the tokens of a call; cached ones are part of the prompt, reasoning of the completion."""
        if usage.details is not None:
            return self.charge(usage)[0]
        read = usage.cache_read_tokens
        write = usage.cache_write_tokens
        long = usage.cache_write_1h_tokens
        if not (read or write or long or usage.reasoning_tokens or usage.images or self.request):
            return divide_by_million(usage.prompt_tokens * self.input + usage.completion_tokens * self.output)
        tokens = compute_token_cost_nano(self._text_parts(usage, 0, 0, 0))
        return tokens + usage.images * (self.image or 0) + (self.request or 0)

    def charge(self, usage: Usage) -> tuple[int, tuple[str, ...]]:
        """The known cost in nano-dollars of a call's tokens, pictures and seconds, and which parts have no rate."""
        details = usage.details or UsageDetails()
        counts = details.modality_tokens
        parts: list[tuple[int, int]] = []
        unknown: list[str] = []
        beside = {"input": 0, "cache_read": 0, "output": 0}  # tokens that are no text, by where they are counted
        for name, tokens in _split_cached(counts).items():
            beside[name.partition("_")[2]] += tokens
            if (rate := self._modality_rate(name)) is None:
                unknown.append(name)
            else:
                parts.append((tokens, rate))
        parts += self._text_parts(usage, beside["input"], beside["cache_read"], beside["output"])
        images = 0 if counts.get("image_input") and self.image_input is not None else usage.images * (self.image or 0)
        seconds = 0
        for name, amount in details.seconds.items():
            if (rate := getattr(self, f"{name}_second", None)) is None:
                unknown.append(f"{name}_second")
            else:
                seconds += amount * rate
        return compute_token_cost_nano(parts) + images + seconds + (self.request or 0), tuple(unknown)

    def _text_parts(self, usage: Usage, other_input: int, other_read: int, other_output: int) -> list[tuple[int, int]]:
        """The (tokens, rate) pairs of text; the others are tokens of other modalities within the same counts."""
        read = usage.cache_read_tokens
        write = usage.cache_write_tokens
        long = usage.cache_write_1h_tokens
        cache_write = _choose_rate(self.cache_write, self.input)
        fresh = max(0, usage.prompt_tokens - read - write - other_input)
        written_out = max(0, usage.completion_tokens - usage.reasoning_tokens - other_output)
        return [
            (fresh, self.input),
            (max(0, read - other_read), _choose_rate(self.cache_read, self.input)),
            (max(0, write - long), cache_write),
            (long, _choose_rate(self.cache_write_1h, cache_write)),
            (written_out, self.output),
            (usage.reasoning_tokens, _choose_rate(self.reasoning, self.output)),
        ]

    def _modality_rate(self, name: str) -> int | None:
        """The rate of a modality's tokens, by the rules above; None where none is known."""
        rate: int | None = getattr(self, name, None)
        if rate is not None:
            return rate
        match name:
            case "image_input" | "video_input":
                return self.input
            case "image_cache_read" | "video_cache_read":
                return _choose_rate(self.cache_read, self.input)
            case "audio_cache_read":
                return self.audio_input
            case _:
                return None

    def bound_nano(self, prompt_tokens: int, completion_tokens: int, images: int, *, is_text: bool = False) -> int:
        """The most a call of so many tokens can cost, each charged in the dearest way there is for it.

        `is_text`: neither prompt nor answer has sound, video or drawn pictures, whose tokens may cost many times more.
        """
        prompt_rate = self._dearest_text_input if is_text else self._dearest_input
        answer_rate = max(self.output, self.reasoning or 0) if is_text else self._dearest_output
        tokens = divide_by_million(prompt_tokens * prompt_rate + completion_tokens * answer_rate)
        return tokens + images * (self.image or 0) + (self.request or 0)

    @cached_property
    def _dearest_text_input(self) -> int:
        rates = (self.cache_read, self.cache_write, self.cache_write_1h, self.image_input)
        return max(self.input, *(rate or 0 for rate in rates))

    @cached_property
    def _dearest_input(self) -> int:
        return max(self._dearest_text_input, self.audio_input or 0, self.video_input or 0)

    @cached_property
    def _dearest_output(self) -> int:
        rates = (self.reasoning, self.audio_output, self.image_output, self.video_output)
        return max(self.output, *(rate or 0 for rate in rates))

    @property
    def is_free(self) -> bool:
        """Whether nothing in it costs anything."""
        return not any(getattr(self, name) for name in RATE_NAMES)


RATE_NAMES = tuple(field.name for field in fields(Rates))
TEXT_RATES = ("input", "output", "cache_read", "cache_write", "cache_write_1h", "reasoning")
MODALITY_RATES = tuple(
    name for name in RATE_NAMES if name.startswith(("audio_", "image_", "video_")) and not name.endswith("_second")
)


@dataclass(frozen=True)
class Tier:
    """The rates of a whole call whose prompt has more than `above_tokens` tokens, served in one way.

    The prompt's length decides for every token of the call, as Google, Anthropic and OpenAI charge their long contexts.
    `service_tier`: see `lib.providers.prices.service_tiers`; empty is the plain way.
    """

    above_tokens: int
    rates: Rates
    service_tier: str = ""


@dataclass(frozen=True)
class Price:
    """The price of one model from `valid_from` on. `tiers` are in order; the first is the plain one above 0 tokens.

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
        """The known cost of a call's tokens, served in the plain way."""
        return self.rates_of(usage.prompt_tokens).cost_nano(usage)

    def rates_of(self, prompt_tokens: int) -> Rates:
        """The plain ones of a prompt of that length."""
        return _find_tier_rates(self._by_service[""], prompt_tokens)

    @property
    def plain_tiers(self) -> tuple[Tier, ...]:
        """Those of calls that are served in the plain way, by the prompt's length."""
        return self._by_service[""]

    def served_rates(self, prompt_tokens: int, service_tier: str) -> Rates | None:
        """Those of a prompt of that length served in that way; None where they are not known.

        A region that has no rates of its own costs nothing more. Flex is priced as a batch is (OpenAI: "priced at Batch
        API rates") where the list names only that.
        """
        if not service_tier:
            return self.rates_of(prompt_tokens)
        tiers = self.served_tiers(service_tier)
        return None if tiers is None else _find_tier_rates(tiers, prompt_tokens)

    def served_tiers(self, service_tier: str) -> tuple[Tier, ...] | None:
        """Those of calls that are served in that way, by the prompt's length; None where they are not known."""
        candidates = (self._by_service.get(name) for name in _list_equivalent_tiers(service_tier))
        return next((tiers for tiers in candidates if tiers is not None), None)

    def dearest_rates(self, prompt_tokens: int, service_tier: str = "") -> list[Rates]:
        """The rates that a call may be charged by which asked for a tier: the plain ones and those of that tier.

        A provider may serve a call in another way than asked. `auto` is whatever the account allows: all of them.
        """
        plain_rates = self.rates_of(prompt_tokens)
        if not service_tier:
            return [plain_rates]
        if (served := self.served_rates(prompt_tokens, service_tier)) is not None:
            return [plain_rates, served]
        return [_find_tier_rates(tiers, prompt_tokens) for tiers in self._by_service.values()]

    @cached_property
    def _by_service(self) -> dict[str, tuple[Tier, ...]]:
        grouped: dict[str, list[Tier]] = {"": []}
        for tier in self.tiers:
            grouped.setdefault(tier.service_tier, []).append(tier)
        return {name: tuple(tiers) for name, tiers in grouped.items()}


class Cost(Struct, frozen=True):
    """A call's cost in nano-dollars (None: unknown), how well it is known, and the price it came from.

    `status`: `priced`; `partial`, where something that was used has no known price, so `nano` is the least it cost;
    `free`; `unpriced`. `fees_nano` is the part that was charged for other things than tokens.
    """

    nano: int | None
    status: str
    price_id: str | None
    fees_nano: int = 0


def compute_cost(price: Price | None, usage: Usage, reported_nano: int | None = None) -> Cost:
    """Compute what a call's own tokens cost: by its price, else what the provider itself said, else unknown.

    A team's own price holds before what the provider said, and that before the shipped list: a list may be out of date,
    the provider's word is what stands on the invoice. A reported zero beside a listed price says nothing.
    """
    if reported_nano is not None and (price is None or (not price.id and reported_nano)):
        return Cost(reported_nano, "priced", PROVIDER_SAID)
    if price is None:
        return Cost(None, "unpriced", None)
    if not usage.service_tier and usage.details is None:
        return Cost(price.cost_nano(usage), "free" if price.is_free else "priced", price.price_id)
    rates = price.served_rates(usage.prompt_tokens, usage.service_tier)
    if rates is None:
        return Cost(None, "unpriced", None)
    nano, unknown = rates.charge(usage)
    status = "partial" if unknown and not price.is_free else "free" if price.is_free else "priced"
    return Cost(nano, status, price.price_id, rates.request or 0)


def add_costs(first: Cost, parts: list[Cost], fees: list[int | None]) -> Cost:
    """One call's cost of its own tokens, of other models' and of uses charged apart (None: no price is known)."""
    if first.nano is None and not any(part.nano for part in parts) and not any(fees):
        return first
    known_fees = sum(fee or 0 for fee in fees)
    nano = (first.nano or 0) + sum(part.nano or 0 for part in parts) + known_fees
    is_known = (
        first.nano is not None
        and all(part.status in ("priced", "free") for part in (first, *parts))
        and None not in fees
    )
    status = ("free" if not nano and first.status == "free" else "priced") if is_known else "partial"
    return Cost(nano, status, first.price_id, first.fees_nano + known_fees + sum(part.fees_nano for part in parts))


def subtract_rounds(usage: Usage, rounds: tuple[ModelUsage, ...]) -> Usage:
    """A usage without the rounds of the same model that are counted in it: what is left is priced by its own length."""
    prompt, completion, read, write, long = (
        sum(getattr(model_round.usage, name) for model_round in rounds if not model_round.model)
        for name in (
            *("prompt_tokens", "completion_tokens", "cache_read_tokens", "cache_write_tokens"),
            "cache_write_1h_tokens",
        )
    )
    remaining_details = None
    if usage.details is not None and (usage.details.modality_tokens or usage.details.seconds):
        remaining_details = UsageDetails(usage.details.modality_tokens, usage.details.seconds)
    return Usage(
        max(0, usage.prompt_tokens - prompt),
        max(0, usage.completion_tokens - completion),
        max(0, usage.cache_read_tokens - read),
        max(0, usage.cache_write_tokens - write),
        usage.reasoning_tokens,
        max(0, usage.cache_write_1h_tokens - long),
        usage.images,
        usage.service_tier,
        remaining_details,
    )


def build_plain_price(kind: str, model: str, valid_from: datetime, rates: Rates, source: str = "") -> Price:
    """A price without tiers."""
    return Price(kind, model, valid_from, (Tier(0, rates),), source)


def _choose_rate(rate: int | None, otherwise: int) -> int:
    return otherwise if rate is None else rate


def _find_tier_rates(tiers: tuple[Tier, ...], prompt_tokens: int) -> Rates:
    """The rates of the last tier that a prompt's length reaches; the tiers are in order."""
    rates = tiers[0].rates
    for tier in tiers[1:]:
        if prompt_tokens > tier.above_tokens:
            rates = tier.rates
    return rates


def _list_equivalent_tiers(service_tier: str) -> list[str]:
    """Names under which a tier's rates may stand, the most exact first."""
    words = frozenset(service_tier.split("+"))
    names = [words]
    if "flex" in words:
        names.append(words - {"flex"} | {BATCH})
    names += [without for name in list(names) if (without := name - _REGIONS) != name]
    return ["+".join(sorted(name)) for name in names]


def _split_cached(counts: Mapping[str, int]) -> dict[str, int]:
    """Counts of modalities with the cached tokens taken out of those read: each token stands in one."""
    split = dict(counts)
    for kind in ("audio", "image", "video"):
        if cached := split.get(f"{kind}_cache_read"):
            split[f"{kind}_input"] = max(0, split.get(f"{kind}_input", 0) - cached)
    return {name: tokens for name, tokens in split.items() if tokens > 0}
