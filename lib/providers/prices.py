"""What tokens cost: dated prices by provider kind and model, and the exact cost of a call.

Prices are integers (nano-dollars per million tokens), a call's cost is summed exactly and rounded once. A model nobody
has a price for is `unpriced`: its cost is None, never zero. What runs on the team's own machine is `free`: an explicit
zero. The shipped list is `data/prices/prices.csv`, read at first use; `price_id` names the list's date and the entry.
"""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from lib.money import tokens_cost_nano
from lib.providers.chunks import Usage
from lib.providers.kinds import ProviderKind, is_free

SHIPPED = Path(__file__).resolve().parents[2] / "data" / "prices" / "prices.csv"
_LONGEST_ID = 120
_ALWAYS = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Rates:
    """Nano-dollars per million tokens; None where the list states none (then the input price holds)."""

    input: int
    output: int
    cache_read: int | None = None
    cache_write: int | None = None

    def cost_nano(self, usage: Usage) -> int:
        """The cost of a call; cached tokens are part of the prompt and priced apart."""
        fresh = max(0, usage.prompt_tokens - usage.cache_read_tokens - usage.cache_write_tokens)
        return tokens_cost_nano(
            [
                (fresh, self.input),
                (usage.cache_read_tokens, self.input if self.cache_read is None else self.cache_read),
                (usage.cache_write_tokens, self.input if self.cache_write is None else self.cache_write),
                (usage.completion_tokens, self.output),
            ]
        )


@dataclass(frozen=True)
class Price:
    """The price of one model from `valid_from` on; `long_rates` hold for prompts of more than `long_from` tokens."""

    kind: str
    model: str
    valid_from: datetime
    rates: Rates
    long_from: int | None = None
    long_rates: Rates | None = None
    source: str = ""

    @property
    def price_id(self) -> str:
        """Names the list's date and the entry, as stored with every call."""
        if self.valid_from == _ALWAYS:
            return f"{self.source}:{self.kind}/{self.model}"[:_LONGEST_ID]
        return f"{self.valid_from:%Y-%m-%d}:{self.kind}/{self.model}"[:_LONGEST_ID]

    @property
    def is_free(self) -> bool:
        """Whether calls cost nothing, by nature rather than by ignorance."""
        return not any((self.rates.input, self.rates.output, self.rates.cache_read, self.rates.cache_write))

    def cost_nano(self, usage: Usage) -> int:
        """The exact cost of a call."""
        is_long = self.long_from is not None and usage.prompt_tokens > self.long_from
        return (self.long_rates if is_long and self.long_rates else self.rates).cost_nano(usage)


@dataclass(frozen=True)
class Cost:
    """A call's cost in nano-dollars (None: unknown), `priced`, `free` or `unpriced`, and the price it came from."""

    nano: int | None
    status: str
    price_id: str | None


class PriceBook:
    """Prices by kind and model. `PriceBook()` reads the shipped list at first use; tests bring their own entries."""

    def __init__(self, entries: Iterable[Price] | None = None) -> None:
        self._given = None if entries is None else list(entries)

    @cached_property
    def _entries(self) -> dict[tuple[str, str], list[Price]]:
        found: dict[tuple[str, str], list[Price]] = {}
        for price in self._given if self._given is not None else read_list(SHIPPED):
            found.setdefault((price.kind, price.model), []).append(price)
        for prices in found.values():
            prices.sort(key=lambda price: price.valid_from)
        return found

    def price(self, provider_kind: str, model: str, at: datetime) -> Price | None:
        """The price in force at a moment (before the first known one: the first), or None when nobody knows one."""
        prices = self._entries.get((provider_kind, model))
        if prices:
            return next((price for price in reversed(prices) if price.valid_from <= at), prices[0])
        if provider_kind == ProviderKind.SCRIPTED:
            return _scripted(model)
        return _free(provider_kind, model) if is_free(provider_kind) else None

    def cost(self, price: Price | None, usage: Usage) -> Cost:
        """What a call's tokens cost."""
        if price is None:
            return Cost(None, "unpriced", None)
        return Cost(price.cost_nano(usage), "free" if price.is_free else "priced", price.price_id)

    def models(self, provider_kind: str) -> list[str]:
        """Every model of a kind with a known price, by name."""
        return sorted(model for kind, model in self._entries if kind == provider_kind)

    def __len__(self) -> int:
        return sum(len(prices) for prices in self._entries.values())


def _free(kind: str, model: str) -> Price:
    return Price(kind, model, _ALWAYS, Rates(0, 0), source="free")


def _scripted(model: str) -> Price | None:
    parts = {part.partition(":")[0] for part in model.split("+")}
    if "unpriced" in parts:
        return None
    if "priced" in parts:
        rates = Rates(2_500_000_000, 10_000_000_000, 250_000_000)
        return Price(ProviderKind.SCRIPTED, model, _ALWAYS, rates, source="scripted")
    return _free(ProviderKind.SCRIPTED, model)


def read_list(path: Path) -> Iterator[Price]:
    """The entries of a price list in this product's CSV form (its head says date and source)."""
    with path.open(newline="", encoding="utf-8") as file:
        head = dict(part.split("=", 1) for part in file.readline().lstrip("# ").split())
        valid_from = datetime.fromisoformat(head["valid_from"]).replace(tzinfo=UTC)
        for row in csv.DictReader(line for line in file if not line.startswith("#")):
            yield _read(row, valid_from, head["source"])


def _read(row: dict[str, str], valid_from: datetime, source: str) -> Price:
    def rates(prefix: str, base: Rates | None) -> Rates:
        read, write = _number(row[prefix + "cache_read"]), _number(row[prefix + "cache_write"])
        return Rates(
            int(row[prefix + "input"] or (base.input if base else 0)),
            int(row[prefix + "output"] or (base.output if base else 0)),
            read if read is not None or base is None else base.cache_read,
            write if write is not None or base is None else base.cache_write,
        )

    plain = rates("", None)
    long_from = _number(row["tier_tokens"])
    long_rates = rates("tier_", plain) if long_from is not None else None
    return Price(row["kind"], row["model"], valid_from, plain, long_from, long_rates, source)


def _number(text: str) -> int | None:
    return int(text) if text else None
