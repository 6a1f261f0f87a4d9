"""The documents of a collection: what is taken in and how far it is, adding, passages and their editing."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

from lib.access.permissions import Actor
from lib.errors import LLMManagerError
from lib.knowledge.collections import Collection
from lib.knowledge.documents.chunking import Chunking
from lib.knowledge.documents.document_service import KINDS, TAKEN_IN, About, Chunk, Document
from lib.services import Services
from lib.ui import blocks, format, grammar, session_keys

if TYPE_CHECKING:
    import pandas as pd

_STATES = {
    "queued": ("○ waiting", "gray"),
    "parsing": ("● reading", "blue"),
    "embedding": ("● embedding", "blue"),
    "ready": ("✓ ready", "green"),
    "partial": ("✂ partly read", "orange"),
    "failed": ("✕ failed", "red"),
}
_OPENED = "document"  # of the address: the id of the opened document
_PASSAGES = 10
_TYPES = ["pdf", "docx", "pptx", "xlsx", "html", "htm", "md", "csv", "tsv", "json", "txt", "log", "rst", "py", "js"]
_TYPES += ["java", "go", "rs", "c", "cpp", "h", "php", "sql", "yaml", "yml", "toml", "xml"]
_TYPES += ["png", "jpg", "jpeg", "webp", "tif", "tiff", "gif"]  # where text recognition is installed


def draw_tab(services: Services, actor: Actor, collection: Collection) -> None:
    """Adding, then the list with its progress."""
    if collection.may_change:
        with st.expander("Add documents", icon=":material/upload:", expanded=collection.documents == 0):
            _draw_add_forms(services, actor, collection)
    every = (
        1.0
        if any(d.state in ("queued", "parsing", "embedding") for d in _list_documents(services, actor, collection))
        else None
    )

    @st.fragment(run_every=every)
    def listed() -> None:
        documents = _list_documents(services, actor, collection)
        busy = [d for d in documents if d.state in ("queued", "parsing", "embedding")]
        if every is not None and not busy:
            blocks.redraw_page()
        if not documents:
            with blocks.show_empty_state(
                "description", "No documents yet", "Add files, paste text or name an address."
            ):
                pass
            return
        if busy:
            failed = sum(d.state == "failed" for d in documents)
            done = len(documents) - len(busy)
            words = f"{done} of {len(documents)} documents" + (f", {failed} failed" if failed else "")
            st.progress(done / len(documents), words)
        opened = next((document for document in documents if document.id == grammar.get_opened(_OPENED)), None)
        detail = None
        if opened is not None:
            panel = partial(_draw_document, services, actor, collection, opened)
            detail = grammar.Detail(blocks.escape_markdown(opened.title), panel)
        grammar.show_beside(
            lambda: _draw_table(documents), detail, parameter=_OPENED, is_wide=blocks.is_compact()
        )  # on a phone below the rows: a dialog would be drawn again each second

    listed()


def _list_documents(services: Services, actor: Actor, collection: Collection) -> Sequence[Document]:
    return services.knowledge.documents.list(actor, collection.id)


def _draw_add_forms(services: Services, actor: Actor, collection: Collection) -> None:
    with blocks.start_row():
        kind = st.selectbox("Kind", KINDS, format_func=lambda k: k.replace("_", " "), width=140, key="add-kind")
        tags = st.multiselect("Tags", [], accept_new_options=True, placeholder="Any words", key="add-tags")
    about = About(kind=kind, tags=tuple(tags))
    files, pasted, address = st.tabs(["Files", "Text", "Address"])
    with files, st.form("add-files", clear_on_submit=True, border=False):
        uploads = st.file_uploader("Files", type=_TYPES, accept_multiple_files=True, label_visibility="collapsed")
        with blocks.start_row():
            adds = st.form_submit_button("Add files")
            looks = st.form_submit_button("Preview", type="tertiary", help="How the first file would be cut")
        if looks and uploads:
            preview_dialog(
                services, actor, uploads[0].name, uploads[0].getvalue(), collection.chunking, collection.embedding_model
            )
        if adds and uploads:
            duplicates = 0
            for file in uploads:
                with blocks.show_errors():
                    duplicates += not services.knowledge.documents.add(
                        actor, collection.id, file.name, file.getvalue(), about
                    )[1]
            if duplicates:
                st.toast(f"{duplicates} of these files {'was' if duplicates == 1 else 'were'} here already.")
            st.rerun()
    field_key = blocks.Fresh("document")
    with pasted, st.form("add-text", border=False):
        title = st.text_input("Title", max_chars=300, key=field_key("title"))
        text = st.text_area("Text", height=160, key=field_key("text"))
        if st.form_submit_button("Add text"):
            with blocks.show_errors():
                services.knowledge.documents.add_text(actor, collection.id, title, text, about)
                field_key.clear()
                st.rerun()
    with address, st.form("add-url", border=False):
        url = st.text_input("Address", placeholder="https://example.com/manual.pdf", key=field_key("url"))
        if st.form_submit_button("Fetch and add"):
            with blocks.show_errors(), st.spinner("Fetching…"):
                services.knowledge.documents.add_url(actor, collection.id, url.strip(), about)
                field_key.clear()
                st.rerun()


@st.dialog("Preview", width="large")
def preview_dialog(
    services: Services, actor: Actor, name: str, data: bytes, chunking: Chunking, embedding_model: str
) -> None:
    """The first passages of a file as they would be cut; what two share is marked in the second."""
    with blocks.show_errors(), st.spinner("Reading the file"):
        text, pieces = services.knowledge.documents.preview(actor, chunking, name, data, embedding_model)
        count = format.format_number_of(len(pieces), "passage")
        st.markdown(f"**{blocks.escape_markdown(name)}** · {count}, {format.format_count(len(text))} characters")
        end = 0
        for number, piece in enumerate(pieces[:_PASSAGES], start=1):
            shared = max(0, end - piece.start)
            overlap = f", the first {shared} also in the one before" if shared else ""
            st.caption(f"No. {number} · {piece.end - piece.start:,} characters{overlap}")
            st.code(text[piece.start : piece.end], language=None, wrap_lines=True)
            end = piece.end
        if len(pieces) > _PASSAGES:
            st.caption(f"{len(pieces) - _PASSAGES:,} more follow.")


def _draw_table(documents: Sequence[Document]) -> None:
    import pandas as pd

    narrow = blocks.is_compact() or grammar.get_opened(_OPENED) is not None
    frame = pd.DataFrame(
        {
            "title": [document.title for document in documents],
            "state": [[_STATES[document.state][0]] for document in documents],
            "kind": [document.kind.replace("_", " ") for document in documents],
            "size": [format.format_size(document.size) for document in documents],
            "passages": pd.array(
                [document.chunks_total if document.state in TAKEN_IN else None for document in documents], dtype="Int64"
            ),
            "language": [document.language or None for document in documents],
            "tags": [", ".join(document.tags) or None for document in documents],
        }
    )
    text = st.column_config.TextColumn
    labels = [label for label, _ in _STATES.values()]
    grammar.open_table(
        "documents",
        frame,
        [document.id for document in documents],
        {
            "title": text("Document", width=150 if blocks.is_compact() else 250 if narrow else 330),
            "state": st.column_config.MultiselectColumn(
                "State", width=118, options=labels, color=[colour for _, colour in _STATES.values()]
            ),
            "kind": text("Kind", width=90),
            "size": text("Size", width=80, alignment="right"),
            "passages": st.column_config.NumberColumn("Passages", format="localized", width=84),
            "language": text("Language", width=90),
            "tags": text("Tags", width=110),
        },
        order=_order_columns(frame, narrow=narrow),
        height="content" if len(documents) < 18 else grammar.TABLE_HEIGHT,
        parameter=_OPENED,
        alt="Documents, the newest change first",
    )


def _order_columns(frame: "pd.DataFrame", *, narrow: bool) -> list[str]:
    """The columns that fit; tags where a document has one."""
    if narrow:
        return ["title", "state"] if blocks.is_compact() else ["title", "state", "passages"]
    return [name for name in frame.columns if name != "tags" or frame["tags"].notna().any()]


def _draw_document(services: Services, actor: Actor, collection: Collection, document: Document) -> None:
    """The opened document: state, what is known of it, and what can be done with it."""
    label, colour = _STATES[document.state]
    if document.note:
        label = document.state_in_words
    elif document.state == "embedding" and document.chunks_total:
        label += f" {document.chunks_done}/{document.chunks_total}"
    with blocks.start_row(gap="xsmall"):
        st.badge(label, color=colour)  # type: ignore[arg-type]
        if document.serving_version and document.state not in TAKEN_IN:
            st.badge(f"Version {document.serving_version} is found meanwhile", color="gray")
    about = [document.kind.replace("_", " "), format.format_size(document.size)]
    about += [format.format_number_of(document.chunks_total, "passage")] if document.state in TAKEN_IN else []
    about += [document.language] if document.language else []
    about += [f"tags: {', '.join(document.tags)}"] if document.tags else []
    st.caption(blocks.escape_markdown(" · ".join(about)))
    if document.note:
        st.caption(blocks.escape_markdown(document.note))
    if document.error:
        blocks.show_failure(document.error)
    with blocks.start_row(gap="xsmall"):
        if document.serving_version and st.button("Passages", icon=":material/segment:"):
            draw_passages_dialog(services, actor, collection, document)
        if collection.may_change and document.state == "failed" and st.button("Try again", icon=":material/replay:"):
            services.knowledge.documents.retry(actor, document.id)
            st.rerun()
        if collection.may_change and st.button(":red[Delete]", icon=":material/delete:", type="tertiary"):
            grammar.confirm(
                f"Delete {document.title}?",
                "Its passages are found no more.",
                keep="Keep document",
                act="Delete document",
                action=partial(services.knowledge.documents.delete, actor, document.id),
                then=partial(grammar.close, _OPENED),
            )


@st.dialog("Passages", width="large")
def draw_passages_dialog(services: Services, actor: Actor, collection: Collection, document: Document) -> None:
    """A document as it was cut, page by page, and the editing of a passage."""
    st.markdown(f"**{blocks.escape_markdown(document.title)}**")
    try:
        _, count = services.knowledge.documents.chunks(actor, document.id, 0, 1)
    except LLMManagerError as error:
        blocks.show_error(error)
        return
    pages = max(1, -(-count // _PASSAGES))
    page = st.pagination(pages, key=f"passages-page-{document.id}") if pages > 1 else 1
    chunks, _ = services.knowledge.documents.chunks(actor, document.id, (int(page or 1) - 1) * _PASSAGES, _PASSAGES)
    for chunk in chunks:
        st.caption(blocks.escape_markdown(describe_place(chunk)))
        if collection.may_change and st.session_state.get(session_keys.EDITED_PASSAGE) == chunk.id:
            _draw_editor(services, actor, chunk)
        else:
            st.code(chunk.text, language=None, wrap_lines=True)
            if collection.may_change and st.button(
                "Edit", icon=":material/edit:", type="tertiary", key=f"edit-{chunk.id}"
            ):
                st.session_state[session_keys.EDITED_PASSAGE] = chunk.id
                st.rerun(scope="fragment")


def _draw_editor(services: Services, actor: Actor, chunk: Chunk) -> None:
    with st.form(f"edit-passage-{chunk.id}", border=False):
        text = st.text_area("Text", chunk.text, height=220, label_visibility="collapsed")
        if st.form_submit_button("Save passage"):
            with blocks.show_errors():
                services.knowledge.documents.edit_chunk(actor, chunk.id, text)
                st.session_state.pop(session_keys.EDITED_PASSAGE, None)
                st.rerun(scope="fragment")


def describe_place(chunk: Chunk) -> str:
    """`No. 12 · page 3 · Installing · characters 5,120 – 6,004`."""
    parts = [f"No. {chunk.ordinal + 1}"]
    if chunk.page_first:
        is_one_page = chunk.page_first == chunk.page_last
        parts.append(f"page {chunk.page_first}" if is_one_page else f"pages {chunk.page_first} – {chunk.page_last}")
    parts += [chunk.heading] if chunk.heading else []
    parts.append(f"characters {format.format_count(chunk.start)} – {format.format_count(chunk.end)}")
    return " · ".join([*parts, *(["edited"] if chunk.is_edited else [])])
