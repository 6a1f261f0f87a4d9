"""A table of inputs put to several prompts and models. The address names the one that is open: `?id=<id>`."""

import streamlit as st

from lib.access.permissions import Permission
from lib.ui import blocks, session, session_keys
from lib.ui.experiments import experiment_form, experiment_view

actor = session.require(Permission.TEST_CONFIGS)
services = session.ensure_services()
compact = blocks.is_compact()
prompt = st.query_params.get("prompt")

with blocks.show_header("Experiments"):
    if st.button("New" if compact else "New experiment", icon=":material/add:"):
        st.dialog("New experiment", width="large")(experiment_form.draw_dialog)(services, actor, prompt)

session.show_pause(actor)
if (error := st.session_state.pop(session_keys.EXPERIMENT_ERROR, None)) is not None:
    blocks.show_error(error)

experiments = services.experiments.list(actor)
if not experiments:
    sentence = "Put a table of inputs to several prompts and models, score the answers, and promote the best."
    with blocks.show_empty_state("science", "No experiments yet", sentence):
        if st.button("New experiment", icon=":material/add:", type="primary", key="first-experiment"):
            st.dialog("New experiment", width="large")(experiment_form.draw_dialog)(services, actor, prompt)
    st.stop()

count = "1 experiment" if len(experiments) == 1 else f"{len(experiments):,} experiments"
st.caption(f"{count} of yours, newest first")  # keeps the table's toolbar off the header
experiment_view.draw_overview(services, actor)
