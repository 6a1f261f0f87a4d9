"""No key leaves in a message: values this process has decrypted, and anything that looks like a key, become `[hidden]`.

Providers echo keys in their errors, and libraries put requests into exceptions; every text that goes to a log, a row
or a page passes here first. Known values are remembered when a key is decrypted or entered, and found as they are,
URL-encoded, escaped, inside Base64 (`Authorization: Basic`), and cut: any piece of twelve signs or more.
"""

import base64
import json
import re
import threading
from urllib.parse import quote

from lib.patterns import compile_pattern

MASK = "[hidden]"
_SHORTEST = 6
_PIECE = 12  # of a known value: what is longer is hidden
_STEP = _PIECE // 2  # a piece of twelve signs holds one of the value's sixes whole
_PATTERNS = compile_pattern(
    r"""
    -----BEGIN\ [A-Z ]*PRIVATE\ KEY-----.*?(?:-----END\ [A-Z ]*PRIVATE\ KEY-----|\Z)
    | (?<![A-Za-z0-9])(?:sk|pk|rk|gsk|xai|pplx|r8|hf|nvapi|fw|tgp|lmk)[-_][A-Za-z0-9_\-*.]{6,}   # keys by their prefix
    | (?<![A-Za-z0-9])(?:gh[pousr]|github_pat|glpat|xox[abprs])[-_][A-Za-z0-9_\-]{10,}
    | (?<![A-Za-z0-9])(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])                           # Amazon
    | AIza[A-Za-z0-9_\-]{10,}                                                            # Google
    | (?<=://)[^/\s:@]*:[^/\s@]+(?=@)                                                    # user:password in an address
    """,
    re.VERBOSE | re.DOTALL,
)
# JSON web tokens. A run of their signs is looked at once, from its beginning to the first `eyJ`: where that begins no
# token none of the run does, for all its beginnings have the same end.
_WEB_TOKEN = compile_pattern(
    r"""
    (?<![A-Za-z0-9_\-])((?:(?!(?<![A-Za-z0-9])eyJ)[A-Za-z0-9_\-])*+)
    eyJ[A-Za-z0-9_\-]{8,}+\.[A-Za-z0-9_\-]{8,}+\.[A-Za-z0-9_\-]*+
    """,
    re.VERBOSE,
)
_AFTER = compile_pattern(r"(?i)\b(bearer|basic)(\s+)[A-Za-z0-9._~+/\-=]{6,}")
_NAMED = compile_pattern(
    r"""(?ix)
    ((?:api[-_]?key|x-goog-api-key|access[-_]?token|auth[-_]?token|client[-_]?secret|authorization|password
        |(?<![a-z_])(?:key|token|secret))
     ["']?\s*(?:=|:|%3A|%3D)\s*["']?)
    (?!\[hidden\]|bearer\b|basic\b)[A-Za-z0-9._~+/\-=%]{6,}
    """,
)
_guises_of: dict[str, tuple[str, ...]] = {}
_lock = threading.Lock()


def remember(secret: str | None) -> None:
    """Hide this value from now on, wherever and however it turns up."""
    if secret and len(secret) >= _SHORTEST and secret not in _guises_of:
        with _lock:
            _guises_of[secret] = _list_guises(secret)


def redact(text: str) -> str:
    """`text` without known secrets and without anything shaped like one."""
    text = _PATTERNS.sub(MASK, hide_known(text))
    if "eyJ" in text:  # most texts hold none, and the search for it is a fifth of the work
        text = _WEB_TOKEN.sub(rf"\1{MASK}", text)
    return _NAMED.sub(rf"\1{MASK}", _AFTER.sub(rf"\1\2{MASK}", text))


def hide_known(text: str) -> str:
    """`text` without the secrets that this process knows."""
    for secret, guises in sorted(_guises_of.copy().items(), key=lambda item: len(item[0]), reverse=True):
        for guise in guises:
            text = text.replace(guise, MASK)
        if len(secret) >= _PIECE:
            text = _mask_pieces(text, secret)
    return text


def _list_guises(secret: str) -> tuple[str, ...]:
    """The ways a value may be written, itself first."""
    raw = secret.encode()
    guises = [secret, quote(secret, safe=""), quote(secret), json.dumps(secret)[1:-1], repr(secret)[1:-1]]
    if len(raw) >= 8:
        for offset in range(3):  # of the value in what was encoded; the signs at its edges depend on its neighbours
            encoded = base64.b64encode(b"\0" * offset + raw).decode().rstrip("=")
            inner = encoded[(0, 2, 3)[offset] : len(encoded) - 1]
            guises += [inner, inner.replace("+", "-").replace("/", "_")]
    return tuple(dict.fromkeys(guises))


def _mask_pieces(text: str, secret: str) -> str:
    """`text` without pieces of a secret: each is found by one of the secret's sixes and grown both ways."""
    for start in range(0, len(secret) - _STEP + 1, _STEP):
        seed = secret[start : start + _STEP]
        at = 0
        done = 0
        pieces = list[str]()
        while (at := text.find(seed, at)) >= 0:
            low = at
            high = at + _STEP
            first = start
            last = start + _STEP
            while low > done and first > 0 and text[low - 1] == secret[first - 1]:
                low = low - 1
                first = first - 1
            while high < len(text) and last < len(secret) and text[high] == secret[last]:
                high = high + 1
                last = last + 1
            if high - low >= _PIECE:
                pieces += [text[done:low], MASK]
                done = high
            at = high
        text = "".join([*pieces, text[done:]]) if pieces else text
    return text
