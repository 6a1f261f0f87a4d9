"""Listening in on litellm's HTTP: each request goes out once, follows no redirect, and its raw answer is kept.

litellm's own `post` follows redirects (a way into the server's network for a provider's address that was checked), and
sends a request again after a lost connection (an attempt nobody counts). This one replaces it, for every provider that
litellm speaks to over its own client. What a provider sends is read up to a limit; a long answer that is no JSON stops
here, since litellm's regular expressions would make an error of it for minutes.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from lib.providers.adapters.failures import LARGEST_ERROR
from lib.providers.protocols.framing import MAX_BYTES, Unreadable, parse

_LONG = 100_000  # bytes of an answer
_OF_TRANSPORT = {"content-encoding", "content-length", "transfer-encoding"}


@dataclass
class UpstreamExchange:
    """The last request of one call: httpx's response (None before it came), or what the network failed at."""

    response: Any = None
    failure: BaseException | None = None
    allows_private: bool = False  # whether private addresses may be connected to

    @property
    def path(self) -> str:
        """The path that was called; empty where litellm did not use its own client."""
        return "" if self.response is None else str(self.response.request.url.path)

    @property
    def is_good(self) -> bool:
        """Whether an answer came that is no error by its status."""
        return self.response is not None and self.response.status_code < 300

    @property
    def is_stream(self) -> bool:
        """Whether the answer calls itself a stream of events or lines."""
        kind = str(self.response.headers.get("content-type", "")).partition(";")[0].strip().lower()
        return kind in ("text/event-stream", "application/x-ndjson")

    async def body(self) -> AsyncIterator[bytes]:
        """The answer's bytes, as they come."""
        if self.response.is_stream_consumed:
            yield self.response.content
        else:
            async for data in self.response.aiter_bytes():
                yield data

    async def close(self) -> None:
        """Close the connection unless the answer has ended."""
        if self.response is not None:
            with suppress(Exception):
                await self.response.aclose()


_current: ContextVar[UpstreamExchange | None] = ContextVar("exchange", default=None)


@contextmanager
def record_exchange(*, allow_private: bool = False) -> Iterator[UpstreamExchange]:
    """Record the last HTTP exchange that litellm has in this task while the context is open.

    `allow_private` says whether litellm may connect to private addresses meanwhile.
    """
    exchange = UpstreamExchange(allows_private=allow_private)
    token = _current.set(exchange)
    try:
        yield exchange
    finally:
        _current.reset(token)


def allows_private() -> bool:
    """Whether the call of this task may connect to private addresses."""
    return (exchange := _current.get()) is not None and exchange.allows_private


async def post(
    handler: Any,
    url: str,
    data: Any = None,
    json: Any = None,
    params: Any = None,
    headers: Any = None,
    timeout: Any = None,  # noqa: ASYNC109 (litellm calls it so)
    stream: bool = False,
    logging_obj: Any = None,
    files: Any = None,
    content: Any = None,
) -> Any:
    """In the place of `AsyncHTTPHandler.post`: the response, or httpx's HTTPStatusError with its body read."""
    if isinstance(data, str | bytes):
        content = data
        data = None
    client = handler.client
    exchange = _current.get() or UpstreamExchange()
    request = client.build_request(
        "POST",
        url,
        data=data,
        json=json,
        params=params,
        headers=headers,
        files=files,
        content=content,
        timeout=handler.timeout if timeout is None else timeout,
    )
    try:
        exchange.response = response = await client.send(request, stream=True, follow_redirects=False)
        if response.status_code >= 300:
            exchange.response = response = await _read(response, LARGEST_ERROR, cuts=True)
            response.raise_for_status()
        elif not stream:
            exchange.response = response = await _read(response, MAX_BYTES)
            if len(response.content) > _LONG:
                parse(response.content)
    except Exception as error:
        exchange.failure = error
        raise
    return response


async def _read(response: Any, most: int, *, cuts: bool = False) -> Any:
    """The response with its body, which is cut after `most` bytes or Unreadable."""
    parts = list[bytes]()
    size = 0
    try:
        async for part in response.aiter_bytes():
            parts.append(part)
            size += len(part)
            if size > most:
                if not cuts:
                    raise Unreadable(f"more than {most:,} bytes")
                break
    finally:
        await response.aclose()
    headers = [(name, value) for name, value in response.headers.multi_items() if name.lower() not in _OF_TRANSPORT]
    body = b"".join(parts)[:most]
    return type(response)(response.status_code, headers=headers, content=body, request=response.request)
