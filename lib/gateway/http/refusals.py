"""How an error of ours reads over HTTP: status, code and when to come back; each protocol gives it its own shape."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lib.calls.live_call import LiveCall
from lib.errors import (
    Conflict,
    ErrorKind,
    InstallationError,
    InvalidInput,
    LLMManagerError,
    NotFound,
    PermissionDenied,
    ProviderError,
    Throttled,
)

_CLIENTS_WAIT_S = 60  # OpenAI's and Anthropic's clients wait no longer than that
_STATUS_OF_KIND: dict[str, int] = {
    ErrorKind.BAD_REQUEST: 400,
    ErrorKind.CONTEXT_LENGTH: 400,
    ErrorKind.CONTENT_FILTER: 400,
    ErrorKind.REFUSED: 400,
    ErrorKind.MODEL_NOT_FOUND: 404,
    ErrorKind.RATE_LIMIT: 429,
    ErrorKind.QUOTA: 429,
    ErrorKind.BUDGET: 429,
    ErrorKind.LIMIT: 429,
    ErrorKind.OVERLOADED: 503,
    ErrorKind.CIRCUIT_OPEN: 503,
    ErrorKind.UNRECORDED: 503,
    ErrorKind.TIMEOUT_FIRST_TOKEN: 504,
    ErrorKind.TIMEOUT_IDLE: 504,
    ErrorKind.TIMEOUT_TOTAL: 504,
    ErrorKind.INTERNAL: 500,
}  # the rest is the provider's failure, or our account with it: 502
_STATUS_OF_CLASS: tuple[tuple[type[LLMManagerError], int, str], ...] = (
    (InvalidInput, 400, "invalid_request"),
    (PermissionDenied, 403, "permission_denied"),
    (NotFound, 404, "not_found"),
    (Conflict, 409, "conflict"),
    (Throttled, 429, "overloaded"),
    (InstallationError, 503, "unavailable"),
)


@dataclass(frozen=True)
class Refusal:
    """The status, code and message that a client is refused with; `headers` go with them."""

    status: int
    code: str
    message: str
    param: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


UNKNOWN_KEY = Refusal(
    401,
    "invalid_api_key",
    "The API key is not valid. Send a key of this installation as `Authorization: Bearer …` or `x-api-key`.",
    headers={"www-authenticate": "Bearer"},
)


STOPPED = Refusal(
    503,
    "cancelled",
    "The call was stopped before its end, by somebody or because the server stops. Send it again.",
    headers={"retry-after": "1"},
)
INTERNAL = Refusal(500, "internal", "Something went wrong here. The server's log says what; nothing was lost.")


def refuse_error(error: LLMManagerError) -> Refusal:
    """The refusal for an error that was raised before a call was opened."""
    if isinstance(error, ProviderError):
        return Refusal(
            _choose_status(error.kind), error.kind.value, str(error), headers=_build_retry_headers(error.retry_after)
        )
    status, code = next(((s, c) for kind, s, c in _STATUS_OF_CLASS if isinstance(error, kind)), (500, "internal"))
    code = getattr(error, "code", code)
    after = error.wait_s if isinstance(error, Throttled) else 1 if status == 503 else None
    return Refusal(status, code, str(error), getattr(error, "field", None), _build_retry_headers(after))


def refuse_call(call: LiveCall) -> Refusal | None:
    """The refusal for an ended call; None when it ended well."""
    is_ok = call.row is not None and call.row.status == "ok"
    return None if is_ok else refuse_row(call.columns, call.retry_after)


def refuse_row(row: Mapping[str, Any], retry_after: float | None = None) -> Refusal | None:
    """The refusal for the last row of a call, `retry_after` in seconds; None when the call ended well."""
    if row.get("status") == "ok":
        return None
    if row.get("status") == "cancelled":
        return STOPPED
    kind = row.get("error_kind") or ErrorKind.INTERNAL.value
    status = _choose_status(kind)
    message = row.get("error_message") or f"The call ended as {row.get('status', 'unknown')}."
    if retry_after is None and status in (429, 503):
        retry_after = math.inf if kind in (ErrorKind.BUDGET, ErrorKind.QUOTA) else 1
    return Refusal(
        status, kind, message, headers=_build_retry_headers(retry_after if status == 429 or status >= 500 else None)
    )


def _choose_status(kind: str) -> int:
    return _STATUS_OF_KIND.get(kind, 502)


def _build_retry_headers(seconds: float | None) -> dict[str, str]:
    """Headers that say when to try again; official clients would do it at once where that is later than their limit."""
    headers = {} if seconds is None or seconds == math.inf else {"retry-after": str(max(1, math.ceil(seconds)))}
    return headers if seconds is None or seconds <= _CLIENTS_WAIT_S else headers | {"x-should-retry": "false"}
