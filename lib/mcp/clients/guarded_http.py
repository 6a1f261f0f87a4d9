"""This product's own HTTP client under the protocol's: judged addresses, bounded answers, no redirect, no cookie.

A stream of events that a server keeps open has no end of its own, so reading it has no time limit; anything else has
one. The last refusal (401 or 403) is noted, since the protocol's client reports it as a failed request like any other.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping

import httpx2

from lib.errors import InvalidInput
from lib.providers.adapters import http_client
from lib.providers.adapters.dialling import ConnectError
from lib.providers.adapters.unpacking import RemoteProtocolError

LARGEST_ANSWER = 8 * 1024 * 1024  # bytes of an answer that is no stream of events
_NOT_SENT = {"host", "content-length", "transfer-encoding", "connection", "accept-encoding"}
_ANSWER_S = 600.0


class ServerAnswerTooLarge(httpx2.ReadError):
    """The answer passed its limit of bytes."""


class GuardedTransport(httpx2.AsyncBaseTransport):
    """Sends requests of one server; `refusal` is the status of the last answer where that was 401 or 403."""

    def __init__(self, *, allow_private: bool) -> None:
        self._client = http_client.Client()
        self._allow_private = allow_private
        self.refusal: int | None = None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """The answer, when its head is here."""
        body = await request.aread()
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _NOT_SENT}
        try:
            async with asyncio.timeout(_ANSWER_S):
                response = await self._client.request(
                    request.method,
                    str(request.url),
                    headers | {"accept-encoding": "identity"},
                    body,
                    allow_private=self.is_private_allowed(request.url),
                )
        except InvalidInput as error:
            raise httpx2.ConnectError(str(error), request=request) from error
        except (ConnectError, RemoteProtocolError, OSError) as error:
            raise httpx2.ConnectError(str(error) or type(error).__name__, request=request) from error
        self.refusal = response.status if response.status in (401, 403) else None
        return httpx2.Response(response.status, headers=_keep(response.headers), stream=_Stream(request, response))

    def is_private_allowed(self, url: httpx2.URL) -> bool:
        """Whether an address may be inside the network."""
        return self._allow_private

    async def aclose(self) -> None:
        """Close what is kept open."""
        self._client.close()


class _Stream(httpx2.AsyncByteStream):
    def __init__(self, request: httpx2.Request, response: http_client.Response) -> None:
        self._request = request
        self._response = response
        self._is_open_ended = "event-stream" in response.headers.get("content-type", "")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        while True:
            try:
                async with asyncio.timeout(None if self._is_open_ended else _ANSWER_S):
                    part = await self._response.part()
            except (RemoteProtocolError, OSError) as error:
                raise httpx2.ReadError(str(error), request=self._request) from error
            if not part:
                return
            size += len(part)
            if size > LARGEST_ANSWER and not self._is_open_ended:
                raise ServerAnswerTooLarge(
                    f"The answer is larger than {LARGEST_ANSWER:,} bytes.", request=self._request
                )
            yield part

    async def aclose(self) -> None:
        self._response.close()


def _keep(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers without those that say how the bytes came, and without a redirect's address."""
    gone = {"location", "content-length", "transfer-encoding"}
    return {name: value for name, value in headers.items() if name not in gone}
