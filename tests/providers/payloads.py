"""One answer as six protocols put it on the wire, streamed and at once: thoughts, text, a tool call, counts."""

import json
from dataclasses import dataclass
from typing import Any

from lib.providers.chunks import Usage
from tests.providers.wire import sse

TEXT = "Grüße — 你好 🌍"
THOUGHT = "Hm. Überlegen."
ARGUMENTS = {"city": "Zürich", "days": 2}
_HALVES = json.dumps(ARGUMENTS)[:9], json.dumps(ARGUMENTS)[9:]


@dataclass(frozen=True)
class Payload:
    """`kind` and `path` find the reader; both forms hold the same answer."""

    kind: str
    path: str
    streamed: bytes
    whole: bytes
    usage: Usage
    tool_id: str | None = "call_1"
    cost: int | None = None
    served: str | None = "m-1"


def _chat(delta: dict[str, Any], finish: str | None = None) -> str:
    return sse({"model": "m-1", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})


_OPENAI_USAGE = {
    "prompt_tokens": 100,
    "completion_tokens": 20,
    "total_tokens": 120,
    "cost": 0.0000123,
    "prompt_tokens_details": {"cached_tokens": 64, "cache_write_tokens": 8},
    "completion_tokens_details": {"reasoning_tokens": 12},
}
_TOOL = {"id": "call_1", "type": "function"}
_OPENAI = Payload(
    "openrouter",
    "/v1/chat/completions",
    "".join(
        [
            ": PROCESSING\n\n",
            _chat({"role": "assistant", "content": ""}),
            _chat({"reasoning": THOUGHT}),
            *(_chat({"content": letter}) for letter in TEXT),
            _chat({"tool_calls": [{**_TOOL, "index": 0, "function": {"name": "weather", "arguments": ""}}]}),
            *(_chat({"tool_calls": [{"index": 0, "function": {"arguments": half}}]}) for half in _HALVES),
            _chat({}, "tool_calls"),
            sse({"model": "m-1", "choices": [], "usage": _OPENAI_USAGE}),
            sse("[DONE]"),
        ]
    ).encode(),
    json.dumps(
        {
            "model": "m-1",
            "choices": [
                {
                    "index": 0,
                    "message": {
                        "content": TEXT,
                        "reasoning": THOUGHT,
                        "tool_calls": [{**_TOOL, "function": {"name": "weather", "arguments": json.dumps(ARGUMENTS)}}],
                    },
                    "finish_reason": "tool_calls",
                }
            ],
            "usage": _OPENAI_USAGE,
        }
    ).encode(),
    Usage(100, 20, 64, 8, 12),
    cost=12_300,
)


def _event(kind: str, **data: Any) -> str:
    return sse({"type": kind, **data}, kind)


_CREATED = {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20}
_START = {"input_tokens": 10, "cache_read_input_tokens": 200, "cache_creation_input_tokens": 30, "output_tokens": 1}
_ANTHROPIC = Payload(
    "anthropic",
    "/v1/messages",
    "".join(
        [
            _event("message_start", message={"model": "m-1", "usage": _START | {"cache_creation": _CREATED}}),
            _event("content_block_start", index=0, content_block={"type": "thinking", "thinking": ""}),
            _event("content_block_delta", index=0, delta={"type": "thinking_delta", "thinking": THOUGHT}),
            _event("content_block_stop", index=0),
            _event("ping"),
            _event("content_block_start", index=1, content_block={"type": "text", "text": ""}),
            *(_event("content_block_delta", index=1, delta={"type": "text_delta", "text": one}) for one in TEXT),
            _event("content_block_stop", index=1),
            _event(
                "content_block_start",
                index=2,
                content_block={"type": "tool_use", "id": "call_1", "name": "weather", "input": {}},
            ),
            *(
                _event("content_block_delta", index=2, delta={"type": "input_json_delta", "partial_json": half})
                for half in _HALVES
            ),
            _event("content_block_stop", index=2),
            _event("message_delta", delta={"stop_reason": "tool_use"}, usage={"output_tokens": 20}),
            _event("message_stop"),
        ]
    ).encode(),
    json.dumps(
        {
            "type": "message",
            "model": "m-1",
            "content": [
                {"type": "thinking", "thinking": THOUGHT},
                {"type": "text", "text": TEXT},
                {"type": "tool_use", "id": "call_1", "name": "weather", "input": ARGUMENTS},
            ],
            "stop_reason": "tool_use",
            "usage": _START | {"output_tokens": 20, "cache_creation": _CREATED},
        }
    ).encode(),
    Usage(240, 20, 200, 30, 0, 20),
)

_COUNTS = {"promptTokenCount": 90, "toolUsePromptTokenCount": 10, "cachedContentTokenCount": 64}
_ALL_COUNTS = _COUNTS | {"candidatesTokenCount": 8, "thoughtsTokenCount": 12, "totalTokenCount": 120}


def _candidate(*parts: dict[str, Any], finish: str | None = None, counts: dict[str, int] = _COUNTS) -> dict[str, Any]:
    reason = {"finishReason": finish} if finish else {}
    content = {"content": {"role": "model", "parts": list(parts)}, "index": 0}
    return {"candidates": [content | reason], "usageMetadata": counts, "modelVersion": "m-1", "responseId": "r1"}


_CALL = {"functionCall": {"name": "weather", "args": ARGUMENTS}, "thoughtSignature": "c2ln"}
_GEMINI = Payload(
    "gemini",
    "/v1beta/models/m:streamGenerateContent",
    "".join(
        [
            sse(_candidate({"text": THOUGHT, "thought": True})),
            *(sse(_candidate({"text": letter})) for letter in TEXT),
            sse(_candidate(_CALL, finish="STOP", counts=_ALL_COUNTS)),
        ]
    ).encode(),
    json.dumps(
        _candidate({"text": THOUGHT, "thought": True}, {"text": TEXT}, _CALL, finish="STOP", counts=_ALL_COUNTS)
    ).encode(),
    Usage(100, 20, 64, 0, 12),
    tool_id=None,
)


def _line(message: dict[str, Any], **more: Any) -> str:
    return json.dumps({"model": "m-1", "created_at": "2026-01-01", "message": message, "done": False} | more) + "\n"


_END = {"done": True, "done_reason": "stop", "prompt_eval_count": 100, "eval_count": 20}
_CALLS = {"tool_calls": [{"function": {"name": "weather", "arguments": ARGUMENTS}}]}
_OLLAMA = Payload(
    "ollama",
    "/api/chat",
    "".join(
        [
            _line({"content": "", "thinking": THOUGHT}),
            *(_line({"content": letter}) for letter in TEXT),
            _line({"content": ""} | _CALLS),
            _line({"content": ""}, **_END),
        ]
    ).encode(),
    _line({"content": TEXT, "thinking": THOUGHT} | _CALLS, **_END).encode(),
    Usage(100, 20),
    tool_id=None,
)

_ITEMS: list[dict[str, Any]] = [
    {"type": "reasoning", "summary": [{"type": "summary_text", "text": THOUGHT}]},
    {"type": "message", "content": [{"type": "output_text", "text": TEXT}]},
    {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": json.dumps(ARGUMENTS)},
]
_RESPONSE = {
    "object": "response",
    "status": "completed",
    "model": "m-1",
    "output": _ITEMS,
    "usage": {
        "input_tokens": 100,
        "output_tokens": 20,
        "total_tokens": 120,
        "input_tokens_details": {"cached_tokens": 64},
        "output_tokens_details": {"reasoning_tokens": 12},
    },
}
_RESPONSES = Payload(
    "openai",
    "/v1/responses",
    "".join(
        [
            _event("response.created", response={"model": "m-1", "status": "in_progress"}),
            _event("response.reasoning_summary_text.delta", output_index=0, delta=THOUGHT),
            _event("response.output_item.done", output_index=0, item=_ITEMS[0]),
            *(_event("response.output_text.delta", output_index=1, delta=letter) for letter in TEXT),
            _event("response.output_item.done", output_index=1, item=_ITEMS[1]),
            _event("response.output_item.added", output_index=2, item=_ITEMS[2] | {"arguments": ""}),
            *(_event("response.function_call_arguments.delta", output_index=2, delta=half) for half in _HALVES),
            _event("response.output_item.done", output_index=2, item=_ITEMS[2]),
            _event("response.completed", response=_RESPONSE),
        ]
    ).encode(),
    json.dumps(_RESPONSE).encode(),
    Usage(100, 20, 64, 0, 12),
)

_COHERE_END = {"finish_reason": "TOOL_CALL", "usage": {"tokens": {"input_tokens": 100, "output_tokens": 20}}}
_COHERE_TOOL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ""}}


def _cohere(kind: str, index: int = 0, **message: Any) -> str:
    return _event(kind, index=index, delta={"message": message})


_COHERE = Payload(
    "litellm",
    "/v2/chat",
    "".join(
        [
            _event("message-start", id="r1", delta={"message": {"role": "assistant"}}),
            _cohere("tool-plan-delta", tool_plan=THOUGHT),
            _cohere("content-start", content={"type": "text", "text": ""}),
            *(_cohere("content-delta", content={"text": letter}) for letter in TEXT),
            _event("content-end", index=0),
            _cohere("tool-call-start", tool_calls=_COHERE_TOOL),
            *(_cohere("tool-call-delta", tool_calls={"function": {"arguments": half}}) for half in _HALVES),
            _event("tool-call-end", index=0),
            _event("message-end", delta=_COHERE_END),
        ]
    ).encode(),
    json.dumps(
        {
            "id": "r1",
            "message": {
                "tool_plan": THOUGHT,
                "content": [{"type": "text", "text": TEXT}],
                "tool_calls": [_COHERE_TOOL | {"function": {"name": "weather", "arguments": json.dumps(ARGUMENTS)}}],
            },
        }
        | _COHERE_END
    ).encode(),
    Usage(100, 20),
    served=None,
)

PAYLOADS = {"openai": _OPENAI, "anthropic": _ANTHROPIC, "gemini": _GEMINI, "ollama": _OLLAMA, "responses": _RESPONSES}
PAYLOADS["cohere"] = _COHERE
