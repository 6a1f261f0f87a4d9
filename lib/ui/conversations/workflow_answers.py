"""Workflows in a conversation: the dialog that asks one, and its answer while the run goes."""

import streamlit as st

from lib.access.permissions import Actor, Permission
from lib.conversations.conversation import Message
from lib.conversations.thread import Thread
from lib.errors import LLMManagerError
from lib.services import Services
from lib.ui import blocks, session, session_keys
from lib.ui.workflows.run_view import describe_state
from lib.ui.workflows.start_form import draw_fields
from lib.workflows.form import MESSAGES
from lib.workflows.triggers.conversation_runs import MODEL_PREFIX

REDRAW_S = 1.0


def is_workflow_answer(message: Message) -> bool:
    """Whether a workflow's run makes an answer."""
    return message.call_id is None and message.model.startswith(MODEL_PREFIX)


def draw_start_button(services: Services, actor: Actor, conversation_id: str, last_seen: str | None) -> None:
    """The button that asks a workflow; absent where the actor may run none."""
    if not actor.can(Permission.TEST_CONFIGS):
        return
    slugs = [workflow.slug for workflow in services.workflows.definitions.list(actor) if workflow.is_active]
    if slugs and st.button("Run a workflow", icon=":material/account_tree:", type="tertiary"):
        st.dialog("Run a workflow", width="medium")(_start_dialog)(services, actor, conversation_id, slugs, last_seen)


def _start_dialog(
    services: Services, actor: Actor, conversation_id: str, slugs: list[str], last_seen: str | None
) -> None:
    slug = st.selectbox("Workflow", slugs)
    with blocks.show_errors():
        fields = services.workflows.definitions.version(actor, slug).definition.input_fields
        drawn_fields = [field for field in fields if field.name != MESSAGES]
        values = draw_fields(drawn_fields, f"talk-{slug}")
        if len(drawn_fields) < len(fields):
            st.caption("It reads the whole conversation.")
        if st.button("Run", type="primary", icon=":material/play_arrow:"):
            services.workflows.conversation_runs.start(actor, conversation_id, slug, inputs=values, last_seen=last_seen)
            st.rerun()


def draw_growing(services: Services, actor: Actor, thread: Thread, message: Message) -> None:
    """An answer whose run goes, drawn again by itself; the page is drawn once more when it ends."""

    @st.fragment(run_every=REDRAW_S)
    def growing() -> None:
        if services.talk.read(actor, thread.conversation.id, 1).running is None:
            blocks.redraw_page()
        draw_running(services, actor, message)

    with st.chat_message("assistant", avatar=":material/account_tree:"):
        growing()


def draw_running(services: Services, actor: Actor, message: Message) -> None:
    """The state of the run that makes an answer, with the way to it and its end."""
    try:
        run = services.workflows.runs.get(actor, message.id)
    except LLMManagerError as error:
        blocks.show_error(error)
        return
    label, colour = describe_state(run.state)
    with blocks.start_row(gap="xsmall"):
        st.badge(label, color=colour)
        if st.button("Stop", icon=":material/stop_circle:", key="stop-run"):
            services.workflows.runs.cancel(actor, run.id)
        draw_link(message)
    if run.reason:
        st.caption(blocks.escape_markdown(run.reason))


def draw_link(message: Message) -> None:
    """The way to the run that made an answer."""
    if "workflows" not in st.session_state.get(session_keys.PAGES, {}):
        return
    name = blocks.escape_markdown(message.model.removeprefix(MODEL_PREFIX))
    st.page_link(
        session.page("workflows"), label=name, icon=":material/account_tree:", query_params={"run": message.id}
    )
