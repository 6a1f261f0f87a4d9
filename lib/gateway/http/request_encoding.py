"""Bodies that come compressed (RFC 9110, 8.4 Content-Encoding): gzip, deflate and zstd, unpacked as far as a limit.

A few bytes can stand for gigabytes, so unpacking stops as soon as the limit is passed and never holds much more.
"""

import zlib
from collections.abc import Callable

TAKEN = "gzip, deflate, zstd, identity"  # as `Accept-Encoding` of a refusal names them
_MOST_CODINGS = 4  # one upon the other
_PIECE = 512  # bytes of zstd at a time: a block of four bytes can hold 128 KiB
_WIDEST_WINDOW = 1 << 25  # bytes that a zstd frame may make a reader remember
_GZIP = 31  # what zlib calls the three wrappings of the same coding
_ZLIB = 15
_RAW = -15


class UnknownCoding(ValueError):
    """The body is in a coding that is not known here."""


class TooLong(ValueError):
    """The body is longer than the limit once it is unpacked."""


class Damaged(ValueError):
    """The bytes are not what their coding promises, or break off."""


def unpack(data: bytes, codings: str, most: int) -> bytes:
    """The body itself, of at most `most` bytes; `codings` is the header's value, the last applied standing last."""
    names = [name.strip().lower() for name in codings.split(",") if name.strip()]
    if len(names) > _MOST_CODINGS or any(name not in _UNPACK for name in names):
        raise UnknownCoding(codings)
    for name in reversed(names):
        data = _UNPACK[name](data, most)
    return data


def _unpack_gzip(data: bytes, most: int) -> bytes:
    parts = list[bytes]()
    size = 0
    while data:  # a file of gzip may hold several
        part, data = _inflate(data, _GZIP, most - size)
        parts.append(part)
        size += len(part)
    if not parts:
        raise Damaged
    return b"".join(parts)


def _unpack_deflate(data: bytes, most: int) -> bytes:
    """The zlib format, as the standard says; without its two bytes of head, as some programs write it."""
    has_head = len(data) > 1 and data[0] & 0x0F == 8 and int.from_bytes(data[:2]) % 31 == 0
    return _inflate(data, _ZLIB if has_head else _RAW, most)[0]


def _inflate(data: bytes, wrapping: int, most: int) -> tuple[bytes, bytes]:
    """The unpacked bytes of one compressed stream, and the bytes that follow it."""
    inflating = zlib.decompressobj(wrapping)
    try:
        text = inflating.decompress(data, most + 1)
    except zlib.error:
        raise Damaged from None
    if len(text) > most:
        raise TooLong
    if not inflating.eof:
        raise Damaged
    return text, inflating.unused_data


def _unpack_zstd(data: bytes, most: int) -> bytes:
    import zstandard

    decompressor = zstandard.ZstdDecompressor(max_window_size=_WIDEST_WINDOW)
    frame = decompressor.decompressobj()
    parts = list[bytes]()
    size = 0
    at = 0
    try:
        while at < len(data):
            if frame.eof:  # several frames may follow each other
                frame = decompressor.decompressobj()
            piece = data[at : at + _PIECE]
            part = frame.decompress(piece)
            at += len(piece) - len(frame.unused_data)
            parts.append(part)
            size += len(part)
            if size > most:
                raise TooLong
    except zstandard.ZstdError:
        raise Damaged from None
    if not frame.eof:
        raise Damaged
    return b"".join(parts)


def _return_unchanged(data: bytes, most: int) -> bytes:
    del most  # it was measured as it came
    return data


_UNPACK: dict[str, Callable[[bytes, int], bytes]] = {
    "gzip": _unpack_gzip,
    "x-gzip": _unpack_gzip,
    "deflate": _unpack_deflate,
    "zstd": _unpack_zstd,
    "identity": _return_unchanged,
}
