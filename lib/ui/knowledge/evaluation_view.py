"""How well a collection is searched: a question set, its runs with intervals, two compared, what was missed."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import streamlit as st

from lib.access.permissions import Actor
from lib.clock import short_id
from lib.errors import LLMManagerError
from lib.knowledge.collections import Collection
from lib.knowledge.evaluation import ranking_metrics
from lib.knowledge.evaluation.evaluations import Comparison, Evaluation, Outcome
from lib.knowledge.evaluation.question_sets import QuestionSet
from lib.knowledge.settings import Mode
from lib.services import Services
from lib.ui import blocks, downloads, format
from lib.ui.knowledge import question_set_view
from lib.ui.knowledge.collection_cards import MODES
from lib.ui.statistics import chart_card

FIGURES = ["ndcg@5", "ndcg@10", "recall@5", "recall@10", "recall@20", "precision@5", "mrr@10"]
_WORST = 20


def tab(services: Services, actor: Actor, one: Collection) -> None:
    """The set, a new run, the runs, the questions."""
    sets = services.question_sets.list(actor, one.id)
    if not sets:
        sentence = "Write down what people ask and which documents answer it; then every change can be measured."
        with blocks.empty_state("quiz", "No questions yet", sentence):
            if one.may_change and st.button("Make a question set", type="primary"):
                with blocks.errors_shown():
                    services.question_sets.create(actor, one.id, "Questions")
                    st.rerun()
        return
    chosen = choose(services, actor, one, sets)
    runs = [run for run in services.evaluations.list(actor, one.id) if run.set_id == chosen.id]
    if chosen.approved:
        _new_run(services, actor, one, chosen)
        if runs:
            _runs(services, actor, one, runs)
        else:
            st.caption("Not measured yet. Run asks every question as the search does, and counts what it finds.")
    question_set_view.listed(services, actor, one, chosen)


def choose(services: Services, actor: Actor, one: Collection, sets: Sequence[QuestionSet]) -> QuestionSet:
    """The set that is looked at, a new one, and the end of one."""
    names = {found.id: found for found in sets}
    with blocks.row():
        wanted: str = st.selectbox(
            "Question set",
            list(names),
            format_func=lambda key: f"{names[key].name} · {names[key].approved} questions",
            width=320,
            label_visibility="collapsed",
            key=f"set-{one.id}",
        )
        if one.may_change:
            with st.popover("New set", icon=":material/add:", type="tertiary"), st.form("new-set", border=False):
                name = st.text_input("Name", max_chars=120)
                if st.form_submit_button("Make set"):
                    with blocks.errors_shown():
                        services.question_sets.create(actor, one.id, name)
                        st.rerun()
            with st.popover("Delete set", icon=":material/delete:", type="tertiary"):
                st.markdown("Its questions, evaluations and studies go for good.")
                if st.button(":red[Delete question set]"):
                    services.question_sets.delete(actor, wanted)
                    st.session_state.pop(f"set-{one.id}", None)
                    st.rerun()
    return names[wanted]


def _new_run(services: Services, actor: Actor, one: Collection, chosen: QuestionSet) -> None:
    with blocks.row():
        mode = st.selectbox(
            "Search by",
            list(MODES),
            list(MODES).index(one.search.mode),
            MODES.__getitem__,
            width=200,
            label_visibility="collapsed",
        )
        rerank = st.checkbox("Read the best ones once more", one.search.rerank, key="evaluate-rerank")
        with st.popover("Figures", icon=":material/straighten:", type="tertiary"):
            wanted = st.multiselect("Figures", FIGURES, list(ranking_metrics.DEFAULT), accept_new_options=True)
        if not st.button("Run", icon=":material/play_arrow:", type="primary"):
            return
    note = blocks.progress("questions asked")
    settings = replace(one.search, mode=mode, rerank=rerank)
    with blocks.errors_shown():
        done = services.evaluations.run(actor, chosen.id, settings, wanted or ranking_metrics.DEFAULT, note)
        st.session_state[f"run-{one.id}"] = done.id
        st.rerun()


def _runs(services: Services, actor: Actor, one: Collection, runs: Sequence[Evaluation]) -> None:
    by_id = {run.id: run for run in runs}
    zone = services.preferences.report_zone(actor)

    def named(key: str | None) -> str:
        if key is None:
            return "Nothing"
        run = by_id[key]
        again = run.settings["rerank"] and run.settings["mode"] == Mode.HYBRID
        how = MODES[run.settings["mode"]] + (", read once more" if again else "")
        return f"{format.moment(run.created_at, zone).rpartition(':')[0]} · {how}"

    with st.container(border=True):
        with blocks.row(vertical_alignment="bottom"):
            shown = by_id[st.selectbox("Run", list(by_id), format_func=named, width=330, key=f"run-{one.id}")]
            others = [None, *(key for key in by_id if key != shown.id)]
            before = st.selectbox("Compared with", others, format_func=named, width=330, key=f"before-{one.id}")
            if one.may_change:
                with st.popover("", icon=":material/delete:", type="tertiary", help="Delete this run"):
                    if st.button(":red[Delete run]"):
                        services.evaluations.delete(actor, shown.id)
                        st.session_state.pop(f"run-{one.id}", None)
                        st.rerun()
        compared = by_id[before] if before is not None else None
        _figures(shown, compared, named)
        if compared is not None:
            for name in (one for one in shown.figures if one in compared.figures):
                with blocks.errors_shown():
                    st.markdown(sentence(services.evaluations.compare(actor, compared.id, shown.id, name)))
        chunking = shown.settings["chunking"]
        st.caption(
            blocks.plain(
                f"{shown.passages:,} passages, cut {chunking['strategy']}, {chunking['size']} characters, overlap "
                f"{chunking['overlap']} · {shown.settings['embedding_model']} · {format.duration(shown.took_ms)} in all"
            )
        )
    _by_question(services, actor, one, shown)


def _figures(shown: Evaluation, compared: Evaluation | None, named: Any) -> None:
    import pandas as pd

    from lib.statistics.charts import retrieval_charts

    lines = [
        {
            "run": named(run.id),
            "figure": name,
            "value": one.value,
            "low": one.low,
            "high": one.high,
            "label": f"{one.value:.3f} ({one.low:.3f} – {one.high:.3f}), {one.questions} questions",
        }
        for run in ([compared] if compared else []) + [shown]
        for name, one in run.figures.items()
    ]
    with st.grid(4, min_column_width=150, gap="small"):
        for name, one in shown.figures.items():
            st.metric(name, f"{one.value:.3f}", help=f"95 % interval {one.low:.3f} – {one.high:.3f}", border=True)
    chart_card.show(
        retrieval_charts.figures,
        pd.DataFrame(lines),
        key=f"figures-{shown.id}",
        alt=f"Figures of the search with their intervals: {', '.join(shown.figures)}",
    )


def sentence(found: Comparison) -> str:
    """What changed, for how many questions, and whether that could be chance."""
    by = found.difference
    word = "as good" if by.value == 0 else "better" if by.value > 0 else "worse"
    sure = "that is more than chance" if by.p < 0.05 else "that may be chance: more questions would tell"
    return (
        f"**{found.metric}** {found.before.value:.3f} → {found.after.value:.3f}: {word} by {abs(by.value):.3f} "
        f"(95 % interval {by.low:+.3f} to {by.high:+.3f}), better for {by.better} questions and worse for {by.worse}; "
        f"p = {by.p:.3f}, {sure}."
    )


def _by_question(services: Services, actor: Actor, one: Collection, shown: Evaluation) -> None:
    import pandas as pd

    try:
        outcomes = services.evaluations.outcomes(actor, shown.id)
    except LLMManagerError as error:
        blocks.show_error(error)
        return
    first = next(iter(shown.figures))
    worst = sorted(outcomes, key=lambda outcome: outcome.figures[first])
    missed = sum(bool(outcome.missed) for outcome in outcomes)
    with st.expander(f"By question · {missed} of {len(outcomes)} missed something", icon=":material/fact_check:"):
        table = pd.DataFrame([_record(outcome) for outcome in worst])
        note = partial(services.audit.note_export, actor, "evaluation.export", evaluation=shown.id)
        downloads.row(table, f"evaluation-{short_id(shown.id)}", note, key="evaluation")
        st.caption(f"The worst by {first} first.")
        for outcome in worst[:_WORST]:
            with st.container(border=True):
                figures = ", ".join(f"{name} {value:.2f}" for name, value in outcome.figures.items())
                st.markdown(f"**{blocks.plain(outcome.text)}**")
                st.caption(blocks.plain(figures))
                good = [spot for spot in outcome.found if spot.grade > 0]
                for spot in good:
                    st.markdown(f":green[✓] no. {spot.rank} · {blocks.plain(spot.title)}")
                for spot in outcome.missed:
                    st.markdown(f":red[✕] missed · {blocks.plain(spot.title)}")
                if not good and outcome.found:
                    st.caption(blocks.plain(f"Found first: {outcome.found[0].title}"))
        if len(worst) > _WORST:
            st.caption(f"{len(worst) - _WORST} more are in the files.")


def _record(outcome: Outcome) -> dict[str, Any]:
    return {
        "question": outcome.text,
        **outcome.figures,
        "found_at": " ".join(str(spot.rank) for spot in outcome.found if spot.grade > 0),
        "missed": "; ".join(spot.title for spot in outcome.missed),
    }
