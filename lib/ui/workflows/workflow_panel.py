"""One workflow: started and its runs, its steps as a table, its definition as YAML, versions, tests, settings."""

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from lib.access.permissions import Actor, Role
from lib.errors import LLMManagerError
from lib.fast_json import encode_text
from lib.services import Services
from lib.ui import blocks, format, grammar, session_keys
from lib.ui.workflows.run_view import draw_run_table
from lib.ui.workflows.start_form import draw_start_form
from lib.ui.workflows.table_tab import draw_tables
from lib.ui.workflows.trigger_tab import draw_triggers
from lib.workflows.bench import BenchResult
from lib.workflows.definition import Definition, build_document, write_yaml
from lib.workflows.validation import Problem
from lib.workflows.workflow import PRODUCTION, Workflow, WorkflowVersion, may_change

TABS = ["Run", "Table", "Drawing", "Steps", "YAML", "Versions", "Tests", "Triggers", "Settings"]
_PLAIN = {"id", "label", "x", "y", "kind", "set", "retry", "timeout_s", "fallback"}


def draw_panel(services: Services, actor: Actor, workflow: Workflow) -> None:
    """The tabs of a workflow; the open one stands in the address."""
    may_edit = may_change(actor, workflow)
    _draw_head(workflow)
    opened, container = blocks.show_tabs(TABS)
    with container:
        match opened:
            case "Run":
                _draw_run_tab(services, actor, workflow)
            case "Table":
                draw_tables(services, actor, workflow)
            case "Drawing":
                from lib.ui.workflows.builder import draw_builder

                draw_builder(services, actor, workflow, may_edit=may_edit)
            case "Steps":
                draw_step_list(services.workflows.definitions.version(actor, workflow.slug, "newest").definition)
            case "YAML":
                _draw_yaml(services, actor, workflow, may_edit=may_edit)
            case "Versions":
                _draw_versions(services, actor, workflow, may_edit=may_edit)
            case "Tests":
                _draw_tests(services, actor, workflow)
            case "Triggers":
                draw_triggers(services, actor, workflow, may_edit=may_edit)
            case _:
                _draw_settings(services, actor, workflow, may_edit=may_edit)


def _draw_head(workflow: Workflow) -> None:
    with blocks.start_row(gap="xsmall"):
        st.caption(blocks.escape_markdown(workflow.description), width="stretch")
        if not workflow.is_active:
            st.badge("○ off", color="gray")
        st.badge(f"version {workflow.current}", color="gray")


def _draw_run_tab(services: Services, actor: Actor, workflow: Workflow) -> None:
    version = services.workflows.definitions.version(actor, workflow.slug)
    draw_start_form(services, actor, workflow, version.definition.input_fields)
    st.subheader("Last runs", anchor=False)
    runs = services.workflows.runs.list(actor, workflow.slug, size=25)
    draw_run_table(services, actor, runs, f"runs-{workflow.slug}")
    if runs:
        from lib.ui.canvas.component import load_ahead

        load_ahead()


def draw_step_list(definition: Definition, problems: Sequence[Problem] = ()) -> None:
    """All nodes of a definition as a table: what each does, reads and where it leads."""
    messages = {problem.node: problem.message for problem in problems}
    records = []
    for part, graph in definition.graphs():
        for node in graph.nodes:
            document = build_document(Definition(nodes=(node,)))["nodes"][0]
            leads = [
                f"{edge.port}: {edge.target}" if edge.port else edge.target
                for edge in graph.edges
                if edge.source == node.id
            ]
            records.append(
                {
                    "Part": part or "main",
                    "Step": node.id,
                    "Label": node.label or None,
                    "Kind": document["kind"],
                    "Does": _summarise(document),
                    "Leads to": ", ".join(leads) or None,
                    "Problem": messages.get(node.id),
                }
            )
    hidden = {"Part"} if all(record["Part"] == "main" for record in records) else set()
    hidden |= set() if problems else {"Problem"}
    text = st.column_config.TextColumn
    st.dataframe(
        records,
        hide_index=True,
        row_height=grammar.ROW_HEIGHT,
        height="content",
        placeholder=grammar.UNKNOWN,
        column_order=[name for name in records[0] if name not in hidden] if records else None,
        column_config={
            "Part": text(width=84),
            "Step": text(width=130),
            "Label": text(width=140),
            "Kind": text(width=84),
            "Does": text(width=346 if "Part" in hidden else 262),
            "Leads to": text(width=198),
        },
        alt="The steps of the definition",
    )


def _summarise(document: Mapping[str, Any]) -> str:
    """Describe what a step does in a line: its fields by name, without signs of JSON around texts."""
    fields = [(name, part) for name, part in document.items() if name not in _PLAIN]
    parts = [f"{name}: {part if isinstance(part, str) else encode_text(part)}" for name, part in fields]
    return " · ".join(" ".join(part.split()) for part in parts)[:400]


def _draw_yaml(services: Services, actor: Actor, workflow: Workflow, *, may_edit: bool) -> None:
    newest = services.workflows.definitions.version(actor, workflow.slug, "newest")
    text = st.text_area(
        "Definition",
        write_yaml(newest.definition),
        height=460,
        key=f"yaml-{workflow.slug}-{newest.version}",
        label_visibility="collapsed",
        disabled=not may_edit,
    )
    reason = st.text_input("What has changed", key=f"yaml-reason-{workflow.slug}", disabled=not may_edit)
    with blocks.start_row():
        check = st.button("Check", icon=":material/rule:")
        save = st.button("Save version", icon=":material/save:", type="primary", disabled=not may_edit)
        st.download_button(
            "YAML", write_yaml(newest.definition), f"{workflow.slug}.yaml", icon=":material/download:", type="tertiary"
        )
    with blocks.show_errors():
        if check:
            show_problems(services.workflows.definitions.check(actor, text)[1])
        if save:
            version = services.workflows.definitions.save(actor, workflow.slug, text, newest.version, reason)
            st.toast(f"Version {version.version} is saved.", icon=":material/check:")
            st.rerun()


def show_problems(problems: Sequence[Problem]) -> None:
    """Every problem with its node, or that there is none."""
    if not problems:
        st.success("It can run.", icon=":material/check:")
    for problem in problems[:50]:
        (st.error if problem.is_error else st.info)(blocks.escape_markdown(str(problem)))


def _draw_versions(services: Services, actor: Actor, workflow: Workflow, *, may_edit: bool) -> None:
    versions = services.workflows.definitions.versions(actor, workflow.slug)
    zone = services.preferences.report_zone(actor)
    rows = [
        {
            "Version": str(version.version),
            "Labels": _list_labels(workflow, version.version) or None,
            "What has changed": version.reason or None,
            "By": version.user_name or None,
            "When": format.format_moment(version.created_at, zone),
            "Hash": version.hash[:12],
        }
        for version in versions
    ]
    st.dataframe(
        rows,
        hide_index=True,
        row_height=grammar.ROW_HEIGHT,
        placeholder=grammar.UNKNOWN,
        column_config={"Version": st.column_config.TextColumn(alignment="right")},
        alt="Versions, the newest first",
    )
    numbers = [version.version for version in versions]
    st.caption(f"Times in {zone.key}")
    has_several = len(numbers) > 1
    with blocks.start_row(vertical_alignment="bottom"):
        old = st.selectbox("From", numbers, index=1, width=120) if has_several else None
        new = st.selectbox("To", numbers, width=120) if has_several else numbers[0]
        if st.button("Make production", icon=":material/verified:", disabled=not may_edit):
            _do(lambda: services.workflows.definitions.move_label(actor, workflow.slug, PRODUCTION, new))
        if PRODUCTION in workflow.labels and st.button("Newest is production", disabled=not may_edit, type="tertiary"):
            _do(lambda: services.workflows.definitions.move_label(actor, workflow.slug, PRODUCTION, None))
    if old and new:
        lines = services.workflows.definitions.diff(actor, workflow.slug, old, new)
        st.code("\n".join(lines) or "They are equal.", language="diff", wrap_lines=True)


def _list_labels(workflow: Workflow, version: int) -> str:
    return ", ".join(label for label, number in workflow.labels.items() if number == version)


def _draw_tests(services: Services, actor: Actor, workflow: Workflow) -> None:
    version: WorkflowVersion = services.workflows.definitions.version(actor, workflow.slug)
    cases = version.definition.cases
    if not cases:
        st.caption("No test cases. Write some under `cases` on the tab YAML: inputs, pinned outputs and checks.")
        return
    count = "1 case" if len(cases) == 1 else f"{len(cases):,} cases"
    st.caption(f"{count} of version {version.version}. What is not pinned runs and costs.")
    key = f"bench-{workflow.slug}"
    with blocks.show_errors():
        if st.button("Run tests", icon=":material/science:", type="primary"):
            note = blocks.show_progress("cases")
            ended: list[Any] = []

            def tell(result: Any) -> None:
                ended.append(result)
                note(len(ended), len(cases))

            st.session_state[key] = services.workflows.bench.test(actor, workflow.slug, tell=tell)
    result: BenchResult | None = st.session_state.get(key)
    if result is None:
        return
    rows = [
        {
            "Case": case.name,
            "Result": "✓ passed" if case.passed else "✕ failed",
            "Time, s": round(case.seconds, 2),
            "Why": " ".join(case.failures)[:500] or None,
        }
        for case in result.cases
    ]
    widths = {"Case": 400, "Result": 96, "Time, s": 80, "Why": 300}
    columns = {name: st.column_config.Column(width=width) for name, width in widths.items()}
    st.dataframe(
        rows,
        hide_index=True,
        row_height=grammar.ROW_HEIGHT,
        placeholder=grammar.UNKNOWN,
        column_config=columns,
        alt="Test cases",
    )
    missed = f" Not: {', '.join(result.missed[:10])}." if result.missed else ""
    st.caption(blocks.escape_markdown(f"{result.ways_taken} of {result.ways} ways of the drawing were taken.{missed}"))


def _draw_settings(services: Services, actor: Actor, workflow: Workflow, *, may_edit: bool) -> None:
    name = st.text_input("Name", workflow.name, disabled=not may_edit)
    description = st.text_area("Description", workflow.description, height=80, disabled=not may_edit)
    roles = st.multiselect(
        "Roles that may run it",
        [*Role],
        default=[*workflow.runners.roles],
        disabled=not may_edit,
        help="Those who manage workflows and its maker always may",
    )
    is_active = st.toggle("Switched on", workflow.is_active, disabled=not may_edit)
    with blocks.start_row():
        if st.button("Save settings", icon=":material/save:", type="primary", disabled=not may_edit):
            runners = {"roles": [*roles], "teams": [*workflow.runners.teams]}
            changes: dict[str, Any] = {
                "name": name,
                "description": description,
                "is_active": is_active,
                "runners": runners,
            }
            _do(lambda: services.workflows.definitions.describe(actor, workflow.slug, **changes))
        label = ":red[Delete]" if may_edit else "Delete"
        if st.button(label, icon=":material/delete:", type="tertiary", disabled=not may_edit):
            grammar.confirm(
                f"Delete {blocks.escape_markdown(workflow.name)}?",
                "Its versions, schedules and webhooks go. Its runs stay, and calls stay in the ledger.",
                keep="Keep workflow",
                act="Delete workflow",
                action=lambda: services.workflows.definitions.delete(actor, workflow.slug),
                then=st.query_params.clear,
            )


def _do(work: Any) -> None:
    try:
        work()
    except LLMManagerError as error:
        st.session_state[session_keys.WORKFLOW_ERROR] = error
    st.rerun()
