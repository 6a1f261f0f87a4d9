"""The table under the charts: every model with its figures, the sum as its first row, and the same as a file."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import streamlit as st

from lib.money import read_sign
from lib.statistics import export, tables
from lib.statistics.queries import Figures
from lib.ui import blocks, format

if TYPE_CHECKING:
    import pandas as pd

_FIRST_COLUMNS = ["chip", "provider", "model", "calls", "prompt_tokens", "completion_tokens"]


def show_model_table(
    frame: "pd.DataFrame",
    totals: Figures,
    currency: str,
    file_name: str,
    note: Callable[..., None],
    *,
    compact: bool,
) -> None:
    """Draw the table of models, a footer, and downloads of this table; each download calls `note(form, rows=…)`."""
    cost = tables.name_cost_column(currency)
    table = tables.build_model_table(frame, currency)
    st.subheader("By model", anchor=False)
    rows = tables.style_with_total(table, totals, currency)
    st.dataframe(
        rows,
        hide_index=True,
        column_config=_describe_columns(rows.data, currency, compact),
        column_order=(
            ["chip", "model", "least", cost, "cost_share"]
            if compact
            else [*_FIRST_COLUMNS, "least", cost, "cost_share", "first_token_p95_ms", "error_rate"]
        ),
        height="content" if len(table) < 20 else 620,
        row_height=30,
        placeholder="—",
        key="statistics-by-model",
    )
    with blocks.start_row():
        st.caption(_format_footer(table, table[cost], currency), width="stretch")
        for kind, label in (("csv", "CSV"), ("parquet", "Parquet")):
            mime = export.WRITERS[kind][1]
            st.download_button(
                label,
                data=partial(write_file, table, kind, note),
                file_name=f"{file_name}.{kind}",
                mime=mime,
                type="tertiary",
                icon=":material/download:",
                on_click="ignore",
                key=f"statistics-{kind}",
            )


def write_file(table: "pd.DataFrame", kind: str, note: Callable[..., None]) -> bytes:
    """The table as bytes in a form of `export.WRITERS`; calls `note(kind, rows=…)` first."""
    note(kind, rows=len(table))
    return export.WRITERS[kind][0](table)


def _describe_columns(rows: "pd.DataFrame", currency: str, compact: bool) -> dict[str, Any]:
    number = st.column_config.NumberColumn
    text = st.column_config.TextColumn
    cost = tables.name_cost_column(currency)

    def width(name: str, pattern: str, least: int) -> int:
        return format.compute_column_width([pattern.format(value) for value in rows[name].dropna()], least)

    return {
        "chip": text("", width=28),
        "provider": text("Provider", width=96),
        "model": text("Model", width=150 if compact else 180),
        "calls": number("Calls", format="localized", width=width("calls", "{:,.0f}", 60)),
        "prompt_tokens": number(
            "Prompt", format="localized", width=width("prompt_tokens", "{:,.0f}", 84), help="Tokens"
        ),
        "completion_tokens": number(
            "Completion", format="localized", width=width("completion_tokens", "{:,.0f}", 92), help="Tokens"
        ),
        "least": text("", width=28, help="≥: calls without a known cost, or with a part that has none, belong to it."),
        cost: number(
            "Cost",
            format=format.choose_money_format(currency),
            width=width(cost, read_sign(currency) + "{:,.2f}", 76),
            help="— means that no price is known for the model.",
        ),
        "cost_share": number("Share", format="%.1f %%", width=72),
        "first_token_p95_ms": number(
            "p95, ms", format="localized", width=width("first_token_p95_ms", "{:,.0f}", 74), help="To the first token"
        ),
        "error_rate": number("Errors", format="%.1f %%", width=72),
    }


def _format_footer(table: "pd.DataFrame", costs: "pd.Series", currency: str) -> str:
    parts = [f"{len(table)} {'model' if len(table) == 1 else 'models'}"]
    if costs.isna().any():
        parts.append("cost — means no price is known")
    if any(cost == 0 for cost in costs.dropna()):
        parts.append(f"{blocks.escape_markdown(read_sign(currency))}0.00: nothing was charged")
    return " · ".join(parts)
