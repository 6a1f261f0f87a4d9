"""A question in Anthropic's messages (https://docs.anthropic.com/en/api/messages) → the one shape inside.

Text, images, documents, tool use and tool results are translated; thinking is no other model's to read when it comes
back. What is left (Anthropic's own tools, kept files, search results) is `ProgramRequest.native`.
"""

import json
from typing import Any

from lib.errors import InvalidInput
from lib.gateway.models.program_request import (
    Losses,
    ProgramRequest,
    make_request,
    read_list_field,
    read_object_field,
    read_tools_field,
)

_READ = {"model", "messages", "system", "stream", "stop_sequences", "tools", "tool_choice", "output_config"} | {
    "output_format"  # the older place of a format
}
_UNSAID = {"thinking", "redacted_thinking"}  # by another model
_FIELDS = {  # that are translated, of blocks and tools
    "text": ("type", "text"),
    "image": ("type", "source"),
    "document": ("type", "source", "title"),
    "tool_use": ("type", "id", "name", "input"),
    "tool_result": ("type", "tool_use_id", "content"),
    "tool": ("type", "name", "description", "input_schema", "strict"),
}


def read(body: dict[str, Any]) -> ProgramRequest:
    """The question of a body; InvalidInput names the field that can't be used."""
    if body.get("thread") is not None:
        raise ThreadUnsupported
    losses = Losses()
    sent_messages = read_list_field(body, "messages")
    messages = [inside for message in sent_messages for inside in _translate_message(message, losses)]
    if system := _read_system(body.get("system"), sent_messages, losses):
        messages.insert(0, {"role": "system", "content": system})
    parameters = {name: value for name, value in body.items() if name not in _READ and value is not None}
    if stops := body.get("stop_sequences"):
        parameters["stop"] = stops
    parameters |= _read_output(body)
    if tools := read_tools_field(body):
        for tool in tools:
            if tool.get("type") not in (None, "custom"):
                losses.refuse("Tools of Anthropic's own")
        parameters["tools"] = [_translate_tool(tool, losses) for tool in tools]
        parameters |= _translate_tool_choice(body.get("tool_choice"))
    return make_request(body, messages, parameters, losses)


class ThreadUnsupported(InvalidInput):
    """A conversation that is kept at the provider; Anthropic's clients then send the whole of it."""

    code = "thread_unsupported_request"

    def __init__(self) -> None:
        why = "Conversations are not kept here, and what one holds could not be counted."
        super().__init__("thread can't be used.", why, "Send the whole conversation as messages.", "thread")


def _read_system(field: Any, messages: list[dict[str, Any]], losses: Losses) -> str:
    """The system prompt: the field, then what messages of that role say."""
    contents = [field, *(message.get("content") for message in messages if message.get("role") == "system")]
    for content in contents:
        for block in _list_blocks(content):
            losses.leave_out_others("system", block, _FIELDS["text"])
    return "\n\n".join(text for content in contents if (text := _join_texts(content)).strip())


def _read_output(body: dict[str, Any]) -> dict[str, Any]:
    """The form of the answer and the effort that goes into it."""
    config = read_object_field(body, "output_config")
    parameters = dict[str, Any]()
    form = config.get("format") or body.get("output_format")
    if isinstance(form, dict) and form.get("type") == "json_schema":
        schema = {"name": "answer", "schema": form.get("schema") or {}, "strict": True}
        parameters["response_format"] = {"type": "json_schema", "json_schema": schema}
    if effort := config.get("effort"):
        parameters["reasoning_effort"] = effort
    return parameters


def _translate_message(message: dict[str, Any], losses: Losses) -> list[dict[str, Any]]:
    """One message as the messages inside: results of tools become messages of their own, their pictures come after."""
    role = message.get("role")
    content = message.get("content")
    if role not in ("user", "assistant", "system") or not isinstance(content, str | list):
        raise InvalidInput(
            "A message can't be read.",
            "It needs a role (user, assistant, system) and content.",
            "Correct it.",
            "messages",
        )
    if role == "system":
        return []  # it stands with the others of its kind
    if isinstance(content, str):
        return [{"role": role, "content": content}]
    blocks = _list_blocks(content)
    for block in blocks:
        losses.leave_out_others("messages", block, _FIELDS.get(str(block.get("type")), block))
    results = list[dict[str, Any]]()
    parts = list[dict[str, Any]]()
    for block in blocks:
        if block.get("type") == "tool_result":
            content_of_tool = block.get("content")
            results.append(
                {
                    "role": "tool",
                    "tool_call_id": str(block.get("tool_use_id", "")),
                    "content": _join_texts(content_of_tool),
                }
            )
            blocks_of_tool = (
                [block_of_tool for block_of_tool in content_of_tool if isinstance(block_of_tool, dict)]
                if isinstance(content_of_tool, list)
                else []
            )
            parts += [
                part
                for block_of_tool in blocks_of_tool
                if block_of_tool.get("type") != "text"
                for part in _translate_block(block_of_tool, losses)
            ]
        elif block.get("type") != "tool_use":
            parts += _translate_block(block, losses)
    calls = [_translate_call(block) for block in blocks if block.get("type") == "tool_use"]
    other_message: dict[str, Any] = {"role": role, "content": _join_parts(parts) or None}
    if calls:
        other_message["tool_calls"] = calls
    return [*results, *([other_message] if parts or calls else [])]


def _translate_block(block: dict[str, Any], losses: Losses) -> list[dict[str, Any]]:
    """A block as parts of a message; what there is no part for is noted."""
    kind = str(block.get("type"))
    source = block.get("source")
    source = source if isinstance(source, dict) else {}
    if kind == "text":
        return [{"type": "text", "text": str(block.get("text", ""))}]
    if kind in _UNSAID:
        losses.leave_out("messages.thinking")
        return []
    if kind == "image" and source.get("type") in ("url", "base64"):
        return [{"type": "image_url", "image_url": {"url": source.get("url") or _build_data_url(source)}}]
    if kind == "document" and source.get("type") == "text":
        return [{"type": "text", "text": str(source.get("data", ""))}]
    if kind == "document" and source.get("type") == "content":
        inner = source.get("content")
        blocks = inner if isinstance(inner, list) else [{"type": "text", "text": inner}]
        return [
            part
            for inner_block in blocks
            if isinstance(inner_block, dict)
            for part in _translate_block(inner_block, losses)
        ]
    if kind == "document" and source.get("type") == "base64":
        file = {"filename": str(block.get("title") or "document.pdf"), "file_data": _build_data_url(source)}
        return [{"type": "file", "file": file}]
    losses.refuse(f"Blocks of the type {kind[:40]}" + (f" from a {source['type']}"[:40] if "type" in source else ""))
    return [{**block, "type": kind}]  # what a program says by it, though no other protocol has a word for it


def _build_data_url(source: dict[str, Any]) -> str:
    return f"data:{source.get('media_type')};base64,{source.get('data')}"


def _join_parts(parts: list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    """Text alone is sent as text: every provider takes that."""
    if all(part["type"] == "text" for part in parts):
        return "\n".join(part["text"] for part in parts)
    return parts


def _translate_call(block: dict[str, Any]) -> dict[str, Any]:
    arguments = json.dumps(block.get("input") or {}, ensure_ascii=False)
    function = {"name": str(block.get("name", "")), "arguments": arguments}
    return {"id": str(block.get("id", "")), "type": "function", "function": function}


def _translate_tool(tool: dict[str, Any], losses: Losses) -> dict[str, Any]:
    losses.leave_out_others("tools", tool, _FIELDS["tool"])
    function = {"name": tool.get("name", ""), "description": tool.get("description", "")}
    function["parameters"] = tool.get("input_schema") or {"type": "object"}
    return {"type": "function", "function": function | ({"strict": True} if tool.get("strict") is True else {})}


def _translate_tool_choice(choice: Any) -> dict[str, Any]:
    kind = choice.get("type") if isinstance(choice, dict) else None
    parameters: dict[str, Any] = {}
    if kind == "tool":
        parameters["tool_choice"] = {"type": "function", "function": {"name": str(choice.get("name", ""))}}
    elif kind in ("auto", "any", "none"):
        parameters["tool_choice"] = "required" if kind == "any" else kind
    if kind is not None and choice.get("disable_parallel_tool_use") is True:
        parameters["parallel_tool_calls"] = False
    return parameters


def _list_blocks(content: Any) -> list[dict[str, Any]]:
    return [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []


def _join_texts(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(str(block["text"]) for block in _list_blocks(content) if "text" in block)
