"""A question as its row, and the messages that go to the model with it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection

from lib.clock import make_id, utc_now
from lib.configs.configurations import Configuration
from lib.conversations.context import choose_context
from lib.conversations.conversation import Conversation, Message, MessageNode, check_text
from lib.conversations.files import MOST_FILES, File, load_files
from lib.conversations.thread import read_messages, read_summaries
from lib.conversations.wording import build_chat_messages
from lib.errors import InvalidInput
from lib.ledger.content_policy import FULL, sanitise_text
from lib.tokens.text_estimate import estimate_tokens


@dataclass(frozen=True)
class ConversationQuestion:
    """What is to be asked, after which message. `last_seen` is the leaf the sender saw; None: not checked."""

    conversation_id: str
    parent_id: str | None
    text: str | None  # None: the answer to `parent_id` once more
    files: Sequence[str]
    last_seen: str | None
    configuration: str | None
    parameters: Mapping[str, Any]


def build_question_row(
    connection: Connection, conversation: Conversation, question: ConversationQuestion, configuration: Configuration
) -> dict[str, Any]:
    """The row of the question; its words as the configuration's content policy lets them be kept."""
    text = check_text(question.text or "")
    files = load_files(connection, conversation.id, conversation.owner_id, question.files)
    if len(files) != len(set(question.files)) or len(files) > MOST_FILES:
        raise InvalidInput("A file can't be attached.", "It was removed.", "Attach it again.", field="files")
    if not text.strip() and not files:
        raise InvalidInput("The message is empty.", "", "Write what you want to ask.", field="content")
    _check_files(files, configuration)
    stored_text = sanitise_text(configuration.content_policy, text) or ""
    row = build_message_row("user", configuration) | {
        "content": stored_text,
        "parts": [file.part for file in files.values()],
    }
    return row | {"tokens": estimate_tokens(stored_text) + sum(file.tokens for file in files.values())}


def _check_files(files: Mapping[str, File], configuration: Configuration) -> None:
    if files and configuration.content_policy != FULL:
        why = f"The content policy of {configuration.slug} masks what is kept, and files can't be masked."
        raise InvalidInput("Files can't be attached here.", why, "Choose another configuration.", field="files")
    if "vision" not in configuration.capabilities and any(file.is_image for file in files.values()):
        why = f"{configuration.slug} does not take images."
        fix = "Choose one that does, or add the capability vision to the configuration."
        raise InvalidInput("The image can't be sent.", why, fix, field="files")


def assemble_messages(
    connection: Connection,
    conversation: Conversation,
    path: Sequence[MessageNode],
    question: Mapping[str, Any] | None,
    configuration: Configuration,
) -> list[dict[str, Any]]:
    """The messages for the model: what the strategy chooses of the branch, then the question."""
    last = question["tokens"] if question else 0
    candidates = path if question else path[:-1]  # the question itself always goes
    system = conversation.system_prompt if conversation.system_prompt is not None else configuration.system_prompt
    summaries = read_summaries(connection, conversation)
    selection = choose_context(candidates, conversation.strategy, summaries, estimate_tokens(system) + last)
    ids = [node.id for node in selection.nodes] + ([] if question else [path[-1].id])
    history = read_messages(connection, conversation, ids)
    if question:
        history.append(_build_message(question))
    files = {part["id"] for message in history for part in message.parts if part["type"] == "file"}
    attached = load_files(connection, conversation.id, conversation.owner_id, files)
    _check_files(attached, replace(configuration, content_policy=FULL))
    return build_chat_messages(history, attached, selection.summary.text if selection.summary else None)


def _build_message(row: Mapping[str, Any]) -> Message:
    columns = ("id", "role", "content", "tokens", "status", "error_message", "call_id", "configuration_id", "model")
    values = {name: row.get(name) for name in columns}
    return Message(**values, parent_id=None, parts=tuple(row["parts"]), created_at=utc_now())  # type: ignore[arg-type]


def build_message_row(role: str, configuration: Configuration) -> dict[str, Any]:
    """The row of a new, empty message of a role."""
    return {
        "id": make_id(),
        "role": role,
        "content": "",
        "parts": [],
        "tokens": 0,
        "status": "ok",
        "configuration_id": configuration.id,
        "model": configuration.model if role == "assistant" else "",
    }
