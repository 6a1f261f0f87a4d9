"""Operations of the OpenAPI document: what each kind of address takes, and how it says no."""

from typing import Any

from lib.gateway.openapi_schemas import NAME, Schema, ref

OURS, OPENAI, ANTHROPIC = ("Ours", "Error"), ("OpenAI", "OpenAIError"), ("Anthropic", "AnthropicError")
REFUSALS = {
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
READS = (400, 401, 403, 404, 405, 503)
CALLS = tuple(REFUSALS)


def call(
    name: str,
    title: str,
    body: str,
    answer: str | None,
    protocol: tuple[str, str] = OURS,
    *,
    streams: bool = True,
) -> dict[str, Any]:
    """A door to a model. Without a shape of its answer it only streams; ours streams at an address of its own."""
    content: dict[str, Any] = {} if answer is None else {"application/json": {"schema": ref(answer)}}
    if answer is None or (streams and protocol != OURS):
        content["text/event-stream"] = {}
    return {
        "operationId": name,
        "summary": title,
        "tags": [protocol[0]],
        "requestBody": {"required": True, "content": {"application/json": {"schema": ref(body)}}},
        "responses": {"200": {"description": "The answer.", "content": content}, **refusals(CALLS, protocol[1])},
    }


def read(name: str, title: str, answer: str, parameters: list[Any], protocol: tuple[str, str] = OURS) -> dict[str, Any]:
    """An address that is read."""
    return {
        "operationId": name,
        "summary": title,
        "tags": [protocol[0]],
        "parameters": parameters,
        "responses": {"200": reply(answer, "What was asked for."), **refusals(READS, protocol[1])},
    }


def post(
    name: str,
    title: str,
    parameters: list[Any],
    body: str = "NewMetrics",
    answer: str = "Metrics",
    *,
    status: int = 201,
) -> dict[str, Any]:
    """An address that a document is sent to."""
    return {
        "operationId": name,
        "summary": title,
        "tags": ["Ours"],
        "parameters": parameters,
        "requestBody": {"required": True, "content": {"application/json": {"schema": ref(body)}}},
        "responses": {
            str(status): reply(answer, "As recorded."),
            **refusals((*READS, 408, 413), "Error"),
        },
    }


def open_to_all(name: str, title: str, responses: dict[str, Any]) -> dict[str, Any]:
    """An address without a key."""
    return {"operationId": name, "summary": title, "tags": ["Operation"], "security": [], "responses": responses}


def reply(schema: str | None, about: str) -> dict[str, Any]:
    """A JSON answer."""
    shape = ref(schema) if schema else {"type": "object"}
    return {"description": about, "content": {"application/json": {"schema": shape}}}


def plain(about: str) -> dict[str, Any]:
    """An answer in plain text."""
    return {"description": about, "content": {"text/plain": {"schema": {"type": "string"}}}}


def refusals(statuses: tuple[int, ...], error: str) -> dict[str, Any]:
    """How an address says no."""
    return {str(status): reply(error, REFUSALS[status]) for status in sorted(statuses)}


def path(name: str, about: str) -> dict[str, Any]:
    """A part of the address."""
    return {"name": name, "in": "path", "required": True, "description": about, "schema": NAME}


def query(name: str, about: str, schema: Schema) -> dict[str, Any]:
    """A value of the query."""
    return {"name": name, "in": "query", "description": about, "schema": schema}
