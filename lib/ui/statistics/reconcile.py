"""The tab Reconcile: a provider's export beside the ledger; gaps per day and model, likely causes, export."""

from collections.abc import Sequence
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import streamlit as st

from lib.access.permissions import Actor
from lib.money import format_money, format_sum
from lib.services import Services
from lib.statistics.filters import StatisticsFilter
from lib.statistics.invoices import gap_words, invoice_lines, reconcile
from lib.statistics.invoices.gap_causes import Gap, has_gap
from lib.statistics.invoices.invoice_lines import Invoice
from lib.statistics.invoices.reconcile import Reconciliation
from lib.ui import blocks, downloads, format
from lib.usage_files.table import tell

_UTC = ZoneInfo("UTC")
_LABELS = {
    "date": "Day", "model": "Model", "prompt_tokens": "Prompt tokens", "completion_tokens": "Completion tokens",
    "cache_read_tokens": "Cached tokens", "cost_usd": "Cost, USD",
}  # fmt: skip
_MODEL = "By model"
_DAY = "By day"
_BOTH = "By day and model"
_COLUMN_ORDER = ["day", "model", "their_cost_usd", "our_cost_usd", "gap_usd", "token_gap", "causes"]


def show_tab(services: Services, actor: Actor, zone: ZoneInfo, providers: Sequence[str]) -> None:
    """Draw the tab Reconcile: the upload of a provider's exports, then the whole gap, its causes and the table."""
    files = st.file_uploader(
        "Usage and cost exports of one provider",
        ["csv", "json"],
        accept_multiple_files=True,
        max_upload_size=invoice_lines.LARGEST // 10**6,
        help="OpenAI's and Anthropic's, of their consoles or interfaces; or any CSV with a day and tokens or a cost.",
        key="reconcile-files",
    )
    if not files:
        st.caption("Figures are compared per day and model, in tokens and money. The files are read and not kept.")
        return
    with blocks.show_errors():
        read = [_read_invoice(file.getvalue(), file.name) for file in files if not isinstance(file, bytes)]
        if any(invoice is None for invoice in read):
            return
        invoice = invoice_lines.join_invoices(part for part in read if part is not None)
        with blocks.start_row():
            zones = list(dict.fromkeys([_UTC, zone]))
            cut = st.selectbox("The file's days are cut in", zones, format_func=lambda choice: choice.key, width=230)
            chosen_providers = st.multiselect("Providers", providers, placeholder=invoice.kind or "All", width=320)
        criteria = StatisticsFilter(providers=tuple(chosen_providers))
        reconciliation = services.reconcile.compare(actor, invoice, criteria, cut or _UTC, other_zones=[zone])
        _show_sums(reconciliation, invoice)
        _show_gap_table(services, actor, reconciliation)


def _read_invoice(content: bytes, name: str) -> Invoice | None:
    """The file as an invoice; None while its columns are not named yet."""
    names, suggested, is_known = invoice_lines.read_columns(content)
    if is_known:
        return invoice_lines.read(content)
    with st.expander(f"Columns of {blocks.escape_markdown(name)}", icon=":material/table:", expanded=True):
        mapping = dict[str, str]()
        with st.grid(3, min_column_width=160, gap="small"):
            for field, label in _LABELS.items():
                index = names.index(suggested[field]) if field in suggested else None
                column = st.selectbox(label, names, index, placeholder="None", key=f"reconcile-{name}-{field}")
                mapping |= {field: column} if column else {}
    return invoice_lines.read(content, mapping) if mapping else None


def _show_sums(reconciliation: Reconciliation, invoice: Invoice) -> None:
    """Draw both sums, the gap, and every likely cause with the models it holds for."""
    total = reconciliation.total
    days = f"{reconciliation.first} to {reconciliation.last}, days in {reconciliation.zone.key}"
    provider_names = ", ".join(reconciliation.providers) or "all providers"
    st.caption(blocks.escape_markdown(f"{invoice.label} · {days} · compared with {provider_names}"))
    if invoice.left_out:
        show = st.warning if invoice.unread else st.caption
        show(blocks.escape_markdown(f"Left out: {tell(invoice.left_out)}"))
    with st.grid(3, min_column_width=150, gap="small"):
        for label, side in (("They say", total.theirs), ("The ledger says", total.ours)):
            st.metric(
                label,
                format_sum(side.cost_nano, side.unpriced),
                _format_tokens(side.tokens),
                delta_color="off",
                delta_arrow="off",
                border=True,
            )
        gap = format_money(total.cost_nano)
        st.metric("Gap", gap, _format_tokens(total.tokens), delta_color="off", delta_arrow="off", border=True)
    agrees, *lines = gap_words.write_sentences(reconciliation)
    if not any(has_gap(gap) for gap in reconciliation.gaps):
        st.success(" ".join(map(blocks.escape_markdown, [agrees, *lines])), icon=":material/check_circle:")
        return
    st.markdown(f"**{blocks.escape_markdown(agrees)}** {blocks.escape_markdown(lines[0]) if lines else ''}")
    st.markdown("\n".join(f"- {blocks.escape_markdown(line)}" for line in lines[1:]))


def _format_tokens(tokens: int | None) -> str | None:
    return None if tokens is None else f"{format.format_count(tokens)} tokens".replace("-", "−")


def _show_gap_table(services: Services, actor: Actor, reconciliation: Reconciliation) -> None:
    view = st.segmented_control(
        "View", [_MODEL, _DAY, _BOTH], default=_MODEL, required=True, label_visibility="collapsed", key="reconcile-view"
    )
    gaps: Sequence[Gap] = {_MODEL: reconciliation.by_model, _DAY: reconciliation.by_day}.get(view, reconciliation.gaps)
    hidden = {_MODEL: "day", _DAY: "model"}.get(view)
    ordered = sorted(gaps, key=lambda gap: -abs(gap.cost_nano or gap.tokens or 0))
    differing = [gap for gap in ordered if has_gap(gap)]
    alike = [gap for gap in ordered if not has_gap(gap)]
    if differing:
        _show_gaps(differing, hidden)
    if alike:
        rows = "1 row" if len(alike) == 1 else f"{len(alike):,} rows"
        with st.expander(f"{rows} without a gap"):
            _show_gaps(alike, hidden)
    frame = reconcile.build_table(gaps)
    note = partial(services.audit.note_export, actor, "statistics.reconcile")
    downloads.show_row(frame, f"reconcile-{reconciliation.first}-to-{reconciliation.last}", note, key="reconcile")


def _show_gaps(gaps: Sequence[Gap], hidden: str | None) -> None:
    frame = reconcile.build_table(gaps)
    for name in ("their_cost_usd", "our_cost_usd", "gap_usd"):
        frame[name] = frame[name].astype("float64").round(4) + 0.0  # no −$0.00
    st.dataframe(
        frame,
        hide_index=True,
        column_config=_describe_columns(),
        column_order=[name for name in _COLUMN_ORDER if name != hidden],
        row_height=30,
        height="content" if len(frame) < 15 else 480,
        placeholder="—",
    )


def _describe_columns() -> dict[str, Any]:
    number = st.column_config.NumberColumn
    text = st.column_config.TextColumn
    return {
        "day": text("Day", width=96),
        "model": text("Model", width=170),
        "their_cost_usd": number("They charge", format="dollar"),
        "our_cost_usd": number("The ledger", format="dollar", help="— where no price is known."),
        "gap_usd": number("Gap", format="dollar", help="Theirs less ours."),
        "token_gap": number("Gap, tokens", format="localized"),
        "causes": text("Likely causes", width="large"),
    }
