"""Inputs for a prompt template's variables, one for each, by its type."""

from collections.abc import Sequence
from typing import Any

import streamlit as st

from lib.prompts.variable import Variable, VariableType
from lib.ui import blocks


def draw_variable_inputs(variables: Sequence[Variable], key: str, *, examples: bool = False) -> dict[str, Any]:
    """The values that were entered; an empty field is none, so its default holds. With `examples` those stand there."""
    values: dict[str, Any] = {}
    for variable in variables:
        label = variable.name + ("" if variable.default is None else " (optional)")
        value = _draw_input(
            variable, blocks.escape_markdown(label), f"{key}-{variable.name}", variable.example if examples else ""
        )
        if value not in (None, ""):
            values[variable.name] = value
    return values


def _draw_input(variable: Variable, label: str, key: str, start: str) -> str | None:
    hint = variable.default or ""
    help_text = blocks.escape_markdown(variable.description) or None
    match variable.type:
        case VariableType.CHOICE | VariableType.BOOLEAN:
            choices = list(variable.choices) or ["true", "false"]
            index = next((choices.index(choice) for choice in (start, hint) if choice in choices), None)
            return st.selectbox(label, choices, index=index, placeholder="Choose one", help=help_text, key=key)
        case VariableType.TEXT | VariableType.JSON:
            return st.text_area(label, start, height=68, placeholder=hint, help=help_text, key=key)
        case VariableType.NUMBER:
            return st.text_input(label, start, placeholder=hint or "A number", help=help_text, key=key)
