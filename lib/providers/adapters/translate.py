"""What litellm makes of an answer that only it can read → documents in OpenAI's shape, for the reader of those.

Its streams hold objects of OpenAI's shape, dictionaries, or its generic pieces (`text`, `is_finished`, `tool_use`).
And back from a trick of its own: for models that know no response format it asks for the JSON as a tool call.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import suppress
from typing import Any

from lib.providers.chunks import Chunk, Finish, TextDelta, ToolCallDelta

_FORMAT_TOOL = "json_tool_call"


def convert_to_document(piece: Any, *, names_model: bool) -> dict[str, Any]:
    """One piece of a stream, or a whole answer, as OpenAI would have sent it."""
    document = dict(piece) if isinstance(piece, Mapping) else piece.model_dump(exclude_none=True)
    if not names_model:
        document.pop("model", None)
    if "is_finished" not in document:
        return document
    tool = document.get("tool_use")
    choice = {
        "index": 0,
        "delta": {"content": document.get("text"), "tool_calls": [_convert_to_plain(tool)] if tool else []},
        "finish_reason": document.get("finish_reason") if document.get("is_finished") else None,
    }
    return {"choices": [choice], "usage": _convert_to_plain(document.get("usage"))}


class ResponseFormatReader:
    """Turns the tool call that stands for a response format into the text that was asked for."""

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        self._is_asked = bool(parameters.get("response_format"))
        self._index: int | None = None
        self._has_tools = False

    def restore(self, chunk: Chunk) -> Iterator[Chunk]:
        """The chunk, or what it stands for."""
        if not self._is_asked:
            yield chunk
        elif isinstance(chunk, ToolCallDelta):
            if chunk.name == _FORMAT_TOOL:
                self._index = chunk.index
            if chunk.index != self._index:
                self._has_tools = True
                yield chunk
            elif chunk.arguments:
                yield TextDelta(chunk.arguments)
        elif self._index is not None and not self._has_tools and chunk == Finish("tool_calls"):
            yield Finish("stop")
        else:
            yield chunk


def _convert_to_plain(part: Any) -> Any:
    return part.model_dump(exclude_none=True) if hasattr(part, "model_dump") else part


async def unwrap_stream(wrapper: Any) -> AsyncIterator[Any]:
    """The provider's stream inside litellm's wrapper; for the few that can't be iterated, the wrapper's pieces
    without the finish reason and the usage it makes up."""
    inner: Any = getattr(wrapper, "completion_stream", None)
    if hasattr(inner, "__aiter__"):
        async for piece in inner:
            yield piece
        return
    async for piece in wrapper:
        if getattr(wrapper, "sent_last_chunk", False):
            if reason := wrapper.received_finish_reason or wrapper.intermittent_finish_reason:
                yield {"text": "", "is_finished": True, "finish_reason": reason, "usage": None}
            return
        yield piece


async def close_stream(wrapper: Any) -> None:
    """Close a stream of litellm's, even while this task is being cancelled."""
    inner: Any = getattr(wrapper, "completion_stream", None)
    for closing in (wrapper, inner):
        if hasattr(closing, "aclose"):
            with suppress(Exception):
                await asyncio.shield(closing.aclose())
