"""Width and height of an image from its first bytes: PNG, GIF, WebP, JPEG; nothing is decoded.

Sources: the PNG specification (IHDR), GIF89a (logical screen), the WebP container (VP8, VP8L, VP8X), ITU T.81 (SOF).
"""

import base64
import binascii

_LOOKED_AT = 96 * 1024  # characters of base64: a JPEG's own size stands behind its thumbnail
_FRAMES = frozenset({0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF})  # markers SOFn


def read_base64_size(text: str) -> tuple[int, int] | None:
    """Pixels of an image in base64 or a `data:` address; None when its head does not say."""
    start = text.find(",") + 1 if text.startswith("data:") else 0
    head = _decode(text[start : start + 64])
    if head.startswith(b"\xff\xd8"):
        return _read_jpeg_size(_decode(text[start : start + _LOOKED_AT]))
    return read_size(head)


def read_size(data: bytes) -> tuple[int, int] | None:
    """Pixels of an image; None when its head does not say."""
    size = None
    if data.startswith(b"\x89PNG") and len(data) >= 24:
        size = int.from_bytes(data[16:20]), int.from_bytes(data[20:24])
    elif data.startswith(b"GIF8") and len(data) >= 10:
        size = int.from_bytes(data[6:8], "little"), int.from_bytes(data[8:10], "little")
    elif data.startswith(b"RIFF") and data[8:12] == b"WEBP" and len(data) >= 30:
        size = _read_webp_size(data)
    elif data.startswith(b"\xff\xd8"):
        return _read_jpeg_size(data[:_LOOKED_AT])
    return size if size is not None and min(size) > 0 else None


def _decode(text: str) -> bytes:
    whole = text[: len(text) // 4 * 4]
    try:
        return base64.b64decode(whole)
    except (binascii.Error, ValueError):
        return b""


def _read_webp_size(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if kind == b"VP8X":
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        return int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF
    return None


def _read_jpeg_size(data: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker in _FRAMES:
            height = int.from_bytes(data[at + 5 : at + 7])
            width = int.from_bytes(data[at + 7 : at + 9])
            return (width, height) if width and height else None
        at += 2 + int.from_bytes(data[at + 2 : at + 4]) if marker not in (0xFF, 0x01) else 1
    return None
