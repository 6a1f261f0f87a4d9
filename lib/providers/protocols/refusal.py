"""A failure as a provider states it: by a status, or inside an answer that began well.

Every provider has a shape of its own for it (`error` as an object, a text or a list's only member; `detail`;
`message`), so the words are looked for wherever they may stand.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from lib.patterns import compile_pattern

_ERROR_STATUS = compile_pattern(r"[45]\d\d")
_DELAY = compile_pattern(r"\d{1,9}(\.\d{1,9})?s")
_STATUS_OF_TYPE = {
    "invalid_request_error": 400, "bad_request": 400, "invalid_argument": 400, "failed_precondition": 400,
    "context_length_exceeded": 400, "authentication_error": 401, "unauthenticated": 401, "invalid_api_key": 401,
    "billing_error": 402, "permission_error": 403, "permission_denied": 403, "not_found_error": 404, "not_found": 404,
    "model_not_found": 404, "request_too_large": 413, "rate_limit_error": 429, "rate_limit_exceeded": 429,
    "resource_exhausted": 429, "insufficient_quota": 429, "api_error": 500, "server_error": 500, "internal": 500,
    "internal_server_error": 500, "overloaded_error": 529, "unavailable": 503, "service_unavailable": 503,
    "timeout_error": 504, "deadline_exceeded": 504,
}  # fmt: skip


class StatedFailure(Exception):
    """`status` is the provider's (None: it named none), `code` its own words for the kind, `text` for people."""

    def __init__(self, text: str, status: int | None = None, code: str = "", retry_after: float | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.status = status
        self.code = code
        self.retry_after = retry_after


def read_refusal(document: Any, status: int | None = None) -> StatedFailure:
    """The refusal in a provider's document; `status` is the answer's own, where that was an error."""
    outer = document[0] if isinstance(document, list) and document else document
    if not isinstance(outer, Mapping):
        return StatedFailure(str(outer)[:2000], status)
    error = outer.get("error") or outer
    if not isinstance(error, Mapping):
        return StatedFailure(str(error), status)
    words = [str(error[key]) for key in ("type", "code", "status") if isinstance(error.get(key), str)]
    if status is None:
        status = next(filter(None, map(_read_status, _list_stated_codes(error))), None)
    words += [
        str(detail["reason"]) for detail in _list_details(error) if isinstance(detail.get("reason"), str)
    ]  # Google's
    return StatedFailure(_read_text(error), status, " ".join(words), _retry_after(error))


def _list_stated_codes(error: Mapping[str, Any]) -> list[Any]:
    return [error.get(key) for key in ("status_code", "code", "status", "type", "http_code")]


def _read_status(word: Any) -> int | None:
    if isinstance(word, int | Decimal) and 400 <= word < 600:
        return int(word)
    if isinstance(word, str):
        return int(word) if _ERROR_STATUS.fullmatch(word) else _STATUS_OF_TYPE.get(word.lower())
    return None


def _read_text(error: Mapping[str, Any]) -> str:
    text = next((error[key] for key in ("message", "detail", "error", "msg") if error.get(key)), "")
    if isinstance(text, list) and text and isinstance(text[0], Mapping):  # a validation's list of complaints
        text = "; ".join(str(complaint.get("msg") or complaint.get("message") or complaint) for complaint in text)
    elif isinstance(text, Mapping):
        text = text.get("message") or text.get("detail") or str(dict(text))
    metadata = error.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, Mapping) else None
    return f"{text}: {raw}" if isinstance(raw, str) and raw and raw not in str(text) else str(text)


def _list_details(error: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    details = error.get("details")
    return [detail for detail in details if isinstance(detail, Mapping)] if isinstance(details, list) else []


def _retry_after(error: Mapping[str, Any]) -> float | None:
    """Google says in the body when to come back: `"retryDelay": "32s"`."""
    for detail in _list_details(error):
        delay = detail.get("retryDelay")
        if isinstance(delay, str) and _DELAY.fullmatch(delay):
            return float(delay[:-1])
    return None
