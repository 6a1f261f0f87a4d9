"""A question in Anthropic's messages (https://docs.anthropic.com/en/api/messages) → the one shape inside.

Text, images, documents, tool use and tool results are translated; thinking is no other model's to read when it comes
back. What is left (Anthropic's own tools, kept files, search results) is `Asked.native`.
"""

import json
from typing import Any

from lib.errors import InvalidInput
from lib.gateway.protocols.asked import (
    Asked,
    asked_of,
    list_field,
    object_field,
    tools_field,
)

_READ = {"model", "messages", "system", "stream", "stop_sequences", "tools", "tool_choice", "output_config"} | {
    "output_format"  # the older place of a format
}
_UNSAID = {"thinking", "redacted_thinking"}  # by another model


def read(body: dict[str, Any]) -> Asked:
    """The question of a body; InvalidInput names the field that can't be used."""
    native = list[str]()
    messages = [inside for message in list_field(body, "messages") for inside in _message(message, native)]
    if (system := _text_of(body.get("system"))).strip():
        messages.insert(0, {"role": "system", "content": system})
    parameters = {name: value for name, value in body.items() if name not in _READ and value is not None}
    if stops := body.get("stop_sequences"):
        parameters["stop"] = stops
    parameters |= _output(body)
    if tools := tools_field(body):
        native += ["Tools of Anthropic's own" for tool in tools if tool.get("type") not in (None, "custom")]
        parameters["tools"] = [_tool(tool) for tool in tools]
        parameters |= _tool_choice(body.get("tool_choice"))
    return asked_of(body, messages, parameters, native)


def _output(body: dict[str, Any]) -> dict[str, Any]:
    """The form of the answer and the effort that goes into it."""
    config, found = object_field(body, "output_config"), dict[str, Any]()
    form = config.get("format") or body.get("output_format")
    if isinstance(form, dict) and form.get("type") == "json_schema":
        schema = {"name": "answer", "schema": form.get("schema") or {}, "strict": True}
        found["response_format"] = {"type": "json_schema", "json_schema": schema}
    if effort := config.get("effort"):
        found["reasoning_effort"] = effort
    return found


def _message(message: dict[str, Any], native: list[str]) -> list[dict[str, Any]]:
    """One message as the messages inside: results of tools become messages of their own, their pictures come after."""
    role, content = message.get("role"), message.get("content")
    if role not in ("user", "assistant") or not isinstance(content, str | list):
        raise InvalidInput(
            "A message can't be read.", "It needs a role (user, assistant) and content.", "Correct it.", "messages"
        )
    if isinstance(content, str):
        return [{"role": role, "content": content}]
    blocks = [block for block in content if isinstance(block, dict)]
    results, parts = list[dict[str, Any]](), list[dict[str, Any]]()
    for block in blocks:
        if block.get("type") == "tool_result":
            said = block.get("content")
            results.append(
                {"role": "tool", "tool_call_id": str(block.get("tool_use_id", "")), "content": _text_of(said)}
            )
            shown = [one for one in said if isinstance(one, dict)] if isinstance(said, list) else []
            parts += [part for one in shown if one.get("type") != "text" for part in _parts(one, native)]
        elif block.get("type") != "tool_use":
            parts += _parts(block, native)
    calls = [_call(block) for block in blocks if block.get("type") == "tool_use"]
    rest: dict[str, Any] = {"role": role, "content": _joined(parts) or None}
    if calls:
        rest["tool_calls"] = calls
    return [*results, *([rest] if parts or calls else [])]


def _parts(block: dict[str, Any], native: list[str]) -> list[dict[str, Any]]:
    """A block as parts of a message; what there is no part for is noted in `native`."""
    kind, source = str(block.get("type")), block.get("source")
    source = source if isinstance(source, dict) else {}
    if kind == "text":
        return [{"type": "text", "text": str(block.get("text", ""))}]
    if kind in _UNSAID:
        return []
    if kind == "image" and source.get("type") in ("url", "base64"):
        return [{"type": "image_url", "image_url": {"url": source.get("url") or _data_url(source)}}]
    if kind == "document" and source.get("type") == "text":
        return [{"type": "text", "text": str(source.get("data", ""))}]
    if kind == "document" and source.get("type") == "content":
        inner = source.get("content")
        blocks = inner if isinstance(inner, list) else [{"type": "text", "text": inner}]
        return [part for one in blocks if isinstance(one, dict) for part in _parts(one, native)]
    if kind == "document" and source.get("type") == "base64":
        file = {"filename": str(block.get("title") or "document.pdf"), "file_data": _data_url(source)}
        return [{"type": "file", "file": file}]
    native.append(f"Blocks of the type {kind[:40]}" + (f" from a {source['type']}"[:40] if "type" in source else ""))
    return []


def _data_url(source: dict[str, Any]) -> str:
    return f"data:{source.get('media_type')};base64,{source.get('data')}"


def _joined(parts: list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    """Text alone is sent as text: every provider takes that."""
    if all(part["type"] == "text" for part in parts):
        return "\n".join(part["text"] for part in parts)
    return parts


def _call(block: dict[str, Any]) -> dict[str, Any]:
    arguments = json.dumps(block.get("input") or {}, ensure_ascii=False)
    function = {"name": str(block.get("name", "")), "arguments": arguments}
    return {"id": str(block.get("id", "")), "type": "function", "function": function}


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    names = {"name": tool.get("name", ""), "description": tool.get("description", "")}
    return {"type": "function", "function": names | {"parameters": tool.get("input_schema") or {"type": "object"}}}


def _tool_choice(choice: Any) -> dict[str, Any]:
    kind = choice.get("type") if isinstance(choice, dict) else None
    found: dict[str, Any] = {}
    if kind == "tool":
        found["tool_choice"] = {"type": "function", "function": {"name": str(choice.get("name", ""))}}
    elif kind in ("auto", "any", "none"):
        found["tool_choice"] = "required" if kind == "any" else kind
    if kind is not None and choice.get("disable_parallel_tool_use") is True:
        found["parallel_tool_calls"] = False
    return found


def _text_of(content: Any) -> str:
    if isinstance(content, str):
        return content
    blocks = content if isinstance(content, list) else []
    return "\n".join(str(block["text"]) for block in blocks if isinstance(block, dict) and "text" in block)
