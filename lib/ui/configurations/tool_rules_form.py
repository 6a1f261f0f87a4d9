"""The tools of a configuration, as fields of its form: which, when a person is asked, for programs, and the limits."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import streamlit as st

from lib.access.permissions import Actor
from lib.configs.configurations import Configuration
from lib.configs.tool_rules import NANO, ApprovalPolicy, ProgramTools, ToolRules
from lib.services import Services

_PROGRAMS = {
    ProgramTools.OFF: "Programs run their own tools; none of these are added",
    ProgramTools.RUN: "These tools run here for programs that bring none",
    ProgramTools.MIX: "Those of them that only read also join a program's own",
}
_POLICIES = {
    ApprovalPolicy.AUTO: "Run without asking",
    ApprovalPolicy.ASK: "Ask a person first",
    ApprovalPolicy.DENY: "Never run",
}


def draw_tool_rules(
    services: Services, actor: Actor, configuration: Configuration | None
) -> Callable[[], dict[str, Any]]:
    """Draw the fields, folded away; returns a function that reads them as `ToolRules.to_record` writes them."""
    rules = ToolRules.from_record(configuration.tools if configuration else {})
    tool_names = [tool.name for tool in services.tools.definitions(actor)]
    label = f"Tools · {len(rules.names)}" if rules.names else "Tools"
    with st.expander(label, icon=":material/build:"):
        names = st.multiselect(
            "Tools that the model may ask for",
            _add_own(tool_names, rules.names),
            default=list(rules.names),
            accept_new_options=True,
            placeholder="None",
            help="A pattern such as github__* names all tools of a server. Access by role and app holds beside this.",
        )
        tools_by_policy = {policy: _draw_policy_field(policy, tool_names, rules) for policy in ApprovalPolicy}
        programs = st.selectbox(
            "Over HTTP",
            list(ProgramTools),
            index=list(ProgramTools).index(rules.programs),
            format_func=_PROGRAMS.__getitem__,
        )
        waits = st.toggle(
            "A program's request waits for a person's decision",
            rules.waits,
            help="Otherwise it is told where the question stands, as an error of the tool.",
        )
        numbers = _draw_number_fields(rules)

    def read() -> dict[str, Any]:
        approval = {name: policy for policy, patterns in tools_by_policy.items() for name in patterns}
        draft = {"names": names, "approval": approval, "programs": programs, "waits": waits, **numbers}
        return ToolRules.from_record(draft).to_record()

    return read


def _draw_policy_field(policy: ApprovalPolicy, tool_names: Sequence[str], rules: ToolRules) -> list[str]:
    current = [pattern for pattern, of_pattern in rules.approval.items() if of_pattern is policy]
    return st.multiselect(
        _POLICIES[policy],
        _add_own(tool_names, current),
        default=current,
        accept_new_options=True,
        placeholder="As each tool says: what only reads runs, all else asks",
    )


def _draw_number_fields(rules: ToolRules) -> dict[str, Any]:
    columns = st.columns(3)
    rounds = columns[0].number_input("Rounds", 1, 50, rules.max_rounds, help="Calls of the model in one turn, at most")
    seconds = columns[1].number_input("Seconds", 1, 3600, rules.max_seconds, help="A person's thinking does not count")
    cost = columns[2].number_input(
        "Cost of a turn, $",
        min_value=0.0001,
        value=None if rules.max_cost_nano_usd is None else rules.max_cost_nano_usd / NANO,
        format="%.4f",
        placeholder="No limit",
    )
    described = columns[0].number_input(
        "Tools described", 1, 128, rules.most_described, help="With more of them the model gets a search of tools"
    )
    characters = columns[1].number_input("Characters of a result", 100, 1_000_000, rules.max_output_characters)
    return {
        "max_rounds": int(rounds),
        "max_seconds": int(seconds),
        "most_described": int(described),
        "max_output_characters": int(characters),
        "max_cost_nano_usd": None if cost is None else int(Decimal(str(cost)) * NANO),
    }


def _add_own(tool_names: Sequence[str], own: Sequence[str]) -> list[str]:
    return list(dict.fromkeys([*tool_names, *own]))
