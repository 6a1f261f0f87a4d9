"""The figures of a range with the columns of FOCUS, the FinOps Open Cost and Usage Specification 1.2.

https://focus.finops.org/focus-specification/v1-2/ names them and their forms. A row is a day (of the report zone), a
provider, a model and an app. What is unknown is empty: a model without a price has no cost here either.
"""

import json
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pandas as pd

from lib.access.permissions import Actor
from lib.statistics.explore import exact
from lib.statistics.filters import StatisticsFilter
from lib.statistics.measures import Dimension, Measure, Unit
from lib.statistics.periods import Step
from lib.statistics.queries import Statistics

_AXES = (Step.DAY, Dimension.PROVIDER, Dimension.MODEL, Dimension.APP)
_MEASURES = (Measure.COST, Measure.TOKENS, Measure.CALLS)


def frame(ask: Statistics, actor: Actor, where: StatisticsFilter) -> pd.DataFrame:
    """The rows, by day."""
    found = ask.pivot(actor, where, _AXES, _MEASURES)
    rows = [_row(where.zone, *values) for values in found.itertuples(index=False)]
    columns = list(_row(where.zone, "2026-01-01", "", "", "", None, None, 0))
    return pd.DataFrame(rows, columns=columns, dtype=object)


def _row(
    zone: ZoneInfo, day: str, provider: str, model: str, app: str, cost: object, tokens: object, calls: int
) -> dict[str, object]:
    local = date.fromisoformat(str(day)[:10])
    first = local.replace(day=1)
    last = (first + timedelta(days=32)).replace(day=1)
    dollars = exact(cost, Unit.NANO_USD)
    return {
        "BilledCost": dollars,
        "BillingAccountId": provider,
        "BillingCurrency": "USD",
        "BillingPeriodEnd": _moment(last, zone),
        "BillingPeriodStart": _moment(first, zone),
        "ChargeCategory": "Usage",
        "ChargeDescription": f"{model} for {app}",
        "ChargePeriodEnd": _moment(local + timedelta(days=1), zone),
        "ChargePeriodStart": _moment(local, zone),
        "ConsumedQuantity": exact(tokens, Unit.COUNT),
        "ConsumedUnit": "Tokens",
        "ContractedCost": dollars,
        "EffectiveCost": dollars,
        "ListCost": dollars,
        "ProviderName": provider,
        "PublisherName": provider,
        "ServiceCategory": "AI and Machine Learning",
        "ServiceName": f"{provider} models",
        "SkuId": model,
        "Tags": json.dumps({"app": app, "calls": int(calls)}, ensure_ascii=False),
    }


def _moment(day: date, zone: ZoneInfo) -> str:
    return datetime.combine(day, time(), zone).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
