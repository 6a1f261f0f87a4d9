"""Answers from a collection: the text while it streams, its citations checked, the cited passage beside it."""

from dataclasses import dataclass, field

import streamlit as st

from lib.access.permissions import Actor, Permission
from lib.errors import LLMManagerError
from lib.knowledge.answers import NOT_IN_SOURCES, CheckedAnswer, PendingAnswer, check
from lib.knowledge.collections import Collection
from lib.services import Services
from lib.ui import blocks
from lib.ui.knowledge import search_view
from lib.ui.playground import answer_pane

_TURNS = 6


@dataclass
class _Turn:
    retrieval: PendingAnswer
    question: str
    answer: str = ""
    checked: CheckedAnswer | None = field(default=None)


def draw_tab(services: Services, actor: Actor, collection: Collection) -> None:
    """The turns, the newest last, and the question."""
    turns: list[_Turn] = st.session_state.setdefault(f"answers-{collection.id}", [])
    if collection.ready == 0:
        with blocks.show_empty_state("forum", "Nothing to answer from yet", "Add documents first."):
            pass
        return
    with blocks.start_row():
        slug = _choose_configuration(services, actor)
        settings, only = search_view.draw_controls(collection, "answer")
        if turns and st.button("New question", icon=":material/add:", type="tertiary"):
            turns.clear()
            st.rerun()
    if not turns:
        sentence = "Each statement names its passage, and every citation is checked."
        with blocks.show_empty_state("forum", f"Ask {blocks.escape_markdown(collection.name)}", sentence, wide=True):
            pass
    turns_column, passage_column = (
        (st.container(), st.container()) if blocks.is_compact() else st.columns([1.2, 1], gap="small")
    )
    with turns_column:
        for number, turn in enumerate(turns):
            _turn(services, actor, turn, number, is_last=number == len(turns) - 1)
    if (cited_hit := st.session_state.get(f"cited-{collection.id}")) is not None and turns:
        with passage_column.container(border=True):
            search_view.draw_passage(services, actor, cited_hit)
    if question := st.chat_input("Ask the collection", key="knowledge-ask"):
        history = [
            {"role": role, "content": text}
            for turn in turns[-_TURNS:]
            for role, text in (("user", turn.question), ("assistant", turn.answer))
        ]
        try:
            retrieval = services.knowledge.answers.ask(
                actor, [collection.id], question, configuration=slug, history=history, settings=settings, only=only
            )
            turns.append(_Turn(retrieval, question))
            st.session_state.pop(f"cited-{collection.id}", None)
            st.rerun()
        except LLMManagerError as error:
            blocks.show_error(error)


def _choose_configuration(services: Services, actor: Actor) -> str | None:
    if not actor.can(Permission.VIEW_CONFIGS):
        return None
    ready = [c for c in services.configurations.list(actor) if c.is_active and c.needs is None]
    slugs = [c.slug for c in ready]
    default = next((n for n, c in enumerate(ready) if c.is_global_default), 0)
    selected_slug: str | None = st.selectbox("Model", slugs, default, label_visibility="collapsed", width=220)
    return selected_slug


def _turn(services: Services, actor: Actor, turn: _Turn, number: int, *, is_last: bool) -> None:
    with st.chat_message("user", avatar=":material/person:"):
        st.text(turn.question)
        if turn.retrieval.question != turn.question:
            st.caption(blocks.escape_markdown(f"Searched as: {turn.retrieval.question}"))
    with st.chat_message("assistant", avatar=":material/smart_toy:"):
        if turn.retrieval.call_id is None:
            st.markdown(f"{NOT_IN_SOURCES} No passage was found.")
        elif turn.checked is not None:
            _answer(turn, number)
        else:
            _draw_growing_answer(services, actor, turn)


def _draw_growing_answer(services: Services, actor: Actor, turn: _Turn) -> None:
    call_id = str(turn.retrieval.call_id)

    @st.fragment(run_every=answer_pane.REDRAW_S)
    def growing() -> None:
        try:
            view = services.calls.view(actor, call_id)
        except LLMManagerError as error:
            blocks.show_error(error)
            return
        if view.running:
            st.markdown(
                blocks.sanitise_markdown(answer_pane.format_growing_answer(view.text)) or ":gray[Reading the sources…]"
            )
            if st.button("Stop", icon=":material/stop_circle:", key=f"stop-{call_id}"):
                services.calls.stop(actor, call_id)
            return
        if view.error_message:
            blocks.show_failure(view.error_message)
        turn.answer = view.text
        turn.checked = check(view.text, [hit.text for hit in turn.retrieval.sources])
        blocks.redraw_page()

    growing()


def _answer(turn: _Turn, number: int) -> None:
    assert turn.checked is not None  # noqa: S101 (the caller looked)
    st.markdown(blocks.sanitise_markdown(turn.checked.text) or ":gray[No answer came.]")
    if not turn.checked.is_in_sources:
        st.caption("The answer is not in the sources that were found.")
    if turn.checked.is_unsupported:
        st.caption(":orange[:material/warning:] No passage is named: nothing here says whether that is true.")
    if turn.checked.removed:
        many = turn.checked.removed
        st.caption(f"{many} {'citation' if many == 1 else 'citations'} without a source taken out.")
    with st.container(horizontal=True, gap="xsmall"):
        for source in turn.checked.cited:
            hit = search_view.find_source(turn.retrieval.sources, source)
            label = f"[{source}] {hit.title[:40]}" if hit else f"[{source}]"
            if hit and st.button(blocks.escape_markdown(label), type="tertiary", key=f"cite-{number}-{source}"):
                st.session_state[f"cited-{hit.collection_id}"] = hit
                st.rerun()
    with st.expander(f"{len(turn.retrieval.sources)} passages were read", icon=":material/library_books:"):
        for n, hit in enumerate(turn.retrieval.sources, start=1):
            st.caption(blocks.escape_markdown(f"[{n}] {hit.title} · {search_view.explain_rank(hit)}"))
