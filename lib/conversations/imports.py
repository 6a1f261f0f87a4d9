"""Conversations out of other programs' files, with every branch.

Formats, as the programs write them and as their own importers and tests read them:
- OpenAI's data export, `conversations.json`: a list; `mapping` holds nodes with `message`, `parent`, `children`;
  `current_node` is the leaf shown (github.com/danny-avila/LibreChat, api/server/utils/import, chatgpt-*.json).
- Open WebUI's export: a list; `chat.history` holds `messages` with `parentId`, and `currentId`; times are Unix seconds
  (github.com/open-webui/open-webui, and LibreChat's openwebui-export.json).
- LibreChat's export: an object with `conversationId` and `messages`, flat with `parentMessageId` or nested in
  `children` (github.com/danny-avila/LibreChat, librechat-*.json).
- Our own JSON export.
Words are taken out of parts of every kind (`lib.conversations.parts`); images and files of theirs are not in these
files, and of a message that is nothing else a mark is left. What they hide from the reader is left out.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from lib.conversations.exports import FORMAT
from lib.conversations.parts import (
    build_picture_mark,
    extract_canvas_words,
    extract_words,
    is_receipt,
    link_sources,
    remove_folded,
)
from lib.errors import InvalidInput

LARGEST_FILE = 100 * 1024 * 1024  # bytes
_ROLES = ("user", "assistant", "tool", "system")
_NO_PARENT = "00000000-0000-0000-0000-000000000000"
_MILLISECONDS = 100_000_000_000  # from this number on
Json = Mapping[str, Any]


@dataclass(frozen=True)
class ImportedMessage:
    """A message as the other program has it, under its ids."""

    id: str
    parent_id: str | None
    role: str
    content: str = field(repr=False)
    model: str = ""
    at: datetime | None = None


@dataclass(frozen=True)
class ImportedConversation:
    """A conversation of a file. `leaf_id` is of the branch that was shown, None where the file does not say."""

    source: str
    source_id: str
    title: str
    messages: tuple[ImportedMessage, ...]
    leaf_id: str | None
    at: datetime | None = None
    folder: str = ""
    tags: tuple[str, ...] = ()
    system_prompt: str | None = None


def read(data: bytes) -> tuple[list[ImportedConversation], int]:
    """The conversations of a file, and how many entries hold none; InvalidInput for a file of another kind."""
    if len(data) > LARGEST_FILE:
        raise InvalidInput("The file is too large.", f"The limit is {LARGEST_FILE // 1024**2} MB.", "Split it.")
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        raise _make_import_error("It is not JSON. Out of a ZIP file, take conversations.json.") from None
    reader, entries = _choose_reader(body)
    conversations = []
    unreadable = 0
    for entry in entries:
        try:
            conversation = reader(entry)
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError, RecursionError):
            conversation = None
        if conversation is None or not conversation.messages:
            unreadable += 1
        else:
            conversations.append(conversation)
    return conversations, unreadable


def _choose_reader(body: Any) -> tuple[Callable[[Json], ImportedConversation | None], list[Json]]:
    if isinstance(body, dict) and body.get("format") == FORMAT:
        return _read_own, _list_conversations(body.get("conversations"))
    if isinstance(body, dict) and "conversationId" in body:
        return _read_librechat, [body]
    entries = _list_conversations(body if isinstance(body, list) else [body])
    if any("mapping" in entry for entry in entries):
        return _read_openai, entries
    if any("chat" in entry for entry in entries):
        return _read_open_webui, entries
    if any("conversationId" in entry for entry in entries):
        return _read_librechat, entries
    raise _make_import_error("Known are the exports of OpenAI, Open WebUI, LibreChat and this product (JSON).")


def _list_conversations(body: Any) -> list[Json]:
    if not isinstance(body, list):
        raise _make_import_error("It holds no list of conversations.")
    return [entry for entry in body if isinstance(entry, dict)]


def _make_import_error(why: str) -> InvalidInput:
    return InvalidInput("The file can't be imported.", why, "Choose another file.", field="file")


def _read_openai(entry: Json) -> ImportedConversation:
    mapping: Mapping[str, Json] = entry["mapping"]
    shown_messages = {
        name: message for name, node in mapping.items() if (message := _read_openai_message(name, node)) is not None
    }

    def nearest_shown(name: str | None) -> str | None:
        """The nearest message above that is shown; hidden ones and empty roots are stepped over."""
        steps = 0
        while name is not None and name not in shown_messages:
            name = (mapping.get(name) or {}).get("parent")
            steps = steps + 1
            if steps > len(mapping):
                raise ValueError("a circle")
        return name

    messages = tuple(
        ImportedMessage(
            message.id,
            nearest_shown(mapping[message.id].get("parent")),
            message.role,
            message.content,
            message.model,
            message.at,
        )
        for message in shown_messages.values()
    )
    source_id = str(entry.get("conversation_id") or entry.get("id") or "")
    leaf = nearest_shown(entry.get("current_node"))
    return ImportedConversation(
        "openai", source_id, _read_text(entry.get("title")), messages, leaf, _parse_moment(entry.get("create_time"))
    )


def _read_openai_message(name: str, node: Json) -> ImportedMessage | None:
    message = node.get("message")
    metadata = (message or {}).get("metadata") or {}
    if not message or metadata.get("is_visually_hidden_from_conversation"):
        return None
    author = message["author"]
    content = message.get("content") or {}
    role = author["role"]
    recipient = message.get("recipient") or "all"
    if role not in _ROLES or role == "system":
        return None
    text = (
        _read_openai_words(content)
        if recipient == "all"
        else extract_canvas_words(recipient, _read_openai_words(content))
    )
    if not text.strip() or (role == "tool" and is_receipt(author, text)):
        return None
    return ImportedMessage(
        name,
        None,
        role,
        link_sources(text, metadata),
        _read_text(metadata.get("model_slug")),
        _parse_moment(message.get("create_time")),
    )


def _read_openai_words(content: Json) -> str:
    if content.get("content_type") not in _OPENAI_SHOWN:
        return ""
    parts = content.get("parts") or [content.get("text") or content.get("result")]
    return extract_words(parts) or build_picture_mark(parts)


_OPENAI_SHOWN = ("text", "multimodal_text", "code", "execution_output", "tether_quote", "system_error")


def _read_open_webui(entry: Json) -> ImportedConversation:
    chat = entry["chat"]
    history = chat.get("history") or {}
    nodes = history.get("messages") or _chain(chat.get("messages") or [])
    messages = tuple(
        ImportedMessage(
            str(name),
            node.get("parentId"),
            node["role"],
            _read_open_webui_words(node),
            _read_text(node.get("model")),
            _parse_moment(node.get("timestamp")),
        )
        for name, node in nodes.items()
        if isinstance(node, Mapping) and node.get("role") in _ROLES
    )
    title = _read_text(entry.get("title") or chat.get("title"))
    tags = tuple(tag for tag in (entry.get("meta") or {}).get("tags") or () if isinstance(tag, str))
    at = _parse_moment(entry.get("created_at"))
    leaf = history.get("currentId") or (messages[-1].id if messages else None)
    return ImportedConversation("open-webui", _read_text(entry.get("id")), title, messages, leaf, at, tags=tags)


def _chain(messages: list[Json]) -> dict[str, Json]:
    """Messages of a plain list, each after the one before it."""
    ids = [str(message.get("id") or number) for number, message in enumerate(messages)]
    return {
        name: {"parentId": above, **message} for name, above, message in zip(ids, [None, *ids], messages, strict=False)
    }


def _read_open_webui_words(node: Json) -> str:
    content = node.get("content")
    text = extract_words(content)
    if node["role"] == "assistant":
        text = remove_folded(text)
    return (
        text or extract_words(node.get("error")) or build_picture_mark(content) or build_picture_mark(node.get("files"))
    )


def _read_librechat(entry: Json) -> ImportedConversation:
    messages = tuple(_yield_librechat_messages(entry.get("messages") or entry.get("messagesTree") or []))
    prompt = (entry.get("options") or {}).get("promptPrefix")
    prompt = prompt if isinstance(prompt, str) and prompt.strip() else None
    first = min((message.at for message in messages if message.at), default=None)
    title = _read_text(entry.get("title"))
    source_id = _read_text(entry["conversationId"])
    return ImportedConversation("librechat", source_id, title, messages, None, first, system_prompt=prompt)


def _yield_librechat_messages(nodes: list[Json]) -> Iterator[ImportedMessage]:
    waiting = [*nodes]
    while waiting:
        node = waiting.pop(0)
        parent = node.get("parentMessageId")
        content = node.get("content")
        text = extract_words(node.get("text")) or extract_words(content)
        text = text or build_picture_mark(content) or build_picture_mark(node.get("files"))
        role = "user" if node.get("isCreatedByUser", node.get("sender") == "User") else "assistant"
        parent = None if parent == _NO_PARENT else parent
        yield ImportedMessage(
            node["messageId"], parent, role, text, _read_text(node.get("model")), _parse_moment(node.get("createdAt"))
        )
        waiting += node.get("children") or []


def _read_own(entry: Json) -> ImportedConversation:
    messages = tuple(
        ImportedMessage(
            node["id"],
            node.get("parent_id"),
            node["role"],
            _read_text(node.get("content")),
            _read_text(node.get("model")),
            _parse_moment(node.get("created_at")),
        )
        for node in entry["messages"]
        if node.get("role") in _ROLES
    )
    return ImportedConversation(
        "llm-manager",
        _read_text(entry["id"]),
        _read_text(entry.get("title")),
        messages,
        entry.get("leaf_id"),
        _parse_moment(entry.get("created_at")),
        _read_text(entry.get("folder")),
        tuple(tag for tag in entry.get("tags") or () if isinstance(tag, str)),
        entry.get("system_prompt"),
    )


def _read_text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _parse_moment(value: Any) -> datetime | None:
    """Unix seconds or milliseconds, or ISO 8601; None where there is none that can be read."""
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value / 1000 if value > _MILLISECONDS else value, UTC)
        at = datetime.fromisoformat(value) if isinstance(value, str) and value else None
    except (ValueError, OverflowError, OSError):
        return None
    if at is None:
        return None
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
