"""What is asked of people and what they decide: values alone, and the bounds of what they may hold.

A request's `data` is JSON: a tool's arguments, or what a workflow's step shows. With a `form_schema` (JSON Schema) the
decision carries an answer that fits it; without one the decision may carry the data edited, in whatever shape.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from lib.access.permissions import Role
from lib.errors import InvalidInput

MOST_BYTES = 256 * 1024
LONGEST_TITLE = 200
LONGEST_TEXT = 2_000  # of a reason or a comment


class ApprovalKind(StrEnum):
    """What waits: a tool that wants to run, or a workflow's step."""

    TOOL = "tool"
    WORKFLOW = "workflow"


class ApprovalState(StrEnum):
    """Every state but the first is final."""

    WAITING = "waiting"
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"


class Verdict(StrEnum):
    """What a person decides."""

    APPROVE = "approve"
    DENY = "deny"


class GrantScope(StrEnum):
    """For how long an approval holds: this time, in this conversation, or whenever it is for this person."""

    ONCE = "once"
    CONVERSATION = "conversation"
    ALWAYS = "always"


@dataclass(frozen=True)
class Deciders:
    """Who may decide: people by id, roles, teams by id. Super-admins always may."""

    people: tuple[str, ...] = ()
    roles: tuple[Role, ...] = ()
    teams: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        """Whether anybody is named."""
        return bool(self.people or self.roles or self.teams)


@dataclass(frozen=True)
class Escalation:
    """From `at` on these may decide as well, and the webhook is told."""

    at: datetime
    deciders: Deciders


@dataclass(frozen=True, kw_only=True)
class ApprovalRequest:
    """A question to people. `reason` completes "asked because …". Without `deciders` it goes to the person for whom it
    runs. `key` makes asking repeatable: a second request with the same key is the first one, whatever became of it.
    """

    kind: ApprovalKind
    title: str
    reason: str = ""
    subject: str = ""
    data: Any = None
    form_schema: Mapping[str, Any] | None = None
    key: str = ""
    conversation_id: str | None = None
    call_id: str | None = None
    workflow_run_id: str | None = None
    workflow_step: str | None = None
    team_id: int = 1
    deciders: Deciders = Deciders()
    deadline: datetime | None = None
    escalation: Escalation | None = None


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What a person decided; `data` is the data edited or the answer to the form, None leaves the data as it was."""

    verdict: Verdict
    scope: GrantScope = GrantScope.ONCE
    data: Any = None
    comment: str = ""


@dataclass(frozen=True, kw_only=True)
class Approval:
    """A request and what became of it. `data` is the edited one once it was edited, and None once nobody needs it;
    `data_hash` (SHA-256) and `data_size` (bytes) are those of the data as it was asked, and stay.
    """

    id: str
    kind: ApprovalKind
    state: ApprovalState
    title: str
    reason: str
    subject: str
    user_id: str | None
    user_name: str | None
    team_id: int
    conversation_id: str | None
    call_id: str | None
    workflow_run_id: str | None
    workflow_step: str | None
    data: Any
    data_hash: str
    data_size: int
    form_schema: Mapping[str, Any] | None
    deciders: Deciders
    asked_at: datetime
    deadline: datetime | None
    escalation: Escalation | None
    decided_at: datetime | None
    decided_by: str | None
    decided_by_name: str
    scope: str
    is_edited: bool
    comment: str

    @property
    def is_waiting(self) -> bool:
        """Whether nobody has decided and the deadline, if any, has not been noticed to be over."""
        return self.state is ApprovalState.WAITING

    @property
    def is_approved(self) -> bool:
        """Whether it may go on."""
        return self.state is ApprovalState.APPROVED


@dataclass(frozen=True, kw_only=True)
class StandingGrant:
    """What runs for a person without a question: in one conversation, or everywhere (`conversation_id` is empty)."""

    id: str
    user_id: str
    user_name: str | None
    subject: str
    conversation_id: str
    granted_by_name: str
    granted_at: datetime


def encode_data(data: Any, field: str = "data") -> str:
    """Write data as JSON with sorted keys; InvalidInput where it is none or too large."""
    try:
        text = json.dumps(data, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)
        if not _is_storable(text):  # half a letter, which only its escape can be written of
            text = json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput("The data can't be kept.", "It is not JSON.", "", field=field) from error
    if len(text.encode()) > MOST_BYTES:
        raise InvalidInput(
            "The data is too large.", f"At most {MOST_BYTES // 1024} kB wait for a decision.", "Send less.", field=field
        )
    return text


def hash_data(text: str) -> str:
    """Compute the SHA-256 of written data, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def make_storable(text: str) -> str:
    """Make text that every store accepts: without NUL, halves of letters as question marks."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def _is_storable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
