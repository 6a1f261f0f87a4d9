"""OpenAI's chat completions (https://platform.openai.com/docs/api-reference/chat).

A request's unknown fields stay parameters. An answer is one body, or chunks as server-sent events that end with
`[DONE]`; counts come in a last chunk without choices when `stream_options.include_usage` asks for them.
"""

import time
from dataclasses import dataclass, field
from typing import Any

from lib.errors import InvalidInput
from lib.gateway.models.program_request import (
    ProgramRequest,
    encode_event,
    read_flag,
    read_list_field,
    require_model_field,
)
from lib.providers.chunks import Chunk, Finish, ReasoningDelta, ServedModel, TextDelta, ToolCallDelta, Usage
from lib.providers.protocols.finish import standardise_reason, translate_reason

DONE = b"data: [DONE]\n\n"
_NOT_PARAMETERS = {"model", "messages", "stream", "stream_options"}
_ROLES = {"system", "developer", "user", "assistant", "tool", "function"}


def read(body: dict[str, Any]) -> ProgramRequest:
    """The question of a body; InvalidInput names the field that can't be used."""
    messages = read_messages_field(body)
    options = body.get("stream_options") or {}
    return ProgramRequest(
        model=require_model_field(body),
        messages=messages,
        parameters={name: value for name, value in body.items() if name not in _NOT_PARAMETERS and value is not None},
        stream=read_flag(body, "stream"),
        include_usage=isinstance(options, dict) and bool(options.get("include_usage")),
        body=body,
    )


def read_messages_field(body: dict[str, Any]) -> list[dict[str, Any]]:
    """The messages of a body, each of a known role."""
    messages = read_list_field(body, "messages")
    for number, message in enumerate(messages):
        if not isinstance(role := message.get("role"), str) or role not in _ROLES:
            raise InvalidInput(
                f"messages[{number}].role can't be used.",
                f"It must be one of {', '.join(sorted(_ROLES))}.",
                "Correct it.",
                field="messages",
            )
    return messages


@dataclass
class ChatWriter:
    """An answer as it is written: `chunk` for events, `whole` for one body. `id` is the log row's."""

    id: str
    model: str
    include_usage: bool = False
    says_functions: bool = False  # the request asked with `functions`, which came before `tools`
    created: int = field(default_factory=lambda: int(time.time()))
    _began: bool = False
    _finish: str | None = None

    def begin(self) -> bytes:
        """Nothing comes before the first chunk."""
        return b""

    def chunk(self, chunk: Chunk) -> bytes:
        """The event of a chunk, or nothing."""
        match chunk:
            case TextDelta(text) if text:
                return self._delta({"content": text})
            case ReasoningDelta(text) if text:
                return self._delta({"reasoning_content": text})
            case ToolCallDelta() if self.says_functions:  # there is one call at most in that form
                return b"" if chunk.index else self._delta({"function_call": _build_tool_delta(chunk)["function"]})
            case ToolCallDelta():
                return self._delta({"tool_calls": [_build_tool_delta(chunk)]})
            case ServedModel(model):
                self.model = model
            case Finish(reason):
                self._finish = reason
            case _:
                pass
        return b""

    def end(self, usage: Usage | None) -> bytes:
        """The last events of an answer that came to its end."""
        done = encode_event(self._head([{"index": 0, "delta": {}, **self._ending(self._finish)}]))
        if self.include_usage and usage is not None:
            done += encode_event(self._head([]) | {"usage": build_usage_body(usage)})
        return done + DONE

    def error(self, status: int, kind: str, message: str) -> bytes:
        """The event of an answer that broke off."""
        return encode_event(build_error_body(status, kind, message)) + DONE

    def whole(
        self, text: str, reasoning: str, tool_calls: list[dict[str, str]], finish: str | None, usage: Usage | None
    ) -> dict[str, Any]:
        """The body of a whole answer."""
        message: dict[str, Any] = {"role": "assistant", "content": text or None if tool_calls else text}
        if reasoning:
            message["reasoning_content"] = reasoning
        if tool_calls and self.says_functions:
            message["function_call"] = _build_tool_call(tool_calls[0])["function"]
        elif tool_calls:
            message["tool_calls"] = [_build_tool_call(call) for call in tool_calls]
        choice = {"index": 0, "message": message, "logprobs": None, **self._ending(finish)}
        body = self._head([choice]) | {"object": "chat.completion"}
        return body if usage is None else body | {"usage": build_usage_body(usage)}

    def _ending(self, finish: str | None) -> dict[str, str]:
        ending = _finish(finish)
        is_call = self.says_functions and ending["finish_reason"] == "tool_calls"
        return ending | {"finish_reason": "function_call"} if is_call else ending

    def _delta(self, delta: dict[str, Any]) -> bytes:
        if not self._began:
            self._began = True
            delta = {"role": "assistant", **delta}
        return encode_event(self._head([{"index": 0, "delta": delta, "finish_reason": None}]))

    def _head(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": f"chatcmpl-{self.id}",
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": self.model,
            "choices": choices,
        }


def _finish(reason: str | None) -> dict[str, str]:
    """The reason in this protocol's list, and beside it the provider's word where that has no counterpart."""
    standard = standardise_reason(reason)
    own = {} if reason is None or translate_reason(reason) == standard else {"native_finish_reason": reason}
    return {"finish_reason": standard, **own}


def build_usage_body(usage: Usage) -> dict[str, Any]:
    """Counts in OpenAI's form: cached ones are part of the prompt, reasoning is part of the completion."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cache_read_tokens},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


def build_error_body(status: int, kind: str, message: str, param: str | None = None) -> dict[str, Any]:
    """An error in OpenAI's form; `kind` becomes its code."""
    return {"error": {"message": message, "type": _choose_error_type(status), "param": param, "code": kind}}


def build_models_body(models: list[tuple[str, str, int]]) -> dict[str, Any]:
    """A list of models: (id, owner, created in Unix seconds)."""
    data = [{"id": name, "object": "model", "created": at, "owned_by": owner} for name, owner, at in models]
    return {"object": "list", "data": data}


def _choose_error_type(status: int) -> str:
    if status in (401, 403):
        return "authentication_error" if status == 401 else "permission_error"
    return {404: "not_found_error", 429: "rate_limit_error"}.get(
        status, "invalid_request_error" if status < 500 else "server_error"
    )


def _build_tool_delta(chunk: ToolCallDelta) -> dict[str, Any]:
    delta: dict[str, Any] = {"index": chunk.index, "function": {"arguments": chunk.arguments}}
    if chunk.id:
        delta |= {"id": chunk.id, "type": "function"}
    if chunk.name:
        delta["function"] = {"name": chunk.name, **delta["function"]}
    return delta


def _build_tool_call(call: dict[str, str]) -> dict[str, Any]:
    return {
        "id": call["id"],
        "type": "function",
        "function": {"name": call["name"], "arguments": call["arguments"] or "{}"},
    }
