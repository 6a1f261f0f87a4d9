"""The Settings page's tab on past usage: a file, what it would bring, the import, and what was imported before."""

from collections.abc import Callable, Sequence
from typing import Any
from zoneinfo import ZoneInfo

import streamlit as st

from lib.access.permissions import Actor
from lib.errors import LLMManagerError
from lib.imports import FORMATS, GENERIC, ImportBatch, ImportPreview, UsageFile, Wishes
from lib.money import format_cost, format_sum
from lib.services import Services
from lib.ui import blocks, format, grammar, session_keys
from lib.ui.preferences import list_zone_names
from lib.usage_files.formats import FIELDS

_LABELS = {form.name: form.label for form in (*FORMATS.values(), GENERIC)}
_MOST_SAMPLE_ROWS = 10


def show_tab(services: Services, actor: Actor, zone: ZoneInfo) -> None:
    """Draw the tab Import: the upload with its preview, and the past imports."""
    with st.container(border=True):
        st.subheader("Bring past usage in", anchor=False)
        st.caption(
            "Exports of LiteLLM, OpenAI, Anthropic, Langfuse or this product, and any table as CSV or JSON. "
            "Prompts and answers are not taken. Every row is written once, however often it comes. "
            "Files over 50 MB are for the command line: python -m lib usage import."
        )
        file = st.file_uploader("File", type=["csv", "json", "jsonl", "txt"], key="import-file")
        if file is not None:
            with blocks.show_errors():
                _show_import(services, actor, zone, UsageFile(file, file.name), file.file_id)
    _show_batches(services, actor, zone)


def _show_import(services: Services, actor: Actor, zone: ZoneInfo, source: UsageFile, file_id: str) -> None:
    """Draw the options for the uploaded file, the preview of its rows, and the button that imports them."""
    wishes = _ask_wishes(zone, file_id)
    _ask_mapping(services.imports.look(actor, source, wishes), file_id)
    cached = st.session_state.get(session_keys.IMPORT_PREVIEW)
    if cached is None or cached[0] != (file_id, wishes):
        bar = st.progress(0.0, "Reading…")
        preview = services.imports.preview(actor, source, wishes, _report_progress_in(bar))
        bar.empty()
        cached = st.session_state[session_keys.IMPORT_PREVIEW] = ((file_id, wishes), preview)
    preview = cached[1]
    _show_preview(preview, zone)
    many = f"{preview.rows:,} {'row' if preview.rows == 1 else 'rows'}"
    if st.button(f"Import {many}", type="primary", icon=":material/upload:", disabled=not preview.rows):
        bar = st.progress(0.0, "Writing…")
        batch = services.imports.run(actor, source, wishes, _report_progress_in(bar))
        del st.session_state[session_keys.IMPORT_PREVIEW]
        st.toast(f"{batch.rows:,} rows are in the ledger.")
        st.rerun()


def _ask_wishes(zone: ZoneInfo, file_id: str) -> Wishes:
    names = [None, *_LABELS]
    zones = list_zone_names(zone.key)
    given_for, mapping = st.session_state.get(session_keys.IMPORT_MAPPING, (file_id, None))
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        form = st.selectbox(
            "Form", names, format_func=lambda name: _LABELS.get(name, "As the file says"), key="import-form", width=230
        )
        moments = st.selectbox(
            "Times without a zone", zones, zones.index(zone.key), key="import-zone",
            help="Of tables of your own; the other forms say theirs.", width=190,
        )  # fmt: skip
        app = st.text_input("App, where none is named", key="import-app", width=190)
        provider = st.text_input("Provider, where none is named", key="import-provider", width=190)
    price = st.checkbox(
        "Work out costs that the file does not say",
        key="import-price",
        help="From the price list, by the day of the call. Sums of many calls are estimates: long prompts cost more.",
    )
    return Wishes(form, mapping if given_for == file_id else None, moments, app, provider, price)


def _ask_mapping(preview: ImportPreview, file_id: str) -> None:
    """Draw the form that says which column of the file fills which field."""
    column_by_field = {name: preview.mapping.get(name, "") for name in FIELDS}
    title = f"Columns: {len(preview.mapping)} of {len(preview.columns)} are used"
    is_open = "started_at" not in preview.mapping
    with st.expander(title, icon=":material/table:", expanded=is_open), st.form("import-columns", border=False):
        grid = st.columns(2 if blocks.is_compact() else 4)
        options = ["", *preview.columns]
        chosen_columns = {
            name: grid[number % len(grid)].selectbox(
                name.replace("_", " "), options, options.index(column), key=f"column-{file_id}-{preview.format}-{name}"
            )
            for number, (name, column) in enumerate(column_by_field.items())
        }
        if st.form_submit_button("Read the file so"):
            st.session_state[session_keys.IMPORT_MAPPING] = (
                file_id,
                {name: column or "" for name, column in chosen_columns.items()},
            )
            st.rerun()


def _show_preview(preview: ImportPreview, zone: ZoneInfo) -> None:
    """Draw the sums that an import would bring, what it leaves out and why, and its first rows."""
    calls = f"{preview.calls:,}" + (f" and {preview.uncounted:,} sums of unknown number" if preview.uncounted else "")
    pairs = [
        ("Form", preview.label),
        ("Calls", calls),
        ("Tokens", "—" if preview.total_tokens is None else f"{preview.total_tokens:,}"),
        ("Cost", format_sum(preview.cost_nano_usd, preview.unpriced)),
        ("From", format.format_moment(preview.first_at, zone)),
        ("To", format.format_moment(preview.last_at, zone)),
    ]
    blocks.show_facts(
        [(label, blocks.escape_markdown(value)) for label, value in pairs], columns=2 if blocks.is_compact() else 6
    )
    notes = [f"{count:,} left out: {why}" for why, count in preview.left_out.items()]
    if preview.unpriced:
        notes.append(
            f"{preview.unpriced:,} {'row' if preview.unpriced == 1 else 'rows'} without a cost, or with a part of it"
        )
    if notes:
        st.caption(blocks.escape_markdown(" · ".join(notes)))
    if preview.overlaps:
        names = blocks.escape_markdown(", ".join(preview.overlaps))
        st.warning(f"Imported before for some of these days: {names}. Rows told apart otherwise would count twice.")
    if preview.sample:
        st.dataframe(
            _format_rows(preview.sample[:_MOST_SAMPLE_ROWS], zone), hide_index=True, row_height=30, placeholder="—"
        )


def _format_rows(sample: Sequence[dict[str, Any]], zone: ZoneInfo) -> list[dict[str, Any]]:
    return [
        {
            "Time": format.format_moment(row["started_at"], zone),
            "Provider": row["provider"],
            "Model": row["model"],
            "App": row["app"],
            "User": row["user_name"],
            "Calls": row["calls"],
            "Tokens": row["total_tokens"],
            "Cost": format_cost(row["cost_nano_usd"], row["cost_status"]),
            "Status": row["status"],
        }
        for row in sample
    ]


def _show_batches(services: Services, actor: Actor, zone: ZoneInfo) -> None:
    """Draw the past imports, and the button that undoes the selected one."""
    batches = services.imports.list(actor)
    st.subheader("Imported so far", anchor=False)
    if not batches:
        st.caption("Nothing was imported.")
        return
    position = grammar.choose_row(
        [
            {
                "When": format.format_moment(batch.at, zone),
                "Who": batch.user_name,
                "File": batch.file_name,
                "Form": _LABELS.get(batch.format, batch.format),
                "Rows": batch.rows,
                "Calls": batch.calls,
                "Cost": format_sum(batch.cost_nano_usd, batch.unpriced),
                "State": batch.state,
            }
            for batch in batches
        ],
        placeholder="—",
        key="import-batches",
    )
    batch = batches[position] if position is not None and position < len(batches) else None
    label = "Undo an import" if batch is None else f"Undo {batch.file_name}"
    if st.button(label, icon=":material/undo:", disabled=batch is None, help="Choose a line above") and batch:
        undo_dialog(services, actor, batch)


@st.dialog("Undo this import?")
def undo_dialog(services: Services, actor: Actor, batch: ImportBatch) -> None:
    """Name how many rows go; take them out only when that is confirmed."""
    st.markdown(
        f"**{batch.rows:,} rows** of {blocks.escape_markdown(batch.file_name)} leave the log and every figure. "
        "Calls your team made stay. The file can be imported again."
    )
    with st.container(horizontal=True, horizontal_alignment="right", gap="small"):
        if st.button("Keep the rows"):
            st.rerun()
        if st.button(":red[Undo the import]", icon=":material/delete:"):
            try:
                with st.spinner("Taking the rows out…"):
                    removed = services.imports.undo(actor, batch.id)
            except LLMManagerError as error:
                blocks.show_error(error)
                return
            st.toast(f"{removed:,} rows were taken out.")
            st.rerun()


def _report_progress_in(bar: Any) -> Callable[[int, float], None]:
    return lambda rows, share: bar.progress(share, f"{rows:,} rows")
