"""The registry on the page Tools: the table, and the panel of one tool with its settings, test form and runs."""

import asyncio
import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import streamlit as st
from msgspec import to_builtins

from lib.access.permissions import Actor, Permission, Role
from lib.clock import utc_now
from lib.configs.tool_rules import NANO, ApprovalPolicy
from lib.errors import LLMManagerError
from lib.money import format_sum
from lib.services import Services
from lib.tools.execution_log import ExecutionFilter, ToolFigures
from lib.tools.tool import ToolContext, ToolDefinition
from lib.tools.tool_settings import DEFAULT_TIMEOUT_S, LONGEST_TIMEOUT_S, NO_SETTINGS, ToolSettings
from lib.ui import blocks, format, session_keys
from lib.ui.tools import http_form, tool_cards
from lib.ui.tools.schema_form import draw_form

FIGURES_DAYS = 30
_ROWS_HEIGHT = 430
_WIDE = ["name", "source", "server", "effects", "approval", "state", "runs", "failed", "mean", "cost"]
SOURCES = {"native": "Built in", "http": "HTTP", "mcp": "Server"}
_POLICIES = {None: "As the tool says", "auto": "Run without asking", "ask": "Ask a person", "deny": "Never run"}


def read_figures(services: Services, actor: Actor) -> dict[str, ToolFigures]:
    """Read how each tool did over the last 30 days."""
    since = ExecutionFilter(since=utc_now() - timedelta(days=FIGURES_DAYS))
    return {figures.tool: figures for figures in services.tools.executions.figures(actor, since)}


def clear_search() -> None:
    """Empty the search and the choice of a source."""
    st.session_state[session_keys.SEARCH_WORDS] = ""
    st.session_state[session_keys.TOOL_SOURCE] = None


def choose_tools(tools: Sequence[ToolDefinition], words: str, source: str | None) -> list[ToolDefinition]:
    """Choose the tools whose name or description holds all words, of one source or of all."""
    search_words = words.lower().split()
    matching = []
    for tool in tools:
        text = f"{tool.name} {tool.title} {tool.description} {tool.server}".lower()
        if all(word in text for word in search_words) and source in (None, str(tool.source)):
            matching.append(tool)
    return matching


def draw_table(
    tools: Sequence[ToolDefinition],
    settings: Mapping[str, ToolSettings],
    figures: Mapping[str, ToolFigures],
    selected: str | None,
    *,
    compact: bool,
) -> str | None:
    """Draw the tools; returns the name of the selected one."""
    names = [tool.name for tool in tools]
    rows = [_build_row(tool, settings.get(tool.name, NO_SETTINGS), figures.get(tool.name)) for tool in tools]
    text = st.column_config.TextColumn
    number = st.column_config.NumberColumn
    key = f"tools-{hashlib.sha1(' '.join(names).encode()).hexdigest()[:12]}"  # noqa: S324
    event: Any = st.dataframe(
        rows,
        height="content" if len(rows) < 13 else _ROWS_HEIGHT,
        hide_index=True,
        row_height=30,
        placeholder="—",
        on_select="rerun",
        selection_mode="single-row",
        selection_default={"selection": {"rows": [names.index(selected)] if selected in names else [], "columns": []}},
        key=key,
        column_order=["name", "state", "effects"] if compact else _WIDE,
        column_config={
            "name": text("Tool", width=176),
            "source": text("Source", width=66),
            "server": text("Server", width=92),
            "effects": text("Effects", width=98, help="As the tool itself says"),
            "approval": text("Approval", width=110),
            "state": text("State", width=50),
            "runs": number("Runs", format="localized", width=60, help=f"Of the last {FIGURES_DAYS} days"),
            "failed": text("Failed", width=64, alignment="right"),
            "mean": number("Mean, ms", format="localized", width=76),
            "cost": text("Cost", width=70, alignment="right", help="— means that no price per use is set"),
        },
        alt="Tools by name",
    )
    positions = event.selection.rows
    return names[positions[0]] if positions and positions[0] < len(names) else None


def _build_row(tool: ToolDefinition, settings: ToolSettings, figures: ToolFigures | None) -> dict[str, Any]:
    return {
        "name": tool.name,
        "source": SOURCES.get(str(tool.source), str(tool.source)),
        "server": tool.server or None,
        "effects": "changes things" if tool.has_side_effects else "reads",
        "approval": _POLICIES[settings.approval],
        "state": "on" if settings.is_enabled else "off",
        "runs": figures.runs if figures else 0,
        "failed": format.share(figures.failure_share) if figures else None,
        "mean": round(figures.mean_ms) if figures and figures.mean_ms is not None else None,
        "cost": format_sum(figures.cost_nano_usd, 0) if figures and figures.cost_nano_usd is not None else None,
    }


def draw_panel(services: Services, actor: Actor, tool: ToolDefinition, settings: ToolSettings) -> None:
    """Draw one tool: what models are told of it, its settings, a form to try it."""
    may_manage = actor.can(Permission.MANAGE_TOOLS)
    with st.container(border=True):
        with blocks.row():
            st.subheader(tool.title or tool.name, anchor=False, width="stretch")
            st.badge("changes things" if tool.has_side_effects else "reads only", color="gray")
            if tool.source == "http" and may_manage:
                http_form.draw_buttons(services, actor, tool.name)
        st.text(tool.description)
        left, right = st.columns(2, gap="medium")
        with left:
            _draw_test(services, actor, tool, settings)
        with right:
            with st.expander("Parameters", icon=":material/data_object:"):
                st.code(json.dumps(to_builtins(tool.parameters), indent=2), language="json", wrap_lines=True)
            if tool.result_schema is not None:
                with st.expander("Result", icon=":material/data_object:"):
                    st.code(json.dumps(to_builtins(tool.result_schema), indent=2), language="json", wrap_lines=True)
            with st.expander("Settings", icon=":material/tune:", expanded=False):
                _draw_settings(services, actor, tool, settings, may_manage=may_manage)


def _draw_test(services: Services, actor: Actor, tool: ToolDefinition, settings: ToolSettings) -> None:
    """Draw the form that runs the tool once, for who looks at the page."""
    st.markdown("**Try it**")
    key = f"try-{tool.name}"
    try:
        arguments = draw_form(tool.parameters, key)
    except LLMManagerError as error:
        blocks.show_error(error)
        return
    label = "Run it, with its effects" if tool.has_side_effects else "Run it"
    if st.button(label, icon=":material/play_arrow:", disabled=not settings.is_enabled, key=f"{key}-run"):
        with blocks.errors_shown(), st.spinner("It runs"):
            context = ToolContext(actor, app=settings.apps[0] if settings.apps else "general", origin="tool")
            st.session_state[f"{key}-ran"] = asyncio.run(services.tools.run(actor, tool.name, arguments, context))
    if (execution := st.session_state.get(f"{key}-ran")) is not None:
        tool_cards.draw_execution(execution, is_open=True)


def _draw_settings(
    services: Services, actor: Actor, tool: ToolDefinition, settings: ToolSettings, *, may_manage: bool
) -> None:
    key = f"set-{tool.name}-{settings.revision}"
    apps = services.configurations.apps(actor)
    changed = _draw_setting_fields(settings, apps, key, disabled=not may_manage)
    if not may_manage:
        st.caption("Changing these needs the permission to manage tools.")
        return
    if st.button("Save settings", icon=":material/save:", key=f"{key}-save"):
        with blocks.errors_shown():
            services.tools.save_settings(actor, tool.name, changed)
            st.rerun()


def _draw_setting_fields(settings: ToolSettings, apps: Sequence[str], key: str, *, disabled: bool) -> ToolSettings:
    """Draw the fields of a tool's settings and return the settings they say; `apps` are offered beside its own."""
    is_enabled = st.toggle("Switched on", settings.is_enabled, key=f"{key}-on", disabled=disabled)
    choices = list(_POLICIES)
    policy = st.selectbox(
        "Before it runs",
        choices,
        index=choices.index(settings.approval),
        format_func=lambda choice: _POLICIES[choice],
        key=f"{key}-policy",
        disabled=disabled,
        help="The strictest of this, of the role's, and of the configuration's holds.",
    )
    roles = st.multiselect(
        "Roles", list(Role), list(settings.roles), placeholder="Every role", key=f"{key}-roles", disabled=disabled
    )
    role_approval = _draw_role_approval(settings.role_approval, f"{key}-ask", disabled=disabled)
    chosen_apps = st.multiselect(
        "Apps",
        list(dict.fromkeys([*apps, *settings.apps])),
        list(settings.apps),
        placeholder="Every app",
        accept_new_options=True,
        key=f"{key}-apps",
        disabled=disabled,
    )
    current_s = settings.timeout_s or DEFAULT_TIMEOUT_S
    seconds = st.number_input("Seconds at most", 1, LONGEST_TIMEOUT_S, current_s, key=f"{key}-s", disabled=disabled)
    price = st.number_input(
        "Price of one use, $",
        min_value=0.0,
        value=None if settings.price_nano_usd is None else settings.price_nano_usd / NANO,
        format="%.4f",
        placeholder="None",
        key=f"{key}-price",
        disabled=disabled,
    )
    return ToolSettings(
        is_enabled=is_enabled,
        approval=None if policy is None else ApprovalPolicy(policy),
        role_approval=role_approval,
        roles=tuple(map(Role, roles)),
        apps=tuple(chosen_apps),
        timeout_s=None if seconds == DEFAULT_TIMEOUT_S else int(seconds),
        price_nano_usd=None if price is None else round(price * NANO),
        revision=settings.revision,
    )


def _draw_role_approval(
    policies: Mapping[str, ApprovalPolicy], key: str, *, disabled: bool
) -> dict[str, ApprovalPolicy]:
    """Draw the roles for which a tool asks first; other policies of roles stay as they are."""
    asking = [role for role, policy in policies.items() if policy is ApprovalPolicy.ASK]
    roles = st.multiselect("Ask first for", list(Role), asking, placeholder="No role", key=key, disabled=disabled)
    unchanged = {role: policy for role, policy in policies.items() if policy is not ApprovalPolicy.ASK}
    return {**unchanged, **{role.value: ApprovalPolicy.ASK for role in map(Role, roles)}}
