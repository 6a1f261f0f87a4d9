"""What rows of the ledger's copy would cost at other prices, as exact SQL, after `lib.providers.prices.rates`.

Prices change with time (`Stretch`), with how a call is served and with the prompt's length (tiers), so a row's rates
are a CASE over these; every number is bound. A call that was served in a way that the other model is not served in
costs what the plain way does. A row's tokens add up to parts of a nano-dollar (`Scale`) and are rounded once, half to
even.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain
from math import gcd

from lib.providers.prices.price_book import PriceBook
from lib.providers.prices.rates import TEXT_RATES, Price, Rates, Tier
from lib.providers.prices.service_tiers import name_priced_tier
from lib.statistics.cube import Query, join

_MILLION = 1_000_000
_FITS = 2**28  # times the tokens of a row (an INTEGER), six times added up, below 2 to the 63rd

# Tokens that are never more than their whole, as a provider's own sums should be.
COLUMNS = """prompt_tokens AS prompt, coalesce(cache_read_tokens, 0) AS read,
    coalesce(cache_write_tokens, 0) AS written, coalesce(cache_write_1h_tokens, 0) AS long,
    completion_tokens AS answer, coalesce(reasoning_tokens, 0) AS thought,
    coalesce(images, 0) AS pictures, service_tier"""


@dataclass(frozen=True)
class Stretch:
    """A price from a moment on, until the next stretch; None: none is known.

    `served` are the tiers of ways of serving that occur in the ledger and have rates of their own, by the row's word.
    """

    start: datetime
    price: Price | None
    served: Mapping[str, tuple[Tier, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Scale:
    """The largest part of a nano-dollar that all rates are whole numbers of: `parts` to one, a millionth at least.

    Smaller numbers are quicker; those that may not fit in 64 bits are summed in 128 (`wide`).
    """

    parts: int
    wide: bool

    def of(self, rate: int) -> int:
        """A rate, nano-dollars per million tokens, in parts per token."""
        return rate * self.parts // _MILLION


def compute_scale(price_stretches: Sequence[Stretch]) -> Scale:
    """The scale that fits every rate."""
    tiers = chain.from_iterable(stretch.price.tiers for stretch in price_stretches if stretch.price)
    rates = {rate for tier in tiers for name in TEXT_RATES if (rate := getattr(tier.rates, name))}
    common = gcd(_MILLION, *rates)
    return Scale(_MILLION // common, max(rates, default=0) // common > _FITS)


def list_stretches(
    book: PriceBook, kind: str, model: str, start: datetime, end: datetime, service_tiers: Iterable[str] = ()
) -> list[Stretch]:
    """The prices of a model within a range, in order; the first begins with it.

    `service_tiers` are the ways in which the rows to be priced were served, in their words.
    """
    versions = chain.from_iterable(
        entries for prices in (book.shipped, book.own()) for (of, _), entries in prices.items() if of == kind
    )
    moments = {price.valid_from for price in versions if start < price.valid_from < end}
    price_stretches: list[Stretch] = []
    for moment in [start, *sorted(moments)]:
        price = book.price(kind, model, moment)
        if not price_stretches or price_stretches[-1].price != price:
            price_stretches.append(Stretch(moment, price, _find_served_tiers(price, kind, service_tiers)))
    return price_stretches


def _find_served_tiers(price: Price | None, kind: str, service_tiers: Iterable[str]) -> dict[str, tuple[Tier, ...]]:
    """The tiers of a price by the words of the rows, where these name one that is not the plain one."""
    if price is None:
        return {}
    tiers_by_word = {word: name_priced_tier(kind, word) for word in service_tiers}
    return {
        word: tiers for word, tier in tiers_by_word.items() if tier and (tiers := price.served_tiers(tier)) is not None
    }


def has_price(price_stretches: Sequence[Stretch]) -> Query:
    """Whether a price is known at a row's moment."""
    return _build_rate_cases(price_stretches, lambda _: Query("true"), "false")


def build_cached_cost(price_stretches: Sequence[Stretch], scale: Scale) -> Query:
    """Cost of a row's tokens with its cache hits at the model's cache prices, as SQL; in parts of a `Scale`."""
    return _build_rate_cases(price_stretches, lambda rates: _sum_cached(rates, scale))


def build_plain_cost(price_stretches: Sequence[Stretch], scale: Scale) -> Query:
    """Cost of a row's tokens without any cache, as SQL; in parts of a `Scale`."""
    return _build_rate_cases(price_stretches, lambda rates: _sum_plain(rates, scale))


def build_request_cost(price_stretches: Sequence[Stretch]) -> Query:
    """Cost of a row's images and of the request itself, in nano-dollars, as SQL."""
    return _build_rate_cases(
        price_stretches, lambda rates: Query("pictures * ? + ?", [rates.image or 0, rates.request or 0])
    )


def round_to_nano(column: str, scale: Scale) -> str:
    """A column of parts as whole nano-dollars."""
    if scale.parts == 1:
        return column
    nano = f"{column} // {scale.parts:d}"
    doubled = f"{column} % {scale.parts:d} * 2"
    is_up = f"{doubled} > {scale.parts:d} OR ({doubled} = {scale.parts:d} AND ({nano}) % 2 = 1)"
    return f"({nano} + CAST({is_up} AS INTEGER))"


def _sum_cached(rates: Rates, scale: Scale) -> Query:
    read = _choose_rate(rates.cache_read, rates.input)
    write = _choose_rate(rates.cache_write, rates.input)
    parts = {
        "greatest(0, prompt - read - written)": rates.input,
        "read": read,
        "greatest(0, written - long)": write,
        "long": _choose_rate(rates.cache_write_1h, write),
    }
    return _sum(parts | _list_answer_rates(rates), scale)


def _sum_plain(rates: Rates, scale: Scale) -> Query:
    return _sum({"prompt": rates.input} | _list_answer_rates(rates), scale)


def _list_answer_rates(rates: Rates) -> dict[str, int]:
    reasoning = _choose_rate(rates.reasoning, rates.output)
    return {"greatest(0, answer - thought)": rates.output, "thought": reasoning}


def _sum(parts: dict[str, int], scale: Scale) -> Query:
    """Tokens times rates, added up."""
    kind = "HUGEINT" if scale.wide else "BIGINT"
    sql = " + ".join(f"{tokens} * CAST(? AS {kind})" for tokens in parts)
    return Query(sql, [scale.of(rate) for rate in parts.values()])


def _build_rate_cases(
    price_stretches: Sequence[Stretch], sql: Callable[[Rates], Query], otherwise: str = "NULL"
) -> Query:
    """A CASE over the price's moments, the newest first, and its tiers, the highest first."""
    query = Query("CASE")
    for stretch in reversed(price_stretches):
        moment = stretch.start.astimezone(UTC).replace(tzinfo=None)
        if stretch.price is None:
            query = join(query, Query(f" WHEN started_at >= ? THEN {otherwise}", [moment]))
            continue
        for word, tiers in stretch.served.items():
            query = join(
                query, _build_tier_branches(tiers, Query("started_at >= ? AND service_tier = ?", [moment, word]), sql)
            )
        query = join(query, _build_tier_branches(stretch.price.plain_tiers, Query("started_at >= ?", [moment]), sql))
    return join(query, f" ELSE {otherwise} END")


def _build_tier_branches(tiers: Sequence[Tier], condition: Query, sql: Callable[[Rates], Query]) -> Query:
    """The branches of a CASE for rows that meet a condition, those of the longest prompts first."""
    first, *higher = tiers
    query = Query("")
    for tier in reversed(higher):
        longer = join(" WHEN ", condition, Query(" AND prompt > ? THEN ", [tier.above_tokens]))
        query = join(query, longer, sql(tier.rates))
    return join(query, " WHEN ", condition, " THEN ", sql(first.rates))


def _choose_rate(rate: int | None, otherwise: int) -> int:
    return otherwise if rate is None else rate
