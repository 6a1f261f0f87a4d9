"""The head of a request as it comes in, before a parser has seen it."""

import re

_UPGRADE = re.compile(rb"\r\nupgrade:", re.IGNORECASE)


def is_whole(data: bytes) -> bool:
    """Whether the parser should see it: its end has come, or it is none and the parser says so at once."""
    if b"\r\n\r\n" in data:
        return True
    return not data[:1].isalpha() or b"\n\n" in data or b"\n\r\n" in data


def without_upgrade(data: bytes) -> bytes:
    """The head, and what follows it, without the wish to speak another protocol."""
    if b"pgrade:" not in data and b"PGRADE:" not in data:
        return data
    head, end, body = data.partition(b"\r\n\r\n")
    return _UPGRADE.sub(b"\r\nx-ignored:", head) + end + body
