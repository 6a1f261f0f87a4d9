"""Whoever answers may be hostile: an answer without end, or packed beyond measure, costs one call and is told as such.

Every door that asks outside is held to the same table, over real sockets: the relay, the translation, the listing.
"""

import asyncio
import gzip
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from lib.errors import InvalidInput, ProviderError
from lib.providers import hosts, listings
from lib.providers.adapters import http_client, select_adapter
from lib.providers.adapters.dialling import parse_url, request_head
from lib.providers.adapters.via_litellm import close_connections
from lib.providers.chunks import Endpoint, ModelRequest, Wire
from lib.providers.kinds import Protocol
from lib.providers.models import Catalogue
from lib.providers.proxies import use_proxies

pytestmark = [pytest.mark.feature("OPS-4"), pytest.mark.filterwarnings("default")]
CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
BOMB = gzip.compress(b" " * (64 * 1024 * 1024))
LARGEST = 4 * 1024 * 1024  # of an answer, in these tests
MOST_READ = 16 * 1024 * 1024  # bytes that leave the server before its client ends the connection: buffers included

HOSTILE: dict[str, tuple[bytes, bytes]] = {  # first this, then that for ever; nothing for ever: the connection ends
    "a head without end": (b"HTTP/1.1 200 OK\r\n", b"X-Pad: word\r\n" * 500),
    "a header's value without end": (b"HTTP/1.1 200 OK\r\nX-Pad: ", b"x" * 8000),
    "hints without end": (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 200),
    "a chunk's extension without end": (CHUNKED + b"2;x=", b"x" * 8000),
    "trailers without end": (CHUNKED + b"2\r\n{}\r\n0\r\n", b"X-Pad: word\r\n" * 500),
    "a trailer's value without end": (CHUNKED + b"2\r\n{}\r\n0\r\nX-Pad: ", b"x" * 8000),
    "a body without end": (CHUNKED, b"1f40\r\n" + b"x" * 8000 + b"\r\n"),
    "events without end": (
        CHUNKED.replace(b"application/json", b"text/event-stream"),
        b'29\r\ndata: {"choices":[{"delta":{"role":""}}]}\r\n',
    ),
    "chunked in capitals, cut": (CHUNKED.replace(b"chunked", b"Chunked") + b"20\r\n{", b""),
    "another framing": (CHUNKED.replace(b"chunked", b"gzip"), b""),
    "packed as nobody asked": (
        b"HTTP/1.1 200 OK\r\nContent-Encoding: zstd\r\nContent-Length: 4\r\n\r\n\x28\xb5\x2f\xfd",
        b"",
    ),
    "packed beyond measure": (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
        % len(BOMB)
        + BOMB,
        b"",
    ),
}


class Upstream:
    """Sends `first` and then `more` for ever to whoever asks; `sent` counts bytes."""

    def __init__(self, first: bytes, more: bytes) -> None:
        self.first, self.more, self.sent = first, more, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.asked: list[bytes] = []
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                with connection, suppress(OSError):
                    self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        self.asked.append(connection.recv(65536))
        connection.sendall(self.first)
        self.sent += len(self.first)
        while self.more and self.sent < 4 * MOST_READ:
            connection.sendall(self.more)
            self.sent += len(self.more)

    def close(self) -> None:
        with suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self._thread.join()


@contextmanager
def upstream(first: bytes, more: bytes = b"") -> Iterator[Upstream]:
    server = Upstream(first, more)
    try:
        yield server
    finally:
        server.close()


async def drain(request: ModelRequest, endpoint: Endpoint) -> None:
    try:
        async for _ in select_adapter(endpoint.kind, request).stream(endpoint, request):
            pass
    finally:
        await select_adapter(endpoint.kind, RELAYED).close()  # type: ignore[attr-defined]
        await close_connections()


BODY = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
RELAYED = ModelRequest("m", BODY["messages"], wire=Wire(Protocol.CHAT, BODY))  # type: ignore[arg-type]
TRANSLATED = ModelRequest("m", BODY["messages"])  # type: ignore[arg-type]


def endpoint_of(url: str, *, allow_private: bool = True) -> Endpoint:
    return Endpoint("p", "An upstream", "custom", f"{url}/v1", "key", allow_private=allow_private)


def ask(endpoint: Endpoint, door: str) -> None:
    match door:
        case "relay":
            asyncio.run(drain(RELAYED, endpoint))
        case "relay at once":
            asyncio.run(drain(ModelRequest("m", RELAYED.messages, stream=False, wire=RELAYED.wire), endpoint))
        case "translation":
            asyncio.run(drain(TRANSLATED, endpoint))
        case "translation at once":
            asyncio.run(drain(ModelRequest("m", TRANSLATED.messages, stream=False), endpoint))
        case _:
            listings.fetch(endpoint, Catalogue())


DOORS = ("relay", "relay at once", "translation", "translation at once", "listing")


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_answer_is_ended_early_and_told(door: str, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_client, "LARGEST_ANSWER", LARGEST)
    with upstream(*HOSTILE[case]) as server:
        with pytest.raises(ProviderError) as caught:
            ask(endpoint_of(server.url), door)
        assert caught.value.title
    assert server.sent < MOST_READ


def entry(address: str) -> Any:
    return (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80))


def resolving(*addresses: str) -> tuple[Callable[..., Any], list[str]]:
    """A resolver that gives one answer after the other (the last for ever), and the names it was asked."""
    asked: list[str] = []

    def resolve(host: str, *_: Any, **__: Any) -> list[Any]:
        asked.append(host)
        return [entry(addresses[min(len(asked), len(addresses)) - 1])]

    return resolve, asked


@pytest.mark.feature("CFG-6")
@pytest.mark.parametrize("door", DOORS)
def test_a_name_is_resolved_once_and_what_was_judged_is_connected_to(
    door: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve, asked = resolving("93.184.216.34", "127.0.0.1")
    connected: list[str] = []

    async def connect(addresses: list[Any], **_: Any) -> Any:
        connected.extend(address[4][0] for address in addresses)
        raise OSError("no network in this test")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr("lib.providers.adapters.dialling.aiohappyeyeballs.start_connection", connect)
    with pytest.raises(ProviderError):
        ask(endpoint_of("http://api.example.com", allow_private=False), door)
    assert (asked, connected) == (["api.example.com"], ["93.184.216.34"])


@pytest.mark.feature("CFG-6")
@pytest.mark.parametrize("door", DOORS)
def test_a_private_address_gets_nothing_unless_it_is_allowed(door: str) -> None:
    with upstream(HOSTILE["another framing"][0]) as server:
        with pytest.raises(ProviderError, match="private"):
            ask(endpoint_of(server.url, allow_private=False), door)
        assert server.asked == []


@pytest.mark.feature("CFG-6")
@pytest.mark.parametrize("door", DOORS)
def test_redirects_and_the_environments_proxies_lead_nowhere(door: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with upstream(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n") as elsewhere:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, elsewhere.url)
        moved = b"HTTP/1.1 307 Moved\r\nLocation: %s/\r\nContent-Length: 0\r\n\r\n" % elsewhere.url.encode()
        with upstream(moved) as server:
            with pytest.raises(ProviderError):
                ask(endpoint_of(server.url), door)
            assert len(server.asked) == 1
        assert elsewhere.asked == []


@pytest.fixture
def proxy() -> Iterator[Upstream]:
    refused = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"
    with upstream(refused) as server:
        yield server
        use_proxies({})


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_is_used_where_the_operator_says_so(door: str, scheme: str, proxy: Upstream) -> None:
    address = proxy.url.replace("://", "://user:pass@")
    use_proxies({"HTTP_PROXY": address, "HTTPS_PROXY": address, "NO_PROXY": "localhost,127.0.0.1,.example.net"})
    with pytest.raises(ProviderError):
        ask(endpoint_of(f"{scheme}://api.example.invalid"), door)
    first = proxy.asked[0].split(b"\r\n")[0]
    target = b"http://api.example.invalid/v1/" if scheme == "http" else b"CONNECT api.example.invalid:443"
    assert target in first
    assert b"Proxy-Authorization: Basic dXNlcjpwYXNz" in proxy.asked[0]
    assert (b"authorization: bearer key" in proxy.asked[0].lower()) == (scheme == "http")
    with pytest.raises(ProviderError):
        ask(endpoint_of("http://a.example.net"), door)
    assert len(proxy.asked) == 1


@pytest.mark.parametrize("address", ["10.0.0.8", "metadata.internal", "localhost", "127.0.0.1"])
def test_a_proxy_is_not_asked_for_what_is_known_to_be_private(address: str, proxy: Upstream) -> None:
    use_proxies({"HTTP_PROXY": proxy.url})
    with pytest.raises(ProviderError, match="private"):
        ask(endpoint_of(f"http://{address}", allow_private=False), "relay")
    assert proxy.asked == []


def test_every_client_of_litellm_and_its_sdks_is_ours() -> None:
    """Those it makes for itself, those it gives to SDKs, for threads and for tasks."""
    from lib.providers.adapters.via_litellm import load_litellm

    litellm = load_litellm()
    from litellm.llms.azure.common_utils import BaseAzureLLM
    from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler, HTTPHandler, _get_httpx_client
    from litellm.llms.openai.common_utils import BaseOpenAILLM

    clients = [
        AsyncHTTPHandler().client,
        HTTPHandler().client,
        _get_httpx_client().client,
        BaseOpenAILLM._get_async_http_client(),
        BaseOpenAILLM._get_sync_http_client(),
        litellm.module_level_client.client,
        litellm.module_level_aclient.client,
        BaseAzureLLM.__mro__ and litellm.aclient_session,
    ]
    for client in clients:
        assert type(client._transport).__module__ == "lib.providers.adapters.httpx_transport"
        assert not client._mounts
        assert not client.follow_redirects or client._transport is litellm.aclient_session._transport


def test_a_thread_that_asks_gets_the_whole_answer_or_its_error() -> None:
    from lib.providers.adapters.exchange import record_exchange
    from lib.providers.adapters.via_litellm import load_litellm

    client = load_litellm().client_session
    with upstream(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") as server:
        with pytest.raises(InvalidInput, match="private"):
            client.get(server.url)
        with record_exchange(allow_private=True):
            assert client.get(server.url).text == "ok"


@pytest.mark.parametrize(
    "name", ["localhost", "a.localhost", "x.internal", "printer.local", "127.0.0.1", "::ffff:10.1.1.1"]
)
def test_names_and_addresses_of_private_hosts_are_known(name: str) -> None:
    is_address = name[0].isdigit() or ":" in name
    with pytest.raises(InvalidInput, match="private"):
        hosts.refuse_private(name, [name] if is_address else [])


@pytest.mark.parametrize(
    "name",
    ["Host", "content-length", "Transfer-Encoding", "connection", "Upgrade", "TE", "a b", "a:", "", "ä", "a\r\nb"],
)
def test_no_header_says_where_a_message_ends_or_whose_it_is(name: str) -> None:
    with pytest.raises(InvalidInput):
        request_head("POST", parse_url("https://a.example/x"), {name: "1"}, 0)


def test_values_of_headers_keep_to_their_line() -> None:
    for text in ("a\r\nb: c", "a\nb", "a\rb", "a\0"):
        with pytest.raises(InvalidInput):
            request_head("POST", parse_url("https://a.example/x"), {"a": text}, 0)
    assert b"\r\nX-A: 1\r\n\r\n" in request_head("GET", parse_url("https://a.example/x"), {"X-A": "1"}, 0)
