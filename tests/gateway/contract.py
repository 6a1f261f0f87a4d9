"""What a client uses of an OpenAPI document, flat enough to be compared: addresses, statuses, fields by their paths."""

from collections.abc import Iterator, Mapping
from typing import Any

Contract = dict[str, dict[str, Any]]


def flatten(document: Mapping[str, Any]) -> Contract:
    """By method and address: the name, the statuses, the parameters, the fields of the body and of each good answer.

    A field is true where it has to be there; those of lists stand under `name[]`.
    """
    schemas = document["components"]["schemas"]
    return {
        f"{method.upper()} {path}": {
            "name": operation["operationId"],
            "statuses": sorted(operation["responses"]),
            "parameters": {one["name"]: one.get("required", False) for one in operation.get("parameters", [])},
            "body": _fields(operation.get("requestBody", {}), schemas),
            "answers": {
                status: _fields(answer, schemas) for status, answer in operation["responses"].items() if status < "3"
            },
        }
        for path, item in document["paths"].items()
        for method, operation in item.items()
    }


def _fields(content: Mapping[str, Any], schemas: Mapping[str, Any]) -> dict[str, bool]:
    fields: dict[str, bool] = {}
    for kind in content.get("content", {}).values():
        for name, is_required in _walk(kind.get("schema", {}), schemas, "", True):
            fields[name] = fields.get(name, False) or is_required
    return dict(sorted(fields.items()))


def _walk(schema: Mapping[str, Any], schemas: Mapping[str, Any], at: str, required: bool) -> Iterator[tuple[str, bool]]:
    if "$ref" in schema:
        schema = schemas[schema["$ref"].rpartition("/")[2]]
    choices = schema.get("anyOf", [])
    for choice in choices:  # a field of one of several shapes may be missing; null is no shape
        yield from _walk(choice, schemas, at, required and sum(one != {"type": "null"} for one in choices) == 1)
    if "items" in schema:
        yield from _walk(schema["items"], schemas, f"{at}[]", required)
    for name, field in schema.get("properties", {}).items():
        path = f"{at}.{name}" if at else name
        yield path, name in schema.get("required", [])
        yield from _walk(field, schemas, path, required)
