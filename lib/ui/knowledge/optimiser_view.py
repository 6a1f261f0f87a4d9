"""The best way to cut and search a collection: the grid, what it will take, its trials as a chart, and applying one."""

from collections.abc import Sequence
from typing import Any
from zoneinfo import ZoneInfo

import streamlit as st

from lib.access.permissions import Actor
from lib.knowledge.collections import Collection
from lib.knowledge.documents.chunking import LEAST, MOST, ChunkingStrategy
from lib.knowledge.evaluation.studies import Cell, Grid, State, Study, StudyQuote, StudyTrial
from lib.knowledge.settings import MOST_HITS, Mode
from lib.money import format_money
from lib.services import Services
from lib.ui import blocks, format
from lib.ui.knowledge import evaluation_view
from lib.ui.knowledge.collection_cards import MODES, STRATEGIES
from lib.ui.statistics import chart_card

_STATES = {
    State.WAITING: ("Waiting", "gray"),
    State.RUNNING: ("Running", "blue"),
    State.STOPPED: ("Stopped", "orange"),
    State.DONE: ("Done", "green"),
    State.FAILED: ("Failed", "red"),
}
_RERANKS = {"Both": (True, False), "Yes": (True,), "No": (False,)}


def draw_tab(services: Services, actor: Actor, collection: Collection) -> None:
    """A new study, then those there are."""
    sets = [
        question_set
        for question_set in services.knowledge.question_sets.list(actor, collection.id)
        if question_set.approved
    ]
    if not sets:
        sentence = "The optimiser tries ways to cut and search, and judges each by your own questions."
        with blocks.show_empty_state("tune", "It needs questions", sentence):
            st.caption("Write some down under Evaluate.", text_alignment="center")
        return
    studies = services.knowledge.optimiser.list(actor, collection.id)
    if collection.may_change:
        with st.expander("New study", icon=":material/add:", expanded=not studies):
            _draw_new_study(
                services, actor, collection, evaluation_view.choose_question_set(services, actor, collection, sets).id
            )
    zone = services.preferences.report_zone(actor)
    if studies:
        studies_by_id = {study.id: study for study in studies}
        study_id: str = st.selectbox(
            "Study",
            list(studies_by_id),
            format_func=lambda key: _label_study(studies_by_id[key], zone),
            width=360,
            label_visibility="collapsed",
            key=f"study-{collection.id}",
        )
        _draw_study(services, actor, collection, study_id)


def _label_study(study: Study, zone: ZoneInfo) -> str:
    started = format.format_moment(study.created_at, zone).rpartition(":")[0]
    return f"{started} · {len(study.trials)} trials · {_STATES[study.state][0].lower()}"


def _draw_new_study(services: Services, actor: Actor, collection: Collection, set_id: str) -> None:
    usual = Grid()
    with st.grid(2, min_column_width=260, gap="small"):
        strategies = st.multiselect(
            "Cut", list(ChunkingStrategy), list(usual.strategies), format_func=STRATEGIES.__getitem__
        )
        sizes = _choose_numbers(
            "Characters of a passage", usual.sizes, [250, 500, 750, 1000, 1500, 2000, 3000], LEAST, MOST
        )
        overlaps = _choose_numbers("Overlap", usual.overlaps, [0, 50, 100, 150, 200, 300], 0, MOST // 2)
        modes = st.multiselect("Search by", list(Mode), list(usual.modes), format_func=MODES.__getitem__)
        ks = _choose_numbers("Passages for an answer", usual.ks, [3, 4, 5, 8, 12, 16], 1, MOST_HITS)
        rerank = st.segmented_control("Read the best ones once more", list(_RERANKS), default="Both", required=True)
    metric = st.selectbox("Judged by", evaluation_view.FIGURES, 1, width=200)
    grid = Grid(tuple(strategies), tuple(sizes), tuple(overlaps), tuple(modes), tuple(ks), _RERANKS[rerank or "Both"])
    key = f"quote-{collection.id}"
    if st.button("What will it take?", icon=":material/request_quote:"):
        with blocks.show_errors(), st.spinner("Cutting the documents"):
            st.session_state[key] = ((set_id, grid, metric), services.knowledge.optimiser.quote(actor, set_id, grid))
    quoted_inputs, quote = st.session_state.get(key, (None, None))
    if quote is None or quoted_inputs != (set_id, grid, metric):
        return
    st.markdown(describe_quote(quote))
    if st.button("Begin", type="primary", icon=":material/play_arrow:"):
        with blocks.show_errors():
            services.knowledge.optimiser.begin(actor, set_id, grid, metric)
            st.session_state.pop(key)
            st.toast("The study runs on the server; you may leave this page.")
            st.rerun()


def _choose_numbers(label: str, now: Sequence[int], offered: Sequence[int], least: int, most: int) -> list[int]:
    selections = st.multiselect(label, [str(n) for n in offered], [str(n) for n in now], accept_new_options=True)
    return [int(text) for text in selections if text.isdecimal() and least <= int(text) <= most]


def describe_quote(quote: StudyQuote) -> str:
    """A sentence on the trials, embeddings, time and price that a study will take."""
    time = "in a time that is not known yet" if quote.seconds is None else f"in about {_format_minutes(quote.seconds)}"
    cost = "at a price nobody knows" if quote.cost_nano_usd is None else f"for {format_money(quote.cost_nano_usd)}"
    cost = "for nothing" if quote.cost_nano_usd == 0 else cost.replace("$", "\\$")
    return (
        f"**{quote.trials} trials** in {quote.ways_to_cut} ways to cut, {quote.questions} questions each. "
        f"{quote.texts_to_embed:,} texts are to be embedded (about {quote.tokens_to_embed:,} tokens), {time}, {cost}."
    )


def _format_minutes(seconds: float) -> str:
    return "a few seconds" if seconds < 10 else format.format_duration(seconds * 1000)


def _draw_study(services: Services, actor: Actor, collection: Collection, study_id: str) -> None:
    going = services.knowledge.optimiser.get(actor, study_id).state in (State.WAITING, State.RUNNING)

    @st.fragment(run_every=1.5 if going else None)
    def draw_study() -> None:
        study = services.knowledge.optimiser.get(actor, study_id)
        if going and study.state not in (State.WAITING, State.RUNNING):
            blocks.redraw_page()
        with blocks.start_row():
            label, colour = _STATES[study.state]
            st.badge(label, color=colour)  # type: ignore[arg-type]
            st.caption(f"{study.done} of {len(study.trials)} trials, judged by {study.metric}", width="stretch")
            if collection.may_change and going and st.button("Stop", icon=":material/stop_circle:"):
                services.knowledge.optimiser.stop(actor, study_id)
                st.rerun()
        if going:
            st.progress(study.done / len(study.trials), "It goes on when you leave.")
        if study.error:
            blocks.show_failure(study.error)
        if study.done:
            _draw_trials(study)
            if collection.may_change and not going:
                _apply(services, actor, study)

    draw_study()


def _draw_trials(study: Study) -> None:
    import pandas as pd

    from lib.statistics.charts import retrieval_charts

    tried = [trial for trial in study.trials if trial.result is not None]
    lines = [_build_line(trial, study.metric) for trial in tried]
    frame = pd.DataFrame(lines)
    chart_card.show(
        retrieval_charts.build_quality_chart,
        frame[["tokens", "value", "low", "high", "kind", "label", "is_best"]],
        study.metric,
        key=f"study-chart-{study.id}-{study.done}",
        alt=f"Trials by the tokens that an answer reads and by {study.metric}",
    )
    st.dataframe(
        frame.assign(kind=frame.kind.where(frame.kind != "Other")).drop(columns=["is_best", "label"]),
        hide_index=True,
        row_height=30,
        placeholder="—",
        key=f"trials-{study.id}",
        column_config={
            "trial": st.column_config.NumberColumn("No.", width=50),
            "value": st.column_config.NumberColumn(study.metric, format="%.3f"),
            "low": st.column_config.NumberColumn("Low", format="%.3f"),
            "high": st.column_config.NumberColumn("High", format="%.3f"),
            "tokens": st.column_config.NumberColumn("Tokens", format="localized"),
            "p": st.column_config.NumberColumn("p", format="%.3f", help="How likely chance alone differs as much."),
            "better": st.column_config.NumberColumn("Against now", format="%+.3f"),
            "cut": "Cut", "size": "Size", "overlap": "Overlap", "mode": "Search", "k": "Passages",
            "kind": st.column_config.TextColumn("", width=124),
            "rerank": "Once more",
        },
    )  # fmt: skip


def _build_line(trial: StudyTrial, metric: str) -> dict[str, Any]:
    assert trial.result is not None  # noqa: S101 (only those that were tried)
    cell = trial.cell
    outcome = trial.result
    kind = "Now" if trial.is_current else "Best for its cost" if trial.is_best_for_its_cost else "Other"
    against = trial.against_current if not trial.is_current else None
    return {
        "trial": trial.ordinal,
        "value": outcome.figure.value,
        "low": outcome.figure.low,
        "high": outcome.figure.high,
        "tokens": round(outcome.context_tokens),
        "better": against.value if against else None,
        "p": against.p if against else None,
        "kind": kind,
        "cut": STRATEGIES[cell.chunking.strategy],
        "size": cell.chunking.size,
        "overlap": cell.chunking.overlap,
        "mode": MODES[cell.search.mode],
        "k": cell.search.k,
        "rerank": cell.search.rerank,
        "is_best": trial.is_best_for_its_cost,
        "label": (
            f"{describe_cell(cell)}: {metric} {outcome.figure.value:.3f}, {round(outcome.context_tokens):,} tokens"
        ),
    }


def describe_cell(cell: Cell) -> str:
    """`By heading, 1000/150 · Words and meaning, 8, once more`."""
    cut = cell.chunking
    search = cell.search
    again = ", once more" if search.rerank else ""
    return f"{STRATEGIES[cut.strategy]}, {cut.size}/{cut.overlap} · {MODES[search.mode]}, {search.k}{again}"


def _apply(services: Services, actor: Actor, study: Study) -> None:
    tried = {trial.ordinal: trial for trial in study.trials if trial.result is not None and not trial.is_current}
    now = next((trial for trial in study.trials if trial.is_current), None)
    if not tried:
        return
    with blocks.start_row(vertical_alignment="bottom"):
        trial_number: int = st.selectbox(
            "Trial",
            list(tried),
            format_func=lambda n: f"No. {n} · {describe_cell(tried[n].cell)}",
            width=460,
        )
        cuts = now is None or tried[trial_number].cell.chunking != now.cell.chunking
        with st.popover("Apply", icon=":material/published_with_changes:", type="primary"):
            after = "Every document is cut and embedded anew, and found as it is until then." if cuts else ""
            st.markdown(f"The collection is searched like this from now on. {after}".strip())
            if st.button("Apply to the collection"):
                with blocks.show_errors():
                    services.knowledge.optimiser.apply(actor, study.id, trial_number)
                    st.toast("Applied." if not cuts else "Applied; the documents are being taken in anew.")
                    st.rerun()
