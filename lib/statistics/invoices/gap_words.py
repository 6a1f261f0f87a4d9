"""A reconciliation in a few sentences: how much more they charge, on which days and models, why, and rounding."""

from collections.abc import Iterable, Sequence
from datetime import date
from typing import TYPE_CHECKING

from lib.money import format_money
from lib.statistics.invoices.gap_causes import CauseKind, Gap, has_gap

if TYPE_CHECKING:
    from lib.statistics.invoices.reconcile import Reconciliation

_MOST_DAYS = 3
_MOST_MODELS = 3
_MOST_ALIKE = 1


def write_sentences(reconciliation: "Reconciliation") -> list[str]:
    """The whole gap, where it lies, its causes, what rounding hides; one sentence or two each."""
    real = [gap for gap in reconciliation.gaps if has_gap(gap)]
    rounding = sum(abs(gap.cost_nano or 0) for gap in reconciliation.gaps if not has_gap(gap))
    parts = [_describe_difference(reconciliation.total, real)]
    if real:
        in_money = any(gap.cost_nano for gap in real)
        parts.append(_describe_places([gap for gap in real if (gap.cost_nano if in_money else gap.tokens)], in_money))
        parts += _list_causes(reconciliation.total)
    if rounding:
        parts.append(f"Rounding: {format_money(rounding)}.")
    return [words for words in parts if words]


def _describe_difference(total: Gap, real: Sequence[Gap]) -> str:
    """`They charge $0.622 (0.8 %) more.`"""
    if not real:
        return "They agree."
    money = sum(gap.cost_nano or 0 for gap in real)
    tokens = sum(gap.tokens or 0 for gap in real)
    if money:
        share = _format_share(money, total.ours.cost_nano)
        return f"They charge {format_money(abs(money))}{share} {'more' if money > 0 else 'less'}."
    if tokens:
        share = _format_share(tokens, total.ours.tokens)
        return f"They count {abs(tokens):,} tokens{share} {'more' if tokens > 0 else 'fewer'}."
    return "The sums agree, their parts do not."


def _format_share(part: int, whole: int | None) -> str:
    if not whole:
        return ""
    percent = abs(part) / abs(whole) * 100
    return f" ({percent:.1f} %)" if percent >= 0.05 else " (<0.1 %)"


def _describe_places(real: Iterable[Gap], in_money: bool) -> str:
    """`All of it on 22 Oct: gpt-5.1 $0.48, gpt-5-mini $0.14.`"""
    days: dict[date | None, list[Gap]] = {}
    for gap in real:
        days.setdefault(gap.day, []).append(gap)
    widest = sorted(days, key=lambda day: -abs(sum(_read_width(gap, in_money) for gap in days[day])))
    day_parts = [f"{_format_day(day)}: {_format_models(days[day], in_money)}" for day in widest[:_MOST_DAYS]]
    if not day_parts:
        return ""
    if len(widest) == 1:
        return f"All of it on {day_parts[0]}."
    hidden_days = len(widest) - _MOST_DAYS
    ending = f"; and {hidden_days} more {'day' if hidden_days == 1 else 'days'}" if hidden_days > 0 else ""
    return f"On {len(widest)} days, the widest first: {'; '.join(day_parts)}{ending}."


def _format_models(gaps: list[Gap], in_money: bool) -> str:
    widest = sorted(gaps, key=lambda gap: -abs(_read_width(gap, in_money)))
    model_parts = [
        f"{gap.model or 'no model'} {_format_figure(_read_width(gap, in_money), in_money)}"
        for gap in widest[:_MOST_MODELS]
    ]
    hidden_models = len(widest) - _MOST_MODELS
    return ", ".join(model_parts) + (f" and {hidden_models} more" if hidden_models > 0 else "")


def _list_causes(total: Gap) -> list[str]:
    """Each kind of cause once, with its widest model's evidence; what has none last."""
    by_kind: dict[CauseKind, list[str]] = {}
    for cause in total.causes:  # those of the widest gaps first
        if cause.kind is not CauseKind.ROUNDING:
            by_kind.setdefault(cause.kind, []).append(cause.text)
    unexplained = by_kind.pop(CauseKind.UNEXPLAINED, [])
    lines = [text + (f" And {len(similar)} more like it." if similar else "") for text, *similar in by_kind.values()]
    return lines + ([unexplained[0].partition(": ")[2] or unexplained[0]] if unexplained else [])


def _read_width(gap: Gap, in_money: bool) -> int:
    return (gap.cost_nano if in_money else gap.tokens) or 0


def _format_figure(width: int, in_money: bool) -> str:
    return format_money(width) if in_money else f"{width:,} tokens".replace("-", "−")


def _format_day(day: date | None) -> str:
    return "no day" if day is None else f"{day.day} {day:%b}"
