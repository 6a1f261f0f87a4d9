"""Every error a person may see: what happened, why, and what to do.

Three families: what the user can fix (`UserError`), what a provider failed at (`ProviderError`), what the
installation lacks (`InstallationError`). Anything else is a bug and is not caught. Doors (page, route, command) show
`title`, `why` and `fix`; none of the three may ever hold a secret.
"""

import math
from enum import StrEnum


class LLMManagerError(Exception):
    """An error with a title (what happened), a reason and a remedy, each one short sentence or empty."""

    def __init__(self, title: str, why: str = "", fix: str = "") -> None:
        super().__init__(" ".join(part for part in (title, why, fix) if part))
        self.title = title
        self.why = why
        self.fix = fix

    @property
    def body(self) -> str:
        """Reason and remedy as one line, for under the title."""
        return " ".join(part for part in (self.why, self.fix) if part)


class UserError(LLMManagerError):
    """Something the person in front can change."""


class InvalidInput(UserError):
    """A value that can't be used; `field` names it where there is one."""

    def __init__(self, title: str, why: str = "", fix: str = "", field: str | None = None) -> None:
        super().__init__(title, why, fix)
        self.field = field


class NotFound(UserError):
    """No such thing, or it belongs to somebody else: the two are not told apart."""


class PermissionDenied(UserError):
    """The actor lacks a permission."""


class Conflict(UserError):
    """The state has moved on: the name is taken, the thing is in use, somebody else changed it."""


class Throttled(UserError):
    """Too many tries; `retry_after` is in seconds, None where no waiting helps."""

    def __init__(self, title: str, why: str = "", fix: str = "", retry_after: int | None = 60) -> None:
        super().__init__(title, why, fix)
        self.retry_after = retry_after

    @property
    def wait_s(self) -> float:
        """Seconds to wait as a number: infinite where no waiting helps."""
        return math.inf if self.retry_after is None else self.retry_after


class InstallationError(LLMManagerError):
    """The data folder, database, port or key file can't be used as it is."""


class ErrorKind(StrEnum):
    """Why a call failed, as stored in `usage_logs.error_kind`."""

    AUTHENTICATION = "authentication"
    PERMISSION = "permission"
    MODEL_NOT_FOUND = "model_not_found"
    BAD_REQUEST = "bad_request"
    CONTEXT_LENGTH = "context_length"
    CONTENT_FILTER = "content_filter"
    RATE_LIMIT = "rate_limit"
    QUOTA = "quota"
    OVERLOADED = "overloaded"
    SERVER_ERROR = "server_error"
    CONNECTION = "connection"
    NOT_A_MODEL_SERVER = "not_a_model_server"
    TIMEOUT_FIRST_TOKEN = "timeout_first_token"  # noqa: S105 (a kind of error)
    TIMEOUT_IDLE = "timeout_idle"
    TIMEOUT_TOTAL = "timeout_total"
    STREAM_CUT = "stream_cut"
    PROCESS_ENDED = "process_ended"
    CIRCUIT_OPEN = "circuit_open"
    BUDGET = "budget"
    LIMIT = "limit"  # of the installation's own: requests, tokens, calls at once
    REFUSED = "refused"
    UNRECORDED = "unrecorded"  # the answer came, but its end could not be written
    INTERNAL = "internal"


class ProviderError(LLMManagerError):
    """A provider refused, was absent, slow or made no sense."""

    def __init__(
        self,
        kind: ErrorKind,
        title: str,
        why: str = "",
        fix: str = "",
        *,
        status_code: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(title, why, fix)
        self.kind = kind
        self.status_code = status_code
        self.retry_after = retry_after
