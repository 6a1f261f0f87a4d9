"""A custom metric: what somebody notes about a call, under a key, as text, number, truth or JSON.

Values are checked before they are stored: sums of them can't overflow, and one call can't be filled without end.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from lib.calls.live_call import make_storable
from lib.errors import InvalidInput
from lib.patterns import compile_pattern

MOST_PER_CALL = 100
LONGEST_TEXT = 2_000  # characters
LONGEST_JSON = 10_000
LONGEST_METADATA = 4_000
_LARGEST_INTEGER = 2**63 - 1
_LARGEST_FLOAT = 1e100
_KEY = compile_pattern(r"[A-Za-z0-9_.\-]{1,80}")


class MetricType(StrEnum):
    STRING = "string"
    INTEGER = "integer"
    FLOAT = "float"
    BOOLEAN = "boolean"
    JSON = "json"


NUMBERS = (MetricType.INTEGER, MetricType.FLOAT)


@dataclass(frozen=True)
class NewMetric:
    """A metric to record. Without a type it has that of its value; metadata says more about it."""

    key: str
    value: Any
    type: str | None = None
    metadata: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class CustomMetric:
    """A metric as it is stored. `user_id` made the call, `api_key_id` recorded it."""

    id: str
    call_id: str
    key: str
    type: MetricType
    value: Any
    metadata: Mapping[str, Any]
    created_at: datetime
    user_id: str | None
    api_key_id: str | None


def make_columns(new: NewMetric) -> dict[str, Any]:
    """key, type, value, number and metadata as the table holds them; InvalidInput says what can't be used."""
    if not isinstance(new.key, str) or not _KEY.fullmatch(new.key):
        why = "A key has 1 to 80 letters, digits, underscores, dots or dashes."
        raise InvalidInput("The key can't be used.", why, "Write it like answer.rating.", field="key")
    kind = _type_of(new)
    number: float | None = None
    match kind, new.value:
        case MetricType.BOOLEAN, bool() as truth:
            text = json.dumps(truth)
            number = float(truth)
        case MetricType.INTEGER, int() as whole if not isinstance(whole, bool) and abs(whole) <= _LARGEST_INTEGER:
            text = str(whole)
            number = float(whole)
        case MetricType.FLOAT, int() | float() as real if not isinstance(real, bool) and abs(real) <= _LARGEST_FLOAT:
            text = repr(float(real))
            number = float(real)
        case MetricType.STRING, str() as words if 0 < len(words) <= LONGEST_TEXT:
            text = make_storable(words)
        case MetricType.JSON, value:
            text = _encode_json(value, LONGEST_JSON, "value")
        case _:
            raise _make_value_error(kind)
    if new.metadata is not None and not isinstance(new.metadata, Mapping):
        raise InvalidInput("The metadata can't be used.", "It is not an object.", field="metadata")
    metadata = json.loads(_encode_json(new.metadata or {}, LONGEST_METADATA, "metadata"))
    return {"key": new.key, "type": kind.value, "value": text, "number": number, "metadata": metadata}


def parse(text: str, kind: str | None = None) -> NewMetric:
    """A metric without a key from typed text: of the given type, else a truth, a number or JSON if it is one."""
    if kind == MetricType.STRING:
        return NewMetric("", text, kind)
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        if kind is not None:
            raise _make_value_error(_type(kind)) from None
        return NewMetric("", text, MetricType.STRING)
    return NewMetric("", value, kind)


def read_metric(row: Mapping[Any, Any]) -> CustomMetric:
    """The metric of a row of `custom_metrics`."""
    kind = MetricType(row["type"])
    value = row["value"] if kind is MetricType.STRING else json.loads(row["value"])
    shared_columns = ("id", "call_id", "key", "metadata", "created_at", "user_id", "api_key_id")
    return CustomMetric(type=kind, value=value, **{name: row[name] for name in shared_columns})


def _type_of(new: NewMetric) -> MetricType:
    if new.type is not None:
        return _type(new.type)
    match new.value:
        case bool():
            return MetricType.BOOLEAN
        case int():
            return MetricType.INTEGER
        case float():
            return MetricType.FLOAT
        case str():
            return MetricType.STRING
        case _:
            return MetricType.JSON


def _type(name: Any) -> MetricType:
    try:
        return MetricType(name)
    except ValueError:
        why = f"The types are {', '.join(MetricType)}."
        raise InvalidInput("There is no such type of metric.", why, field="type") from None


def _encode_json(value: Any, longest: int, field: str) -> str:
    try:
        text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError):
        raise InvalidInput(f"The {field} can't be used.", "It can't be written as JSON.", field=field) from None
    if len(text) > longest:
        why = f"It has {len(text):,} characters as JSON; the limit is {longest:,}."
        raise InvalidInput(f"The {field} can't be used.", why, field=field)
    return text


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)


def _make_value_error(kind: MetricType) -> InvalidInput:
    rule = {
        MetricType.STRING: f"A string has 1 to {LONGEST_TEXT:,} characters.",
        MetricType.INTEGER: "An integer is a whole number of at most 64 bits.",
        MetricType.FLOAT: "A float is a number between -1e100 and 1e100.",
        MetricType.BOOLEAN: "A boolean is true or false.",
        MetricType.JSON: "It is not JSON.",
    }[kind]
    return InvalidInput("The value can't be used.", rule, field="value")
