"""Reconciliation: what a provider says it was used for and charges, beside what the ledger has; the gap and its causes.

The two are compared per day and model, in tokens and in money; a model stands under its bare name (without its date),
for invoices name the snapshot and programs often do not. Exact: integers on both sides. What one side does not know is
missing, and no gap is made of it. Causes are named only with the figures that show them.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
from sqlalchemy import select

from lib.access.permissions import Actor
from lib.db.engine import Store
from lib.db.tables import providers
from lib.money import convert_nano_to_usd
from lib.providers.kinds import ProviderKind
from lib.providers.model_names import strip_to_bare_name
from lib.statistics.filters import StatisticsFilter
from lib.statistics.invoices import gap_causes
from lib.statistics.invoices.gap_causes import Cause, CauseKind, Gap, Side
from lib.statistics.invoices.invoice_lines import Invoice
from lib.statistics.measures import Axis, Dimension, Measure
from lib.statistics.periods import PeriodStep, compute_midnight
from lib.statistics.queries import Statistics
from lib.usage_files.model_ids import derive_model_id

_UTC = ZoneInfo("UTC")
_MEASURES = {
    Measure.PROMPT_TOKENS: "prompt_tokens",
    Measure.COMPLETION_TOKENS: "completion_tokens",
    Measure.CACHE_READ_TOKENS: "cache_read_tokens",
    Measure.COST: "cost_nano",
    Measure.CALLS: "calls",
    Measure.UNPRICED: "unpriced",
}
_Key = tuple[date, str | None]


@dataclass(frozen=True)
class Reconciliation:
    """Every day and model of either side, in order, and the whole; `zone` is where the days are cut."""

    gaps: Sequence[Gap]
    by_model: Sequence[Gap]  # over all days, the widest first
    by_day: Sequence[Gap]  # over all models, in order; causes name their model
    total: Gap
    first: date
    last: date
    zone: ZoneInfo
    providers: tuple[str, ...]


class Reconcile:
    """The service; an actor's own calls alone where they may not see the others'."""

    def __init__(self, store: Store, statistics: Statistics) -> None:
        self._store = store
        self._statistics = statistics

    def compare(
        self,
        actor: Actor,
        invoice: Invoice,
        filters: StatisticsFilter | None = None,
        zone: ZoneInfo = _UTC,
        other_zones: Iterable[ZoneInfo] = (),
    ) -> Reconciliation:
        """The gaps; of the filter's providers, else of those of the invoice's kind, within its days.

        `zone` is where the invoice's days are cut; a shift is looked for in UTC and the other zones.
        """
        base = filters or StatisticsFilter()
        if not base.providers and invoice.kind is not None:
            base = replace(base, providers=self._of_kind(invoice.kind))
        theirs = _sum_invoice_sides(invoice)
        days = [line.day for line in invoice.lines]
        first = min(days)
        last = max(days)
        has_models = any(line.model is not None for line in invoice.lines)
        ours = {
            cut_zone.key: self._ours(actor, base, cut_zone, first, last, invoice.kind, has_models)
            for cut_zone in {any_zone.key: any_zone for any_zone in (zone, _UTC, *other_zones)}.values()
        }
        if has_models and not invoice.splits_cost:
            ours = {name: _split_costs(sides) for name, sides in ours.items()}
        gaps = _build_gaps(theirs, ours[zone.key], invoice)
        elsewhere = {
            name: _build_gaps(theirs, zone_sides, invoice) for name, zone_sides in ours.items() if name != zone.key
        }
        shifts = gap_causes.find_shifts(gaps, elsewhere, zone.key)
        plain = _sum_by(gaps, lambda gap: (None, gap.model))
        gaps, by_model = (
            gap_causes.explain_gaps(model_gaps, shifts, invoice.quantum_nano, splits_cost=invoice.splits_cost)
            for model_gaps in (gaps, plain)
        )
        of_days = {gap.model: gap.causes for gap in _sum_by(gaps, lambda gap: (None, gap.model))}
        by_model = [replace(gap, causes=_choose_causes(gap.causes, of_days[gap.model])) for gap in by_model]
        by_day = sorted(_sum_by(map(_name_causes, gaps), lambda gap: (gap.day, None)), key=lambda gap: gap.day or first)
        total = _sum_by(map(_name_causes, by_model), lambda _: (None, None))[0]
        return Reconciliation(gaps, by_model, by_day, total, first, last, zone, base.providers)

    def _of_kind(self, kind: str) -> tuple[str, ...]:
        """The providers of a kind; the kind's own name too, under which imported calls stand."""
        with self._store.read() as connection:
            names = connection.scalars(select(providers.c.name).where(providers.c.kind == kind)).all()
        return tuple(dict.fromkeys([*names, kind]))

    def _ours(
        self,
        actor: Actor,
        base: StatisticsFilter,
        zone: ZoneInfo,
        first: date,
        last: date,
        kind: str | None,
        has_models: bool,
    ) -> dict[_Key, Side]:
        """Read the ledger's figures by day, cut in a zone, and bare model name."""
        filters = replace(
            base, start=compute_midnight(first, zone), end=compute_midnight(last + timedelta(days=1), zone), zone=zone
        )
        axes: list[Axis] = [PeriodStep.DAY, Dimension.MODEL, Dimension.SERVED_MODEL]
        sides: dict[_Key, Side] = {}
        for row in self._statistics.pivot(actor, filters, axes, list(_MEASURES)).to_dict("records"):
            served = row["served_model"] if isinstance(row["served_model"], str) else row["model"]
            key = date.fromisoformat(row["day"]), _normalise_model(kind, served) if has_models else None
            sides[key] = sides.get(key, Side()).plus(_build_side(row))
        return sides


def _sum_invoice_sides(invoice: Invoice) -> dict[_Key, Side]:
    sides: dict[_Key, Side] = {}
    for line in invoice.lines:
        key = line.day, None if line.model is None else _normalise_model(invoice.kind, line.model)
        values = line.prompt_tokens, line.completion_tokens, line.cache_read_tokens, line.cost_nano
        sides[key] = sides.get(key, Side()).plus(Side(*values, lines=line.parts))
    return sides


def _build_side(row: Mapping[Any, Any]) -> Side:
    values: Any = {ours: None if pd.isna(row[name]) else int(row[name]) for name, ours in _MEASURES.items()}
    return Side(**values)


def _build_gaps(theirs: Mapping[_Key, Side], ours: Mapping[_Key, Side], invoice: Invoice) -> list[Gap]:
    """A gap for each day and model of either side; where one has nothing, it has zero of what the other tells."""
    stated_zeros = {name: 0 for name in _SAID if any(getattr(line, name) is not None for line in invoice.lines)}
    none_of_theirs = Side(**stated_zeros)
    none_of_ours = Side(0, 0, 0, 0)
    return [
        Gap(day, model, theirs.get((day, model), none_of_theirs), ours.get((day, model), none_of_ours))
        for day, model in sorted({*theirs, *ours}, key=lambda key: (key[0], key[1] or ""))
    ]


def _split_costs(sides: Mapping[_Key, Side]) -> dict[_Key, Side]:
    """Costs apart from their models, by day: as of an invoice whose costs name no model."""
    split: dict[_Key, Side] = {key: replace(side, cost_nano=None, unpriced=0) for key, side in sides.items()}
    for (day, _), side in sides.items():
        key = day, None
        split[key] = split.get(key, Side()).plus(Side(cost_nano=side.cost_nano, unpriced=side.unpriced))
    return split


_SAID = ("prompt_tokens", "completion_tokens", "cache_read_tokens", "cost_nano")


def _normalise_model(kind: str | None, model: str) -> str:
    """`Claude Haiku 3.5` and `claude-3-5-haiku-20241022` are both `claude-3-5-haiku`."""
    name = derive_model_id(model).partition(" (")[0].partition(" Usage")[0].strip()
    if " " in name:
        name = name.replace(" ", "-").replace(".", "-")
    return strip_to_bare_name(kind or ProviderKind.CUSTOM, name.lower())


def _name_causes(gap: Gap) -> Gap:
    """The gap with its model in its causes."""
    causes = (Cause(cause.kind, f"{gap.model}: {cause.text}" if gap.model else cause.text) for cause in gap.causes)
    return replace(gap, causes=tuple(causes))


def _choose_causes(of_sum: tuple[Cause, ...], of_days: tuple[Cause, ...]) -> tuple[Cause, ...]:
    """A model's causes: those of its sum, else those of days that cancel out; rounding where there is nothing else."""
    for causes in (of_sum, of_days):
        if any(cause.kind is not CauseKind.ROUNDING for cause in causes):
            return causes
    return of_sum or of_days[:1]


def _sum_by(gaps: Iterable[Gap], key: Callable[[Gap], tuple[date | None, str | None]]) -> list[Gap]:
    """Gaps of one key as one, with the causes of all; the widest first."""
    gaps_by_key: dict[tuple[date | None, str | None], Gap] = {}
    for gap in gaps:
        day, model = at = key(gap)
        earlier = gaps_by_key.get(at, Gap(day, model, Side(), Side()))
        causes = tuple(dict.fromkeys([*earlier.causes, *gap.causes]))
        gaps_by_key[at] = Gap(day, model, earlier.theirs.plus(gap.theirs), earlier.ours.plus(gap.ours), causes)
    return sorted(gaps_by_key.values(), key=lambda gap: -abs(gap.cost_nano or gap.tokens or 0))


def build_table(gaps: Iterable[Gap]) -> pd.DataFrame:
    """Gaps as a frame with exact dollars, to be shown and exported."""
    rows = [
        {
            "day": None if gap.day is None else gap.day.isoformat(),
            "model": gap.model,
            "their_prompt_tokens": gap.theirs.prompt_tokens,
            "our_prompt_tokens": gap.ours.prompt_tokens,
            "their_completion_tokens": gap.theirs.completion_tokens,
            "our_completion_tokens": gap.ours.completion_tokens,
            "token_gap": gap.tokens,
            "their_cost_usd": _convert_to_usd(gap.theirs.cost_nano),
            "our_cost_usd": _convert_to_usd(gap.ours.cost_nano),
            "gap_usd": _convert_to_usd(gap.cost_nano),
            "our_calls": gap.ours.calls,
            "our_unpriced_calls": gap.ours.unpriced,
            "causes": "; ".join(cause.text for cause in gap.causes),
        }
        for gap in gaps
    ]
    frame = pd.DataFrame(rows, columns=_COLUMNS)
    whole = [name for name in _COLUMNS if name.endswith(("_tokens", "_calls", "token_gap"))]
    return frame.astype(dict.fromkeys(whole, "Int64"))


_COLUMNS = [
    "day", "model", "their_prompt_tokens", "our_prompt_tokens", "their_completion_tokens", "our_completion_tokens",
    "token_gap", "their_cost_usd", "our_cost_usd", "gap_usd", "our_calls", "our_unpriced_calls", "causes",
]  # fmt: skip


def _convert_to_usd(nano: int | None) -> Any:
    return None if nano is None else convert_nano_to_usd(nano)
