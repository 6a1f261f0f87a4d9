"""The knowledge base: collections as cards; one of them (`?id=`) with its documents, search, answers and settings."""

import streamlit as st

from lib.access.permissions import Permission
from lib.errors import LLMManagerError
from lib.ui import (
    blocks,
    knowledge,
    knowledge_answer,
    knowledge_documents,
    knowledge_evaluate,
    knowledge_optimise,
    knowledge_search,
    session,
)

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
            knowledge.create_dialog(services, actor)
    knowledge.cards(services, actor)
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
        knowledge_documents.tab(services, actor, chosen)
    elif opened == "Search":
        knowledge_search.tab(services, actor, chosen)
    elif opened == "Answer":
        knowledge_answer.tab(services, actor, chosen)
    elif opened == "Evaluate":
        knowledge_evaluate.tab(services, actor, chosen)
    elif opened == "Optimise":
        knowledge_optimise.tab(services, actor, chosen)
    else:
        knowledge.settings(services, actor, chosen)
