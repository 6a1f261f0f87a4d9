"""Ask one to four configurations at once, watch them stream, decide. The address names the run: `?run=<id>`."""

from dataclasses import replace
from functools import partial

import streamlit as st

from lib.access.permissions import Permission
from lib.calls.request import CachePolicy
from lib.errors import LLMManagerError
from lib.playground.question import IMAGES, TEXTS, PlaygroundQuestion, rebuild_question
from lib.playground.run import MOST_PANES, PlaygroundRun
from lib.ui import blocks, session, session_keys
from lib.ui.activity import inspector
from lib.ui.playground import (
    answer_pane,
    comparison,
    panes,
    prompt_choice,
    question_editor,
    question_extras,
    sending,
)

actor = session.require(Permission.TEST_CONFIGS)
services = session.ensure_services()
compact = blocks.is_compact()
run_id = st.query_params.get("run")
EXAMPLES = ("Explain what a token is", "Write a haiku about invoices")

run: PlaygroundRun | None = None
if run_id is not None:
    try:
        run = services.playground.open(actor, run_id)
    except LLMManagerError as error:
        sending.keep_error(error)
configurations = {c.slug: c for c in services.configurations.list(actor) if c.is_active and c.needs is None}
panes.settle(services, actor, configurations, run)
most = 2 if compact else MOST_PANES

with blocks.show_header("Playground"):
    grows = run is not None and run.running and run.is_kept and run.user_id == actor.user_id
    if run is not None and grows and st.button("Stop all", icon=":material/stop_circle:"):
        services.playground.stop(actor, run.id)
    count = st.segmented_control(
        "Panes", list(range(1, most + 1)), key=panes.COUNT, label_visibility="collapsed", required=True
    )
    with st.popover("" if compact else "More", icon=":material/more_horiz:", help="Runs, votes, code, sharing"):
        if st.button("New run", icon=":material/add:", type="tertiary", disabled=run_id is None):
            st.query_params.clear()
            st.rerun()
        if st.button("Votes so far", icon=":material/leaderboard:", type="tertiary"):
            comparison.draw_wins_dialog(services, actor)
        blind = st.toggle(
            "Blind", key="blind", help="Hides which answer is whose, in mixed order, until you have voted."
        )
        if run is not None and run.is_kept and run.user_id == actor.user_id:
            comparison.draw_sharing(services, actor, run)
        if run is not None and run.is_kept:
            comparison.draw_exports(services, actor, run)
        answer_pane.draw_recent_runs(services, actor, services.preferences.report_zone(actor), run_id)

session.show_pause(actor)
if not configurations:
    with blocks.show_empty_state("tune", "No configuration is ready", "A configuration says which model answers."):
        st.page_link(session.page("configurations"), label="Open configurations", icon=":material/tune:")
    st.stop()

hidden = run is not None and run.is_hidden
slugs = panes.choose_slugs(list(configurations), int(count or 1))
begin = partial(sending.send, services, actor, slugs=slugs, configurations=configurations, is_blind=blind)
extras = question_extras.draw_extras(services, actor, configurations, slugs)
with blocks.show_errors():
    if (filled := prompt_choice.draw_template_question(services, actor)) is not None:
        begin(filled)
        st.rerun()
asking = f"Ask {slugs[0]}" if len(slugs) == 1 else f"Ask {'both' if len(slugs) == 2 else f'all {len(slugs)}'} panes"
with st.container():
    sent = st.chat_input(asking, key="prompt", accept_file="multiple", file_type=[*IMAGES, *TEXTS])
if sent:
    try:
        with extras.searching():
            begin(extras.question(sent))
    except LLMManagerError as error:
        sending.keep_error(error)
    st.rerun()
policy = st.session_state.pop(session_keys.RUN_AGAIN, None)
if policy is not None and run is not None and run.first_call is not None:
    if (repeated := rebuild_question(run.first_call)) is not None:
        begin(replace(repeated, system_prompt=extras.system_prompt), cache_policy=policy)
    st.rerun()
sending.show_kept_error()

question = rebuild_question(run.first_call) if run is not None and run.first_call is not None else None
again = None if question is None else replace(question, system_prompt=extras.system_prompt)
if run is not None:
    if run.owner is not None and run.user_id != actor.user_id:
        st.caption(f"A run that {blocks.escape_markdown(run.owner)} shares.")
    is_own = run.is_kept and run.user_id == actor.user_id
    if (edited := question_editor.draw_question(run, again, is_own=is_own and not hidden)) is not None:
        begin(edited)
        st.rerun()

columns = [st.container()] * len(slugs) if compact or len(slugs) == 1 else st.columns(len(slugs), gap="small")
for position, column in enumerate(columns):
    with column.container(border=True, height="content" if compact else "stretch"):
        if not hidden:
            panes.draw_controls(services, actor, configurations, position, len(slugs))
        if run is not None and position < len(run.panes):
            panes.draw_answer(services, actor, run, position, again, configurations, compact=compact)

if run is None:
    sentence = "The answers stream in here with their tokens, speed and cost. The bundled model is free and offline."
    with blocks.show_empty_state("play_circle", "Ask something", sentence, wide=True):
        for example in EXAMPLES:
            if st.button(example, key=example):
                begin(PlaygroundQuestion(example, extras.system_prompt))
                st.rerun()
else:
    comparison.draw_vote(services, actor, run)
    with blocks.start_row(gap="xsmall"):
        if not run.running and question is not None and st.button("Run all again", icon=":material/replay:"):
            st.session_state[session_keys.RUN_AGAIN] = CachePolicy()
            st.rerun()
        if question is not None and not hidden and st.button("Copy as code", icon=":material/code:", type="tertiary"):
            comparison.draw_code_dialog(question, run.panes)
    inspector.show_requested(services, actor, services.preferences.report_zone(actor))
    comparison.draw_difference(run)
    if not hidden and len(run.panes) == 1 and run.first_call is not None:
        answer_pane.draw_events(run.first_call)
