"""One request and its whole answer, for whoever needs no stream: a time for all of it, and a most of bytes."""

import asyncio
from collections.abc import Mapping
from typing import Any, NamedTuple

from lib.providers.adapters.http_client import LARGEST_ANSWER, Client


class HttpResponse(NamedTuple):
    """A whole answer; names of headers in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


async def ask(
    client: Client,
    method: str,
    address: str,
    headers: Mapping[str, str],
    body: bytes = b"",
    *,
    seconds: float,
    most: int = LARGEST_ANSWER,
    allow_private: bool = False,
) -> HttpResponse:
    """A request and its whole answer; TimeoutError when all of it took longer, else the errors of the client."""
    async with asyncio.timeout(seconds):
        response = await client.request(method, address, headers, body, allow_private=allow_private)
        try:
            return HttpResponse(response.status, response.headers, await response.read(most))
        finally:
            response.close()


def ask_once(method: str, address: str, headers: Mapping[str, str], body: bytes = b"", **limits: Any) -> HttpResponse:
    """Send one request and return its whole answer, on a new connection, from a thread that runs no event loop.

    `limits` are the keyword arguments of `ask`, which also lists the errors.
    """

    async def exchange() -> HttpResponse:
        client = Client()
        try:
            return await ask(client, method, address, headers, body, **limits)
        finally:
            client.close()

    return asyncio.run(exchange())
