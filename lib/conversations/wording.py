"""Stored messages as a model is sent them: roles, tool calls with their results, files, the summary."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from lib.conversations.conversation import Message
from lib.conversations.files import File
from lib.conversations.turn_parts import expand

_SUMMARY = "[Summary of the earlier part of this conversation]\n{}\n[End of the summary]\n\n"


def build_chat_messages(
    messages: Sequence[Message], files: Mapping[str, File], summary: str | None = None
) -> list[dict[str, Any]]:
    """The messages in the form of OpenAI's chat completions; a summary stands before the first one's words."""
    answered = {part["tool_call_id"] for message in messages for part in message.parts if part["type"] == "tool_result"}
    sent = [
        translated
        for message in messages
        for translated in (*expand(message.parts), _translate_message(message, files, answered))
    ]
    if summary is None or not sent:
        return sent
    note = _SUMMARY.format(summary)
    first = sent[0]
    if first["role"] != "user":
        return [{"role": "user", "content": note.rstrip()}, *sent]
    content = first["content"]
    joined = note + content if isinstance(content, str) else [{"type": "text", "text": note}, *content]
    return [{**first, "content": joined}, *sent[1:]]


def _translate_message(message: Message, files: Mapping[str, File], answered: set[str]) -> dict[str, Any]:
    if message.role == "tool":
        call = next((part["tool_call_id"] for part in message.parts if part["type"] == "tool_result"), "")
        return {"role": "tool", "tool_call_id": call, "content": message.content}
    sent: dict[str, Any] = {"role": message.role, "content": message.content}
    if calls := [part for part in message.parts if _is_answered(part, answered)]:
        sent["tool_calls"] = [
            {
                "id": part["id"],
                "type": "function",
                "function": {"name": part["name"], "arguments": part["arguments"]},
            }
            for part in calls
        ]
    attached = [files[part["id"]] for part in message.parts if part["type"] == "file" and part["id"] in files]
    texts = [_quote(file) for file in attached if not file.is_image]
    if texts:
        sent["content"] = "\n\n".join([*texts, message.content])
    images = [_encode_image(file) for file in attached if file.is_image]
    if images:
        sent["content"] = [{"type": "text", "text": sent["content"]}, *images] if sent["content"] else images
    return sent


def _is_answered(part: Mapping[str, Any], answered: set[str]) -> bool:
    """Whether a tool call of an imported message has its result in a message of its own."""
    return part["type"] == "tool_call" and "round" not in part and part["id"] in answered


def _quote(file: File) -> str:
    """A text file between fences longer than any inside it."""
    fence = "```"
    while fence in file.text:
        fence += "`"
    return f"File {file.name}:\n{fence}\n{file.text}\n{fence}"


def _encode_image(file: File) -> dict[str, Any]:
    data = base64.b64encode(file.data).decode("ascii")
    return {"type": "image_url", "image_url": {"url": f"data:{file.media_type};base64,{data}"}}
