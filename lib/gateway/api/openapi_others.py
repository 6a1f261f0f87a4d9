"""OpenAI's and Anthropic's bodies in the OpenAPI document: what is read here; further fields travel on."""

from typing import Any

Schema = dict[str, Any]
OPENAI = ("OpenAI", "OpenAIError")
ANTHROPIC = ("Anthropic", "AnthropicError")
_TEXT: Schema = {"type": "string"}
_WORDS: Schema = {"type": "string", "pattern": r"\S"}
_OBJECTS: Schema = {"type": "array", "items": {"type": "object"}}
_MODEL: Schema = {**_WORDS, "description": "A configuration's name, or provider/model."}
_STREAM: Schema = {"type": ["boolean", "null"]}


def _build_shape(required: dict[str, Schema], **optional: Schema) -> Schema:
    return {"type": "object", "properties": {**required, **optional}, "required": list(required)}


def _build_list(items: Schema, most: int | None = None) -> Schema:
    return {"type": "array", "items": items, "minItems": 1} | ({} if most is None else {"maxItems": most})


def _build_message_schema(roles: tuple[str, ...], content: list[Schema], *required: str) -> Schema:
    fields = {"role": {"enum": list(roles)}, "content": {"anyOf": content}}
    return {"type": "object", "properties": fields, "required": ["role", *required]}


_ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_TURN = _build_message_schema(("user", "assistant"), [_TEXT, _OBJECTS], "content")
SCHEMAS: dict[str, Schema] = {
    "OpenAIError": _build_shape(
        {"error": _build_shape({"code": _TEXT, "message": _TEXT, "type": _TEXT, "param": {"type": ["string", "null"]}})}
    ),
    "AnthropicError": _build_shape(
        {"type": {"enum": ["error"]}, "error": _build_shape({"type": _TEXT, "message": _TEXT})}
    ),
    "Message": _build_message_schema(_ROLES, [_TEXT, _OBJECTS, {"type": "null"}]),
    "ChatRequest": _build_shape(
        {"model": _MODEL, "messages": _build_list({"$ref": "#/components/schemas/Message"})}, stream=_STREAM
    ),
    "ChatCompletion": _build_shape({"id": _TEXT, "object": _TEXT, "model": _TEXT, "choices": _OBJECTS}),
    "ResponsesRequest": _build_shape(
        {"model": _MODEL, "input": {"anyOf": [_WORDS, _OBJECTS | {"minItems": 1}]}}, stream=_STREAM
    ),
    "Response": _build_shape({"id": _TEXT, "object": _TEXT, "status": _TEXT, "output": _OBJECTS}),
    "EmbeddingsRequest": _build_shape({"model": _MODEL, "input": {"anyOf": [_WORDS, _build_list(_WORDS, 2048)]}}),
    "Embeddings": _build_shape({"object": _TEXT, "data": _OBJECTS, "model": _TEXT}),
    "MessagesRequest": _build_shape(
        {"model": _MODEL, "messages": _build_list(_TURN)}, max_tokens={"type": "integer", "minimum": 1}, stream=_STREAM
    ),
    "AnthropicMessage": _build_shape({"id": _TEXT, "type": _TEXT, "role": _TEXT, "content": _OBJECTS}),
    "TokenCount": _build_shape({"input_tokens": {"type": "integer", "minimum": 0}}),
    "Model": _build_shape({"id": _TEXT}),
    "Models": _build_shape({"data": {"type": "array", "items": {"$ref": "#/components/schemas/Model"}}}),
    "Health": _build_shape({"status": _TEXT}, reason=_TEXT),
}
