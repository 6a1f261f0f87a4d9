"""The questions of a set: written down, imported, proposed by a model, approved and taken out."""

from collections.abc import Sequence

import streamlit as st

from lib.access.permissions import Actor, Permission
from lib.errors import InvalidInput
from lib.files.text import decode_text
from lib.knowledge.collections import Collection
from lib.knowledge.documents.document_service import Document
from lib.knowledge.evaluation.question_sets import QuestionSet
from lib.knowledge.evaluation.questions import JudgedQuestion, Judgement
from lib.services import Services
from lib.ui import blocks, session_keys

_SHOWN = 500


def draw_questions(services: Services, actor: Actor, collection: Collection, question_set: QuestionSet) -> None:
    """A set's questions, and for who may change the collection the ways to more."""
    documents = services.knowledge.documents.list(actor, collection.id)
    titles = {document.id: document.title for document in documents}
    questions = services.knowledge.question_sets.questions(actor, question_set.id)
    waiting = f", {question_set.proposed} to approve" if question_set.proposed else ""
    with st.expander(
        f"Questions · {question_set.approved}{waiting}", icon=":material/quiz:", expanded=not question_set.approved
    ):
        if collection.may_change:
            _draw_more(services, actor, question_set, documents)
        if not questions:
            st.caption("None yet. Write some down, import them, or let a model propose them.")
            return
        picked = _draw_table(questions, titles)
        if collection.may_change:
            _draw_actions(services, actor, question_set, questions, picked)


def _draw_table(questions: Sequence[JudgedQuestion], titles: dict[str, str]) -> list[JudgedQuestion]:
    visible = sorted(questions, key=lambda question: question.is_approved)[:_SHOWN]
    state = st.dataframe(
        [
            {
                "question": question.text,
                "answer": ", ".join(
                    titles.get(judgement.document_id, "—") for judgement in question.judgements if judgement.grade > 0
                ),
                "passage": next((judgement.quote for judgement in question.judgements if judgement.quote), None),
                "source": question.source.value,
                "state": "counts" if question.is_approved else "to approve",
            }
            for question in visible
        ],
        hide_index=True,
        row_height=30,
        placeholder="—",
        on_select="rerun",
        selection_mode="multi-row",
        key="questions",
        column_config={
            "question": st.column_config.TextColumn("Question", width="large"),
            "answer": "Answered by",
            "passage": "Passage",
            "source": "Source",
            "state": "State",
        },
    )
    if len(questions) > _SHOWN:
        st.caption(f"{_SHOWN} of {len(questions):,}, those to approve first.")
    return [visible[row] for row in state.selection.rows]


def _draw_actions(
    services: Services,
    actor: Actor,
    question_set: QuestionSet,
    questions: Sequence[JudgedQuestion],
    picked: Sequence[JudgedQuestion],
) -> None:
    proposed = [question.id for question in picked or questions if not question.is_approved]
    with blocks.start_row():
        which = "these" if picked else "all"
        if proposed and st.button(f"Approve {which} {len(proposed)}", icon=":material/check:"):
            with blocks.show_errors():
                services.knowledge.question_sets.approve(actor, question_set.id, proposed)
                st.rerun()
        if picked:
            with st.popover(f"Remove {len(picked)}", icon=":material/delete:", type="tertiary"):
                st.markdown("They leave the set. Earlier evaluations keep their figures.")
                if st.button(":red[Remove questions]"):
                    services.knowledge.question_sets.remove(
                        actor, question_set.id, [question.id for question in picked]
                    )
                    st.rerun()


def _draw_more(services: Services, actor: Actor, question_set: QuestionSet, documents: Sequence[Document]) -> None:
    typed, imported, proposed = st.tabs(["Write", "Import", "Propose"])
    field_key = blocks.Fresh("question")
    with typed, st.form("add-question", border=False):
        text = st.text_input("Question", max_chars=4_000, key=field_key("text"))
        names = {document.id: document.title for document in documents}
        answers = st.multiselect(
            "Answered by", list(names), format_func=names.__getitem__, placeholder="Documents", key=field_key("answers")
        )
        whole = "Its words, as they stand in the document; empty: the document as a whole."
        quote = st.text_area("Passage", height=80, help=whole, key=field_key("quote"))
        if st.form_submit_button("Add question"):
            with blocks.show_errors():
                judged = _build_judgements(services, actor, answers, quote)
                services.knowledge.question_sets.add(actor, question_set.id, text, judged)
                field_key.clear()
                st.rerun()
    with imported:
        if (words := st.session_state.pop(session_keys.IMPORTED_QUESTIONS, None)) is not None:
            st.success(words, icon=":material/check:")
        file = st.file_uploader("CSV with question, document (its name or id) and, if you want, grade", type="csv")
        if file is not None and st.button("Import questions", icon=":material/upload:"):
            from lib.knowledge.evaluation.corpus import read_csv

            with blocks.show_errors():
                done = services.knowledge.question_sets.import_asked(
                    actor, question_set.id, read_csv(decode_text(file.getvalue()))
                )
                st.session_state[session_keys.IMPORTED_QUESTIONS] = _import_words(
                    done.added, done.left_out, done.unknown_documents
                )
                st.rerun()  # what stands above counts them, too
    with proposed, blocks.start_row():
        count = st.number_input("Questions", 1, 100, 10, width=120)
        may_see = actor.can(Permission.VIEW_CONFIGS)
        ready = [c for c in services.configurations.list(actor) if c.is_active and c.needs is None] if may_see else []
        slugs = [configuration.slug for configuration in ready]
        slug = st.selectbox("Written by", slugs, width=220) if slugs else None
        if st.button("Propose", icon=":material/auto_awesome:"):
            note = blocks.show_progress("passages read")
            with blocks.show_errors():
                proposals = services.knowledge.proposals.propose(
                    actor, question_set.id, int(count), configuration=slug, note=note
                )
                st.toast(f"{len(proposals)} questions wait for your approval.")
                st.rerun()


def _build_judgements(services: Services, actor: Actor, answers: Sequence[str], quote: str) -> list[Judgement]:
    quote = quote.strip()
    if not quote:
        return [Judgement(document) for document in answers]
    for document in answers:
        start = services.knowledge.documents.text(actor, document).find(quote)
        if start >= 0:
            return [Judgement(document, 1, start, start + len(quote))]
    raise InvalidInput("The passage is in none of these documents.", "", "Copy its words as they stand.", "passage")


def _import_words(added: int, left_out: int, unknown: Sequence[str]) -> str:
    words = f"{added} {'question was' if added == 1 else 'questions were'} taken in."
    if left_out:
        names = ", ".join(blocks.escape_markdown(name) for name in unknown[:5])
        words += f" {left_out} were left out: the collection has no {names}{' …' if len(unknown) > 5 else ''}."
    return words
