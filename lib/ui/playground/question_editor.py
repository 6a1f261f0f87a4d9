"""The question of a run as it was sent, and a field to change its words and ask again; files and passages stay."""

from dataclasses import replace
from typing import Any

import streamlit as st

from lib.knowledge.quoting import parse_message
from lib.playground.question import PlaygroundQuestion
from lib.playground.run import PlaygroundRun
from lib.ui import blocks, session_keys
from lib.ui.playground import answer_pane

_FILE_HEAD = "File "


def draw_question(
    run: PlaygroundRun, question: PlaygroundQuestion | None, *, is_own: bool
) -> PlaygroundQuestion | None:
    """Draw what was asked, with "Edit and run" for whose run it is; the changed question when it is to be asked."""
    if run.first_call is None:
        return None
    may_edit = is_own and question is not None and not run.running
    if may_edit and question is not None and st.session_state.get(session_keys.EDITED_QUESTION) == run.id:
        return _draw_editor(run, question)
    answer_pane.draw_question(run.first_call)
    if may_edit:
        st.button(
            "Edit and run",
            icon=":material/edit:",
            type="tertiary",
            help="Change the words and ask the panes as they are set now",
            on_click=_open_editor,
            args=(run.id,),
        )
    return None


def read_words(question: PlaygroundQuestion) -> str:
    """Read the words of a question, without the files and passages that went with them."""
    first = _read_first_text(question.content)
    return parse_message(question.prompt).question if first is None else first


def change_words(question: PlaygroundQuestion, words: str) -> PlaygroundQuestion:
    """Copy a question with other words; files and passages go with them as they were sent."""
    if isinstance(question.content, list):
        attachments = question.content[1:] if _read_first_text(question.content) else question.content
        parts = [{"type": "text", "text": words}] if words.strip() else []
        return replace(question, prompt=words, content=[*parts, *attachments])
    context_text = question.prompt.removesuffix(parse_message(question.prompt).question)
    return replace(question, prompt=context_text + words, content=context_text + words)


def _read_first_text(content: Any) -> str | None:
    """Read the words that stand before a message's files; empty where files alone were sent, None for plain text."""
    if not isinstance(content, list):
        return None
    text = str(content[0].get("text", "")) if content and content[0].get("type") == "text" else ""
    return "" if text.startswith(_FILE_HEAD) else text


def _open_editor(run_id: str) -> None:
    st.session_state[session_keys.EDITED_QUESTION] = run_id


def _close_editor() -> None:
    st.session_state.pop(session_keys.EDITED_QUESTION, None)


def _draw_editor(run: PlaygroundRun, question: PlaygroundQuestion) -> PlaygroundQuestion | None:
    with st.chat_message("user", avatar=":material/person:"):
        words = st.text_area("Your question", read_words(question), height=120, key=f"question-{run.id}")
        if isinstance(question.content, list):
            st.caption("The files go with it as before.")
        elif parse_message(question.prompt).sources:
            st.caption("The passages go with it as before. Ask above to look for others.")
        with blocks.start_row():
            if st.button("Run", icon=":material/play_arrow:", disabled=not words.strip()):
                _close_editor()
                return change_words(question, words)
            st.button("Keep as it is", type="tertiary", on_click=_close_editor)
    return None
