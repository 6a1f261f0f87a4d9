"""`/openapi.json`: the HTTP interface as an OpenAPI 3.1 document (https://spec.openapis.org/oas/v3.1.0).

It is written by hand, so that it says what a program needs and no more; a test compares it with what is mounted and
sends requests made from it to a live server.
"""

from functools import cache
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from lib.fast_json import encode_text
from lib.gateway.openapi_schemas import COUNT, NAME, SCHEMAS, Schema, ref

VERSION = "1"
_OURS, _OPENAI, _ANTHROPIC = ("Ours", "Error"), ("OpenAI", "OpenAIError"), ("Anthropic", "AnthropicError")
_REFUSALS = {
    400: "A value can't be used; `param` names it.",
    401: "The API key is not valid.",
    403: "The key's scope, or its owner's role, does not allow it.",
    404: "No such thing, or it is somebody else's.",
    405: "Not with this method.",
    408: "The body did not arrive in time.",
    409: "The state has moved on.",
    413: "The body is too large.",
    429: "A limit, a budget, or the provider's limit; `Retry-After` says when to come back.",
    500: "A fault of ours.",
    502: "The provider failed, or refused our account.",
    503: "The provider or the database does not answer.",
    504: "The provider was too slow.",
}
_READS = (400, 401, 403, 404, 405, 503)
_CALLS = tuple(_REFUSALS)


@cache
def document() -> dict[str, Any]:
    """The whole document."""
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
        "paths": {**_ours(), **_conversations(), **_openai(), **_anthropic(), **_operation()},
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "An API key, `llmm_…`."}},
        },
    }


async def serve(_request: Request) -> Response:
    """The document; it holds no secret, so it needs no key."""
    return Response(encode_text(document()), media_type="application/json")


def _ours() -> dict[str, Any]:
    span = [_query("from", "First day (UTC).", _DAY), _query("to", "Last day (UTC), included.", _DAY)]
    call = [_path("call_id", "The id of a call, or of one of its attempts.")]
    tokens = {**COUNT, "minimum": 1, "maximum": 100_000_000}
    slug = _query("configuration", "A configuration's name.", NAME) | {"required": True}
    sizes = [_query("prompt_tokens", "Of the question.", tokens), _query("max_tokens", "Of the answer.", tokens)]
    by = "Dimensions, parted by commas: provider, model, app, user, hour, day, week, month and more."
    events = "Events `chunk` {content, reasoning?, tokens}; then `done` (an answer without its words) or `error`."
    return {
        "/api/generate": {"post": _call("generate", "Ask a model", "Question", "Answer")},
        "/api/stream": {"post": _call("stream", f"Ask a model and read as it answers. {events}", "Question", None)},
        "/api/calls/{call_id}": {"get": _read("call", "One call of the ledger", "Call", call)},
        "/api/calls/{call_id}/metrics": {
            "get": _read("listMetrics", "What was noted about a call", "Metrics", call),
            "post": _post("recordMetrics", "Note something about a call of the key's own", call),
        },
        "/api/prompts": {
            "get": _read(
                "listPrompts",
                "Prompt templates that the key's app can use",
                "Prompts",
                [_query("category", "Only of this one.", NAME)],
            )
        },
        "/api/prompts/{slug}": {
            "get": _read(
                "prompt",
                "A version of one, `production` without label and version",
                "Prompt",
                [
                    _path("slug", "Its name."),
                    _query("label", "Of the version.", NAME),
                    _query("version", "Its number.", {**COUNT, "minimum": 1, "maximum": 100_000_000}),
                ],
            )
        },
        "/api/metrics": {
            "get": _read(
                "metrics",
                "Figures of custom metrics by key",
                "MetricFigures",
                [
                    _query("key", "Only this one.", NAME),
                    _query("app", "Only these apps, parted by commas.", NAME),
                    *span,
                ],
            )
        },
        "/api/usage": {
            "get": _read("usage", "Calls, tokens and cost", "UsageTable", [_query("by", by, NAME), *span]),
        },
        "/api/budgets/check": {
            "get": _read("checkBudgets", "Would a call pass every budget", "BudgetCheck", [slug, *sizes])
        },
    }


def _conversations() -> dict[str, Any]:
    one, root = [_path("conversation_id", "The id of a conversation.")], "/api/conversations"
    page = _query("page", "30 of them each.", {**COUNT, "minimum": 1, "maximum": 100_000})
    asked = [_query("status", "Only these.", {"type": "string", "enum": ["active", "ended", "expired"]}), page]
    asked += [_query(name, "Only of this one.", NAME) for name in ("folder", "tag")]
    asked.append(_query("archived", "`true` for the archive.", {"type": "string", "enum": ["true", "false"]}))
    events = "Events `chunk` {content, reasoning?, tokens}; then `done` (a ConversationAnswer) or `error`."
    said = _call("sendMessage", "Ask, with all that was said before", "NewMessage", "ConversationAnswer")
    streamed = _call("streamMessage", f"Ask and read as the model answers. {events}", "NewMessage", None)
    said["responses"]["201"] = said["responses"].pop("200")
    for operation in (said, streamed):
        operation["parameters"] = one
    return {
        root: {
            "get": _read("listConversations", "Conversations, pinned first, then the newest", "Conversations", asked),
            "post": _post("createConversation", "Begin a conversation", [], "NewConversation", "Conversation"),
        },
        f"{root}/{{conversation_id}}": {
            "get": _read("readConversation", "One with the last 100 messages of its branch", "Thread", one)
        },
        f"{root}/{{conversation_id}}/messages": {"post": said},
        f"{root}/{{conversation_id}}/stream": {"post": streamed},
        f"{root}/{{conversation_id}}/branch": {
            "post": _post("chooseBranch", "Show the branch of a message", one, "BranchChoice", "Thread", status=200)
        },
        f"{root}/{{conversation_id}}/stop": {
            "post": _post("stopAnswer", "Stop the answer that is written", one, "Nothing", "Thread", status=200)
        },
        f"{root}/{{conversation_id}}/end": {
            "post": _post("endConversation", "End a conversation", one, "Nothing", "Conversation", status=200)
        },
    }


def _openai() -> dict[str, Any]:
    one = [_path("model", "A configuration's name.")]
    return {
        "/v1/chat/completions": {
            "post": _call("chat", "OpenAI's chat completions", "ChatRequest", "ChatCompletion", _OPENAI)
        },
        "/v1/responses": {"post": _call("responses", "OpenAI's responses", "ResponsesRequest", "Response", _OPENAI)},
        "/v1/embeddings": {
            "post": _call(
                "embeddings", "OpenAI's embeddings", "EmbeddingsRequest", "Embeddings", _OPENAI, streams=False
            )
        },
        "/v1/models": {"get": _read("models", "Configurations that the key may call", "Models", [], _OPENAI)},
        "/v1/models/{model}": {"get": _read("model", "One of them", "Model", one, _OPENAI)},
    }


def _anthropic() -> dict[str, Any]:
    title = "An estimate of a question's length"
    return {
        "/v1/messages": {
            "post": _call("messages", "Anthropic's messages", "MessagesRequest", "AnthropicMessage", _ANTHROPIC)
        },
        "/v1/messages/count_tokens": {
            "post": _call("countTokens", title, "MessagesRequest", "TokenCount", _ANTHROPIC, streams=False)
        },
    }


def _operation() -> dict[str, Any]:
    ready = {"200": _answer("Health", "Ready."), "503": _answer("Health", "Not ready, and why.")}
    return {
        "/healthz": {"get": _open("healthz", "Whether the process lives", {"200": _answer("Health", "It does.")})},
        "/readyz": {"get": _open("readyz", "Whether it can serve", ready)},
        "/metrics": {
            "get": {
                "operationId": "prometheus",
                "summary": "The day's figures, as Prometheus reads them",
                "tags": ["Operation"],
                "responses": {str(status): _plain(about) for status, about in _PROMETHEUS.items()},
            }
        },
        "/openapi.json": {
            "get": _open("openapi", "This document", {"200": _answer(None, "OpenAPI 3.1.")}),
        },
    }


_DAY: Schema = {"type": "string", "format": "date"}
_PROMETHEUS = {200: "Text, version 0.0.4."} | {status: _REFUSALS[status] for status in (401, 403, 503)}


def _call(
    name: str,
    title: str,
    body: str,
    answer: str | None,
    protocol: tuple[str, str] = _OURS,
    *,
    streams: bool = True,
) -> dict[str, Any]:
    """A door to a model. Without a shape of its answer it only streams; ours streams at an address of its own."""
    content: dict[str, Any] = {} if answer is None else {"application/json": {"schema": ref(answer)}}
    if answer is None or (streams and protocol != _OURS):
        content["text/event-stream"] = {}
    return {
        "operationId": name,
        "summary": title,
        "tags": [protocol[0]],
        "requestBody": {"required": True, "content": {"application/json": {"schema": ref(body)}}},
        "responses": {"200": {"description": "The answer.", "content": content}, **_refusals(_CALLS, protocol[1])},
    }


def _read(
    name: str, title: str, answer: str, parameters: list[Any], protocol: tuple[str, str] = _OURS
) -> dict[str, Any]:
    return {
        "operationId": name,
        "summary": title,
        "tags": [protocol[0]],
        "parameters": parameters,
        "responses": {"200": _answer(answer, "What was asked for."), **_refusals(_READS, protocol[1])},
    }


def _post(
    name: str,
    title: str,
    parameters: list[Any],
    body: str = "NewMetrics",
    answer: str = "Metrics",
    *,
    status: int = 201,
) -> dict[str, Any]:
    return {
        "operationId": name,
        "summary": title,
        "tags": ["Ours"],
        "parameters": parameters,
        "requestBody": {"required": True, "content": {"application/json": {"schema": ref(body)}}},
        "responses": {
            str(status): _answer(answer, "As recorded."),
            **_refusals((*_READS, 408, 413), "Error"),
        },
    }


def _open(name: str, title: str, responses: dict[str, Any]) -> dict[str, Any]:
    """An address without a key."""
    return {"operationId": name, "summary": title, "tags": ["Operation"], "security": [], "responses": responses}


def _answer(schema: str | None, about: str) -> dict[str, Any]:
    shape = ref(schema) if schema else {"type": "object"}
    return {"description": about, "content": {"application/json": {"schema": shape}}}


def _plain(about: str) -> dict[str, Any]:
    return {"description": about, "content": {"text/plain": {"schema": {"type": "string"}}}}


def _refusals(statuses: tuple[int, ...], error: str) -> dict[str, Any]:
    return {str(status): _answer(error, _REFUSALS[status]) for status in sorted(statuses)}


def _path(name: str, about: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "description": about, "schema": NAME}


def _query(name: str, about: str, schema: Schema) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": about, "schema": schema}


routes: list[BaseRoute] = [Route("/openapi.json", serve, methods=["GET"])]
