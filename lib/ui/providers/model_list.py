"""The dialog with a provider's models: what is known of each, when they were listed, and the button to ask again."""

from zoneinfo import ZoneInfo

import streamlit as st

from lib.access.permissions import Actor, Permission
from lib.money import format_price
from lib.providers.discovery import ModelList
from lib.providers.provider import Provider
from lib.services import Services
from lib.ui import blocks, format
from lib.ui.configurations.model_picker import load_listed_models


def show_models(services: Services, actor: Actor, provider: Provider) -> None:
    """The table, with its age above it."""
    zone = services.preferences.report_zone(actor)
    if st.button(
        "Refresh list",
        icon=":material/refresh:",
        disabled=provider.state != "ready" or not actor.can(Permission.EDIT_CONFIGS),
        help="Ask the provider now. Lists older than a day are asked for again by themselves.",
    ):
        with st.spinner("Asking for the list of models…"), blocks.show_errors():
            services.models.refresh(actor, provider.id)
    listed = load_listed_models(services, actor, provider)
    _show_age(listed, zone)
    if listed.models:
        _show_table(listed)
    elif listed.error is None:
        st.caption("No models are listed. A model's name can always be typed in a configuration.")


def _show_age(listed: ModelList, zone: ZoneInfo) -> None:
    if listed.error is not None:
        kept_note = "The last good list is kept." if listed.fetched_at else ""
        tried = format.format_moment(listed.tried_at, zone).rpartition(":")[0]
        st.warning(blocks.escape_markdown(f"{listed.error} {kept_note} Tried {tried}."), icon=":material/info:")
    if listed.fetched_at is None and listed.models:
        st.caption(f"{len(listed.models):,} models of this kind that LLM Manager knows; the provider was not asked yet")
    if listed.fetched_at is not None:
        when = format.format_moment(listed.fetched_at, zone).rpartition(":")[0]
        st.caption(f"{len(listed.models):,} models, listed {when} · prices of a million tokens, from the price book")


def _show_table(listed: ModelList) -> None:
    import pandas as pd

    models = listed.models
    frame = pd.DataFrame(
        {
            "model": [facts.model for facts in models],
            "context": pd.array([facts.context_tokens for facts in models], dtype="Int64"),
            "output": pd.array([facts.output_tokens for facts in models], dtype="Int64"),
            "can": [None if facts.capabilities is None else ", ".join(facts.capabilities) for facts in models],
            "price_in": [format_price(facts.input_nano) for facts in models],
            "price_out": [format_price(facts.output_nano) for facts in models],
        }
    )
    text = st.column_config.TextColumn
    number = st.column_config.NumberColumn
    st.dataframe(
        frame,
        hide_index=True,
        row_height=30,
        height=min(420, 30 * (len(frame) + 1) + 3),
        placeholder="—",
        column_config={
            "model": text("Model", width="medium"),
            "context": number("Context", format="localized", help="Tokens it reads; — is not stated"),
            "output": number("Output", format="localized", help="Tokens it writes at most; — is not stated"),
            "can": text("Can", width="medium"),
            "price_in": text("In", alignment="right"),
            "price_out": text("Out", alignment="right"),
        },
    )
