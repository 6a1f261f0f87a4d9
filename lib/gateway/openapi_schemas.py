"""The shapes in the OpenAPI document: what programs send and what comes back.

Bodies of OpenAI's and Anthropic's protocols name what is read here; further fields travel on, so they stay open.
"""

from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}
NUMBER: Schema = {"type": "number"}
TRUTH: Schema = {"type": "boolean"}
ANY: Schema = {}
OBJECT: Schema = {"type": "object"}
NAME: Schema = {"type": "string", "minLength": 1, "maxLength": 300}
SAID: Schema = {"type": "string", "pattern": r"\S"}
USD: Schema = {"type": "string", "pattern": r"^\d+(\.\d+)?$", "description": "Decimal US dollars."}
MOMENT: Schema = {"type": "string", "format": "date-time"}


def ref(name: str) -> Schema:
    """A schema of this module."""
    return {"$ref": f"#/components/schemas/{name}"}


def maybe(schema: Schema) -> Schema:
    """The schema, or null for what is not known."""
    return {**schema, "type": [schema["type"], "null"]} if "type" in schema else {"anyOf": [schema, {"type": "null"}]}


def array(items: Schema, **more: Any) -> Schema:
    """A list."""
    return {"type": "array", "items": items, **more}


def shape(required: dict[str, Schema], **optional: Schema) -> Schema:
    """An object with these properties; others may come with it."""
    return {"type": "object", "properties": {**required, **optional}, "required": list(required)}


def one_of(*values: str) -> Schema:
    """One of some words."""
    return {"type": "string", "enum": list(values)}


_COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens")
_USAGE = shape(
    {name: maybe(COUNT) for name in (*_COUNTS, "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")}
    | {"source": maybe(one_of("provider", "estimated", "none"))}
)
_OUTCOME = {
    **{"log_id": TEXT, "call_id": TEXT, "provider": TEXT, "model": TEXT},
    **{"served_model": maybe(TEXT), "finish_reason": maybe(TEXT), "usage": ref("Usage")},
    **{"cost_usd": maybe(USD), "cost_status": maybe(TEXT)},
    **{"execution_time_ms": maybe(COUNT), "first_token_ms": maybe(COUNT)},
}
_TOOLS = array(shape({"id": TEXT, "name": TEXT, "arguments": TEXT}))
_MESSAGE = shape(
    {"role": one_of("system", "developer", "user", "assistant", "tool", "function")},
    content={"anyOf": [TEXT, array(OBJECT), {"type": "null"}]},
)
_ASKED = {
    "configuration": {**maybe(NAME), "description": "A configuration's name; without one the app's default."},
    "model": {**maybe(NAME), "description": "provider/model, past every configuration.", "pattern": "/"},
    "prompt": {
        "anyOf": [SAID, ref("PromptUse"), {"type": "null"}],
        "description": "One question, or a template to fill; or send messages.",
    },
    "messages": maybe(array(ref("Message"), minItems=1)),
    "system": maybe(TEXT),
    "parameters": {**maybe(OBJECT), "description": "Of the model, like temperature and max_tokens; null removes one."},
    "tags": {**maybe(OBJECT), "description": "Labels, stored with the call: at most 4,000 characters as JSON."},
    "context": {**maybe(NAME), "description": "What the call is for; overrides may name it."},
}
_TEMPLATE = {
    **{"slug": TEXT, "app": maybe(TEXT), "category": TEXT, "description": TEXT, "newest": COUNT},
    "labels": {"type": "object", "additionalProperties": COUNT},
}
_VARIABLE = shape(
    {"name": TEXT, "type": one_of("text", "number", "choice", "boolean", "json")}
    | {"description": TEXT, "default": maybe(TEXT), "example": TEXT, "choices": array(TEXT)}
)
_PROMPT_USE = shape({"slug": NAME}, label=maybe(NAME), version=maybe({"type": "integer"}), variables=maybe(OBJECT))
_NEW_METRIC = shape(
    {"key": {**TEXT, "pattern": r"^[A-Za-z0-9_.\-]{1,80}$"}, "value": ANY},
    type=maybe(one_of("string", "integer", "float", "boolean", "json")),
    metadata=maybe(OBJECT),
)
_FIGURES = ("mean", "min", "max", "p50", "p95", "sum", "true_share")
_KEY_FIGURES = shape(
    {"key": TEXT, **{name: COUNT for name in ("count", "calls", "numbers", "booleans", "texts")}}
    | {name: maybe(NUMBER) for name in _FIGURES}
    | {"values": array(shape({"value": TEXT, "count": COUNT}))}
)
_BUDGET = shape({"scope": TEXT, "subject": TEXT, "period": TEXT, "passes": TRUTH, "spent_usd": USD, "limit_usd": USD})
_MODEL = {"model": {**SAID, "description": "A configuration's name, or provider/model."}}

_CONTEXT = {
    "kind": maybe(one_of("all", "last", "budget", "summary")),
    "last": maybe({**COUNT, "minimum": 1, "maximum": 10_000}),
    "tokens": maybe({**COUNT, "minimum": 1, "maximum": 10_000_000}),
    "configuration_id": maybe(TEXT),
    "collections": maybe(array(TEXT, maxItems=8)),
}
_SETTINGS = {"title": TEXT, "folder": TEXT, "tags": array(TEXT), "ttl_s": maybe({**COUNT, "minimum": 1})}
_CONVERSATION = {
    **_SETTINGS,
    **{"id": TEXT, "app": TEXT, "status": TEXT, "is_pinned": TRUTH, "is_archived": TRUTH, "context": OBJECT},
    **{name: maybe(TEXT) for name in ("configuration_id", "leaf_id", "system")},
    **{"created_at": MOMENT, "last_at": MOMENT, "expires_at": maybe(MOMENT), "ended_at": maybe(MOMENT)},
}
_SAID_MESSAGE = shape(
    {"id": TEXT, "parent_id": maybe(TEXT), "role": TEXT, "content": TEXT, "status": TEXT, "created_at": MOMENT}
    | {"error_message": maybe(TEXT), "model": TEXT, "call_id": maybe(TEXT), "branches": array(TEXT)}
    | {"parts": array(OBJECT), "cost_usd": maybe(USD), "cost_status": TEXT}
    | {"prompt_tokens": maybe(COUNT), "completion_tokens": maybe(COUNT)}
)
_SPENT = shape(
    {"calls": COUNT, "prompt_tokens": maybe(COUNT), "completion_tokens": maybe(COUNT), "unpriced": COUNT}
    | {"cost_usd": maybe(USD)}
)
_CONVERSATIONS: dict[str, Schema] = {
    "NewConversation": {
        "type": "object",
        "properties": {
            "configuration": {**maybe(NAME), "description": "A configuration's name; without one the app's default."},
            "system": {**maybe(TEXT), "description": "Instead of the configuration's system prompt."},
            "ttl_s": {**maybe({**COUNT, "minimum": 1}), "description": "Seconds after the last message."},
            "context": {**maybe({"type": "object", "properties": _CONTEXT}), "description": "What is sent of it."},
            "title": maybe(TEXT),
            "folder": maybe(TEXT),
            "tags": maybe(array(TEXT)),
        },
    },
    "Conversation": shape(_CONVERSATION),
    "Conversations": shape({"conversations": array(ref("Conversation")), "has_more": TRUTH}),
    "Thread": shape({**_CONVERSATION, "older": COUNT, "messages": array(ref("SaidMessage")), "usage": _SPENT}),
    "SaidMessage": _SAID_MESSAGE,
    "NewMessage": {
        "type": "object",
        "properties": {
            "content": {**SAID, "description": "The message; or send regenerate."},
            "regenerate": {**SAID, "description": "The id of an answer, to get another one beside it."},
            "parent_id": {**maybe(NAME), "description": "The message it follows: a new branch. Else the last one."},
            "seen": {**maybe(TEXT), "description": "The last message that was read; 409 when more was said since."},
            "configuration": maybe(NAME),
            "parameters": maybe(OBJECT),
        },
        "oneOf": [{"required": ["content"]}, {"required": ["regenerate"]}],
    },
    "ConversationAnswer": shape(
        {**_OUTCOME, "text": TEXT, "reasoning": maybe(TEXT), "tool_calls": _TOOLS}
        | {"conversation_id": TEXT, "question_id": maybe(TEXT), "message_id": TEXT}
    ),
    "BranchChoice": shape({"message_id": SAID}),
    "Nothing": OBJECT,
}

SCHEMAS: dict[str, Schema] = {
    **_CONVERSATIONS,
    "Error": shape({"error": shape({"code": TEXT, "message": TEXT, "param": maybe(TEXT)})}),
    "OpenAIError": shape({"error": shape({"code": TEXT, "message": TEXT, "type": TEXT, "param": maybe(TEXT)})}),
    "AnthropicError": shape({"type": one_of("error"), "error": shape({"type": TEXT, "message": TEXT})}),
    "Message": _MESSAGE,
    "Question": {
        "type": "object",
        "properties": _ASKED,
        "anyOf": [{"required": ["prompt"]}, {"required": ["messages"]}],
    },
    "PromptUse": {**_PROMPT_USE, "description": "A template by label or version (production), and its variables."},
    "Prompts": shape({"prompts": array(shape(_TEMPLATE))}),
    "Prompt": shape(
        {**_TEMPLATE, "version": COUNT, "text": TEXT, "system_prompt": maybe(TEXT), "parameters": OBJECT}
        | {"reason": TEXT, "variables": array(_VARIABLE)}
    ),
    "Usage": _USAGE,
    "Answer": shape({**_OUTCOME, "text": TEXT, "reasoning": maybe(TEXT), "tool_calls": _TOOLS}),
    "Call": shape(
        {**_OUTCOME, "status": TEXT, "attempt": COUNT, "app": TEXT, "configuration_id": maybe(TEXT), "origin": TEXT}
        | {"streamed": TRUTH, "error_kind": maybe(TEXT), "error_message": maybe(TEXT)}
        | {"started_at": MOMENT, "finished_at": maybe(MOMENT), "parameters": OBJECT, "tags": OBJECT}
        | {"text": maybe(TEXT), "reasoning": maybe(TEXT), "tool_calls": maybe(_TOOLS), "messages": maybe(array(OBJECT))}
    ),
    "NewMetric": _NEW_METRIC,
    "NewMetrics": {"anyOf": [ref("NewMetric"), shape({"metrics": array(ref("NewMetric"), minItems=1, maxItems=50)})]},
    "Metric": shape(
        {"id": TEXT, "call_id": TEXT, "key": TEXT, "type": TEXT, "value": ANY, "metadata": OBJECT, "created_at": MOMENT}
    ),
    "Metrics": shape({"metrics": array(ref("Metric"))}),
    "MetricFigures": shape({"keys": array(_KEY_FIGURES)}),
    "UsageTable": shape(
        {
            "rows": array(
                shape(
                    {"calls": COUNT, **dict.fromkeys(_COUNTS, maybe(COUNT))}
                    | {"cost_usd": maybe(USD), "unpriced_calls": COUNT}
                )
            )
        }
    ),
    "BudgetCheck": shape(
        {
            "passes": TRUTH,
            "most_usd": maybe(USD),
            "budgets": array(_BUDGET),
            "instead": maybe(shape({"provider": TEXT, "model": TEXT, "most_usd": maybe(USD)})),
        }
    ),
    "ChatRequest": shape({**_MODEL, "messages": array(ref("Message"), minItems=1)}, stream=maybe(TRUTH)),
    "ChatCompletion": shape({"id": TEXT, "object": TEXT, "model": TEXT, "choices": array(OBJECT)}),
    "ResponsesRequest": shape({**_MODEL, "input": {"anyOf": [SAID, array(OBJECT, minItems=1)]}}, stream=maybe(TRUTH)),
    "Response": shape({"id": TEXT, "object": TEXT, "status": TEXT, "output": array(OBJECT)}),
    "EmbeddingsRequest": shape({**_MODEL, "input": {"anyOf": [SAID, array(SAID, minItems=1, maxItems=2048)]}}),
    "Embeddings": shape({"object": TEXT, "data": array(OBJECT), "model": TEXT}),
    "MessagesRequest": shape(
        {
            **_MODEL,
            "messages": array(
                shape({"role": one_of("user", "assistant"), "content": {"anyOf": [TEXT, array(OBJECT)]}}), minItems=1
            ),
        },
        max_tokens={"type": "integer", "minimum": 1},
        stream=maybe(TRUTH),
    ),
    "AnthropicMessage": shape({"id": TEXT, "type": TEXT, "role": TEXT, "content": array(OBJECT)}),
    "TokenCount": shape({"input_tokens": COUNT}),
    "Model": shape({"id": TEXT}),
    "Models": shape({"data": array(ref("Model"))}),
    "Health": shape({"status": TEXT}, reason=TEXT),
}
