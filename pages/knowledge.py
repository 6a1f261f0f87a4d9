"""The knowledge base: collections as cards; one of them (`?id=`) with its documents, search, answers and settings."""

import streamlit as st

from lib.access.permissions import Permission
from lib.errors import LLMManagerError
from lib.ui import blocks, session
from lib.ui.knowledge import answer_view, collection_cards, document_table, evaluation_view, optimiser_view, search_view

actor = session.require(Permission.TEST_CONFIGS)
services = session.ensure_services()
may_write = actor.can(Permission.MANAGE_KNOWLEDGE_BASE)
collection = None
if (collection_id := st.query_params.get("id")) is not None:
    try:
        collection = services.knowledge.collections.get(actor, collection_id)
    except LLMManagerError as error:
        blocks.show_error(error)

if collection is None:
    with blocks.show_header("Knowledge base"):
        if may_write and st.button("New collection", icon=":material/add:"):
            collection_cards.create_dialog(services, actor)
    collection_cards.draw_cards(services, actor)
    st.stop()

with blocks.show_header(collection.name):
    st.button("All collections", icon=":material/arrow_back:", type="tertiary", on_click=st.query_params.clear)
if collection.description:
    st.caption(blocks.escape_markdown(collection.description))

services.knowledge.embedder.warm(collection.embedding_model)
names = ["Documents", "Search", "Answer", "Evaluate", "Optimise", *(["Settings"] if collection.may_change else [])]
opened, panel = blocks.show_tabs(names)
with panel:
    if opened == "Documents":
        document_table.draw_tab(services, actor, collection)
    elif opened == "Search":
        search_view.draw_tab(services, actor, collection)
    elif opened == "Answer":
        answer_view.draw_tab(services, actor, collection)
    elif opened == "Evaluate":
        evaluation_view.draw_tab(services, actor, collection)
    elif opened == "Optimise":
        optimiser_view.draw_tab(services, actor, collection)
    else:
        collection_cards.draw_settings(services, actor, collection)
