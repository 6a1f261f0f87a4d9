"""This product's HTTP client for libraries that speak httpx: litellm, and the SDKs it gives its clients to.

Their own clients resolve names again after these were judged, unpack without counting, and use the environment's
proxies. With these transports every connection goes to an address that was judged, and every answer has the limits of
`http_client`. A redirect loses its `Location`: no client can follow it.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import httpx

from lib.providers.adapters import dialling, http_client
from lib.providers.adapters.asking import ask_once
from lib.providers.adapters.exchange import allows_private
from lib.providers.adapters.unpacking import RemoteProtocolError

_SYNC_S = 60.0  # for an answer that a thread waits for
_NOT_SENT = {"host", "content-length", "transfer-encoding", "connection", "accept-encoding"}


class Transport(httpx.AsyncBaseTransport):
    """One for all event loops: each has its own connections."""

    def __init__(self) -> None:
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, http_client.Client] = WeakKeyDictionary()
        self._lock = threading.Lock()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The answer, when its head is here."""
        body = await request.aread()
        seconds = request.extensions.get("timeout", {}).get("read")
        with _translate_errors(request):
            async with asyncio.timeout(seconds):
                response = await self._client().request(
                    request.method, str(request.url), _build_headers(request), body, allow_private=allows_private()
                )
        stream = _Stream(request, response, seconds)
        return httpx.Response(response.status, headers=_strip_location(response.headers), stream=stream)

    async def aclose(self) -> None:
        """Close what is idle on this loop; the transport may be used again."""
        with self._lock:
            client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            client.close()

    def _client(self) -> http_client.Client:
        loop = asyncio.get_running_loop()
        with self._lock:
            client = self._clients.get(loop)
            if client is None:
                client = self._clients[loop] = http_client.Client()
            return client


class SyncTransport(httpx.BaseTransport):
    """For clients that block: the whole answer at once, from a thread of its own."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(4, "http")

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """The whole answer."""
        ask = self._threads.submit(
            ask_once,
            request.method,
            str(request.url),
            _build_headers(request),
            request.read(),
            seconds=min(request.extensions.get("timeout", {}).get("read") or _SYNC_S, _SYNC_S),
            allow_private=allows_private(),
        )
        with _translate_errors(request):
            answer = ask.result()
        return httpx.Response(answer.status, headers=_strip_location(answer.headers), content=answer.body)

    def close(self) -> None:
        """Nothing is kept open; the transport may be used again."""


class _Stream(httpx.AsyncByteStream):
    def __init__(self, request: httpx.Request, response: http_client.Response, seconds: float | None) -> None:
        self._request = request
        self._response = response
        self._seconds = seconds

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            with _translate_errors(self._request):
                async with asyncio.timeout(self._seconds):
                    part = await self._response.part()
            if not part:
                return
            yield part

    async def aclose(self) -> None:
        self._response.close()


def _build_headers(request: httpx.Request) -> dict[str, str]:
    headers = {name: value for name, value in request.headers.items() if name.lower() not in _NOT_SENT}
    return headers | {"accept-encoding": "identity"}


def _strip_location(headers: dict[str, str]) -> dict[str, str]:
    unsized = {"location", "content-length", "transfer-encoding"}  # the stream or the content says where it ends
    return {name: value for name, value in headers.items() if name not in unsized}


@contextmanager
def _translate_errors(request: httpx.Request) -> Iterator[None]:
    """The client's errors as httpx's, each with its cause; what is an invalid address stays what it is."""
    errors: tuple[tuple[type[BaseException], Any], ...] = (
        (dialling.ConnectError, httpx.ConnectError),
        (dialling.ConnectTimeout, httpx.ConnectTimeout),
        (RemoteProtocolError, httpx.RemoteProtocolError),
        (TimeoutError, httpx.ReadTimeout),
        (OSError, httpx.ReadError),
    )
    try:
        yield
    except OSError as error:  # TimeoutError and ConnectionError are some
        for ours, theirs in errors:
            if isinstance(error, ours):
                raise theirs(str(error), request=request) from error
        raise
