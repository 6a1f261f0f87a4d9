"""Money: integers of a billionth of a US dollar in storage, Decimal in arithmetic, never a float.

Unknown is None and stays None through every sum's operands; free is an explicit 0.
"""

from decimal import ROUND_HALF_EVEN, Decimal

NANO_PER_USD = 1_000_000_000
_MILLION = 1_000_000
USD = "USD"
LEAST = "≥"
_SIGNS = {USD: "$", "EUR": "€", "GBP": "£", "JPY": "¥", "INR": "₹", "KRW": "₩"}


def convert_usd_to_nano(usd: Decimal | str) -> int:
    """Dollars to nano-dollars, rounded half to even."""
    return int((Decimal(usd) * NANO_PER_USD).to_integral_value(ROUND_HALF_EVEN))


def convert_nano_to_usd(nano: int) -> Decimal:
    """Nano-dollars to exact dollars."""
    return Decimal(nano) / NANO_PER_USD


def compute_token_cost_nano(parts: list[tuple[int, int]]) -> int:
    """Cost of (tokens, nano-dollars per million tokens) pairs, summed exactly and rounded once, half to even."""
    return divide_by_million(sum([tokens * price for tokens, price in parts]))


def divide_by_million(total: int) -> int:
    """Divide a sum by a million, rounded half to even, in whole numbers throughout."""
    whole, remainder = divmod(total, _MILLION)
    return whole + (remainder * 2 > _MILLION or (remainder * 2 == _MILLION and whole % 2 == 1))


def read_sign(currency: str) -> str:
    """Get the sign before an amount of a currency: `$`, `€`, `CHF `."""
    return _SIGNS.get(currency, f"{currency} ")


def format_cost(nano: int | None, status: str) -> str:
    """Format a call's cost by its `cost_status`: `≈` is estimated, `≥` the known part of a cost."""
    text = format_money(nano, estimated=status == "estimated")
    return mark_least(text, status == "partial" and nano is not None)


def choose_least_sign(is_least: bool) -> str:
    """Get the sign for a column beside an amount: `≥` where the whole may be more, else nothing."""
    return LEAST if is_least else ""


def mark_least(text: str, is_least: bool) -> str:
    """Write an amount that is spelled already with its bound: `≥ $1.20` where the whole may be more."""
    return f"{LEAST} {text}" if is_least else text


def format_sum(
    nano: int | None, unknown: int, currency: str = USD, *, estimated: bool = False, is_short: bool = False
) -> str:
    """A sum as people read it; `≥` where the costs of so many calls are not, or not wholly, in it.

    Short sums are those of `format_large_money`.
    """
    if is_short:
        text = format_large_money(nano, currency)
    else:
        text = format_money(nano, currency, estimated=estimated and not unknown)
    return mark_least(text, bool(unknown) and nano is not None)


def format_spent(spent_nano: int, limit_nano: int, unknown: int) -> str:
    """Say what is spent of a limit: `$5.00 of $10.00`, `≥ $5.00 of $10.00` where so many calls' costs are not in it."""
    return f"{format_sum(spent_nano, unknown)} of {format_money(limit_nano)}"


def format_price(nano: int | None, currency: str = USD) -> str:
    """Write a price exactly, with two decimals at least: `$0.10`, `$12.50`, `$0.0375`; `$0` is free, `—` unknown.

    `nano` are billionths of the currency.
    """
    if not nano:
        return format_money(nano, currency)
    whole, _, decimals = f"{abs(convert_nano_to_usd(nano)):,.9f}".partition(".")
    return f"{'−' if nano < 0 else ''}{read_sign(currency)}{whole}.{decimals.rstrip('0'):0<2}"


def format_large_money(nano: int | None, currency: str = USD) -> str:
    """Write an amount of nano-dollars in few signs, for narrow places: `$176.3k`, `$10.00M`, `$1.20B`.

    Amounts under 100,000 are written in full, as by `format_money`.
    """
    if nano is None or abs(nano) < 100_000 * NANO_PER_USD:
        return format_money(nano, currency)
    amount = abs(convert_nano_to_usd(nano))
    steps = ((_MILLION, 1000, ".1f", "k"), (1000 * _MILLION, _MILLION, ".2f", "M"))
    divisor, digits, unit = next((step[1:] for step in steps if amount < step[0]), (1000 * _MILLION, ".2f", "B"))
    return f"{'−' if nano < 0 else ''}{read_sign(currency)}{amount / divisor:{digits}}{unit}"


def format_money(nano: int | None, currency: str = USD, *, estimated: bool = False) -> str:
    """Format an amount: `$1,829.36`, `$0.412`, `$0.0041`, `<$0.0001`, `$0` (free), `—` (unknown), `≈` (estimated).

    `nano` are billionths of the currency.
    """
    if nano is None:
        return "—"
    sign = read_sign(currency)
    if nano == 0:
        return f"{sign}0"
    usd = convert_nano_to_usd(abs(nano))
    if usd < Decimal("0.0001"):
        text = f"<{sign}0.0001"
    elif usd < Decimal("0.01"):
        text = f"{sign}{usd:.4f}"
    elif usd < 1:
        text = f"{sign}{usd:.3f}"
    else:
        text = f"{sign}{usd:,.2f}"
    return ("≈ " if estimated else "") + ("−" if nano < 0 else "") + text
