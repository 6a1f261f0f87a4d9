"""A table of inputs put to several prompts and models. The address names the one that is open: `?id=<id>`."""

import streamlit as st

from lib.access.permissions import Permission
from lib.ui import blocks, experiment_form, experiments, session

actor = session.require(Permission.TEST_CONFIGS)
services = session.services()
compact = blocks.compact()
prompt = st.query_params.get("prompt")

with blocks.header("Experiments"):
    if st.button("New" if compact else "New experiment", icon=":material/add:"):
        st.dialog("New experiment", width="large")(experiment_form.dialog)(services, actor, prompt)

if (error := st.session_state.pop("experiment_error", None)) is not None:
    blocks.show_error(error)

found = services.experiments.list(actor)
if not found:
    sentence = "Put a table of inputs to several prompts and models, score the answers, and promote the best."
    with blocks.empty_state("science", "No experiments yet", sentence):
        st.caption("Every answer is a call in the ledger. Its cost is told before, and capped if you like.")
    st.stop()

count = "1 experiment" if len(found) == 1 else f"{len(found):,} experiments"
st.caption(f"{count} of yours, newest first")  # keeps the table's toolbar off the header
selected = st.query_params.get("id") or found[0].id
chosen = experiments.table(services, actor, found, selected, compact=compact)
if chosen is not None and chosen != selected:
    st.query_params["id"] = chosen
current = next((one for one in found if one.id == (chosen or selected)), None)
if current is None:
    st.caption("Select an experiment to see it.")
else:
    experiments.detail(services, actor, current)
