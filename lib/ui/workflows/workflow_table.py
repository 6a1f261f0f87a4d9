"""The list of workflows with their health and cost, the dialog that makes one, and the import."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

import streamlit as st

from lib.access.permissions import Actor, Permission
from lib.clock import utc_now
from lib.errors import LLMManagerError
from lib.money import format_money, format_sum
from lib.services import Services
from lib.ui import blocks, format, session_keys
from lib.workflows.runs import RunFigures
from lib.workflows.templates import get_template, list_templates
from lib.workflows.workflow import Workflow

DAYS = 30
_EMPTY = "An empty one"
_TINY = {
    "nodes": [
        {
            "kind": "input",
            "id": "start",
            "fields": [{"name": "text", "type": "long_text", "label": "Text"}],
            "x": 0,
            "y": 60,
        },
        {"kind": "prompt", "id": "answer", "label": "Answer", "prompt": "{{start.text}}", "x": 240, "y": 60},
        {"kind": "output", "id": "finish", "text": "{{answer}}", "x": 480, "y": 60},
    ],
    "edges": [{"from": "start", "to": "answer"}, {"from": "answer", "to": "finish"}],
}


def read_figures(services: Services, actor: Actor) -> Mapping[str, RunFigures]:
    """The runs of the last days by workflow."""
    return services.workflows.runs.figures(actor, utc_now() - timedelta(days=DAYS))


def draw_table(
    services: Services, actor: Actor, workflows: Sequence[Workflow], selected: str | None, *, compact: bool
) -> str | None:
    """The list; the slug of the row that is selected."""
    import pandas as pd

    figures = read_figures(services, actor)
    zone = services.preferences.report_zone(actor)
    listed_figures = [figures.get(workflow.id) for workflow in workflows]
    frame = pd.DataFrame(
        {
            "name": [workflow.name if workflow.is_active else f"{workflow.name} (off)" for workflow in workflows],
            "health": [format.share(f.health) if f else "—" for f in listed_figures],
            "runs": [f.runs if f else 0 for f in listed_figures],
            "cost": [_format_cost(f) for f in listed_figures],
            "last": [format.moment(f.last_at, zone) if f else "—" for f in listed_figures],
            "version": [str(workflow.current) for workflow in workflows],
        }
    )
    rows = [index for index, workflow in enumerate(workflows) if workflow.slug == selected]
    text = st.column_config.TextColumn
    event = st.dataframe(
        frame,
        hide_index=True,
        row_height=30,
        height=min(30 * len(workflows) + 38, 250),
        on_select="rerun",
        selection_mode="single-row",
        selection_default={"selection": {"rows": rows, "columns": []}},
        key="workflows-" + str(hash(tuple(workflow.slug for workflow in workflows))),
        column_order=["name", "health", "runs"] if compact else list(frame.columns),
        column_config={
            "name": text("Workflow", width=140 if compact else 320),
            "health": text("Done", width=90, alignment="right", help="Share of the runs that ended well"),
            "runs": st.column_config.NumberColumn("Runs", width=70),
            "cost": text(
                "Cost", width=100, alignment="right", help="≥ where a call's cost is not, or not wholly, known"
            ),
            "last": text("Last run", width=180),
            "version": text("Version", width=80, alignment="right"),
        },
    )
    positions = event.selection.rows
    return workflows[positions[0]].slug if positions and positions[0] < len(workflows) else None


def _format_cost(figures: RunFigures | None) -> str:
    if figures is None:
        return format_money(0)
    return format_sum(figures.cost_nano_usd, figures.unpriced)


def create_dialog(services: Services, actor: Actor) -> None:
    """Make a workflow: empty, or from the box."""
    names = {template.name: template.slug for template in list_templates()}
    template_name = st.selectbox("Begin with", [_EMPTY, *names])
    template = None if template_name == _EMPTY else get_template(names[template_name])
    if template is not None:
        st.caption(blocks.plain(template.description))
    slug = st.text_input(
        "Name", template.slug if template else "", placeholder="triage-tickets", key=f"new-{template_name}"
    )
    with blocks.errors_shown():
        if st.button("Make workflow", type="primary", icon=":material/add:"):
            definition = _TINY if template is None else template.definition
            name = "" if template is None else template.name
            about = "" if template is None else template.description
            workflow = services.workflows.definitions.create(actor, slug, definition, name=name, description=about)
            st.query_params["id"] = workflow.slug
            st.rerun()


def import_dialog(services: Services, actor: Actor) -> None:
    """Import an export, a definition, or one of the original's."""
    upload = st.file_uploader("JSON or YAML", type=["json", "yaml", "yml"])
    slug = st.text_input("Name of a single definition", placeholder="Only where the file holds one definition")
    with blocks.errors_shown():
        if st.button("Import", type="primary", disabled=upload is None) and upload is not None:
            done = services.workflows.definitions.import_document(actor, upload.getvalue(), slug)
            skipped_note = f" {len(done.skipped)} names were taken." if done.skipped else ""
            st.toast(f"{len(done.created)} imported.{skipped_note}", icon=":material/check:")
            st.rerun()


def may_manage(actor: Actor) -> bool:
    """Whether the page offers making and changing."""
    return actor.can(Permission.MANAGE_WORKFLOWS)


def show_page_error() -> None:
    """An error that a button of the run before left."""
    error = st.session_state.pop(session_keys.WORKFLOW_ERROR, None)
    if isinstance(error, LLMManagerError):
        blocks.show_error(error)
