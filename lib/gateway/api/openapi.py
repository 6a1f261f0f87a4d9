"""`/openapi.json`: the HTTP interface as an OpenAPI 3.1 document (https://spec.openapis.org/oas/v3.1.0).

`/api` is described by what serves it: the table of its operations, and the structs that check what they take and
answer. A test compares the document with what is mounted, and sends requests made from it to a live server.
"""

import json
from collections.abc import Iterable
from functools import cache
from typing import Any

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from lib.fast_json import encode_text
from lib.gateway.api import calls
from lib.gateway.api.bodies import ErrorBody, Name, Nothing, UsageRowBody, build_ref
from lib.gateway.api.openapi_others import ANTHROPIC, OPENAI, SCHEMAS
from lib.gateway.api.operation import Operation
from lib.patterns import compile_pattern

VERSION = "1"
_REFUSALS = {
    400: "A value can't be used; `param` names it.",
    401: "The API key is not valid.",
    403: "The key's scope, or its owner's role, does not allow it.",
    404: "No such thing, or it is somebody else's.",
    405: "Not with this method.",
    408: "The body did not arrive in time.",
    409: "The state has moved on.",
    413: "The body is too large.",
    429: "A limit, a budget, or the provider's limit; `Retry-After` says when to come back, where waiting helps.",
    500: "A fault of ours.",
    502: "The provider failed, or refused our account.",
    503: "The provider or the database does not answer.",
    504: "The provider was too slow.",
}
_READS = (400, 401, 403, 404, 405, 503)
_BODIES = (408, 413)
_CALLS = tuple(_REFUSALS)
_PARAMETER = compile_pattern(r"\{(\w+)\}")
_PATHS = {  # each parameter of an address; one that is missing here ends the making of the document
    "call_id": "The id of a call, or of one of its attempts.",
    "slug": "Its name.",
    "conversation_id": "The id of a conversation.",
    "collection_id": "A collection's id or name.",
    "document_id": "A document's id.",
    "model": "A configuration's name.",
    "run_id": "The id of a workflow's run.",
    "batch_id": "The id of a table of runs.",
    "approval_id": "The id of a request for a decision.",
    "grant_id": "The id of a standing grant.",
    "name": "A tool's name.",
    "team": "A team's short name or id.",
    "cost": "A shared cost's name.",
    "member": "A person's name or id.",
    "execution_id": "The id of one run of a tool.",
}


@cache
def build_document() -> dict[str, Any]:
    """The whole document."""
    operations = [operation for methods in calls.OPERATIONS.values() for operation in methods.values()]
    structs = {kind for operation in operations for kind in (operation.types.body, operation.types.answer)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "LLM Manager",
            "version": VERSION,
            "description": "One control room for a team's language models. Every call becomes a row in the ledger.",
        },
        "servers": [{"url": "/"}],
        "security": [{"key": []}],
        "tags": [{"name": name} for name in ("Ours", "OpenAI", "Anthropic", "Operation")],
        "paths": {
            **{path: _describe_path(path, methods) for path, methods in calls.OPERATIONS.items()},
            **_list_model_paths(),
            **_list_service_paths(),
        },
        "components": {
            "schemas": _build_schemas([*structs, UsageRowBody, ErrorBody]) | SCHEMAS,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "An API key, `llmm_...`."}},
        },
    }


async def serve(_request: Request) -> Response:
    """The document; it holds no secret, so it needs no key."""
    return Response(encode_text(build_document()), media_type="application/json")


def _build_schemas(kinds: Iterable[type[Struct]]) -> dict[str, Any]:
    """The structs and all that they hold, by their names in the document."""
    kinds = sorted(set(kinds), key=lambda kind: kind.__name__)
    _, components = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    by_name = {kind.__name__: kind for kind in kinds}
    for name, schema in components.items():
        extra = dict(getattr(by_name.get(name), "SCHEMA", {}))
        for field, field_schema in extra.pop("properties", {}).items():
            schema["properties"][field] = {
                key: schema["properties"][field][key] for key in ("description",) if key in schema["properties"][field]
            } | field_schema
        schema.update(extra)
        _tidy(schema)
    text = json.dumps({name.removesuffix("Body"): schema for name, schema in components.items()})
    schemas: dict[str, Any] = json.loads(text.replace('Body"}', '"}'))
    return schemas


def _tidy(schema: dict[str, Any]) -> None:
    """Without what says nothing: class names, and null as what a missing field is."""
    schema.pop("title", None)
    for field in schema.get("properties", {}).values():
        if field.get("default", 0) is None:
            del field["default"]


def _describe_path(path: str, methods: dict[str, Operation]) -> dict[str, Any]:
    """An address of `/api`."""
    return {method.lower(): _describe_operation(path, method, operation) for method, operation in methods.items()}


def _describe_operation(path: str, method: str, operation: Operation) -> dict[str, Any]:
    query, body, answer = operation.types
    content = {"text/event-stream": {}} if operation.streams else _build_json_content(answer.__name__)
    statuses = _CALLS if operation.makes_call else _READS if method == "GET" else _READS + _BODIES
    about = "The answer." if operation.makes_call else "What was asked for." if method == "GET" else "As recorded."
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.title,
        "tags": ["Ours"],
        "parameters": _list_parameters(path, query),
        "responses": {
            str(operation.status): {"description": about, "content": content},
            **_describe_refusals(statuses),
        },
    }
    if method == "POST":
        described["requestBody"] = {"required": True, "content": _build_json_content(body.__name__)}
    return described


def _list_parameters(path: str, query: type[Struct] = Nothing) -> list[dict[str, Any]]:
    """The parts of the address, and the fields of the query."""
    name_schema = msgspec.json.schema(Name)
    parameters = [
        {"name": name, "in": "path", "required": True, "description": _PATHS[name], "schema": name_schema}
        for name in _PARAMETER.findall(path)
    ]
    _, components = msgspec.json.schema_components([query])
    shape = components[query.__name__]
    for name, schema in shape["properties"].items():
        about = schema.pop("description", "")
        if schema.pop("default", None) is None and "anyOf" in schema:
            schema = schema["anyOf"][0]  # a query has no null
        parameter = {"name": name, "in": "query", "description": about, "schema": schema}
        parameters.append(parameter | ({"required": True} if name in shape.get("required", ()) else {}))
    return parameters


def _build_json_content(name: str) -> dict[str, Any]:
    return {"application/json": {"schema": build_ref(name)}}


def _describe_refusals(statuses: Iterable[int], error: str = "Error") -> dict[str, Any]:
    """How an address says no."""
    return {
        str(status): {"description": _REFUSALS[status], "content": _build_json_content(error)}
        for status in sorted(set(statuses))
    }


def _describe_model_call(
    name: str, title: str, body: str | None, answer: str, protocol: tuple[str, str], *, streams: bool = False
) -> dict[str, Any]:
    """An address of another's protocol; without a body it is read."""
    content = _build_json_content(answer) | ({"text/event-stream": {}} if streams else {})
    described: dict[str, Any] = {"operationId": name, "summary": title, "tags": [protocol[0]]}
    if body is not None:
        described["requestBody"] = {"required": True, "content": _build_json_content(body)}
    answers = {"200": {"description": "The answer.", "content": content}}
    return described | {"responses": answers | _describe_refusals(_READS if body is None else _CALLS, protocol[1])}


def _list_model_paths() -> dict[str, Any]:
    chat = _describe_model_call(
        "chat", "OpenAI's chat completions", "ChatRequest", "ChatCompletion", OPENAI, streams=True
    )
    responses = _describe_model_call(
        "responses", "OpenAI's responses", "ResponsesRequest", "Response", OPENAI, streams=True
    )
    embeddings = _describe_model_call("embeddings", "OpenAI's embeddings", "EmbeddingsRequest", "Embeddings", OPENAI)
    listed = _describe_model_call("models", "Configurations that the key may call", None, "Models", OPENAI)
    model = _describe_model_call("model", "One of them", None, "Model", OPENAI)
    messages = _describe_model_call(
        "messages", "Anthropic's messages", "MessagesRequest", "AnthropicMessage", ANTHROPIC, streams=True
    )
    title = "An estimate of a question's length"
    count = _describe_model_call("countTokens", title, "MessagesRequest", "TokenCount", ANTHROPIC)
    path = "/v1/models/{model}"
    return {
        "/v1/chat/completions": {"post": chat},
        "/v1/responses": {"post": responses},
        "/v1/embeddings": {"post": embeddings},
        "/v1/models": {"get": listed},
        path: {"get": model | {"parameters": _list_parameters(path)}},
        "/v1/messages": {"post": messages},
        "/v1/messages/count_tokens": {"post": count},
    }


def _list_service_paths() -> dict[str, Any]:
    health = _build_json_content("Health")
    lives = {"200": {"description": "It does.", "content": health}}
    ready = {
        "200": {"description": "Ready.", "content": health},
        "503": {"description": "Not ready, and why.", "content": health},
    }
    openapi_response = {
        "200": {"description": "OpenAPI 3.1.", "content": {"application/json": {"schema": {"type": "object"}}}}
    }
    figures = {200: "Text, version 0.0.4."} | {status: _REFUSALS[status] for status in (401, 403, 503)}
    text = {"text/plain": {"schema": {"type": "string"}}}
    prometheus = {str(status): {"description": about, "content": text} for status, about in figures.items()}
    title = "The day's figures, as Prometheus reads them"
    return {
        "/healthz": {"get": _open("healthz", "Whether the process lives", lives) | {"security": []}},
        "/readyz": {"get": _open("readyz", "Whether it can serve", ready) | {"security": []}},
        "/metrics": {"get": _open("prometheus", title, prometheus)},
        "/openapi.json": {"get": _open("openapi", "This document", openapi_response) | {"security": []}},
    }


def _open(name: str, title: str, responses: dict[str, Any]) -> dict[str, Any]:
    return {"operationId": name, "summary": title, "tags": ["Operation"], "responses": responses}


routes: list[BaseRoute] = [Route("/openapi.json", serve, methods=["GET"])]
