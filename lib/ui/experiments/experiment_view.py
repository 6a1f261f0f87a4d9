"""The pieces of the Experiments page: the list, one experiment while it runs, standings, answers side by side."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import streamlit as st

from lib.access.permissions import Actor, Permission
from lib.clock import shorten_id
from lib.errors import LLMManagerError
from lib.experiments import results
from lib.experiments.experiment import (
    CandidateStanding,
    CellState,
    Experiment,
    ExperimentCell,
    ExperimentState,
    RowChoice,
)
from lib.experiments.experiments import Promotion
from lib.experiments.intervals import Figure
from lib.experiments.plan import Candidate
from lib.experiments.scoring import SHARES
from lib.money import format_money, format_sum
from lib.prompts.template import PRODUCTION
from lib.services import Services
from lib.ui import blocks, format, grammar, session, session_keys
from lib.ui.experiments.experiment_form import SCORES

REDRAW_S = 1.0
ROWS_PER_PAGE = 25
_STATES = {
    ExperimentState.READY: ("○ not started", "gray"),
    ExperimentState.RUNNING: ("● running", "blue"),
    ExperimentState.STOPPED: ("■ stopped", "gray"),
    ExperimentState.CAPPED: ("⊘ cap reached", "orange"),
    ExperimentState.DONE: ("✓ done", "green"),
}
_HELP = {
    "Cost": "Of the answers, failed tries with them; — means that one is unknown.",
    "1,000 answers": "What a thousand such answers would cost.",
    "Judging": "What the judge cost; it says nothing about the candidate.",
}


@dataclass(frozen=True)
class PromotionChange:
    """What is put in use (`now`), in whose place (`replaced`, empty for none's), as what; and the way back."""

    now: str
    replaced: str
    of: str
    undo: Callable[[], object]


def describe_state(experiment: Experiment) -> tuple[str, Any]:
    """Glyph and word, and colour."""
    return _STATES[experiment.state]


def draw_overview(services: Services, actor: Actor) -> None:
    """The list, and beside it the one that the address names, drawn again by itself as long as that one is at work.

    All of it is one fragment: a part that were drawn by the page alone would still say "running" where the page's last
    drawing is lost.
    """
    opened = _find_opened(services.experiments.list(actor))

    @st.fragment(run_every=REDRAW_S if opened is not None and opened.at_work else None)
    def growing() -> None:
        experiments = services.experiments.list(actor)
        now = _find_opened(experiments)
        if (opened and opened.id) != (now and now.id):  # another row was opened: whether it grows is the page's matter
            st.rerun()
        is_narrow = blocks.is_compact() or grammar.get_opened() is not None
        detail = None
        if now is not None:
            detail = grammar.Detail(blocks.escape_markdown(now.name), partial(draw_detail, services, actor, now))
        grammar.show_beside(lambda: draw_table(services, actor, experiments, compact=is_narrow), detail, is_wide=True)
        if opened is not None and now is not None and opened.at_work and not now.at_work:
            blocks.redraw_page()

    growing()


def _find_opened(experiments: Sequence[Experiment]) -> Experiment | None:
    """Find the one that the address names."""
    return next((experiment for experiment in experiments if experiment.id == grammar.get_opened()), None)


def draw_table(services: Services, actor: Actor, experiments: Sequence[Experiment], *, compact: bool) -> None:
    """Draw the list; a click in a row opens it."""
    import pandas as pd

    zone = services.preferences.report_zone(actor)
    frame = pd.DataFrame(
        {
            "name": [experiment.name for experiment in experiments],
            "state": [describe_state(experiment)[0] for experiment in experiments],
            "cells": [f"{experiment.ended:,} of {experiment.total:,}" for experiment in experiments],
            "cost": [format_spent(experiment) for experiment in experiments],
            "created": [format.format_moment(experiment.created_at, zone) for experiment in experiments],
        }
    )
    text = st.column_config.TextColumn
    grammar.open_table(
        "experiments",
        frame,
        [experiment.id for experiment in experiments],
        {
            "name": text("Name", width=116 if compact else 320),
            "state": text("State", width=104),
            "cells": text("Asked", width=88 if compact else 110, alignment="right"),
            "cost": text(
                "Cost",
                width=format.compute_column_width(frame["cost"], 90),
                alignment="right",
                help="— means a call's cost is unknown, ≥ that a part of it has no known price",
            ),
            "created": text("Made", width=170),
        },
        height=min(grammar.ROW_HEIGHT * len(experiments) + 38, grammar.TABLE_HEIGHT),
        order=["name", "state", "cells"] if compact else list(frame.columns),
        alt="Experiments, newest first",
    )


def draw_detail(services: Services, actor: Actor, now: Experiment) -> None:
    """State and progress; then how the candidates did, and their answers."""
    _draw_progress(services, actor, now)
    standings = services.experiments.standings(actor, now.id)
    st.markdown("**Candidates**")
    _draw_standings(now, standings)
    _draw_promotion(services, actor, now, standings)
    _draw_answers(services, actor, now)


def _draw_progress(services: Services, actor: Actor, now: Experiment) -> None:
    label, colour = describe_state(now)
    st.badge(label, color=colour)
    failed = now.cells.get(CellState.FAILED, 0)
    ended = f"{now.ended:,} of {now.total:,} asked" + (f", {failed:,} failed" if failed else "")
    st.progress(now.ended / max(now.total, 1), ended)
    so_far = "so far " if now.cells.get(CellState.ASKED) else ""
    cap = "" if now.cap_nano_usd is None else f" of {format_money(now.cap_nano_usd)}"
    st.caption(blocks.escape_markdown(f"Spent {so_far}{format_spent(now)}{cap}. {now.reason}".strip()))
    _draw_buttons(services, actor, now, failed)


def _draw_buttons(services: Services, actor: Actor, now: Experiment, failed: int) -> None:
    with blocks.start_row():
        if now.at_work:
            if st.button("Stop", icon=":material/stop_circle:"):
                _do(lambda: services.experiments.stop(actor, now.id))
            return
        word = "Start experiment" if now.state is ExperimentState.READY else "Go on"
        if now.ended < now.total and st.button(word, icon=":material/play_arrow:", type="primary"):
            _do(lambda: services.experiments.start(actor, now.id))
        if failed and st.button("Ask failed ones again", icon=":material/replay:"):
            _do(lambda: services.experiments.start(actor, now.id, failed_again=True))
        help_text = "A new experiment of the same table, candidates and scores"
        if st.button("Copy", icon=":material/content_copy:", type="tertiary", help=help_text):
            _do(lambda: grammar.open_row(services.experiments.copy(actor, now.id)), "It is ready: start it.")
        for form, mime in (("csv", "text/csv"), ("json", "application/json")):
            st.download_button(
                form.upper(),
                data=lambda form=form: services.experiments.export(actor, now.id, form),  # type: ignore[misc]
                file_name=f"experiment-{shorten_id(now.id)}.{form}",
                mime=mime,
                icon=":material/download:",
                type="tertiary",
            )
        if st.button(":red[Delete]", icon=":material/delete:", type="tertiary"):
            st.dialog(f"Delete {now.name}?")(_delete_dialog)(services, actor, now)


def _draw_standings(experiment: Experiment, standings: Sequence[CandidateStanding]) -> None:
    import pandas as pd

    kinds = [str(scorer["kind"]) for scorer in experiment.scorers]
    records = []
    for standing in standings:
        record: dict[str, Any] = {
            "Candidate": name_candidate(experiment, standing.candidate) + (" ★" if standing.is_leader else "")
        }
        record |= {SCORES[kind]: format_figure(kind, standing.scores[kind]) for kind in kinds}
        if kinds:
            record["Behind"] = "—" if standing.behind is None else format_figure(kinds[0], standing.behind, is_gap=True)
        record |= {"Answers": standing.answers, "Failed": standing.failed}
        record |= {
            "Cost": format_sum(standing.answer_cost_nano_usd, standing.answer_cost_is_partial),
            "1,000 answers": format_sum(standing.answer_cost_of_thousand, standing.answer_cost_is_partial),
        }
        if "judge" in kinds:
            record["Judging"] = format_sum(standing.judge_cost_nano_usd, standing.judge_cost_is_partial)
        records.append(record | {"Median time": format.format_duration(standing.median_ms)})
    right = st.column_config.TextColumn
    figures = ("Cost", "1,000 answers", "Judging", "Median time")
    st.dataframe(
        pd.DataFrame(records),
        hide_index=True,
        row_height=30,
        column_config={name: right(alignment="right", help=_HELP.get(name)) for name in figures},
    )
    if kinds:
        st.caption(
            "In brackets 95 % intervals: Wilson's for shares, bootstrap for means and for *Behind*, the paired "
            "difference to the leader (★) by the first score. Where it holds 0, the lead is not sure yet."
        )


def name_candidate(experiment: Experiment, candidate: int) -> str:
    """A candidate with its number, which makes it unique."""
    return f"{candidate + 1} · {experiment.candidates[candidate].name}"


def format_figure(kind: str, figure: Figure, *, is_gap: bool = False) -> str:
    """`80.0 % (49.0 to 94.3)`, `0.62 (0.55 to 0.70)`, `−12.0 pp (−25.1 to 1.0)`; `—` where there is none."""
    if figure.value is None:
        return "—"
    scale, digits = (100, 1) if kind in SHARES else (1, 2)
    unit = (" pp" if is_gap else " %") if kind in SHARES else ""

    def format_number(value: float) -> str:
        return f"{value * scale:.{digits}f}".replace("-", "−")

    if figure.low is None or figure.high is None:
        return format_number(figure.value) + unit
    return f"{format_number(figure.value)}{unit} ({format_number(figure.low)} to {format_number(figure.high)})"


def _draw_promotion(
    services: Services, actor: Actor, experiment: Experiment, standings: Sequence[CandidateStanding]
) -> None:
    if experiment.at_work or not any(standing.answers for standing in standings):
        return
    _draw_undo(services, actor, experiment)
    leader = next((standing.candidate for standing in standings if standing.is_leader), 0)
    locked = not actor.can(Permission.EDIT_CONFIGS)
    with blocks.start_row(gap="xsmall"):
        numbers = list(range(len(experiment.candidates)))
        candidate_number = st.selectbox(
            "Candidate",
            numbers,
            leader,
            format_func=lambda n: name_candidate(experiment, n),
            label_visibility="collapsed",
            width=300,
            key=f"promote-{experiment.id}",
        )
        candidate = experiment.candidates[candidate_number]
        may_label = candidate.prompt is not None and not locked
        if st.button("Make production", icon=":material/verified:", disabled=not may_label):
            title = f"Make version {candidate.version} of {candidate.prompt} production?"
            st.dialog(title)(draw_promotion_dialog)(services, actor, experiment, candidate_number, "template")
        if st.button("Make the app's default", icon=":material/star:", disabled=locked):
            title = f"Make {candidate.configuration} its app's default?"
            st.dialog(title)(draw_promotion_dialog)(services, actor, experiment, candidate_number, "configuration")


def draw_promotion_dialog(
    services: Services, actor: Actor, experiment: Experiment, number: int, target: Promotion
) -> None:
    """Ask before a candidate is put in use, naming what begins and how to go back."""
    candidate = experiment.candidates[number]
    change = find_change(services, actor, candidate, target)
    if target == "template":
        after = "Every program that asks for production gets it at once."
    else:
        after = "Every call of its app that names no configuration uses it at once."
    instead = f", instead of **{blocks.escape_markdown(change.replaced)}**" if change.replaced else ""
    of = blocks.escape_markdown(candidate.name)
    st.markdown(f"**{blocks.escape_markdown(change.now)}**, of the candidate {of}{instead}. {after}")
    st.caption("Undo stands on this page afterwards.")
    with blocks.start_row():
        if st.button("Leave it as it is"):
            st.rerun()
        if st.button("Put it in use", type="primary"):

            def promote() -> None:
                services.experiments.promote(actor, experiment.id, number, target)
                st.session_state[session_keys.PROMOTION] = (experiment.id, change)

            _do(promote)


def find_change(services: Services, actor: Actor, candidate: Candidate, target: Promotion) -> PromotionChange:
    """Find what a promotion replaces, and so what Undo puts back."""
    if target == "template" and candidate.prompt is not None:
        slug = candidate.prompt
        label = services.prompts.get(actor, slug).labels.get(PRODUCTION)
        return PromotionChange(
            f"Version {candidate.version} of {slug}",
            "" if label is None else f"version {label}",
            "production",
            lambda: services.prompts.move_label(actor, slug, PRODUCTION, label),
        )
    configurations = services.configurations.list(actor)
    new = next((c for c in configurations if c.slug == candidate.configuration), None)
    old = next((c for c in configurations if new is not None and c.app == new.app and c.is_default), None)

    def undo() -> None:
        if old is not None:
            services.configurations.set_default(actor, old.id)
        elif new is not None:
            services.configurations.clear_default(actor, new.id)

    app = "its app" if new is None else f"the app {new.app}"
    return PromotionChange(candidate.configuration, "" if old is None else old.slug, f"the default of {app}", undo)


def _draw_undo(services: Services, actor: Actor, experiment: Experiment) -> None:
    """Draw what this page has just put in use, with the way back."""
    promotion: tuple[str, PromotionChange] | None = st.session_state.get(session_keys.PROMOTION)
    if promotion is None or promotion[0] != experiment.id:
        return
    change = promotion[1]
    with st.container(border=True), blocks.start_row():
        instead = f" It was {change.replaced}." if change.replaced else ""
        words = f"{change.now} is {change.of} now.{instead}"
        st.markdown(f":green[:material/check:] {blocks.escape_markdown(words)}", width="stretch")
        if st.button("Undo", icon=":material/undo:"):

            def undo() -> None:
                del st.session_state[session_keys.PROMOTION]
                change.undo()

            _do(undo, "It is as it was before.")


def _draw_answers(services: Services, actor: Actor, experiment: Experiment) -> None:
    import pandas as pd

    st.markdown("**Answers**")
    choice = _draw_choice(experiment)
    rows = services.experiments.choose_rows(actor, experiment.id, choice)
    if not rows:
        st.caption("No such row.")
        return
    pages = -(-len(rows) // ROWS_PER_PAGE)
    page = min(int(st.session_state.get(f"page-{experiment.id}-{choice}", 1)), pages)
    numbers = rows[(page - 1) * ROWS_PER_PAGE : page * ROWS_PER_PAGE]
    lines = services.experiments.lines(actor, experiment.id, numbers=numbers)
    records = [
        {"Row": line.row + 1}
        | {f"{name} ": line.inputs[name] for name in experiment.columns}
        | {name_candidate(experiment, cell.candidate): _mark_answer(experiment, cell) for cell in line.cells}
        for line in lines
    ]
    position = grammar.choose_row(
        pd.DataFrame(records),
        default=0 if lines else None,
        key=f"answers-{experiment.id}-{choice}-{page}",
        column_config={"Row": st.column_config.NumberColumn(width=60)},
    )
    if pages > 1:
        st.pagination(pages, key=f"page-{experiment.id}-{choice}")
    if position is not None and position < len(lines):
        _draw_side_by_side(experiment, lines[position])


def _draw_choice(experiment: Experiment) -> RowChoice:
    """Draw which rows are shown: all, those with a wrong answer, those whose answers differ."""
    labels = {RowChoice.ALL: "All rows"}
    if any(scorer["kind"] in SHARES for scorer in experiment.scorers):
        labels[RowChoice.WRONG] = "With a wrong answer"
    if len(experiment.candidates) > 1:
        labels[RowChoice.DIFFERS] = "Answers differ"
    if len(labels) == 1:
        return RowChoice.ALL
    choice = st.segmented_control(
        "Rows",
        list(labels),
        default=RowChoice.ALL,
        required=True,
        format_func=labels.__getitem__,
        label_visibility="collapsed",
        key=f"rows-{experiment.id}",
    )
    return RowChoice(choice or RowChoice.ALL)


def _mark_answer(experiment: Experiment, cell: ExperimentCell) -> str:
    """The beginning of an answer, with ✓ or ✕ before it where a score says right or wrong."""
    text = _shorten_answer(cell.answer, cell.error, cell.state)
    right = results.is_right(experiment, cell)
    return text if right is None or cell.error else f"{'✓' if right else '✕'} {text}"


def _draw_side_by_side(experiment: Experiment, line: Any) -> None:
    inputs = " · ".join(
        f"**{blocks.escape_markdown(name)}** {blocks.escape_markdown(line.inputs[name][:300])}"
        for name in experiment.columns
    )
    st.markdown(f"Row {line.row + 1}: {inputs}")
    for start in range(0, len(line.cells), 3):
        group = line.cells[start : start + 3]
        columns = [st.container()] * len(group) if blocks.is_compact() else st.columns(len(group), gap="small")
        for column, cell in zip(columns, group, strict=True):
            with column.container(border=True):
                st.caption(blocks.escape_markdown(name_candidate(experiment, cell.candidate)))
                if cell.error:
                    blocks.show_failure(cell.error)
                elif cell.answer is not None:
                    st.markdown(blocks.sanitise_markdown(cell.answer))
                else:
                    st.caption("No answer yet." if cell.state is not CellState.DONE else "The answer was not kept.")
                for kind, value in cell.scores.items():
                    score_text = _describe_score(kind, value)
                    note = f": {cell.notes[kind]}" if kind in cell.notes else ""
                    st.caption(blocks.escape_markdown(f"{SCORES[kind]} {score_text}{note}"))
                cost = format_sum(cell.answer_cost_nano_usd, cell.answer_cost_is_partial)
                time = format.format_duration(cell.execution_time_ms)
                if cell.log_id is not None:
                    st.page_link(
                        session.page("activity"),
                        label=blocks.escape_markdown(f"{cost}, {time}"),
                        icon=":material/receipt_long:",
                        query_params={"id": cell.log_id},
                    )


def _describe_score(kind: str, value: float | None) -> str:
    if value is None:
        return "—"
    if kind in SHARES:
        return "✓ yes" if value >= 1 else "✕ no"
    return f"{value:.2f}"


def format_spent(experiment: Experiment) -> str:
    """Format what an experiment's calls cost so far: `—` unknown, `≥` where a part of it has no known price."""
    return format_sum(experiment.spent_nano_usd, experiment.partly_priced_cells)


def _shorten_answer(answer: str | None, error: str | None, state: CellState) -> str:
    if error:
        return f"✕ {error.partition('.')[0]}"
    if answer is None:
        return "…" if state is not CellState.DONE else "— not kept"
    return answer[:200]


def _delete_dialog(services: Services, actor: Actor, experiment: Experiment) -> None:
    """Ask before an experiment is deleted, saying what stays of it."""
    st.markdown("Its table and scores go. Its calls and their cost stay in the ledger.")
    with blocks.start_row():
        if st.button("Keep experiment"):
            st.rerun()
        if st.button(":red[Delete experiment]"):
            with blocks.show_errors():
                services.experiments.delete(actor, experiment.id)
                st.query_params.pop("id", None)
                st.rerun()


def _do(action: Any, toast: str = "") -> None:
    """Do something and redraw; an error is kept and drawn at the top of the redrawn page."""
    try:
        action()
    except LLMManagerError as error:
        st.session_state[session_keys.EXPERIMENT_ERROR] = error
    else:
        if toast:
            st.toast(toast)
    st.rerun()
