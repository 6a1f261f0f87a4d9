"""The pieces of the Overrides page: table, detail panel, form, and the preview of what a call is sent with."""

import json
from collections.abc import Sequence
from typing import Any

import streamlit as st

from lib.access.permissions import Actor, Permission
from lib.configs.configurations import Configuration
from lib.configs.effective import EffectiveParameters, MergeStrategy, Override
from lib.configs.overrides import OverrideDraft
from lib.errors import InvalidInput, LLMManagerError
from lib.services import Services
from lib.ui import blocks, grammar, session_keys
from lib.ui.configurations.configuration_form import show_in_form

_STATES = ("✓ on", "■ off")
_STRATEGIES = {
    MergeStrategy.MERGE: "Merge: its parameters in place of the same names",
    MergeStrategy.DEEP_MERGE: "Deep merge: also inside objects",
    MergeStrategy.REPLACE: "Replace: its parameters in place of all",
}
ANY = "any"


def draw_table(
    overrides: Sequence[Override], slugs: dict[str, str], selected: str | None, *, compact: bool
) -> str | None:
    """The overrides in the order in which they are applied; the id of the row that is selected."""
    import pandas as pd

    frame = pd.DataFrame(
        {
            "priority": [o.priority for o in overrides],
            "name": [o.name for o in overrides],
            "scope": [describe_scope(o, slugs) for o in overrides],
            "strategy": [o.strategy.value for o in overrides],
            "state": [[_STATES[not o.is_active]] for o in overrides],
        }
    )
    rows = [index for index, o in enumerate(overrides) if o.id == selected]
    text = st.column_config.TextColumn
    position = grammar.choose_row(
        frame,
        default=next(iter(rows), None),
        key="overrides-" + str(hash(tuple(o.id for o in overrides))),
        column_order=["name", "scope", "state"] if compact else list(frame.columns),
        column_config={
            "priority": st.column_config.NumberColumn("Priority", width=66),
            "name": text("Name", width=120 if compact else 150),
            "scope": text("For", width=110 if compact else 165),
            "strategy": text("Strategy", width=90),
            "state": st.column_config.MultiselectColumn(
                "State", width=70, options=list(_STATES), color=["green", "gray"]
            ),
        },
    )
    return overrides[position].id if position is not None and position < len(overrides) else None


def describe_scope(override: Override, slugs: dict[str, str]) -> str:
    """Say in words for which calls an override holds."""
    parts = [f"app {override.app}"] if override.app else []
    parts += [f"context {override.context}"] if override.context else []
    if override.configuration_id:
        parts.append(slugs.get(override.configuration_id, "a deleted configuration"))
    return " · ".join(parts) or "every call"


def draw_detail(services: Services, actor: Actor, override: Override, slugs: dict[str, str]) -> None:
    """The panel of one override."""
    with blocks.start_row(gap="xsmall"):
        st.subheader(blocks.escape_markdown(override.name), anchor=False, width="stretch")
        st.badge(_STATES[not override.is_active], color="green" if override.is_active else "gray")
    blocks.show_facts(
        [
            ("For", blocks.escape_markdown(describe_scope(override, slugs))),
            ("Strategy", override.strategy.value.replace("_", " ")),
            ("Priority", str(override.priority)),
        ]
    )
    st.code(json.dumps(dict(override.parameters), indent=1, ensure_ascii=False), language="json", wrap_lines=True)
    locked = not actor.can(Permission.EDIT_CONFIGS)
    with blocks.start_row():
        if st.button("Edit", icon=":material/edit:", disabled=locked):
            st.dialog(f"Edit {override.name}", width="medium")(draw_editor)(services, actor, override)
        word, icon = ("Switch off", "toggle_off") if override.is_active else ("Switch on", "toggle_on")
        if st.button(word, icon=f":material/{icon}:", type="tertiary", disabled=locked):
            _act(lambda: services.overrides.set_active(actor, override.id, not override.is_active))
        if st.button(":red[Delete]", icon=":material/delete:", type="tertiary", disabled=locked):
            st.dialog(f"Delete {override.name}?")(delete_dialog)(services, actor, override)


def _act(action: Any) -> None:
    try:
        action()
    except LLMManagerError as error:
        st.session_state[session_keys.OVERRIDE_ERROR] = error
    st.rerun()


def draw_editor(services: Services, actor: Actor, override: Override | None) -> None:
    """The form, for a new override or an existing one."""
    slugs = {c.id: c.slug for c in services.configurations.list(actor)}
    spots: dict[str | None, Any] = {}  # field → where its error is shown
    fields = _draw_scope_and_order(slugs, override, spots)
    text = st.text_area(
        "Parameters, as JSON",
        json.dumps(dict(override.parameters), indent=1, ensure_ascii=False) if override else "",
        height=120,
        placeholder='{"temperature": 0.2, "seed": null}',
        help="null takes a parameter away",
    )
    spots["parameters"] = st.empty()
    spots[None] = st.container()
    if not st.button("Save override" if override else "Create override", type="primary"):
        return
    try:
        draft = OverrideDraft(parameters=_parse_parameters(text), **fields)
        saved = (
            services.overrides.update(actor, override.id, draft)
            if override
            else services.overrides.create(actor, draft)
        )
    except LLMManagerError as error:
        show_in_form(error, spots)
        return
    st.query_params["id"] = saved.id
    st.rerun()


def _draw_scope_and_order(
    slugs: dict[str, str], override: Override | None, spots: dict[str | None, Any]
) -> dict[str, Any]:
    """Draw which calls an override is for and how it is laid over others, with a spot for the error of each field."""
    left_column, right_column = st.columns(2)
    name = left_column.text_input("Name", override.name if override else "", max_chars=80, placeholder="short answers")
    spots["name"] = left_column.empty()
    priority = right_column.number_input(
        "Priority", value=override.priority if override else 0, step=1, help="Of two, the higher one has the last word"
    )
    spots["priority"] = right_column.empty()
    app = left_column.text_input("App", (override.app if override else None) or "", max_chars=80, placeholder=ANY)
    spots["app"] = left_column.empty()
    context = right_column.text_input(
        "Context",
        (override.context if override else None) or "",
        max_chars=80,
        placeholder=ANY,
        help="A name that a call brings along to say what it is for, like summary",
    )
    spots["context"] = right_column.empty()
    ids = list(slugs)
    current_id = override.configuration_id if override else None
    configuration_id = left_column.selectbox(
        "Configuration",
        ids,
        index=ids.index(current_id) if current_id in ids else None,
        format_func=slugs.__getitem__,
        placeholder=ANY,
    )
    spots["configuration"] = left_column.empty()
    strategies = list(_STRATEGIES)
    strategy = right_column.selectbox(
        "Strategy",
        strategies,
        index=strategies.index(override.strategy) if override else 0,
        format_func=_STRATEGIES.__getitem__,
    )
    return {
        "name": name,
        "strategy": strategy.value,
        "priority": int(priority),
        "app": app.strip() or None,
        "context": context.strip() or None,
        "configuration_id": configuration_id,
    }


def _parse_parameters(text: str) -> dict[str, Any]:
    try:
        parameters = json.loads(text) if text.strip() else {}
    except ValueError:
        parameters = None
    if isinstance(parameters, dict):
        return parameters
    raise InvalidInput("The parameters are not a JSON object.", "", 'Write it like {"seed": 1}.', "parameters")


def delete_dialog(services: Services, actor: Actor, override: Override) -> None:
    """Ask before an override is deleted, saying what stays of it."""
    st.markdown("Calls are sent without it from now on. Calls made with it keep their parameters in the log.")
    spot = st.container()
    with blocks.start_row():
        if st.button("Keep override"):
            st.rerun()
        if st.button(":red[Delete override]"):
            try:
                services.overrides.delete(actor, override.id)
            except LLMManagerError as error:
                with spot:
                    blocks.show_error(error)
                return
            st.query_params.pop("id", None)
            st.rerun()


def draw_preview(
    services: Services, actor: Actor, configurations: Sequence[Configuration], everything: Sequence[Override]
) -> None:
    """Choose app, context and configuration, and see what a call would be sent with."""
    st.subheader("What a call is sent with", anchor=False)
    by_slug = {c.slug: c for c in configurations}
    apps = sorted({c.app for c in configurations} | {o.app for o in everything if o.app})
    contexts = sorted({o.context for o in everything if o.context})
    with blocks.start_row():
        slug = st.selectbox("Configuration", list(by_slug), width=230, key="config", bind="query-params")
        app = st.selectbox(
            "App", apps, index=None, placeholder="the configuration's", accept_new_options=True, width=190, key="app"
        )
        context = st.selectbox(
            "Context", contexts, index=None, placeholder="none", accept_new_options=True, width=190, key="context"
        )
    if slug is None:
        return
    configuration = by_slug[slug]
    with blocks.show_errors():
        effective = services.overrides.effective(actor, configuration, {}, app=app, context=context)
        applied = services.overrides.matching(actor, app or configuration.app, context, configuration.id)
        draw_effective_parameters(effective, configuration)
        names = ", ".join(o.name for o in everything if o.id in {override.id for override in applied})
        st.caption(
            f"Applied, in this order: {blocks.escape_markdown(names)}." if names else "No override holds for this call."
        )


def draw_effective_parameters(effective: EffectiveParameters, configuration: Configuration) -> None:
    """Parameters with where each came from; those the model does not take say what becomes of them."""
    import pandas as pd

    if not effective.parameters:
        st.caption("None: the provider's defaults apply.")
        return
    drops = configuration.unsupported_parameters == "drop"
    names = sorted(effective.parameters)
    frame = pd.DataFrame(
        {
            "Parameter": names,
            "Sent": [
                ("■ left out" if drops else "⊘ refused") if n in effective.unsupported else "✓ sent" for n in names
            ],
            "Value": [json.dumps(effective.parameters[name], ensure_ascii=False) for name in names],
            "From": [effective.sources[name] for name in names],
        }
    )
    st.dataframe(frame, hide_index=True, row_height=30)
    if effective.unsupported:
        consequence = "they are left out, and the call says so" if drops else "a call is refused"
        not_taken = f"{configuration.model} does not take {', '.join(effective.unsupported)}: {consequence}."
        st.caption(blocks.escape_markdown(not_taken) + " The configuration decides which.")
