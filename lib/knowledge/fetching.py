"""Fetches a document from a public address; every hop of a redirect is judged like the first.

A name is resolved once: what was judged is what is connected to. The whole of it has a minute, however slowly it comes,
and what is packed is unpacked no further than a document may be long.
"""

import asyncio
import ssl
import zlib
from collections.abc import AsyncIterator
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from lib.errors import InvalidInput
from lib.providers import hosts

if TYPE_CHECKING:
    import httpx

_MOST_HOPS, _SLOWEST_S, WHOLE_S = 5, 20.0, 60.0
_HEADERS = {"user-agent": "llm-manager", "accept-encoding": "gzip"}


def fetch(url: str, most: int) -> bytes:
    """The bytes at an http(s) address; InvalidInput for private addresses, failures and more than `most` bytes.

    It has an event loop of its own: call it from a thread that runs none.
    """
    return asyncio.run(_fetched(url, most))


async def _fetched(url: str, most: int) -> bytes:
    import httpx

    try:
        async with (
            asyncio.timeout(WHOLE_S),
            httpx.AsyncClient(timeout=_SLOWEST_S, headers=_HEADERS, verify=_tls(), trust_env=False) as client,
        ):
            for _ in range(_MOST_HOPS + 1):
                try:
                    url = str(httpx.URL(url.strip()))  # a name or a path in letters of its own is put in ASCII
                    address = await _public(url)
                    response = await client.send(_request(client, url, address), stream=True)
                    if response.is_redirect:
                        url = urljoin(url, response.headers.get("location", ""))
                        await response.aclose()
                        continue
                    if response.status_code != 200:
                        raise _failed(url, f"It answered with status {response.status_code}.")
                    return await _body(url, response, most)
                except (httpx.HTTPError, httpx.InvalidURL, ValueError, zlib.error) as error:
                    raise _failed(url, f"The connection failed: {type(error).__name__}.") from error
    except TimeoutError as error:
        raise _failed(url, f"It took longer than {WHOLE_S:.0f} seconds.") from error
    raise _failed(url, f"It redirects more than {_MOST_HOPS} times.")


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def _request(client: "httpx.AsyncClient", url: str, address: str) -> "httpx.Request":
    """For the address that was judged, with the name for the host and for its certificate."""
    parts = urlsplit(url)
    host = f"[{address}]" if ":" in address else address
    to = parts._replace(netloc=f"{host}:{parts.port}" if parts.port else host, fragment="").geturl()
    named = {"host": parts.netloc.rpartition("@")[2]}
    return client.build_request("GET", to, headers=named, extensions={"sni_hostname": parts.hostname or ""})


async def _body(url: str, response: "httpx.Response", most: int) -> bytes:
    data = bytearray()
    async for part in _unpacked(response, most):
        data += part
        if len(data) > most:
            raise _failed(url, f"It has more than {most // 1024**2} MB.")
    return bytes(data)


async def _unpacked(response: "httpx.Response", most: int) -> AsyncIterator[bytes]:
    """The body as it comes; one packing is undone, and of each piece no more than `most` bytes and one."""
    packed = response.headers.get("content-encoding", "identity").strip().lower()
    if packed not in ("identity", "gzip", ""):
        raise ValueError(packed)
    unpack: Any = zlib.decompressobj(wbits=31) if packed == "gzip" else None
    async for part in response.aiter_raw(64 * 1024):
        yield unpack.decompress(part, most + 1) if unpack is not None else part
    if unpack is not None and not unpack.eof:
        raise ValueError("cut off")


async def _public(url: str) -> str:
    """The address to connect to; InvalidInput where any of the name's is private, or none is found."""
    parts = urlsplit(url)
    try:
        return await asyncio.to_thread(hosts.public_address, parts._replace(query="", fragment="").geturl())
    except InvalidInput as error:
        private = "private" in error.title or "found" in error.title
        raise _failed(url, error.title if private else "It is no public http(s) address.") from error


def _failed(url: str, why: str) -> InvalidInput:
    return InvalidInput(f"{url[:200]} can't be fetched.", why, "", "url")
