"""What rows of the ledger's copy would cost at other prices, as exact SQL: the arithmetic of `lib.providers.prices`.

Prices change with time (`Stretch`) and with the prompt's length (tiers), so a row's rates are a CASE over both; every
number is bound. A row's tokens add up to millionths of a nano-dollar and are rounded once, half to even.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain

from lib.providers.price_book import PriceBook
from lib.providers.prices import Price, Rates
from lib.statistics.cube import Query, join

# Tokens that are never more than their whole, as a provider's own sums should be.
COLUMNS = """CAST(prompt_tokens AS HUGEINT) AS prompt, coalesce(cache_read_tokens, 0) AS read,
    coalesce(cache_write_tokens, 0) AS written, coalesce(cache_write_1h_tokens, 0) AS long,
    CAST(completion_tokens AS HUGEINT) AS answer, coalesce(reasoning_tokens, 0) AS thought,
    coalesce(images, 0) AS pictures"""


@dataclass(frozen=True)
class Stretch:
    """A price from a moment on, until the next stretch; None: none is known."""

    start: datetime
    price: Price | None


def stretches(book: PriceBook, kind: str, model: str, start: datetime, end: datetime) -> list[Stretch]:
    """The prices of a model within a range, in order; the first begins with it."""
    versions = chain.from_iterable(
        entries for known in (book.shipped, book.own()) for (of, _), entries in known.items() if of == kind
    )
    moments = {price.valid_from for price in versions if start < price.valid_from < end}
    found: list[Stretch] = []
    for moment in [start, *sorted(moments)]:
        price = book.price(kind, model, moment)
        if not found or found[-1].price != price:
            found.append(Stretch(moment, price))
    return found


def has_price(found: Sequence[Stretch]) -> Query:
    """Whether a price is known at a row's moment."""
    return _by_rates(found, lambda _: Query("true"), "false")


def cached_millionths(found: Sequence[Stretch]) -> Query:
    """What the tokens cost with the hits that the row has, at the model's own cache prices."""
    return _by_rates(found, _as_cached)


def plain_millionths(found: Sequence[Stretch]) -> Query:
    """What the tokens cost when none is read from a cache or written to one."""
    return _by_rates(found, _as_plain)


def whole(found: Sequence[Stretch]) -> Query:
    """What images and the request itself cost, in nano-dollars."""
    return _by_rates(found, lambda rates: Query("pictures * ? + ?", [rates.image or 0, rates.request or 0]))


def rounded(millionths: str) -> str:
    """A column of millionths as whole nano-dollars."""
    nano, rest = f"{millionths} // 1000000", f"{millionths} % 1000000"
    return f"({nano} + CAST({rest} > 500000 OR ({rest} = 500000 AND ({nano}) % 2 = 1) AS INTEGER))"


def _as_cached(rates: Rates) -> Query:
    read, write = _either(rates.cache_read, rates.input), _either(rates.cache_write, rates.input)
    fresh = Query(
        "greatest(0, prompt - read - written) * ? + read * ? + greatest(0, written - long) * ? + long * ? + ",
        [rates.input, read, write, _either(rates.cache_write_1h, write)],
    )
    return join(fresh, _answer(rates))


def _as_plain(rates: Rates) -> Query:
    return join(Query("prompt * ? + ", [rates.input]), _answer(rates))


def _answer(rates: Rates) -> Query:
    reasoning = _either(rates.reasoning, rates.output)
    return Query("greatest(0, answer - thought) * ? + thought * ?", [rates.output, reasoning])


def _by_rates(found: Sequence[Stretch], sql: Callable[[Rates], Query], otherwise: str = "NULL") -> Query:
    """A CASE over the price's moments, the newest first, and its tiers, the highest first."""
    query = Query("CASE")
    for stretch in reversed(found):
        moment = stretch.start.astimezone(UTC).replace(tzinfo=None)
        if stretch.price is None:
            query = join(query, Query(f" WHEN started_at >= ? THEN {otherwise}", [moment]))
            continue
        first, *higher = stretch.price.tiers
        for tier in reversed(higher):
            condition = Query(" WHEN started_at >= ? AND prompt > ? THEN ", [moment, tier.above_tokens])
            query = join(query, condition, sql(tier.rates))
        query = join(query, Query(" WHEN started_at >= ? THEN ", [moment]), sql(first.rates))
    return join(query, f" ELSE {otherwise} END")


def _either(rate: int | None, otherwise: int) -> int:
    return otherwise if rate is None else rate
