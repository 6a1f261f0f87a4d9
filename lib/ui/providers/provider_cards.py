"""The pieces of the Providers page: a card per provider and the dialogs to add, edit and delete one."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import streamlit as st

from lib.access.permissions import Actor, Permission
from lib.calls.connection_test import check_connection, check_listing
from lib.errors import LLMManagerError
from lib.providers.circuits import Circuit
from lib.providers.kinds import FACTS, KindFacts, ProviderKind, look_up_facts
from lib.providers.provider import Provider
from lib.services import Services
from lib.ui import blocks, format, session_keys
from lib.ui.configurations.configuration_form import show_in_form
from lib.ui.providers.circuits import show_open_circuits
from lib.ui.providers.model_list import show_models

_BADGES: dict[str, tuple[str, Any]] = {
    "ready": ("✓ ready", "green"),
    "off": ("■ off", "gray"),
    "needs key": ("⊘ needs key", "orange"),
}


def show_card(
    services: Services, actor: Actor, provider: Provider, circuits: Sequence[Circuit], zone: ZoneInfo
) -> None:
    """One provider: state, address, key, last check, open circuits, actions."""
    with st.container(border=True, height="stretch"):
        with blocks.start_row(gap="xsmall"):
            st.subheader(blocks.escape_markdown(provider.name), anchor=False, width="content")
            st.caption(provider.facts.label, width="stretch")
            label, colour = _BADGES[provider.state]
            if provider.state == "ready" and provider.last_check is None and not provider.facts.in_process:
                label = "○ not tested"
                colour = "gray"
            if provider.state == "ready" and provider.last_check is not None and not provider.last_check["ok"]:
                label = "✕ last test failed"
                colour = "red"
            if provider.state == "ready" and circuits:
                label = "⊘ circuit open"
                colour = "orange"
            st.badge(label, color=colour)
        blocks.show_facts([("Address", _format_address(provider)), ("Key", _format_key(provider))])
        _show_last_check(provider, zone)
        show_open_circuits(services, actor, circuits, zone)
        _show_actions(services, actor, provider)


def _format_address(provider: Provider) -> str:
    if provider.facts.in_process:
        return "in this process"
    private = " :gray[private allowed]" if provider.allow_private else ""
    return (f"`{provider.address}`" if provider.address else ":gray[— litellm's own]") + private


def _format_key(provider: Provider) -> str:
    if provider.has_key:
        return f"…{blocks.escape_markdown(provider.key_last4 or '')}" if provider.key_last4 else "stored"
    return ":orange[— missing]" if provider.facts.needs_key else ":gray[— not needed]"


def _show_last_check(provider: Provider, zone: ZoneInfo) -> None:
    check = provider.last_check
    if check is None:
        st.caption("Not tested yet.")
        return
    when = format.format_moment(datetime.fromisoformat(check["at"]), zone)
    if check["ok"] and "models" in check:
        listed = f"{check['models']:,} {'model' if check['models'] == 1 else 'models'}"
        st.caption(f":green[✓] Listed {listed} in {format.format_duration(check['latency_ms'])} · {when}")
    elif check["ok"]:
        st.caption(f":green[✓] Answered in {format.format_duration(check['latency_ms'])} · {when}")
    else:
        st.caption(f":red[✕] {blocks.escape_markdown(str(check['message']))} · {when}")


def _show_actions(services: Services, actor: Actor, provider: Provider) -> None:
    locked = not actor.can(Permission.MANAGE_PROVIDERS)
    with blocks.start_row():
        if st.button(
            "Test",
            icon=":material/network_check:",
            type="tertiary",
            key=f"test-{provider.id}",
            disabled=not actor.can(Permission.TEST_CONFIGS),
        ):
            _run_action(lambda: run_test(services, actor, provider))
        if st.button("Models", icon=":material/list:", type="tertiary", key=f"models-{provider.id}"):
            st.dialog(f"Models of {provider.name}", width="large")(show_models)(services, actor, provider)
        if st.button("Edit", icon=":material/edit:", type="tertiary", key=f"edit-{provider.id}", disabled=locked):
            st.dialog(f"Edit {provider.name}")(edit_dialog)(services, actor, provider)
        word, icon = ("Switch off", "toggle_off") if provider.is_active else ("Switch on", "toggle_on")
        if st.button(word, icon=f":material/{icon}:", type="tertiary", key=f"switch-{provider.id}", disabled=locked):
            _run_action(lambda: services.providers.set_active(actor, provider.id, not provider.is_active))
        if st.button(
            ":red[Delete]", icon=":material/delete:", type="tertiary", key=f"delete-{provider.id}", disabled=locked
        ):
            st.dialog(f"Delete {provider.name}?")(delete_dialog)(services, actor, provider)


def _run_action(action: Any) -> None:
    try:
        action()
    except LLMManagerError as error:
        st.session_state[session_keys.PROVIDER_ERROR] = error
    st.rerun()


def run_test(services: Services, actor: Actor, provider: Provider) -> None:
    """Test through a configuration that uses the provider, an active one first; before there is one, by its models."""
    using = [c for c in services.configurations.list(actor) if c.provider_id == provider.id]
    if not using:
        with st.spinner("Asking for the list of models…"):
            check_listing(actor, provider, services.models, services.providers)
        return
    with st.spinner("Asking the model one short question…"):
        configuration = sorted(using, key=lambda c: not c.is_active)[0]
        check_connection(actor, configuration, services.calls, services.providers)


def add_dialog(services: Services, actor: Actor) -> None:
    """Choose a kind, fill in what it needs."""
    kind = st.selectbox("Kind", list(FACTS), format_func=lambda kind: FACTS[kind].label)
    spots: dict[str | None, Any] = {}
    with _open_form(f"add-{kind}"):
        help_ = "Stands in the log and the charts"
        name = st.text_input("Name", kind.value, max_chars=80, help=help_, key=f"name-{kind}")
        spots["name"] = st.empty()
        fields = _ask_fields(kind, None, spots)
        spots[None] = st.container()
        sent = st.form_submit_button("Add provider", type="primary")
    if sent:
        try:
            services.providers.create(actor, name=name, kind=kind.value, **fields)
        except LLMManagerError as error:
            show_in_form(error, spots)
            return
        st.rerun()


def _open_form(name: str) -> Any:
    """A form takes what stands in a password field however one leaves it; alone, such a field loses it to Tab."""
    return st.form(name, border=False, enter_to_submit=False)


def edit_dialog(services: Services, actor: Actor, provider: Provider) -> None:
    """Change name, address, key; an empty key field keeps the stored key."""
    spots: dict[str | None, Any] = {}
    with _open_form(f"edit-{provider.id}"):
        name = st.text_input("Name", provider.name, max_chars=80)
        spots["name"] = st.empty()
        fields = _ask_fields(ProviderKind(provider.kind), provider, spots)
        remove = provider.has_key and st.checkbox("Remove the stored key")
        spots[None] = st.container()
        sent = st.form_submit_button("Save provider", type="primary")
    if sent:
        try:
            services.providers.update(actor, provider.id, name=name, remove_key=bool(remove), **fields)
        except LLMManagerError as error:
            show_in_form(error, spots)
            return
        st.rerun()


def _ask_fields(kind: ProviderKind, provider: Provider | None, spots: dict[str | None, Any]) -> dict[str, Any]:
    """The fields a kind has, and their values."""
    kind_facts = look_up_facts(kind)
    of = f"{kind}-{provider.id if provider else 'new'}"
    if kind_facts.in_process:
        st.caption("It runs inside this process: no address and no key.")
        return {}
    fields: dict[str, Any] = {}
    fields["base_url"] = st.text_input(
        "Base URL" + ("" if kind_facts.needs_base_url else ", if it differs"),
        provider.base_url if provider else "",
        placeholder=kind_facts.base_url or "https://api.example.com/v1",
        key=f"url-{of}",
    )
    spots["base_url"] = st.empty()
    fields["allow_private"] = st.checkbox(
        "Allow private hosts",
        provider.allow_private if provider else False,
        help="For servers on this machine or in your network. Without it such addresses are refused.",
        key=f"private-{of}",
    )
    fields["api_key"] = st.text_input(
        "API key" + ("" if kind_facts.needs_key else ", if it asks for one"),
        type="password",
        autocomplete="off",
        placeholder=_describe_key(kind_facts, provider),
        key=f"key-{of}",
    )
    spots["api_key"] = st.empty()
    with st.expander("More", icon=":material/tune:"):
        if kind is ProviderKind.OPENAI:
            fields["organisation"] = st.text_input(
                "Organisation", provider.organisation if provider else "", max_chars=120, key=f"organisation-{of}"
            )
        stored = f"Stored: {', '.join(provider.header_names)}" if provider and provider.header_names else ""
        lines = st.text_area(
            "Extra headers, one a line",
            placeholder=stored or "X-Team: support",
            help="Sent with every request and stored encrypted."
            + (" Filling this in replaces them." if stored else ""),
            height=68,
            key=f"headers-{of}",
        )
        spots["headers"] = st.empty()
    fields["headers"] = _parse_headers(lines) or None
    return fields


def _describe_key(kind_facts: KindFacts, provider: Provider | None) -> str:
    if provider is not None and provider.has_key:
        return f"Stored, ends in {provider.key_last4}. Leave empty to keep it" if provider.key_last4 else "Stored"
    return f"From {kind_facts.key_help}" if kind_facts.key_help else ""


def _parse_headers(text: str) -> dict[str, str]:
    """Lines of `Name: value` as a dictionary."""
    lines = [line.partition(":") for line in text.splitlines() if line.strip()]
    return {name.strip(): value.strip() for name, _, value in lines}


def delete_dialog(services: Services, actor: Actor, provider: Provider) -> None:
    """Ask before a provider is deleted; says what is erased, and refuses while configurations use it."""
    using = services.providers.used_by(actor, provider.id)
    if using:
        st.markdown(
            f"{len(using)} configurations use it: {blocks.escape_markdown(', '.join(using[:5]))}. "
            "Give them another provider or delete them first."
        )
    else:
        st.markdown("Its key is erased. Calls made through it, their cost and the statistics stay.")
    spot = st.container()
    with blocks.start_row():
        if st.button("Keep provider"):
            st.rerun()
        if st.button(":red[Delete provider]", disabled=bool(using)):
            try:
                services.providers.delete(actor, provider.id)
            except LLMManagerError as error:
                with spot:
                    blocks.show_error(error)
                return
            st.rerun()
