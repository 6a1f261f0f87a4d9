"""The size of what a tool may return: text is cut with a note, too large structures and pictures are dropped."""

import base64
import binascii
from typing import Any

from msgspec import to_builtins
from msgspec.structs import replace

from lib.fast_json import decode, encode_text
from lib.tools.tool import ToolImage, ToolOutput

DEFAULT_CHARACTERS = 50_000
MOST_IMAGES = 8
LARGEST_IMAGE = 4 * 1024 * 1024  # characters of Base64
_BEGINNINGS = {
    "image/png": b"\x89PNG\r\n\x1a\n",
    "image/jpeg": b"\xff\xd8\xff",
    "image/gif": b"GIF8",
    "image/webp": b"RIFF",
}


def limit_output(output: ToolOutput, characters: int) -> ToolOutput:
    """Bound the output of a tool; what was cut or dropped is said at the end of its text."""
    notes = []
    text = output.text
    if len(text) > characters:
        notes.append(f"[{len(text) - characters:,} more characters were cut.]")
        text = text[:characters]
    structured = None if output.structured is None else _write_and_read(output.structured, max(characters * 2, 1000))
    if structured is None and output.structured is not None:
        notes.append("[The structured result was too large, or no JSON, and is left out.]")
    images = [image for image in output.images[:MOST_IMAGES] if _is_picture(image)]
    if len(images) < len(output.images):
        notes.append(f"[{len(output.images) - len(images)} pictures can't be shown.]")
    if not notes:
        return replace(output, structured=structured)
    return replace(output, text="\n".join([text, *notes]).strip(), structured=structured, images=tuple(images))


def _write_and_read(structured: Any, characters: int) -> Any:
    """A structure as JSON has it (NaN is null there); None when it is longer, too deep, or of foreign types."""
    try:
        text = encode_text(to_builtins(structured))
        return decode(text) if len(text) <= characters else None
    except (RecursionError, TypeError, ValueError):
        return None


def _is_picture(image: ToolImage) -> bool:
    """Whether the bytes begin as the media type says, and are few enough."""
    beginning = _BEGINNINGS.get(image.media_type)
    if beginning is None or len(image.base64) > LARGEST_IMAGE:
        return False
    try:
        return base64.b64decode(image.base64[:64], validate=True).startswith(beginning)
    except (binascii.Error, ValueError):
        return False
