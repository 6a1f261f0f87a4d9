"""The builder: the drawing beside a form of the selected step; problems stand on the nodes while one draws."""

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from lib.access.permissions import Actor
from lib.errors import InvalidInput, LLMManagerError
from lib.services import Services
from lib.ui import blocks, grammar, session_keys
from lib.ui.canvas.component import draw_canvas
from lib.ui.workflows.draft import WorkflowDraft, list_ports
from lib.ui.workflows.run_view import STEP_STATES
from lib.workflows.definition import NODE_TYPES, read_document
from lib.workflows.run import Run, Step
from lib.workflows.validation import Problem, group_problems
from lib.workflows.workflow import Workflow

_HEIGHT = 440
_LEAST_HEIGHT = 240
_MOST_HEIGHT = 540
_PAGE_PX = 780
_PHONE_PX = 300
_NODE_PX = (180, 90)
_AROUND_PX = 110  # its bar, and air
_PALETTE = [kind for kind in NODE_TYPES if kind != "input"]
_OWN = ("id", "kind", "x", "y", "label")


def draw_builder(services: Services, actor: Actor, workflow: Workflow, *, may_edit: bool) -> None:
    """The drawing of the newest version, changed as a draft until it is saved."""
    draft = _get_draft(services, actor, workflow)
    problems = _check(services, actor, draft)
    _draw_bar(services, actor, workflow, draft, problems, may_edit=may_edit)
    drawn = draw_canvas(_build_data(draft, problems, {}, may_edit=may_edit), f"canvas-{workflow.slug}", _HEIGHT)
    if may_edit and isinstance(drawn["graph"], Mapping) and draft.take(drawn["graph"]):
        st.rerun()
    _draw_node_form(services, actor, draft, str(drawn["selected"] or ""), problems, may_edit=may_edit)
    if may_edit:
        st.caption(
            "Drag or press a kind to add a step. Tab and Enter select, arrows move, c connects (p: another port), "
            "Delete removes, Ctrl Z undoes, Ctrl C and Ctrl V copy."
        )


def _get_draft(services: Services, actor: Actor, workflow: Workflow) -> WorkflowDraft:
    key = f"draft-{workflow.slug}"
    draft = st.session_state.get(key)
    if not isinstance(draft, WorkflowDraft) or (draft.based_on != workflow.newest and not draft.changed):
        newest = services.workflows.definitions.version(actor, workflow.slug, "newest")
        fresh = WorkflowDraft.begin(newest.definition, newest.version)
        fresh.version = draft.version + 1 if isinstance(draft, WorkflowDraft) else 1
        draft = st.session_state[key] = fresh
    return draft


def _check(services: Services, actor: Actor, draft: WorkflowDraft) -> Sequence[Problem]:
    try:
        return services.workflows.definitions.check(actor, draft.document)[1]
    except InvalidInput as error:
        node = error.title.removeprefix("The node ").split(" ", 1)[0].rsplit("/", 1)[-1]
        return [Problem(node if error.title.startswith("The node ") else "", error.why)]


def _draw_bar(
    services: Services,
    actor: Actor,
    workflow: Workflow,
    draft: WorkflowDraft,
    problems: Sequence[Problem],
    *,
    may_edit: bool,
) -> None:
    errors = [problem for problem in problems if problem.is_error]
    with blocks.start_row():
        parts = [*draft.graphs()]
        view = st.segmented_control(
            "Part",
            parts,
            default=draft.part,
            format_func=lambda name: name or "main",
            label_visibility="collapsed",
            key=f"part-{workflow.slug}-{len(parts)}-{draft.part}",
        )
        if view is not None and view != draft.part:
            draft.show(view)
            st.rerun()
        with st.popover("Parts", icon=":material/dashboard_customize:", type="tertiary", disabled=not may_edit):
            _draw_parts(draft)
        if st.button("Save version", icon=":material/save:", type="primary", disabled=not may_edit or bool(errors)):
            _save(services, actor, workflow, draft)
        if draft.changed and st.button("Discard", icon=":material/undo:", type="tertiary"):
            key = f"draft-{workflow.slug}"
            grammar.confirm(
                f"Discard what you drew in {blocks.escape_markdown(workflow.name)}?",
                f"The drawing goes back to version {draft.based_on}. Saved versions and runs stay.",
                keep="Keep drawing",
                act="Discard changes",
                action=lambda: st.session_state.pop(key, None),
                icon="undo",
            )
        if draft.changed:
            st.badge("not saved", color="orange")
        if problems:
            st.badge(_count_problems(errors, problems), color="red" if errors else "gray")
    for problem in problems:
        if not problem.node and problem.is_error:
            st.caption(blocks.escape_markdown(problem.message))


def _count_problems(errors: Sequence[Problem], problems: Sequence[Problem]) -> str:
    count = len(errors or problems)
    noun = "problem" if errors else "hint"
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _draw_parts(draft: WorkflowDraft) -> None:
    name = st.text_input("Name of a new part", placeholder="one_item")
    if st.button("Add part", icon=":material/add:", disabled=not name.isidentifier() or name in draft.graphs()):
        draft.add_part(name)
        st.rerun()
    if draft.part and st.button(
        f":red[Remove {blocks.escape_markdown(draft.part)}]", icon=":material/delete:", type="tertiary"
    ):
        draft.remove_part(draft.part)
        st.rerun()


def _save(services: Services, actor: Actor, workflow: Workflow, draft: WorkflowDraft) -> None:
    try:
        services.workflows.definitions.save(actor, workflow.slug, draft.parse(), draft.based_on)
    except LLMManagerError as error:
        st.session_state[session_keys.WORKFLOW_ERROR] = error
    else:
        draft.changed = False
    st.rerun()


def _build_data(
    draft: WorkflowDraft, problems: Sequence[Problem], status: Mapping[str, Any], *, may_edit: bool
) -> dict[str, Any]:
    graph = draft.graph
    marks: dict[str, dict[str, Any]] = {node_id: dict(mark) for node_id, mark in status.items()}
    for node_id, message in group_problems(problems).items():
        marks.setdefault(node_id, {})["problem"] = message
    nodes = [
        {**{name: node.get(name) for name in _OWN}, "ports": list_ports(node, graph["edges"])}
        for node in graph["nodes"]
        if node.get("kind") in NODE_TYPES
    ]
    return {
        "version": draft.version,
        "fit": draft.fit,
        "graph": {"nodes": nodes, "edges": graph["edges"]},
        "status": marks,
        "palette": _PALETTE,
        "kinds": {kind: list_ports({"kind": kind, "id": "", "cases": [{"port": "first"}]}, []) for kind in NODE_TYPES},
        "taken": draft.list_taken(),
        "editable": may_edit,
    }


def draw_run_canvas(services: Services, actor: Actor, run: Run, steps: Sequence[Step]) -> None:
    """The drawing of a run's version, each step in the colour of its state."""
    draft = WorkflowDraft.begin(services.workflows.runs.definition(actor, run.id), run.version)
    status = {
        step.path: {"status": str(step.state), **({} if step.duration_ms is None else {"ms": step.duration_ms})}
        for step in steps
        if "/" not in step.path and step.state in STEP_STATES
    }
    data = _build_data(draft, [], status, may_edit=False) | {"chooses": False}
    draw_canvas(data, f"run-canvas-{run.id}", _fit_height(draft.graph["nodes"]))


def _fit_height(nodes: Sequence[Mapping[str, Any]]) -> int:
    """Pixels in which a drawing as wide as the page shows these nodes without an empty band, in steps of 60."""
    across = [float(node.get("x") or 0) for node in nodes] or [0.0]
    down = [float(node.get("y") or 0) for node in nodes] or [0.0]
    page_px = _PHONE_PX if blocks.is_compact() else _PAGE_PX
    scale = min(1.0, page_px / (max(across) - min(across) + _NODE_PX[0]))
    height = (max(down) - min(down) + _NODE_PX[1]) * scale + _AROUND_PX
    return min(max(-(-int(height) // 60) * 60, _LEAST_HEIGHT), _MOST_HEIGHT)


def _draw_node_form(
    services: Services, actor: Actor, draft: WorkflowDraft, node_id: str, problems: Sequence[Problem], *, may_edit: bool
) -> None:
    node = draft.find(node_id)
    if node is None:
        st.caption("Select a step to change it." if may_edit else "Select a step to see what it does.")
        return
    key = f"node-{node_id}-{draft.version}"
    with st.container(border=True):
        with blocks.start_row(gap="xsmall"):
            st.subheader(blocks.escape_markdown(str(node.get("label") or node_id)), anchor=False, width="content")
            st.badge(str(node["kind"]), color="gray")
        for problem in problems:
            if problem.node == node_id:
                st.error(blocks.escape_markdown(problem.message))
        left, right = (st.container(), st.container()) if blocks.is_compact() else st.columns(2, gap="small")
        with left:
            new_id = st.text_input("Id", node_id, key=f"{key}-id", disabled=not may_edit)
            label = st.text_input("Label", str(node.get("label") or ""), key=f"{key}-label", disabled=not may_edit)
            changed: dict[str, Any] = {name: node[name] for name in ("kind", "x", "y") if name in node}
            changed |= {"id": new_id.strip(), **({"label": label} if label else {})}
            changed |= _draw_main_fields(services, actor, node, key, may_edit=may_edit)
        other_fields = {name: value for name, value in node.items() if name not in (*_OWN, *_list_main(node))}
        text = right.text_area(
            "Other fields, YAML",
            _write_yaml(other_fields),
            height=240,
            key=f"{key}-rest",
            disabled=not may_edit,
            help="Names with values; the page of the documents on workflows lists them",
        )
        with blocks.show_errors():
            if st.button("Apply to step", icon=":material/check:", disabled=not may_edit, key=f"{key}-apply"):
                draft.replace_node(node_id, changed | _read_fields(text))
                st.rerun()


def _list_main(node: Mapping[str, Any]) -> tuple[str, ...]:
    return {
        "prompt": ("configuration", "prompt"),
        "condition": ("when",),
        "transform": ("value",),
        "retrieve": ("collection", "question"),
        "approval": ("question",),
        "output": ("text", "value"),
    }.get(str(node["kind"]), ())


def _draw_main_fields(
    services: Services, actor: Actor, node: Mapping[str, Any], key: str, *, may_edit: bool
) -> dict[str, Any]:
    """The fields that most steps are about; an empty one is left out."""
    values: dict[str, Any] = {}
    for name in _list_main(node):
        old = node.get(name)
        if name == "configuration":
            slugs = [c.slug for c in services.configurations.list(actor) if c.is_active]
            options = slugs if old in (None, *slugs) else [str(old), *slugs]
            index = options.index(str(old)) if old is not None else None
            value = st.selectbox(
                "Configuration",
                options,
                index=index,
                placeholder="The default",
                key=f"{key}-{name}",
                disabled=not may_edit,
            )
        else:
            height = 150 if name in ("prompt", "text") else 80
            value = st.text_area(
                name.capitalize(), str(old or ""), height=height, key=f"{key}-{name}", disabled=not may_edit
            )
        if value not in (None, "") or (name == "prompt" and "template" not in node):
            values[name] = value
    return values


def _write_yaml(fields: Mapping[str, Any]) -> str:
    import yaml

    return str(yaml.safe_dump(dict(fields), sort_keys=False, allow_unicode=True, width=60)) if fields else ""


def _read_fields(text: str) -> dict[str, Any]:
    if not text.strip():
        return {}
    fields = read_document(text)
    if not isinstance(fields, dict) or set(fields) & set(_OWN):
        why = "They are names with values, without id, kind, label and place."
        raise InvalidInput("The fields can't be used.", why, "Correct them.", field="fields")
    return {str(name): value for name, value in fields.items()}
