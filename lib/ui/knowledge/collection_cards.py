"""Collections: the cards, the form that makes one, the settings of one."""

from collections.abc import Sequence
from typing import Any

import streamlit as st

from lib.access.permissions import Actor, Permission
from lib.calls.grounding import MOST_COLLECTIONS
from lib.knowledge.collections import Collection
from lib.knowledge.documents.chunking import LEAST, MOST, Chunking, ChunkingStrategy
from lib.knowledge.settings import MOST_HITS, Mode, SearchSettings
from lib.services import Services
from lib.ui import blocks

STRATEGIES = {
    ChunkingStrategy.RECURSIVE: "At the largest break that fits",
    ChunkingStrategy.HEADING: "By heading",
    ChunkingStrategy.SEMANTIC: "Where the meaning turns",
    ChunkingStrategy.FIXED: "By length",
}
MODES = {Mode.HYBRID: "Words and meaning", Mode.VECTOR: "Meaning", Mode.KEYWORD: "Words"}


def choose_collections(
    services: Services, actor: Actor, now: Sequence[str] = (), *, key: str | None = None
) -> tuple[str, ...]:
    """Ids of the collections whose passages go with each question; nothing to choose where there are none."""
    readable = {collection.id: collection.name for collection in services.knowledge.collections.list(actor)}
    if not readable and not now:
        return ()
    names = readable | {gone_id: "a collection that is gone" for gone_id in now if gone_id not in readable}
    return tuple(
        st.multiselect(
            "Passages from",
            list(names),
            list(now),
            format_func=names.__getitem__,
            placeholder="No collection",
            max_selections=MOST_COLLECTIONS,
            help="The passages of the knowledge base that fit a question best go with it; the answer names them.",
            key=key,
        )
    )


def draw_cards(services: Services, actor: Actor) -> None:
    """Draw a card for every collection that the actor may read."""
    collections = services.knowledge.collections.list(actor)
    if not collections:
        sentence = "A collection holds documents that are searched together: manuals, questions and answers, API pages."
        with blocks.show_empty_state("menu_book", "No collections yet", sentence):
            if actor.can(Permission.MANAGE_KNOWLEDGE_BASE) and st.button(
                "New collection", icon=":material/add:", type="primary", key="first-collection"
            ):
                create_dialog(services, actor)
        return
    with st.grid(3, min_column_width=260, gap="small"):
        for collection in collections:
            _draw_card(collection, actor)


def _draw_card(collection: Collection, actor: Actor) -> None:
    with st.container(border=True, height="stretch"):
        with blocks.start_row(gap="xsmall"):
            st.subheader(blocks.escape_markdown(collection.name), anchor=False, width="stretch")
            if collection.is_shared:
                st.badge("Shared", icon=":material/group:", color="gray")
            if collection.failed:
                st.badge(f"{collection.failed} failed", icon=":material/error:", color="red")
        st.caption(
            blocks.escape_markdown(collection.description)
            or f"Embedded by {blocks.escape_markdown(collection.embedding_model)}"
        )
        busy = collection.documents - collection.ready - collection.failed
        parts = [f"{collection.documents:,} {'document' if collection.documents == 1 else 'documents'}"]
        parts += [f"{busy} being taken in"] * (busy > 0)
        with blocks.start_row():
            st.markdown(" · ".join(parts), width="stretch")
            if st.button("Open", icon=":material/arrow_forward:", type="tertiary", key=f"open-{collection.id}"):
                st.query_params["id"] = collection.id
                st.rerun()


@st.dialog("New collection")
def create_dialog(services: Services, actor: Actor) -> None:
    """Make a collection: name, sharing, how its documents are cut and embedded."""
    with st.form("new-collection", border=False):
        name = st.text_input("Name", max_chars=120, placeholder="Product manual")
        description = st.text_input("Description", placeholder="What it is about, for others")
        shared = st.checkbox("Everybody who may use models reads it")
        with st.expander("Passages and embeddings", icon=":material/tune:"):
            chunking = draw_chunking_inputs(Chunking(), "new")
            model = draw_embedding_input(services, actor, None, "new")
        if st.form_submit_button("Make collection", type="primary"):
            with blocks.show_errors():
                collection = services.knowledge.collections.create(
                    actor,
                    name,
                    description=description,
                    is_shared=shared,
                    embedding_model=model,
                    chunking=Chunking(**chunking),
                )
                st.query_params["id"] = collection.id
                st.rerun()


def draw_chunking_inputs(now: Chunking, key: str) -> dict[str, Any]:
    """How texts are cut; values for `Chunking`, which are not judged yet."""
    strategy = st.selectbox(
        "Cut", list(STRATEGIES), list(STRATEGIES).index(now.strategy), STRATEGIES.__getitem__, key=f"{key}-strategy"
    )
    with blocks.start_row():
        size = st.number_input("Characters of a passage", LEAST, MOST, now.size, 50, key=f"{key}-size")
        overlap = st.number_input("Overlap", 0, MOST // 2, now.overlap, 10, key=f"{key}-overlap")
    return {"strategy": strategy, "size": int(size), "overlap": int(overlap)}


def draw_embedding_input(services: Services, actor: Actor, now: str | None, key: str) -> str:
    """The embedding model: the bundled one, or a provider's."""
    from lib.knowledge.embedding import BUNDLED

    models = [BUNDLED]
    if actor.can(Permission.VIEW_CONFIGS):
        models += [
            f"{configuration.provider_name}/{configuration.model}"
            for configuration in services.configurations.list(actor)
            if "embeddings" in configuration.capabilities and configuration.is_active
        ]
    offered = list(dict.fromkeys([*([now] if now else []), *models]))
    selected_model: str | None = st.selectbox(
        "Embedding model",
        offered,
        accept_new_options=True,
        help="The bundled model knows English best and costs nothing. Others: provider/model.",
        key=f"{key}-embedding",
    )
    return selected_model or BUNDLED


def draw_settings(services: Services, actor: Actor, collection: Collection) -> None:
    """Name, sharing, the usual search; cutting and embedding anew; deletion."""
    with st.form("collection-settings"):
        name = st.text_input("Name", collection.name, max_chars=120)
        description = st.text_input("Description", collection.description)
        shared = st.checkbox("Everybody who may use models reads it", collection.is_shared)
        with blocks.start_row():
            mode = st.selectbox("Search by", list(MODES), list(MODES).index(collection.search.mode), MODES.__getitem__)
            k = st.number_input("Passages", 1, MOST_HITS, collection.search.k)
        rerank = st.checkbox("Read the best ones against each other once more", collection.search.rerank)
        reranker = st.text_input(
            "By the model",
            collection.search.reranker,
            placeholder="None: offline",
            help="provider/model: a server with /rerank, or what litellm re-ranks with. Each search is a call.",
        )
        if st.form_submit_button("Save settings"):
            with blocks.show_errors():
                search = SearchSettings(mode, int(k), rerank, reranker.strip())
                services.knowledge.collections.update(
                    actor, collection.id, name=name, description=description, is_shared=shared, search=search
                )
                st.rerun()
    with st.form("collection-index"):
        st.subheader("Cut and embed anew", anchor=False)
        st.caption("Each document goes on being found as it is until its new passages are ready.")
        chunking = draw_chunking_inputs(collection.chunking, "again")
        model = draw_embedding_input(services, actor, collection.embedding_model, "again")
        with blocks.start_row():
            sent = st.form_submit_button("Take everything in anew")
            looks = st.form_submit_button("Preview", type="tertiary", help="How the newest document would be cut")
        if looks:
            _preview(services, actor, collection, chunking, model)
        if sent:
            with blocks.show_errors():
                services.knowledge.collections.reindex(
                    actor,
                    collection.id,
                    chunking=Chunking(**chunking),
                    embedding_model=model if model != collection.embedding_model else None,
                )
                st.toast("The documents are being taken in anew.")
                st.rerun()
    if st.button("Delete collection", icon=":material/delete:", type="tertiary"):
        _delete_dialog(services, actor, collection)


def _preview(services: Services, actor: Actor, collection: Collection, chunking: dict[str, Any], model: str) -> None:
    from lib.ui.knowledge.document_table import preview_dialog

    ready = [
        document for document in services.knowledge.documents.list(actor, collection.id) if document.serving_version
    ]
    if not ready:
        st.caption("There is no document to cut yet.")
        return
    with blocks.show_errors():
        name = ready[0].source_name or ready[0].title
        preview_dialog(
            services,
            actor,
            name,
            services.knowledge.documents.original(actor, ready[0].id),
            Chunking(**chunking),
            model,
        )


@st.dialog("Delete this collection?")
def _delete_dialog(services: Services, actor: Actor, collection: Collection) -> None:
    st.markdown(
        f"**{blocks.escape_markdown(collection.name)}** and its {collection.documents:,} documents go for good. Calls "
        "that were made for it stay in the log."
    )
    typed = st.text_input("Type its name to delete it")
    with blocks.start_row():
        if st.button("Keep collection"):
            st.rerun()
        if st.button(":red[Delete collection]", disabled=typed.strip() != collection.name):
            with blocks.show_errors():
                services.knowledge.collections.delete(actor, collection.id)
                st.query_params.clear()
                st.rerun()
