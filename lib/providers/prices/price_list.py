"""Price lists as CSV: the shipped one, and what a team imports and exports.

    kind,model,valid_from,above_tokens,service_tier,input,output,cache_read,…,source

One line for each tier of a model: `above_tokens` empty or 0 is the plain price, any other number the price of a whole
call whose prompt is longer than that; `service_tier` empty is the plain way of serving, any other (`flex`, `priority`,
`batch`, `fast`, `us`, `fast+us` …) the price of calls served so. An empty cell of such a line is as in the plain one.
The rates are those of `Rates`, in decimal US dollars: per million tokens, per image, per request, per second; an empty
cell is not stated. What is charged by the use has a line of its own, whose model is `tool:` and the use's name
(`tool:web_search`) and whose `request` is the fee of one use. `valid_from` is a date or a moment, UTC when it names no
zone. Lines that begin with # are remarks.
"""

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from pathlib import Path
from typing import Any

from lib.errors import InvalidInput
from lib.files.cells import neutralise, restore
from lib.money import NANO_PER_USD, convert_nano_to_usd
from lib.providers.kinds import ProviderKind
from lib.providers.prices.rates import RATE_NAMES, Price, Rates, Tier

_FOLDER = Path(__file__).resolve().parents[3] / "data" / "prices"
SHIPPED = (_FOLDER / "prices.csv", _FOLDER / "fees.csv")
RATES = RATE_NAMES
COLUMNS = ("kind", "model", "valid_from", "above_tokens", "service_tier", *RATES, "source")
_HIGHEST = Decimal(1_000_000)  # dollars per million tokens: a dollar a token
_MOST_ERRORS = 20
_LONGEST_TIER = 32
_KINDS = {kind.value for kind in ProviderKind}
_Tier = tuple[str, int]  # how served, above how many tokens


@dataclass(frozen=True)
class _Line:
    number: int
    key: tuple[str, str, datetime]
    above: int
    service_tier: str
    rates: dict[str, int | None]
    source: str


def read_shipped(paths: Iterable[Path] = SHIPPED) -> list[Price]:
    """The lists that ship with this version: of models, and of what is charged by the use."""
    return [price for path in paths for price in read(path.read_text(encoding="utf-8"))]


def read(text: str) -> list[Price]:
    """The prices of a list; InvalidInput with the numbers of the lines that can't be used."""
    lines = list[_Line]()
    errors = list[str]()
    for number, row in _yield_rows(text):
        try:
            lines.append(_parse_line(number, row))
        except ValueError as error:
            errors.append(f"line {number}: {error}")
    prices = list(_yield_prices(lines, errors))
    if errors:
        overflow = f" … and {len(errors) - _MOST_ERRORS} more" if len(errors) > _MOST_ERRORS else ""
        raise InvalidInput(
            "The price list can't be used.", "; ".join(errors[:_MOST_ERRORS]) + overflow + ".", "Correct these lines."
        )
    return prices


def write(prices: Iterable[Price]) -> str:
    """The list of some prices, one line for each tier."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for price in prices:
        base = price.tiers[0].rates
        for tier in price.tiers:
            is_base = tier.above_tokens == 0 and not tier.service_tier
            amounts = [getattr(tier.rates, name) for name in RATES]
            cells = [
                value if is_base or value != getattr(base, n) else None for n, value in zip(RATES, amounts, strict=True)
            ]
            moment = price.valid_from.astimezone(UTC)
            day = (
                moment.date().isoformat() if moment.hour == moment.minute == moment.second == 0 else moment.isoformat()
            )
            money = ["" if cell is None else format_exact_dollars(cell) for cell in cells]
            how = (tier.above_tokens or "", neutralise(tier.service_tier))
            writer.writerow([price.kind, neutralise(price.model), day, *how, *money, neutralise(price.source)])
    return out.getvalue()


def format_exact_dollars(nano: int) -> str:
    """Nano-dollars as exact decimal dollars without needless zeros."""
    return format(convert_nano_to_usd(nano).normalize(), "f")


@lru_cache(4096)
def parse_nano(text: str) -> int | None:
    """Decimal dollars as nano-dollars, exactly; None for nothing; ValueError for anything else."""
    if not text.strip():
        return None
    try:
        value = Decimal(text.strip().lstrip("$"))
    except InvalidOperation:
        raise ValueError(f"{text[:20]!r} is not a decimal number") from None
    if not value.is_finite() or value < 0 or value > _HIGHEST:
        raise ValueError(f"{text[:20]!r} is not a price from 0 to {_HIGHEST:,} dollars")
    exact = value * NANO_PER_USD
    if exact != exact.to_integral_value():
        raise ValueError(f"{text[:20]!r} is finer than a billionth of a dollar")
    return int(exact)


def build_record(price: Price) -> list[dict[str, Any]]:
    """The tiers as JSON."""
    return [
        {"above_tokens": tier.above_tokens}
        | ({"service_tier": tier.service_tier} if tier.service_tier else {})
        | {name: getattr(tier.rates, name) for name in RATES if getattr(tier.rates, name) is not None}
        for tier in price.tiers
    ]


def build_tiers(tiers: list[dict[str, Any]]) -> tuple[Tier, ...]:
    """Back from JSON."""
    return tuple(
        Tier(t["above_tokens"], Rates(**{n: t.get(n) for n in RATES}), t.get("service_tier", ""))  # type: ignore[arg-type]
        for t in tiers
    )


def _yield_rows(text: str) -> Iterator[tuple[int, dict[str, str]]]:
    lines = text.lstrip("\ufeff").splitlines()
    content_lines = [
        (number, line) for number, line in enumerate(lines, 1) if line.strip() and not line.startswith("#")
    ]
    if not content_lines:
        raise InvalidInput("The price list is empty.", "", f"It needs a header: {','.join(COLUMNS)}")
    reader = csv.DictReader([line for _, line in content_lines])
    if missing := {"kind", "model", "input", "output"} - set(reader.fieldnames or ()):
        raise InvalidInput(
            f"The price list has no column {', '.join(sorted(missing))}.", "", f"Its header is {','.join(COLUMNS)}."
        )
    for (number, _), row in zip(content_lines[1:], reader, strict=False):
        yield number, {name: value or "" for name, value in row.items() if isinstance(name, str)}


def _parse_line(number: int, row: dict[str, str]) -> _Line:
    kind = row["kind"].strip()
    model = restore(row["model"].strip())
    if kind not in _KINDS:
        raise ValueError(f"{kind[:40]!r} is not a kind of provider ({', '.join(sorted(_KINDS))})")
    if not model or len(model) > 200 or not model.isprintable():
        raise ValueError("the model's name can't be used")
    above = row.get("above_tokens", "").strip() or "0"
    if not above.isdecimal() or len(above) > 12:
        raise ValueError(f"above_tokens is {above[:20]!r}, not a number of tokens")
    service_tier = restore(row.get("service_tier", "").strip()).lower()
    if len(service_tier) > _LONGEST_TIER or not service_tier.isprintable() or " " in service_tier:
        raise ValueError(f"service_tier is {service_tier[:40]!r}, not a word like flex or fast+us")
    rates = {name: parse_nano(row.get(name, "")) for name in RATES}
    if int(above) == 0 and not service_tier and (rates["input"] is None or rates["output"] is None):
        raise ValueError("input and output must be stated (0 is free)")
    source = restore(row.get("source", "").strip())[:200]
    key = (kind, model, _parse_moment(row.get("valid_from", "")))
    return _Line(number, key, int(above), "+".join(sorted(service_tier.split("+"))), rates, source)


def _yield_prices(lines: list[_Line], errors: list[str]) -> Iterator[Price]:
    grouped: dict[tuple[str, str, datetime], dict[_Tier, _Line]] = {}
    for line in lines:
        tiers = grouped.setdefault(line.key, {})
        name = (line.service_tier, line.above)
        if name in tiers:
            errors.append(f"line {line.number}: the same as line {tiers[name].number}")
        tiers[name] = line
    for (kind, model, valid_from), tiers in grouped.items():
        if ("", 0) not in tiers:
            first = min(tiers.values(), key=lambda line: line.number)
            errors.append(f"line {first.number}: {model} has no plain price")
            continue
        rates = Rates(**tiers["", 0].rates)  # type: ignore[arg-type]  # input and output are stated
        listed = [_build_tier(tiers[name], rates) for name in sorted(tiers)]
        yield Price(kind, model, valid_from, tuple(listed), tiers["", 0].source)


def _build_tier(line: _Line, plain_rates: Rates) -> Tier:
    stated = {name: value for name, value in line.rates.items() if value is not None}
    return Tier(line.above, replace(plain_rates, **stated), line.service_tier)


@lru_cache(4096)
def _parse_moment(text: str) -> datetime:
    if not text.strip():
        raise ValueError("valid_from is missing")
    try:
        moment = datetime.fromisoformat(text.strip())
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"valid_from is {text[:30]!r}, not a date like 2026-11-22") from None
