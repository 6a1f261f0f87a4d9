"""No key leaves in a message: values this process has decrypted, and anything that looks like a key, become `[hidden]`.

Providers echo keys in their errors, and libraries put requests into exceptions; every text that goes to a log, a row
or a page passes here first. Known values are remembered when a key is decrypted or entered.
"""

import re
import threading

MASK = "[hidden]"
_SHORTEST = 6
_PATTERNS = re.compile(
    r"""
    (?<![A-Za-z0-9])(?:sk|pk|rk|gsk|xai|pplx|r8|hf|nvapi|fw|tgp|lmk)[-_][A-Za-z0-9_\-*.]{6,}   # keys by their prefix
    | AIza[A-Za-z0-9_\-]{10,}                                                           # Google
    | (?<=Bearer\s)[A-Za-z0-9._~+/\-=]{6,}
    | (?<=://)[^/\s:@]+:[^/\s@]+(?=@)                                                    # user:password in an address
    | (?i:(?<=api_key=)|(?<=api-key:\s)|(?<=key=)|(?<=token=))[A-Za-z0-9._~+/\-]{6,}
    """,
    re.VERBOSE,
)
_known: set[str] = set()
_lock = threading.Lock()


def remember(secret: str | None) -> None:
    """Hide this value from now on, wherever it turns up."""
    if secret and len(secret) >= _SHORTEST:
        with _lock:
            _known.add(secret)


def redact(text: str) -> str:
    """`text` without known secrets and without anything shaped like one."""
    for secret in sorted(_known.copy(), key=len, reverse=True):
        text = text.replace(secret, MASK)
    return _PATTERNS.sub(MASK, text)
