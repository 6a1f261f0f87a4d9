"""Workflows: the list, one of them, one run or two. The address names them: `?id=<name>`, `?run=<id>`, `&with=<id>`."""

from functools import partial

import streamlit as st

from lib.access.permissions import Permission
from lib.ui import blocks, grammar, session
from lib.ui.workflows import run_comparison, run_view, workflow_panel, workflow_table

actor = session.require(Permission.TEST_CONFIGS)
services = session.ensure_services()
compact = blocks.is_compact()
may_manage = workflow_table.may_manage(actor)
run_id = st.query_params.get("run")

workflows = services.workflows.definitions.list(actor)
opened = grammar.get_opened()
current = next((workflow for workflow in workflows if workflow.slug == opened), None)
is_list = run_id is None and opened is None

with blocks.show_header(
    "Workflows" if run_id is not None or current is None else grammar.escape_markdown(current.name)
):
    if not is_list and st.button("All workflows", icon=":material/arrow_back:", type="tertiary"):
        st.query_params.clear()
        st.rerun()
    if is_list:
        with st.popover(
            "" if compact else "More", icon=":material/more_horiz:", type="tertiary", help="Export and import"
        ):
            st.download_button(
                "Export as JSON",
                data=partial(services.workflows.definitions.export_json, actor),
                file_name="workflows.json",
                mime="application/json",
                icon=":material/download:",
            )
            if st.button("Import", icon=":material/upload:", disabled=not may_manage):
                st.dialog("Import workflows")(workflow_table.import_dialog)(services, actor)
        if st.button("New" if compact else "New workflow", icon=":material/add:", disabled=not may_manage):
            st.dialog("New workflow", width="medium")(workflow_table.create_dialog)(services, actor)

session.show_pause(actor)
workflow_table.show_page_error()
if run_id is not None and (other_id := st.query_params.get("with")) is not None:
    run_comparison.draw_comparison(services, actor, run_id, other_id)
    st.stop()
if run_id is not None:
    run_view.draw_run(services, actor, run_id)
    st.stop()

if current is not None:
    workflow_panel.draw_panel(services, actor, current)
elif opened is not None:
    st.info("It was deleted, or it is another team's.", title="This workflow is not here", icon=":material/search_off:")
elif workflows:
    workflow_table.draw_table(services, actor, workflows, compact=compact)
else:
    sentence = "A workflow joins prompts, agents, searches, tools and people's decisions; a run survives a restart."
    with blocks.show_empty_state("account_tree", "No workflows yet", sentence):
        if st.button("New workflow", icon=":material/add:", type="primary", disabled=not may_manage, key="first"):
            st.dialog("New workflow", width="medium")(workflow_table.create_dialog)(services, actor)
