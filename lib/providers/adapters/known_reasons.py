"""Reasons to end in a relayed answer of chat, as OpenAI's clients know them.

Their list is closed (stop, length, tool_calls, content_filter, function_call), and some clients refuse an answer that
holds another word. It is replaced by its counterpart and stands beside it as `native_finish_reason`; an empty one in a
stream means that there is none yet. All other bytes stay as they are. Within text a quote is escaped, so that nothing
a model says looks like the field.
"""

import re

from lib.patterns import compile_pattern
from lib.providers.protocols.finish import standardise_reason

_FIELD = b'"finish_reason"'
_REASON = compile_pattern(rb'"finish_reason"(\s*:\s*)"((?:[^"\\]|\\.){0,80})"')
_KNOWN = frozenset({b"stop", b"length", b"tool_calls", b"content_filter", b"function_call"})


def replace_unknown_reasons(data: bytes, *, is_stream: bool = True) -> bytes:
    """Whole lines of a stream, or a whole body, with known reasons."""
    if _FIELD not in data:
        return data
    has_native = b'"native_finish_reason"' in data

    def replace(match: re.Match[bytes]) -> bytes:
        space = match[1]
        word = match[2]
        if word in _KNOWN:
            return match[0]
        if not word and is_stream:
            return _FIELD + space + b"null"
        reason = standardise_reason(word.decode("utf-8", "replace")).encode()
        native = b"" if has_native or not word else b',"native_finish_reason"' + space + b'"' + word + b'"'
        return _FIELD + space + b'"' + reason + b'"' + native

    return _REASON.sub(replace, data)


class Lines:
    """A stream in whole lines: what of one has come is held back until its end."""

    def __init__(self) -> None:
        self._held: list[bytes] = []

    def complete(self, data: bytes) -> bytes:
        """The lines that are complete by now."""
        whole, end, unfinished = data.rpartition(b"\n")
        if not end:
            self._held.append(unfinished)
            return b""
        lines = b"".join([*self._held, whole, end])
        self._held = [unfinished] if unfinished else []
        return lines

    def rest(self) -> bytes:
        """Return the bytes of a last line whose end has not come."""
        return b"".join(self._held)
