"""A whole answer of OpenAI's chat for a program that waits for events: some servers do not stream."""

from collections.abc import Iterator, Mapping
from typing import Any

from lib.fast_json import decode, encode

_DONE = b"data: [DONE]\n\n"


def convert_to_events(data: bytes, *, with_counts: bool) -> bytes:
    """The events that say the same, choice by choice, and what nobody here knows; nothing of what is no object."""
    document = decode(data)
    if not isinstance(document, dict):
        return b""
    head = {name: value for name, value in document.items() if name not in ("choices", "usage")}
    head["object"] = "chat.completion.chunk"
    events = [{**head, "choices": [choice]} for choice in _yield_streamed_choices(document)]
    if with_counts and document.get("usage"):
        events.append({**head, "choices": [], "usage": document["usage"]})
    return b"".join([b"data: %b\n\n" % encode(event) for event in events]) + _DONE


def _yield_streamed_choices(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Each once with its words and once with its end."""
    listed = document.get("choices")
    choices = [choice for choice in listed if isinstance(choice, dict)] if isinstance(listed, list) else []
    for position, choice in enumerate(choices):
        index = choice.get("index")
        streamed_choice = {**choice, "index": index if isinstance(index, int) else position}
        streamed_choice.pop("finish_reason", None)
        message = streamed_choice.pop("message", streamed_choice.get("delta"))
        delta = dict(message) if isinstance(message, dict) else {}
        if isinstance(tools := delta.get("tool_calls"), list):
            delta["tool_calls"] = [
                {**tool, "index": n} for n, tool in enumerate(t for t in tools if isinstance(t, dict))
            ]
        yield {**streamed_choice, "delta": delta, "finish_reason": None}
        reason = choice.get("finish_reason") or ("tool_calls" if delta.get("tool_calls") else "stop")
        yield {"index": streamed_choice["index"], "delta": {}, "finish_reason": reason}
