"""A conversation as Markdown, JSON, CSV or JSONL.

Markdown and JSONL hold the branch that is shown; JSONL is a line of `messages` as fine-tuning wants it. JSON and CSV
hold every branch, a message with its parent; JSON can be imported again. Files are named, not held. Text that a
spreadsheet would run is neutralised.
"""

import csv
import io
import json
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

from lib.activity.call_export import format_csv_cell
from lib.conversations.conversation import Conversation, Message

FORMAT = "llm-manager/conversations/1"
_COLUMNS = (
    *("conversation_id", "title", "id", "parent_id", "role", "content", "model", "status", "created_at"),
    *("call_id", "prompt_tokens", "completion_tokens", "cost_nano_usd", "is_shown", "cost_status"),
)


class ExportFormat(StrEnum):
    """A kind of file; its value is the ending of the name."""

    MARKDOWN = "md"
    JSON = "json"
    CSV = "csv"
    JSONL = "jsonl"


def write(
    form: ExportFormat, conversations: Sequence[tuple[Conversation, Sequence[Message], Sequence[Message]]]
) -> bytes:
    """The file of conversations, each with all its messages and those of the branch shown."""
    match form:
        case ExportFormat.MARKDOWN:
            return "\n\n".join(
                _format_markdown(conversation, branch) for conversation, _, branch in conversations
            ).encode()
        case ExportFormat.JSON:
            body = {
                "format": FORMAT,
                "conversations": [_build_record(conversation, messages) for conversation, messages, _ in conversations],
            }
            return json.dumps(body, ensure_ascii=False, indent=1).encode()
        case ExportFormat.JSONL:
            return "".join(
                _format_json_line(conversation, branch) for conversation, _, branch in conversations
            ).encode()
        case ExportFormat.CSV:
            return _write_csv(conversations)


def _format_markdown(conversation: Conversation, branch: Sequence[Message]) -> str:
    parts = [
        f"# {conversation.name}",
        f"{_format_moment(conversation.created_at)} – {_format_moment(conversation.last_at)}",
    ]
    if conversation.system_prompt:
        parts += ["## System", conversation.system_prompt]
    for message in branch:
        by = f" ({message.model})" if message.role == "assistant" and message.model else ""
        parts += [f"## {message.role.capitalize()}{by}", message.content or f"— {message.error_message or 'no text'}"]
        parts += [f"Attached: {part['name']}" for part in message.parts if part["type"] == "file"]
    return "\n\n".join(parts) + "\n"


def _build_record(conversation: Conversation, messages: Sequence[Message]) -> dict[str, Any]:
    conversation_fields = ("id", "title", "folder", "system_prompt", "leaf_id")
    message_fields = ("id", "parent_id", "role", "content", "model", "status", "call_id")
    figures = ("prompt_tokens", "completion_tokens", "cost_nano_usd")
    return {
        **{name: getattr(conversation, name) for name in conversation_fields},
        "tags": list(conversation.tags),
        "created_at": _format_moment(conversation.created_at),
        "messages": [
            {
                **{name: getattr(message, name) for name in message_fields},
                "created_at": _format_moment(message.created_at),
                "parts": [dict(part) for part in message.parts],
                **{name: getattr(message, name) for name in figures},
                "cost_status": _get_cost_status(message),
            }
            for message in messages
        ],
    }


def _get_cost_status(message: Message) -> str | None:
    """How far a message's cost is known: unpriced, partial (the known part), estimated, priced; None without a call."""
    return message.cost_status if message.call_id else None


def _format_json_line(conversation: Conversation, branch: Sequence[Message]) -> str:
    chat_messages = [{"role": "system", "content": conversation.system_prompt}] if conversation.system_prompt else []
    chat_messages += [{"role": message.role, "content": message.content} for message in branch if message.content]
    return json.dumps({"messages": chat_messages}, ensure_ascii=False) + "\n"


def _write_csv(conversations: Sequence[tuple[Conversation, Sequence[Message], Sequence[Message]]]) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(_COLUMNS)
    for conversation, messages, branch in conversations:
        on_it = {message.id for message in branch}
        for message in messages:
            own: dict[str, Any] = {"conversation_id": conversation.id, "title": conversation.name}
            own |= {"is_shown": message.id in on_it, "cost_status": _get_cost_status(message)}
            values = (own[name] if name in own else getattr(message, name) for name in _COLUMNS)
            writer.writerow([format_csv_cell(value) for value in values])
    return out.getvalue().encode()


def _format_moment(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")
