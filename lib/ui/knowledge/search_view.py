"""Searching a collection: the passages left, each with why it was found; the opened one right, in its text or page."""

from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from lib.access.permissions import Actor
from lib.errors import LLMManagerError
from lib.knowledge.collections import Collection
from lib.knowledge.documents.document_service import KINDS
from lib.knowledge.search import DocumentFilter, PassageHit
from lib.knowledge.settings import MOST_HITS, SearchSettings
from lib.services import Services
from lib.ui import blocks, session_keys
from lib.ui.knowledge import passage_text
from lib.ui.knowledge.collection_cards import MODES

_AROUND = 700
_PLACES = ("best", "second", "third", "fourth", "fifth")


def draw_controls(collection: Collection, key: str) -> tuple[SearchSettings, DocumentFilter]:
    """How it is searched, and among which documents."""
    with st.popover("How", icon=":material/tune:", key=f"{key}-how"):
        mode = st.selectbox(
            "By", list(MODES), list(MODES).index(collection.search.mode), MODES.__getitem__, key=f"{key}-mode"
        )
        k = st.number_input("Passages", 1, MOST_HITS, collection.search.k, key=f"{key}-k")
        rerank = st.checkbox("Read the best ones once more", collection.search.rerank, key=f"{key}-rerank")
        kinds = st.multiselect("Kind of document", KINDS, format_func=lambda n: n.replace("_", " "), key=f"{key}-kinds")
        tags = st.multiselect("With a tag of", [], accept_new_options=True, key=f"{key}-tags")
        days = st.date_input("Dated", [], key=f"{key}-days")
    since, until = days if isinstance(days, tuple) and len(days) == 2 else (None, None)
    return replace(collection.search, mode=mode, k=int(k), rerank=rerank), DocumentFilter(
        (), tuple(kinds), tuple(tags), since, until
    )


def draw_tab(services: Services, actor: Actor, collection: Collection) -> None:
    """The question, the passages, the opened one."""
    with blocks.start_row():
        question = st.text_input(
            "Question",
            st.query_params.get("q", ""),
            placeholder="What do you want to find?",
            icon=":material/search:",
            label_visibility="collapsed",
            key="knowledge-question",
        )
        settings, only = draw_controls(collection, "search")
    if not question:
        with blocks.show_empty_state(
            "search", "Ask something", "Words and meaning are searched together, in any language."
        ):
            pass
        return
    if st.query_params.get("q") != question:
        st.query_params["q"] = question
    try:
        with st.spinner("Searching…", show_time=False):
            response = services.knowledge.passages.search(actor, collection.id, question, settings, only)
    except LLMManagerError as error:
        blocks.show_error(error)
        return
    st.caption(
        f"{len(response.hits)} of {response.passages:,} passages · {response.took_ms:,} ms · "
        f"{blocks.escape_markdown(response.language or 'language not recognised')}"
    )
    if response.failure:
        st.caption(blocks.escape_markdown(f"Not read by the model: {response.failure}"))
    if not response.passages:
        st.caption("There is nothing to search yet. Add a document first.")
        return
    if not response.hits:
        st.caption("Nothing was found. Use fewer or other words.")
        return
    hits_column, passage_column = (
        (st.container(), st.container()) if blocks.is_compact() else st.columns([1, 1.15], gap="small")
    )
    opened = st.session_state.get(session_keys.OPENED_PASSAGE)
    if opened not in {hit.chunk_id for hit in response.hits}:
        opened = response.hits[0].chunk_id
    with hits_column:
        for number, hit in enumerate(response.hits, start=1):
            draw_card(number, hit, question, opened == hit.chunk_id)
    with passage_column.container(border=True):
        draw_passage(services, actor, next(hit for hit in response.hits if hit.chunk_id == opened), question)


def draw_card(number: int, hit: PassageHit, question: str, is_open: bool) -> None:
    """A passage that was found with the question's words marked, and why it was found."""
    with st.container(border=True, gap="xsmall"):
        with blocks.start_row(gap="xsmall"):
            st.markdown(f"**{number}** {blocks.escape_markdown(hit.title)}", width="stretch")
            icon = ":material/visibility:" if is_open else ":material/arrow_forward:"
            if st.button("", icon=icon, type="tertiary", help="Show the passage", key=f"hit-{hit.chunk_id}"):
                st.session_state[session_keys.OPENED_PASSAGE] = hit.chunk_id
                st.rerun()
        st.markdown(passage_text.format_beginning(hit.text, question))
        st.caption(explain_rank(hit), help=list_scores(hit))


def explain_rank(hit: PassageHit) -> str:
    """Why a passage was found, in words: `Best by meaning, third by words`."""
    ranks = [("meaning", hit.vector_rank), ("words", hit.keyword_rank)]
    parts = [f"{_spell_place(rank)} by {name}" for name, rank in ranks if rank is not None]
    reasons = ", ".join(parts) or "Found"
    return reasons[:1].upper() + reasons[1:] + (", read once more by the model" if hit.relevance is not None else "")


def _spell_place(rank: int) -> str:
    return _PLACES[rank - 1] if 0 < rank <= len(_PLACES) else f"no. {rank:,}"


def list_scores(hit: PassageHit) -> str:
    """The figures behind a place: for who tunes the search."""
    figures = [("Meaning (cosine)", hit.vector_score), ("Words (BM25)", hit.keyword_score), ("Together", hit.score)]
    figures.append(("Read by the model", hit.relevance))
    return "  \n".join(f"{name}: {score:.2f}" for name, score in figures if score is not None)


def draw_passage(services: Services, actor: Actor, hit: PassageHit, question: str = "") -> None:
    """The passage in its place: marked on the page of a PDF, or between its neighbours; the question's words marked."""
    location = [f"page {hit.page_first}"] if hit.page_first else []
    st.subheader(blocks.escape_markdown(hit.title), anchor=False)
    st.caption(
        blocks.escape_markdown(
            " · ".join([*location, *([hit.heading] if hit.heading else []), f"passage {hit.ordinal + 1}"])
        )
    )
    try:
        picture = services.knowledge.documents.page_image(actor, hit.chunk_id) if hit.page_first else None
    except LLMManagerError as error:
        blocks.show_error(error)
        picture = None
    if picture is not None:
        st.image(picture, width="stretch")
        with st.expander("As text", icon=":material/article:"):
            st.code(hit.text, language=None, wrap_lines=True)
        return
    if hit.before:
        st.caption(passage_text.format_passage("… " + hit.before[-_AROUND:], ""))
    with st.container(border=True):
        st.markdown(passage_text.format_passage(hit.text, question))
    if hit.after:
        st.caption(passage_text.format_passage(hit.after[:_AROUND] + " …", ""))
    with st.expander("As it was read", icon=":material/article:"):
        st.code(hit.text, language=None, wrap_lines=True)


def find_source(sources: Sequence[PassageHit], number: int) -> PassageHit | None:
    """The source of a citation."""
    return sources[number - 1] if 1 <= number <= len(sources) else None
