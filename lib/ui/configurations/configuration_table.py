"""The pieces of the Configurations page: table, detail panel, and the dialogs to delete and import."""

import json
from collections.abc import Sequence
from typing import Any

import streamlit as st

from lib.access.permissions import Actor, Permission
from lib.calls.connection_test import check_connection
from lib.configs.configurations import Configuration
from lib.configs.routing import Routing
from lib.errors import LLMManagerError
from lib.services import Services
from lib.ui import blocks, format, grammar, session, session_keys
from lib.ui.configurations.configuration_form import draw_editor, select
from lib.ui.configurations.routing_form import describe

STATES = {
    None: "✓ ready",
    "off": "■ off",
    "key": "⊘ needs key",
    "provider": "⊘ no provider",
    "provider off": "⊘ provider off",
}
_COLOURS = {None: "green", "off": "gray"}
_NEEDS = {
    "key": "Its provider has no key yet. Enter it on the Providers page.",
    "provider": "It came in by import without a provider. Edit it and choose one.",
    "provider off": "Its provider is switched off. Switch it on on the Providers page.",
}


def pick_colour(configuration: Configuration) -> Any:
    """The colour of its state."""
    return _COLOURS.get(configuration.needs, "orange")


def describe_default(configuration: Configuration) -> str | None:
    """For what it is the default, in words, or None."""
    words = ["everything"] if configuration.is_global_default else []
    words += [configuration.app] if configuration.is_default else []
    return ", ".join(words) or None


def draw_table(configurations: Sequence[Configuration], selected: str | None, *, compact: bool) -> str | None:
    """The table; the slug of the row that is selected."""
    import pandas as pd

    frame = pd.DataFrame(
        {
            "slug": [c.slug for c in configurations],
            "app": [c.app for c in configurations],
            "model": [c.model for c in configurations],
            "default": [describe_default(c) for c in configurations],
            "state": [[STATES[c.needs]] for c in configurations],
        }
    )
    rows = [index for index, c in enumerate(configurations) if c.slug == selected]
    text = st.column_config.TextColumn
    position = grammar.choose_row(
        frame,
        placeholder="—",
        default=next(iter(rows), None),
        key="configurations-" + str(hash(tuple(c.slug for c in configurations))),
        column_order=["slug", "model", "state"] if compact else list(frame.columns),
        column_config={
            "slug": text("Name", width=120 if compact else 158),
            "state": st.column_config.MultiselectColumn(
                "State",
                width=98,
                options=list(STATES.values()),
                color=["green", "gray", "orange", "orange", "orange"],
            ),
            "app": text("App", width=72),
            "model": text("Model", width=110 if compact else 138),
            "default": text("Default for", width=82),
        },
    )
    return configurations[position].slug if position is not None and position < len(configurations) else None


def draw_detail(services: Services, actor: Actor, configuration: Configuration, *, heading: bool = True) -> None:
    """The panel of one configuration."""
    with blocks.start_row(gap="xsmall"):
        if heading:
            st.subheader(blocks.escape_markdown(configuration.slug), anchor=False, width="stretch")
        st.badge(STATES[configuration.needs], color=pick_colour(configuration))
        if (default := describe_default(configuration)) is not None:
            st.badge(f"default for {blocks.escape_markdown(default)}", color="blue")
    if configuration.description:
        st.caption(blocks.escape_markdown(configuration.description))
    if configuration.needs in _NEEDS:
        st.warning(_NEEDS[configuration.needs], icon=":material/info:")
    blocks.show_facts(
        [
            ("App", blocks.escape_markdown(configuration.app)),
            ("Provider", blocks.escape_markdown(configuration.provider_name) or ":gray[— none]"),
            ("Model", blocks.escape_markdown(configuration.model)),
            ("Can", ", ".join(configuration.capabilities) or ":gray[— not stated]"),
        ]
    )
    parameters, prompt, routing = st.tabs(["Parameters", "System prompt", "Routing"])
    with parameters:
        if configuration.parameters:
            blocks.show_facts([(name, _format_parameter(value)) for name, value in configuration.parameters.items()])
        else:
            st.caption("None set: the provider's defaults apply.")
    with prompt:
        if configuration.system_prompt:
            st.code(configuration.system_prompt, language=None, wrap_lines=True)
        else:
            st.caption("None: only the messages are sent.")
    with routing:
        names = {provider.id: provider.name for provider in services.providers.list(actor)}
        lines = describe(Routing.from_record(configuration.routing), names)
        blocks.show_facts([(label, blocks.escape_markdown(value)) for label, value in lines], columns=1)
    _check(configuration)
    _draw_actions(services, actor, configuration)


def _format_parameter(value: Any) -> str:
    return blocks.escape_markdown(str(value) if isinstance(value, str | int | float) else json.dumps(value))


def _check(configuration: Configuration) -> None:
    """The result of the newest test in this session."""
    check = st.session_state.get(session_keys.CONFIGURATION_CHECK)
    if check is None or check["id"] != configuration.id:
        return
    if check["ok"]:
        st.success(
            f"{blocks.escape_markdown(check['model'])} answered in {format.format_duration(check['latency_ms'])}, "
            f"first token after {format.format_duration(check['first_token_ms'])}.",
            icon=":material/check:",
        )
    else:
        st.error(blocks.escape_markdown(check["message"]), title="The test failed", icon=":material/error:")


def _draw_actions(services: Services, actor: Actor, configuration: Configuration) -> None:
    with blocks.start_row():
        if st.button("Test", icon=":material/network_check:", disabled=not actor.can(Permission.TEST_CONFIGS)):
            run_test(services, actor, configuration)
        if st.button("Edit", icon=":material/edit:", disabled=not actor.can(Permission.EDIT_CONFIGS)):
            st.dialog(f"Edit {configuration.slug}", width="medium")(draw_editor)(services, actor, configuration)
        with st.popover("More", icon=":material/more_horiz:", type="tertiary"), st.container(gap="xsmall"):
            _draw_more(services, actor, configuration)


def _draw_more(services: Services, actor: Actor, configuration: Configuration) -> None:
    may_edit = actor.can(Permission.EDIT_CONFIGS)
    may_create = actor.can(Permission.CREATE_CONFIGS)
    st.page_link(
        session.page("playground"),
        label="Open in playground",
        icon=":material/play_circle:",
        query_params={"config": configuration.slug},
    )
    st.page_link(
        session.page("connect"),
        label="Connect your app",
        icon=":material/cable:",
        query_params={"configuration": configuration.slug},
    )
    if st.button("Clone", icon=":material/content_copy:", type="tertiary", disabled=not may_create):
        change(lambda: select(services.configurations.clone(actor, configuration.id).slug))
    word, icon = ("Switch off", "toggle_off") if configuration.is_active else ("Switch on", "toggle_on")
    if st.button(word, icon=f":material/{icon}:", type="tertiary", disabled=not may_edit):
        change(lambda: services.configurations.set_active(actor, configuration.id, not configuration.is_active))
    _draw_default_button(services, actor, configuration, locked=not may_edit)
    may_delete = actor.can(Permission.DELETE_CONFIGS)
    if st.button(":red[Delete]", icon=":material/delete:", type="tertiary", disabled=not may_delete):
        st.dialog(f"Delete {configuration.slug}?")(delete_dialog)(services, actor, configuration)


def _draw_default_button(services: Services, actor: Actor, configuration: Configuration, *, locked: bool) -> None:
    app = blocks.escape_markdown(configuration.app)
    star = ":material/star:"
    if configuration.is_default:
        if st.button(f"No longer default for {app}", icon=star, type="tertiary", disabled=locked):
            change(lambda: services.configurations.clear_default(actor, configuration.id))
    elif st.button(f"Make default for {app}", icon=star, type="tertiary", disabled=locked):
        change(lambda: services.configurations.set_default(actor, configuration.id))
    if not configuration.is_global_default and st.button(
        "Make default for every app", icon=":material/stars:", type="tertiary", disabled=locked
    ):
        change(lambda: services.configurations.set_default(actor, configuration.id, everywhere=True))


def run_test(services: Services, actor: Actor, configuration: Configuration) -> None:
    """Test the connection and keep the result for the panel."""
    try:
        with st.spinner("Asking the model one short question…"):
            check = check_connection(actor, configuration, services.calls, services.providers)
        outcome = {"ok": check.ok, "model": check.model, "message": check.message, "latency_ms": check.latency_ms}
        outcome |= {"first_token_ms": check.first_token_ms}
    except LLMManagerError as error:
        outcome = {"ok": False, "message": str(error)}
    st.session_state[session_keys.CONFIGURATION_CHECK] = {"id": configuration.id, **outcome}
    st.rerun()


def change(action: Any) -> None:
    """Do something and redraw; an error is kept and drawn at the top of the redrawn page."""
    try:
        action()
    except LLMManagerError as error:
        st.session_state[session_keys.CONFIGURATION_ERROR] = error
    st.rerun()


def delete_dialog(services: Services, actor: Actor, configuration: Configuration) -> None:
    """Ask before a configuration is deleted, saying what stays of it."""
    st.markdown(
        "Apps that name it get an error from then on. Its calls, their cost and the statistics stay."
        + (
            f" {blocks.escape_markdown(configuration.app)} falls back to the global default."
            if configuration.is_default
            else ""
        )
    )
    spot = st.container()
    with blocks.start_row():
        if st.button("Keep configuration"):
            st.rerun()
        if st.button(":red[Delete configuration]"):
            try:
                services.configurations.delete(actor, configuration.id)
            except LLMManagerError as error:
                with spot:
                    blocks.show_error(error)
                return
            st.query_params.pop("id", None)
            st.rerun()


def import_dialog(services: Services, actor: Actor) -> None:
    """Upload a document and say what came of it."""
    st.caption("A JSON file made by Export. Names that exist are skipped; keys are never part of it.")
    file = st.file_uploader("Export file", type="json", label_visibility="collapsed")
    if st.button("Import configurations", type="primary", disabled=file is None) and file is not None:
        with blocks.show_errors():
            done = services.configurations.import_json(actor, file.getvalue())
            st.success(f"{len(done.created)} added, {len(done.skipped)} skipped because the name exists.")
            if done.without_provider:
                names = blocks.escape_markdown(", ".join(done.without_provider))
                st.warning(f"Switched off until they get a provider: {names}.")
            if done.shorter_routing:
                names = blocks.escape_markdown(", ".join(done.shorter_routing))
                st.warning(f"Some targets of their routing have no provider here and were left out: {names}.")
