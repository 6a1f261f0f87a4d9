"""The knowledge base: collections as cards; one of them (`?id=`) with its documents, search, answers and settings."""

import streamlit as st

from lib.access.permissions import Permission
from lib.errors import LLMManagerError
from lib.ui import blocks, session
from lib.ui.knowledge import answer_view, collection_cards, document_table, evaluation_view, optimiser_view, search_view

actor = session.require(Permission.TEST_CONFIGS)
services = session.services()
may_write = actor.can(Permission.MANAGE_KNOWLEDGE_BASE)
chosen = None
if (wanted := st.query_params.get("id")) is not None:
    try:
        chosen = services.collections.get(actor, wanted)
    except LLMManagerError as error:
        blocks.show_error(error)

if chosen is None:
    with blocks.header("Knowledge base"):
        if may_write and st.button("New collection", icon=":material/add:"):
            collection_cards.create_dialog(services, actor)
    collection_cards.cards(services, actor)
    st.stop()

with blocks.header(chosen.name):
    st.button("All collections", icon=":material/arrow_back:", type="tertiary", on_click=st.query_params.clear)
if chosen.description:
    st.caption(blocks.plain(chosen.description))

services.embedder.warm(chosen.embedding_model)
names = ["Documents", "Search", "Answer", "Evaluate", "Optimise", *(["Settings"] if chosen.may_change else [])]
opened, place = blocks.tabs(names)
with place:
    if opened == "Documents":
        document_table.tab(services, actor, chosen)
    elif opened == "Search":
        search_view.tab(services, actor, chosen)
    elif opened == "Answer":
        answer_view.tab(services, actor, chosen)
    elif opened == "Evaluate":
        evaluation_view.tab(services, actor, chosen)
    elif opened == "Optimise":
        optimiser_view.tab(services, actor, chosen)
    else:
        collection_cards.settings(services, actor, chosen)
