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
from lib.gateway import openapi_knowledge
from lib.gateway.openapi_operations import (
    ANTHROPIC,
    OPENAI,
    REFUSALS,
    call,
    open_to_all,
    path,
    plain,
    post,
    query,
    read,
    reply,
)
from lib.gateway.openapi_schemas import COUNT, NAME, SCHEMAS, Schema

VERSION = "1"


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
        "paths": {
            **_ours(),
            **_conversations(),
            **openapi_knowledge.paths(),
            **_openai(),
            **_anthropic(),
            **_operation(),
        },
        "components": {
            "schemas": {**SCHEMAS, **openapi_knowledge.SCHEMAS},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "An API key, `llmm_...`."}},
        },
    }


async def serve(_request: Request) -> Response:
    """The document; it holds no secret, so it needs no key."""
    return Response(encode_text(document()), media_type="application/json")


def _ours() -> dict[str, Any]:
    span = [query("from", "First day (UTC).", _DAY), query("to", "Last day (UTC), included.", _DAY)]
    one_call = [path("call_id", "The id of a call, or of one of its attempts.")]
    tokens = {**COUNT, "minimum": 1, "maximum": 100_000_000}
    slug = query("configuration", "A configuration's name.", NAME) | {"required": True}
    sizes = [query("prompt_tokens", "Of the question.", tokens), query("max_tokens", "Of the answer.", tokens)]
    by = "Dimensions, parted by commas: provider, model, app, user, hour, day, week, month and more."
    events = "Events `chunk` {content, reasoning?, tokens}; then `done` (an answer without its words) or `error`."
    return {
        "/api/generate": {"post": call("generate", "Ask a model", "Question", "Answer")},
        "/api/stream": {"post": call("stream", f"Ask a model and read as it answers. {events}", "Question", None)},
        "/api/calls/{call_id}": {"get": read("call", "One call of the ledger", "Call", one_call)},
        "/api/calls/{call_id}/metrics": {
            "get": read("listMetrics", "What was noted about a call", "Metrics", one_call),
            "post": post("recordMetrics", "Note something about a call of the key's own", one_call),
        },
        "/api/prompts": {
            "get": read(
                "listPrompts",
                "Prompt templates that the key's app can use",
                "Prompts",
                [query("category", "Only of this one.", NAME)],
            )
        },
        "/api/prompts/{slug}": {
            "get": read(
                "prompt",
                "A version of one, `production` without label and version",
                "Prompt",
                [
                    path("slug", "Its name."),
                    query("label", "Of the version.", NAME),
                    query("version", "Its number.", {**COUNT, "minimum": 1, "maximum": 100_000_000}),
                ],
            )
        },
        "/api/metrics": {
            "get": read(
                "metrics",
                "Figures of custom metrics by key",
                "MetricFigures",
                [
                    query("key", "Only this one.", NAME),
                    query("app", "Only these apps, parted by commas.", NAME),
                    *span,
                ],
            )
        },
        "/api/usage": {
            "get": read("usage", "Calls, tokens and cost", "UsageTable", [query("by", by, NAME), *span]),
        },
        "/api/budgets/check": {
            "get": read("checkBudgets", "Would a call pass every budget", "BudgetCheck", [slug, *sizes])
        },
    }


def _conversations() -> dict[str, Any]:
    one, root = [path("conversation_id", "The id of a conversation.")], "/api/conversations"
    page = query("page", "30 of them each.", {**COUNT, "minimum": 1, "maximum": 100_000})
    asked = [query("status", "Only these.", {"type": "string", "enum": ["active", "ended", "expired"]}), page]
    asked += [query(name, "Only of this one.", NAME) for name in ("folder", "tag")]
    asked.append(query("archived", "`true` for the archive.", {"type": "string", "enum": ["true", "false"]}))
    events = "Events `chunk` {content, reasoning?, tokens}; then `done` (a ConversationAnswer) or `error`."
    said = call("sendMessage", "Ask, with all that was said before", "NewMessage", "ConversationAnswer")
    streamed = call("streamMessage", f"Ask and read as the model answers. {events}", "NewMessage", None)
    said["responses"]["201"] = said["responses"].pop("200")
    for operation in (said, streamed):
        operation["parameters"] = one
    return {
        root: {
            "get": read("listConversations", "Conversations, pinned first, then the newest", "Conversations", asked),
            "post": post("createConversation", "Begin a conversation", [], "NewConversation", "Conversation"),
        },
        f"{root}/{{conversation_id}}": {
            "get": read("readConversation", "One with the last 100 messages of its branch", "Thread", one)
        },
        f"{root}/{{conversation_id}}/messages": {"post": said},
        f"{root}/{{conversation_id}}/stream": {"post": streamed},
        f"{root}/{{conversation_id}}/branch": {
            "post": post("chooseBranch", "Show the branch of a message", one, "BranchChoice", "Thread", status=200)
        },
        f"{root}/{{conversation_id}}/stop": {
            "post": post("stopAnswer", "Stop the answer that is written", one, "Nothing", "Thread", status=200)
        },
        f"{root}/{{conversation_id}}/end": {
            "post": post("endConversation", "End a conversation", one, "Nothing", "Conversation", status=200)
        },
    }


def _openai() -> dict[str, Any]:
    one = [path("model", "A configuration's name.")]
    return {
        "/v1/chat/completions": {
            "post": call("chat", "OpenAI's chat completions", "ChatRequest", "ChatCompletion", OPENAI)
        },
        "/v1/responses": {"post": call("responses", "OpenAI's responses", "ResponsesRequest", "Response", OPENAI)},
        "/v1/embeddings": {
            "post": call("embeddings", "OpenAI's embeddings", "EmbeddingsRequest", "Embeddings", OPENAI, streams=False)
        },
        "/v1/models": {"get": read("models", "Configurations that the key may call", "Models", [], OPENAI)},
        "/v1/models/{model}": {"get": read("model", "One of them", "Model", one, OPENAI)},
    }


def _anthropic() -> dict[str, Any]:
    title = "An estimate of a question's length"
    return {
        "/v1/messages": {
            "post": call("messages", "Anthropic's messages", "MessagesRequest", "AnthropicMessage", ANTHROPIC)
        },
        "/v1/messages/count_tokens": {
            "post": call("countTokens", title, "MessagesRequest", "TokenCount", ANTHROPIC, streams=False)
        },
    }


def _operation() -> dict[str, Any]:
    ready = {"200": reply("Health", "Ready."), "503": reply("Health", "Not ready, and why.")}
    return {
        "/healthz": {"get": open_to_all("healthz", "Whether the process lives", {"200": reply("Health", "It does.")})},
        "/readyz": {"get": open_to_all("readyz", "Whether it can serve", ready)},
        "/metrics": {
            "get": {
                "operationId": "prometheus",
                "summary": "The day's figures, as Prometheus reads them",
                "tags": ["Operation"],
                "responses": {str(status): plain(about) for status, about in _PROMETHEUS.items()},
            }
        },
        "/openapi.json": {
            "get": open_to_all("openapi", "This document", {"200": reply(None, "OpenAPI 3.1.")}),
        },
    }


_DAY: Schema = {"type": "string", "format": "date"}
_PROMETHEUS = {200: "Text, version 0.0.4."} | {status: REFUSALS[status] for status in (401, 403, 503)}


routes: list[BaseRoute] = [Route("/openapi.json", serve, methods=["GET"])]
