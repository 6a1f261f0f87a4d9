"""Bytes of an answer → JSON documents: server-sent events, lines of JSON, or one document, told apart as they come.

A document may be cut anywhere, in the middle of a letter too. Line ends may be LF or CRLF; comments, event names and
`[DONE]` are passed over, since every provider repeats in the data what they say. Numbers with a fraction arrive as
Decimal: some of them are money.
"""

from collections.abc import Callable, Iterator
from typing import Any

from lib.fast_json import decode

BOM = b"\xef\xbb\xbf"  # some servers begin with one
MAX_BYTES = 64 * 1024 * 1024  # one document: an image in base64 is 10 MB


class Unreadable(Exception):
    """What came is not JSON; the text is its beginning."""


def parse(data: bytes) -> Any:
    """One JSON document; Unreadable when it is none. Letters cut or broken in transport become U+FFFD."""
    try:
        return decode(data.removeprefix(BOM), exact=True)
    except (ValueError, RecursionError):
        raise Unreadable(data[:500].decode("utf-8", "replace")) from None


def is_events(data: bytes) -> bool:
    """Whether a body is a stream of events, by its beginning: some servers send one whatever they are asked for."""
    return data.removeprefix(BOM).lstrip().startswith((b"data:", b"event:", b"id:", b"retry:", b":"))


class DocumentFramer:
    """The state of one body; feed it, and `end` it when the connection closed. `read` makes a document of its bytes.

    `is_done` says that the server wrote `[DONE]`.
    """

    def __init__(self, read: Callable[[bytes], Any] = parse) -> None:
        self._parse = read
        self._line: list[bytes] = []  # a line whose end has not come
        self._pending: list[bytes] = []  # lines that are not a document yet
        self._size = 0
        self._has_read = self.is_done = self._has_begun = self._has_events = False

    def feed(self, data: bytes) -> Iterator[Any]:
        """The documents that are complete with these bytes."""
        self._size += len(data)
        if self._size > MAX_BYTES:
            raise Unreadable("more than 64 MB without an end")
        lines = data.split(b"\n")
        if len(lines) == 1:
            self._line.append(data)
            return
        lines[0] = b"".join((*self._line, lines[0]))
        unfinished = lines.pop()
        self._line = [unfinished]
        for line in lines:
            yield from self._take(self._trim(line))
        self._size = len(unfinished) + sum(map(len, self._pending))

    def end(self) -> Iterator[Any]:
        """Yield the documents that are still pending when the body has ended; a last one that was cut off is dropped.

        Unreadable when nothing in the body was JSON.
        """
        last = self._trim(b"".join(self._line))
        self._line = []
        has_events = self._has_events or last.startswith((b"data:", b"event:"))
        try:
            yield from self._take(last)
            yield from self._take(b"")
        except Unreadable:
            if not self._has_read and not has_events:
                raise

    def _trim(self, line: bytes) -> bytes:
        """A line without blanks around it; the first without a byte order mark."""
        if not self._has_begun:
            self._has_begun = True
            line = line.removeprefix(BOM)
        return line.strip()

    def _take(self, line: bytes) -> Iterator[Any]:
        if not line:
            if self._pending:
                whole = b"\n".join(self._pending)
                self._pending = []
                yield self._read(whole)
            return
        if line.startswith(b"data:"):
            self._has_events = True
            line = line[5:].lstrip()
            if line == b"[DONE]":
                self.is_done = True
                return
        elif line.startswith((b":", b"event:", b"id:", b"retry:")):
            self._has_events = True
            return
        elif line.startswith(b"{") and line != b"{" and not self._pending:
            yield self._read(line)  # a line of JSON is a document by itself
            return
        if not self._pending and line.endswith(b"}"):
            try:
                document = self._read(line)
            except Unreadable:
                self._pending.append(line)
            else:
                yield document
        else:
            self._pending.append(line)

    def _read(self, data: bytes) -> Any:
        document = self._parse(data)
        self._has_read = True
        return document
