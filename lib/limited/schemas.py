"""JSON Schema without a network: the only module that uses jsonschema. Runs in a limited child, see `rules`.

By itself the library fetches what `$ref`, `$dynamicRef` and relative ids point to, from the web and from files. Here
its registry holds the drafts' own schemas and retrieves nothing.
"""

import json
from collections.abc import Mapping
from typing import Any

import jsonschema
import referencing
import referencing.exceptions

_NOTHING = referencing.Registry[Any]()  # without a retriever: what is not in it is not there
_MOST_ERRORS = 20
_LONGEST_ERROR = 200


class UnusableSchema(Exception):
    """A schema can't be used; the message says why in a sentence."""


def check_schema(schema: Mapping[str, Any]) -> None:
    """Check a schema by the draft it names; raises UnusableSchema with the place that breaks it."""
    kind = jsonschema.validators.validator_for(schema)
    meta = kind(kind.META_SCHEMA, registry=_NOTHING, format_checker=kind.FORMAT_CHECKER)
    error = jsonschema.exceptions.best_match(meta.iter_errors(schema))
    if error is not None:
        position = "/".join(map(str, error.path)) or "its top"
        raise UnusableSchema(f"At {position}: {error.message[:_LONGEST_ERROR]}")


def list_errors(schema: Mapping[str, Any], answer: str) -> list[str]:
    """List where an answer does not fit; raises UnusableSchema where the schema points outside itself."""
    try:
        value = json.loads(answer)
    except ValueError as error:
        return [f"It is not JSON: {error}."]
    except RecursionError:
        return ["It is not JSON that can be checked: it is nested too deeply."]
    kind = jsonschema.validators.validator_for(schema, jsonschema.Draft202012Validator)
    try:
        schema_errors = sorted(kind(schema, registry=_NOTHING).iter_errors(value), key=lambda error: error.json_path)
    except referencing.exceptions.Unresolvable as error:
        raise UnusableSchema(f"The schema points to {error.ref[:_LONGEST_ERROR]}, which is not in it.") from None
    return [f"{error.json_path}: {error.message[:_LONGEST_ERROR]}" for error in schema_errors[:_MOST_ERRORS]]
