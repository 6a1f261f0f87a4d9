"""The text of a file, however the system it was written on marks its encoding and ends its lines.

A byte order mark (Unicode 23.8) says how the bytes are to be read and is no part of the text; line ends of Windows and
of old Macs are `\\n`. Without a mark a file is UTF-8.
"""

from lib.errors import InvalidInput

_MARKS = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)


def find_marked_encoding(head: bytes) -> str | None:
    """The codec that a file's first bytes ask for; None without a mark."""
    return next((codec for mark, codec in _MARKS if head.startswith(mark)), None)


def decode_text(data: bytes) -> str:
    """Decode a file's bytes without their mark, lines ended by a line feed; raises InvalidInput for an unknown
    encoding.
    """
    try:
        return end_lines(data.decode(find_marked_encoding(data) or "utf-8"))
    except UnicodeDecodeError as error:
        why = f"It is not UTF-8: byte {error.start:,}."
        raise InvalidInput("The file can't be read.", why, "Save it as text in UTF-8.", field="file") from None


def end_lines(text: str) -> str:
    """The text with its lines ended by `\\n`, without a mark at its start."""
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
