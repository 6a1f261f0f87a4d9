"""The pieces of an answer in an order that protocols of blocks can write: a block is ended before the next begins.

Providers may send the pieces of several tool calls in turn. A call is passed on as it comes until its arguments are a
whole object; what comes in between waits, put together call by call. Text waits for nothing but such a call.
"""

from collections import deque
from dataclasses import dataclass, field

from lib.providers.chunks import Chunk, ReasoningDelta, TextDelta, ToolCallDelta
from lib.providers.protocols.tool_calls import JsonEnd

_Piece = TextDelta | ReasoningDelta | ToolCallDelta


@dataclass
class _Waiting:
    """Pieces of one tool call, or of words that stand together (no index)."""

    index: int | None
    pieces: list[_Piece] = field(default_factory=list)


class OrderedPieces:
    """Puts the pieces of one answer in order."""

    def __init__(self) -> None:
        self._open: int | None = None  # the tool call that is being passed on
        self._end = JsonEnd()
        self._line: deque[_Waiting] = deque()
        self._calls: dict[int, _Waiting] = {}  # of those that wait
        self._ended: set[int] = set()  # calls whose arguments are whole: nothing follows

    def take(self, chunk: Chunk) -> list[Chunk]:
        """Take a chunk and return those that may be written now."""
        if self._open is None and not isinstance(chunk, ToolCallDelta):
            return [chunk]  # nothing waits
        if not isinstance(chunk, _Piece):
            return [chunk]
        index = chunk.index if isinstance(chunk, ToolCallDelta) else None
        if index in self._ended:
            return []
        if self._open is None or index == self._open:
            return [self._pass(chunk), *(self._next() if self._open is None and self._line else ())]
        waiting = self._line[-1] if index is None and self._line else self._calls.get(-1 if index is None else index)
        if waiting is None or waiting.index != index:
            waiting = _Waiting(index)
            self._line.append(waiting)
            if index is not None:
                self._calls[index] = waiting
        waiting.pieces.append(chunk)
        return []

    def end(self) -> list[Chunk]:
        """All that waits, call by call: nothing follows."""
        chunks = list[Chunk]()
        while self._line:
            self._open = None
            chunks += self._next()
        return chunks

    def _pass(self, chunk: _Piece) -> Chunk:
        if isinstance(chunk, ToolCallDelta):
            if self._open is None:
                self._open = chunk.index
                self._end = JsonEnd()
            self._end.feed(chunk.arguments)
            if self._end.is_closed:
                self._ended.add(chunk.index)
                self._open = None
        return chunk

    def _next(self) -> list[Chunk]:
        """The waiting pieces up to the first tool call that has not ended, which is passed on from now."""
        passed = list[Chunk]()
        while self._line and self._open is None:
            waiting = self._line.popleft()
            if waiting.index is not None:
                del self._calls[waiting.index]
            passed += [self._pass(piece) for piece in waiting.pieces if waiting.index not in self._ended]
        return passed
