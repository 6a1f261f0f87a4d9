"""What a webhook is sent: whether its sender knows the secret, and by which key the same delivery is known again.

Four ways to show it are taken, each under its own headers; the first that is there counts:

- `webhook-signature`, with `webhook-id` and `webhook-timestamp`, by https://www.standardwebhooks.com: base64 of the
  HMAC-SHA256 of `ID.SECONDS.BODY` under the bytes that the secret's base64 stands for.
- `x-llm-manager-signature: t=SECONDS,v1=HEX`, as this product signs what it sends: of `SECONDS.BODY`.
- `x-hub-signature-256: sha256=HEX`, as GitHub signs: of the body alone.
- the secret itself, as a bearer token, with `idempotency-key` where the sender names its deliveries.

A signed moment may be five minutes off.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass

LONGEST_BODY = 1024 * 1024  # bytes
TOLERANCE_S = 300
SECRET_PREFIX = "whsec_"  # noqa: S105 (how a secret begins)
_LONGEST_HEADER = 500
Headers = Mapping[str, str]


@dataclass(frozen=True)
class Delivery:
    """A request of who knows the secret; `key` is that of the delivery, empty where each request is one of its own."""

    key: str


def read_delivery(secret: str, headers: Headers, body: bytes, now_s: int) -> Delivery | None:
    """Check a request by its headers (names in small letters); None unless its sender knows the secret."""
    for name, check in _WAYS:
        if name in headers:
            return check(secret, headers, body, now_s) if len(headers[name]) <= _LONGEST_HEADER else None
    return None


def _check_standard(secret: str, headers: Headers, body: bytes, now_s: int) -> Delivery | None:
    message_id = headers.get("webhook-id", "")[:_LONGEST_HEADER]
    seconds = headers.get("webhook-timestamp", "")
    if not message_id or not _is_recent(seconds, now_s):
        return None
    signed = hmac.new(_read_key(secret), f"{message_id}.{seconds}.".encode() + body, hashlib.sha256).digest()
    expected = base64.b64encode(signed).decode()
    sent = [part.removeprefix("v1,") for part in headers["webhook-signature"].split() if part.startswith("v1,")]
    return Delivery(_hash("id", message_id)) if any(_is_equal(each, expected) for each in sent) else None


def _check_ours(secret: str, headers: Headers, body: bytes, now_s: int) -> Delivery | None:
    parts = dict(part.partition("=")[::2] for part in headers["x-llm-manager-signature"].split(","))
    seconds = parts.get("t", "")
    if not _is_recent(seconds, now_s):
        return None
    expected = hmac.new(secret.encode(), seconds.encode() + b"." + body, hashlib.sha256).hexdigest()
    return Delivery(_hash("signature", expected)) if _is_equal(parts.get("v1", ""), expected) else None


def _check_hub(secret: str, headers: Headers, body: bytes, now_s: int) -> Delivery | None:
    expected = "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    is_right = _is_equal(headers["x-hub-signature-256"], expected)
    return Delivery(_hash("signature", expected)) if is_right else None


def _check_bearer(secret: str, headers: Headers, body: bytes, now_s: int) -> Delivery | None:
    scheme, _, token = headers["authorization"].partition(" ")
    if scheme.lower() != "bearer" or not _is_equal(token.strip(), secret):
        return None
    key = headers.get("idempotency-key", "").strip()
    return Delivery(_hash("key", key) if key else "")


_WAYS: tuple[tuple[str, Callable[[str, Headers, bytes, int], Delivery | None]], ...] = (
    ("webhook-signature", _check_standard),
    ("x-llm-manager-signature", _check_ours),
    ("x-hub-signature-256", _check_hub),
    ("authorization", _check_bearer),
)


def _is_recent(seconds: str, now_s: int) -> bool:
    is_number = seconds.isascii() and seconds.isdecimal() and len(seconds) <= 12
    return is_number and abs(int(seconds) - now_s) <= TOLERANCE_S


def _is_equal(sent: str, expected: str) -> bool:
    return hmac.compare_digest(sent.encode("utf-8", "replace"), expected.encode())


def _read_key(secret: str) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        return secret.encode()


def _hash(kind: str, text: str) -> str:
    return hashlib.sha256(f"{kind}:{text}".encode("utf-8", "replace")).hexdigest()
