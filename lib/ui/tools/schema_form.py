"""A form made of a JSON Schema: a field for each property of a plain type, JSON for the rest."""

import json
from collections.abc import Mapping
from typing import Any

import streamlit as st

from lib.errors import InvalidInput
from lib.ui import blocks

_LONG = 400  # characters from which a text gets several lines


def draw_form(schema: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Draw the fields of an object's schema and return what they hold; InvalidInput for JSON that is none."""
    properties = schema.get("properties") or {}
    required = set(schema.get("required") or ())
    if not properties:
        st.caption("It takes no arguments.")
    filled: dict[str, Any] = {}
    for name, part in properties.items():
        part = part if isinstance(part, Mapping) else {}
        argument = _draw_field(str(name), part, f"{key}-{name}", is_required=name in required)
        if argument is not None:
            filled[str(name)] = argument
    return filled


def _draw_field(name: str, part: Mapping[str, Any], key: str, *, is_required: bool) -> Any:
    label = blocks.escape_markdown(str(part.get("title") or name)) + ("" if is_required else " :gray[optional]")
    options: dict[str, Any] = {
        "help": blocks.escape_markdown(str(part["description"])) if part.get("description") else None
    }
    options |= {"key": key}
    if isinstance(part.get("enum"), list):
        choices = [choice for choice in part["enum"] if isinstance(choice, str | int | float)]
        index = choices.index(part["default"]) if part.get("default") in choices else None
        return st.selectbox(label, choices, index=index, placeholder="Choose one", **options)
    match part.get("type"):
        case "boolean":
            return st.toggle(label, bool(part.get("default")), **options)
        case "integer" | "number" as kind:
            return _draw_number(label, part, options, is_whole=kind == "integer")
        case "string":
            return _draw_text(label, part, options, is_required=is_required)
        case _:
            return _draw_json(name, label, part, options)


def _draw_number(label: str, part: Mapping[str, Any], options: dict[str, Any], *, is_whole: bool) -> Any:
    cast = int if is_whole else float

    def read(name: str) -> int | float | None:
        bound = part.get(name)
        return cast(bound) if isinstance(bound, int | float) and not isinstance(bound, bool) else None

    step = 1 if is_whole else None
    return st.number_input(label, read("minimum"), read("maximum"), read("default"), step, **options)


def _draw_text(label: str, part: Mapping[str, Any], options: dict[str, Any], *, is_required: bool) -> str | None:
    default = part["default"] if isinstance(part.get("default"), str) else ""
    is_long = isinstance(part.get("maxLength"), int) and part["maxLength"] > _LONG
    draw = st.text_area if is_long else st.text_input
    text = draw(label, default, **options)
    return text if text or is_required else None


def _draw_json(name: str, label: str, part: Mapping[str, Any], options: dict[str, Any]) -> Any:
    default = json.dumps(part["default"], ensure_ascii=False) if "default" in part else ""
    text = st.text_area(f"{label} :gray[JSON]", default, height=68, **options)
    if not text.strip():
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{name} is not JSON.", f"{error}.", "Correct it.", field=name) from None
