"""The head of a request as it comes in, before a parser has seen it."""

import re
from collections import Counter
from collections.abc import Iterable

from lib.patterns import compile_pattern

_ONCE = {b"host", b"authorization", b"x-api-key", b"content-length", b"content-type"}
_HOLDS_SLASHES = b"/v1/models/"  # a provider's models have slashes in their names
_UPGRADE = compile_pattern(rb"\r\nupgrade:", re.IGNORECASE)


def is_whole(data: bytes) -> bool:
    """Whether the parser should see it: its end has come, or it is none and the parser says so at once."""
    if b"\r\n\r\n" in data:
        return True
    return not data[:1].isalpha() or b"\n\n" in data or b"\n\r\n" in data


def find_fault(lines: Iterable[tuple[bytes, bytes]], path: bytes, version: str) -> str | None:
    """Why a request is not to be answered, whoever it is for; None when it may be.

    `lines` have names in small letters, `path` is as it was sent. Who stands between (a proxy, a cache) may read such a
    request otherwise than this server does.
    """
    names = [name for name, _ in lines]
    if version == "1.1" and b"host" not in names:
        return "The request has no Host header."
    if len(set(names)) < len(names):
        twice = next((name for name, count in Counter(names).items() if count > 1 and name in _ONCE), None)
        if twice is not None:
            return f"The request has two {twice.decode().title()} headers."
    lowered = path.lower()
    if b"%00" in lowered or b"\x00" in lowered:
        return "The address holds a NUL."
    if (b"%2f" in lowered or b"%5c" in lowered) and not lowered.startswith(_HOLDS_SLASHES):
        return "The address holds a slash in disguise."
    return None


def remove_upgrade(data: bytes) -> bytes:
    """The head, and what follows it, without the wish to speak another protocol."""
    if b"pgrade:" not in data and b"PGRADE:" not in data:
        return data
    head, end, body = data.partition(b"\r\n\r\n")
    return _UPGRADE.sub(b"\r\nx-ignored:", head) + end + body
