"""A conversation and its messages as values, and what their fields may hold.

Messages form a tree: each names the one it follows, and the conversation names the leaf of the branch that is shown.
A conversation belongs to one person; an API key of theirs reaches those of its app.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from lib.access.permissions import Actor, Permission
from lib.conversations.strategy import ContextStrategy
from lib.errors import InvalidInput, NotFound, PermissionDenied

LONGEST_MESSAGE = 400_000  # characters
LONGEST_TTL_S = 366 * 24 * 3600
_LONGEST_TITLE = 200
_LONGEST_NAME = 80
_MOST_TAGS = 20
RUNNING = "running"


class Status(StrEnum):
    """Whether a conversation goes on; an ended or expired one can be read and be opened again."""

    ACTIVE = "active"
    ENDED = "ended"
    EXPIRED = "expired"


@dataclass(frozen=True)
class Conversation:
    """A conversation without its messages. `system_prompt` None is the configuration's; `expires_at` None is never."""

    id: str
    owner_id: str
    app: str
    title: str
    title_source: str
    title_call_id: str | None
    folder: str
    tags: tuple[str, ...]
    is_pinned: bool
    is_archived: bool
    ended_at: datetime | None
    ttl_s: int | None
    expires_at: datetime | None
    configuration_id: str | None
    system_prompt: str | None = field(repr=False)
    strategy: ContextStrategy
    leaf_id: str | None
    source: str
    created_at: datetime
    last_at: datetime

    def status(self, now: datetime) -> Status:
        """Active, ended or expired at a moment."""
        if self.ended_at is not None:
            return Status.ENDED
        return Status.EXPIRED if self.expires_at is not None and self.expires_at <= now else Status.ACTIVE

    @property
    def name(self) -> str:
        """The title, or what stands for it."""
        return self.title or "New conversation"


@dataclass(frozen=True)
class MessageNode:
    """A message's place in the tree, and what its length is thought to be."""

    id: str
    parent_id: str | None
    role: str
    status: str
    tokens: int


@dataclass(frozen=True)
class Message:
    """A message as it is shown. `siblings` are the ids of all that follow the same message, itself included.

    Cost and tokens are the ledger's, of all attempts of its calls; None where no call is known.
    """

    id: str
    parent_id: str | None
    role: str
    content: str = field(repr=False)
    parts: tuple[Mapping[str, Any], ...]
    tokens: int
    status: str
    error_message: str | None
    call_id: str | None
    configuration_id: str | None
    model: str
    created_at: datetime
    siblings: tuple[str, ...] = ()
    cost_nano_usd: int | None = None
    cost_status: str = "unpriced"
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    is_remembered: bool = False  # the answer came from memory
    saved_nano_usd: int | None = None

    @property
    def running(self) -> bool:
        """Whether its answer is still being written."""
        return self.status == RUNNING


def require_owner(actor: Actor) -> str:
    """Whose conversations the actor's are; PermissionDenied without the permission, or for the machine's operator."""
    actor.require(Permission.VIEW_CONVERSATIONS)
    if actor.user_id is None:
        raise PermissionDenied(
            "The operator has no conversations.", "They belong to a person's account.", "Sign in as that person."
        )
    return actor.user_id


def make_conversation_not_found() -> NotFound:
    """The error for a conversation that does not exist or belongs to somebody else: both answer alike."""
    return NotFound("There is no such conversation.", "It does not exist, or it belongs to somebody else.")


def check_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields that a person may set, as columns; InvalidInput names the one that can't be used."""
    checks: dict[str, Callable[[Any], Any]] = {
        "title": lambda value: _check_line(value, _LONGEST_TITLE, "title"),
        "folder": lambda value: _check_line(value, _LONGEST_NAME, "folder"),
        "tags": _check_tags,
        "is_pinned": bool,
        "is_archived": bool,
        "ttl_s": check_ttl,
        "configuration_id": lambda value: value,
        "system_prompt": lambda value: None if value is None else check_text(value, "system_prompt"),
        "strategy": lambda value: value.checked().to_record(),
    }
    values = {name: checks[name](value) for name, value in fields.items()}
    if "strategy" in values:
        values["context"] = values.pop("strategy")
    return values


def check_text(text: str, field_name: str = "content") -> str:
    """A message's text that every store accepts."""
    if len(text) > LONGEST_MESSAGE:
        raise InvalidInput(
            "The text is too long.",
            f"It has {len(text):,} characters; the limit is {LONGEST_MESSAGE:,}.",
            "Shorten it, or send it in parts.",
            field=field_name,
        )
    return text.replace("\x00", "").encode("utf-8", "replace").decode("utf-8")


def check_ttl(seconds: int | None) -> int | None:
    """Seconds after the last message, or None."""
    if seconds is None or (isinstance(seconds, int) and 0 < seconds <= LONGEST_TTL_S):
        return seconds
    raise InvalidInput(
        "The time to live can't be used.", f"It is 1 to {LONGEST_TTL_S:,} seconds.", "Correct it.", field="ttl_s"
    )


def _check_line(text: str, longest: int, field_name: str) -> str:
    return check_text(" ".join(text.split()), field_name)[:longest]


def _check_tags(names: Sequence[str]) -> list[str]:
    tags = list(dict.fromkeys(tag for name in names if (tag := _check_line(name, _LONGEST_NAME, "tags"))))
    if len(tags) > _MOST_TAGS:
        raise InvalidInput(f"{len(tags)} tags are too many.", f"The limit is {_MOST_TAGS}.", "Remove some.", "tags")
    return tags
