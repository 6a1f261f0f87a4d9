"""How well a collection is searched: a question set, its runs with intervals, two compared, what was missed."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import streamlit as st

from lib.access.permissions import Actor
from lib.clock import shorten_id
from lib.errors import LLMManagerError
from lib.knowledge.collections import Collection
from lib.knowledge.evaluation import ranking_metrics
from lib.knowledge.evaluation.evaluations import Evaluation, QuestionOutcome, RunComparison
from lib.knowledge.evaluation.question_sets import QuestionSet
from lib.knowledge.settings import Mode
from lib.services import Services
from lib.ui import blocks, downloads, format
from lib.ui.knowledge import question_set_view
from lib.ui.knowledge.collection_cards import MODES
from lib.ui.statistics import chart_card

FIGURES = ["ndcg@5", "ndcg@10", "recall@5", "recall@10", "recall@20", "precision@5", "mrr@10"]
_WORST = 20


def draw_tab(services: Services, actor: Actor, collection: Collection) -> None:
    """The set, a new run, the runs, the questions."""
    sets = services.knowledge.question_sets.list(actor, collection.id)
    if not sets:
        sentence = "Write down what people ask and which documents answer it; then every change can be measured."
        with blocks.show_empty_state("quiz", "No questions yet", sentence):
            if collection.may_change and st.button("Make a question set", type="primary"):
                with blocks.show_errors():
                    services.knowledge.question_sets.create(actor, collection.id, "Questions")
                    st.rerun()
        return
    question_set = choose_question_set(services, actor, collection, sets)
    runs = [run for run in services.knowledge.evaluations.list(actor, collection.id) if run.set_id == question_set.id]
    if question_set.approved:
        _draw_new_run(services, actor, collection, question_set)
        if runs:
            _draw_runs(services, actor, collection, runs)
        else:
            st.caption("Not measured yet. Run asks every question as the search does, and counts what it finds.")
    question_set_view.draw_questions(services, actor, collection, question_set)


def choose_question_set(
    services: Services, actor: Actor, collection: Collection, sets: Sequence[QuestionSet]
) -> QuestionSet:
    """The set that is looked at, a new one, and the end of one."""
    sets_by_id = {question_set.id: question_set for question_set in sets}
    with blocks.start_row():
        set_id: str = st.selectbox(
            "Question set",
            list(sets_by_id),
            format_func=lambda key: f"{sets_by_id[key].name} · {sets_by_id[key].approved} questions",
            width=320,
            label_visibility="collapsed",
            key=f"set-{collection.id}",
        )
        if collection.may_change:
            with st.popover("New set", icon=":material/add:", type="tertiary"), st.form("new-set", border=False):
                name = st.text_input("Name", max_chars=120)
                if st.form_submit_button("Make set"):
                    with blocks.show_errors():
                        services.knowledge.question_sets.create(actor, collection.id, name)
                        st.rerun()
            with st.popover("Delete set", icon=":material/delete:", type="tertiary"):
                st.markdown("Its questions, evaluations and studies go for good.")
                if st.button(":red[Delete question set]"):
                    services.knowledge.question_sets.delete(actor, set_id)
                    st.session_state.pop(f"set-{collection.id}", None)
                    st.rerun()
    return sets_by_id[set_id]


def _draw_new_run(services: Services, actor: Actor, collection: Collection, question_set: QuestionSet) -> None:
    with blocks.start_row():
        mode = st.selectbox(
            "Search by",
            list(MODES),
            list(MODES).index(collection.search.mode),
            MODES.__getitem__,
            width=200,
            label_visibility="collapsed",
        )
        rerank = st.checkbox("Read the best ones once more", collection.search.rerank, key="evaluate-rerank")
        with st.popover("Figures", icon=":material/straighten:", type="tertiary"):
            metrics = st.multiselect("Figures", FIGURES, list(ranking_metrics.DEFAULT), accept_new_options=True)
        if not st.button("Run", icon=":material/play_arrow:", type="primary"):
            return
    note = blocks.show_progress("questions asked")
    settings = replace(collection.search, mode=mode, rerank=rerank)
    with blocks.show_errors():
        done = services.knowledge.evaluations.run(
            actor, question_set.id, settings, metrics or ranking_metrics.DEFAULT, note
        )
        st.session_state[f"run-{collection.id}"] = done.id
        st.rerun()


def _draw_runs(services: Services, actor: Actor, collection: Collection, runs: Sequence[Evaluation]) -> None:
    by_id = {run.id: run for run in runs}
    zone = services.preferences.report_zone(actor)

    def describe_run(key: str | None) -> str:
        if key is None:
            return "Nothing"
        run = by_id[key]
        again = run.settings["rerank"] and run.settings["mode"] == Mode.HYBRID
        how = MODES[run.settings["mode"]] + (", read once more" if again else "")
        return f"{format.format_moment(run.created_at, zone).rpartition(':')[0]} · {how}"

    with st.container(border=True):
        with blocks.start_row(vertical_alignment="bottom"):
            evaluation = by_id[
                st.selectbox("Run", list(by_id), format_func=describe_run, width=330, key=f"run-{collection.id}")
            ]
            baseline_ids = [None, *(key for key in by_id if key != evaluation.id)]
            baseline_id = st.selectbox(
                "Compared with", baseline_ids, format_func=describe_run, width=330, key=f"before-{collection.id}"
            )
            if collection.may_change:
                with st.popover("", icon=":material/delete:", type="tertiary", help="Delete this run"):
                    if st.button(":red[Delete run]"):
                        services.knowledge.evaluations.delete(actor, evaluation.id)
                        st.session_state.pop(f"run-{collection.id}", None)
                        st.rerun()
        baseline = by_id[baseline_id] if baseline_id is not None else None
        _draw_figures(evaluation, baseline, describe_run)
        if baseline is not None:
            for name in (metric for metric in evaluation.figures if metric in baseline.figures):
                with blocks.show_errors():
                    st.markdown(
                        describe_comparison(
                            services.knowledge.evaluations.compare(actor, baseline.id, evaluation.id, name)
                        )
                    )
        chunking = evaluation.settings["chunking"]
        st.caption(
            blocks.escape_markdown(
                f"{evaluation.passages:,} passages, cut {chunking['strategy']}, {chunking['size']} characters, overlap "
                f"{chunking['overlap']} · {evaluation.settings['embedding_model']} · "
                f"{format.format_duration(evaluation.took_ms)} in all"
            )
        )
    _draw_by_question(services, actor, collection, evaluation)


def _draw_figures(evaluation: Evaluation, baseline: Evaluation | None, describe_run: Any) -> None:
    import pandas as pd

    from lib.statistics.charts import retrieval_charts

    lines = [
        {
            "run": describe_run(run.id),
            "figure": name,
            "value": estimate.value,
            "low": estimate.low,
            "high": estimate.high,
            "label": f"{estimate.value:.3f} ({estimate.low:.3f} – {estimate.high:.3f}), {estimate.questions} questions",
        }
        for run in ([baseline] if baseline else []) + [evaluation]
        for name, estimate in run.figures.items()
    ]
    with st.grid(4, min_column_width=150, gap="small"):
        for name, estimate in evaluation.figures.items():
            st.metric(
                name,
                f"{estimate.value:.3f}",
                help=f"95 % interval {estimate.low:.3f} – {estimate.high:.3f}",
                border=True,
            )
    chart_card.show(
        retrieval_charts.build_figure_chart,
        pd.DataFrame(lines),
        key=f"figures-{evaluation.id}",
        alt=f"Figures of the search with their intervals: {', '.join(evaluation.figures)}",
    )


def describe_comparison(comparison: RunComparison) -> str:
    """A sentence on two runs: how much a metric changed, for how many questions, and whether that could be chance."""
    by = comparison.difference
    word = "as good" if by.value == 0 else "better" if by.value > 0 else "worse"
    sure = "that is more than chance" if by.p < 0.05 else "that may be chance: more questions would tell"
    return (
        f"**{comparison.metric}** {comparison.earlier.value:.3f} → {comparison.later.value:.3f}: "
        f"{word} by {abs(by.value):.3f} "
        f"(95 % interval {by.low:+.3f} to {by.high:+.3f}), better for {by.better} questions and worse for {by.worse}; "
        f"p = {by.p:.3f}, {sure}."
    )


def _draw_by_question(services: Services, actor: Actor, collection: Collection, evaluation: Evaluation) -> None:
    import pandas as pd

    try:
        outcomes = services.knowledge.evaluations.outcomes(actor, evaluation.id)
    except LLMManagerError as error:
        blocks.show_error(error)
        return
    first = next(iter(evaluation.figures))
    worst = sorted(outcomes, key=lambda outcome: outcome.figures[first])
    missed = sum(bool(outcome.missed) for outcome in outcomes)
    with st.expander(f"By question · {missed} of {len(outcomes)} missed something", icon=":material/fact_check:"):
        table = pd.DataFrame([_record(outcome) for outcome in worst])
        note = partial(services.audit.note_export, actor, "evaluation.export", evaluation=evaluation.id)
        downloads.show_row(table, f"evaluation-{shorten_id(evaluation.id)}", note, key="evaluation")
        st.caption(f"The worst by {first} first.")
        for outcome in worst[:_WORST]:
            with st.container(border=True):
                figures = ", ".join(f"{name} {value:.2f}" for name, value in outcome.figures.items())
                st.markdown(f"**{blocks.escape_markdown(outcome.text)}**")
                st.caption(blocks.escape_markdown(figures))
                good = [spot for spot in outcome.returned if spot.grade > 0]
                for spot in good:
                    st.markdown(f":green[✓] no. {spot.rank} · {blocks.escape_markdown(spot.title)}")
                for spot in outcome.missed:
                    st.markdown(f":red[✕] missed · {blocks.escape_markdown(spot.title)}")
                if not good and outcome.returned:
                    st.caption(blocks.escape_markdown(f"Found first: {outcome.returned[0].title}"))
        if len(worst) > _WORST:
            st.caption(f"{len(worst) - _WORST} more are in the files.")


def _record(outcome: QuestionOutcome) -> dict[str, Any]:
    return {
        "question": outcome.text,
        **outcome.figures,
        "found_at": " ".join(str(spot.rank) for spot in outcome.returned if spot.grade > 0),
        "missed": "; ".join(spot.title for spot in outcome.missed),
    }
