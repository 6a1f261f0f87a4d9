"""An answer from passages: its citations checked, the passages to open below it."""

from collections.abc import Sequence

import streamlit as st

from lib.knowledge.quoting import QuotedSource
from lib.ui import blocks


def draw_answer(text: str, sources: Sequence[QuotedSource]) -> None:
    """A model's words; citations that no passage bears out are taken out, and it is said how many."""
    if not sources:
        st.markdown(blocks.sanitise_markdown(text))
        return
    from lib.knowledge.answers import check

    checked = check(text, [source.text for source in sources])
    st.markdown(blocks.sanitise_markdown(checked.text))
    if checked.removed:
        many = "citation" if checked.removed == 1 else "citations"
        st.caption(f"{checked.removed} {many} without a source taken out.")
    cited = len(checked.cited)
    draw_passages(sources, f"{cited} of {len(sources)} passages cited" if cited else _read(sources), checked.cited)


def draw_passages(sources: Sequence[QuotedSource], label: str = "", first: Sequence[int] = ()) -> None:
    """Draw the passages that the model read, folded away; those numbered in `first` come first."""
    with st.expander(label or _read(sources), icon=":material/library_books:"):
        for source in sorted(sources, key=lambda passage: (passage.number not in first, passage.number)):
            st.caption(blocks.escape_markdown(f"[{source.number}] {source.location}"))
            st.code(source.text, language=None, wrap_lines=True)


def _read(sources: Sequence[QuotedSource]) -> str:
    return f"{len(sources)} {'passage' if len(sources) == 1 else 'passages'} read"
