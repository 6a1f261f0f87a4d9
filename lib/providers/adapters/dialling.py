"""Connections to hosts outside: an address is read, its name resolved once and judged, and a socket opened to it.

Whoever connects to a name that was judged before asks again, and may be told something else; so the judgement stands
here, between the resolver and the connection, and nowhere else.
"""

import asyncio
import socket
import ssl
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache, lru_cache
from typing import Any, NamedTuple
from urllib.parse import quote

import aiohappyeyeballs

from lib.errors import InvalidInput
from lib.patterns import compile_pattern
from lib.providers import hosts
from lib.providers.proxies import Proxy, find_proxy

_LONGEST_HEAD = 64 * 1024
_QUOTED_SAFELY = "/%:@!$&'()*+,;=~-._"
_resolvers = ThreadPoolExecutor(8, "resolve")  # of its own: names that never resolve keep nobody else's thread
_NAME = compile_pattern(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]{1,200}")
_FRAMING = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "proxy-authorization"}
)


class ConnectError(ConnectionError):
    """No address of the host takes a connection: name, network or certificate."""


class ConnectTimeout(TimeoutError):
    """No address answered in time."""


class Url(NamedTuple):
    """Where to send: `host` without brackets, `authority` as in the Host header, `path` ready for the request line."""

    is_tls: bool
    host: str
    port: int
    authority: str
    path: str


@lru_cache(maxsize=1_000)
def parse_url(text: str) -> Url:
    """The parts of an http(s) address with or without a query; InvalidInput when it is none."""
    address, _, query = text.partition("#")[0].partition("?")
    parts = hosts.parse(address)
    is_tls = parts.scheme == "https"
    path = quote(parts.path or "/", safe=_QUOTED_SAFELY)
    if query:
        path += "?" + quote(query, safe=_QUOTED_SAFELY + "?")
    return Url(is_tls, parts.hostname or "", parts.port or (443 if is_tls else 80), parts.netloc, path)


def request_head(method: str, url: Url, headers: Mapping[str, str], length: int) -> bytes:
    """The request's first bytes; InvalidInput when a header would break its line, or say where the message ends."""
    proxy = None if url.is_tls else find_proxy(url.is_tls, url.host, url.port)
    target = url.path if proxy is None else f"http://{url.authority}{url.path}"
    lines = [f"{method} {target} HTTP/1.1", f"Host: {url.authority}"]
    if length or method == "POST":
        lines.append(f"Content-Length: {length}")
    if proxy is not None and proxy.authorization:
        lines.append(f"Proxy-Authorization: {proxy.authorization}")
    lines += [f"{name}: {value}" for name, value in headers.items()]
    for name in headers:
        if name.lower() in _FRAMING or not _NAME.fullmatch(name):
            why = "How a message is sent is not for a header to say."
            raise InvalidInput(f"The header {name[:60]!r} can't be sent.", why, "Leave it out.", field="headers")
    text = "\r\n".join(lines)
    if text.count("\n") != len(lines) - 1 or text.count("\r") != len(lines) - 1 or "\x00" in text:
        raise InvalidInput("A header of the provider can't be sent.", "It holds a line break.", "Correct its headers.")
    return text.encode("latin-1", "replace") + b"\r\n\r\n"


async def open_socket(loop: asyncio.AbstractEventLoop, url: Url, *, allow_private: bool) -> socket.socket:
    """Connected to an address that was judged, or by way of the proxy, which resolves the name itself."""
    proxy = find_proxy(url.is_tls, url.host, url.port)
    try:
        addresses = await _resolve(loop, url.host, url.port)
    except (OSError, UnicodeError) as error:
        if proxy is None:
            raise ConnectError(f"{url.host} was not found.") from error
        addresses = []
    if not allow_private:
        hosts.refuse_private(url.host, [str(entry[4][0]) for entry in addresses])
    if proxy is not None:
        addresses = await _resolve(loop, proxy.host, proxy.port)
    sock = await aiohappyeyeballs.start_connection(addresses, happy_eyeballs_delay=0.25, loop=loop)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if proxy is not None and url.is_tls:
        try:
            await _open_tunnel(loop, sock, url, proxy)
        except BaseException:
            sock.close()
            raise
    return sock


async def _resolve(loop: asyncio.AbstractEventLoop, host: str, port: int) -> Any:
    return await loop.run_in_executor(_resolvers, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))


async def _open_tunnel(loop: asyncio.AbstractEventLoop, sock: socket.socket, url: Url, proxy: Proxy) -> None:
    """Have a proxy connect the socket to the host; ConnectError when it does not."""
    host = f"[{url.host}]" if ":" in url.host else url.host
    lines = [f"CONNECT {host}:{url.port} HTTP/1.1", f"Host: {host}:{url.port}"]
    if proxy.authorization:
        lines.append(f"Proxy-Authorization: {proxy.authorization}")
    await loop.sock_sendall(sock, "\r\n".join([*lines, "", ""]).encode("latin-1"))
    head = b""
    while b"\r\n\r\n" not in head and len(head) < _LONGEST_HEAD:
        part = await loop.sock_recv(sock, 4096)  # who is behind it speaks second: nothing of it is in here
        if not part:
            break
        head += part
    status = head.split(b" ", 2)[1:2]
    if status != [b"200"]:
        code = status[0].decode("latin-1")[:3] if status else "nothing"
        raise ConnectError(f"{url.authority}: the proxy answered {code}.")


@cache
def build_tls_context() -> ssl.SSLContext:
    """For every connection: certificates of the system, or certifi's where it has none; HTTP/1.1."""
    context = ssl.create_default_context()
    paths = ssl.get_default_verify_paths()
    if paths.cafile is None and paths.capath is None:  # a system without certificates of its own
        import certifi

        context.load_verify_locations(certifi.where())
    context.set_alpn_protocols(["http/1.1"])
    return context
