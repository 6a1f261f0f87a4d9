"""The editor of a prompt template: its words, parameters and variables; saving makes a version."""

import json
from collections.abc import Sequence
from typing import Any

import streamlit as st

from lib.access.permissions import Actor, Permission
from lib.configs.configuration import check_slug
from lib.errors import InvalidInput, LLMManagerError
from lib.prompts.template import PromptVersion, Template, VersionDraft, find_names
from lib.prompts.variable import Variable, VariableType
from lib.services import Services
from lib.ui import blocks, session_keys

_PLACEHOLDER = "Sum up the following in {{words}} words:\n\n{{text}}"


def read_opened() -> tuple[str, int, int]:
    """The template in the editor, its newest version when it was opened, and the version it began with."""
    opened: tuple[str, int, int] = st.session_state.get(session_keys.OPENED_PROMPT, ("", 0, 0))
    return opened


def open_at(slug: str, base: int, version: int) -> None:
    """Open a version in the editor; `base` is the newest version at that moment."""
    st.session_state[session_keys.OPENED_PROMPT] = (slug, base, version)


def close() -> None:
    """Begin with the newest version."""
    st.session_state.pop(session_keys.OPENED_PROMPT, None)


def draw_words(version: PromptVersion, key: str, *, locked: bool) -> tuple[str, str | None, dict[str, Any] | str]:
    """Text, system prompt and parameters as they stand in the fields; parameters as text where they are no JSON."""
    text = st.text_area("Prompt", version.text, height=260, key=f"text-{key}", disabled=locked)
    system = st.text_area(
        "System prompt",
        version.system_prompt or "",
        height=90,
        key=f"system-{key}",
        disabled=locked,
        placeholder="Empty: the configuration's own.",
    )
    with st.expander("Default parameters", icon=":material/tune:"):
        parameters_text = st.text_area(
            "Parameters, as JSON",
            json.dumps(dict(version.parameters)) if version.parameters else "",
            height=68,
            key=f"parameters-{key}",
            disabled=locked,
            placeholder='{"temperature": 0.2}',
        )
    return text, system or None, _parse_parameters(parameters_text)


def draw_variables(
    text: str, system: str | None, version: PromptVersion, key: str, *, locked: bool
) -> list[dict[str, Any]]:
    """Draw a declaration for each variable in the text or the system prompt; returns them as records."""
    names = find_names(system or "", text)
    if not names:
        st.caption("None yet. Write `{{name}}` in the prompt where a value goes.")
    declared = {variable.name: variable for variable in version.variables}
    return [_draw_variable(declared.get(name, Variable(name)), f"{key}-{name}", locked=locked) for name in names]


def save(services: Services, actor: Actor, template: Template, draft: VersionDraft | InvalidInput, base: int) -> None:
    """Why, and the button; `base` is the version that it was made from, so that nobody's is overwritten unseen."""
    locked = not actor.can(Permission.EDIT_CONFIGS)
    with blocks.start_row():
        reason = st.text_input(
            "Why",
            placeholder="Why: shorter answers",
            label_visibility="collapsed",
            max_chars=300,
            width="stretch",
            key=f"why-{template.slug}-{base}",
            disabled=locked,
        )
        pressed = st.button("Save version", icon=":material/save:", type="primary", disabled=locked)
    if not pressed:
        return
    with blocks.show_errors():
        if isinstance(draft, InvalidInput):
            raise draft
        services.prompts.save(actor, template.slug, draft, base, reason)
        close()
        st.rerun()


def create_dialog(services: Services, actor: Actor) -> None:
    """A new template: its name and first words; variables are declared afterwards."""
    slug = st.text_input("Name", max_chars=80, placeholder="ticket-summary")
    fields = draw_about_fields(services, actor, None)
    text = st.text_area("Prompt", height=160, placeholder=_PLACEHOLDER)
    if st.button("Create prompt", type="primary"):
        with blocks.show_errors():
            template = services.prompts.create(actor, slug, VersionDraft(text), **fields)
            st.query_params["id"] = template.slug
            st.rerun()


def draw_about_dialog(services: Services, actor: Actor, template: Template) -> None:
    """Edit app, category and description of a template."""
    fields = draw_about_fields(services, actor, template)
    if st.button("Save", type="primary"):
        with blocks.show_errors():
            services.prompts.describe(actor, template.slug, **fields)
            st.rerun()


def draw_about_fields(services: Services, actor: Actor, template: Template | None) -> dict[str, Any]:
    """App, category and description."""
    apps = list(services.configurations.apps(actor))
    own = [template.app] if template and template.app and template.app not in apps else []
    app_column, category_column = st.columns(2)
    app = app_column.selectbox(
        "App",
        [*apps, *own],
        index=[*apps, *own].index(template.app) if template and template.app else None,
        placeholder="Every app",
        accept_new_options=True,
    )
    categories = list(services.prompts.categories(actor))
    category = category_column.selectbox(
        "Category",
        categories,
        index=categories.index(template.category) if template and template.category in categories else None,
        placeholder="None",
        accept_new_options=True,
    )
    description = st.text_input("Description", template.description if template else "", max_chars=300)
    return {"app": app or None, "category": category or "", "description": description}


def build_draft(
    text: str, system: str | None, declared: Sequence[dict[str, Any]], parameters: Any
) -> VersionDraft | InvalidInput:
    """The version that Save would store, or the InvalidInput that hinders it."""
    if not isinstance(parameters, dict):
        return InvalidInput("The parameters are not a JSON object.", "", 'Write it like {"temperature": 0.2}.')
    return VersionDraft(text, system, declared, parameters)


def _draw_variable(variable: Variable, key: str, *, locked: bool) -> dict[str, Any]:
    kind = st.session_state.get(f"type-{key}", variable.type.value)
    with st.expander(f"`{{{{{variable.name}}}}}` · {kind}"):
        type_column, default_column = st.columns(2)
        kinds = [variable_type.value for variable_type in VariableType]
        kind = type_column.selectbox("Type", kinds, kinds.index(variable.type), key=f"type-{key}", disabled=locked)
        default = default_column.text_input(
            "Default", variable.default or "", placeholder="None: required", key=f"default-{key}", disabled=locked
        )
        choices = ""
        if kind == VariableType.CHOICE:
            choices = st.text_input(
                "Choices, parted by commas", ", ".join(variable.choices), key=f"choices-{key}", disabled=locked
            )
        example = st.text_input("Example", variable.example, key=f"example-{key}", disabled=locked)
        description = st.text_input("Description", variable.description, key=f"description-{key}", disabled=locked)
    return {
        "name": variable.name,
        "type": kind,
        "description": description,
        "default": default or None,
        "example": example,
        "choices": [choice.strip() for choice in choices.split(",") if choice.strip()],
    }


def _parse_parameters(text: str) -> dict[str, Any] | str:
    try:
        parameters = json.loads(text) if text.strip() else {}
    except ValueError:
        return text
    return parameters if isinstance(parameters, dict) else text


def label_popover(services: Services, actor: Actor, template: Template, version: int) -> None:
    """Point any label to a version, or take one off."""
    name = st.selectbox(
        "Label",
        sorted({*template.labels, "production", "staging"} - {"draft"}),
        key=f"label-name-{version}",
        accept_new_options=True,
    )
    with blocks.start_row(gap="xsmall"):
        if st.button("Move here", key=f"label-{version}", disabled=not name):
            move(services, actor, template.slug, str(name), version)
        if template.labels.get(str(name)) == version and st.button("Take off", key=f"unlabel-{version}"):
            move(services, actor, template.slug, str(name), None)


def move(services: Services, actor: Actor, slug: str, label: str, version: int | None) -> None:
    """Move a label and redraw; an error is kept and drawn at the top of the redrawn page."""
    try:
        services.prompts.move_label(actor, slug, check_slug(label, "label"), version)
    except LLMManagerError as error:
        st.session_state[session_keys.PROMPT_ERROR] = error
    st.rerun()
