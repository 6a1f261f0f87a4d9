"""A run: its state and cost, the timeline, its steps with what went in and came out; live while it goes."""

from collections.abc import Sequence
from typing import Any

import streamlit as st

from lib.access.permissions import Actor
from lib.clock import shorten_id
from lib.errors import LLMManagerError
from lib.fast_json import encode_text
from lib.limited.expressions import convert_to_text
from lib.money import format_money, format_sum
from lib.services import Services
from lib.ui import blocks, format, grammar, session, session_keys
from lib.ui.workflows.run_chart import MOST_BARS, build_timeline, list_bars, measure_timeline
from lib.ui.workflows.start_form import describe_quote, read_cap
from lib.workflows.run import Run, RunState, Step, StepState

REDRAW_S = 1.0
_MOST_UNSCROLLED = 30  # rows
MOST_ROWS = 100  # in the table at once; a search finds the others
_STATES: dict[RunState, tuple[str, Any]] = {
    RunState.QUEUED: ("○ queued", "gray"),
    RunState.RUNNING: ("● running", "blue"),
    RunState.WAITING: ("◷ waiting", "orange"),
    RunState.PAUSED: ("■ paused", "orange"),
    RunState.DONE: ("✓ done", "green"),
    RunState.FAILED: ("✕ failed", "red"),
    RunState.CANCELLED: ("■ cancelled", "gray"),
}
STEP_STATES = {
    StepState.RUNNING: "● running",
    StepState.WAITING: "◷ waiting",
    StepState.DONE: "✓ done",
    StepState.FAILED: "✕ failed",
    StepState.CANCELLED: "■ cancelled",
    StepState.UNKNOWN: "◌ unknown",
}


def describe_state(state: RunState) -> tuple[str, Any]:
    """Glyph and word, and colour."""
    return _STATES[state]


def draw_run(services: Services, actor: Actor, run_id: str) -> None:
    """A run, drawn again by itself as long as it goes."""
    with blocks.show_errors():
        opened = services.workflows.runs.get(actor, run_id)

        @st.fragment(run_every=REDRAW_S if not opened.state.is_over else None)
        def growing() -> None:
            run = services.workflows.runs.get(actor, run_id)
            _draw_head(services, actor, run)
            steps = services.workflows.runs.outline(actor, run_id)
            _draw_answer(run)
            _draw_steps(services, actor, run, steps)
            if run.state.is_over and not opened.state.is_over:
                blocks.redraw_page()

        growing()


def _draw_head(services: Services, actor: Actor, run: Run) -> None:
    label, colour = describe_state(run.state)
    with st.container(border=True):
        with blocks.start_row(gap="xsmall"):
            st.subheader(
                blocks.escape_markdown(_name_run(run)),
                anchor=False,
                width="stretch",
            )
            st.badge(label, color=colour)
        zone = services.preferences.report_zone(actor)
        took = (
            None
            if run.started_at is None or run.finished_at is None
            else (run.finished_at - run.started_at).total_seconds() * 1000
        )
        cap = "" if run.cost_cap_nano_usd is None else f" of {format_money(run.cost_cap_nano_usd)}"
        figures = [
            ("Cost", blocks.escape_markdown(format_sum(run.cost_nano_usd, run.has_partial_cost) + cap)),
            ("Tokens", format.format_count(run.tokens)),
            ("Steps", format.format_count(run.steps_done)),
            ("Time", format.format_duration(took)),
            ("Version", str(run.version)),
            ("Began", format.format_moment(run.created_at, zone)),
            ("By", blocks.escape_markdown(f"{run.user_name or 'operator'} · {run.trigger}")),
        ]
        if run.orphaned_calls:
            figures.append(("Orphaned calls", format.format_count(run.orphaned_calls)))
        blocks.show_facts(figures, columns=2 if blocks.is_compact() else 4)
        if run.reason:
            at_step = f"{run.failed_step}: " if run.failed_step else ""
            st.caption(blocks.escape_markdown(at_step + run.reason))
        _draw_buttons(services, actor, run)


def _name_run(run: Run) -> str:
    return f"{run.workflow_name or 'Deleted workflow'} · {shorten_id(run.id)}"


def _draw_buttons(services: Services, actor: Actor, run: Run) -> None:
    runs = services.workflows.runs
    with blocks.start_row():
        if run.workflow_name and st.button("Open workflow", icon=":material/account_tree:"):
            st.query_params.from_dict({"id": services.workflows.definitions.get(actor, run.workflow_id).slug})
            st.rerun()
        if not run.state.is_over and run.state is not RunState.PAUSED:
            if st.button("Cancel run", icon=":material/stop_circle:"):
                _do(lambda: runs.cancel(actor, run.id))
            if st.button("Pause", icon=":material/pause_circle:"):
                _do(lambda: runs.pause(actor, run.id))
        if run.state in (RunState.PAUSED, RunState.FAILED, RunState.CANCELLED) and st.button(
            "Go on", icon=":material/play_arrow:", type="primary"
        ):
            _do(lambda: runs.resume(actor, run.id))
        if run.state is RunState.PAUSED and run.cost_cap_nano_usd is not None:
            cap = st.text_input("Raise the cap to", placeholder="0.50", width=140, label_visibility="collapsed")
            if st.button("Raise cap", icon=":material/trending_up:", disabled=not cap):
                _do(lambda: runs.resume(actor, run.id, read_cap(cap)))
        if st.button("Compare", icon=":material/compare_arrows:"):
            from lib.ui.workflows.run_comparison import choose_dialog

            st.dialog("Compare with", width="medium")(choose_dialog)(services, actor, run)
        if run.state.is_over and run.shows_content and st.button("Re-run", icon=":material/replay:"):
            st.dialog("Re-run from a step", width="medium")(_rerun_dialog)(services, actor, run)


def _do(work: Any) -> None:
    try:
        work()
    except LLMManagerError as error:
        st.session_state[session_keys.WORKFLOW_ERROR] = error
    st.rerun()


def _rerun_dialog(services: Services, actor: Actor, run: Run) -> None:
    steps = [step for step in services.workflows.runs.outline(actor, run.id) if "/" not in step.path]
    names = [step.path for step in steps]
    index = names.index(run.failed_step.split("/")[0]) if run.failed_step.split("/")[0] in names else 0
    step_name = st.selectbox("From step", names, index=index if names else None)
    newest = services.workflows.definitions.get(actor, run.workflow_id).current
    version = st.segmented_control("Version", sorted({run.version, newest}), default=run.version) or run.version
    with blocks.show_errors():
        if step_name is not None:
            quote = services.workflows.runs.quote_rerun(actor, run.id, step_name)
            st.caption(
                blocks.escape_markdown(
                    "Steps that do not come after it are filled from this run. " + describe_quote(quote)
                )
            )
        if st.button("Start re-run", type="primary", icon=":material/replay:", disabled=step_name is None):
            again = services.workflows.runs.rerun(actor, run.id, step_name or "", version=version)
            st.query_params["run"] = again.id
            st.rerun()


def _draw_answer(run: Run) -> None:
    if run.state is RunState.WAITING and "approvals" in st.session_state.get(session_keys.PAGES, {}):
        st.page_link(session.page("approvals"), label="Decide in the inbox", icon=":material/inbox:")
    if not run.shows_content:
        st.caption("What went in and came out is for the person who started it.")
        return
    if run.output is None:
        return
    with st.container(border=True):
        st.subheader("Output", anchor=False)
        draw_value(run.output)


def draw_value(value: Any) -> None:
    """A step's value: words as Markdown that loads nothing, anything else as JSON."""
    if isinstance(value, dict) and value.keys() == {"text"}:
        value = value["text"]
    if isinstance(value, str):
        st.markdown(blocks.sanitise_markdown(value))
    elif isinstance(value, dict | list):
        st.code(_format_json(value), language="json", wrap_lines=True)
    else:
        st.markdown(blocks.escape_markdown(convert_to_text(value)))


def _format_json(value: Any) -> str:
    import json

    return json.dumps(value, indent=2, ensure_ascii=False, default=str)[:100_000]


def _draw_steps(services: Services, actor: Actor, run: Run, steps: Sequence[Step]) -> None:
    if not steps:
        st.caption("No step has begun.")
        return
    with st.container(border=True):
        st.subheader("Timeline", anchor=False)
        bars = list_bars(steps)
        drawn_bars = bars[:MOST_BARS]
        with st.container(height=measure_timeline(len(drawn_bars)) or "content", border=False):
            st.altair_chart(build_timeline(drawn_bars, run.finished_at), key=f"timeline-{run.id}")
        if len(bars) < len(steps):
            st.caption("A bar for all that do the same; \\* stands for the number of a list's member.")
        if len(bars) > MOST_BARS:
            st.caption(f"The first {MOST_BARS} of {len(bars):,} bars; the table has all steps.")
    with st.container(border=True):
        from lib.ui.workflows.builder import draw_run_canvas

        st.subheader("Drawing", anchor=False)
        draw_run_canvas(services, actor, run, steps)
    with st.container(border=True):
        st.subheader("Steps", anchor=False)
        path = _draw_step_table(run, steps)
        if path is not None:
            _draw_step(services, actor, run, path)


def _draw_step_table(run: Run, steps: Sequence[Step]) -> str | None:
    matching_steps = _filter_steps(steps) if len(steps) > MOST_ROWS else steps
    shown_steps = matching_steps[:MOST_ROWS]
    text = st.column_config.TextColumn
    number = st.column_config.NumberColumn
    if shown_steps:
        grammar.open_table(
            f"steps-{run.id}",
            [_describe_step(step) for step in shown_steps],
            [step.path for step in shown_steps],
            {
                "step": text("Step", width=180 if blocks.is_compact() else 200),
                "kind": text("Kind", width=88),
                "state": text("State", width=100),
                "way": text("Left by", width=84, help="The way that was taken"),
                "tries": number("Tries", width=62),
                "ms": number("Time, ms", width=86, format="localized"),
                "tokens": number("Tokens", width=80, format="localized"),
                "cost": text("Cost", width=132, alignment="right", help="— means that a call's cost is unknown"),
            },
            order=["step", "state"] if blocks.is_compact() else None,
            height="content" if len(shown_steps) < _MOST_UNSCROLLED else grammar.TABLE_HEIGHT,
            parameter="step",
            alt="Steps of the run",
        )
    if len(steps) > MOST_ROWS:
        first = f"the first {MOST_ROWS} of " if len(matching_steps) > MOST_ROWS else ""
        st.caption(f"You see {first}{len(matching_steps):,} of {len(steps):,} steps; the search finds others.")
    paths = {step.path for step in steps}
    step_path = grammar.get_opened("step") or run.failed_step
    if step_path in paths:
        return step_path
    st.caption("Click a step to see what went in and came out.")
    return None


def _filter_steps(steps: Sequence[Step]) -> Sequence[Step]:
    """Keep the steps of a long run that the address's search and state choose."""
    states = ["all", *(state for state in STEP_STATES if any(step.state is state for step in steps))]
    chosen = grammar.filter_row({"state": ("State", states)}, search="Step or kind", prefix="step-")
    words = chosen.get(grammar.SEARCH, "").lower()
    return [
        step
        for step in steps
        if chosen.get("state", step.state) == step.state and (words in step.path.lower() or words in step.kind)
    ]


def _describe_step(step: Step) -> dict[str, Any]:
    return {
        "step": step.path,
        "kind": step.kind,
        "state": STEP_STATES[step.state],
        "way": step.port or None,
        "tries": step.attempts,
        "ms": step.duration_ms,
        "tokens": step.prompt_tokens + step.completion_tokens,
        "cost": format_sum(step.cost_nano_usd, step.has_partial_cost) + (" (reused)" if step.reused_from else ""),
    }


def _draw_step(services: Services, actor: Actor, run: Run, path: str) -> None:
    step = services.workflows.runs.step(actor, run.id, path)
    st.markdown(f"**{blocks.escape_markdown(path)}**")
    if step.error:
        blocks.show_failure(step.error)
    columns = [st.container(), st.container()] if blocks.is_compact() else st.columns(2, gap="small")
    for column, name, value in zip(columns, ("Input", "Output"), (step.input, step.output), strict=True):
        with column.container(border=True):
            st.caption(name)
            if not run.shows_content:
                st.caption("For the person who started it.")
            elif value is None:
                st.caption("—")
            elif name == "Input" and isinstance(value, dict) and "prompt" in value:
                _draw_prompt(value)
            else:
                draw_value(value)
    _draw_calls(step)


def _draw_prompt(value: dict[str, Any]) -> None:
    for name in ("system", "prompt"):
        if value.get(name):
            st.caption(name.capitalize())
            st.code(str(value[name]), language=None, wrap_lines=True)
    other_inputs = {
        name: part for name, part in value.items() if name not in ("system", "prompt") and part not in (None, {}, "")
    }
    if other_inputs:
        st.caption(blocks.escape_markdown(encode_text(other_inputs)))


def _draw_calls(step: Step) -> None:
    if not step.calls:
        return
    with blocks.start_row():
        st.caption("Calls", width="content")
        for number, call_id in enumerate(step.calls[:20], 1):
            st.page_link(
                session.page("activity"),
                label=f"{number} · {shorten_id(call_id)}",
                icon=":material/receipt_long:",
                query_params={"id": call_id},
            )


def draw_run_table(services: Services, actor: Actor, runs: Sequence[Run], key: str) -> str | None:
    """Draw a list of runs; a click opens one. Returns the id of the open one."""
    if not runs:
        st.caption("No runs yet.")
        return None
    zone = services.preferences.report_zone(actor)
    rows = [
        {
            "began": format.format_moment(run.created_at, zone),
            "state": describe_state(run.state)[0],
            "steps": run.steps_done,
            "tokens": run.tokens,
            "cost": format_sum(run.cost_nano_usd, run.has_partial_cost),
            "version": str(run.version),
            "by": f"{run.user_name or 'operator'} · {run.trigger}",
        }
        for run in runs
    ]
    text = st.column_config.TextColumn
    number = st.column_config.NumberColumn
    return grammar.open_table(
        key,
        rows,
        [run.id for run in runs],
        {
            "began": text("Began", width=180),
            "state": text("State", width=112),
            "steps": number("Steps", width=72, format="localized"),
            "tokens": number("Tokens", width=84, format="localized"),
            "cost": text("Cost", width=104, alignment="right", help="— means that a call's cost is unknown"),
            "version": text("Version", width=80, alignment="right"),
            "by": text("By", width=214),
        },
        order=["began", "state"] if blocks.is_compact() else None,
        parameter="run",
        alt="Runs, the newest first",
    )
