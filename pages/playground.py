"""Ask a configuration, watch the answer stream, keep the run. The address names the run: `?run=<call id>`."""

import streamlit as st

from lib.access.permissions import Permission
from lib.calls.request import CallRequest, Origin
from lib.errors import LLMManagerError
from lib.ui import blocks, overrides, playground, session

actor = session.require(Permission.TEST_CONFIGS)
services = session.services()
compact = blocks.compact()
run = st.query_params.get("run")
EXAMPLES = ("Explain what a token is", "Write a haiku about invoices")


def send(prompt: str, configuration: str, system: str, parameters: dict[str, object]) -> None:
    """Start the call and put it into the address; what is wrong with it stays on the page."""
    request = CallRequest(
        actor=actor,
        messages=[{"role": "user", "content": prompt}],
        configuration=configuration,
        origin=Origin.PLAYGROUND,
        system_prompt=system,
        parameters=parameters,
    )
    try:
        st.query_params["run"] = services.calls.start(request)
        st.session_state["runs_page"] = 1
    except LLMManagerError as error:
        st.session_state["send_error"] = error


configurations = {c.slug: c for c in services.configurations.list(actor) if c.is_active and c.needs is None}
with blocks.header("Playground"):
    if st.button("New run", icon=":material/add:", type="tertiary", disabled=run is None):
        del st.query_params["run"]
        st.rerun()

if not configurations:
    with blocks.empty_state("tune", "No configuration is ready", "A configuration says which model answers."):
        st.page_link(session.page("configurations"), label="Open configurations", icon=":material/tune:")
    st.stop()

main, side = (st.container(), st.container()) if compact else st.columns([2.2, 1], gap="medium")
with main:
    wanted = st.query_params.get("config") or services.preferences.get(actor, "playground.configuration", None)
    default = next((c.slug for c in configurations.values() if c.is_global_default), next(iter(configurations)))
    slugs = list(configurations)
    with blocks.row(gap="xsmall"):
        slug = st.selectbox(
            "Configuration",
            slugs,
            index=slugs.index(wanted if wanted in configurations else default),
            format_func=lambda s: f"{s} · {configurations[s].provider_name} · {configurations[s].model}",
            label_visibility="collapsed",
            key="configuration",
        )
        configuration = configurations[slug]
        with st.popover("Parameters" if not compact else "", icon=":material/tune:", help="Parameters of this run"):
            parameters = playground.parameter_inputs(configuration)
    if slug != services.preferences.get(actor, "playground.configuration", None):
        services.preferences.set(actor, "playground.configuration", slug)
    with st.expander("System prompt", icon=":material/edit_note:"):
        system = st.text_area(
            "System prompt",
            configuration.system_prompt,
            height=90,
            label_visibility="collapsed",
            placeholder="How the model should behave. Empty sends none.",
            key=f"system-{configuration.id}",
        )
    with st.expander("Effective parameters", icon=":material/layers:"), blocks.errors_shown():
        overrides.effective_table(services.overrides.effective(actor, configuration, parameters), configuration)
    with st.container():
        prompt = st.chat_input(f"Ask {slug}", key="prompt")
    if prompt:
        send(prompt, slug, system, parameters)
        st.rerun()
    if (again := st.session_state.pop("run_again", None)) is not None:
        view = services.calls.view(actor, again)
        old_system, old_prompt, old_parameters = playground.last_prompt(view)
        same = next((c.slug for c in configurations.values() if c.id == view.configuration_id), slug)
        send(old_prompt, same, old_system, dict(old_parameters))
        st.rerun()
    if (error := st.session_state.pop("send_error", None)) is not None:
        blocks.show_error(error)
    if run is None:
        sentence = "The answer streams in here with its tokens, speed and cost. The bundled model is free and offline."
        with blocks.empty_state("play_circle", "Ask something", sentence, wide=True):
            for example in EXAMPLES:
                if st.button(example, key=example):
                    send(example, slug, system, parameters)
                    st.rerun()
    else:
        playground.pane(services, actor, run, height="content" if compact else playground.ANSWER_HEIGHT)
        with blocks.errors_shown():
            playground.monitor(services.calls.view(actor, run))
with side:
    playground.recent_runs(services, actor, services.preferences.report_zone(actor), run)
