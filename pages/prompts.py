"""Prompt templates: list, editor, variables, versions, labels. The address names the selection: `?id=<name>`."""

from functools import partial

import streamlit as st

from lib.access.permissions import Permission
from lib.ui import blocks, session, session_keys
from lib.ui.prompts import prompt_editor, prompt_table, server_prompts

actor = session.require(Permission.VIEW_CONFIGS)
services = session.ensure_services()
compact = blocks.is_compact()
may_create = actor.can(Permission.CREATE_CONFIGS)

with blocks.show_header("Prompts"):
    with st.popover("" if compact else "More", icon=":material/more_horiz:", type="tertiary", help="Export and import"):
        st.download_button(
            "Export as JSON",
            data=partial(services.prompts.export_json, actor),
            file_name="prompts.json",
            mime="application/json",
            icon=":material/download:",
        )
        if st.button("Import", icon=":material/upload:", disabled=not may_create):
            st.dialog("Import prompts")(prompt_table.import_dialog)(services, actor)
        if server_prompts.has_prompts(services, actor) and st.button(
            "From a server", icon=":material/hub:", disabled=not may_create
        ):
            st.dialog("Prompts of servers", width="medium")(server_prompts.draw_server_dialog)(services, actor)
    if st.button("New" if compact else "New prompt", icon=":material/add:", disabled=not may_create):
        st.dialog("New prompt", width="medium")(prompt_editor.create_dialog)(services, actor)

if (error := st.session_state.pop(session_keys.PROMPT_ERROR, None)) is not None:
    blocks.show_error(error)

with blocks.start_row():
    search_words = st.text_input(
        "Search",
        placeholder="Name or words",
        icon=":material/search:",
        label_visibility="collapsed",
        width="stretch" if compact else 230,
        key="q",
        bind="query-params",
    )
    category = st.selectbox(
        "Category",
        services.prompts.categories(actor),
        index=None,
        placeholder="Category · all",
        label_visibility="collapsed",
        width=160,
        key=prompt_table.CATEGORY,
    )

templates = services.prompts.list(actor, category=category, text=search_words or "")
if not templates and not search_words and category is None:
    sentence = "A prompt template is a text with variables, kept in versions, that pages and programs use by name."
    with blocks.show_empty_state("edit_note", "No prompts yet", sentence):
        if st.button("New prompt", icon=":material/add:", type="primary", disabled=not may_create, key="first-prompt"):
            st.dialog("New prompt", width="medium")(prompt_editor.create_dialog)(services, actor)
    st.stop()
if not templates:
    with blocks.show_empty_state("search_off", "Nothing matches", "No prompt has these words in this category."):
        st.button("Clear search", icon=":material/close:", on_click=prompt_table.clear_search)
    st.stop()

count = "1 prompt" if len(templates) == 1 else f"{len(templates):,} prompts"
st.caption(f"{count} · calls and cost of all time")  # keeps the table's toolbar off the filters
used = prompt_table.count_uses(services, actor)
selected = st.query_params.get("id") or templates[0].slug
selected_slug = prompt_table.draw_table(templates, used, selected, compact=compact)
if selected_slug is not None and selected_slug != selected:
    st.query_params["id"] = selected_slug
current = next((template for template in templates if template.slug == (selected_slug or selected)), None)
if current is None:
    st.caption("Select a prompt to see and change it.")
else:
    prompt_table.draw_panel(services, actor, current, used.get(current.slug, prompt_table.Use()), compact=compact)
