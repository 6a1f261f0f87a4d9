"""Two runs beside each other: their figures, and their steps with what differs."""

from collections.abc import Sequence

import streamlit as st

from lib.access.permissions import Actor
from lib.clock import shorten_id
from lib.money import format_money, format_sum
from lib.services import Services
from lib.ui import blocks, format, grammar
from lib.ui.workflows.run_view import STEP_STATES, describe_state, draw_value
from lib.workflows.comparison import StepComparison, compare_steps
from lib.workflows.run import Run, Step

_MOST_UNSCROLLED = 18  # rows


def choose_dialog(services: Services, actor: Actor, run: Run) -> None:
    """Choose the run that another is compared with."""
    other_runs = [other for other in services.workflows.runs.list(actor, run.workflow_id) if other.id != run.id]
    if not other_runs:
        st.caption("There is no other run of this workflow.")
        return
    zone = services.preferences.report_zone(actor)
    labels = {
        other.id: f"{format.format_moment(other.created_at, zone)} · {describe_state(other.state)[0]} · {other.version}"
        for other in other_runs
    }
    run_id = st.selectbox("With", [*labels], format_func=labels.__getitem__)
    if st.button("Compare", type="primary", icon=":material/compare_arrows:"):
        st.query_params["with"] = run_id
        st.rerun()


def draw_comparison(services: Services, actor: Actor, first_id: str, second_id: str) -> None:
    """The two runs of the address, `?run=<id>&with=<id>`."""
    with blocks.show_errors():
        runs = services.workflows.runs
        first = runs.get(actor, first_id)
        second = runs.get(actor, second_id)
        if st.button("Back to the run", icon=":material/arrow_back:", type="tertiary"):
            st.query_params.pop("with", None)
            st.rerun()
        st.subheader(blocks.escape_markdown(first.workflow_name or "Deleted workflow"), anchor=False)
        for column, title, run in zip(st.columns(2, gap="small"), ("First", "Second"), (first, second), strict=True):
            with column.container(border=True, height="stretch"):
                _draw_head(title, run)
        pairs = compare_steps(runs.steps(actor, first.id), runs.steps(actor, second.id))
        row = _draw_table(pairs, f"compare-{first.id}-{second.id}")
        if row is not None:
            for column, step in zip(st.columns(2, gap="small"), (row.first, row.second), strict=True):
                with column.container(border=True):
                    _draw_step(step)


def _draw_head(title: str, run: Run) -> None:
    label, colour = describe_state(run.state)
    with blocks.start_row(gap="xsmall"):
        st.markdown(f"**{title}** · {shorten_id(run.id)} · version {run.version}", width="stretch")
        st.badge(label, color=colour)
    cost = format_sum(run.cost_nano_usd, run.has_partial_cost)
    blocks.show_facts(
        [
            ("Cost", blocks.escape_markdown(cost)),
            ("Tokens", format.format_count(run.tokens)),
            ("Steps", format.format_count(run.steps_done)),
        ],
        3,
    )
    if run.reason:
        st.caption(blocks.escape_markdown(run.reason))


def _draw_table(listed: Sequence[StepComparison], key: str) -> StepComparison | None:
    rows = [
        {
            "step": pair.path,
            "first": _name_state(pair.first),
            "second": _name_state(pair.second),
            "differences": ", ".join(pair.differences) or None,
            "first_ms": pair.first.duration_ms if pair.first else None,
            "second_ms": pair.second.duration_ms if pair.second else None,
            "added": format_money(pair.added_cost_nano_usd),
        }
        for pair in listed
    ]
    text = st.column_config.TextColumn
    number = st.column_config.NumberColumn
    position = grammar.choose_row(
        rows,
        key=key,
        height="content" if len(rows) < _MOST_UNSCROLLED else grammar.TABLE_HEIGHT,
        placeholder=grammar.UNKNOWN,
        column_order=["step", "differences"] if blocks.is_compact() else list(rows[0]) if rows else None,
        column_config={
            "step": text("Step", width=150 if blocks.is_compact() else 180),
            "first": text("First", width=100),
            "second": text("Second", width=100),
            "differences": text("Differs in", width=180),
            "first_ms": number("First, ms", width=84, format="localized"),
            "second_ms": number("Second, ms", width=96, format="localized"),
            "added": text("Cost added", width=100, alignment="right", help="By the second run; — where one is unknown"),
        },
        alt="The steps of both runs",
    )
    if position is None or position >= len(listed):
        st.caption("Click a step to see what went in and came out of it in both runs.")
        return None
    return listed[position]


def _name_state(step: Step | None) -> str:
    return "—" if step is None else STEP_STATES[step.state]


def _draw_step(step: Step | None) -> None:
    if step is None:
        st.caption("It was not reached.")
        return
    if step.error:
        blocks.show_failure(step.error)
    for name, value in (("Input", step.input), ("Output", step.output)):
        st.caption(name)
        if value is None:
            st.caption("—")
        else:
            draw_value(value)
