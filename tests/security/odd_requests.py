"""Requests with one text or number that no database holds, made from the OpenAPI document: of every route there is."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from lib.gateway.api.openapi import build_document

ODD_TEXTS = ("a\0b", "a\ud800b", "9" * 30)  # the last: a number that no database holds
_FORMS = {"date": "2026-10-31", "date-time": "2026-10-31T00:00:00Z", "decimal": "1"}
_REAL_NAMES = {"configuration": "rivers", "model": "rivers"}


@dataclass(frozen=True)
class OddRequest:
    """A request; `is_in_path` when the odd text is an id or a name in its address."""

    method: str
    address: str
    body: Any = None
    is_in_path: bool = False


def odd_requests() -> Iterator[OddRequest]:
    """For each operation one request a place and odd text: each parameter, each text and each name in its body."""
    for path, operations in build_document()["paths"].items():
        for method, operation in operations.items():
            for odd in ODD_TEXTS:
                yield from _of_operation(method, path, operation, odd)


def _of_operation(method: str, path: str, operation: Mapping[str, Any], odd: str) -> Iterator[OddRequest]:
    content = operation.get("requestBody", {}).get("content", {})
    schema = _resolve(content["application/json"]["schema"]) if content else {}
    body = make_example(schema) if content else None
    written = quote(odd.encode("utf-8", "surrogatepass"))
    if "{" in path:
        yield OddRequest(method, fill_address(path, written), body, is_in_path=True)
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "query":
            yield OddRequest(method, f"{fill_address(path, 'a')}?{parameter['name']}={written}", body)
    for field, changed in _place_odd_text(body, odd):
        shown = {name: part for name, part in changed.items() if name in {field, *schema.get("required", ())}}
        yield OddRequest(method, fill_address(path, "a"), shown)
        yield OddRequest(method, fill_address(path, "a"), {**shown, "prompt": shown.get("prompt", "a")})


def make_example(schema: Mapping[str, Any]) -> Any:
    """A document that a schema of ours describes, with every field."""
    schema = _resolve(schema)
    if "enum" in schema:
        return next(value for value in schema["enum"] if value is not None)
    kinds = schema.get("type", "string")
    match kinds if isinstance(kinds, str) else kinds[0]:
        case "object":
            fields = {name: make_example(field) for name, field in schema.get("properties", {}).items()}
            return {**(fields or {"a": "a"}), **{name: _REAL_NAMES[name] for name in fields if name in _REAL_NAMES}}
        case "array":
            return [make_example(schema.get("items", {}))]
        case "integer" | "number":
            return max(1, schema.get("minimum", 1))
        case "boolean":
            return False
        case _:
            return _FORMS.get(schema.get("format", ""), "a")


def _resolve(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema itself: where it leads elsewhere or offers several, the first that is not null."""
    if "$ref" in schema:
        return _resolve(build_document()["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    kinds = [choice for choice in schema.get("anyOf", ()) if choice.get("type") != "null"]
    return _resolve(kinds[0]) if kinds and "properties" not in schema else schema


def _place_odd_text(example: Any, odd: str) -> Iterator[tuple[str, Any]]:
    """The field of an object, and the example with one text below that field, or one name, that is odd."""
    if isinstance(example, str):
        yield "", odd
    elif isinstance(example, int) and odd.isdecimal():
        yield "", int(odd)
    elif isinstance(example, list):
        for index, part in enumerate(example):
            yield from (
                ("", [*example[:index], changed, *example[index + 1 :]]) for _, changed in _place_odd_text(part, odd)
            )
    elif isinstance(example, dict):
        yield odd, {**example, odd: "a"}
        for name, part in example.items():
            yield from ((name, {**example, name: changed}) for _, changed in _place_odd_text(part, odd))


def fill_address(path: str, text: str) -> str:
    """The address with `text` for everything in braces."""
    before, opening, rest = path.partition("{")
    return before + text + fill_address(rest.partition("}")[2], text) if opening else path
