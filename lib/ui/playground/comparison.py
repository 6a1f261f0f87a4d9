"""Deciding between answers: marks, the vote, the text of one beside that of another, and how votes went so far."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import streamlit as st

from lib.access.permissions import Actor
from lib.calls.live_call import CallView
from lib.clock import shorten_id
from lib.errors import LLMManagerError
from lib.playground.exports import RunFormat
from lib.playground.question import PlaygroundQuestion, list_schema_errors
from lib.playground.run import DRAW, PaneState, PlaygroundRun
from lib.services import Services
from lib.snippets.run_snippets import run_snippets
from lib.ui import blocks, format, text_difference

LETTERS = "ABCD"


def name_pane(run: PlaygroundRun, position: int) -> str:
    """A pane's name: its configuration, or a letter while that is hidden or stands in several panes."""
    slugs = [pane.slug for pane in run.panes]
    letter = f"Answer {LETTERS[position]}"
    if run.is_hidden:
        return letter
    return slugs[position] if slugs.count(slugs[position]) == 1 else f"{letter}, {slugs[position]}"


def find_badges(run: PlaygroundRun) -> dict[int, list[tuple[str, str]]]:
    """Badges by position, once all have ended: (label, icon) of the fastest and the cheapest, and of the preferred."""
    badges: dict[int, list[tuple[str, str]]] = {}
    calls = {pane.position: pane.call for pane in run.panes if pane.call is not None and pane.call.status == "ok"}
    if len(calls) > 1 and not run.running and not run.is_hidden:
        times = {n: call.execution_time_ms for n, call in calls.items() if call.execution_time_ms is not None}
        costs = {n: call.cost_nano_usd for n, call in calls.items() if call.cost_nano_usd is not None}
        for label, icon, figures in (("Fastest", "bolt", times), ("Cheapest", "savings", costs)):
            if len(figures) == len(calls) and len(set(figures.values())) > 1:
                least = min(figures.values())
                for position in [n for n, figure in figures.items() if figure == least]:
                    badges.setdefault(position, []).append((label, f":material/{icon}:"))
    if run.winner is not None and run.winner != DRAW:
        badges.setdefault(run.winner, []).append(("Preferred", ":material/thumb_up:"))
    return badges


def draw_schema_check(question: PlaygroundQuestion | None, call: CallView) -> None:
    """Whether the answer fits the schema that was asked for."""
    if question is None or question.schema is None or call.running or not call.text:
        return
    if not (errors := list_schema_errors(question.schema, call.text)):
        st.badge("Fits the schema", icon=":material/check:", color="green")
        return
    st.badge("Does not fit the schema", icon=":material/close:", color="red")
    st.caption("  \n".join(blocks.escape_markdown(error) for error in errors))


def draw_vote(services: Services, actor: Actor, run: PlaygroundRun) -> None:
    """One button an answer, and one for no difference; or what was said."""
    if run.winner == DRAW:
        st.caption("The vote: no difference.")
    ended = all(pane.call is not None and not pane.call.running for pane in run.panes)
    if not run.is_kept or run.user_id != actor.user_id or run.winner is not None or len(run.panes) < 2 or not ended:
        return
    with blocks.start_row(gap="xsmall"):
        st.caption("Which is better?", width="content")
        choices = [(name_pane(run, pane.position), pane.position) for pane in run.panes]
        for label, winner in [*choices, ("No difference", DRAW)]:
            if st.button(blocks.escape_markdown(label), key=f"vote-{winner}"):
                with blocks.show_errors():
                    services.playground.vote(actor, run.id, winner)
                    st.rerun()


def draw_difference(run: PlaygroundRun) -> None:
    """Two answers line by line: what only the first says, what only the second says."""
    texts = {pane.position: pane.call.text for pane in run.panes if pane.call is not None and not pane.call.running}
    texts = {position: text for position, text in texts.items() if text}
    if len(texts) < 2:
        return
    with st.expander("Compare the texts", icon=":material/difference:"):
        first, second = list(texts)[:2]
        if len(texts) > 2:
            pairs = {f"{LETTERS[a]} with {LETTERS[b]}": (a, b) for a in texts for b in texts if a < b}
            pair = st.segmented_control("Compare", list(pairs), default=next(iter(pairs)), label_visibility="collapsed")
            first, second = pairs[pair] if pair else (first, second)
        text_difference.show(texts[first], texts[second], (name_pane(run, first), name_pane(run, second)))


@st.dialog("Votes", width="large")
def draw_wins_dialog(services: Services, actor: Actor) -> None:
    """Every configuration that the actor has voted on."""
    import pandas as pd

    lines = services.playground.wins(actor)
    if not lines:
        st.markdown("No votes yet. Ask two panes the same, then say which answer is better.")
        return
    frame = pd.DataFrame(
        {
            "Configuration": [line.slug for line in lines],
            "Model": [line.model for line in lines],
            "Compared": [line.runs for line in lines],
            "Won": [line.won for line in lines],
            "Drawn": [line.drawn for line in lines],
            "Share of points": [format.format_share((line.won + line.drawn / 2) / line.runs) for line in lines],
            "95 % interval": [" – ".join(format.format_share(end) for end in line.interval) for line in lines],
        }
    )
    st.dataframe(frame, hide_index=True, row_height=30)
    st.caption("A draw is half a point. The interval is Wilson's: where two overlap widely, there is no winner yet.")


@st.dialog("Copy as code", width="large")
def draw_code_dialog(question: PlaygroundQuestion, panes: Sequence[PaneState]) -> None:
    """The run as programs that ask our own gateway."""
    origin = (st.context.url or "http://127.0.0.1:8501").split("/playground")[0].rstrip("/")
    by_slug = {pane.slug: pane for pane in reversed(panes)}
    slugs = list(dict.fromkeys(pane.slug for pane in panes))
    slug = st.segmented_control("Pane", slugs, default=slugs[0], label_visibility="collapsed")
    pane = by_slug[slug or slugs[0]]
    parameters = question.parameters() | {name: value for name, value in pane.parameters.items() if value is not None}
    snippets = run_snippets(origin, pane.slug, replace(question, system_prompt=pane.system_prompt), parameters)
    for tab, snippet in zip(st.tabs([snippet.title for snippet in snippets]), snippets, strict=True):
        with tab:
            st.code(snippet.text, language=snippet.language)
    st.caption("`LLM_MANAGER_API_KEY` holds a key from the page API keys.")


def draw_exports(services: Services, actor: Actor, run: PlaygroundRun) -> None:
    """The run to keep outside, as Markdown or JSON."""
    with blocks.start_row(gap="xsmall"):
        for form, label in ((RunFormat.MARKDOWN, "Markdown"), (RunFormat.JSON, "JSON")):
            st.download_button(
                label,
                data=partial(services.playground.export, actor, run.id, form),
                file_name=f"run-{shorten_id(run.id)}.{form}",
                type="tertiary",
                icon=":material/download:",
                on_click="ignore",
                disabled=run.is_hidden or run.running,
                key=f"export-{form}",
            )


def draw_rating(services: Services, actor: Actor, run: PlaygroundRun, position: int) -> None:
    """Thumbs for an answer; what is said last counts."""
    saved_rating = services.playground.ratings(actor, run.id).get(position)
    key = f"rating-{run.id}-{position}"
    thumbs = st.feedback("thumbs", key=key, default=None if saved_rating is None else int(saved_rating))
    if thumbs is not None and bool(thumbs) != saved_rating:
        services.playground.rate(actor, run.id, position, is_good=bool(thumbs))


def show_pane_error(error: str) -> None:
    """Why nothing was sent in a pane."""
    blocks.show_failure(error)


def draw_sharing(services: Services, actor: Actor, run: PlaygroundRun) -> None:
    """The switch that lets colleagues open the run by its address."""
    now = st.toggle(
        "Shared with colleagues",
        run.is_shared,
        key=f"share-{run.id}",
        help="Whoever may test configurations can open this address and see question and answers.",
    )
    if now != run.is_shared:
        try:
            services.playground.share(actor, run.id, is_shared=now)
        except LLMManagerError as error:
            blocks.show_error(error)
        else:
            st.toast("Shared. Copy the address." if now else "Yours alone again.")
