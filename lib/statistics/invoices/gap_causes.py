"""Why a provider's figures and the ledger's differ: each cause with the figures that speak for it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum

from lib.money import format_money


class CauseKind(StrEnum):
    """What may lie behind a gap."""

    NO_MODEL = "no_model"
    TIME_ZONE = "time_zone"
    UNPRICED = "unpriced"
    OUTSIDE = "outside"
    ONLY_HERE = "only_here"
    CACHED = "cached"
    ROUNDING = "rounding"
    PRICE = "price"
    UNEXPLAINED = "unexplained"


@dataclass(frozen=True)
class Cause:
    """A cause and its evidence, a sentence."""

    kind: CauseKind
    text: str


@dataclass(frozen=True)
class Side:
    """One side's figures; None is unknown. `unpriced` calls are in no cost; `lines` are those of the file."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cache_read_tokens: int | None = None
    cost_nano: int | None = None
    calls: int = 0
    unpriced: int = 0
    lines: int = 0

    @property
    def tokens(self) -> int | None:
        """Prompt and completion; None when neither is known."""
        return _add(self.prompt_tokens, self.completion_tokens)

    def plus(self, other: "Side") -> "Side":
        """Both together; what only one of them knows is the sum."""
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return Side(*(_add(a, b) for a, b in pairs))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Gap:
    """A day and model (None: all of them), both sides, and why they differ."""

    day: date | None
    model: str | None
    theirs: Side
    ours: Side
    causes: tuple[Cause, ...] = ()

    @property
    def tokens(self) -> int | None:
        """Theirs less ours; None unless both are known."""
        return _subtract(self.theirs.tokens, self.ours.tokens)

    @property
    def cost_nano(self) -> int | None:
        """Theirs less ours; None unless both are known."""
        return _subtract(self.theirs.cost_nano, self.ours.cost_nano)


def explain_gaps(
    gaps: Iterable[Gap], shifts: Mapping[str | None, Cause], quantum_nano: int, *, splits_cost: bool = True
) -> list[Gap]:
    """The gaps of models with their causes; `shifts` as of `shifted`, `quantum_nano` is the file's last digit.

    `splits_cost`: the file says of which model a cost is; else one without a model may be of any.
    """
    return [
        replace(gap, causes=tuple(_find_causes(gap, shifts.get(gap.model), quantum_nano, splits_cost))) for gap in gaps
    ]


def has_gap(gap: Gap) -> bool:
    """Whether the sides differ by more than rounding, or something is missing on one of them."""
    kinds = {cause.kind for cause in gap.causes}
    differs = bool(gap.tokens) or (bool(gap.cost_nano) and CauseKind.ROUNDING not in kinds)
    return differs or bool(kinds - {CauseKind.ROUNDING, CauseKind.UNPRICED})


def find_shifts(gaps: Sequence[Gap], elsewhere: Mapping[str, Sequence[Gap]], zone: str) -> dict[str | None, Cause]:
    """Find the models whose days seem to be cut in another time zone, each with its cause.

    `elsewhere` holds the gaps with days cut in other zones, by the zone's name.
    """
    causes = {model: _find_shift(gaps, elsewhere, zone, model) for model in {gap.model for gap in gaps}}
    return {model: cause for model, cause in causes.items() if cause is not None}


def _find_causes(gap: Gap, shift: Cause | None, quantum_nano: int, splits_cost: bool) -> list[Cause]:
    theirs = gap.theirs
    ours = gap.ours
    causes = list[Cause]()
    unpriced = ours.unpriced if theirs.cost_nano is not None else 0
    if shift is not None:
        causes.append(shift)
    is_alone = bool(theirs.lines) and not ours.calls
    if gap.model is None and is_alone and theirs.tokens is None and splits_cost:
        return [Cause(CauseKind.NO_MODEL, "Charged for no model: searches, running code, storage.")]
    if unpriced:
        calls = "1 call" if unpriced == 1 else f"{unpriced:,} calls"
        causes.append(Cause(CauseKind.UNPRICED, f"No price is known for {calls} here, so no cost has them."))
    if gap.tokens is None and is_alone and gap.model is not None:
        causes.append(Cause(CauseKind.OUTSIDE, "They charge for it, and no call here is of this model."))
    elif gap.tokens and shift is None:
        causes.append(_explain_tokens(gap.tokens))
    if gap.cost_nano and not gap.tokens and not unpriced and not causes:
        causes.append(_explain_money(gap, quantum_nano))
    return causes


def _explain_tokens(tokens: int) -> Cause:
    """Tokens that one side alone has."""
    if tokens > 0:
        return Cause(CauseKind.OUTSIDE, f"No call here has {tokens:,} tokens that they count: calls that went past it.")
    text = f"{-tokens:,} tokens are here alone: of another account or export, or counted later by them."
    return Cause(CauseKind.ONLY_HERE, text)


def _explain_money(gap: Gap, quantum_nano: int) -> Cause:
    """Why money differs where tokens do not, or are not told."""
    money = gap.cost_nano or 0
    theirs = gap.theirs
    ours = gap.ours
    hidden = (theirs.lines * quantum_nano + ours.calls + 1) // 2  # half of the last digit, of each line and each call
    if abs(money) <= hidden:
        return Cause(CauseKind.ROUNDING, f"Rounding: {_format_nano(abs(money))}.")
    if gap.tokens is None:
        return Cause(CauseKind.UNEXPLAINED, _NOT_EXPLAINED[money > 0])
    if read := _subtract(theirs.cache_read_tokens, ours.cache_read_tokens):
        difference = f"{abs(read):,} {'more' if read > 0 else 'fewer'} of the prompt's tokens"
        return Cause(CauseKind.CACHED, f"Tokens agree, but {difference} came from a cache by their count.")
    share = f" ({money / ours.cost_nano:+.1%})" if ours.cost_nano else ""
    return Cause(CauseKind.PRICE, f"Tokens agree, money does not: {_format_nano(money)}{share} beside the prices here.")


_NOT_EXPLAINED = {
    True: "Not explained; calls past the gateway?",
    False: "Not explained; calls of another account, a credit, or a charge that comes later?",
}


def _find_shift(gaps: Sequence[Gap], shifts: Mapping[str, Sequence[Gap]], zone: str, model: str | None) -> Cause | None:
    """Days cut elsewhere: the zone in which the days' gaps of a model shrink by half or more."""
    own_width, unit = _sum_widths([gap for gap in gaps if gap.model == model])
    if not own_width:
        return None
    widths = {
        name: _sum_widths([gap for gap in zone_gaps if gap.model == model])[0] for name, zone_gaps in shifts.items()
    }
    best = min(widths, key=lambda name: widths[name], default=None)
    if best is None or widths[best] * 2 > own_width:
        return None
    format_width = _format_nano if unit == "nano" else lambda width: f"{width:,} tokens"
    less = f"from {format_width(own_width)} to {format_width(widths[best])}"
    text = f"With days cut in {best} instead of {zone}, the gaps of all days shrink {less}."
    return Cause(CauseKind.TIME_ZONE, text)


def _sum_widths(gaps: Sequence[Gap]) -> tuple[int, str]:
    """The days' gaps added up without their signs: in tokens where they are told, else in nano-dollars."""
    if any(gap.tokens is not None for gap in gaps):
        return sum(abs(gap.tokens or 0) for gap in gaps), "tokens"
    return sum(abs(gap.cost_nano or 0) for gap in gaps), "nano"


def _format_nano(nano: int) -> str:
    return format_money(nano)


def _add(first: int | None, second: int | None) -> int | None:
    return second if first is None else first if second is None else first + second


def _subtract(first: int | None, second: int | None) -> int | None:
    return None if first is None or second is None else first - second
