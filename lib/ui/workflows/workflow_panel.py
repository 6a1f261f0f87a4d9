"""One workflow: started and its runs, its steps as a table, its definition as YAML, versions, tests, settings."""

from collections.abc import Sequence
from typing import Any

import streamlit as st

from lib.access.permissions import Actor, Role
from lib.errors import LLMManagerError
from lib.fast_json import encode_text
from lib.services import Services
from lib.ui import blocks, format, session_keys
from lib.ui.workflows.run_view import draw_run_table
from lib.ui.workflows.start_form import draw_start_form
from lib.workflows.bench import BenchResult
from lib.workflows.definition import Definition, to_document, to_yaml
from lib.workflows.validation import Problem
from lib.workflows.workflow import PRODUCTION, Workflow, WorkflowVersion, may_change

TABS = ["Run", "Drawing", "Steps", "YAML", "Versions", "Tests", "Settings"]
_PLAIN = {"id", "label", "x", "y", "kind", "set", "retry", "timeout_s", "fallback"}


def draw_panel(services: Services, actor: Actor, workflow: Workflow) -> None:
    """The tabs of a workflow; the open one stands in the address."""
    may_edit = may_change(actor, workflow)
    with blocks.row(gap="xsmall"):
        st.subheader(blocks.plain(workflow.name), anchor=False, width="stretch")
        if not workflow.is_active:
            st.badge("off", color="gray")
        st.badge(f"version {workflow.current}", color="gray")
    if workflow.description:
        st.caption(blocks.plain(workflow.description))
    opened, container = blocks.tabs(TABS)
    with container:
        match opened:
            case "Run":
                _draw_run_tab(services, actor, workflow)
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
            case _:
                _draw_settings(services, actor, workflow, may_edit=may_edit)


def _draw_run_tab(services: Services, actor: Actor, workflow: Workflow) -> None:
    version = services.workflows.definitions.version(actor, workflow.slug)
    draw_start_form(services, actor, workflow, version.definition.input_fields)
    st.subheader("Last runs", anchor=False)
    runs = services.workflows.runs.list(actor, workflow.slug, size=25)
    run_id = draw_run_table(services, actor, runs, f"runs-{workflow.slug}-{len(runs)}")
    if run_id is not None:
        st.query_params["run"] = run_id
        st.rerun()


def draw_step_list(definition: Definition, problems: Sequence[Problem] = ()) -> None:
    """All nodes of a definition as a table: what each does, reads and where it leads."""
    import pandas as pd

    messages = {problem.node: problem.message for problem in problems}
    records = []
    for part, graph in definition.graphs():
        for node in graph.nodes:
            document = to_document(Definition(nodes=(node,)))["nodes"][0]
            leads = [
                f"{edge.port}: {edge.target}" if edge.port else edge.target
                for edge in graph.edges
                if edge.source == node.id
            ]
            records.append(
                {
                    "Part": part or "main",
                    "Step": node.id,
                    "Label": node.label,
                    "Kind": document["kind"],
                    "Does": encode_text({k: v for k, v in document.items() if k not in _PLAIN})[:400],
                    "Leads to": ", ".join(leads),
                    "Problem": messages.get(node.id, ""),
                }
            )
    frame = pd.DataFrame(records)
    if not problems:
        frame = frame.drop(columns="Problem", errors="ignore")
    st.dataframe(frame, hide_index=True, row_height=30)


def _draw_yaml(services: Services, actor: Actor, workflow: Workflow, *, may_edit: bool) -> None:
    newest = services.workflows.definitions.version(actor, workflow.slug, "newest")
    text = st.text_area(
        "Definition",
        to_yaml(newest.definition),
        height=460,
        key=f"yaml-{workflow.slug}-{newest.version}",
        label_visibility="collapsed",
        disabled=not may_edit,
    )
    reason = st.text_input("What has changed", key=f"yaml-reason-{workflow.slug}", disabled=not may_edit)
    with blocks.row():
        check = st.button("Check", icon=":material/rule:")
        save = st.button("Save version", icon=":material/save:", type="primary", disabled=not may_edit)
        st.download_button(
            "YAML", to_yaml(newest.definition), f"{workflow.slug}.yaml", icon=":material/download:", type="tertiary"
        )
    with blocks.errors_shown():
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
        (st.error if problem.is_error else st.info)(blocks.plain(str(problem)))


def _draw_versions(services: Services, actor: Actor, workflow: Workflow, *, may_edit: bool) -> None:
    import pandas as pd

    versions = services.workflows.definitions.versions(actor, workflow.slug)
    zone = services.preferences.report_zone(actor)
    frame = pd.DataFrame(
        {
            "Version": [version.version for version in versions],
            "Labels": [
                ", ".join(n for n, v in workflow.labels.items() if v == version.version) for version in versions
            ],
            "What has changed": [version.reason for version in versions],
            "By": [version.user_name for version in versions],
            "When": [format.moment(version.created_at, zone) for version in versions],
            "Hash": [version.hash[:12] for version in versions],
        }
    )
    st.dataframe(frame, hide_index=True, row_height=30)
    numbers = [version.version for version in versions]
    with blocks.row():
        old = st.selectbox("From", numbers, index=min(1, len(numbers) - 1), width=120)
        new = st.selectbox("To", numbers, width=120)
        if st.button("Make production", icon=":material/verified:", disabled=not may_edit):
            _do(lambda: services.workflows.definitions.move_label(actor, workflow.slug, PRODUCTION, new))
        if PRODUCTION in workflow.labels and st.button("Newest is production", disabled=not may_edit, type="tertiary"):
            _do(lambda: services.workflows.definitions.move_label(actor, workflow.slug, PRODUCTION, None))
    lines = services.workflows.definitions.diff(actor, workflow.slug, old, new) if old and new else []
    st.code("\n".join(lines) or "They are equal.", language="diff", wrap_lines=True)


def _list_labels(workflow: Workflow, version: int) -> str:
    return ", ".join(label for label, number in workflow.labels.items() if number == version)


def _draw_tests(services: Services, actor: Actor, workflow: Workflow) -> None:
    version: WorkflowVersion = services.workflows.definitions.version(actor, workflow.slug)
    cases = version.definition.cases
    if not cases:
        st.caption("No test cases. Write some under `cases` on the tab YAML: inputs, pinned outputs and checks.")
        return
    st.caption(f"{len(cases)} cases of version {version.version}. What is not pinned runs and costs.")
    key = f"bench-{workflow.slug}"
    with blocks.errors_shown():
        if st.button("Run tests", icon=":material/science:", type="primary"):
            note = blocks.progress("cases")
            ended: list[Any] = []

            def tell(result: Any) -> None:
                ended.append(result)
                note(len(ended), len(cases))

            st.session_state[key] = services.workflows.bench.test(actor, workflow.slug, tell=tell)
    result: BenchResult | None = st.session_state.get(key)
    if result is None:
        return
    import pandas as pd

    rows = [
        {
            "Case": case.name,
            "Result": "✓ passed" if case.passed else "✕ failed",
            "Time, s": round(case.seconds, 2),
            "Why": " ".join(case.failures)[:500],
        }
        for case in result.cases
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True, row_height=30)
    missed = f" Not: {', '.join(result.missed[:10])}." if result.missed else ""
    st.caption(blocks.plain(f"{result.ways_taken} of {result.ways} ways of the drawing were taken.{missed}"))


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
    with blocks.row():
        if st.button("Save settings", icon=":material/save:", type="primary", disabled=not may_edit):
            runners = {"roles": [*roles], "teams": [*workflow.runners.teams]}
            changes: dict[str, Any] = {
                "name": name,
                "description": description,
                "is_active": is_active,
                "runners": runners,
            }
            _do(lambda: services.workflows.definitions.describe(actor, workflow.slug, **changes))
        if st.button(":red[Delete]", icon=":material/delete:", type="tertiary", disabled=not may_edit):
            st.dialog(f"Delete {workflow.name}?")(_delete_dialog)(services, actor, workflow)


def _delete_dialog(services: Services, actor: Actor, workflow: Workflow) -> None:
    st.markdown("Its versions, schedules and webhooks go. Its runs stay, and calls stay in the ledger.")
    with blocks.row(), blocks.errors_shown():
        if st.button("Delete workflow", icon=":material/delete:", type="primary"):
            services.workflows.definitions.delete(actor, workflow.slug)
            st.query_params.clear()
            st.rerun()
        if st.button("Keep it"):
            st.rerun()


def _do(work: Any) -> None:
    try:
        work()
    except LLMManagerError as error:
        st.session_state[session_keys.WORKFLOW_ERROR] = error
    st.rerun()
