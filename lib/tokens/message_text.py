"""The words of a chat message, whatever form its content has."""

from collections.abc import Mapping
from typing import Any


def read_message_text(message: Mapping[str, Any]) -> str:
    """The text of a chat message, whose content is a string or a list of typed parts."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else ()
    return "\n".join(
        str(part.get("text", "")) for part in parts if isinstance(part, Mapping) and part.get("type") == "text"
    )


def has_content(message: Mapping[str, Any]) -> bool:
    """Whether a chat message holds more than blanks: words, a tool's call, or a part that is no text, like a file."""
    content = message.get("content")
    parts = content if isinstance(content, list) else ()
    has_others = any(isinstance(part, Mapping) and part.get("type") != "text" for part in parts)
    return (
        has_others
        or bool(message.get("tool_calls") or message.get("function_call"))
        or bool(read_message_text(message).strip())
    )
