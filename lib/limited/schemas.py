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
_MOST_ERRORS, _LONGEST_ERROR = 20, 200


class Unusable(Exception):
    """Why a schema can't be used, in a sentence."""


def check(schema: Mapping[str, Any]) -> None:
    """Unusable says where the schema is none by the draft it names."""
    kind = jsonschema.validators.validator_for(schema)
    meta = kind(kind.META_SCHEMA, registry=_NOTHING, format_checker=kind.FORMAT_CHECKER)
    error = jsonschema.exceptions.best_match(meta.iter_errors(schema))
    if error is not None:
        where = "/".join(map(str, error.path)) or "its top"
        raise Unusable(f"At {where}: {error.message[:_LONGEST_ERROR]}")


def errors(schema: Mapping[str, Any], answer: str) -> list[str]:
    """What in an answer does not fit, each with its place; Unusable where the schema points outside itself."""
    try:
        value = json.loads(answer)
    except ValueError as error:
        return [f"It is not JSON: {error}."]
    except RecursionError:
        return ["It is not JSON that can be checked: it is nested too deeply."]
    kind = jsonschema.validators.validator_for(schema, jsonschema.Draft202012Validator)
    try:
        found = sorted(kind(schema, registry=_NOTHING).iter_errors(value), key=lambda error: error.json_path)
    except referencing.exceptions.Unresolvable as error:
        raise Unusable(f"The schema points to {error.ref[:_LONGEST_ERROR]}, which is not in it.") from None
    return [f"{error.json_path}: {error.message[:_LONGEST_ERROR]}" for error in found[:_MOST_ERRORS]]
