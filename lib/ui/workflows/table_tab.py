"""Rows × run: a CSV in, one run a row, a CSV out."""

from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import streamlit as st

from lib.access.permissions import Actor
from lib.clock import shorten_id
from lib.money import format_sum
from lib.services import Services
from lib.ui import blocks, format
from lib.ui.workflows.run_view import draw_run_table
from lib.ui.workflows.start_form import describe_quote, read_cap
from lib.workflows.triggers.batches import WorkflowBatch
from lib.workflows.workflow import Workflow

REDRAW_S = 2.0


def draw_tables(services: Services, actor: Actor, workflow: Workflow) -> None:
    """The form that begins a table of runs, and those that were begun."""
    fields = services.workflows.definitions.version(actor, workflow.slug).definition.input_fields
    names = ", ".join(field.name for field in fields) or "none"
    upload = st.file_uploader("CSV with a column for each field", type=["csv"], key=f"rows-{workflow.slug}")
    st.caption(blocks.escape_markdown(f"Fields: {names}. Each row is a run of its own."))
    with blocks.show_errors():
        if upload is not None:
            rows = services.workflows.batches.read_rows(actor, workflow.slug, upload.getvalue())
            quote = services.workflows.batches.quote(actor, workflow.slug, rows)
            st.caption(blocks.escape_markdown(f"{len(rows):,} rows. Each by itself: {describe_quote(quote)}"))
            _draw_start(services, actor, workflow, rows)
    zone = services.preferences.report_zone(actor)
    batches = services.workflows.batches.list(actor, workflow.slug)
    if not batches:
        st.caption("No tables of runs yet.")
        return
    slug = st.selectbox(
        "Table",
        [batch.id for batch in batches],
        format_func=lambda batch_id: _name_batch(next(b for b in batches if b.id == batch_id), zone),
        key=f"batch-{workflow.slug}-{len(batches)}",
    )
    _draw_batch(services, actor, slug)


def _draw_start(services: Services, actor: Actor, workflow: Workflow, rows: list[dict[str, Any]]) -> None:
    with blocks.start_row():
        cap = st.text_input("Cap of each run in US dollars", placeholder="none", width=220)
        if st.button("Start runs", type="primary", icon=":material/table_rows:", disabled=not workflow.is_active):
            services.workflows.batches.start(actor, workflow.slug, rows, cap_nano_usd=read_cap(cap))
            st.rerun()


def _name_batch(batch: WorkflowBatch, zone: ZoneInfo) -> str:
    return f"{format.format_moment(batch.created_at, zone)} · {batch.rows:,} rows · {shorten_id(batch.id)}"


def _draw_batch(services: Services, actor: Actor, batch_id: str) -> None:
    opened = services.workflows.batches.get(actor, batch_id)

    @st.fragment(run_every=None if opened.is_over else REDRAW_S)
    def growing() -> None:
        batch = services.workflows.batches.get(actor, batch_id)
        st.progress(batch.ended / max(batch.rows, 1), f"{batch.ended:,} of {batch.rows:,} runs are over")
        states = " · ".join(f"{count:,} {state}" for state, count in sorted(batch.states.items()))
        st.caption(blocks.escape_markdown(f"{states} · {format_sum(batch.cost_nano_usd, batch.unpriced)}"))
        with blocks.start_row():
            st.download_button(
                "Results as CSV",
                data=partial(services.workflows.batches.export_csv, actor, batch_id),
                file_name=f"runs-{shorten_id(batch_id)}.csv",
                mime="text/csv",
                icon=":material/download:",
            )
            if not batch.is_over and st.button("Cancel runs", icon=":material/stop_circle:"):
                services.workflows.batches.cancel(actor, batch_id)
                st.rerun()
        if batch.is_over and not opened.is_over:
            blocks.redraw_page()

    growing()
    draw_run_table(services, actor, services.workflows.batches.runs(actor, batch_id), f"batch-runs-{batch_id}")
