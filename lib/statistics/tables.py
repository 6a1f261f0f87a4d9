"""The table of models: the frame that is exported, and the rows that the page shows of it."""

from typing import Any

import pandas as pd

from lib.money import NANO_PER_USD, USD, choose_least_sign, convert_nano_to_usd
from lib.statistics.charts.chart_theme import find_provider_colour
from lib.statistics.queries import Figures

_BOLD = "font-weight:700;background-color:rgba(128,145,160,.12)"


def build_model_table(frame: pd.DataFrame, currency: str = USD) -> pd.DataFrame:
    """Figures per provider and model, exact amounts (`cost_usd`, `cost_eur` …) and each one's share of the sum."""
    total = frame.cost_nano_usd.sum()
    cost = [None if pd.isna(nano) else convert_nano_to_usd(int(nano)) for nano in frame.cost_nano_usd]
    share = frame.cost_nano_usd.astype("Float64") / (float(total) or float("nan"))
    table = frame[["provider", "model", "calls", "prompt_tokens", "completion_tokens", "total_tokens"]]
    return table.assign(
        **{name_cost_column(currency): pd.Series(cost, index=frame.index, dtype=object)},
        cost_share=share.round(6),
        first_token_p95_ms=frame.first_token_p95_ms.round().astype("Int64"),
        error_rate=frame.error_rate.round(6),
        unpriced_calls=frame.unpriced_calls,
    )


def style_with_total(table: pd.DataFrame, totals: Figures, currency: str = USD) -> Any:
    """The rows to show: the sum first and in bold, a chip in the provider's colour, shares in percent (a Styler).

    `least` is `≥` before a cost that is not the whole one.
    """
    total = {
        "provider": "",
        "model": f"Total, {len(table)} {'model' if len(table) == 1 else 'models'}",
        "calls": totals.calls,
        "prompt_tokens": totals.prompt_tokens,
        "completion_tokens": totals.completion_tokens,
        "least": totals.unpriced_calls > 0,
        name_cost_column(currency): None if totals.cost_nano_usd is None else totals.cost_nano_usd / NANO_PER_USD,
        "cost_share": 1.0 if totals.cost_nano_usd else None,
        "first_token_p95_ms": totals.first_token_p95_ms,
        "error_rate": totals.error_rate,
    }
    marked = table.assign(least=table.unpriced_calls > 0)
    rows = pd.concat([pd.DataFrame([total]).astype(object), marked[list(total)].astype(object)], ignore_index=True)
    has_cost = rows[name_cost_column(currency)].notna()
    rows["least"] = [
        choose_least_sign(bool(least and is_known)) for least, is_known in zip(rows.least, has_cost, strict=True)
    ]
    for name in [name for name in list(total)[2:] if name != "least"]:
        rows[name] = pd.Series([_convert_to_float(value) for value in rows[name]], dtype="float64")
    rows[["cost_share", "error_rate"]] *= 100
    rows["first_token_p95_ms"] = rows["first_token_p95_ms"].round()  # the total is not rounded yet
    rows.insert(0, "chip", ["", *["■"] * len(table)])

    def look(row: "pd.Series[Any]") -> list[str]:
        return (
            [_BOLD] * len(row)
            if row.name == 0
            else [f"color:{find_provider_colour(row.provider)}", *[""] * (len(row) - 1)]
        )

    return rows.style.apply(look, axis=1)


def name_cost_column(currency: str) -> str:
    """The name of a file's column of amounts."""
    return f"cost_{currency.lower()}"


def convert_to_records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows as dictionaries of plain values; None where nothing is known."""
    plain = frame.astype(object).where(frame.notna(), None)
    return [{str(name): value for name, value in row.items()} for row in plain.to_dict("records")]


def _convert_to_float(value: Any) -> float:
    return float("nan") if value is None or pd.isna(value) else float(value)
