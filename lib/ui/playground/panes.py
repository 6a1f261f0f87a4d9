"""The playground's panes: what each is set to, and its answer while it grows."""

from collections.abc import Mapping
from typing import Any

import streamlit as st

from lib.access.permissions import Actor
from lib.access.preferences import PLAYGROUND_CONFIGURATION
from lib.calls.live_call import CallView
from lib.calls.request import ASKED_AGAIN
from lib.calls.sources import NO_CACHE
from lib.configs.configuration import Configuration
from lib.errors import LLMManagerError
from lib.playground.question import PlaygroundQuestion
from lib.playground.run import MOST_PANES, Pane, PlaygroundRun
from lib.services import Services
from lib.ui import blocks, session_keys
from lib.ui.activity import inspector
from lib.ui.cache import remembered_answers
from lib.ui.configurations import overrides
from lib.ui.playground import answer_pane, comparison
from lib.ui.tools import tool_cards

COUNT = "panes"
_AGAIN = ":material/replay:"
_REQUEST = ":material/data_object:"


def settle(services: Services, actor: Actor, ready: Mapping[str, Configuration], run: PlaygroundRun | None) -> None:
    """Before anything is drawn: the panes as the address has them, which is as the opened run was asked."""
    state = st.session_state
    opened = run.id if run is not None else st.query_params.get("config", "")
    if not ready or (state.get(session_keys.OPENED_RUN) == opened and COUNT in state):
        return
    state[session_keys.OPENED_RUN] = opened
    slugs = [pane.slug for pane in run.panes] if run is not None else opened.split(",") if opened else []
    if run is None:
        slugs = [slug for slug in slugs if slug in ready]
        if not slugs and COUNT in state:
            return  # a new run goes on with the panes as they are
    if not slugs:
        preferred = services.preferences.get(actor, PLAYGROUND_CONFIGURATION, None)
        default = next((c.slug for c in ready.values() if c.is_global_default), next(iter(ready)))
        slugs = [preferred if preferred in ready else default]
    slugs = slugs[: 2 if blocks.is_compact() else MOST_PANES]
    state[COUNT] = len(slugs)
    for position, slug in enumerate(slugs):
        if slug in ready:  # else `chosen` finds another for what is asked next
            state[_build_configuration_key(position)] = slug
            if run is not None:
                _settle_system(run, ready[slug], position)


def _settle_system(run: PlaygroundRun, configuration: Configuration, position: int) -> None:
    """The system prompt as the pane was asked, where nothing else on the page says the same."""
    system_prompt = run.panes[position].system_prompt
    alone = len(run.panes) == 1
    common = build_system_key(configuration.slug if alone else None)
    if alone:
        st.session_state[common] = system_prompt
    elif system_prompt not in (configuration.system_prompt, st.session_state.get(common, "")):
        st.session_state[_build_pane_system_key(position)] = system_prompt


def build_system_key(alone: str | None) -> str:
    """The key of the field that holds for all panes, or for the only one."""
    return f"system-{alone or 'all'}"


def read_system_prompt(position: int) -> str | None:
    """A pane's own system prompt; None without one."""
    return st.session_state.get(_build_pane_system_key(position)) or None


def _build_pane_system_key(position: int) -> str:
    return f"{position}-system"


def choose_slugs(slugs: list[str], count: int) -> list[str]:
    """The configuration of each pane; a new pane begins with one that no other has."""
    pane_slugs: list[str] = []
    for position in range(count):
        slug = st.session_state.get(_build_configuration_key(position))
        if slug not in slugs:
            slug = next((other for other in slugs if other not in pane_slugs), slugs[0])
            st.session_state[_build_configuration_key(position)] = slug
        pane_slugs.append(slug)
    return pane_slugs


def draw_controls(
    services: Services, actor: Actor, ready: Mapping[str, Configuration], position: int, count: int
) -> None:
    """The choice of a pane's configuration and its parameters."""
    with blocks.start_row(gap="xsmall"):
        slug = st.selectbox(
            "Configuration",
            list(ready),
            format_func=lambda s: f"{s} · {ready[s].provider_name} · {ready[s].model}" if count < 3 else s,
            label_visibility="collapsed",
            key=_build_configuration_key(position),
        )
        configuration = ready[slug]
        with st.popover("", icon=":material/tune:", help="System prompt and parameters"):
            if count > 1:
                st.text_area(
                    "System prompt", height=90, placeholder="As for all panes", key=_build_pane_system_key(position)
                )
            parameters = answer_pane.draw_parameters(configuration, f"{position}-")
            with st.expander("Effective parameters", icon=":material/layers:"), blocks.show_errors():
                effective = services.overrides.effective(actor, configuration, parameters)
                overrides.draw_effective_parameters(effective, configuration)
    if position == 0 and slug != services.preferences.get(actor, PLAYGROUND_CONFIGURATION, None):
        services.preferences.set(actor, PLAYGROUND_CONFIGURATION, slug)


def read_parameters(configuration: Configuration, position: int) -> dict[str, Any]:
    """Parameters by name that the controls of a pane set otherwise than the configuration."""
    return answer_pane.read_changed_parameters(configuration, f"{position}-")


def draw_answer(
    services: Services,
    actor: Actor,
    run: PlaygroundRun,
    position: int,
    question: PlaygroundQuestion | None,
    ready: Mapping[str, Configuration],
    *,
    compact: bool,
) -> None:
    """The answer, redrawn while it streams; the whole page is drawn once more when it ends."""
    pane = run.panes[position]
    if pane.call is None:
        comparison.show_pane_error(pane.error or "The call is not kept any more. Its time in the ledger is over.")
        return
    hidden = run.is_hidden
    if hidden:
        st.markdown(f"**{blocks.escape_markdown(comparison.name_pane(run, position))}**")
    height = "content" if compact else answer_pane.ANSWER_HEIGHT
    badges = comparison.find_badges(run).get(position, [])

    def growing() -> None:
        now = (
            services.playground.call(actor, run.id, position)
            if run.is_kept
            else services.turns.call_view(actor, run.id)
        )
        now = remembered_answers.add_age(services, actor, now)
        turn = services.playground.turn(actor, run.id, position) if run.is_kept else services.turns.view(actor, run.id)
        steps = tool_cards.make_steps(services, actor, turn, f"pane-{position}")
        marks = [*badges, *tool_cards.find_badge(turn)]
        # two parts, above and at the bottom: so the figures and buttons of ended panes stand side by side in one line
        with st.container(height="content" if compact else "stretch", vertical_alignment="distribute"):
            with st.container():
                answer_pane.draw_answer(now, height, badges=marks, is_hidden=hidden, draw_steps=steps)
                comparison.draw_schema_check(question, now)
            with st.container():
                if not hidden:
                    answer_pane.draw_figures(now, is_narrow=len(run.panes) > 1)
                _draw_actions(services, actor, run, position, now, question, ready)
        if pane.call is not None and pane.call.running and not now.running:
            blocks.redraw_page()

    if pane.call.running:
        st.fragment(run_every=answer_pane.REDRAW_S)(growing)()
    else:  # a fragment has a container of its own, which is no taller than what is in it
        growing()


def _draw_actions(
    services: Services,
    actor: Actor,
    run: PlaygroundRun,
    position: int,
    now: CallView,
    question: PlaygroundQuestion | None,
    ready: Mapping[str, Configuration],
) -> None:
    """Draw what can be done with an answer: stopped while it grows; then asked again, copied, looked into, rated."""
    is_own = run.user_id == actor.user_id
    with blocks.start_row(gap="xsmall"):
        if now.running:
            if is_own and st.button("Stop", icon=":material/stop_circle:", key=f"stop-{position}"):
                services.turns.stop(actor, now.call_id)
            if is_own and not run.is_hidden:
                answer_pane.draw_log_link(now)
            return
        may_repeat = is_own and question is not None and _is_repeatable(run, now)
        again = "Run again" if now.cache == NO_CACHE else remembered_answers.ASK_AGAIN
        if may_repeat and st.button(again, icon=_AGAIN, key=f"again-{position}"):
            _ask_again(services, actor, run, position, question, ready)
            st.rerun()
        answer_pane.draw_copy_button(now, key=f"copy-{now.log_id}")
        if is_own and not run.is_hidden:
            _draw_own_actions(services, actor, run, position, now)


def _is_repeatable(run: PlaygroundRun, now: CallView) -> bool:
    """Whether a pane may be asked anew by itself; of a call outside every run, where the model had not been asked."""
    return run.winner is None and not run.is_hidden if run.is_kept else now.cache != NO_CACHE


def _draw_own_actions(services: Services, actor: Actor, run: PlaygroundRun, position: int, now: CallView) -> None:
    if st.button("Request", icon=_REQUEST, type="tertiary", key=f"inspect-{position}"):
        inspector.request_inspection(now.log_id)
        st.rerun()
    answer_pane.draw_log_link(now)
    if run.is_kept and now.status == "ok":
        comparison.draw_rating(services, actor, run, position)


def _ask_again(
    services: Services,
    actor: Actor,
    run: PlaygroundRun,
    position: int,
    question: PlaygroundQuestion | None,
    ready: Mapping[str, Configuration],
) -> None:
    if not run.is_kept:  # a call that stands alone: a run begins with its question
        st.session_state[session_keys.RUN_AGAIN] = ASKED_AGAIN
        return
    slug = st.session_state.get(_build_configuration_key(position), run.panes[position].slug)
    if question is None or slug not in ready:
        return
    try:
        parameters = read_parameters(ready[slug], position)
        own = read_system_prompt(position) if len(run.panes) > 1 else None
        services.playground.ask_again(actor, run.id, position, question, Pane(slug, parameters, own))
    except LLMManagerError as error:
        st.session_state[session_keys.SEND_ERROR] = error  # drawn by `sending.show_kept_error`


def _build_configuration_key(position: int) -> str:
    return f"configuration-{position}"
