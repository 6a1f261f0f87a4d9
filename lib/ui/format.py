"""Counts, times, shares and dates as people read them; money is `lib.money.format_money`. Unknown is an em dash."""

from collections.abc import Iterable
from datetime import datetime
from zoneinfo import ZoneInfo

from lib.money import USD, read_sign

_SIGN_PX = 7.3
_PADDING_PX = 20
STATUS_GLYPHS = {
    "ok": "✓ ok",
    "error": "✕ error",
    "truncated": "✂ truncated",
    "timeout": "◷ timeout",
    "cancelled": "■ cancelled",
    "refused": "⊘ refused",
    "orphaned": "◌ orphaned",
    "running": "● running",
}
STATUS_COLOURS = {
    "ok": "green",
    "error": "red",
    "truncated": "orange",
    "timeout": "orange",
    "cancelled": "gray",
    "refused": "gray",
    "orphaned": "gray",
    "running": "blue",
}


def format_count(value: float | None) -> str:
    """Exact under 10,000, then `176.3k`, `305.55M`, `1.20B`."""
    if value is None:
        return "—"
    for limit, divisor, pattern in ((10_000, 1, "{:,.0f}"), (1e6, 1e3, "{:.1f}k"), (1e9, 1e6, "{:.2f}M")):
        if abs(value) < limit:
            return pattern.format(value / divisor)
    return f"{value / 1e9:.2f}B"


def choose_money_format(currency: str) -> str:
    """The format of a table's column of amounts."""
    return "dollar" if currency == USD else "euro" if currency == "EUR" else f"{read_sign(currency)}%.2f"


def compute_column_width(texts: Iterable[str], least: int) -> int:
    """Pixels of a table's column that cuts none of these texts, also in bold, and is not under `least`.

    Streamlit measures a column by regular letters and gives a fixed one what it is told: a sum in bold, or larger than
    the sums of a trial, loses its first digits.
    """
    return max([least, *(round(len(text) * _SIGN_PX + _PADDING_PX) for text in texts)])


def format_duration(milliseconds: float | None) -> str:
    """`840 ms`, `1.24 s`, `12.4 s`, `2 min 05 s`."""
    if milliseconds is None:
        return "—"
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms"
    if milliseconds < 9_995:
        return f"{milliseconds / 1000:.2f} s"
    if milliseconds < 59_950:
        return f"{milliseconds / 1000:.1f} s"
    minutes, seconds = divmod(round(milliseconds / 1000), 60)
    return f"{minutes} min {seconds:02d} s"


def format_age(seconds: int) -> str:
    """`a moment`, `5 min`, `3 h`, `12 days`: how long ago something was."""
    if seconds < 60:
        return "a moment"
    if seconds < 3_600:
        return f"{seconds // 60} min"
    return f"{seconds // 3_600} h" if seconds < 2 * 86_400 else f"{seconds // 86_400} days"


def format_size(octets: int) -> str:
    """`120 bytes`, `4 kB`, `1.2 MB`, in steps of 1,024."""
    if octets < 1024:
        return format_number_of(octets, "byte")
    return f"{octets / 1024:,.0f} kB" if octets < 1024**2 else f"{octets / 1024**2:,.1f} MB"


def format_number_of(many: int, noun: str) -> str:
    """`1 passage`, `1,200 passages`: of nouns that take an s."""
    return f"{many:,} {noun}" if many == 1 else f"{many:,} {noun}s"


def format_share(fraction: float | None) -> str:
    """`37.9 %`; under one percent two decimals."""
    if fraction is None:
        return "—"
    return f"{fraction * 100:.2f} %" if 0 < abs(fraction) < 0.01 else f"{fraction * 100:.1f} %"


def format_moment(value: datetime | None, zone: ZoneInfo) -> str:
    """`31 Oct 2026, 14:22:28` in the given zone."""
    if value is None:
        return "—"
    local = value.astimezone(zone)
    return f"{local.day} {local:%b %Y, %H:%M:%S}"


def format_minute(value: datetime | None, zone: ZoneInfo) -> str:
    """`31 Oct 2026, 14:22` in the given zone, where seconds would only take room."""
    return format_moment(value, zone).rpartition(":")[0] if value is not None else format_moment(value, zone)


def format_speed(tokens_per_second: float | None) -> str:
    """`46 tok/s`; one decimal under ten."""
    if tokens_per_second is None:
        return "—"
    return f"{tokens_per_second:.1f} tok/s" if tokens_per_second < 10 else f"{tokens_per_second:,.0f} tok/s"
