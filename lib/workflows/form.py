"""The typed form of an input or an approval: values checked, and the form as a JSON Schema."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from lib.errors import InvalidInput
from lib.fast_json import decode, encode
from lib.tokens.message_text import read_message_text
from lib.workflows.definition import Field

MESSAGES = "messages"  # the field that gets a whole conversation
LONGEST_INPUTS = 2_000_000  # bytes of JSON
_TYPES = {"text": "string", "long_text": "string", "number": "number", "integer": "integer", "boolean": "boolean"}


def check_inputs(fields: Sequence[Field], inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Check a form's values and return them typed, with defaults; raises InvalidInput with all that is wrong."""
    fields_by_name = {field.name: field for field in fields}
    problems = [f"{str(name)[:60]} is no field of the form." for name in inputs if name not in fields_by_name]
    values: dict[str, Any] = {}
    for name, field in fields_by_name.items():
        value = inputs.get(name)
        if value is None or value == "":
            if field.default is None and field.required and value is None:
                problems.append(f"{field.label or name} is missing.")
            elif field.required and value == "" and field.type != "boolean":
                problems.append(f"{field.label or name} is empty.")
            values[name] = field.default if value is None else _read_default(field)
            continue
        try:
            values[name] = _read_value(field, value)
        except ValueError as error:
            problems.append(f"{field.label or name} {error}.")
    if problems:
        raise InvalidInput("The inputs can't be used.", " ".join(problems[:12]), "Correct them.", field="inputs")
    if len(encode(values)) > LONGEST_INPUTS:
        raise InvalidInput("The inputs are too long.", f"The limit is {LONGEST_INPUTS:,} bytes.", "", field="inputs")
    return values


def fill_from_messages(
    fields: Sequence[Field], messages: Sequence[Mapping[str, Any]], values: Any = None
) -> dict[str, Any]:
    """Fill a form from a conversation: `values`, the last words of its person in the first field of text, and all
    messages in a field of that name.
    """
    inputs = dict(values) if isinstance(values, Mapping) else {}
    users = [message for message in messages if message.get("role") == "user"]
    words = read_message_text(dict(users[-1])) if users else ""
    main = find_main_field(fields)
    if main is not None:
        inputs.setdefault(main.name, words)
    if any(field.name == MESSAGES for field in fields):
        inputs.setdefault(MESSAGES, [dict(message) for message in messages])
    return inputs


def find_main_field(fields: Sequence[Field]) -> Field | None:
    """The field of a form that a person's words go into: the first of text."""
    return next((f for f in fields if f.type in ("text", "long_text", "json") and f.name != MESSAGES), None)


def _read_default(field: Field) -> Any:
    return field.default if field.default is not None else ("" if field.type in ("text", "long_text") else None)


def _read_value(field: Field, value: Any) -> Any:
    match field.type:
        case "text" | "long_text":
            text = value if isinstance(value, str) else encode(value).decode()
            if len(text) > field.max_length:
                raise ValueError(f"has {len(text):,} characters; the limit is {field.max_length:,}")
            return text
        case "number" | "integer":
            return _read_number(field, value)
        case "boolean":
            return _read_boolean(value)
        case "choice":
            if value not in field.choices:
                raise ValueError(f"is none of {', '.join(field.choices)[:200]}")
            return value
        case "json":
            return _read_json(value)


def _read_number(field: Field, value: Any) -> int | float:
    try:
        number = float(value) if not isinstance(value, bool) else math.nan
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError("is no number")
    if field.type == "integer":
        if number != int(number):
            raise ValueError("is no whole number")
        return int(number)
    return number


def _read_boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word in ("true", "yes", "1", "on"):
        return True
    if word in ("false", "no", "0", "off"):
        return False
    raise ValueError("is neither true nor false")


def _read_json(value: Any) -> Any:
    """JSON where a text is some; any other text as it is."""
    if isinstance(value, str) and value.strip()[:1] in ("{", "["):
        try:
            return decode(value)
        except (ValueError, RecursionError):
            return value
    return value


def build_form_schema(fields: Sequence[Field]) -> dict[str, Any]:
    """Build the JSON Schema of a form."""
    properties: dict[str, Any] = {}
    for field in fields:
        kind = _TYPES.get(field.type)
        described: dict[str, Any] = {"title": field.label or field.name}
        described |= {"type": kind} if kind else {}
        described |= {"enum": [*field.choices]} if field.type == "choice" else {}
        described |= {"description": field.help} if field.help else {}
        described |= {"default": field.default} if field.default is not None else {}
        properties[field.name] = described
    required = [field.name for field in fields if field.required and field.default is None]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
