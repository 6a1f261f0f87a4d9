"""Choosing a model: the provider's list to search by typing, any other name as well, and below it what is known.

A list that was never fetched, or is a day old, is fetched when the picker is drawn by somebody who may; drawing a page
alone asks no provider.
"""

from typing import Any

import streamlit as st

from lib.access.permissions import Actor, Permission
from lib.money import format_price
from lib.providers.discovery import ModelList
from lib.providers.models import ModelFacts
from lib.providers.provider import Provider
from lib.services import Services
from lib.ui import blocks, format


def draw_model_picker(
    services: Services, actor: Actor, provider: Provider | None, current: str, *, into: Any = st, key: str = "model"
) -> str:
    """The model's name (empty: none yet), chosen or typed; facts of the chosen one stand below."""
    listed = load_listed_models(services, actor, provider) if provider else None
    names = [facts.model for facts in listed.models] if listed else []
    if current and current not in names:
        names.insert(0, current)
    model: str | None = into.selectbox(
        "Model",
        names,
        index=names.index(current) if current else None,
        accept_new_options=True,
        placeholder=f"Choose or type, like {provider.facts.example_model}" if provider else "Choose a provider first",
        help="Type to search. A name that is not listed can be typed, too.",
        key=f"{key}-{provider.id if provider else ''}",
    )
    if provider is not None and listed is not None:
        facts = services.models.find(provider.kind, model, provider.id) if model else None
        into.caption(
            describe_model(facts) if facts else blocks.escape_markdown(_describe_list(listed, provider, model))
        )
    return model or ""


def load_listed_models(services: Services, actor: Actor, provider: Provider) -> ModelList:
    """The provider's list; fetched first when it is due and the actor may."""
    listed = services.models.list(actor, provider.id)
    if listed.is_due and provider.state == "ready" and actor.can(Permission.EDIT_CONFIGS):
        with st.spinner("Asking for the list of models…"):
            return services.models.refresh(actor, provider.id)
    return listed


def describe_model(facts: ModelFacts) -> str:
    """A line of Markdown with a model's window, longest answer, capabilities and price, as far as they are known."""
    parts = []
    if facts.context_tokens is not None:
        parts.append(f"reads {format.format_count(facts.context_tokens)} tokens")
    if facts.output_tokens is not None:
        parts.append(f"writes {format.format_count(facts.output_tokens)}")
    if facts.capabilities is not None:
        parts.append(", ".join(facts.capabilities))
    parts.append(describe_price(facts))
    return blocks.escape_markdown(" · ".join(parts))


def describe_price(facts: ModelFacts) -> str:
    """The price of a million tokens in and out, in words."""
    if facts.input_nano is None:
        return "price not known"
    if not facts.input_nano and not facts.output_nano:
        return "free"
    return f"{format_price(facts.input_nano)} in, {format_price(facts.output_nano)} out per million tokens"


def _describe_list(listed: ModelList, provider: Provider, model: str | None) -> str:
    if listed.error:
        return f"The list could not be fetched: {listed.error}"
    if listed.fetched_at is None:
        why = "It needs its key first." if provider.needs_key else "The list may be incomplete."
        return f"{provider.name} was not asked for its models yet. {why}"
    return "Nothing is known of this model." if model else f"{len(listed.models)} models listed."
