"""The question before something is lost: its object, what changes and what stays, and how to undo it."""

from collections.abc import Callable

import streamlit as st

from lib.errors import LLMManagerError
from lib.ui import blocks


def confirm(
    question: str,
    consequence: str,
    *,
    keep: str,
    act: str,
    action: Callable[[], object],
    undo: str = "It can't be undone.",
    icon: str = "delete",
    then: Callable[[], object] = lambda: None,
) -> None:
    """Open a dialog that asks: `question` names the object ("Revoke the key nightly?"), `consequence` is Markdown that
    says what changes and what stays, `undo` how to take it back. `keep` and `act` are verb and object. A refusal
    stands in the dialog; after the action, `then` runs and the page is drawn anew.
    """

    def draw() -> None:
        st.markdown(consequence)
        st.caption(undo)
        with st.container(horizontal=True, horizontal_alignment="right"):
            if st.button(keep):
                st.rerun()
            if st.button(f":red[{act}]", icon=f":material/{icon}:"):
                try:
                    action()
                except LLMManagerError as error:
                    blocks.show_error(error)
                    return
                then()
                st.rerun()

    st.dialog(question)(draw)()
