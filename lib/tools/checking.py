"""Arguments and results held against JSON Schemas, and their sizes.

Schemas come from strangers: they are checked in the limited child (`lib.limited.rules`), which fetches nothing and
has a limit of time. What a model writes as arguments is a text that may be no JSON.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from lib.errors import InvalidInput
from lib.fast_json import decode, encode_text
from lib.limited import rules
from lib.limited.child import NotComputed

LONGEST_ARGUMENTS = 256 * 1024  # characters of JSON
LONGEST_SCHEMA = 64 * 1024
_MOST_TOLD = 5


class JsonMeasure(NamedTuple):
    """The SHA-256 (hexadecimal) and the bytes of a JSON value, written with sorted keys."""

    hash: str
    size: int


def measure_json(value: Any) -> JsonMeasure:
    """Measure a JSON value, so that equal ones have equal hashes."""
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
    except (ValueError, RecursionError, TypeError):
        text = encode_text(value)
    written = text.encode("utf-8", "replace")
    return JsonMeasure(hashlib.sha256(written).hexdigest(), len(written))


def read_arguments(arguments: Mapping[str, Any] | str) -> dict[str, Any]:
    """Read a tool's arguments, an object or its JSON; InvalidInput with a reason that a model can act on."""
    if not isinstance(arguments, str):
        return dict(arguments)
    if len(arguments) > LONGEST_ARGUMENTS:
        raise _make_error(f"They have {len(arguments):,} characters; the limit is {LONGEST_ARGUMENTS:,}.")
    try:
        parsed = decode(arguments) if arguments.strip() else {}
    except ValueError as error:
        raise _make_error(f"They are not JSON: {str(error)[:200]}.") from None
    except RecursionError:
        raise _make_error("They are nested too deeply.") from None
    if not isinstance(parsed, dict):
        raise _make_error("They are not a JSON object.")
    return parsed


def check_arguments(schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> None:
    """Hold arguments against a tool's schema; InvalidInput lists where they don't fit."""
    if errors := list_schema_errors(schema, arguments):
        raise _make_error(" ".join(errors))


def list_schema_errors(schema: Mapping[str, Any], value: Any) -> list[str]:
    """List where a JSON value does not fit a schema, at most five; a schema that can't tell is an error itself."""
    try:
        return rules.list_schema_errors(schema, encode_text(value))[:_MOST_TOLD]
    except NotComputed as error:
        return [f"The schema can't be used: {error.why}"]
    except RecursionError:
        return ["It is nested too deeply."]


def check_schema(schema: Any, field_name: str) -> None:
    """Check that a value is a usable JSON Schema of an object; raises InvalidInput."""
    if not isinstance(schema, Mapping) or schema.get("type", "object") != "object":
        raise InvalidInput("The schema can't be used.", "It must describe an object.", field=field_name)
    if len(encode_text(schema)) > LONGEST_SCHEMA:
        raise InvalidInput("The schema can't be used.", f"It may have {LONGEST_SCHEMA:,} characters.", field=field_name)
    try:
        rules.check_schema(schema)
    except NotComputed as error:
        raise InvalidInput("The schema can't be used.", error.why, "Correct it.", field=field_name) from None


def _make_error(why: str) -> InvalidInput:
    return InvalidInput("The arguments don't fit the tool.", why, "Correct them.", field="arguments")
