"""A variable of a prompt template: its type, and how a value of it stands in the text.

Values come as JSON (a program's) or as text (a form's, a CSV's): both are checked by the same rule. A number is written
as it was given, a truth as `true` or `false`, JSON as JSON.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from lib.errors import InvalidInput
from lib.patterns import compile_pattern

NAME = compile_pattern(r"[^\W\d]\w{0,63}")
MOST_CHOICES = 100
LONGEST_CHOICE = 200
LONGEST_VALUE = 1_000_000
_TRUTHS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


class VariableType(StrEnum):
    TEXT = "text"
    NUMBER = "number"
    CHOICE = "choice"
    BOOLEAN = "boolean"
    JSON = "json"


@dataclass(frozen=True)
class Variable:
    """`default` and `example` are as written into the text; without a default a value has to be given."""

    name: str
    type: VariableType = VariableType.TEXT
    description: str = ""
    default: str | None = None
    example: str = ""
    choices: tuple[str, ...] = ()

    def write_value(self, value: Any) -> str:
        """Write a value as it stands in the text; ValueError says what it must be."""
        match self.type:
            case VariableType.TEXT:
                text = value if isinstance(value, str) else _refuse("must be text")
            case VariableType.NUMBER:
                text = _write_number(value)
            case VariableType.CHOICE:
                text = value if value in self.choices else _refuse(f"must be one of {', '.join(self.choices)[:300]}")
            case VariableType.BOOLEAN:
                truth = value if isinstance(value, bool) else _TRUTHS.get(str(value).strip().lower())
                text = _refuse("must be true or false") if truth is None else json.dumps(truth)
            case VariableType.JSON:
                text = _write_json(value)
        if len(text) > LONGEST_VALUE:
            _refuse(f"must have at most {LONGEST_VALUE:,} characters")
        return text

    def to_record(self) -> dict[str, Any]:
        """Return the variable as a JSON object."""
        return {
            "name": self.name,
            "type": self.type.value,
            "description": self.description,
            "default": self.default,
            "example": self.example,
            "choices": list(self.choices),
        }


def read_variable(record: Any) -> Variable:
    """Read a variable from JSON and check it; raises InvalidInput with what can't be used."""
    if not isinstance(record, Mapping) or not isinstance(name := record.get("name"), str) or not NAME.fullmatch(name):
        raise _make_error("A variable", "its name must be letters, digits and underscores, at most 64")
    if unknown := set(record) - set(Variable.__dataclass_fields__):
        raise _make_error(name, f"it has no {', '.join(sorted(map(str, unknown)))[:80]}")
    kind = record.get("type", "text")
    choices = record.get("choices") or ()
    if kind not in set(VariableType):
        raise _make_error(name, f"its type must be one of {', '.join(VariableType)}")
    texts = {field: record.get(field) or "" for field in ("description", "example")}
    if not isinstance(choices, list | tuple) or not all(isinstance(text, str) for text in (*choices, *texts.values())):
        raise _make_error(name, "description, example and choices are text")
    variable = Variable(name, VariableType(kind), **texts, choices=tuple(dict.fromkeys(choices)))
    if (variable.type is VariableType.CHOICE) != bool(choices):
        raise _make_error(name, "a choice has choices, and nothing else does")
    if len(choices) > MOST_CHOICES or any(not text.strip() or len(text) > LONGEST_CHOICE for text in choices):
        raise _make_error(name, f"it may have {MOST_CHOICES} choices of at most {LONGEST_CHOICE} characters")
    raw_default = record.get("default")
    try:
        default = None if raw_default is None else variable.write_value(raw_default)
    except ValueError as error:
        raise _make_error(name, f"its default {error}") from None
    return Variable(variable.name, variable.type, **texts, default=default, choices=variable.choices)


def _write_number(value: Any) -> str:
    text = value.strip() if isinstance(value, str) else json.dumps(value) if _is_number(value) else ""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    return text if math.isfinite(number) and "_" not in text else _refuse("must be a number")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _write_json(value: Any) -> str:
    try:
        if isinstance(value, str):
            json.loads(value, parse_constant=_refuse)
            return value
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (ValueError, TypeError, RecursionError):
        pass
    return _refuse("must be JSON")


def _refuse(why: str) -> str:
    raise ValueError(why)


def _make_error(name: str, why: str) -> InvalidInput:
    return InvalidInput(f"{name[:64]} can't be used.", f"For a variable, {why}.", "Correct it.", field="variables")
