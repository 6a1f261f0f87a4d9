"""From a question to a run whose id stands in the address; what is wrong with it is told at the next drawing."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import streamlit as st

from lib.access.permissions import Actor
from lib.calls.request import CachePolicy
from lib.configs.configuration import Configuration
from lib.errors import LLMManagerError
from lib.playground.question import PlaygroundQuestion
from lib.playground.run import Pane
from lib.services import Services
from lib.ui import blocks, session_keys
from lib.ui.playground import panes


def send(
    services: Services,
    actor: Actor,
    question: PlaygroundQuestion,
    slugs: Sequence[str],
    configurations: Mapping[str, Configuration],
    *,
    is_blind: bool,
    cache_policy: CachePolicy | None = None,
) -> None:
    """Start a run of the chosen configurations as their panes are set."""
    requested_panes = [
        Pane(slug, panes.read_parameters(configurations[slug], n), panes.read_system_prompt(n))
        for n, slug in enumerate(slugs)
    ]
    requested_panes = requested_panes if len(requested_panes) > 1 else [replace(requested_panes[0], system_prompt=None)]
    try:
        st.query_params["run"] = services.playground.start(
            actor,
            question,
            requested_panes,
            is_blind=is_blind and len(requested_panes) > 1,
            cache_policy=cache_policy,
        )
        st.query_params.pop("config", None)  # the run says it; a prompt stays, with what was entered for it
        st.session_state[session_keys.PLAYGROUND_RUNS_PAGE] = 1
    except LLMManagerError as error:
        keep_error(error)


def keep_error(error: LLMManagerError) -> None:
    """Keep an error for `show_kept_error`, over the redraw that follows."""
    st.session_state[session_keys.SEND_ERROR] = error


def show_kept_error() -> None:
    """Draw the error that was kept, once."""
    if (error := st.session_state.pop(session_keys.SEND_ERROR, None)) is not None:
        blocks.show_error(error)
