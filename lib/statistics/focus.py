"""The figures of a range with the columns of FOCUS, the FinOps Open Cost and Usage Specification 1.2.

https://focus.finops.org/focus-specification/v1-2/ names them and their forms; all that it makes mandatory are there,
and those that may not be null never are. A row is a day (of the report zone), a provider, a model and an app. What has
no known cost is left out, for a file of costs must not call it free: `unpriced_calls` counts it. A row that has calls
with and without a price says how many have none (`x_UnpricedCalls`). A quantity is in tokens; where nobody counted
them, in requests; where nobody counted those, one unit.
"""

import json
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pandas as pd

from lib.access.permissions import Actor
from lib.statistics.explore import convert_exactly
from lib.statistics.export import set_types
from lib.statistics.filters import StatisticsFilter
from lib.statistics.measures import Dimension, Measure, Unit
from lib.statistics.periods import PeriodStep
from lib.statistics.queries import Statistics

_AXES = (PeriodStep.DAY, Dimension.PROVIDER, Dimension.MODEL, Dimension.APP)
_MEASURES = (Measure.COST, Measure.TOKENS, Measure.CALLS, Measure.UNPRICED)
_KINDS = {
    **dict.fromkeys(("BilledCost", "ContractedCost", "EffectiveCost", "ListCost"), Unit.NANO_USD),
    **dict.fromkeys(("ConsumedQuantity", "PricingQuantity", "x_UnpricedCalls"), Unit.COUNT),
}


def build_frame(ask: Statistics, actor: Actor, filters: StatisticsFilter) -> pd.DataFrame:
    """The rows with a known cost, by day."""
    figures = ask.pivot(actor, filters, _AXES, _MEASURES)
    figures = figures[figures[Measure.COST.value].notna()]
    rows = [_build_row(filters.zone, *values) for values in figures.itertuples(index=False)]
    columns = list(_build_row(filters.zone, "2026-01-01", "", "", "", 0, None, 0, 0))
    kinds = {name: _KINDS.get(name, "text") for name in columns}
    return set_types(pd.DataFrame(rows, columns=columns, dtype=object), kinds)


def count_unpriced_calls(ask: Statistics, actor: Actor, filters: StatisticsFilter) -> int:
    """Attempts of the range whose cost nobody knows, so that no cost of the file has them."""
    figures = ask.pivot(actor, filters, [], [Measure.UNPRICED])
    return int(convert_exactly(figures[Measure.UNPRICED.value].iloc[0], Unit.COUNT) or 0) if len(figures) else 0


def _build_row(
    zone: ZoneInfo,
    day: str,
    provider: str,
    model: str,
    app: str,
    cost: object,
    tokens: object,
    calls: object,
    unpriced: object,
) -> dict[str, object]:
    local = date.fromisoformat(str(day)[:10])
    first = local.replace(day=1)
    last = (first + timedelta(days=32)).replace(day=1)
    dollars = convert_exactly(cost, Unit.NANO_USD)
    call_count = convert_exactly(calls, Unit.COUNT) or 0
    quantity, unit = _choose_quantity(convert_exactly(tokens, Unit.COUNT), call_count)
    return {
        "BilledCost": dollars,
        "BillingAccountId": provider,
        "BillingAccountName": provider,
        "BillingCurrency": "USD",
        "BillingPeriodEnd": _format_moment(last, zone),
        "BillingPeriodStart": _format_moment(first, zone),
        "ChargeCategory": "Usage",
        "ChargeClass": None,  # null: no correction of a period that was billed
        "ChargeDescription": f"{model} for {app}",
        "ChargePeriodEnd": _format_moment(local + timedelta(days=1), zone),
        "ChargePeriodStart": _format_moment(local, zone),
        "ConsumedQuantity": quantity,
        "ConsumedUnit": unit,
        "ContractedCost": dollars,
        "EffectiveCost": dollars,
        "InvoiceIssuerName": provider,
        "ListCost": dollars,
        "PricingQuantity": quantity,
        "PricingUnit": unit,
        "ProviderName": provider,
        "PublisherName": provider,
        "ServiceCategory": "AI and Machine Learning",
        "ServiceName": f"{provider} models",
        "SkuId": model,
        "Tags": json.dumps({"app": app, "calls": call_count}, ensure_ascii=False),
        "x_UnpricedCalls": convert_exactly(unpriced, Unit.COUNT) or 0,
    }


def _choose_quantity(tokens: int | None, calls: int) -> tuple[int, str]:
    if tokens:
        return tokens, "Tokens"
    return (calls, "Requests") if calls else (1, "Units")


def _format_moment(day: date, zone: ZoneInfo) -> str:
    return datetime.combine(day, time(), zone).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
