"""Accounts and servers that run models: a card each, with state, key and last check."""

import streamlit as st

from lib.access.permissions import Permission
from lib.ui import blocks, session, session_keys
from lib.ui.access import data_settings
from lib.ui.providers import provider_cards

actor = session.require(Permission.VIEW_CONFIGS)
services = session.ensure_services()
compact = blocks.is_compact()

with blocks.show_header("Providers"):
    if actor.can(Permission.MANAGE_ENCRYPTION_KEYS) and st.button(
        "" if compact else "Rotate master key",
        icon=":material/key:",
        type="tertiary",
        help="Encrypt every stored key again under a new master key",
    ):
        data_settings.rotate_dialog(services, actor)
    if st.button(
        "Add" if compact else "Add provider",
        icon=":material/add:",
        type="primary",
        disabled=not actor.can(Permission.MANAGE_PROVIDERS),
    ):
        st.dialog("Add provider")(provider_cards.add_dialog)(services, actor)

if (error := st.session_state.pop(session_keys.PROVIDER_ERROR, None)) is not None:
    blocks.show_error(error)

everything = services.providers.list(actor)
circuits = services.circuits.list(actor)
ready = sum(provider.state == "ready" for provider in everything)
zone = services.preferences.report_zone(actor)
st.caption(f"{len(everything)} providers, {ready} ready · keys are stored encrypted · times in {zone.key}")

if not everything:
    with blocks.show_empty_state("dns", "No providers yet", "A provider is an account or a server that runs models."):
        st.caption("Add one with Add provider. The bundled model is the kind Local.", text_alignment="center")
    st.stop()

with st.grid(1 if compact else 2, min_column_width=340, gap="small"):
    for provider in everything:
        provider_cards.show_card(services, actor, provider, [c for c in circuits if c.provider_id == provider.id], zone)
