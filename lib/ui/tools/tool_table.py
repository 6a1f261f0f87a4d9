"""The registry on the page Tools: the table, and beside it one tool with its test form, schemas and settings."""

import asyncio
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
from lib.ui import blocks, format, grammar
from lib.ui.tools import http_form, tool_cards
from lib.ui.tools.schema_form import draw_form

FIGURES_DAYS = 30
_MOST_UNSCROLLED = 40  # rows
_WIDE = ["name", "source", "effects", "approval", "state", "runs", "failed", "mean", "cost"]
SOURCES = {"all": "All", "native": "Built in", "http": "HTTP", "mcp": "Server", "workflow": "Workflow"}
_DEEDS = {ApprovalPolicy.AUTO: "runs at once", ApprovalPolicy.ASK: "asks a person", ApprovalPolicy.DENY: "never runs"}
_POLICIES = {None: "As the tool says", "auto": "Run without asking", "ask": "Ask a person", "deny": "Never run"}


def read_figures(services: Services, actor: Actor) -> dict[str, ToolFigures]:
    """Read how each tool did over the last 30 days."""
    since = ExecutionFilter(since=utc_now() - timedelta(days=FIGURES_DAYS))
    return {figures.tool: figures for figures in services.tools.executions.figures(actor, since)}


def choose_tools(tools: Sequence[ToolDefinition], words: str, source: str | None) -> list[ToolDefinition]:
    """Choose the tools whose name or description holds all words, of one source or of all."""
    search_words = words.lower().split()
    matching = []
    for tool in tools:
        text = f"{tool.name} {tool.title} {tool.description} {tool.server}".lower()
        if all(word in text for word in search_words) and source in (None, str(tool.source)):
            matching.append(tool)
    return matching


def draw_registry(services: Services, actor: Actor, definitions: Sequence[ToolDefinition], *, compact: bool) -> None:
    """Draw the filters, the tools, and the opened one beside them."""
    filters = grammar.filter_row({"source": ("Source", list(SOURCES))}, search="Name or words", labels=SOURCES)
    tools = choose_tools(definitions, filters.get(grammar.SEARCH, ""), filters.get("source"))
    if not tools:
        with grammar.show_empty_state("search_off", "Nothing matches", "No tool has these words."):
            names = [grammar.SEARCH, "source"]
            st.button("Clear search", icon=":material/close:", on_click=grammar.clear_filters, args=(names,))
        return
    settings = services.tools.settings(actor)
    figures = read_figures(services, actor)
    opened = next((tool for tool in definitions if tool.name == grammar.get_opened()), None)

    def draw_rows() -> None:
        is_narrow = compact or grammar.get_opened() is not None
        _draw_table(actor, tools, settings, figures, is_narrow=is_narrow)
        count = "1 tool" if len(tools) == 1 else f"{len(tools):,} tools"
        st.caption(f"{count} · runs, failures, time and cost of the last {FIGURES_DAYS} days")

    detail = None
    if opened is not None:
        set_on_tool = settings.get(opened.name, NO_SETTINGS)
        title = grammar.escape_markdown(opened.title or opened.name)
        detail = grammar.Detail(title, lambda: _draw_panel(services, actor, opened, set_on_tool))
    grammar.show_beside(draw_rows, detail)


def _draw_table(
    actor: Actor,
    tools: Sequence[ToolDefinition],
    settings: Mapping[str, ToolSettings],
    figures: Mapping[str, ToolFigures],
    *,
    is_narrow: bool,
) -> None:
    rows = [_build_row(actor, tool, settings.get(tool.name, NO_SETTINGS), figures.get(tool.name)) for tool in tools]
    text = st.column_config.TextColumn
    number = st.column_config.NumberColumn
    grammar.open_table(
        "tools",
        rows,
        [tool.name for tool in tools],
        {
            "name": text("Tool", width=214),
            "source": text("From", width=96, help="Built in, by HTTP, or of a server"),
            "effects": text("Effects", width=106, help="As the tool itself says"),
            "approval": text("When asked for", width=112),
            "state": text("State", width=62),
            "runs": number("Runs", format="localized", width=58, help=f"Of the last {FIGURES_DAYS} days"),
            "failed": text("Failed", width=66, alignment="right"),
            "mean": number("Mean, ms", format="localized", width=80),
            "cost": text("Cost", width=70, alignment="right", help="— means that no price per use is set"),
        },
        order=["name", "approval"] if is_narrow else _WIDE,
        height="content" if len(rows) < _MOST_UNSCROLLED else grammar.TABLE_HEIGHT,
        alt="Tools by name",
    )


def _build_row(
    actor: Actor, tool: ToolDefinition, settings: ToolSettings, figures: ToolFigures | None
) -> dict[str, Any]:
    return {
        "name": tool.name,
        "source": tool.server if tool.source == "mcp" else SOURCES.get(str(tool.source), str(tool.source)),
        "effects": "changes things" if tool.has_side_effects else "reads",
        "approval": _DEEDS[settings.policy_for(tool, actor.role, None)],
        "state": "✓ on" if settings.is_enabled else "○ off",
        "runs": figures.runs if figures else 0,
        "failed": format.format_share(figures.failure_share) if figures else None,
        "mean": round(figures.mean_ms) if figures and figures.mean_ms is not None else None,
        "cost": format_sum(figures.cost_nano_usd, 0) if figures and figures.cost_nano_usd is not None else None,
    }


def _draw_panel(services: Services, actor: Actor, tool: ToolDefinition, settings: ToolSettings) -> None:
    """Draw one tool: what models are told of it, a form to try it, its schemas, its settings."""
    may_manage = actor.can(Permission.MANAGE_TOOLS)
    with blocks.start_row(gap="xsmall"):
        st.badge("changes things" if tool.has_side_effects else "reads only", color="gray")
        if not settings.is_enabled:
            st.badge("○ off", color="gray")
    st.caption(blocks.escape_markdown(tool.name))
    st.text(tool.description)
    if tool.source == "http" and may_manage:
        with blocks.start_row():
            http_form.draw_buttons(services, actor, tool.name)
    _draw_test(services, actor, tool, settings)
    with st.expander("Parameters", icon=":material/data_object:"):
        st.code(json.dumps(to_builtins(tool.parameters), indent=2), language="json", wrap_lines=True)
    if tool.result_schema is not None:
        with st.expander("Result", icon=":material/data_object:"):
            st.code(json.dumps(to_builtins(tool.result_schema), indent=2), language="json", wrap_lines=True)
    with st.expander("Settings", icon=":material/tune:"):
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
        with blocks.show_errors(), st.spinner("It runs"):
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
        with blocks.show_errors():
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
