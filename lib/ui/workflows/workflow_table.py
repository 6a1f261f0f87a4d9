"""The list of workflows with their health and cost, the dialog that makes one, and the import."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import streamlit as st

from lib.access.permissions import Actor, Permission
from lib.clock import utc_now
from lib.errors import LLMManagerError
from lib.money import format_sum
from lib.services import Services
from lib.ui import blocks, format, grammar, session_keys
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


def draw_table(services: Services, actor: Actor, workflows: Sequence[Workflow], *, compact: bool) -> None:
    """Draw the list; a click opens a workflow."""
    figures = read_figures(services, actor)
    zone = services.preferences.report_zone(actor)
    rows = [_build_row(workflow, figures.get(workflow.id), zone) for workflow in workflows]
    text = st.column_config.TextColumn
    grammar.open_table(
        "workflows",
        rows,
        [workflow.slug for workflow in workflows],
        {
            "name": text("Workflow", width=236 if compact else 330),
            "health": text("Done", width=84, alignment="right", help="Share of the runs that ended well"),
            "runs": st.column_config.NumberColumn("Runs", width=74, format="localized"),
            "cost": text(
                "Cost", width=96, alignment="right", help="≥ where a call's cost is not, or not wholly, known"
            ),
            "last": text("Last run", width=186),
            "version": text("Version", width=80, alignment="right"),
        },
        order=["name", "health"] if compact else None,
        alt="Workflows with their runs",
    )
    count = "1 workflow" if len(workflows) == 1 else f"{len(workflows):,} workflows"
    st.caption(f"{count} · runs of the last {DAYS} days · times in {zone.key}")


def _build_row(workflow: Workflow, figures: RunFigures | None, zone: ZoneInfo) -> dict[str, Any]:
    return {
        "name": workflow.name if workflow.is_active else f"{workflow.name} (off)",
        "health": format.format_share(figures.health) if figures and figures.health is not None else None,
        "runs": figures.runs if figures else 0,
        "cost": _format_cost(figures),
        "last": format.format_moment(figures.last_at, zone) if figures else None,
        "version": str(workflow.current),
    }


def _format_cost(figures: RunFigures | None) -> str | None:
    """Format what the runs cost; None where nothing ran."""
    return None if figures is None else format_sum(figures.cost_nano_usd, figures.unpriced)


def create_dialog(services: Services, actor: Actor) -> None:
    """Make a workflow: empty, or from the box."""
    names = {template.name: template.slug for template in list_templates()}
    template_name = st.selectbox("Begin with", [_EMPTY, *names])
    template = None if template_name == _EMPTY else get_template(names[template_name])
    if template is not None:
        st.caption(blocks.escape_markdown(template.description))
    slug = st.text_input(
        "Name", template.slug if template else "", placeholder="triage-tickets", key=f"new-{template_name}"
    )
    with blocks.show_errors():
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
    with blocks.show_errors():
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
